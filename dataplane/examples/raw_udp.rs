//! What the way in and the way out reach by themselves on this machine, over loopback: datagrams a
//! second by kind of send, the cost of an empty receive, and the round trip of two spinning
//! threads. No rings, packets or events: the ceiling everything above is measured against.
//!
//! ```text
//! cargo run --release -p wireloom-dataplane --example raw_udp [MILLISECONDS_PER_CASE]
//! ```
//!
//! On loopback a segmented run is never cut apart: a real device costs more.
#![allow(clippy::print_stdout, reason = "a program that prints its findings")]

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::io::mio::{MioOptions, MioReceive, MioTransmit};
use wireloom_dataplane::io::{
    Destination, Message, Receive, ReceiveCounters, Transmit, TransmitCounters,
};
use wireloom_dataplane::socket::{OpenError, SocketConfig, open};

/// One kind of load.
struct Case {
    name: &'static str,
    options: MioOptions,
    /// Length of a datagram.
    bytes: usize,
    /// Datagrams in a message.
    segments: usize,
    /// Messages in a send.
    messages: usize,
    /// Slices a datagram is gathered from; 0: one slice for the whole message.
    pieces: usize,
}

const ALL: MioOptions = MioOptions { segmentation: true, coalescing: true, slot_bytes: 65_536 };
const PLAIN: MioOptions = MioOptions { segmentation: false, coalescing: false, slot_bytes: 65_536 };

const fn case(name: &'static str, options: MioOptions, shape: [usize; 4]) -> Case {
    let [bytes, segments, messages, pieces] = shape;
    Case { name, options, bytes, segments, messages, pieces }
}

const CASES: [Case; 10] = [
    case("64 B, 64 segments", ALL, [64, 64, 1, 0]),
    case("64 B, 128 segments", ALL, [64, 128, 1, 0]),
    case("64 B, 64 segments, 2 slices each", ALL, [64, 64, 1, 2]),
    case("1400 B, 46 segments", ALL, [1_400, 46, 1, 0]),
    case("1400 B, 46 segments, 2 slices each", ALL, [1_400, 46, 1, 2]),
    case("64 B, one by one", PLAIN, [64, 1, 1, 1]),
    case("64 B, 64 in a call", PLAIN, [64, 1, 64, 1]),
    case("1400 B, 64 in a call", PLAIN, [1_400, 1, 64, 1]),
    case("64 B, run of 64 cut without GSO", PLAIN, [64, 64, 1, 1]),
    case("65000 B, one by one", PLAIN, [65_000, 1, 1, 1]),
];

impl Case {
    fn slices<'a>(&self, memory: &'a [u8]) -> Vec<IoSlice<'a>> {
        let piece = match self.pieces {
            0 => memory.len(),
            pieces => self.bytes.div_ceil(pieces),
        };
        memory.chunks(piece).map(IoSlice::new).collect()
    }
}

type Failure = Box<dyn std::error::Error>;

fn socket() -> Result<(std::net::UdpSocket, SocketAddr), OpenError> {
    let config = SocketConfig {
        receive_buffer_bytes: 4 << 20,
        send_buffer_bytes: 1 << 20,
        ..SocketConfig::new((Ipv4Addr::LOCALHOST, 0).into())
    };
    let opened = open(&config)?;
    Ok((opened.socket, opened.report.local))
}

fn pin(core: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
}

/// Receives until `stop`, then what is left; returns datagrams, bytes and counters.
fn receive_all(mut receive: MioReceive, stop: &AtomicBool) -> (u64, u64, ReceiveCounters) {
    pin(1);
    let (mut datagrams, mut bytes, mut quiet) = (0, 0, 0);
    while quiet < 200 {
        let received = receive.receive(&mut |arrival| {
            bytes += arrival.bytes.len() as u64;
        });
        datagrams += received.datagrams as u64;
        let idle = received.datagrams == 0 && stop.load(Ordering::Acquire);
        quiet = if idle { quiet + 1 } else { 0 };
    }
    (datagrams, bytes, receive.counters())
}

/// Sends for `duration_ns`; returns the time it took.
fn send_for(transmit: &mut MioTransmit, messages: &[Message<'_>], duration_ns: u64) -> u64 {
    let clock = Clock::system();
    let begin_ns = clock.now_ns();
    loop {
        for _ in 0..16 {
            let mut done = 0;
            while done < messages.len() {
                done += transmit.send(&messages[done..]).messages;
            }
        }
        let took_ns = clock.now_ns() - begin_ns;
        if took_ns >= duration_ns {
            return took_ns;
        }
    }
}

fn run(case: &Case, duration_ns: u64) -> Result<(), Failure> {
    let ((out, _), (peer, address)) = (socket()?, socket()?);
    let receive = MioReceive::with_options(vec![peer], case.options)?;
    let mut transmit = MioTransmit::with_options(vec![out], case.options)?;
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&stop);
    let receiver = std::thread::spawn(move || receive_all(receive, &theirs));
    let memory = vec![7_u8; case.bytes * case.segments];
    let slices = case.slices(&memory);
    let destination = Destination::new(0, address);
    let message = Message::segmented(&destination, &slices, case.bytes);
    let took_ns = send_for(&mut transmit, &vec![message; case.messages], duration_ns);
    stop.store(true, Ordering::Release);
    let received = receiver.join().map_err(|_| io::Error::other("the receiver panicked"))?;
    report(case, took_ns, &transmit.counters(), received);
    Ok(())
}

fn report(
    case: &Case,
    took_ns: u64,
    sent: &TransmitCounters,
    received: (u64, u64, ReceiveCounters),
) {
    let seconds = took_ns as f64 / 1e9;
    let (datagrams, bytes, counters) = received;
    println!(
        "{:36} {:8.3} M/s delivered {:8.0} MB/s  {:7.1} ns a datagram  loss {:5.2} %  \
         kernel drops {}  blocked {}",
        case.name,
        datagrams as f64 / seconds / 1e6,
        bytes as f64 / seconds / 1e6,
        took_ns as f64 / sent.datagrams as f64,
        100.0 * (sent.datagrams - datagrams) as f64 / sent.datagrams as f64,
        counters.kernel_drops,
        sent.would_block,
    );
}

/// Sends some messages, then receives them, on one core: what each side costs by itself, as the
/// best of many rounds (the least disturbed one).
fn each_side(case: &Case) -> Result<(), Failure> {
    const ROUNDS: usize = 4_000;
    let ((out, _), (peer, address)) = (socket()?, socket()?);
    let mut receive = MioReceive::with_options(vec![peer], case.options)?;
    let mut transmit = MioTransmit::with_options(vec![out], case.options)?;
    let memory = vec![7_u8; case.bytes * case.segments];
    let slices = case.slices(&memory);
    let destination = Destination::new(0, address);
    let message = Message::segmented(&destination, &slices, case.bytes);
    let clock = Clock::system();
    let (mut best_send_ns, mut best_receive_ns) = (u64::MAX, u64::MAX);
    let messages = if case.messages == 1 { 8 } else { 1 };
    let batch = vec![message; case.messages];
    for _ in 0..ROUNDS {
        let begin_ns = clock.now_ns();
        for _ in 0..messages {
            transmit.send(&batch);
        }
        let sent_ns = clock.now_ns();
        let mut arrived = 0;
        while arrived < messages * case.messages * case.segments {
            arrived += receive.receive(&mut |_| ()).datagrams;
        }
        best_send_ns = best_send_ns.min(sent_ns - begin_ns);
        best_receive_ns = best_receive_ns.min(clock.now_ns() - sent_ns);
    }
    let datagrams = (messages * case.messages * case.segments) as f64;
    println!(
        "{:36} {:8.1} ns to send {:8.1} ns to receive a datagram, one core, best of {ROUNDS}",
        case.name,
        best_send_ns as f64 / datagrams,
        best_receive_ns as f64 / datagrams,
    );
    Ok(())
}

/// What a spinning caller pays when nothing is there, in the least disturbed of many rounds.
fn empty_receive() -> Result<(), Failure> {
    const CALLS: u64 = 100;
    let mut receive = MioReceive::new(vec![socket()?.0])?;
    let clock = Clock::system();
    let mut best_ns = u64::MAX;
    for _ in 0..3_000 {
        let begin_ns = clock.now_ns();
        for _ in 0..CALLS {
            receive.receive(&mut |_| ());
        }
        best_ns = best_ns.min(clock.now_ns() - begin_ns);
    }
    println!("{:36} {:8.1} ns", "empty receive, one socket", best_ns as f64 / CALLS as f64);
    Ok(())
}

/// The end of the ping-pong that answers each datagram, until it is told that it is over.
fn answer(mut ends: (MioTransmit, MioReceive), to: SocketAddr, is_over: &AtomicBool) {
    let destination = Destination::new(0, to);
    let slices = [IoSlice::new(&[1; 64])];
    let message = [Message::single(&destination, &slices)];
    while !is_over.load(Ordering::Relaxed) {
        if ends.1.receive(&mut |_| ()).datagrams > 0 {
            ends.0.send(&message);
        }
    }
}

/// The end that begins each round, for so long and so many rounds at most: what each took.
fn begin(mut ends: (MioTransmit, MioReceive), to: SocketAddr, duration_ns: u64) -> Vec<u64> {
    const ROUNDS: usize = 100_000;
    let (clock, destination) = (Clock::system(), Destination::new(0, to));
    let slices = [IoSlice::new(&[1; 64])];
    let message = [Message::single(&destination, &slices)];
    let until_ns = clock.now_ns() + duration_ns;
    let mut times = Vec::with_capacity(ROUNDS);
    let mut begin_ns = clock.now_ns();
    while times.len() < ROUNDS && begin_ns < until_ns {
        ends.0.send(&message);
        while ends.1.receive(&mut |_| ()).datagrams == 0 {
            if clock.now_ns() >= until_ns {
                return times;
            }
        }
        let end_ns = clock.now_ns();
        times.push(end_ns - begin_ns);
        begin_ns = end_ns;
    }
    times
}

/// Two threads that spin; where another process has one of the cores, a round takes its time slice.
fn round_trip(duration_ns: u64) -> Result<(), Failure> {
    let ((here, here_at), (there, there_at)) = (socket()?, socket()?);
    let ends = |socket: std::net::UdpSocket| -> io::Result<_> {
        Ok((MioTransmit::new(vec![socket.try_clone()?])?, MioReceive::new(vec![socket])?))
    };
    let (here, there) = (ends(here)?, ends(there)?);
    let is_over = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&is_over);
    let other = std::thread::spawn(move || {
        pin(1);
        answer(there, here_at, &theirs);
    });
    let mut times = begin(here, there_at, duration_ns);
    is_over.store(true, Ordering::Relaxed);
    other.join().map_err(|_| io::Error::other("the other end panicked"))?;
    times.sort_unstable();
    let at = |per_mille: usize| {
        times.get(per_mille * times.len().saturating_sub(1) / 1_000).map_or(0.0, |ns| *ns as f64)
    };
    println!(
        "{:36} p50 {:.1} p99 {:.1} p99.9 {:.1} µs of {} rounds",
        "round trip, 64 B",
        at(500) / 1e3,
        at(990) / 1e3,
        at(999) / 1e3,
        times.len()
    );
    Ok(())
}

fn main() -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        println!("a debug build: for figures use --release");
    }
    let milliseconds = std::env::args().nth(1).map_or(Ok(2_000), |text| text.parse::<u64>())?;
    let duration_ns = milliseconds.clamp(100, 30_000) * 1_000_000;
    pin(0);
    for case in &CASES {
        run(case, duration_ns)?;
    }
    for case in CASES.iter().filter(|case| case.bytes * case.segments < 65_000) {
        each_side(case)?;
    }
    empty_receive()?;
    round_trip(duration_ns)
}

//! The receiving process of a bare loop: datagrams joined by the kernel, one word read of each
//! event, the hash of each packet verified where that is asked for.
//!
//! Owns its socket and its counts; `bare.rs` is the sending side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use wireloom::Clock;
use wireloom_dataplane::io::Receive;
use wireloom_dataplane::io::mio::MioReceive;
use wireloom_dataplane::poller::Poller;
use wireloom_dataplane::socket::{GroupJoin, MulticastOptions, SocketConfig, SocketReport, open};
use wireloom_wire::{PACKET_HEADER_BYTES, body_hash};

use super::arrivals::Counts;
use super::machine::peak_rss_bytes;
use super::peer::{Account, Answer, PeerPlan, PeerWork, Receiving, Sample, say, serve};
use super::times::Times;

/// Bytes of a frame before its payload.
const FRAME_HEADER_BYTES: usize = wireloom_wire::FRAME_HEADER_BYTES;
/// Where a packet's header has its hash.
pub(super) const HASH_OFFSET: usize = PACKET_HEADER_BYTES - size_of::<u64>();

/// A socket like the product's: same buffers, same options.
pub(super) fn socket(
    bind: SocketAddr,
    group: Option<SocketAddr>,
) -> Result<(UdpSocket, SocketReport)> {
    let joins = group.map(|group| GroupJoin { group: group.ip(), interface: super::loopback() });
    let opened = open(&SocketConfig {
        bind,
        groups: joins.into_iter().collect(),
        multicast: MulticastOptions { interface: super::loopback(), ..MulticastOptions::default() },
        broadcast: false,
        receive_buffer_bytes: super::RECEIVE_BUFFER_BYTES,
        send_buffer_bytes: super::SEND_BUFFER_BYTES,
        busy_poll_us: 0,
        reuse_port: false,
        reuse_address: group.is_some(),
    })?;
    Ok((opened.socket, opened.report))
}

pub(super) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// One word of the payload of an event.
#[inline]
fn word(frame: &[u8], index: usize) -> u64 {
    let bytes = frame.get(FRAME_HEADER_BYTES + 8 * index..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Receives and counts.
struct RawReceiver {
    receive: MioReceive,
    reader: Reader,
    sleep: Option<Sleep>,
}

/// What a receiver does with the events of a packet.
pub(super) struct Reader {
    frame_bytes: usize,
    checked: bool,
    counts: Counts,
    /// What was read, so that the reads cannot be left out.
    words: u64,
    timing: Option<Timing>,
}

/// What a receiver has that times events.
struct Timing {
    times: Times,
    every: u64,
    from_ns: u64,
    clock: Clock,
}

/// What a receiver has that sleeps between arrivals.
struct Sleep {
    poller: Poller,
    wakes: u64,
}

/// The longest sleep of a receiver: how soon it sees the next question.
const PARK: Duration = Duration::from_millis(20);

impl Reader {
    /// A reader that counts, and checks and times nothing.
    pub(super) fn new(frame_bytes: usize) -> Self {
        let frame_bytes = frame_bytes.max(48);
        Self { frame_bytes, checked: false, counts: Counts::default(), words: 0, timing: None }
    }

    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    /// The counts, once nothing more is read.
    pub(super) fn end(&self) -> Counts {
        std::hint::black_box(self.words);
        self.counts
    }

    #[inline]
    pub(super) fn take(&mut self, datagram: &[u8]) {
        let Some((header, body)) = datagram.split_at_checked(PACKET_HEADER_BYTES) else { return };
        if self.checked && header[HASH_OFFSET..] != body_hash(body).to_le_bytes() {
            self.counts.corrupt += (body.len() / self.frame_bytes) as u64;
            return;
        }
        for frame in body.chunks_exact(self.frame_bytes) {
            self.words = self.words.wrapping_add(word(frame, 0));
            self.counts.delivered += 1;
        }
        let Some(timing) = &self.timing else { return };
        for frame in body.chunks_exact(self.frame_bytes) {
            let (sent_ns, sequence) = (word(frame, 0), word(frame, 1));
            if sent_ns >= timing.from_ns && sequence.is_multiple_of(timing.every) {
                timing.times.record(timing.clock.now_ns().saturating_sub(sent_ns));
            }
        }
    }
}

impl Receiving for RawReceiver {
    fn drive(&mut self) -> usize {
        let Self { receive, reader, sleep } = self;
        if let Some(sleep) = sleep {
            sleep.poller.park(PARK);
            sleep.wakes += 1;
        }
        let mut datagrams = 0;
        loop {
            let received = receive.receive(&mut |arrival| {
                arrival.datagrams().for_each(|datagram| reader.take(datagram));
            });
            datagrams += received.datagrams;
            // Asleep, it is told of the next arrival only when it has taken all before.
            if received.would_block || sleep.is_none() {
                return datagrams;
            }
        }
    }

    fn counts(&self) -> Counts {
        self.reader.counts()
    }

    fn time_from(&mut self, timed_from_ns: u64) {
        if let Some(timing) = &mut self.reader.timing {
            timing.from_ns = timed_from_ns;
        }
    }

    fn complete(&mut self, sample: &mut Sample, paused: bool) {
        sample.wakes = self.sleep.as_ref().map_or(0, |sleep| sleep.wakes);
        if paused && let Some(timing) = &self.reader.timing {
            sample.times = timing.times.take();
        }
    }

    fn finish(self) -> Account {
        Account {
            counts: self.reader.end(),
            peak_rss_bytes: peak_rss_bytes(),
            kernel_drops: self.receive.counters().kernel_drops,
            ..Account::default()
        }
    }
}

/// The child process of a raw run.
pub(super) fn serve_raw(plan: &PeerPlan) -> Result<()> {
    let (socket, report) = socket(plan.group.unwrap_or(ANY_PORT), plan.group)?;
    let mut receive = MioReceive::new(vec![socket]).context("the raw receiver's socket")?;
    let sleep = if plan.driven {
        None
    } else {
        let mut poller = Poller::new().context("the raw receiver's poller")?;
        receive.register(&mut poller).context("the raw receiver's poller")?;
        Some(Sleep { poller, wakes: 0 })
    };
    let timing = (plan.timed_every > 0).then(|| Timing {
        times: Times::new(),
        every: plan.timed_every,
        from_ns: u64::MAX,
        clock: Clock::system(),
    });
    let reader = Reader {
        checked: plan.work == PeerWork::RawChecked,
        timing,
        ..Reader::new(plan.frame_bytes)
    };
    say(&Answer::Ready { addresses: vec![report.local], notes: report.notes })?;
    serve(RawReceiver { receive, reader, sleep }, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::bare::write_frame;

    #[test]
    fn a_checked_packet_is_counted_and_a_changed_bit_is_seen() {
        let mut packet = [0; PACKET_HEADER_BYTES + 2 * 96];
        let (header, body) = packet.split_at_mut(PACKET_HEADER_BYTES);
        for (frame, sequence) in body.chunks_exact_mut(96).zip(7..) {
            write_frame(frame, sequence, 1_000 + sequence);
        }
        assert_eq!((word(body, 0), word(body, 1), word(&body[96..], 1)), (1_007, 7, 8));
        header[HASH_OFFSET..].copy_from_slice(&body_hash(body).to_le_bytes());
        let mut reader = Reader { checked: true, ..Reader::new(96) };
        reader.take(&packet);
        assert_eq!((reader.counts.delivered, reader.counts.corrupt), (2, 0));
        packet[PACKET_HEADER_BYTES + 99] ^= 4;
        reader.take(&packet);
        assert_eq!((reader.counts.delivered, reader.counts.corrupt), (2, 2));
    }
}

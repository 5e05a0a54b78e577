//! `recvmmsg` → arrivals.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::{MioOptions, Poller};
use crate::io::batch::read_control;
use crate::io::{Arrival, Receive, ReceiveCounters, Received};
use crate::sys::{self, Arrived, ReceiveBatch};

/// Slots with GRO: each holds a joined run, and 256 KiB stay within L2.
const COALESCING_SLOTS: usize = 4;
/// Slots without GRO, one datagram each. Full-size slots, so that none is cut; only what a datagram
/// fills is touched. More would save a few percent (the call costs 110 ns, a datagram 1 µs).
const PLAIN_SLOTS: usize = 7;

/// Calls in a row that leave full slots before the other sockets and agents get their turn.
const COALESCING_ROUNDS: u32 = 2;
/// As above, without GRO.
const PLAIN_ROUNDS: u32 = 4;

/// Empty calls in a row after which a socket is asked once what it dropped: `SO_RXQ_OVFL` speaks
/// only with a later arrival. A ping-pong at full speed never gets here, a parking worker does.
const QUIET_CALLS: u32 = 32;

/// UDP sockets as a way in.
#[derive(Debug)]
pub struct MioReceive {
    sockets: Vec<Source>,
    batch: ReceiveBatch,
    rounds: u32,
    counters: ReceiveCounters,
    coalescing: bool,
}

#[derive(Debug)]
struct Source {
    socket: UdpSocket,
    /// What the kernel last said it had dropped, mod 2^32.
    dropped: u32,
    /// Empty calls since the last arrival, up to [`QUIET_CALLS`].
    quiet: u32,
}

impl Source {
    /// Takes a reading of the kernel's count; returns how many are new. Readings may come out of
    /// order: a run that is queued just before the socket is asked carries the older count. An
    /// older one (by less than half the range) adds nothing.
    #[inline]
    const fn newly_dropped(&mut self, dropped: u32) -> u64 {
        let new = dropped.wrapping_sub(self.dropped);
        if new > u32::MAX / 2 {
            return 0;
        }
        self.dropped = dropped;
        new as u64
    }
}

impl MioReceive {
    /// A way in from `sockets`, with everything the kernel offers.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn new(sockets: Vec<UdpSocket>) -> io::Result<Self> {
        Self::with_options(sockets, MioOptions::default())
    }

    /// A way in from `sockets`. Switches GRO and the counting of drops on where the kernel has them
    /// and allocates all it will need (at most 512 KiB).
    ///
    /// # Errors
    /// When there is no socket.
    pub fn with_options(sockets: Vec<UdpSocket>, options: MioOptions) -> io::Result<Self> {
        if sockets.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no socket to receive from"));
        }
        let mut coalescing = false;
        for socket in &sockets {
            let wanted = libc::c_int::from(options.coalescing);
            let set = sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, wanted);
            coalescing |= set.is_ok() && options.coalescing;
            // Without it (Linux before 2.6.33) drops are still read when a socket falls quiet.
            let _ = sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
        }
        let (slots, rounds) = if coalescing {
            (COALESCING_SLOTS, COALESCING_ROUNDS)
        } else {
            (PLAIN_SLOTS, PLAIN_ROUNDS)
        };
        let sockets = sockets.into_iter();
        Ok(Self {
            sockets: sockets.map(|socket| Source { socket, dropped: 0, quiet: 0 }).collect(),
            batch: ReceiveBatch::new(slots, options.slot_bytes),
            rounds,
            counters: ReceiveCounters::default(),
            coalescing,
        })
    }

    /// Whether the kernel joins arrivals (GRO) for at least one socket.
    #[must_use]
    pub const fn coalescing(&self) -> bool {
        self.coalescing
    }
}

/// Turns a filled slot into an arrival; `None` when it cannot be handed on.
#[inline]
fn arrival_of<'a>(
    index: usize,
    source: &mut Source,
    arrived: &Arrived<'a>,
    counters: &mut ReceiveCounters,
) -> Option<Arrival<'a>> {
    let notes = read_control(arrived.control);
    if let Some(dropped) = notes.dropped {
        counters.kernel_drops += source.newly_dropped(dropped);
    }
    if arrived.truncated {
        counters.truncated += 1;
        return None;
    }
    let Some(address) = arrived.source.read() else {
        counters.errors += 1;
        return None;
    };
    Some(Arrival {
        socket: index,
        source: address,
        bytes: arrived.bytes,
        segment_bytes: notes.segment_bytes.unwrap_or(arrived.bytes.len()),
    })
}

impl Receive for MioReceive {
    fn receive(&mut self, sink: &mut dyn FnMut(&Arrival<'_>)) -> Received {
        let mut received = Received { datagrams: 0, would_block: true };
        for (index, source) in self.sockets.iter_mut().enumerate() {
            let mut seen_empty = false;
            for _ in 0..self.rounds {
                self.counters.calls += 1;
                let filled = match self.batch.receive(source.socket.as_fd()) {
                    Ok(filled) => filled,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        seen_empty = true;
                        fell_quiet(source, &mut self.counters);
                        break;
                    }
                    Err(error) => {
                        if error.kind() != io::ErrorKind::Interrupted {
                            self.counters.errors += 1;
                        }
                        continue;
                    }
                };
                source.quiet = 0;
                for slot in 0..filled {
                    let arrived = self.batch.arrived(slot);
                    match arrival_of(index, source, &arrived, &mut self.counters) {
                        Some(arrival) => {
                            received.datagrams += arrival.datagram_count();
                            sink(&arrival);
                        }
                        None => received.datagrams += 1,
                    }
                }
                if filled < self.batch.slots() {
                    seen_empty = true;
                    break;
                }
            }
            received.would_block &= seen_empty;
        }
        received
    }

    fn register(&mut self, poller: &mut Poller) -> io::Result<()> {
        self.sockets.iter().try_for_each(|source| poller.register(&source.socket))
    }

    fn counters(&self) -> ReceiveCounters {
        self.counters
    }
}

/// Counts an empty call; at the last of [`QUIET_CALLS`] asks the socket what it has dropped.
#[inline]
fn fell_quiet(source: &mut Source, counters: &mut ReceiveCounters) {
    if source.quiet >= QUIET_CALLS {
        return;
    }
    source.quiet += 1;
    if source.quiet == QUIET_CALLS
        && let Ok(dropped) = sys::dropped(source.socket.as_fd())
    {
        counters.kernel_drops += source.newly_dropped(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_of_the_drop_count_may_be_late_and_may_wrap() {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut source = Source { socket, dropped: 0, quiet: 0 };
        assert_eq!(source.newly_dropped(5), 5);
        assert_eq!(source.newly_dropped(5), 0);
        assert_eq!(source.newly_dropped(3), 0, "queued before the last reading");
        assert_eq!(source.newly_dropped(9), 4);
        source.dropped = u32::MAX - 1;
        assert_eq!(source.newly_dropped(2), 4);
        assert_eq!(source.newly_dropped(u32::MAX), 0);
        assert_eq!(source.newly_dropped(3), 1);
    }
}

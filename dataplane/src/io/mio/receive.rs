//! `recvmsg`, `recvmmsg` → arrivals.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::{MioOptions, Poller};
use crate::io::source::{Source, sources};
use crate::io::{Arrival, Receive, ReceiveCounters, Received};
use crate::sys::ReceiveBatch;

/// Slots with GRO: each holds a joined run, and 256 KiB stay within L2.
const COALESCING_SLOTS: usize = 4;
/// Slots without GRO, one datagram each. Full-size slots, so that none is cut; only what a datagram
/// fills is touched. More would save a few percent (the call costs 110 ns, a datagram 1 µs).
const PLAIN_SLOTS: usize = 7;

/// Calls in a row that leave full slots before the other sockets and agents get their turn.
const COALESCING_ROUNDS: u32 = 2;
/// As above, without GRO.
const PLAIN_ROUNDS: u32 = 4;

/// UDP sockets as a way in.
#[derive(Debug)]
pub struct MioReceive {
    sockets: Vec<Source>,
    batch: ReceiveBatch,
    rounds: u32,
    counters: ReceiveCounters,
    coalescing: bool,
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
        let (sockets, coalescing) = sources(sockets, options.coalescing)?;
        let (slots, rounds) = if coalescing {
            (COALESCING_SLOTS, COALESCING_ROUNDS)
        } else {
            (PLAIN_SLOTS, PLAIN_ROUNDS)
        };
        Ok(Self {
            sockets,
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

impl Receive for MioReceive {
    fn receive(&mut self, sink: &mut dyn FnMut(&Arrival<'_>)) -> Received {
        let mut received = Received { datagrams: 0, would_block: true };
        for (index, source) in self.sockets.iter_mut().enumerate() {
            let mut seen_empty = false;
            for _ in 0..self.rounds {
                self.counters.calls += 1;
                // A socket that was empty is asked for one arrival: whoever waits for it gets it
                // half a microsecond sooner than if the call also looked for a second. While
                // arrivals follow each other it is asked for all slots.
                let alone = source.is_quiet();
                let filled = if alone {
                    self.batch.receive_one(source.socket.as_fd())
                } else {
                    self.batch.receive(source.socket.as_fd())
                };
                let filled = match filled {
                    Ok(filled) => filled,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        seen_empty = true;
                        source.was_empty(&mut self.counters);
                        break;
                    }
                    Err(error) => {
                        if error.kind() != io::ErrorKind::Interrupted {
                            self.counters.errors += 1;
                        }
                        continue;
                    }
                };
                for slot in 0..filled {
                    let arrived = self.batch.arrived(slot);
                    received.datagrams += source.show(index, &arrived, &mut self.counters, sink);
                }
                if alone {
                    break;
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

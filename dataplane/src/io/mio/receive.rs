//! `recvmsg`, `recvmmsg` → arrivals.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use wireloom_wire::{LANES, Lane, PacketHeader, VERSION};

use super::{MioOptions, Poller};
use crate::io::source::{Source, sources};
use crate::io::{Arrival, Receive, ReceiveCounters, Received};
use crate::sys::ReceiveBatch;

/// Slots with GRO: each holds a joined run, and 256 KiB stay within L2.
const COALESCING_SLOTS: usize = 4;
/// Slots without GRO, one datagram each. Full-size slots, so that none is cut; only what a datagram
/// fills is touched. More would save a few percent (the call costs 110 ns, a datagram 1 µs).
const PLAIN_SLOTS: usize = 7;

/// Slots filled and shown before the other sockets and agents get their turn, in batches.
const COALESCING_ROUNDS: usize = 2;
/// As above, without GRO.
const PLAIN_ROUNDS: usize = 4;

/// Handling an arrival of so many bytes takes longer (from 3 µs on) than to look at the socket
/// again (a third of one).
const LONG_BYTES: usize = 16 << 10;

/// UDP sockets as a way in.
#[derive(Debug)]
pub struct MioReceive {
    sockets: Vec<Source>,
    direct: Option<Direct>,
    slots: Slots,
    coalescing: bool,
}

/// The socket of the peer that sends most ([`crate::direct`]).
#[derive(Debug)]
struct Direct {
    source: Source,
    /// It is connected, so that packets arrive there.
    connected: bool,
    /// What the peer sent before that is still in the first socket and comes first.
    first_socket_empty: bool,
}

impl Direct {
    const fn is_open(&self) -> bool {
        self.connected && self.first_socket_empty
    }
}

/// The slots, and what is counted while they are filled.
#[derive(Debug)]
struct Slots {
    batch: ReceiveBatch,
    /// Arrivals of one look, at most.
    arrivals_max: usize,
    counters: ReceiveCounters,
}

/// The lane of what looks like a packet: unchecked, good for an order alone.
#[inline]
fn lane_of(datagram: &[u8]) -> Option<Lane> {
    let header = PacketHeader::peek(datagram.first_chunk()?);
    let is_packet = datagram[0] == VERSION && header.length as usize <= datagram.len();
    (is_packet && usize::from(header.lane) < LANES).then_some(header.lane)
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
        let slots = Slots {
            batch: ReceiveBatch::new(slots, options.slot_bytes),
            arrivals_max: rounds * slots,
            counters: ReceiveCounters::default(),
        };
        Ok(Self { sockets, direct: None, slots, coalescing })
    }

    /// The same way in with a socket that may be connected to one peer later.
    ///
    /// # Errors
    /// None that is not the kernel's.
    pub fn with_direct(mut self, socket: UdpSocket) -> io::Result<Self> {
        let (direct, _) = sources(vec![socket], self.coalescing)?;
        self.direct = direct.into_iter().next().map(|source| Direct {
            source,
            connected: false,
            first_socket_empty: false,
        });
        Ok(self)
    }

    /// Whether the kernel joins arrivals (GRO) for at least one socket.
    #[must_use]
    pub const fn coalescing(&self) -> bool {
        self.coalescing
    }
}

impl Slots {
    /// Which of the arrivals at hand is shown next: of the most urgent lane the first, so that an
    /// urgent packet waits for the one being handled and not for all that came before it. In the
    /// order of arrival where one does not look like a packet.
    #[inline]
    fn next(&self) -> usize {
        let (mut next, mut most_urgent) = (0, Lane::MAX);
        if self.batch.filled() > 1 {
            for at in 0..self.batch.filled() {
                match lane_of(self.batch.arrived(at).bytes) {
                    Some(lane) if lane < most_urgent => (next, most_urgent) = (at, lane),
                    Some(_) => {}
                    None => return 0,
                }
            }
        }
        next
    }

    /// Fills free slots from one socket; whether it was seen empty.
    #[inline]
    fn fill(&mut self, source: &mut Source, alone: bool) -> bool {
        self.counters.calls += 1;
        let free = self.batch.free();
        let filled = if alone {
            self.batch.receive_one(source.socket.as_fd())
        } else {
            self.batch.receive(source.socket.as_fd())
        };
        match filled {
            Ok(filled) => !alone && filled < free,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    if self.batch.filled() == 0 {
                        source.was_empty(&mut self.counters);
                    }
                    true
                }
                // Of a datagram sent earlier, at a connected socket: the way out counts it.
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => false,
                _ => {
                    self.counters.errors += 1;
                    false
                }
            },
        }
    }

    /// Takes what is at one socket, up to a bound; returns the datagrams and whether the socket was
    /// seen empty.
    #[inline]
    fn look(
        &mut self,
        source: &mut Source,
        index: usize,
        sink: &mut dyn FnMut(&Arrival<'_>),
    ) -> (usize, bool) {
        // A socket that was empty is asked for one arrival: whoever waits for it gets it half a
        // microsecond sooner than if the call also looked for a second. While arrivals follow
        // each other it is asked for all slots.
        let alone = source.is_quiet();
        let mut seen_empty = self.fill(source, alone);
        let (mut datagrams, mut left) = (0, self.arrivals_max);
        loop {
            // As many again are within the bound.
            let goes_on = left >= self.batch.slots();
            if self.batch.filled() == 0 {
                if seen_empty || !goes_on || (alone && datagrams > 0) {
                    return (datagrams, seen_empty);
                }
                seen_empty = self.fill(source, false);
                left -= usize::from(self.batch.filled() == 0);
                continue;
            }
            let next = self.next();
            let arrived = self.batch.arrived(next);
            let is_long = arrived.bytes.len() >= LONG_BYTES;
            datagrams += source.show(index, &arrived, &mut self.counters, sink);
            self.batch.give_back(next);
            left = left.saturating_sub(1);
            // While a long one was handled, a more urgent one may have come than those that wait.
            if is_long && goes_on && self.batch.filled() > 0 {
                seen_empty = self.fill(source, false);
            }
        }
    }
}

impl Receive for MioReceive {
    fn receive(&mut self, sink: &mut dyn FnMut(&Arrival<'_>)) -> Received {
        let mut received = Received { datagrams: 0, would_block: true };
        for (index, source) in self.sockets.iter_mut().enumerate() {
            let (datagrams, seen_empty) = self.slots.look(source, index, sink);
            received.datagrams += datagrams;
            received.would_block &= seen_empty;
            if index == 0
                && seen_empty
                && let Some(direct) = &mut self.direct
            {
                direct.first_socket_empty |= direct.connected;
            }
        }
        if self.direct.as_ref().is_some_and(Direct::is_open) {
            let direct = self.receive_direct(sink);
            received.datagrams += direct.datagrams;
            received.would_block &= direct.would_block;
        }
        received
    }

    #[inline]
    fn receive_direct(&mut self, sink: &mut dyn FnMut(&Arrival<'_>)) -> Received {
        match &mut self.direct {
            // Who answers an arrival does so through the first socket of the same port.
            Some(direct) if direct.is_open() => {
                let (datagrams, would_block) = self.slots.look(&mut direct.source, 0, sink);
                Received { datagrams, would_block }
            }
            _ => self.receive(sink),
        }
    }

    fn set_direct(&mut self, connected: bool) {
        if let Some(direct) = &mut self.direct {
            direct.connected = connected;
            direct.first_socket_empty = false;
        }
    }

    fn register(&mut self, poller: &mut Poller) -> io::Result<()> {
        let direct = self.direct.iter().map(|direct| &direct.source);
        self.sockets.iter().chain(direct).try_for_each(|source| poller.register(&source.socket))
    }

    fn counters(&self) -> ReceiveCounters {
        self.slots.counters
    }
}

//! Multishot receives → arrivals.

use std::io;
use std::net::UdpSocket;

use super::UringOptions;
use super::ring::{Completion, ReceiveRing};
use crate::io::source::{Source, sources};
use crate::io::{Arrival, Receive, ReceiveCounters, Received};
use crate::poller::Poller;

/// Buffers of a way in, shared by its sockets: what one enter can fill, and so the bound of a call.
/// Full-size slots, so that no joined run is cut: 514 KiB.
const SLOTS: u16 = 8;

/// Enters of one call that find nothing but failures or ended multishots.
const ROUNDS: u32 = 4;

/// UDP sockets as a way in through a ring.
#[derive(Debug)]
pub struct UringReceive {
    sockets: Vec<Source>,
    ring: ReceiveRing,
    /// Whether a socket's multishot goes on.
    armed: Vec<bool>,
    /// Which socket is armed first: moves, so that none takes all the buffers each time.
    turn: usize,
    counters: ReceiveCounters,
    coalescing: bool,
}

impl UringReceive {
    /// A way in from `sockets`, with everything the kernel offers.
    ///
    /// # Errors
    /// As [`Self::with_options`].
    pub fn new(sockets: Vec<UdpSocket>) -> io::Result<Self> {
        Self::with_options(sockets, UringOptions::default())
    }

    /// A way in from `sockets`. Switches GRO and the counting of drops on where the kernel has them
    /// and allocates all it will need (about 520 KiB). The thread that receives first is the only
    /// one that can from then on.
    ///
    /// # Errors
    /// When there is no socket, or the kernel has no such ring for this process; see
    /// [`super::probe`].
    pub fn with_options(sockets: Vec<UdpSocket>, options: UringOptions) -> io::Result<Self> {
        let (sockets, coalescing) = sources(sockets, options.coalescing)?;
        let descriptors = sockets.iter().map(|source| &source.socket);
        let ring = ReceiveRing::new(descriptors, SLOTS, options.slot_bytes)?;
        let armed = vec![false; sockets.len()];
        let counters = ReceiveCounters::default();
        Ok(Self { sockets, ring, armed, turn: 0, counters, coalescing })
    }

    /// Whether the kernel joins arrivals (GRO) for at least one socket.
    #[must_use]
    pub const fn coalescing(&self) -> bool {
        self.coalescing
    }

    /// Arms the sockets whose multishot has ended.
    fn arm(&mut self) {
        let count = self.sockets.len();
        self.turn = (self.turn + 1) % count;
        for step in 0..count {
            let index = (self.turn + step) % count;
            if !std::mem::replace(&mut self.armed[index], true) {
                self.ring.arm(index);
            }
        }
    }

    /// Takes one completion; returns its datagrams.
    #[inline]
    fn take(&mut self, completion: Completion, sink: &mut dyn FnMut(&Arrival<'_>)) -> usize {
        let Completion { socket, ended, outcome } = completion;
        if ended {
            self.armed[socket] = false;
        }
        match outcome {
            Ok(filled) => {
                let arrived = self.ring.arrived(&filled);
                let source = &mut self.sockets[socket];
                let datagrams = source.show(socket, &arrived, &mut self.counters, sink);
                self.ring.give_back(filled);
                return datagrams;
            }
            Err(libc::ENOBUFS) => self.counters.rearmed += 1,
            Err(_) => self.counters.errors += 1,
        }
        0
    }
}

impl Receive for UringReceive {
    fn receive(&mut self, sink: &mut dyn FnMut(&Arrival<'_>)) -> Received {
        let mut received = Received::default();
        for _ in 0..ROUNDS {
            self.arm();
            if self.ring.has_work() {
                self.counters.calls += 1;
                match self.ring.enter() {
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                        self.counters.errors += 1;
                    }
                    _ => {}
                }
            }
            while let Some(completion) = self.ring.next() {
                received.datagrams += self.take(completion, sink);
            }
            received.would_block = self.armed.iter().all(|armed| *armed) && !self.ring.has_work();
            if received.would_block || received.datagrams > 0 {
                break;
            }
        }
        if received.would_block {
            for source in &mut self.sockets {
                source.was_empty(&mut self.counters);
            }
        }
        received
    }

    /// The sockets themselves, not the ring: nobody is told of a ring's deferred work, and a socket
    /// keeps what arrives until the next [`Receive::receive`].
    fn register(&mut self, poller: &mut Poller) -> io::Result<()> {
        self.sockets.iter().try_for_each(|source| poller.register(&source.socket))
    }

    fn counters(&self) -> ReceiveCounters {
        self.counters
    }
}

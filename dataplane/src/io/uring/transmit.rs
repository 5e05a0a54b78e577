//! Batches → linked sends of a ring.

use std::io;
use std::net::UdpSocket;

use super::UringOptions;
use super::ring::SendRing;
use crate::io::mio::kernel_segmentation;
use crate::io::transmit::SocketTransmit;
use crate::io::{Message, Segmentation, Sent, Transmit, TransmitCounters};

/// UDP sockets as a way out through a ring.
#[derive(Debug)]
pub struct UringTransmit(SocketTransmit<SendRing>);

impl UringTransmit {
    /// A way out through `sockets`, with everything the kernel offers.
    ///
    /// # Errors
    /// As [`Self::with_options`].
    pub fn new(sockets: Vec<UdpSocket>) -> io::Result<Self> {
        Self::with_options(sockets, UringOptions::default())
    }

    /// A way out through `sockets`. Allocates all it will need (about 20 KiB). The thread that
    /// sends first is the only one that can from then on.
    ///
    /// # Errors
    /// When there is no socket, or the kernel has no such ring for this process; see
    /// [`super::probe`].
    pub fn with_options(sockets: Vec<UdpSocket>, options: UringOptions) -> io::Result<Self> {
        let segmentation =
            if options.segmentation { kernel_segmentation() } else { Segmentation::NONE };
        SocketTransmit::new(SendRing::new(sockets)?, segmentation).map(Self)
    }

    /// Whether the ring carries. False once an enter has failed: system calls carry from then on.
    #[must_use]
    pub const fn is_ring(&self) -> bool {
        self.0.carrier().is_ring()
    }
}

impl Transmit for UringTransmit {
    #[inline]
    fn send(&mut self, messages: &[Message<'_>]) -> Sent {
        self.0.send(messages)
    }

    #[inline]
    fn segmentation(&self) -> Segmentation {
        self.0.segmentation()
    }

    fn counters(&self) -> TransmitCounters {
        self.0.counters()
    }
}

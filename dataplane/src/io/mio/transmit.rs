//! Batches → `sendmsg` and `sendmmsg`.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::{MioOptions, kernel_segmentation};
use crate::io::batch::BATCH_MESSAGES;
use crate::io::transmit::{Carry, SocketTransmit};
use crate::io::{Message, Segmentation, Sent, Transmit, TransmitCounters};
use crate::sys::{self, Outgoing, SendBatch};

/// UDP sockets as a way out.
#[derive(Debug)]
pub struct MioTransmit(SocketTransmit<SendCalls>);

/// Carries a batch by one system call.
#[derive(Debug)]
pub(in crate::io) struct SendCalls {
    pub(in crate::io) sockets: Vec<UdpSocket>,
    pub(in crate::io) batch: SendBatch,
}

impl SendCalls {
    pub(in crate::io) fn new(sockets: Vec<UdpSocket>) -> Self {
        Self { sockets, batch: SendBatch::new(BATCH_MESSAGES) }
    }
}

impl Carry for SendCalls {
    fn sockets(&self) -> usize {
        self.sockets.len()
    }

    #[inline]
    fn carry<'a>(
        &mut self,
        index: usize,
        mut outgoing: impl ExactSizeIterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize> {
        let socket = self.sockets[index].as_fd();
        if outgoing.len() == 1
            && let Some(alone) = outgoing.next()
        {
            let sent = if alone.is_short() {
                sys::send_copied(socket, alone)
            } else {
                sys::send_message(socket, alone)
            };
            return sent.map(|()| 1);
        }
        sys::send_messages(socket, &mut self.batch, outgoing)
    }
}

impl MioTransmit {
    /// A way out through `sockets`, with everything the kernel offers.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn new(sockets: Vec<UdpSocket>) -> io::Result<Self> {
        Self::with_options(sockets, MioOptions::default())
    }

    /// A way out through `sockets`. Allocates all it will need (about 6 KiB).
    ///
    /// # Errors
    /// When there is no socket.
    pub fn with_options(sockets: Vec<UdpSocket>, options: MioOptions) -> io::Result<Self> {
        let segmentation =
            if options.segmentation { kernel_segmentation() } else { Segmentation::NONE };
        SocketTransmit::new(SendCalls::new(sockets), segmentation).map(Self)
    }
}

impl Transmit for MioTransmit {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::mio::MioReceive;

    #[test]
    fn no_socket_is_an_error_not_a_panic() {
        assert!(MioTransmit::new(Vec::new()).is_err());
        assert!(MioReceive::new(Vec::new()).is_err());
    }
}

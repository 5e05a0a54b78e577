//! How datagrams leave and enter: the contract between the agents and whatever carries their bytes.
//!
//! Two traits, [`Transmit`] and [`Receive`], implemented by real sockets through system calls
//! ([`mio`]) or rings (`uring`), and by a network in memory ([`simulated`]); one conformance suite
//! (`tests/io_conformance.rs`) holds all of them to these rules:
//!
//! 1. **Calls never block** and, after construction, never allocate, lock or log.
//! 2. **Order holds.** Datagrams go out in the order of the messages and, within a message, of its
//!    bytes. Nothing behind a message that must wait is sent.
//! 3. **A message ends in one of three ways**: sent, refused for ever (counted in
//!    [`Sent::failed_datagrams`]), or not yet taken ([`Sent::would_block`]). [`Sent::messages`]
//!    counts the first two from the front. The caller keeps the rest and begins its next send with
//!    it: same bytes, same lengths.
//! 4. **A partial send is normal**, also inside a message that goes out datagram by datagram: the
//!    way out remembers how far it came, so no datagram is sent twice or skipped.
//! 5. **One destination cannot stop another.** A refusal (no route, no permission, too long for the
//!    path, an ICMP error of an earlier datagram) concerns its own message.
//! 6. **Segmentation is an optimisation.** What arrives is the same with and without it. A
//!    segmented send that the kernel refuses is sent again datagram by datagram at once, nothing is
//!    lost, and the way out stays without segmentation from then on ([`Transmit::segmentation`],
//!    [`TransmitCounters::segmentation_failures`]).
//! 7. **A datagram holds at most [`DATAGRAM_BYTES_MAX`] bytes** in at most [`SLICES_MAX`] slices;
//!    anything larger is refused and counted without asking the kernel.
//! 8. **An arrival is borrowed** for the duration of the sink's call and starts on a 64-byte
//!    boundary. The sink may look at every datagram of it; it cannot refuse one.
//! 9. **A zero-length datagram is a datagram**: sent, delivered as empty bytes, and counted against
//!    the bound of a receive call like any other.
//! 10. **A receive call is bounded** (a few system calls a socket). It returns
//!     [`Received::datagrams`] = 0 only after it has seen every socket empty (or failing), so a
//!     caller may park on 0. Finding a socket empty costs at most one system call.
//! 11. **Nothing arrives torn.** A datagram longer than its slot is dropped and counted
//!     ([`ReceiveCounters::truncated`]).
//! 12. **What the kernel drops is counted**: [`ReceiveCounters::kernel_drops`].

pub mod address;
pub(crate) mod backend;
mod batch;
pub mod mio;
pub mod simulated;
mod source;
mod transmit;
#[cfg(feature = "io-uring")]
pub mod uring;

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use self::address::KernelAddress;
use crate::poller::Poller;

/// Largest payload of a UDP datagram over IPv4: 65,535 less 20 bytes of IP and 8 of UDP header
/// (RFC 768, RFC 791). IPv6 allows 20 more; one figure for both keeps packets interchangeable.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Slices one datagram, or one segmented message, may be gathered from: `UIO_MAXIOV`, beyond which
/// `sendmsg(2)` fails with EMSGSIZE. A segmented message with more is sent datagram by datagram.
pub const SLICES_MAX: usize = 1024;

/// Where a datagram goes: the transmit socket that takes it and the address, also as the kernel
/// wants it, so that a send converts nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    socket: usize,
    address: SocketAddr,
    kernel_address: KernelAddress,
}

impl Destination {
    /// `socket` is the index of the transmit socket. An index that does not exist makes every send
    /// to this destination a refusal.
    #[must_use]
    pub fn new(socket: usize, address: SocketAddr) -> Self {
        Self { socket, address, kernel_address: KernelAddress::from(address) }
    }

    /// The same address through a socket that is connected to it: the kernel is told none, and
    /// looks for no route.
    #[must_use]
    pub fn connected(&self, socket: usize) -> Self {
        Self { socket, address: self.address, kernel_address: KernelAddress::EMPTY }
    }

    /// Index of the transmit socket.
    #[inline]
    #[must_use]
    pub const fn socket(&self) -> usize {
        self.socket
    }

    /// The address.
    #[inline]
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as the kernel's `sockaddr`.
    #[inline]
    pub(crate) const fn kernel_address(&self) -> &KernelAddress {
        &self.kernel_address
    }
}

/// Bytes for one destination: one datagram, or a run of datagrams of equal length that the kernel
/// (or, without GSO, the way out) cuts apart.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Where to.
    pub destination: &'a Destination,
    /// The bytes, gathered in this order. A datagram may end anywhere in a slice.
    pub slices: &'a [IoSlice<'a>],
    /// Sum of the slices' lengths.
    pub bytes: usize,
    /// 0: everything is one datagram. Otherwise each datagram has this many bytes and the last one
    /// what is left.
    pub segment_bytes: usize,
    /// Datagrams in this message: 1, or `bytes / segment_bytes` rounded up.
    pub datagrams: u32,
}

impl<'a> Message<'a> {
    /// A message of one datagram.
    #[must_use]
    pub fn single(destination: &'a Destination, slices: &'a [IoSlice<'a>]) -> Self {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        Self { destination, slices, bytes, segment_bytes: 0, datagrams: 1 }
    }

    /// A message of datagrams of `segment_bytes` each, the last one possibly shorter.
    #[must_use]
    pub fn segmented(
        destination: &'a Destination,
        slices: &'a [IoSlice<'a>],
        segment_bytes: usize,
    ) -> Self {
        let single = Self::single(destination, slices);
        let datagrams = single.bytes.div_ceil(segment_bytes.max(1)).max(1);
        let datagrams = u32::try_from(datagrams).unwrap_or(u32::MAX);
        Self { segment_bytes, datagrams, ..single }
    }

    /// Datagrams as the lengths say, whatever the field claims; at least 1.
    #[inline]
    pub(crate) const fn datagram_count(&self) -> usize {
        if self.segment_bytes == 0 || self.bytes <= self.segment_bytes {
            1
        } else {
            self.bytes.div_ceil(self.segment_bytes)
        }
    }

    /// Bytes of the longest datagram.
    #[inline]
    pub(crate) const fn datagram_bytes(&self) -> usize {
        if self.datagram_count() == 1 { self.bytes } else { self.segment_bytes }
    }
}

/// What became of the messages of one [`Transmit::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Messages taken from the front: sent, or refused for ever.
    pub messages: usize,
    /// The message after those must wait: the socket's send buffer or the device's queue is full.
    pub would_block: bool,
    /// Datagrams refused in this call.
    pub failed_datagrams: u64,
}

/// What one segmented message may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segmentation {
    /// Datagrams in one message; 1 when segmentation is not available.
    pub max_segments: usize,
    /// Bytes in one message.
    pub max_bytes: usize,
}

impl Segmentation {
    /// No segmentation: one datagram a message.
    pub const NONE: Self = Self { max_segments: 1, max_bytes: DATAGRAM_BYTES_MAX };
}

/// What a way out has counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransmitCounters {
    /// Datagrams handed over.
    pub datagrams: u64,
    /// System calls made to send (simulated: calls of [`Transmit::send`]).
    pub calls: u64,
    /// Sends that ended because the socket took no more.
    pub would_block: u64,
    /// Datagrams refused for ever: too large, unreachable, not permitted.
    pub refused: u64,
    /// Segmented sends that the kernel refused and that went out datagram by datagram instead.
    pub segmentation_failures: u64,
    /// Errors reported on a socket for datagrams sent earlier (ICMP port unreachable).
    pub peer_errors: u64,
}

/// A way out for datagrams.
pub trait Transmit {
    /// Sends messages in order until all are done or one must wait; see the rules of [`crate::io`].
    /// Cost: one system call for each batch of messages to one socket (64 at most), or for one
    /// message alone.
    fn send(&mut self, messages: &[Message<'_>]) -> Sent;

    /// What a segmented message may hold now. It may shrink after a send, never grow.
    fn segmentation(&self) -> Segmentation;

    /// The counters.
    fn counters(&self) -> TransmitCounters;
}

/// Bytes that arrived from one source: one datagram, or a run of equal ones that the kernel joined
/// (GRO).
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Index of the receiving socket.
    pub socket: usize,
    /// Who sent it, as the kernel says; anyone may have written it.
    pub source: SocketAddr,
    /// The bytes, 64-byte aligned.
    pub bytes: &'a [u8],
    /// Length of each datagram but the last; `bytes.len()` when there is one.
    pub segment_bytes: usize,
}

impl<'a> Arrival<'a> {
    /// The datagrams in the order sent; at least one, possibly empty.
    #[inline]
    #[must_use]
    pub const fn datagrams(&self) -> Datagrams<'a> {
        Datagrams { rest: Some(self.bytes), segment_bytes: self.segment_bytes }
    }

    /// How many datagrams there are; at least 1.
    #[inline]
    #[must_use]
    pub const fn datagram_count(&self) -> usize {
        if self.segment_bytes == 0 || self.bytes.len() <= self.segment_bytes {
            1
        } else {
            self.bytes.len().div_ceil(self.segment_bytes)
        }
    }
}

/// Iterator over the datagrams of an [`Arrival`].
#[derive(Debug, Clone)]
pub struct Datagrams<'a> {
    rest: Option<&'a [u8]>,
    segment_bytes: usize,
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        if self.segment_bytes == 0 || rest.len() <= self.segment_bytes {
            return Some(rest);
        }
        let (datagram, behind) = rest.split_at(self.segment_bytes);
        self.rest = Some(behind);
        Some(datagram)
    }
}

/// What one [`Receive::receive`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Datagrams taken from the sockets: shown to the sink, or dropped because a slot was too
    /// short.
    pub datagrams: usize,
    /// Every socket was seen empty. False: the call ended at its bound (there may be more), or a
    /// socket fails.
    pub would_block: bool,
}

/// What a way in has counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiveCounters {
    /// What the kernel dropped because a receive buffer was full, in the kernel's units: a run that
    /// it holds joined (GSO on the same host, or GRO) and drops as a whole counts once. Up to date
    /// with the last arrival (`SO_RXQ_OVFL`), and with everything once a socket has been found
    /// empty a few dozen times in a row.
    pub kernel_drops: u64,
    /// Datagrams longer than a slot, dropped.
    pub truncated: u64,
    /// Errors of the receive call other than nothing being there.
    pub errors: u64,
    /// System calls made to receive (simulated: calls of [`Receive::receive`]).
    pub calls: u64,
    /// Times a ring had used up its buffers while more was there, and was armed again (`uring`).
    pub rearmed: u64,
}

/// A way in for datagrams.
pub trait Receive {
    /// Takes what is there, at most a bounded amount, and shows each arrival to `sink`.
    /// Cost when nothing is there: one system call for each socket, or none (`uring`).
    fn receive(&mut self, sink: &mut dyn FnMut(&Arrival<'_>)) -> Received;

    /// As [`Receive::receive`], but where one socket is connected to the peer that sends most,
    /// looks at that one alone: one system call when nothing is there. Says nothing of the others.
    fn receive_direct(&mut self, sink: &mut dyn FnMut(&Arrival<'_>)) -> Received {
        self.receive(sink)
    }

    /// The socket kept for the peer that sends most has been connected (again): from now on it is
    /// looked at, as soon as the first socket has been seen empty. Nothing happens where there is
    /// none.
    fn set_direct(&mut self, connected: bool) {
        let _ = connected;
    }

    /// Lets arrivals end a park in `poller`. To be called once; a way in without file descriptors
    /// does nothing.
    ///
    /// # Errors
    /// The kernel's, of `epoll_ctl(2)`.
    fn register(&mut self, poller: &mut Poller) -> io::Result<()>;

    /// The counters.
    fn counters(&self) -> ReceiveCounters;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(bytes: &[u8], segment_bytes: usize) -> Arrival<'_> {
        Arrival { socket: 0, source: ([127, 0, 0, 1], 9).into(), bytes, segment_bytes }
    }

    #[test]
    fn an_arrival_gives_its_datagrams_and_an_empty_one_gives_one() {
        let bytes = [1, 2, 3, 4, 5, 6, 7];
        let cut: Vec<&[u8]> = arrival(&bytes, 3).datagrams().collect();
        assert_eq!(cut, [&[1, 2, 3][..], &[4, 5, 6], &[7]]);
        assert_eq!(arrival(&bytes, 3).datagram_count(), 3);
        let cut: Vec<&[u8]> = arrival(&bytes[..6], 3).datagrams().collect();
        assert_eq!(cut, [&[1, 2, 3][..], &[4, 5, 6]]);
        assert_eq!(arrival(&bytes[..6], 3).datagram_count(), 2);
        let cut: Vec<&[u8]> = arrival(&[], 0).datagrams().collect();
        assert_eq!(cut, [&[][..]]);
        assert_eq!(arrival(&[], 0).datagram_count(), 1);
        assert_eq!(arrival(&bytes, 7).datagrams().count(), 1);
        assert_eq!(arrival(&bytes, 0).datagrams().count(), 1);
    }

    #[test]
    fn a_message_counts_its_datagrams() {
        let destination = Destination::new(0, ([127, 0, 0, 1], 9).into());
        let slices = [IoSlice::new(&[0; 5]), IoSlice::new(&[0; 6])];
        let single = Message::single(&destination, &slices);
        assert_eq!((single.bytes, single.datagrams, single.datagram_count()), (11, 1, 1));
        let cut = Message::segmented(&destination, &slices, 4);
        assert_eq!((cut.bytes, cut.datagrams, cut.datagram_count()), (11, 3, 3));
        assert_eq!(Message::segmented(&destination, &[], 4).datagrams, 1);
        assert_eq!(Message::segmented(&destination, &slices, 11).datagrams, 1);
    }
}

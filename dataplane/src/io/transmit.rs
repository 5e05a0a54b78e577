//! Messages → batches for one socket: what may leave whole, what is cut, what an error means, and
//! how far a message came. The rules of [`crate::io`] for real sockets, whichever call carries the
//! batches: [`Carry`] is `sendmmsg` or a ring. Used by `io/mio.rs` and `io/uring.rs`.

use std::io;

use super::batch::{BATCH_MESSAGES, Pieces};
use super::{
    DATAGRAM_BYTES_MAX, Message, SLICES_MAX, Segmentation, Sent, Transmit, TransmitCounters,
};
use crate::sys::Outgoing;

/// Errors of earlier datagrams taken off a socket before one message counts as refused. Each try
/// clears one, and a socket holds one at a time, so two in a row already mean a racing peer.
const PEER_ERRORS_MAX: u32 = 4;

/// What brings a batch to the kernel, and owns the sockets.
pub(super) trait Carry {
    /// How many sockets there are.
    fn sockets(&self) -> usize;

    /// Sends through socket `index`, in order, up to the first that the kernel does not take:
    /// nothing behind it goes. Returns how many went; an error concerns the first one. At most
    /// [`BATCH_MESSAGES`]; the kernel is done with their bytes when this returns.
    fn carry<'a>(
        &mut self,
        index: usize,
        outgoing: impl ExactSizeIterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize>;
}

/// UDP sockets as a way out.
#[derive(Debug)]
pub(super) struct SocketTransmit<C> {
    carrier: C,
    segmentation: Segmentation,
    counters: TransmitCounters,
    front: Front,
}

/// How far the first message came that goes out datagram by datagram.
#[derive(Debug, Default)]
struct Front {
    /// Its datagrams that are sent or refused.
    done: usize,
    /// What it was, to know it again.
    destination: Option<(usize, std::net::SocketAddr)>,
    bytes: usize,
    segment_bytes: usize,
    /// The kernel refused it as a segmented send; if its datagrams pass alone, GSO is at fault.
    suspect: bool,
}

impl Front {
    fn begin(message: &Message<'_>, suspect: bool) -> Self {
        Self {
            done: 0,
            destination: Some((message.destination.socket(), message.destination.address())),
            bytes: message.bytes,
            segment_bytes: message.segment_bytes,
            suspect,
        }
    }

    fn is(&self, message: &Message<'_>) -> bool {
        let destination = (message.destination.socket(), message.destination.address());
        self.destination == Some(destination)
            && self.bytes == message.bytes
            && self.segment_bytes == message.segment_bytes
    }

    const fn is_begun(&self) -> bool {
        self.destination.is_some()
    }
}

/// How a message goes out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As one entry of a send.
    Whole,
    /// Datagram by datagram.
    Cut,
    /// Not at all.
    Refused,
}

/// What an error of a send means.
enum Verdict {
    /// Nothing happened: again.
    Again,
    /// The socket's send buffer or the device's queue is full.
    Full,
    /// An earlier datagram's destination answered that nobody listens; this one was not sent yet.
    Peer,
    /// Perhaps the segmentation, perhaps the length: try the datagrams alone.
    Segmentation,
    /// For ever.
    Refused,
}

fn verdict(error: &io::Error) -> Verdict {
    match error.raw_os_error() {
        Some(libc::EINTR) => Verdict::Again,
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Verdict::Full,
        Some(libc::ECONNREFUSED) => Verdict::Peer,
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP) => Verdict::Segmentation,
        _ => Verdict::Refused,
    }
}

/// What became of the front of the messages.
enum Step {
    Taken(usize),
    Blocked,
}

impl<C: Carry> SocketTransmit<C> {
    /// A way out through the sockets of `carrier`.
    ///
    /// # Errors
    /// When there is no socket.
    pub(super) fn new(carrier: C, segmentation: Segmentation) -> io::Result<Self> {
        if carrier.sockets() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no socket to send through"));
        }
        let (counters, front) = (TransmitCounters::default(), Front::default());
        Ok(Self { carrier, segmentation, counters, front })
    }

    #[cfg(feature = "io-uring")]
    pub(super) const fn carrier(&self) -> &C {
        &self.carrier
    }

    #[inline]
    fn way(&self, message: &Message<'_>) -> Way {
        let datagrams = message.datagram_count();
        if message.datagram_bytes() > DATAGRAM_BYTES_MAX
            || message.destination.socket() >= self.carrier.sockets()
        {
            Way::Refused
        } else if datagrams == 1 {
            if message.slices.len() <= SLICES_MAX { Way::Whole } else { Way::Refused }
        } else if datagrams <= self.segmentation.max_segments
            && message.bytes <= self.segmentation.max_bytes
            && message.slices.len() <= SLICES_MAX
        {
            Way::Whole
        } else {
            Way::Cut
        }
    }

    fn refuse(&mut self, datagrams: usize) {
        self.counters.refused += datagrams as u64;
    }

    /// Sends the run of whole messages at the front that leave by one socket.
    fn send_whole(&mut self, messages: &[Message<'_>]) -> Step {
        let index = messages[0].destination.socket();
        let run = messages
            .iter()
            .take(BATCH_MESSAGES)
            .take_while(|m| m.destination.socket() == index && self.way(m) == Way::Whole)
            .count();
        let mut peer_errors = 0;
        loop {
            self.counters.calls += 1;
            let error = match self.carrier.carry(index, messages[..run].iter().map(whole)) {
                Ok(0) => return Step::Blocked,
                Ok(sent) => {
                    let datagrams = messages[..sent].iter().map(|m| m.datagram_count() as u64);
                    self.counters.datagrams += datagrams.sum::<u64>();
                    return Step::Taken(sent);
                }
                Err(error) => error,
            };
            // The error is the first message's: had another failed, the call had said so next time.
            let datagrams = messages[0].datagram_count();
            match verdict(&error) {
                Verdict::Again => continue,
                Verdict::Full => return Step::Blocked,
                Verdict::Peer if peer_errors < PEER_ERRORS_MAX => {
                    peer_errors += 1;
                    self.counters.peer_errors += 1;
                    continue;
                }
                Verdict::Segmentation if datagrams > 1 => {
                    self.front = Front::begin(&messages[0], true);
                    return self.send_cut(&messages[0]);
                }
                Verdict::Peer | Verdict::Segmentation | Verdict::Refused => self.refuse(datagrams),
            }
            return Step::Taken(1);
        }
    }

    /// Sends the datagrams of one message from where `front` stands.
    #[cold]
    fn send_cut(&mut self, message: &Message<'_>) -> Step {
        let total = message.datagram_count();
        let index = message.destination.socket();
        let mut pieces = Pieces::new();
        let mut peer_errors = 0;
        while self.front.done < total {
            let cut = pieces.cut(message, self.front.done);
            if cut == 0 {
                self.refuse(1);
                self.front.done += 1;
                continue;
            }
            self.counters.calls += 1;
            match self.carrier.carry(index, pieces.outgoing(message)) {
                Ok(0) => return Step::Blocked,
                Ok(sent) => {
                    self.cleared(message);
                    self.counters.datagrams += sent as u64;
                    self.front.done += sent;
                    peer_errors = 0;
                }
                Err(error) => match verdict(&error) {
                    Verdict::Again => {}
                    Verdict::Full => return Step::Blocked,
                    Verdict::Peer if peer_errors < PEER_ERRORS_MAX => {
                        peer_errors += 1;
                        self.counters.peer_errors += 1;
                    }
                    Verdict::Peer | Verdict::Segmentation | Verdict::Refused => {
                        self.refuse(1);
                        self.front.done += 1;
                    }
                },
            }
        }
        self.front = Front::default();
        Step::Taken(1)
    }

    /// The datagram at `front` passed alone. If the kernel refused it inside a segmented send, then
    /// segmentation is at fault: off from now on. If every full-length datagram is refused alone as
    /// well, the path is too narrow for them and segmentation stays.
    fn cleared(&mut self, message: &Message<'_>) {
        let full_length = (self.front.done + 1) * message.segment_bytes <= message.bytes;
        if self.front.suspect && full_length {
            self.front.suspect = false;
            self.counters.segmentation_failures += 1;
            self.segmentation = Segmentation::NONE;
        }
    }

    /// The caller came back with something else than the message it had to begin with: what was
    /// left of that is not coming.
    fn abandon_front_unless(&mut self, message: &Message<'_>) {
        if self.front.is_begun() && !self.front.is(message) {
            let front = std::mem::take(&mut self.front);
            self.refuse(front.bytes.div_ceil(front.segment_bytes.max(1)) - front.done);
        }
    }
}

#[inline]
fn whole<'a>(message: &Message<'a>) -> Outgoing<'a> {
    let segment_bytes = if message.datagram_count() == 1 { 0 } else { message.segment_bytes };
    Outgoing {
        address: message.destination.kernel_address(),
        slices: message.slices,
        // At most DATAGRAM_BYTES_MAX by `way`.
        segment_bytes: u16::try_from(segment_bytes).unwrap_or(u16::MAX),
    }
}

impl<C: Carry> Transmit for SocketTransmit<C> {
    fn send(&mut self, messages: &[Message<'_>]) -> Sent {
        let refused_before = self.counters.refused;
        let mut sent = Sent::default();
        if let Some(first) = messages.first() {
            self.abandon_front_unless(first);
        }
        while let Some(message) = messages.get(sent.messages) {
            let step = if self.front.is_begun() {
                self.send_cut(message)
            } else {
                match self.way(message) {
                    Way::Whole => self.send_whole(&messages[sent.messages..]),
                    Way::Cut => {
                        self.front = Front::begin(message, false);
                        self.send_cut(message)
                    }
                    Way::Refused => {
                        self.refuse(message.datagram_count());
                        Step::Taken(1)
                    }
                }
            };
            match step {
                Step::Taken(taken) => sent.messages += taken,
                Step::Blocked => {
                    self.counters.would_block += 1;
                    sent.would_block = true;
                    break;
                }
            }
        }
        sent.failed_datagrams = self.counters.refused - refused_before;
        sent
    }

    #[inline]
    fn segmentation(&self) -> Segmentation {
        self.segmentation
    }

    fn counters(&self) -> TransmitCounters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::net::{Ipv4Addr, UdpSocket};
    use std::os::fd::AsFd;

    use super::*;
    use crate::io::mio::{MioReceive, MioTransmit};
    use crate::io::{Destination, Receive};
    use crate::sys;

    fn loopback() -> UdpSocket {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
    }

    /// F12, the device: a kernel that refuses segmented sends though it takes plain ones. Forced by
    /// SO_NO_CHECK, since `udp_send_skb` answers EINVAL to GSO without checksums.
    fn refused_segmentation(transmit_of: impl Fn(UdpSocket) -> Box<dyn Transmit>) {
        let (out, peer) = (loopback(), loopback());
        sys::set_option(out.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let destination = Destination::new(0, peer.local_addr().unwrap());
        let mut receive = MioReceive::new(vec![peer]).unwrap();
        let mut transmit = transmit_of(out);
        assert!(transmit.segmentation().max_segments > 1);
        let run: Vec<u8> = (0..250).collect();
        let slices = [IoSlice::new(&run[..77]), IoSlice::new(&run[77..])];
        let before = Message::single(&destination, &slices);
        let segmented = Message::segmented(&destination, &slices, 100);
        let sent = transmit.send(&[before, segmented, segmented, before]);
        assert_eq!(sent, Sent { messages: 4, would_block: false, failed_datagrams: 0 });
        let mut arrived = Vec::new();
        for _ in 0..4 {
            receive.receive(&mut |arrival| arrived.extend(arrival.datagrams().map(<[u8]>::to_vec)));
        }
        let mut expected = vec![run.clone()];
        expected.extend(run.chunks(100).map(<[u8]>::to_vec));
        expected.extend(run.chunks(100).map(<[u8]>::to_vec));
        expected.push(run.clone());
        assert_eq!(arrived, expected);
        // Once was enough: the second run was not tried as one, and the flag is there to export.
        assert_eq!(transmit.segmentation(), Segmentation::NONE);
        let counters = transmit.counters();
        assert_eq!((counters.segmentation_failures, counters.refused), (1, 0));
        assert_eq!(counters.datagrams, 8);
    }

    #[test]
    fn f12_refused_segmentation_is_sent_again_datagram_by_datagram_and_stays_off() {
        refused_segmentation(|socket| Box::new(MioTransmit::new(vec![socket]).unwrap()));
    }

    #[cfg(feature = "io-uring")]
    #[test]
    fn f12_refused_segmentation_is_sent_again_by_a_ring_as_well() {
        use crate::io::uring::{UringTransmit, probe};
        if probe().is_ok() {
            refused_segmentation(|socket| Box::new(UringTransmit::new(vec![socket]).unwrap()));
        }
    }
}

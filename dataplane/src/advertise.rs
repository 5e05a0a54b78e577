//! Tells senders how far their streams have come and how much more this node takes.
//!
//! Owned by a receiver, with a way out of its own over the receiving sockets. What a socket's
//! buffer holds is shared evenly by the streams heard lately; each is told again when it has used
//! a quarter of its share, at its first packet, and whenever it asks.

use std::io::IoSlice;
use std::net::SocketAddr;

use wireloom_seal::{Mode, SealingKey};
use wireloom_wire::{PACKET_HEADER_BYTES, PacketHeader, Status, TAG_BYTES, packet_charge};

use crate::counters::{Counter, Counters};
use crate::io::{Destination, Message, Transmit};
use crate::receiver::Arrived;
use crate::sources::Sources;

/// A stream is told when it has used this part of its window. Less often, and the sender waits for
/// the word; more often, and the words cost more than they win (2 µs each, both sides).
const WINDOW_SHARES: u64 = 4;

/// Whatever many streams share the buffer, each may have this much on its way.
const WINDOW_BYTES_MIN: u64 = crate::credit::FIRST_WINDOW;

/// How often the streams heard lately are counted.
const COUNT_NS: u64 = 10_000_000;

/// Whom a word goes to: the socket and the address a packet came by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReturnAddress {
    pub(crate) socket: usize,
    pub(crate) address: SocketAddr,
}

/// What one stream has used since it was last told; part of each stream's [`Source`].
///
/// [`Source`]: crate::sources::Source
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Untold {
    bytes: u64,
    /// The stream has been told at least once: it takes part in sharing.
    pub(crate) shares: bool,
}

/// The receiver's side of flow control.
#[derive(Debug)]
pub(crate) struct Advertiser<T> {
    answers: T,
    /// What the streams may have on their way, all together.
    budget_bytes: u64,
    streams: u64,
    count_at_ns: u64,
}

impl<T: Transmit> Advertiser<T> {
    pub(crate) const fn new(answers: T, budget_bytes: u64) -> Self {
        Self { answers, budget_bytes, streams: 1, count_at_ns: 0 }
    }

    /// What each stream may have on its way.
    #[inline]
    fn window_bytes(&self) -> u64 {
        (self.budget_bytes / self.streams.max(1)).max(WINDOW_BYTES_MIN)
    }

    /// Charges a packet to its stream; true when its sender is to be told.
    #[inline]
    pub(crate) fn charge(&self, untold: &mut Untold, header: &PacketHeader) -> bool {
        untold.bytes += packet_charge(header.length as usize);
        let asked = header.frame_count == 0;
        if !asked && untold.shares && untold.bytes < self.window_bytes() / WINDOW_SHARES {
            return false;
        }
        *untold = Untold { bytes: 0, shares: true };
        true
    }

    /// Counts the streams anew when it is time.
    #[inline]
    pub(crate) fn count(&mut self, sources: &Sources, now_ns: u64) {
        if now_ns >= self.count_at_ns {
            self.count_at_ns = now_ns + COUNT_NS;
            self.streams = sources.sharing(now_ns);
        }
    }

    /// What is to be said of a stream of which everything before `next_sequence` has been taken.
    #[inline]
    pub(crate) fn status(&self, header: &PacketHeader, next_sequence: u64) -> Status {
        Status {
            source: header.source,
            session: header.session,
            lane: header.lane,
            next_sequence,
            window_bytes: self.window_bytes(),
        }
    }

    /// Tells the sender of a stream; sealed where the stream is, by the key for it. A word that has
    /// no such key, or that the socket does not take now, is dropped: the sender asks when it
    /// misses one.
    pub(crate) fn tell(
        &mut self,
        status: &Status,
        key: Option<Option<&mut SealingKey>>,
        arrived: Arrived,
        counters: &Counters,
    ) {
        let mut bytes = [0; PACKET_HEADER_BYTES + TAG_BYTES];
        let length = match key {
            None => {
                bytes[..PACKET_HEADER_BYTES].copy_from_slice(&status.encode());
                PACKET_HEADER_BYTES
            }
            Some(key) => {
                let header = (&status.header(), Mode::Full);
                let sealed = key.map(|key| key.seal(header, [], &mut bytes, arrived.now_ns));
                let Some(Ok(length)) = sealed else { return };
                length
            }
        };
        let destination = Destination::new(arrived.sender.socket, arrived.sender.address);
        let slices = [IoSlice::new(&bytes[..length])];
        let sent = self.answers.send(&[Message::single(&destination, &slices)]);
        if sent.messages == 1 && sent.failed_datagrams == 0 {
            counters.add(Counter::StatusesSent, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::simulated::{LinkModel, SimulatedNetwork};
    use wireloom_wire::{NodeId, PacketFlags, SessionId};

    fn header(frame_count: u16) -> PacketHeader {
        PacketHeader {
            flags: PacketFlags::SEQUENCED,
            lane: 2,
            frame_count,
            length: 1_584,
            session: SessionId(1),
            source: NodeId(1),
            sequence: 0,
            first_event: 0,
        }
    }

    #[test]
    fn a_stream_is_told_at_first_then_at_each_quarter_and_when_it_asks() {
        let network = SimulatedNetwork::new(1, LinkModel::LOSSLESS);
        let (answers, _) = network.endpoint(([10, 0, 0, 1], 1).into(), &[]);
        // A quarter of it is twenty packets of 1,584 + 416 bytes.
        let advertiser = Advertiser::new(answers, 160_000);
        let mut untold = Untold::default();
        let told: Vec<usize> =
            (0..45).filter(|_| advertiser.charge(&mut untold, &header(1))).collect();
        assert_eq!(told, [0, 20, 40]);
        assert!(advertiser.charge(&mut untold, &header(0)), "a marker asks");
        assert!(!advertiser.charge(&mut untold, &header(1)));
    }

    #[test]
    fn streams_share_the_budget_down_to_a_least_window() {
        let network = SimulatedNetwork::new(1, LinkModel::LOSSLESS);
        let (answers, _) = network.endpoint(([10, 0, 0, 1], 1).into(), &[]);
        let mut advertiser = Advertiser::new(answers, 1 << 20);
        let mut sources = Sources::new(64);
        for session in 0..64 {
            let header = PacketHeader { session: SessionId(session), ..header(1) };
            let crate::sources::Found::Source { source, .. } = sources.find(&header, 5) else {
                panic!("there is room");
            };
            source.untold.shares = session < 4;
        }
        advertiser.count(&sources, 10);
        assert_eq!(advertiser.window_bytes(), 1 << 18);
        sources.find(&header(1), 5);
        advertiser.streams = 64;
        assert_eq!(advertiser.window_bytes(), WINDOW_BYTES_MIN);
        advertiser.count(&sources, 10 + crate::sources::LATELY_NS + COUNT_NS);
        assert_eq!(advertiser.streams, 0, "all have fallen silent");
    }
}

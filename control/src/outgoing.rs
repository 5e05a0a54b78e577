//! The sending side of a reliable stream: what was written by publishers becomes numbered packets,
//! which stay where they are until the peer has taken them.
//!
//! Sans-IO. Owns the consumers of the rings that feed it; knows no socket, no clock. Packets keep
//! their bounds, sequences and bytes however often they are sent:
//!
//! ```text
//!  acknowledged          written on this link      begun      formed      in the rings
//!  ···──────────┬─────────────────────────────┬───────────┬───────────┬───────────────···
//!             first                     first + cursor             first + packets
//! ```

pub(crate) mod large;
pub(crate) mod pieces;

use std::collections::VecDeque;
use std::sync::Arc;

use wireloom_ring::{Retained, record_length, record_spacing};
use wireloom_wire::{
    Frame, Frames, Lane, NodeId, PACKET_HEADER_BYTES, PacketFlags, PacketHeader, SessionId,
    body_hash, take_frames,
};

use crate::tally::{Tally, Undelivered};
pub(crate) use pieces::{FIRST_WINDOW_BYTES, Pieces};

/// The longest packet of a link: what a datagram holds too, so that a frame which fits one fits the
/// other.
pub const PACKET_BYTES_MAX: usize = 65_504;

/// The longest frame of a reliable event.
pub const FRAME_BYTES_MAX: usize = PACKET_BYTES_MAX - PACKET_HEADER_BYTES;

/// Packets formed and not acknowledged: a bound on memory where publishers are so slow that each
/// event becomes a packet, and the peer slower still. Beyond it events wait in their rings.
const PACKETS_MAX: usize = 4_096;

/// What the packets of a stream that are formed take at most, bytes.
pub(crate) const FORMED_BYTES_MAX: usize = PACKETS_MAX * size_of::<Formed>();

/// A ring that feeds a stream.
#[derive(Debug)]
pub struct Feed {
    ring: Retained,
    tally: Arc<Tally>,
    /// Packets of it that are not acknowledged.
    packets: usize,
    /// The feed of the same publisher before it, as long as that is there.
    after: Option<usize>,
}

impl Feed {
    /// A ring of frames, and the account of what becomes of them. A ring with an account that came
    /// with another one before goes on where that ends: its frames are sent when the publisher has
    /// closed the other and all of that has been read.
    #[must_use]
    pub const fn new(ring: Retained, tally: Arc<Tally>) -> Self {
        Self { ring, tally, packets: 0, after: None }
    }

    /// Whether nothing more can be read from it, now or later.
    fn is_drained(&self) -> bool {
        self.ring.is_closed() && !self.ring.has_more()
    }
}

/// A packet that was formed: its header, and where its frames lie.
#[derive(Debug)]
struct Formed {
    header: [u8; PACKET_HEADER_BYTES],
    feed: usize,
    position: u64,
    bytes: usize,
    events: u16,
}

/// The peer acknowledged, or wants, what was never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NeverSent;

/// One stream to one peer.
#[derive(Debug)]
pub(crate) struct Outgoing {
    source: NodeId,
    lane: Lane,
    session: SessionId,
    feeds: Vec<Option<Feed>>,
    /// The feed that is asked next.
    turn: usize,
    packets: VecDeque<Formed>,
    /// Sequence of the first packet that is not acknowledged.
    first: u64,
    next_event: u64,
    /// How many of the packets have been written on this link whole.
    cursor: usize,
    /// Their bytes.
    written_bytes: usize,
    /// Bytes written of the packet after those.
    partial: usize,
    /// The sequence after the last packet of which anything was ever written.
    begun: u64,
    /// As far as the peer has acknowledged: ahead of `first` only while a packet is half written.
    acknowledged: u64,
}

impl Outgoing {
    pub(crate) const fn new(source: NodeId, lane: Lane, session: SessionId) -> Self {
        Self {
            source,
            lane,
            session,
            feeds: Vec::new(),
            turn: 0,
            packets: VecDeque::new(),
            first: 0,
            next_event: 0,
            cursor: 0,
            written_bytes: 0,
            partial: 0,
            begun: 0,
            acknowledged: 0,
        }
    }

    pub(crate) const fn lane(&self) -> Lane {
        self.lane
    }

    pub(crate) const fn session(&self) -> SessionId {
        self.session
    }

    /// Sequence of the first packet that is not acknowledged.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn attach(&mut self, mut feed: Feed) {
        let is_same = |old: &Feed| Arc::ptr_eq(&old.tally, &feed.tally);
        feed.after = self.feeds.iter().rposition(|slot| slot.as_ref().is_some_and(is_same));
        // Behind the one it follows, so that the feeds of a publisher stand in their order.
        let from = feed.after.map_or(0, |before| before + 1);
        match self.feeds[from..].iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(feed),
            None => self.feeds.push(Some(feed)),
        }
    }

    /// Whether publishers still hold a ring of it.
    pub(crate) fn is_fed(&self) -> bool {
        self.feeds.iter().any(Option::is_some)
    }

    /// Whether anything is to be sent or to be acknowledged.
    pub(crate) fn is_pending(&self) -> bool {
        !self.packets.is_empty() || self.has_more()
    }

    /// Whether there are events that are not in a packet yet.
    pub(crate) fn has_more(&self) -> bool {
        self.feeds.iter().flatten().any(|feed| feed.ring.has_more())
    }

    /// Bytes that were written on this link and are not acknowledged.
    pub(crate) const fn unacknowledged_bytes(&self) -> usize {
        self.written_bytes + self.partial
    }

    /// Whether packets that were written, be it in part, wait for the peer's word. A half-written
    /// one counts: a peer that went away in the middle of it would else never be missed.
    pub(crate) const fn awaits_word(&self) -> bool {
        self.cursor > 0 || self.partial > 0
    }

    /// Makes sure that the packet `ahead` of the first unwritten one is formed, if there are events
    /// for it. Hashes its bytes; copies none.
    pub(crate) fn form(&mut self, ahead: usize) -> bool {
        while self.packets.len() <= self.cursor + ahead {
            if self.packets.len() >= PACKETS_MAX || !self.form_next() {
                return false;
            }
        }
        true
    }

    fn form_next(&mut self) -> bool {
        for _ in 0..self.feeds.len() {
            self.turn = (self.turn + 1) % self.feeds.len();
            if self.form_from(self.turn) {
                return true;
            }
        }
        false
    }

    /// Whether what the publisher wrote before this feed has been read: all of it, as a feed
    /// between may have been closed without an event.
    fn is_its_turn(&self, feed: &Feed) -> bool {
        let before = |of: &Feed| of.after.and_then(|before| self.feeds.get(before)?.as_ref());
        std::iter::successors(before(feed), |of| before(of)).all(Feed::is_drained)
    }

    fn form_from(&mut self, index: usize) -> bool {
        let Some(feed) = self.feeds.get(index).and_then(Option::as_ref) else { return false };
        if !feed.ring.has_more() || !self.is_its_turn(feed) {
            return false;
        }
        let Some(feed) = self.feeds.get_mut(index).and_then(Option::as_mut) else { return false };
        let batch = feed.ring.read();
        let (bytes, events) = take_frames(batch, FRAME_BYTES_MAX);
        if events == 0 {
            // A record that is no frame, or too long for any packet: writers are held to both, so
            // that this is a fault of theirs. It is passed over, and goes with the next release.
            let spacing = record_spacing(record_length(batch)).min(batch.len());
            feed.ring.take(spacing);
            return false;
        }
        let sequence = self.first + self.packets.len() as u64;
        let header = PacketHeader {
            flags: PacketFlags::SEQUENCED,
            lane: self.lane,
            frame_count: events,
            length: u32::try_from(PACKET_HEADER_BYTES + bytes).unwrap_or(u32::MAX),
            session: self.session,
            source: self.source,
            sequence,
            first_event: self.next_event,
        };
        let header = header.encode(Some(body_hash(&batch[..bytes])));
        let position = feed.ring.take(bytes);
        feed.packets += 1;
        self.packets.push_back(Formed { header, feed: index, position, bytes, events });
        self.next_event += u64::from(events);
        true
    }

    /// The bytes that are left of the packet `ahead` of the first unwritten one, as header and
    /// frames; `None` when it is not formed.
    pub(crate) fn unwritten(&self, ahead: usize) -> Option<[&[u8]; 2]> {
        let packet = self.packets.get(self.cursor + ahead)?;
        let feed = self.feeds.get(packet.feed)?.as_ref()?;
        let frames = feed.ring.bytes(packet.position, packet.bytes);
        let done = if ahead == 0 { self.partial } else { 0 };
        let header = packet.header.get(done..).unwrap_or_default();
        Some([header, frames.get(done.saturating_sub(PACKET_HEADER_BYTES)..).unwrap_or_default()])
    }

    /// Whether a packet is half written: nothing else may be written on the link before its rest.
    pub(crate) const fn is_half_written(&self) -> bool {
        self.partial > 0
    }

    /// The link took up to `bytes` of the first unwritten packet; gives what is left of `bytes`
    /// for other packets.
    pub(crate) fn wrote(&mut self, bytes: usize) -> usize {
        let Some(packet) = self.packets.get(self.cursor) else { return bytes };
        let length = PACKET_HEADER_BYTES + packet.bytes;
        let taken = bytes.min(length - self.partial);
        self.partial += taken;
        if taken > 0 {
            self.begun = self.begun.max(self.first + self.cursor as u64 + 1);
        }
        if self.partial == length {
            self.partial = 0;
            self.cursor += 1;
            self.written_bytes += length;
            self.settle();
        }
        bytes - taken
    }

    /// The peer has taken everything before `next`. True when that is news.
    pub(crate) fn acknowledge(&mut self, next: u64) -> Result<bool, NeverSent> {
        if next > self.begun {
            return Err(NeverSent);
        }
        if next <= self.acknowledged {
            return Ok(false);
        }
        self.acknowledged = next;
        self.settle();
        Ok(true)
    }

    /// Lets go of what is acknowledged, but not of a packet whose rest must still be written.
    fn settle(&mut self) {
        let half_written = self.first + self.cursor as u64;
        let until =
            if self.partial > 0 { self.acknowledged.min(half_written) } else { self.acknowledged };
        while self.first < until {
            let Some(packet) = self.packets.pop_front() else { return };
            self.first += 1;
            if self.cursor > 0 {
                self.cursor -= 1;
                self.written_bytes -= PACKET_HEADER_BYTES + packet.bytes;
            }
            if let Some(feed) = self.feeds.get_mut(packet.feed).and_then(Option::as_mut) {
                feed.packets -= 1;
                feed.ring.release_to(packet.position + packet.bytes as u64);
                feed.tally.deliver(u64::from(packet.events));
            }
        }
    }

    /// A new link begins, and the peer wants the packets from `wanted` on. Gives how many are sent
    /// again.
    pub(crate) fn resume(&mut self, wanted: u64) -> Result<u64, NeverSent> {
        if wanted < self.first || wanted > self.begun {
            return Err(NeverSent);
        }
        self.partial = 0;
        self.settle();
        self.cursor = usize::try_from(wanted.saturating_sub(self.first)).unwrap_or(0);
        let written = self.packets.iter().take(self.cursor);
        self.written_bytes = written.map(|packet| PACKET_HEADER_BYTES + packet.bytes).sum();
        Ok(self.begun - wanted)
    }

    /// The link has ended: nothing is written until [`Outgoing::resume`].
    pub(crate) fn interrupt(&mut self) {
        (self.partial, self.cursor, self.written_bytes) = (0, 0, 0);
        self.settle();
    }

    /// A packet without frames, which asks the peer how far it has come.
    pub(crate) fn question(&self) -> [u8; PACKET_HEADER_BYTES] {
        let header = PacketHeader {
            flags: PacketFlags::SEQUENCED,
            lane: self.lane,
            frame_count: 0,
            length: u32::try_from(PACKET_HEADER_BYTES).unwrap_or(u32::MAX),
            session: self.session,
            source: self.source,
            sequence: self.first + self.cursor as u64,
            first_event: self.next_event,
        };
        header.encode(Some(body_hash(&[])))
    }

    /// Gives up every event that is not acknowledged, those still in the rings included, and begins
    /// a new session. `letter` sees each of them.
    pub(crate) fn give_up(
        &mut self,
        reason: Undelivered,
        session: SessionId,
        mut letter: impl FnMut(&Frame<'_>),
    ) {
        let mut given_up = vec![0_u64; self.feeds.len()];
        for packet in std::mem::take(&mut self.packets) {
            let Some(feed) = self.feeds.get_mut(packet.feed).and_then(Option::as_mut) else {
                continue;
            };
            Frames::new(feed.ring.bytes(packet.position, packet.bytes))
                .flatten()
                .for_each(|frame| letter(&frame));
            given_up[packet.feed] += u64::from(packet.events);
        }
        for (feed, mut events) in self.feeds.iter_mut().zip(given_up) {
            let Some(feed) = feed else { continue };
            // What lies before the end of the memory, and what lies at its front.
            for _ in 0..2 {
                let batch = feed.ring.read();
                let bytes = batch.len();
                for frame in Frames::new(batch).flatten() {
                    events += 1;
                    letter(&frame);
                }
                feed.ring.take(bytes);
            }
            feed.packets = 0;
            feed.ring.release_to(feed.ring.ahead());
            feed.tally.give_up(events, reason);
        }
        self.session = session;
        (self.first, self.next_event, self.begun, self.acknowledged) = (0, 0, 0, 0);
        (self.cursor, self.partial, self.written_bytes) = (0, 0, 0);
    }

    /// Lets go of rings whose publishers are gone and whose events are settled.
    pub(crate) fn drop_ended(&mut self) {
        for index in 0..self.feeds.len() {
            let feed = self.feeds[index].as_ref();
            if let Some(ended) = feed.filter(|feed| feed.packets == 0 && feed.is_drained()) {
                let after = ended.after;
                self.feeds[index] = None;
                let followers = self.feeds.iter_mut().flatten();
                followers.filter(|feed| feed.after == Some(index)).for_each(|f| f.after = after);
            }
        }
        while self.feeds.pop_if(|slot| slot.is_none()).is_some() {}
    }
}

#[cfg(test)]
#[path = "outgoing/tests.rs"]
mod tests;

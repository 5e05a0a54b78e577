//! The sending side of a stream of pieces: large events, one after the other, each cut into packets
//! that are numbered when they are first formed and look the same however often they are sent.
//!
//! Sans-IO, like [`super::Outgoing`], whose twin it is. It owns the events that are not
//! acknowledged; a packet on its way out is a head of its own and a slice of its event.
//!
//! ```text
//!  acknowledged    written on this link    formed         granted
//!  ···──────────┬──────────────────────┬────────────┬──────────────────┬───···
//!          events[0]                 cursor    + heads.len()        allowed
//! ```

use std::collections::VecDeque;

use wireloom_wire::{
    BodyHash, Frame, Lane, NodeId, PACKET_HEADER_BYTES, PIECE_HEAD_BYTES, PacketFlags,
    PacketHeader, Piece, SessionId, align_up,
};

use super::large::Large;
use super::{NeverSent, PACKET_BYTES_MAX};
use crate::tally::Undelivered;

/// What stands before a slice in its packet.
const HEAD_BYTES: usize = PACKET_HEADER_BYTES + PIECE_HEAD_BYTES;

/// Bytes of an event in one packet; the last packet of an event has what is left.
pub(crate) const SLICE_BYTES_MAX: usize = PACKET_BYTES_MAX - HEAD_BYTES;

/// Bytes that may be sent before the peer's first word of the stream on a link: an announcement and
/// most events that are just too large for a packet, and little for a peer to hold unasked.
pub(crate) const FIRST_WINDOW_BYTES: u64 = 128 << 10;

const _: () = assert!(SLICE_BYTES_MAX.is_multiple_of(16));

/// Where an event stands in its stream: settled when its first piece is formed.
#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    /// Of its first piece.
    sequence: u64,
    /// Events before it.
    event: u64,
    /// Bytes of slices before it.
    position: u64,
}

#[derive(Debug)]
struct Sending {
    large: Large,
    numbers: Option<Numbers>,
}

impl Sending {
    fn pieces(&self) -> u64 {
        self.large.length().div_ceil(SLICE_BYTES_MAX) as u64
    }
}

/// A place between two pieces: an event and how many of its bytes are before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Spot {
    event: usize,
    offset: usize,
}

/// A piece that was formed and not written whole.
#[derive(Debug)]
struct Formed {
    head: [u8; HEAD_BYTES],
    spot: Spot,
    slice_bytes: usize,
}

/// One stream to one peer.
#[derive(Debug)]
pub(crate) struct Pieces {
    source: NodeId,
    lane: Lane,
    session: SessionId,
    events: VecDeque<Sending>,
    /// The numbers of the first event that has none.
    next: Numbers,
    /// Everything before it has been written on this link whole.
    cursor: Spot,
    formed: VecDeque<Formed>,
    /// Bytes written of the first formed piece.
    partial: usize,
    /// The sequence after the last piece of which anything was ever written.
    begun: u64,
    /// The position up to which the peer lets this link go.
    allowed: u64,
    /// The furthest it ever let one go: beyond it is progress.
    allowed_most: u64,
    /// The largest event the peer takes.
    event_bytes_max: usize,
}

impl Pieces {
    pub(crate) fn new(source: NodeId, lane: Lane, session: SessionId) -> Self {
        Self {
            source,
            lane,
            session,
            events: VecDeque::new(),
            next: Numbers::default(),
            cursor: Spot::default(),
            formed: VecDeque::new(),
            partial: 0,
            begun: 0,
            allowed: 0,
            allowed_most: 0,
            event_bytes_max: 0,
        }
    }

    pub(crate) const fn lane(&self) -> Lane {
        self.lane
    }

    pub(crate) const fn session(&self) -> SessionId {
        self.session
    }

    /// Sequence of the first piece that is not acknowledged.
    pub(crate) fn first(&self) -> u64 {
        self.first_numbers().sequence
    }

    fn first_numbers(&self) -> Numbers {
        self.events.front().and_then(|sending| sending.numbers).unwrap_or(self.next)
    }

    pub(crate) fn push(&mut self, large: Large) {
        self.events.push_back(Sending { large, numbers: None });
    }

    /// Whether anything is to be sent or to be acknowledged.
    pub(crate) fn is_pending(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether pieces that were written, be it in part, wait for the peer's word.
    pub(crate) fn awaits_word(&self) -> bool {
        self.cursor != Spot::default() || self.partial > 0
    }

    /// Makes sure that the piece `ahead` of the first unwritten one is formed, if there is one and
    /// the peer lets it come. Hashes its bytes; copies none.
    pub(crate) fn form(&mut self, ahead: usize) -> bool {
        while self.formed.len() <= ahead {
            if !self.form_next() {
                return false;
            }
        }
        true
    }

    fn form_next(&mut self) -> bool {
        let spot = self.formed.back().map_or(self.cursor, |formed| self.behind(formed));
        let Some(sending) = self.events.get(spot.event) else { return false };
        let begins = sending.numbers.is_none();
        // One that is too large is given up when all before it are settled.
        if begins && sending.large.length() > self.event_bytes_max {
            return false;
        }
        let numbers = sending.numbers.unwrap_or(self.next);
        let slice_bytes = (sending.large.length() - spot.offset).min(SLICE_BYTES_MAX);
        if numbers.position + (spot.offset + slice_bytes) as u64 > self.allowed {
            return false;
        }
        let head = self.head(sending, (numbers, spot.offset), slice_bytes);
        if begins {
            self.next = Numbers {
                sequence: numbers.sequence + sending.pieces(),
                event: numbers.event + 1,
                position: numbers.position + sending.large.length() as u64,
            };
            self.events[spot.event].numbers = Some(numbers);
        }
        self.formed.push_back(Formed { head, spot, slice_bytes });
        true
    }

    fn head(
        &self,
        sending: &Sending,
        (numbers, offset): (Numbers, usize),
        slice_bytes: usize,
    ) -> [u8; HEAD_BYTES] {
        let field = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let piece = Piece::head(sending.large.header(), field(offset), field(slice_bytes));
        let slice = sending.large.slice(offset, slice_bytes);
        let mut hash = BodyHash::new();
        hash.update(&piece);
        hash.update(slice);
        let header = PacketHeader {
            flags: PacketFlags::SEQUENCED,
            lane: self.lane,
            frame_count: 1,
            length: field(HEAD_BYTES + slice.len()),
            session: self.session,
            source: self.source,
            sequence: numbers.sequence + (offset / SLICE_BYTES_MAX) as u64,
            first_event: numbers.event,
        };
        let mut head = [0; HEAD_BYTES];
        head[..PACKET_HEADER_BYTES].copy_from_slice(&header.encode(Some(hash.finish())));
        head[PACKET_HEADER_BYTES..].copy_from_slice(&piece);
        head
    }

    /// The spot behind a piece.
    fn behind(&self, formed: &Formed) -> Spot {
        let Spot { event, offset } = formed.spot;
        let end = offset + formed.slice_bytes;
        match self.events.get(event) {
            Some(sending) if end < sending.large.length() => Spot { event, offset: end },
            _ => Spot { event: event + 1, offset: 0 },
        }
    }

    /// The sequence of the piece at a spot.
    fn sequence_at(&self, spot: Spot) -> u64 {
        let numbers = self.events.get(spot.event).and_then(|sending| sending.numbers);
        numbers.unwrap_or(self.next).sequence + (spot.offset / SLICE_BYTES_MAX) as u64
    }

    /// The bytes that are left of the piece `ahead` of the first unwritten one, as head and slice;
    /// `None` when it is not formed.
    pub(crate) fn unwritten(&self, ahead: usize) -> Option<[&[u8]; 2]> {
        let formed = self.formed.get(ahead)?;
        let large = &self.events.get(formed.spot.event)?.large;
        let slice = large.slice(formed.spot.offset, formed.slice_bytes);
        let done = if ahead == 0 { self.partial } else { 0 };
        let head = formed.head.get(done..).unwrap_or_default();
        Some([head, slice.get(done.saturating_sub(HEAD_BYTES)..).unwrap_or_default()])
    }

    /// Whether a piece is half written: nothing else may be written on the link before its rest.
    pub(crate) const fn is_half_written(&self) -> bool {
        self.partial > 0
    }

    /// The link took up to `bytes` of the first unwritten piece; gives what is left of `bytes` for
    /// other packets.
    pub(crate) fn wrote(&mut self, bytes: usize) -> usize {
        let Some(formed) = self.formed.front() else { return bytes };
        let length = HEAD_BYTES + align_up(formed.slice_bytes);
        let taken = bytes.min(length - self.partial);
        self.partial += taken;
        if taken > 0 {
            self.begun = self.begun.max(self.sequence_at(self.cursor) + 1);
        }
        if self.partial == length {
            self.partial = 0;
            self.cursor = self.behind(formed);
            self.formed.pop_front();
        }
        bytes - taken
    }

    /// The peer has taken everything before `next`, and lets `window` bytes come beyond that. True
    /// when it has come further than ever.
    pub(crate) fn acknowledge(&mut self, next: u64, window: u64) -> Result<bool, NeverSent> {
        if next > self.sequence_at(self.cursor) {
            return Err(NeverSent);
        }
        let mut news = false;
        while let Some(sending) = self.events.front()
            && let Some(numbers) = sending.numbers
            && numbers.sequence + sending.pieces() <= next
        {
            sending.large.tally.deliver(1);
            self.events.pop_front();
            self.cursor.event -= 1;
            self.formed.iter_mut().for_each(|formed| formed.spot.event -= 1);
            news = true;
        }
        let first = self.first_numbers();
        if next > first.sequence {
            // Within an event: no handler takes a part of one.
            return Err(NeverSent);
        }
        if next == first.sequence {
            self.allowed = self.allowed.max(first.position.saturating_add(window));
        }
        news |= self.allowed > self.allowed_most;
        self.allowed_most = self.allowed_most.max(self.allowed);
        Ok(news)
    }

    /// Whether an event that was begun is larger than what the peer takes now: it was started
    /// again with another configuration, and the stream must be begun anew.
    pub(crate) fn outgrows(&self, event_bytes_max: usize) -> bool {
        let mut begun = self.events.iter().take_while(|sending| sending.numbers.is_some());
        begun.any(|sending| sending.large.length() > event_bytes_max)
    }

    /// A new link begins, and the peer wants the pieces from `wanted` on; it takes events up to
    /// `event_bytes_max`. Gives how many are sent again.
    pub(crate) fn resume(&mut self, wanted: u64, event_bytes_max: usize) -> Result<u64, NeverSent> {
        let first = self.first_numbers();
        if wanted < first.sequence || wanted > self.begun {
            return Err(NeverSent);
        }
        self.interrupt();
        let mut left = wanted - first.sequence;
        for sending in &self.events {
            if left < sending.pieces() {
                break;
            }
            left -= sending.pieces();
            self.cursor.event += 1;
        }
        self.cursor.offset = usize::try_from(left).unwrap_or(0) * SLICE_BYTES_MAX;
        self.event_bytes_max = event_bytes_max;
        self.allowed = first.position + FIRST_WINDOW_BYTES;
        self.allowed_most = self.allowed_most.max(self.allowed);
        Ok(self.begun - wanted)
    }

    /// The link has ended: nothing is written until [`Pieces::resume`].
    pub(crate) fn interrupt(&mut self) {
        self.partial = 0;
        self.formed.clear();
        self.cursor = Spot::default();
    }

    /// Gives up the events at the front that the peer is known not to take. `letter` sees each.
    pub(crate) fn give_up_oversized(&mut self, mut letter: impl FnMut(&Frame<'_>)) -> usize {
        let before = self.events.len();
        while self.event_bytes_max > 0
            && let Some(sending) = self.events.pop_front_if(|sending| {
                sending.numbers.is_none() && sending.large.length() > self.event_bytes_max
            })
        {
            give_up(&sending, Undelivered::TooLarge, &mut letter);
        }
        before - self.events.len()
    }

    /// Gives up every event, and begins a new session.
    pub(crate) fn give_up(
        &mut self,
        reason: Undelivered,
        session: SessionId,
        mut letter: impl FnMut(&Frame<'_>),
    ) {
        for sending in std::mem::take(&mut self.events) {
            give_up(&sending, reason, &mut letter);
        }
        self.renew(session);
    }

    /// Begins a new session with the events that are not acknowledged.
    pub(crate) fn renew(&mut self, session: SessionId) {
        self.interrupt();
        self.events.iter_mut().for_each(|sending| sending.numbers = None);
        self.session = session;
        self.next = Numbers::default();
        (self.begun, self.allowed, self.allowed_most) = (0, 0, 0);
    }
}

fn give_up(sending: &Sending, reason: Undelivered, letter: &mut impl FnMut(&Frame<'_>)) {
    if let Some(frame) = sending.large.frame() {
        letter(&frame);
    }
    sending.large.tally.give_up(1, reason);
}

#[cfg(test)]
#[path = "pieces/tests.rs"]
mod tests;

//! Follows one stream's packets: what is new, what came late or twice, what is missing.
//!
//! A receiver keeps one window for each stream (source, session, lane). The window owns a bitmap of
//! the newest packets and a few counts, about 1.1 KiB in place, and never allocates. It is told of
//! a packet after the packet has been checked and before its frames are delivered.
//!
//! Packets carry the index of their first event beside their own sequence, so the window knows how
//! many *events* a gap took, and not only how many packets. At all times, whatever arrives:
//!
//! ```text
//! events_before + received + lost == next_event
//! ```
//!
//! `next_event` is the number of events sent up to the newest packet; after a tail marker or any
//! later packet it is the number of all events sent.

/// How many packets back a late one is still told from a duplicate: 3 ms of the fastest stream
/// measured, some seconds of an ordinary one.
pub const WINDOW_PACKETS: u64 = 8_192;

/// The most events a missing packet can have carried: its count is 16 bits wide.
const PACKET_EVENTS_MAX: u64 = u16::MAX as u64;

const WORDS: usize = 128;
const WORD_BITS: u64 = 64;

const _: () = assert!(WORDS as u64 * WORD_BITS == WINDOW_PACKETS);

/// Events of a stream that are missing before a packet: from `from` up to, not including, `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// Index in the stream of the first missing event.
    pub from: u64,
    /// Index in the stream of the first event after the gap.
    pub to: u64,
}

impl Gap {
    /// How many events are missing.
    #[inline]
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// What [`ReceiveWindow::admit`] says of a packet. `New` and `Late` are to be delivered, the rest
/// to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Ahead of everything before it.
    New {
        /// The events that are missing between the newest packet so far and this one.
        gap: Option<Gap>,
    },
    /// Fills a part of an earlier gap: its events are no longer lost.
    Late,
    /// Seen before.
    Duplicate,
    /// Older than the window, or than the first packet of all: nobody can say whether it was seen.
    /// Its events stay counted as lost, or as sent before.
    Stale,
    /// Its counts contradict the stream: events went back, or came faster than packets can carry.
    Inconsistent,
}

/// The window over one stream.
///
/// ```
/// use wireloom_wire::{Admission, Gap, ReceiveWindow};
///
/// let mut window = ReceiveWindow::new();
/// assert_eq!(window.admit(0, 0, 10), Admission::New { gap: None });
/// // Packet 1 is missing, and with it events 10 to 24.
/// let gap = Some(Gap { from: 10, to: 25 });
/// assert_eq!(window.admit(2, 25, 10), Admission::New { gap });
/// assert_eq!(window.lost(), 15);
/// assert_eq!(window.admit(1, 10, 15), Admission::Late);
/// assert_eq!((window.received(), window.lost(), window.late()), (35, 0, 15));
/// ```
#[derive(Clone, Debug)]
pub struct ReceiveWindow {
    /// What the newest packet said, and the event after its last; `None` before the first packet.
    newest: Option<Newest>,
    received: u64,
    lost: u64,
    /// The first packet of all: the window does not reach beyond it.
    first_sequence: u64,
    /// The first event after the first packet's.
    first_end: u64,
    events_before: u64,
    late: u64,
    duplicates: u64,
    stale: u64,
    inconsistent: u64,
    /// One bit for each of the newest packets, at the sequence modulo the window.
    seen: [u64; WORDS],
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    sequence: u64,
    first_event: u64,
    next_event: u64,
}

impl Default for ReceiveWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiveWindow {
    /// A window that has seen no packet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            newest: None,
            received: 0,
            lost: 0,
            first_sequence: 0,
            first_end: 0,
            events_before: 0,
            late: 0,
            duplicates: 0,
            stale: 0,
            inconsistent: 0,
            seen: [0; WORDS],
        }
    }

    /// Takes note of a packet and says what it is. `sequence`, `first_event` and `frame_count` are
    /// its header's; a tail marker (no frames) has a sequence like any other.
    ///
    /// About 4 ns in order; after a gap at most 128 words are cleared, however wide it is. Nothing
    /// is changed by a packet that is not to be delivered, but the count of its kind.
    #[inline]
    pub fn admit(&mut self, sequence: u64, first_event: u64, frame_count: u16) -> Admission {
        let Some(next_event) = first_event.checked_add(u64::from(frame_count)) else {
            return self.refuse();
        };
        let arrived = Newest { sequence, first_event, next_event };
        let Some(newest) = self.newest else { return self.begin(arrived) };
        match sequence.checked_sub(newest.sequence) {
            Some(1) if first_event == newest.next_event => {
                self.advance(arrived);
                Admission::New { gap: None }
            }
            Some(0) | None => self.on_behind(arrived, newest),
            Some(ahead) => self.on_ahead(arrived, newest, ahead),
        }
    }

    /// The first packet: the stream begins here for us.
    #[cold]
    fn begin(&mut self, arrived: Newest) -> Admission {
        self.events_before = arrived.first_event;
        self.first_sequence = arrived.sequence;
        self.first_end = arrived.next_event;
        self.advance(arrived);
        Admission::New { gap: None }
    }

    /// A packet newer than all before it becomes the newest; what lies between is dealt with.
    #[inline]
    fn advance(&mut self, arrived: Newest) {
        let (word, bit) = place(arrived.sequence);
        self.seen[word] |= bit;
        self.received += arrived.next_event - arrived.first_event;
        self.newest = Some(arrived);
    }

    /// A packet `ahead` of the newest, at least 1, that does not continue it.
    #[cold]
    fn on_ahead(&mut self, arrived: Newest, newest: Newest, ahead: u64) -> Admission {
        let missing_packets = ahead - 1;
        let missing = arrived.first_event.checked_sub(newest.next_event);
        let Some(missing) = missing.filter(|events| can_carry(missing_packets, *events)) else {
            return self.refuse();
        };
        self.clear(newest.sequence.wrapping_add(1), missing_packets);
        self.lost += missing;
        self.advance(arrived);
        let gap = Gap { from: newest.next_event, to: arrived.first_event };
        Admission::New { gap: (missing > 0).then_some(gap) }
    }

    /// A packet that is not newer than the newest.
    #[cold]
    fn on_behind(&mut self, arrived: Newest, newest: Newest) -> Admission {
        let behind = newest.sequence - arrived.sequence;
        if behind >= WINDOW_PACKETS || arrived.sequence < self.first_sequence {
            self.stale += 1;
            return Admission::Stale;
        }
        let (word, bit) = place(arrived.sequence);
        if self.seen[word] & bit != 0 {
            self.duplicates += 1;
            return Admission::Duplicate;
        }
        if !self.is_between(arrived, newest) {
            return self.refuse();
        }
        // `is_between` holds the packet's events to those that are missing.
        let events = arrived.next_event - arrived.first_event;
        self.seen[word] |= bit;
        self.lost -= events;
        self.received += events;
        self.late += events;
        Admission::Late
    }

    /// Whether an unseen packet's events can lie where its sequence lies: after the first packet's,
    /// before the newest one's, no more than are missing, and the rest no more than the packets
    /// beside it can have carried.
    fn is_between(&self, arrived: Newest, newest: Newest) -> bool {
        let before = arrived.first_event.checked_sub(self.first_end);
        let after = newest.first_event.checked_sub(arrived.next_event);
        // An unseen packet is neither the first nor the newest, so that neither difference wraps.
        let packets_before = arrived.sequence.wrapping_sub(self.first_sequence).wrapping_sub(1);
        let packets_after = newest.sequence.wrapping_sub(arrived.sequence).wrapping_sub(1);
        before.is_some_and(|events| can_carry(packets_before, events))
            && after.is_some_and(|events| can_carry(packets_after, events))
            && arrived.next_event - arrived.first_event <= self.lost
    }

    /// Counts a packet that contradicts the stream.
    #[cold]
    fn refuse(&mut self) -> Admission {
        self.inconsistent += 1;
        Admission::Inconsistent
    }

    /// Forgets `count` packets from `from` on: their bits are still those of a window before.
    fn clear(&mut self, from: u64, count: u64) {
        if count >= WINDOW_PACKETS {
            self.seen.fill(0);
            return;
        }
        let (mut at, mut left) = (from % WINDOW_PACKETS, count);
        while left > 0 {
            let bits = left.min(WORD_BITS - at % WORD_BITS);
            let mask = (u64::MAX >> (WORD_BITS - bits)) << (at % WORD_BITS);
            self.seen[word_of(at)] &= !mask;
            at = (at + bits) % WINDOW_PACKETS;
            left -= bits;
        }
    }

    /// Whether no packet has been admitted yet.
    #[inline]
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.newest.is_none()
    }

    /// Events that the stream carried before the first packet seen: missed before joining.
    #[inline]
    #[must_use]
    pub const fn events_before(&self) -> u64 {
        self.events_before
    }

    /// Events in the packets admitted as `New` or `Late`.
    #[inline]
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Events that are missing as things stand. A late packet takes its own back, so this shrinks.
    #[inline]
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Events that came late, a part of those received.
    #[inline]
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// Packets seen before.
    #[inline]
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Packets older than the window, or than the first.
    #[inline]
    #[must_use]
    pub const fn stale(&self) -> u64 {
        self.stale
    }

    /// Packets that contradicted the stream.
    #[inline]
    #[must_use]
    pub const fn inconsistent(&self) -> u64 {
        self.inconsistent
    }

    /// The newest packet's sequence; `None` before the first packet.
    #[inline]
    #[must_use]
    pub fn newest_sequence(&self) -> Option<u64> {
        self.newest.map(|newest| newest.sequence)
    }

    /// The sequence after the newest packet's; 0 before the first packet.
    #[inline]
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.newest.map_or(0, |newest| newest.sequence.saturating_add(1))
    }

    /// The event after the newest packet's last: how many events the stream has carried as far as
    /// is known. 0 before the first packet.
    #[inline]
    #[must_use]
    pub fn next_event(&self) -> u64 {
        self.newest.map_or(0, |newest| newest.next_event)
    }
}

/// Whether `packets` can have carried `events`.
const fn can_carry(packets: u64, events: u64) -> bool {
    events <= packets.saturating_mul(PACKET_EVENTS_MAX)
}

/// The word of the bitmap that holds a sequence.
#[inline]
const fn word_of(sequence: u64) -> usize {
    (sequence / WORD_BITS % WORDS as u64) as usize
}

/// The word of the bitmap that holds a sequence, and its bit there.
#[inline]
const fn place(sequence: u64) -> (usize, u64) {
    (word_of(sequence), 1 << (sequence % WORD_BITS))
}

#[cfg(test)]
#[path = "receive_window/tests.rs"]
mod tests;

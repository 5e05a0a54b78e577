//! What gives way when a subscriber is slower than its events come, and the names of what was shed.

use std::fmt;
use std::time::Duration;

use crate::counters::CounterMeaning;
use crate::limits::BLOCK_BACKLOG_BYTES;

/// The longest patience of [`SlowPolicy::Block`]: while a receiver waits it hears no member of its
/// cluster either, whose patience with it is half a second.
pub const BLOCK_MAX: Duration = Duration::from_millis(100);

/// The most keys of [`SlowPolicy::Latest`].
pub const KEYS_MAX: usize = 1 << 16;

/// What gives way when a subscriber's ring is full. Each policy is bounded in memory and leaves the
/// receiver, and with it the other subscribers, alone; only [`SlowPolicy::Block`] makes them wait,
/// for as long as it says.
///
/// Beside its ring a subscriber of [`DropOldest`](Self::DropOldest) and [`Latest`](Self::Latest)
/// has as many bytes again on the receiver's side, where events wait that the ring does not hold;
/// one of [`Block`](Self::Block) has 2 MiB at least: what a receiver may take in before it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SlowPolicy {
    /// The event that comes is shed. Costs nothing.
    #[default]
    DropNewest,
    /// The events that have waited longest are shed: who was away finds the newest. A second copy
    /// for events that find the ring full.
    DropOldest,
    /// The receiver takes nothing more, so that publishers are held back by flow control, and waits
    /// for the subscriber: at most for this long ([`BLOCK_MAX`] at most) for each half of its ring
    /// that the subscriber takes. After that the events that wait, and those that find no room, are
    /// shed. A subscriber that takes nothing any more costs its neighbours this time once.
    Block(Duration),
    /// Only the newest event of each key is kept. At most `keys` of them wait at a time (1 to
    /// [`KEYS_MAX`]); each has an equal share of the bytes, and a larger event is shed. Every event
    /// is copied twice and its key looked up.
    Latest {
        /// Keys that can wait at a time.
        keys: usize,
    },
    /// The subscription ends: the subscriber takes what its ring holds, and then the word that it
    /// was cut off. Events after that are not for it.
    Disconnect,
}

impl SlowPolicy {
    /// Bytes beside a ring of so many, where events wait that it does not hold.
    #[must_use]
    pub fn beside_bytes(self, ring_bytes: usize) -> usize {
        match self {
            Self::DropNewest | Self::Disconnect => 0,
            Self::DropOldest | Self::Latest { .. } => ring_bytes,
            Self::Block(_) => ring_bytes.max(BLOCK_BACKLOG_BYTES),
        }
    }
}

/// Why events did not reach a subscriber though they reached its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum ShedReason {
    /// They found the ring full.
    RingFull,
    /// They are longer than a quarter of the ring, or than the share of a key.
    TooLarge,
    /// Every key the policy keeps was taken by another one.
    KeysFull,
    /// They found the ring of a subscriber full that is cut off by its policy.
    Disconnected,
    /// They made room for newer ones.
    Oldest,
    /// A newer event of the same key took their place.
    Superseded,
    /// They waited as long as the policy says for room in the ring.
    WaitedTooLong,
    /// Their deadline passed while they waited.
    Expired,
}

impl ShedReason {
    /// Every reason; a reason's number is its place.
    pub const ALL: [Self; 8] = [
        Self::RingFull,
        Self::TooLarge,
        Self::KeysFull,
        Self::Disconnected,
        Self::Oldest,
        Self::Superseded,
        Self::WaitedTooLong,
        Self::Expired,
    ];

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its name in ledgers and sentences.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::TooLarge => "too_large",
            Self::KeysFull => "keys_full",
            Self::Disconnected => "disconnected",
            Self::Oldest => "oldest",
            Self::Superseded => "superseded",
            Self::WaitedTooLong => "waited_too_long",
            Self::Expired => "expired",
        }
    }

    /// The counter of what rings gave up after they had taken it; `None` for what was never taken,
    /// which the receiver counts.
    #[must_use]
    pub const fn meaning(self) -> Option<&'static CounterMeaning> {
        let meaning: &'static CounterMeaning = match self {
            Self::Oldest => &CounterMeaning {
                name: "ring_events_oldest",
                unit: "events",
                meaning: "Events in subscribers' rings that made room for newer ones.",
            },
            Self::Superseded => &CounterMeaning {
                name: "ring_events_superseded",
                unit: "events",
                meaning: "Events in subscribers' rings whose place a newer one of their key took.",
            },
            Self::WaitedTooLong => &CounterMeaning {
                name: "ring_events_waited_too_long",
                unit: "events",
                meaning: "Events shed after they had waited for a blocking subscriber's room.",
            },
            Self::Expired => &CounterMeaning {
                name: "ring_events_expired",
                unit: "events",
                meaning: "Events whose deadline passed in a subscriber's ring.",
            },
            Self::RingFull | Self::TooLarge | Self::KeysFull | Self::Disconnected => return None,
        };
        Some(meaning)
    }
}

impl fmt::Display for ShedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Events that did not reach their subscriber, told where they would have stood (or, of events that
/// waited, before the next one).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shed {
    /// How many.
    pub events: u64,
    /// Why.
    pub reason: ShedReason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_found_by_its_number_and_has_a_name_of_its_own() {
        let mut names = std::collections::BTreeSet::new();
        for reason in ShedReason::ALL {
            assert_eq!(ShedReason::from_number(reason as u8), Some(reason));
            assert!(names.insert(reason.name()), "{reason} stands twice");
        }
        assert_eq!(ShedReason::from_number(8), None);
    }
}

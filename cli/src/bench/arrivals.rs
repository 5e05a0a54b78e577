//! What a handler keeps of the events it sees: how many were whole and in order, which are missing,
//! which came twice.
//!
//! One publisher's events carry a dense sequence from 0. The fast path is one comparison; gaps are
//! remembered so that an event that comes late is told from one that comes twice.

use std::collections::VecDeque;
use std::iter::Sum;

use serde::{Deserialize, Serialize};

use super::event::Reading;

/// Gaps remembered at a time. An event of a gap that was forgotten counts as duplicated: the error
/// is on the strict side.
const GAPS_MAX: usize = 4096;

/// The account of one publisher's events.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// The sequence expected next.
    next: u64,
    /// Missing sequences, as half-open ranges in order.
    gaps: VecDeque<(u64, u64)>,
    /// Whole events, each counted once: in order, or late.
    delivered: u64,
    late: u64,
    duplicated: u64,
    corrupt: u64,
}

/// The counts of an [`Arrivals`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Whole events, each once.
    pub(super) delivered: u64,
    /// Of those, the ones that came after a later one.
    pub(super) late: u64,
    /// Events that came again.
    pub(super) duplicated: u64,
    /// Events whose hash is not that of their bytes.
    pub(super) corrupt: u64,
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, one| Self {
            delivered: sum.delivered + one.delivered,
            late: sum.late + one.late,
            duplicated: sum.duplicated + one.duplicated,
            corrupt: sum.corrupt + one.corrupt,
        })
    }
}

impl Counts {
    /// Every call of a handler, whatever it found.
    pub(super) const fn handled(&self) -> u64 {
        self.delivered + self.duplicated + self.corrupt
    }
}

impl Arrivals {
    /// Takes in one event.
    #[inline]
    pub(super) fn take(&mut self, reading: Reading) {
        if reading.intact && reading.sequence == self.next {
            self.next += 1;
            self.delivered += 1;
        } else {
            self.take_unexpected(reading);
        }
    }

    #[cold]
    fn take_unexpected(&mut self, Reading { sequence, intact, .. }: Reading) {
        if !intact {
            // Its sequence cannot be believed either: the place it left shows as missing.
            self.corrupt += 1;
        } else if sequence > self.next {
            if self.gaps.len() == GAPS_MAX {
                self.gaps.pop_front();
            }
            self.gaps.push_back((self.next, sequence));
            self.next = sequence + 1;
            self.delivered += 1;
        } else if self.fill_gap(sequence) {
            self.late += 1;
            self.delivered += 1;
        } else {
            self.duplicated += 1;
        }
    }

    /// Takes a sequence out of the gap it is missing from; false when it is in none.
    fn fill_gap(&mut self, sequence: u64) -> bool {
        let holds = |&(from, to): &(u64, u64)| (from..to).contains(&sequence);
        let Some(index) = self.gaps.iter().position(holds) else { return false };
        let (from, to) = self.gaps[index];
        self.gaps.remove(index);
        if sequence + 1 < to {
            self.gaps.insert(index, (sequence + 1, to));
        }
        if from < sequence {
            self.gaps.insert(index, (from, sequence));
        }
        true
    }

    /// The counts so far.
    #[inline]
    pub(super) const fn counts(&self) -> Counts {
        Counts {
            delivered: self.delivered,
            late: self.late,
            duplicated: self.duplicated,
            corrupt: self.corrupt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(sequences: &[u64]) -> Counts {
        let mut arrivals = Arrivals::default();
        for sequence in sequences {
            arrivals.take(Reading { sequence: *sequence, sent_ns: 0, intact: true });
        }
        arrivals.counts()
    }

    #[test]
    fn events_in_order_are_delivered() {
        assert_eq!(take(&[0, 1, 2, 3]), Counts { delivered: 4, ..Counts::default() });
    }

    #[test]
    fn a_gap_may_be_filled_once_in_any_order() {
        let full = take(&[0, 6, 3, 1, 5, 2, 4, 7]);
        assert_eq!(full, Counts { delivered: 8, late: 5, ..Counts::default() });
        let again = take(&[0, 6, 3, 3, 6, 0, 7, 1]);
        assert_eq!(again, Counts { delivered: 5, late: 2, duplicated: 3, corrupt: 0 });
    }

    #[test]
    fn a_repeated_event_is_never_delivered_again() {
        assert_eq!(
            take(&[0, 0, 1, 1, 0]),
            Counts { delivered: 2, duplicated: 3, ..Counts::default() }
        );
    }

    #[test]
    fn a_damaged_event_counts_as_corrupt_and_moves_nothing() {
        let mut arrivals = Arrivals::default();
        arrivals.take(Reading { sequence: 0, sent_ns: 0, intact: true });
        arrivals.take(Reading { sequence: 1 << 60, sent_ns: 0, intact: false });
        arrivals.take(Reading { sequence: 2, sent_ns: 0, intact: true });
        let counts = arrivals.counts();
        assert_eq!((counts.delivered, counts.corrupt, counts.duplicated), (2, 1, 0));
        arrivals.take(Reading { sequence: 1, sent_ns: 0, intact: true });
        assert_eq!(arrivals.counts().late, 1, "the place it left may still be filled");
    }

    #[test]
    fn forgotten_gaps_are_bounded_and_err_on_the_strict_side() {
        let mut arrivals = Arrivals::default();
        let gaps = u64::try_from(GAPS_MAX).unwrap();
        for gap in 0..=gaps {
            arrivals.take(Reading { sequence: 2 * gap + 1, sent_ns: 0, intact: true });
        }
        assert_eq!(arrivals.gaps.len(), GAPS_MAX);
        arrivals.take(Reading { sequence: 0, sent_ns: 0, intact: true });
        assert_eq!(arrivals.counts().duplicated, 1);
    }
}

//! Where a receiver puts every message it gets: checked, counted, and timed by its own clock.
//!
//! One inbox a receiving process. A receiver that polls opens it once a turn; one that is called
//! back from threads of the peer opens it for each message (about 10 ns).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::arrivals::{Arrivals, Counts};
use crate::event;

/// The clock is read for the first message and then for every so many: a reading costs 25 ns.
const MESSAGES_A_READING: u64 = 64;

/// The one inbox of a receiving process; clones are the same inbox.
#[derive(Debug, Clone, Default)]
pub struct Inbox(Arc<Mutex<Tally>>);

impl Inbox {
    /// The account, for as long as the guard lives.
    pub fn open(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The account of what came since it was last begun.
#[derive(Debug, Default)]
pub struct Tally {
    arrivals: Arrivals,
    /// The first sequence that counts; what is older belongs to the warm-up.
    from: u64,
    taken: u64,
    span: Option<(Instant, Instant)>,
}

impl Tally {
    /// Begins a new account with the message `from`.
    pub(crate) fn begin(&mut self, from: u64) {
        *self = Self { from, ..Self::default() };
    }

    /// Takes in one message.
    #[inline]
    pub fn take(&mut self, bytes: &[u8]) {
        let mut reading = event::read(bytes);
        if reading.intact {
            let Some(sequence) = reading.sequence.checked_sub(self.from) else { return };
            reading.sequence = sequence;
        }
        self.arrivals.take(reading);
        if self.taken.is_multiple_of(MESSAGES_A_READING) {
            let now = Instant::now();
            self.span = Some((self.span.map_or(now, |(first, _)| first), now));
        }
        self.taken += 1;
    }

    /// The counts so far.
    pub(crate) fn counts(&self) -> Counts {
        self.arrivals.counts()
    }

    /// From the first delivery to the last reading of the clock, in nanoseconds.
    pub(crate) fn active_ns(&self) -> u64 {
        let time = self.span.map_or_else(Default::default, |(first, last)| last - first);
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{MESSAGE_BYTES, fill};

    fn message(sequence: u64) -> [u8; MESSAGE_BYTES] {
        let mut message = [0; MESSAGE_BYTES];
        fill(&mut message, sequence, 3);
        message
    }

    fn counts(tally: &Tally) -> [u64; 4] {
        let Counts { delivered, late, duplicated, corrupt } = tally.counts();
        [delivered, late, duplicated, corrupt]
    }

    #[test]
    fn loss_repetition_and_damage_are_found() {
        let mut tally = Tally::default();
        tally.begin(10);
        for sequence in [10, 11, 13, 12, 12, 16] {
            tally.take(&message(sequence));
        }
        assert_eq!(counts(&tally), [5, 1, 1, 0], "delivered, late, duplicated, corrupt");
        let mut damaged = message(17);
        damaged[40] ^= 1;
        tally.take(&damaged);
        tally.take(&message(17)[..60]);
        assert_eq!(counts(&tally), [5, 1, 1, 2]);
    }

    #[test]
    fn what_belongs_to_the_warm_up_does_not_count() {
        let mut tally = Tally::default();
        tally.take(&message(0));
        tally.begin(1_000);
        tally.take(&message(999));
        assert_eq!(counts(&tally), [0; 4]);
        tally.take(&message(1_000));
        assert_eq!(counts(&tally), [1, 0, 0, 0]);
    }

    #[test]
    fn time_runs_from_the_first_delivery() {
        let mut tally = Tally::default();
        for sequence in 0..64 {
            tally.take(&message(sequence));
        }
        assert_eq!(tally.active_ns(), 0, "one reading of the clock is no time");
        std::thread::sleep(std::time::Duration::from_millis(2));
        tally.take(&message(64));
        assert!(tally.active_ns() >= 2_000_000);
    }
}

//! Waiting for room: what a publisher does when the outbound ring is full, within bounds.

use std::time::{Duration, Instant};

use wireloom::Refused;

use crate::stop::Stop;

/// How long a full ring is waited for since an event last went in, before an event is refused.
const SINCE_ACCEPTED: Duration = Duration::from_secs(5);

/// The least every event gets, also when the time above is used up: a sender that stands still then
/// costs this much an event, not five seconds.
const LEAST: Duration = Duration::from_millis(10);

/// The first pause between two attempts, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(2));

/// Tries again while the ring is full.
#[derive(Debug)]
pub(crate) struct Patience {
    accepted_at: Instant,
}

impl Patience {
    /// Begins now.
    pub(crate) fn new() -> Self {
        Self { accepted_at: Instant::now() }
    }

    /// Makes an attempt, and further ones with growing pauses while it is back-pressured.
    ///
    /// # Errors
    /// What the last attempt was refused for.
    pub(crate) fn attempt<T>(
        &mut self,
        stop: &Stop,
        mut route: impl FnMut() -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let (mut pause, longest) = PAUSES;
        let mut until = None;
        loop {
            let outcome = route();
            let now = Instant::now();
            if outcome.is_ok() {
                self.accepted_at = now;
            }
            if !matches!(outcome, Err(Refused::BackPressured)) {
                return outcome;
            }
            let until =
                *until.get_or_insert_with(|| (self.accepted_at + SINCE_ACCEPTED).max(now + LEAST));
            if now >= until || stop.is_wished() {
                return outcome;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_is_waited_for_and_other_refusals_are_not() {
        let stop = Stop::default();
        let mut patience = Patience::new();
        let mut attempts = 0;
        let outcome = patience.attempt(&stop, || {
            attempts += 1;
            if attempts < 5 { Err(Refused::BackPressured) } else { Ok(7) }
        });
        assert_eq!((outcome, attempts), (Ok(7), 5));
        let outcome: Result<u64, _> = patience.attempt(&stop, || {
            attempts += 1;
            Err(Refused::Closed)
        });
        assert_eq!((outcome, attempts), (Err(Refused::Closed), 6));
    }

    #[test]
    fn a_sender_that_stands_still_is_not_waited_for_again_and_again() {
        let stop = Stop::default();
        let long_ago = Instant::now() - SINCE_ACCEPTED;
        let mut patience = Patience { accepted_at: long_ago };
        let begin = Instant::now();
        for _ in 0..3 {
            let outcome: Result<u64, _> = patience.attempt(&stop, || Err(Refused::BackPressured));
            assert_eq!(outcome, Err(Refused::BackPressured));
        }
        let took = begin.elapsed();
        assert!(took >= LEAST * 3 && took < Duration::from_secs(2), "{took:?}");
        stop.wish();
        Patience::new().attempt::<u64>(&stop, || Err(Refused::BackPressured)).unwrap_err();
    }
}

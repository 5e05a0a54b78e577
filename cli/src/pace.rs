//! Publishing at a rate: what is due when, without keeping a core busy.

use std::time::{Duration, Instant};

use crate::stop::Stop;

/// Shortest sleep: at high rates the events of a step go out together, so that waiting costs at
/// most a thousand wake-ups a second.
const STEP: Duration = Duration::from_millis(1);

/// After a pause of the input or the machine at most this much is caught up with; more would be a
/// burst that overruns a receiver.
const CATCH_UP_MAX_NS: f64 = 100e6;

/// Gives out events at a steady rate, right on average.
#[derive(Debug)]
pub(crate) struct Pace {
    begin: Instant,
    interval_ns: f64,
    /// When the next event is due, ns after the beginning.
    next_ns: f64,
}

impl Pace {
    /// Begins now, with one event due at once.
    pub(crate) fn new(events_per_second: f64) -> Self {
        Self { begin: Instant::now(), interval_ns: 1e9 / events_per_second, next_ns: 0.0 }
    }

    /// Waits until an event is due; false when the end is wished first.
    pub(crate) fn wait(&mut self, stop: &Stop) -> bool {
        loop {
            if stop.is_wished() {
                return false;
            }
            match self.take(self.begin.elapsed()) {
                None => return true,
                Some(pause) => stop.sleep(pause),
            }
        }
    }

    /// Takes one event when it is due, `now` after the beginning; otherwise says how long to sleep.
    pub(crate) fn take(&mut self, now: Duration) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "ns fit in 53 bits for a hundred days")]
        let now_ns = now.as_nanos() as f64;
        if now_ns < self.next_ns {
            return Some(Duration::from_secs_f64((self.next_ns - now_ns) / 1e9).max(STEP));
        }
        self.next_ns = (self.next_ns + self.interval_ns).max(now_ns - CATCH_UP_MAX_NS);
        None
    }

    /// How long since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events given out over `seconds` of a clock that only sleeping moves.
    fn given(rate: f64, seconds: u64) -> (u64, u64) {
        let mut pace = Pace::new(rate);
        let (mut now, mut events, mut sleeps) = (Duration::ZERO, 0, 0);
        while now < Duration::from_secs(seconds) {
            match pace.take(now) {
                None => events += 1,
                Some(pause) => {
                    now += pause;
                    sleeps += 1;
                }
            }
        }
        (events, sleeps)
    }

    #[test]
    fn the_average_is_the_rate_and_sleeps_are_few() {
        for (rate, seconds) in [(0.5, 20), (3.0, 10), (1_000.0, 10), (12_345.0, 10), (2e6, 2)] {
            let (events, sleeps) = given(rate, seconds);
            #[expect(clippy::cast_precision_loss, reason = "small numbers of a test")]
            let (events, wanted) = (events as f64, rate * seconds as f64);
            assert!((events - wanted).abs() <= wanted * 0.002 + 1.0, "{rate}: {events}");
            assert!(sleeps <= seconds * 1_000, "{rate}: {sleeps} sleeps");
        }
    }

    #[test]
    fn a_long_pause_is_not_caught_up_with_in_one_burst() {
        let mut pace = Pace::new(10_000.0);
        assert_eq!(pace.take(Duration::ZERO), None);
        let later = Duration::from_secs(60);
        let burst = std::iter::from_fn(|| pace.take(later).is_none().then_some(())).count();
        assert!((1_000..=1_002).contains(&burst), "{burst}");
    }
}

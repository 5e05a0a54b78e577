//! Time: the one place of the data plane that reads a clock.
//!
//! A worker reads [`Clock::now_ns`] once in a duty cycle and hands the value down. Wall-clock time
//! is that value plus an offset that the control thread refreshes; workers never ask for it. Under
//! a simulated clock time stands still until someone advances it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::sys;

/// Where a simulated clock begins, so that "never" (0) and "now" stay apart.
const SIMULATED_START_NS: u64 = 1_000_000_000;

/// Wall-clock time at monotonic 0 of a simulated clock: 2023-11-14 22:13:20 UTC, the same in every
/// run.
const SIMULATED_UNIX_OFFSET_NS: u64 = 1_700_000_000_000_000_000;

#[derive(Debug)]
struct Shared {
    /// The time of a simulated clock; `None` is the system's clock.
    simulated_ns: Option<AtomicU64>,
    /// Wall clock minus monotonic clock. Wraps if the wall clock stands before the boot of the
    /// machine; the sum is right all the same.
    unix_offset_ns: AtomicU64,
}

/// A clock; clones read the same one.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Shared>);

impl Clock {
    /// The system's clock, with the wall-clock offset of this moment.
    #[must_use]
    pub fn system() -> Self {
        let offset = AtomicU64::new(read_offset_ns());
        Self(Arc::new(Shared { simulated_ns: None, unix_offset_ns: offset }))
    }

    /// A clock that stands still until it is advanced. It begins at 1 s.
    #[must_use]
    pub fn simulated() -> Self {
        Self(Arc::new(Shared {
            simulated_ns: Some(AtomicU64::new(SIMULATED_START_NS)),
            unix_offset_ns: AtomicU64::new(SIMULATED_UNIX_OFFSET_NS),
        }))
    }

    /// Monotonic time in ns since an unknown moment (`CLOCK_MONOTONIC`). Cost: about 25 ns.
    #[inline]
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match &self.0.simulated_ns {
            None => sys::monotonic_ns(),
            Some(now_ns) => now_ns.load(Ordering::Relaxed),
        }
    }

    /// What to add to a monotonic time to get the time since the Unix epoch, ns (wrapping).
    #[inline]
    #[must_use]
    pub fn unix_ns_offset(&self) -> u64 {
        self.0.unix_offset_ns.load(Ordering::Relaxed)
    }

    /// The time since the Unix epoch, in ns, at monotonic time `now_ns`. Follows the wall clock
    /// only as far as [`Clock::refresh_offset`] does, and may step back when that does.
    #[inline]
    #[must_use]
    pub fn unix_ns(&self, now_ns: u64) -> u64 {
        now_ns.wrapping_add(self.unix_ns_offset())
    }

    /// Follows the wall clock (NTP, a leap, an operator). Called by the control thread about once a
    /// second; a simulated clock keeps its offset. Cost: three clock reads.
    pub fn refresh_offset(&self) {
        if !self.is_simulated() {
            self.0.unix_offset_ns.store(read_offset_ns(), Ordering::Relaxed);
        }
    }

    /// Whether time stands still until advanced.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.0.simulated_ns.is_some()
    }

    /// Moves a simulated clock on; returns the new time.
    ///
    /// # Panics
    /// On the system's clock: nobody advances that.
    pub fn advance(&self, by: Duration) -> u64 {
        let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.advance_to(self.now_ns().saturating_add(by_ns))
    }

    /// Moves a simulated clock on to `now_ns`, never back; returns the time.
    ///
    /// # Panics
    /// On the system's clock: nobody advances that.
    pub fn advance_to(&self, now_ns: u64) -> u64 {
        let Some(cell) = &self.0.simulated_ns else {
            panic!("the system's clock cannot be advanced: use Clock::simulated()")
        };
        cell.fetch_max(now_ns, Ordering::Relaxed).max(now_ns)
    }
}

/// Wall clock minus monotonic clock, the wall clock read between two monotonic readings.
fn read_offset_ns() -> u64 {
    let before_ns = sys::monotonic_ns();
    let unix_ns = sys::realtime_ns();
    let after_ns = sys::monotonic_ns();
    unix_ns.wrapping_sub(before_ns.midpoint(after_ns))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "checks our time against the standard library's")]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn the_system_clock_goes_on_and_agrees_with_the_wall_clock() {
        let clock = Clock::system();
        let first_ns = clock.now_ns();
        assert!(first_ns > 0);
        sys::sleep(Duration::from_millis(5));
        let second_ns = clock.clone().now_ns();
        assert!(second_ns - first_ns >= 5_000_000, "{first_ns} {second_ns}");
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let ours = u128::from(clock.unix_ns(clock.now_ns()));
        assert!(ours.abs_diff(unix) < 100_000_000, "{ours} {unix}");
        clock.refresh_offset();
        let ours = u128::from(clock.unix_ns(clock.now_ns()));
        assert!(ours.abs_diff(unix) < 100_000_000, "{ours} {unix}");
    }

    #[test]
    fn a_simulated_clock_moves_only_when_advanced_and_never_back() {
        let clock = Clock::simulated();
        let start_ns = clock.now_ns();
        sys::sleep(Duration::from_millis(2));
        assert_eq!(clock.now_ns(), start_ns);
        let unix_ns = clock.unix_ns(start_ns);
        let other = clock.clone();
        assert_eq!(other.advance(Duration::from_micros(3)), start_ns + 3_000);
        assert_eq!(clock.now_ns(), start_ns + 3_000);
        assert_eq!(clock.advance_to(start_ns), start_ns + 3_000);
        clock.refresh_offset();
        assert_eq!(clock.unix_ns(clock.now_ns()), unix_ns + 3_000);
    }

    #[test]
    #[should_panic(expected = "cannot be advanced")]
    fn the_system_clock_refuses_to_be_advanced() {
        Clock::system().advance(Duration::from_nanos(1));
    }
}

//! What a worker does when there is nothing to do: a named policy, fed by the work count.
//!
//! A wake-up is the second price of an event after the system call: on a virtual machine it costs
//! tens of microseconds of latency and of CPU (`docs/performance.md`). So the default spins while
//! traffic flows and parks when it does not.

use std::time::Duration;

/// How a worker waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Spin while work comes in shorter gaps than `spin`, yield the core for `yielding`, then park
    /// in epoll until woken, at most `park` at a time. The default: an idle node costs well under 1
    /// % of a core.
    Adaptive {
        /// Busy-poll at most this long after the last work, if the gap before it was as short. As
        /// long as a wake-up costs is right: then spinning in vain never costs more than waking
        /// did.
        spin: Duration,
        /// Then let other threads of the core run between polls, this long.
        yielding: Duration,
        /// Then sleep until a packet, a publisher or a deadline; at most this long at a time.
        park: Duration,
    },
    /// Never wait: one core is busy all the time, latency is the lowest. Opt-in.
    Spin,
    /// Sleep this long whenever there is nothing to do, woken by nothing: a fixed, small cost in
    /// CPU, and up to this much latency.
    Sleep(Duration),
}

impl Idle {
    /// The same without spinning: for a worker that is to wait for company.
    #[must_use]
    pub const fn without_spin(self) -> Self {
        match self {
            Self::Adaptive { park, .. } => {
                Self::Adaptive { spin: Duration::ZERO, yielding: Duration::ZERO, park }
            }
            other => other,
        }
    }
}

impl Default for Idle {
    fn default() -> Self {
        Self::Adaptive {
            spin: Duration::from_micros(50),
            yielding: Duration::ZERO,
            park: Duration::from_millis(100),
        }
    }
}

/// What to do before the next duty cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: go on at once.
    Continue,
    /// A spin-loop hint.
    Spin,
    /// Give the core away.
    Yield,
    /// Sleep until woken, at most this long.
    Park(Duration),
    /// Sleep this long.
    Sleep(Duration),
}

/// The state of one worker's waiting.
#[derive(Debug, Clone)]
pub struct Idling {
    policy: Idle,
    idle_since_ns: Option<u64>,
    parked: bool,
    /// The last gap was short enough to spin through.
    spins: bool,
}

impl Idling {
    /// Begins awake.
    #[must_use]
    pub const fn new(policy: Idle) -> Self {
        Self { policy, idle_since_ns: None, parked: false, spins: false }
    }

    /// Takes the work count of the last duty cycle and says what to do before the next.
    #[inline]
    pub fn after(&mut self, work: usize, now_ns: u64) -> Wait {
        if work > 0 {
            if let Some(since_ns) = self.idle_since_ns.take() {
                self.learn(Duration::from_nanos(now_ns.saturating_sub(since_ns)));
            }
            return Wait::Continue;
        }
        match self.policy {
            Idle::Spin => Wait::Spin,
            Idle::Sleep(pause) => Wait::Sleep(pause),
            Idle::Adaptive { spin, yielding, park } => {
                let since = *self.idle_since_ns.get_or_insert(now_ns);
                let idle = Duration::from_nanos(now_ns.saturating_sub(since));
                let spin = if self.spins { spin } else { Duration::ZERO };
                if idle < spin {
                    Wait::Spin
                } else if idle < spin.saturating_add(yielding) {
                    Wait::Yield
                } else {
                    self.parked = true;
                    Wait::Park(park)
                }
            }
        }
    }

    /// Takes in how long there was nothing to do. A gap that was slept through is longer than it
    /// was by the wake-up itself, which is taken to cost as much as the longest spin.
    fn learn(&mut self, gap: Duration) {
        if let Idle::Adaptive { spin, .. } = self.policy {
            let woken = if std::mem::take(&mut self.parked) { spin } else { Duration::ZERO };
            self.spins = gap < spin + woken;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Idle = Idle::Adaptive {
        spin: Duration::from_micros(10),
        yielding: Duration::from_micros(10),
        park: Duration::from_millis(50),
    };

    #[test]
    fn adaptive_spins_then_yields_then_parks_and_work_wakes_it() {
        let mut idling = Idling::new(POLICY);
        idling.spins = true;
        assert_eq!(idling.after(3, 1_000), Wait::Continue);
        assert_eq!(idling.after(0, 2_000), Wait::Spin);
        assert_eq!(idling.after(0, 11_999), Wait::Spin);
        assert_eq!(idling.after(0, 12_000), Wait::Yield);
        assert_eq!(idling.after(0, 22_000), Wait::Park(Duration::from_millis(50)));
        assert_eq!(idling.after(1, 23_000), Wait::Continue);
        assert_eq!(idling.after(0, 24_000), Wait::Yield, "that gap was too long to spin through");
    }

    #[test]
    fn adaptive_spins_only_while_gaps_are_short() {
        let no_yield = Idle::Adaptive {
            spin: Duration::from_micros(10),
            yielding: Duration::ZERO,
            park: Duration::from_millis(50),
        };
        let park = Wait::Park(Duration::from_millis(50));
        let mut idling = Idling::new(no_yield);
        assert_eq!(idling.after(0, 0), park, "nothing is known yet");
        assert_eq!(idling.after(1, 19_000), Wait::Continue, "9 µs, and 10 for the wake-up");
        assert_eq!(idling.after(0, 20_000), Wait::Spin);
        assert_eq!(idling.after(1, 29_000), Wait::Continue);
        assert_eq!(idling.after(0, 30_000), Wait::Spin);
        assert_eq!(idling.after(0, 40_000), park, "this one is longer");
        assert_eq!(idling.after(1, 90_000), Wait::Continue);
        assert_eq!(idling.after(0, 91_000), park, "and the next is taken to be");
        assert_eq!(idling.after(0, 95_000), park);
    }

    #[test]
    fn spin_never_parks_and_sleep_always_sleeps() {
        let mut spin = Idling::new(Idle::Spin);
        assert_eq!(spin.after(0, u64::MAX), Wait::Spin);
        let pause = Duration::from_millis(2);
        assert_eq!(Idling::new(Idle::Sleep(pause)).after(0, 5), Wait::Sleep(pause));
    }
}

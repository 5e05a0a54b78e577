//! A machine's own time: it stands still while the machine does not run. A process that was stopped
//! (SIGSTOP, a starved virtual machine) goes on where it was, instead of finding every timer due
//! at once and calling everybody dead who could not answer meanwhile.

/// A timer may be late by this much before the time is taken to have stood still, ns.
const LATE_NS: u64 = 250_000_000;

/// Time without the pauses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunningClock {
    paused_ns: u64,
    now_ns: u64,
}

impl RunningClock {
    /// The time at the caller's `now_ns`; true when the machine has been found paused. `due_ns` is
    /// when it should have been called at the latest, in its own time.
    pub(crate) fn at(&mut self, now_ns: u64, due_ns: Option<u64>) -> bool {
        let own_ns = now_ns.saturating_sub(self.paused_ns).max(self.now_ns);
        let late_ns = due_ns.map_or(0, |due_ns| own_ns.saturating_sub(due_ns.max(self.now_ns)));
        let paused = late_ns > LATE_NS;
        self.paused_ns += if paused { late_ns } else { 0 };
        self.now_ns = if paused { own_ns - late_ns } else { own_ns };
        paused
    }

    /// The machine's own time.
    pub(crate) const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The caller's time for one of the machine's own.
    pub(crate) const fn outside_ns(&self, own_ns: u64) -> u64 {
        own_ns.saturating_add(self.paused_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_while_nobody_calls() {
        let mut clock = RunningClock::default();
        assert!(!clock.at(1_000, None));
        assert!(!clock.at(LATE_NS, Some(2_000)), "a little late is late");
        assert_eq!(clock.now_ns(), LATE_NS);
        assert!(clock.at(5_000_000_000, Some(LATE_NS + 10)));
        assert_eq!(clock.now_ns(), LATE_NS + 10);
        assert!(!clock.at(5_000_000_100, Some(LATE_NS + 10)));
        assert_eq!(clock.now_ns(), LATE_NS + 110);
        assert_eq!(clock.outside_ns(LATE_NS + 110), 5_000_000_100);
        let mut late = clock;
        assert!(!late.at(5_200_000_100, Some(10)), "what was left undone is no time unspent");
        assert!(!clock.at(10, Some(LATE_NS + 10)), "a clock that goes back stands still");
        assert_eq!(clock.now_ns(), LATE_NS + 110);
    }
}

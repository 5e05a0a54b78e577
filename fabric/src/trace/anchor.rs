//! The node's time of moments that are past: for a tracer, whose spans are told after they ended.
//!
//! Plain values without state.

use std::time::Instant;

use super::span::ns;

/// A moment of the process's clock and what the node's clock said then: spans of a process keep
/// their order to the nanosecond, whenever they are published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    pub(super) moment: Instant,
    pub(super) unix_ns: u64,
}

/// How far the node's clock may be from where the anchor puts it before there is a new anchor.
const ANCHOR_ERROR_NS: u64 = 10_000_000;

impl Anchor {
    /// The node's time at a moment, ns since the Unix epoch.
    pub(super) fn unix_ns(&self, moment: Instant) -> u64 {
        match moment.checked_duration_since(self.moment) {
            Some(after) => self.unix_ns.saturating_add(ns(after)),
            None => self.unix_ns.saturating_sub(ns(self.moment - moment)),
        }
    }

    /// This anchor, or another where the node's clock has been set since.
    pub(super) fn follow(self, now: Self) -> Self {
        let is_set = self.unix_ns(now.moment).abs_diff(now.unix_ns) > ANCHOR_ERROR_NS;
        if is_set { now } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn moments_keep_their_distance_until_the_clock_is_set() {
        let moment = Instant::now();
        let anchor = Anchor { moment, unix_ns: 5_000_000_000 };
        let later = moment + Duration::from_secs(1);
        assert_eq!(anchor.unix_ns(later), 6_000_000_000);
        assert_eq!(Anchor { moment: later, ..anchor }.unix_ns(moment), 4_000_000_000);
        // Nine milliseconds are how clocks are read and slewed; eleven are a clock that was set.
        let kept = anchor.follow(Anchor { moment: later, unix_ns: 6_009_000_000 });
        assert_eq!(kept.unix_ns(later), 6_000_000_000);
        for unix_ns in [6_011_000_000, 5_989_000_000] {
            assert_eq!(anchor.follow(Anchor { moment: later, unix_ns }).unix_ns(later), unix_ns);
        }
    }
}

//! The pause before a further attempt: exponential, capped, with full jitter.
//!
//! Sans-IO: gives durations and reads no clock. Full jitter (evenly between 0 and the cap of the
//! attempt) because many nodes that lost one peer together must not come back together: M. Brooker,
//! "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.

/// A sequence of numbers that look random, the same for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Evenly from 0 to `bound`, `bound` included.
    pub(crate) const fn up_to(&mut self, bound: u64) -> u64 {
        match bound.checked_add(1) {
            Some(choices) => self.next() % choices,
            None => self.next(),
        }
    }
}

/// The pauses of one peer.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    min_ns: u64,
    max_ns: u64,
    failures: u32,
    /// When the first of them was.
    since_ns: u64,
    random: Random,
}

impl Backoff {
    pub(crate) const fn new(min_ns: u64, max_ns: u64, seed: u64) -> Self {
        Self { min_ns, max_ns, failures: 0, since_ns: 0, random: Random::new(seed) }
    }

    /// Whether so many attempts have failed since the last success, the first so long ago.
    pub(crate) const fn is_used_up(&self, attempts: u32, least_ns: u64, now_ns: u64) -> bool {
        self.failures >= attempts && now_ns.saturating_sub(self.since_ns) >= least_ns
    }

    /// One more attempt failed, at `now_ns`: how long to wait before the next, ns.
    pub(crate) fn fail(&mut self, now_ns: u64) -> u64 {
        if self.failures == 0 {
            self.since_ns = now_ns;
        }
        let doubled = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let cap_ns = self.min_ns.saturating_mul(doubled).min(self.max_ns);
        self.failures = self.failures.saturating_add(1);
        self.random.up_to(cap_ns)
    }

    /// It went well: the next failure is the first.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_are_spread_evenly() {
        let mut caps = [0_u64; 8];
        let mut sums = [0_u64; 8];
        for seed in 0..2_000 {
            let mut backoff = Backoff::new(100, 1_600, seed);
            for (cap, sum) in caps.iter_mut().zip(&mut sums) {
                let pause = backoff.fail(0);
                *cap = pause.max(*cap);
                *sum += pause;
            }
            assert!(backoff.is_used_up(8, 0, 0) && !backoff.is_used_up(9, 0, 0));
        }
        for (place, expected) in [100, 200, 400, 800, 1_600, 1_600, 1_600, 1_600].iter().enumerate()
        {
            assert!(caps[place] <= *expected && caps[place] > expected * 95 / 100, "{caps:?}");
            let mean = sums[place] / 2_000;
            assert!(mean > expected * 45 / 100 && mean < expected * 55 / 100, "{mean} {expected}");
        }
    }

    #[test]
    fn attempts_and_time_are_both_used_up_before_anything_is_given_up() {
        let mut backoff = Backoff::new(1, 1, 7);
        backoff.fail(1_000);
        assert!(!backoff.is_used_up(2, 500, 2_000), "one attempt");
        backoff.fail(1_200);
        assert!(!backoff.is_used_up(2, 500, 1_499), "counted from the first");
        assert!(backoff.is_used_up(2, 500, 1_500));
        backoff.reset();
        backoff.fail(9_000);
        backoff.fail(9_000);
        assert!(!backoff.is_used_up(2, 500, 9_000), "what failed before a success is forgotten");
    }

    #[test]
    fn success_begins_anew_and_a_long_silence_does_not_overflow() {
        let mut backoff = Backoff::new(1_000, u64::MAX, 7);
        for _ in 0..200 {
            backoff.fail(0);
        }
        backoff.reset();
        assert!(!backoff.is_used_up(1, 0, 0));
        assert!(backoff.fail(0) <= 1_000);
    }
}

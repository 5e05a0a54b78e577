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
    random: Random,
}

impl Backoff {
    pub(crate) const fn new(min_ns: u64, max_ns: u64, seed: u64) -> Self {
        Self { min_ns, max_ns, failures: 0, random: Random::new(seed) }
    }

    /// Attempts that failed since the last success.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// One more attempt failed: how long to wait before the next, ns.
    pub(crate) fn fail(&mut self) -> u64 {
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
                let pause = backoff.fail();
                *cap = pause.max(*cap);
                *sum += pause;
            }
            assert_eq!(backoff.failures(), 8);
        }
        for (place, expected) in [100, 200, 400, 800, 1_600, 1_600, 1_600, 1_600].iter().enumerate()
        {
            assert!(caps[place] <= *expected && caps[place] > expected * 95 / 100, "{caps:?}");
            let mean = sums[place] / 2_000;
            assert!(mean > expected * 45 / 100 && mean < expected * 55 / 100, "{mean} {expected}");
        }
    }

    #[test]
    fn success_begins_anew_and_a_long_silence_does_not_overflow() {
        let mut backoff = Backoff::new(1_000, u64::MAX, 7);
        for _ in 0..200 {
            backoff.fail();
        }
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
        assert!(backoff.fail() <= 1_000);
    }
}

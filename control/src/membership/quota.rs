//! How many answers a node gives in a second: what strangers can make it send is bounded.

/// A bucket that fills with time and holds what a second brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    each_ns: u64,
    /// When the bucket would be empty of debts.
    paid_until_ns: u64,
}

impl Quota {
    /// So many in a second, and at once.
    pub(crate) const fn new(per_second: u64) -> Self {
        Self { each_ns: 1_000_000_000 / per_second, paid_until_ns: 0 }
    }

    /// Whether one more answer may be given.
    pub(crate) fn take(&mut self, now_ns: u64) -> bool {
        let from_ns = self.paid_until_ns.max(now_ns.saturating_sub(1_000_000_000));
        if from_ns + self.each_ns > now_ns {
            return false;
        }
        self.paid_until_ns = from_ns + self.each_ns;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_answered_and_a_flood_is_not() {
        let mut quota = Quota::new(500);
        let start_ns = 10_000_000_000;
        let burst = (0..10_000).filter(|_| quota.take(start_ns)).count() as u64;
        assert_eq!(burst, 500);
        let later = (0..10_000).filter(|_| quota.take(start_ns + 100_000_000)).count() as u64;
        assert_eq!(later, 50);
    }
}

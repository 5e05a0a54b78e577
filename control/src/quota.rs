//! How much of a thing strangers can make a node do in a second: answers, handshakes.

/// A bucket that fills with time and holds a burst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    each_ns: u64,
    burst_ns: u64,
    /// When the bucket would be empty of debts.
    paid_until_ns: u64,
}

impl Quota {
    /// So many in a second, and so many at once.
    pub(crate) const fn new(per_second: u64, burst: u64) -> Self {
        let each_ns = 1_000_000_000 / per_second;
        Self { each_ns, burst_ns: burst * each_ns, paid_until_ns: 0 }
    }

    /// Whether one more may be done.
    pub(crate) fn take(&mut self, now_ns: u64) -> bool {
        let from_ns = self.paid_until_ns.max(now_ns.saturating_sub(self.burst_ns));
        if from_ns + self.each_ns > now_ns {
            return false;
        }
        self.paid_until_ns = from_ns + self.each_ns;
        true
    }

    /// Takes one back: it cost nothing after all.
    pub(crate) const fn give_back(&mut self) {
        self.paid_until_ns = self.paid_until_ns.saturating_sub(self.each_ns);
    }

    /// Whether it is as good as a new one: nothing was taken for a while.
    pub(crate) const fn is_whole(&self, now_ns: u64) -> bool {
        self.paid_until_ns.saturating_add(self.burst_ns) <= now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_answered_and_a_flood_is_not() {
        let mut quota = Quota::new(500, 500);
        let start_ns = 10_000_000_000;
        let burst = (0..10_000).filter(|_| quota.take(start_ns)).count() as u64;
        assert_eq!(burst, 500);
        let later = (0..10_000).filter(|_| quota.take(start_ns + 100_000_000)).count() as u64;
        assert_eq!(later, 50);
        assert!(!quota.is_whole(start_ns + 1_000_000_000), "some of it is still owed");
        assert!(quota.is_whole(start_ns + 1_100_000_000));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_nothing_beyond_the_burst() {
        let mut quota = Quota::new(20, 5);
        let start_ns = 10_000_000_000;
        for _ in 0..100 {
            assert!(quota.take(start_ns));
            quota.give_back();
        }
        (0..100).for_each(|_| quota.give_back());
        assert_eq!((0..100).filter(|_| quota.take(start_ns)).count(), 5);
    }

    #[test]
    fn a_burst_may_be_smaller_than_what_a_second_brings() {
        let mut quota = Quota::new(20, 5);
        let start_ns = 10_000_000_000;
        assert_eq!((0..100).filter(|_| quota.take(start_ns)).count(), 5);
        let second = (0..100).map(|tenth| start_ns + tenth * 10_000_000);
        assert_eq!(second.filter(|now_ns| quota.take(*now_ns)).count(), 19);
    }
}

//! Lifeguard's local health: a node that is slow itself must not call others dead. Its own missed
//! answers and late timers make it more patient, up to eight times.
//!
//! Source: "Lifeguard: Local Health Awareness for More Accurate Failure Detection", Dadgar,
//! Phillips, Currey 2017, section 4 (local health multiplier). Without negative answers, one missed
//! answer says nothing of us: misses count when they follow each other.

use super::identity::Identity;

/// The score of a node that can hardly keep up.
pub const HEALTH_WORST: u32 = 7;

/// How well this node keeps up, 0 (well) to [`HEALTH_WORST`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Health {
    score: u32,
    missed: Option<Identity>,
}

impl Health {
    /// How many times longer than usual to wait: 1 to 8.
    #[must_use]
    pub const fn multiplier(&self) -> u32 {
        1 + self.score
    }

    fn worse(&mut self) {
        self.score = (self.score + 1).min(HEALTH_WORST);
    }

    /// `member` did not answer in time. That the one before did not either, and was another one,
    /// says that it may be us.
    pub fn missed(&mut self, member: Identity) {
        if self.missed.is_some_and(|before| before != member) {
            self.worse();
        }
        self.missed = Some(member);
    }

    /// Our own timer came late: we were not running.
    pub fn late(&mut self) {
        self.worse();
    }

    /// Somebody suspected us, wrongly.
    pub fn suspected(&mut self) {
        self.worse();
    }

    /// A member answered in time.
    pub const fn answered(&mut self) {
        self.score = self.score.saturating_sub(1);
        self.missed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom_wire::NodeId;

    fn member(last: u8) -> Identity {
        Identity { life: 1, node: NodeId(u64::from(last)), address: ([10, 0, 0, last], 1).into() }
    }

    #[test]
    fn patience_grows_with_own_trouble_and_not_with_one_dead_peer() {
        let mut health = Health::default();
        for _ in 0..10 {
            health.missed(member(1));
        }
        assert_eq!(health.multiplier(), 1, "one dead peer is not our fault");
        health.missed(member(2));
        assert_eq!(health.multiplier(), 2);
        for _ in 0..20 {
            health.late();
        }
        assert_eq!(health.multiplier(), 1 + HEALTH_WORST);
        for _ in 0..20 {
            health.answered();
        }
        assert_eq!(health.multiplier(), 1);
        health.suspected();
        assert_eq!(health.multiplier(), 2);
    }
}

//! Lifeguard's local health: a node that is slow itself must not call others dead. Its own missed
//! answers and late timers make it more patient, up to eight times.
//!
//! Source: "Lifeguard: Local Health Awareness for More Accurate Failure Detection", Dadgar,
//! Phillips, Currey 2017, section 4 (local health multiplier). That a member does not answer says
//! nothing of us; that those who were asked to probe it say nothing either, does.

/// The score of a node that can hardly keep up.
pub const HEALTH_WORST: u32 = 7;

/// How well this node keeps up, 0 (well) to [`HEALTH_WORST`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Health {
    score: u32,
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

    /// A member that was asked to probe another said neither yes nor no.
    pub fn unheard(&mut self) {
        self.worse();
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn patience_grows_with_own_trouble() {
        let mut health = Health::default();
        health.unheard();
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

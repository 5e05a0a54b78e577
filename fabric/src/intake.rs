//! How a ring subscriber takes its events: how large its ring is, what gives way when it is slow,
//! and how many the tasks of the control thread take in a turn.

use wireloom_dataplane::inbound::{BLOCK_MAX, KEYS_MAX, SlowPolicy};

use crate::outcome::SubscribeError;

/// Records that a task of the control thread takes from one ring in a cycle, at most.
pub(crate) const CYCLE_RECORDS: usize = 4_096;

/// How a subscriber takes its events; see [`Node::subscribe_with`](crate::Node::subscribe_with).
///
/// ```
/// use wireloom::{Intake, SlowPolicy};
/// let intake = Intake::of(SlowPolicy::DropOldest).ring_bytes(64 << 10);
/// assert_eq!(intake.policy(), SlowPolicy::DropOldest);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Intake {
    policy: SlowPolicy,
    ring_bytes: Option<usize>,
}

impl Intake {
    /// With this policy, and a ring of the node's usual size.
    #[must_use]
    pub const fn of(policy: SlowPolicy) -> Self {
        Self { policy, ring_bytes: None }
    }

    /// With a ring of this many bytes (a power of two, at least 4,096) for each receiver of the
    /// node, instead of [`NodeBuilder::ring_bytes`](crate::NodeBuilder::ring_bytes). An event needs
    /// 32 bytes more than its frame; one longer than a quarter of the ring is shed as `too_large`.
    #[must_use]
    pub const fn ring_bytes(mut self, bytes: usize) -> Self {
        self.ring_bytes = Some(bytes);
        self
    }

    /// What gives way when the subscriber is slow.
    #[must_use]
    pub const fn policy(&self) -> SlowPolicy {
        self.policy
    }

    /// What the ring is made from, once it has been checked.
    pub(crate) fn check(self) -> Result<(SlowPolicy, Option<usize>), SubscribeError> {
        match self.policy {
            SlowPolicy::Block(patience) if patience > BLOCK_MAX => {
                Err(SubscribeError::Patience { asked: patience, limit: BLOCK_MAX })
            }
            SlowPolicy::Latest { keys } if keys == 0 || keys > KEYS_MAX => {
                Err(SubscribeError::Keys { asked: keys, limit: KEYS_MAX })
            }
            policy => Ok((policy, self.ring_bytes)),
        }
    }
}

impl From<SlowPolicy> for Intake {
    fn from(policy: SlowPolicy) -> Self {
        Self::of(policy)
    }
}

//! A member as the rest of the program sees it, and what can happen to one.

use std::net::SocketAddr;

use wireloom_wire::{EventTypeId, NodeId};

use super::identity::Identity;
use super::record::{Interest, Record};

/// What the failure detector thinks of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It did not answer lately and may still speak up; it is used like a living one.
    Suspect,
    /// It is dead or has left; it is remembered for a while.
    Down,
}

impl MemberState {
    /// The state in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }
}

/// One member of the cluster, this node included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The newest of what it said of itself.
    pub record: Record,
    /// What the failure detector thinks of it.
    pub state: MemberState,
    /// How often it has refuted being suspected, in this life.
    pub refutations: u16,
    /// Since when it has been up or down (monotonic ns of this node).
    pub since_ns: u64,
    /// Whether it is this node.
    pub is_self: bool,
    /// Another member is up under the same name, and has been for a while.
    pub shares_name: bool,
}

impl Member {
    /// The node's id.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.record.identity.node
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Where it receives.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.record.identity.address
    }

    /// Its incarnation: grows with each start and each time it came back.
    #[must_use]
    pub const fn incarnation(&self) -> (u64, u16) {
        (self.record.identity.life, self.refutations)
    }

    /// Whether it is used: alive, or only suspected.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state != MemberState::Down
    }

    /// Whether it offers this service.
    #[must_use]
    pub fn offers(&self, service: &str) -> bool {
        self.record.services.iter().any(|offered| offered == service)
    }

    /// Whether it wants events of this type.
    #[must_use]
    pub fn wants(&self, event_type: EventTypeId) -> bool {
        self.record.interest.wants(event_type)
    }

    /// The event types it wants.
    #[must_use]
    pub const fn interest(&self) -> &Interest {
        &self.record.interest
    }
}

/// What has happened to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is known and up. Also after having been down.
    Up(Identity),
    /// It is dead or has left.
    Down(Identity),
    /// It says something new of itself, or has begun a new life without having been down.
    Changed(Identity),
    /// Several members are up under this name.
    SharedName(String),
}

//! Who is in the cluster: SWIM failure detection (Das, Gupta, Motivala 2002; crate `foca`) with
//! Lifeguard's additions (Dadgar, Phillips, Currey 2017), and what each member says of
//! itself, passed on beside it.
//!
//! Sans-IO: [`Membership`] takes packets and times and gives packets and changes. It knows no
//! socket, no thread and no clock, so the simulation runs hundreds of them in one loop. The agent
//! that gives it sockets is [`crate::mesh`].

mod beacon;
mod clock;
mod codec;
mod health;
mod hear;
mod identity;
mod lifeguard;
mod machine;
mod member;
mod outbox;
mod probing;
mod record;
mod roster;
mod settings;
mod speech;
mod spread;
mod suspicion;
mod table;
mod verdicts;
mod view;

pub use self::codec::Malformed;
pub use self::health::{HEALTH_WORST, Health};
pub use self::identity::Identity;
pub use self::machine::Membership;
pub use self::member::{Change, Member, MemberState};
pub use self::record::{
    ADDRESSES_MAX, INTERESTS_MAX, Interest, NAME_BYTES_MAX, RECORD_BYTES_MAX, Record, RecordError,
    SERVICES_BYTES_MAX,
};
pub use self::roster::{Roster, Table};
pub use self::settings::{Counts, MEMBERS_MAX, MembershipConfig, Timing};

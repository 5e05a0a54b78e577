//! Wireloom routes typed events: one call reaches a function in this process, another process, a
//! machine or a multicast group, without a broker.
//!
//! # Concepts
//!
//! - An **event** is a Rust value whose type derives [`Event`](macro@Event): it has a type name, a
//!   priority and a schema. It travels as an [rkyv](https://docs.rs/rkyv) archive and is read in
//!   place, always checked.
//! - A **node** ([`Node`]) is one running participant: an address, a sender, a receiver.
//! - A [`Target`] says where an event goes; a [`Router`] routes any event to any target, a
//!   [`Publisher`] one type to one target in a hot loop.
//! - A **handler** ([`Node::on`]) runs on the receiving worker with the event in place; a
//!   [`Subscriber`] takes events from a ring on its own thread (one copy), an [`EventStream`] in an
//!   async task. Methods of an object are
//!   handlers by [`macro@handlers`]; [`Router::request`] asks a node that answers by
//!   [`Node::respond`].
//! - A node's figures come from a profile, a file, the environment or the command line: [`config`].
//! - Every call has an outcome with a name ([`Accepted`] or [`Refused`]); every event that was
//!   accepted is delivered or has a reason in the [`Ledger`]. Events missing on the way are told
//!   in-band as [`Lost`]. To a reliable target an event is kept until it is acknowledged, and a
//!   [`Receipt`] says what became of it.
//!
//! # Hello
//!
//! ```
//! use wireloom::{Event, Node, Target};
//!
//! #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
//! #[event(type = "price-tick", priority = "high")]
//! struct PriceTick { instrument: String, cents: u64 }
//!
//! let desk = Node::builder("desk").start()?;
//! let (seen, sees) = std::sync::mpsc::channel();
//! desk.on::<PriceTick>(move |tick, envelope| {
//!     let _ = seen.send((tick.cents.to_native(), envelope.source()));
//! })?;
//!
//! let feed = Node::builder("feed").start()?;
//! let tick = PriceTick { instrument: "ACME".into(), cents: 1_250 };
//! feed.router().route(&tick, Target::Node(desk.address()))?;
//!
//! let (cents, from) = sees.recv_timeout(std::time::Duration::from_secs(5))?;
//! assert_eq!((cents, from), (1_250, feed.id()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A crate that derives [`Event`](macro@Event) also depends on `rkyv` 0.8.
//!
//! Copies of an event between publisher and inline handler: the encoder writes it once into a ring;
//! the kernel copies it in and out of its buffers; the handler reads it there. A ring subscriber
//! adds one copy.

#![forbid(unsafe_code)]

/// The pages of the guide: their samples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/events.md")]
struct EventsPage;

mod access;
mod announce;
mod attributes;
mod audit;
mod builder;
mod choose;
mod cluster;
pub mod config;
mod convert;
pub mod decode;
mod dominant;
pub mod encode;
mod envelope;
pub mod event;
pub mod events;
mod explain;
#[doc(hidden)]
pub mod fuzz;
mod group_keys;
mod handler;
mod handlers;
mod installed;
mod intake;
pub mod json;
pub mod jtag;
mod keying;
mod large;
mod ledger;
mod matching;
mod members;
mod memory;
mod node;
mod note;
mod outcome;
mod paths;
mod pattern;
mod peers;
mod plan;
mod publisher;
mod reach;
mod receipt;
mod reports;
mod request;
mod revocations;
mod rings;
mod router;
mod rules;
pub mod schema;
mod sealing;
mod security;
mod select;
mod shared;
mod stream;
mod subscriber;
mod subscription;
mod target;
pub mod trace;
mod trust;
mod validation;
mod wait;
mod writer;

pub use access::{
    Decision, Effect, Limit, POLICY_LINES_MAX, POLICY_WORDS_MAX, Policy, PolicyChange, PolicyLine,
    PolicyMode, ROLES_MAX, RoleSource, Roles, Subject, Verb,
};
pub use audit::{AUDIT_BYTES_MAX, AUDIT_LINES_PER_SECOND, AuditRecord};
pub use builder::{Levels, NodeBuilder, NodeError};
pub use choose::Choice;
pub use cluster::DISCOVERY_GROUP;
pub use envelope::{Envelope, OwnedEnvelope};
pub use event::Event;
pub use explain::{Considered, Explanation, KeyUse};
pub use handlers::{Handlers, Methods, handlers};
pub use intake::Intake;
pub use keying::Protection;
pub use ledger::{Handled, Ledger, Published, Received, Reliable, Ringed, WorkerReport};
pub use members::{NotReady, Ready};
pub use node::Node;
pub use outcome::{Accepted, AccessError, NoRoute, Refused, SubscribeError};
pub use pattern::{PatternError, TypePattern};
pub use publisher::{Burst, Publisher};
pub use receipt::Receipt;
pub use request::responder::Answer;
pub use request::{Failure, PendingReply, RequestError};
pub use router::{Batch, Router};
pub use rules::{Question, RULES_MAX, Rule, RuleSet};
pub use schema::Schema;
pub use select::{DEBUG_GROUP, DEFAULT_GROUP, Step, Transport};
pub use stream::{
    AnyEventStream, EventStream, OwnedAnyEvent, Streamed, StreamedAny, SubscriberStream,
};
pub use subscriber::{AnyEvent, AnySubscriber, Polled, PolledAny, Subscriber};
pub use subscription::Subscription;
pub use target::{Target, TargetError};
pub use validation::{
    PayloadSchema, Reason, SCHEMAS_MAX, SchemaFault, SchemasExhausted, SignerKeys, Validation,
    ValidationResult,
};
pub use wait::{Expected, WaitError};
pub use wireloom_control::membership::{
    Change, Counts as ClusterCounts, Identity, Interest, Member, MemberState, Record, RecordError,
};
pub use wireloom_control::simulated::{SimulatedStreams, StreamCounts, StreamModel};
pub use wireloom_control::{DeadLetter, Delivery, ReliableSettings, Undelivered};
pub use wireloom_dataplane::agent::Invoker;
pub use wireloom_dataplane::clock::Clock;
pub use wireloom_dataplane::config::{IoBackend, Mode};
pub use wireloom_dataplane::counters::CounterMeaning;
pub use wireloom_dataplane::dispatch::{Lost, SubscriptionId};
pub use wireloom_dataplane::flow::FlowControl;
pub use wireloom_dataplane::idle::Idle;
pub use wireloom_dataplane::inbound::{Shed, ShedReason, SlowPolicy};
pub use wireloom_dataplane::io::simulated;
pub use wireloom_dataplane::socket::Interface;
#[doc(inline)]
pub use wireloom_derive::traced;
pub use wireloom_identity as identity;
pub use wireloom_wire::{
    Encoding, EventTypeId, Fingerprint, NodeId, Priority, SessionId, TraceContext,
};

/// The samples of the guide, compiled and run as the others.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/first-node.md")]
struct GuideToTheFirstNode;

#[cfg(doctest)]
#[doc = include_str!("../../docs/security.md")]
struct GuideToSecurity;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/subscribers.md")]
struct GuideToSubscribers;

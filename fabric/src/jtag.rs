//! The legacy event system ("JTAG") on top of the fabric, and the way from one to the other.
//!
//! Programs of the legacy system emit events by name, with JSON as data, and listen to names. Here
//! they keep doing so while their events travel by Wireloom, and move to typed events one by one:
//!
//! 1. **Compatibility.** [`LegacyEvents`] has `emit`, `on`, `once`, `wait_for` and `stream`. Events
//!    travel wrapped, as events of the one type `legacy-jtag` ([`LegacyJtag`]).
//! 2. **Type by type.** A [`Mapping`] says which names are typed events now. Whichever world emits,
//!    both see the event, each once.
//! 3. **Distributed.** [`Ways`] say where the events of each priority go: a multicast group for
//!    all, and critical nodes reliably beside it.
//!
//! Processes that cannot change connect to a [`Bridge`] (`wireloom jtag-bridge`), which speaks the
//! legacy [`Message`]s. `docs/guide/migration.md` takes a small program through the three phases.
//!
//! This module owns no socket: it uses routers and subscribers of a node as any program does.
//! Figures of the legacy system that it keeps:
//!
//! | figure | value |
//! |---|---|
//! | [`WAIT_TIMEOUT`] of `wait_for` | 10 s |
//! | [`REQUEST_TIMEOUT`] of a request through the bridge | 30 s |
//! | [`WINDOW`] in which a repeated message is dropped | 60 s |
//! | [`QUEUE_MAX`] frames that wait for a target | 1,000 |
//! | [`RETRIES_MAX`] of each, one every [`FLUSH_INTERVAL`] | 3, 500 ms |
//! | [`MESSAGE_BYTES_MAX`], depth and values of a message | 10 MB, 120, 100,000 |

mod bridge;
mod counts;
mod endpoint;
mod events;
mod filter;
mod listeners;
mod mapping;
mod message;
mod outbox;
mod shape;
mod stream;
mod time;
mod transport;
mod ways;
mod window;
mod wrapper;

pub use bridge::{Bridge, BridgeCounts, CLIENTS_MAX, ClientId, PENDING_MAX};
pub use counts::LegacyCounts;
pub use endpoint::{ENDPOINTS_MAX, Endpoints, EndpointsFull, environment_of};
pub use events::{
    EmitError, Emitted, LegacyEvents, LegacyEventsBuilder, LegacyFault, LegacyTimeout, StartError,
    WAIT_TIMEOUT, urgency_of_name,
};
pub use filter::{Filter, Pattern, PatternError, REGEX_BYTES_MAX};
pub use listeners::{LISTENERS_MAX, ListenError, ListenerId, Unsubscribe};
pub use mapping::{MAPPINGS_MAX, Mapping, MappingError, Unfit};
pub use message::{Context, Environment, Message, MessageType, REQUEST_TIMEOUT, correlation_id};
pub use outbox::{FLUSH_INTERVAL, NotSent, QUEUE_BYTES_MAX, QUEUE_MAX, RETRIES_MAX};
pub use shape::{
    MESSAGE_BYTES_MAX, MESSAGE_DEPTH_MAX, MESSAGE_VALUES_MAX, MessageError, NAME_BYTES_MAX,
};
pub use stream::{LegacyStream, STREAM_EVENTS_MAX, STREAMS_MAX};
pub use transport::{FabricTransport, MessageHandler, SendResult, Transport, TransportRole};
pub use ways::{MESH_GROUP, WAYS_MAX, Ways, WaysFull};
pub use window::{WINDOW, WINDOW_ENTRIES_MAX, Window};
pub use wrapper::{LegacyEvent, LegacyJtag};

/// Whether a trace is what a legacy event is known by, and stands on no other event.
pub(crate) fn is_identity(trace: wireloom_wire::TraceContext) -> bool {
    wrapper::Identity::of(Some(trace)).is_some()
}

//! Traced functions: what ran where, for how long, caused by what, across nodes.
//!
//! [`#[traced]`](macro@crate::traced) makes a function a *span* of a trace. A span begun while
//! another is current in the thread is its child; an event that a [`Router`](crate::Router) routes
//! in a span carries the span's context; a handler runs in the context of its event. So a trace
//! follows its events from node to node without a word in between. When a span ends, the
//! process's [`Tracer`] publishes a [`Trace`](crate::events::Trace) event: to the debug group when
//! it succeeded, reliably to the service `error-collector` when it failed.
//!
//! ```
//! use wireloom::events::Trace;
//! use wireloom::trace::TraceSettings;
//! use wireloom::{Interface, Node, traced};
//!
//! #[traced("price.quote", fields(instrument = name))]
//! fn quote(name: &str) -> Result<u64, std::num::ParseIntError> {
//!     name.trim_start_matches("X").parse()
//! }
//!
//! # let loopback = || Interface::Address([127, 0, 0, 1].into());
//! # let group = "224.1.1.2:19437";
//! let viewer = Node::builder("viewer").join_on(group, loopback()).start()?;
//! let (seen, sees) = std::sync::mpsc::channel();
//! viewer.on::<Trace>(move |trace, _| {
//!     let _ = seen.send(trace.operation.to_string());
//! })?;
//!
//! let node = Node::builder("desk").multicast(1, loopback(), true).start()?;
//! let tracer = node.install_tracer(TraceSettings {
//! #   group: wireloom::Target::multicast(group),
//!     ..TraceSettings::default()
//! })?;
//! assert_eq!(quote("X42")?, 42);
//! assert_eq!(sees.recv_timeout(std::time::Duration::from_secs(5))?, "price.quote");
//! assert_eq!(tracer.close().published, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Cost of a traced call: without a tracer, a load and a branch; sampled out, ids and a reading of
//! the clock; sampled, a second reading, and a record put into a queue that one thread of the
//! tracer publishes from. `cargo bench -p wireloom-bench --bench traced` measures them.
//!
//! | file | what lives there |
//! |---|---|
//! | `context.rs` | the thread's current span, and who changes it |
//! | `ids.rs` | ids, and whether one is sampled |
//! | `span.rs` | a span from its beginning to its end, around a call or a future |
//! | `failure.rs` | whether a returned value is an error, and its words |
//! | `tracer.rs` | the process's tracer: queue, thread, counters |
//! | `layer.rs` | the crate `tracing` as a source of spans (feature `tracing`) |
//! | `traceparent.rs` | the text form of a context |

mod anchor;
mod context;
mod failure;
mod ids;
#[cfg(feature = "tracing")]
mod layer;
mod span;
mod traceparent;
mod tracer;

pub(crate) use context::{Entered, enter_event};
pub use context::{carry, current, follow};
#[doc(hidden)]
pub use failure::{Returned, ShowsDebug, ShowsDisplay, ShowsNothing};
#[cfg(feature = "tracing")]
pub use layer::TraceLayer;
#[doc(hidden)]
pub use span::{Fields, Site, Span, call, call_future};
pub use traceparent::{Traceparent, TraceparentError};
pub(crate) use tracer::waiting_bytes_max;
pub use tracer::{TraceCounts, TraceSettings, Tracer, TracerError};

// Together they let every trace fit a packet of 1,400 bytes.
/// Longest name of an operation, in bytes; a longer one is cut.
pub const OPERATION_BYTES_MAX: usize = 64;
/// Longest message of an error, in bytes; a longer one is cut.
pub const MESSAGE_BYTES_MAX: usize = 192;
/// Most values a span keeps; of further ones `left_out` says how many there were.
pub const PAIRS_MAX: usize = 8;
/// Longest name of a value, in bytes; a longer one is cut.
pub const KEY_BYTES_MAX: usize = 24;
/// Longest value, in bytes of its text; a longer one is cut.
pub const VALUE_BYTES_MAX: usize = 48;

/// The samples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/tracing.md")]
mod guide {}

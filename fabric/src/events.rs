//! Events of the user's design, ready to use; ordinary events, open to every publisher and
//! subscriber. Wireloom itself publishes the first two, exceptions and traces.
//!
//! A field that ends in `_ns` or `_ms` is a time since the Unix epoch (or a span) in that unit.
//! Released bytes do not change: `fabric/tests/golden/` keeps those of every version.
//!
//! | type | struct | priority | group |
//! |---|---|---|---|
//! | `heartbeat` | [`Heartbeat`] | normal | [`DISCOVERY_GROUP`](crate::DISCOVERY_GROUP) |
//! | `service-announcement` | [`ServiceAnnouncement`] | high | |
//! | `discovery` | [`Discovery`] | high | [`DISCOVERY_GROUP`](crate::DISCOVERY_GROUP) |
//! | `user-interaction` | [`UserInteraction`] | normal | |
//! | `ui-state-change` | [`UiStateChange`] | normal | |
//! | `performance-metric` | [`PerformanceMetric`] | low | |
//! | `trace` | [`Trace`] | low | 224.1.1.2:9000 |
//! | `debug` | [`DebugMessage`] | background | 224.1.1.2:9000 |
//! | `error` | [`ErrorReport`] | critical | |
//! | `exception` | [`Exception`] | critical | |
//! | `server-crash` | [`ServerCrash`] | critical | |
//! | `system-ready` | [`SystemReady`] | high | 224.1.1.1:9000 |

pub mod debug;
pub mod discovery;
pub mod error;
pub mod exception;
pub mod heartbeat;
pub mod performance_metric;
pub mod server_crash;
pub mod service_announcement;
pub mod system_ready;
pub mod trace;
pub mod ui_state_change;
pub mod user_interaction;

pub use debug::DebugMessage;
pub use discovery::Discovery;
pub use error::ErrorReport;
pub use exception::Exception;
pub use heartbeat::Heartbeat;
pub use performance_metric::PerformanceMetric;
pub use server_crash::ServerCrash;
pub use service_announcement::ServiceAnnouncement;
pub use system_ready::SystemReady;
pub use trace::{Trace, TraceOutcome};
pub use ui_state_change::UiStateChange;
pub use user_interaction::UserInteraction;

use crate::json::JsonCodec;

macro_rules! each {
    ($($event:ty),+ $(,)?) => {
        /// The JSON codecs of all of them: for tools that know events by name.
        #[must_use]
        pub fn codecs() -> Vec<JsonCodec> {
            vec![$(JsonCodec::of::<$event>()),+]
        }

        /// The [JSON Schema](crate::json::schema) of the one with this type name; `None` when
        /// there is none. With the feature `json-schema`.
        #[cfg(feature = "json-schema")]
        #[must_use]
        pub fn json_schema(type_name: &str) -> Option<String> {
            $(if type_name == <$event as crate::Event>::TYPE {
                return crate::json::schema::<$event>().ok();
            })+
            None
        }
    };
}

each! {
    DebugMessage, Discovery, ErrorReport, Exception, Heartbeat, PerformanceMetric, ServerCrash,
    ServiceAnnouncement, SystemReady, Trace, UiStateChange, UserInteraction,
}

//! What has become of legacy events: counters that only grow.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counts {
    ($($(#[$text:meta])* $name:ident,)*) => {
        /// What has become of legacy events so far. Every event that ends otherwise than with a
        /// listener or a router has a counter with the reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
        #[non_exhaustive]
        pub struct LegacyCounts {
            $($(#[$text])* pub $name: u64,)*
            /// Frames that wait now for a target that takes none.
            pub waiting: u64,
            /// How often a waiting frame was tried again.
            pub retries: u64,
        }

        /// The counters behind it, written by any thread.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)*
        }

        impl Counters {
            pub(super) fn read(&self) -> LegacyCounts {
                LegacyCounts {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    ..LegacyCounts::default()
                }
            }
        }
    };
}

counts! {
    /// Events emitted here.
    emitted,
    /// Messages passed on for a client of a bridge.
    relayed,
    /// Events that arrived and were given to listeners and streams.
    received,
    /// Calls of listeners that returned.
    delivered,
    /// Calls of listeners that panicked.
    panicked,
    /// Frames the router took.
    routed,
    /// Frames the router refused for good.
    refused,
    /// Frames that were tried again three times, or waited when the events were closed.
    given_up,
    /// Frames that found the queue of waiting ones full.
    queue_full,
    /// Frames of an event that had come already in another form or by another way.
    duplicates,
    /// Frames of events of this process that came back to it.
    echoes,
    /// Events of phase 1 nodes that were given to typed handlers here.
    converted,
    /// Events without their other form, because their data is not that of the typed event.
    unfit,
    /// What arrived as a legacy event and was none.
    malformed,
    /// Typed events of a schema that the mapping's type cannot be made from.
    wrong_schema,
    /// Events that arrived faster than listeners took them.
    shed,
    /// Events that were lost on the way.
    lost,
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

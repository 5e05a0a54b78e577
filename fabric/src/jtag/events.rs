//! The legacy interface: emit, on, once, wait for, stream. What a program calls; what happens
//! inside stands in `events/inner.rs`, what arrives in `events/receiving.rs`.

mod inner;
mod receiving;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use wireloom_wire::Priority;

pub(super) use inner::{Arrival, Inner};
use receiving::Receiving;

use super::counts::LegacyCounts;
use super::filter::Filter;
use super::listeners::{ListenError, ListenerId, Unsubscribe};
use super::mapping::{Mapping, MappingError};
use super::message::{Environment, Message};
use super::outbox::NotSent;
use super::shape::MessageError;
use super::stream::{LegacyStream, STREAMS_MAX};
use super::ways::Ways;
use crate::node::Node;
use crate::outcome::SubscribeError;
use crate::target::Target;
use crate::validation::SchemaFault;

/// How long the legacy system waits for an event.
pub const WAIT_TIMEOUT: Duration = Duration::from_millis(10_000);

/// Why the legacy events were not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The mapping is none.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The name of the source may be none.
    #[error(transparent)]
    Source(#[from] MessageError),
    /// The node takes no more subscribers.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The system gives no thread.
    #[error("no thread for the events that arrive: {0}")]
    Thread(String),
}

/// Why an event did not go where it should. Its listeners in this process have been called, unless
/// the event itself was at fault ([`EmitError::Event`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// It may have no such name, or its data is beyond the bounds: nobody has seen it.
    #[error(transparent)]
    Event(#[from] MessageError),
    /// Its data is not as the [schema](Node::json_schema) of its name, or of the typed event that
    /// the name is, says: nobody has seen it.
    #[error(transparent)]
    Schema(#[from] SchemaFault),
    /// A target did not get it; others may have.
    #[error("{name:?} did not go to {target}: {reason}")]
    NotSent {
        /// The event's name.
        name: String,
        /// Which target.
        target: String,
        /// Why.
        reason: NotSent,
    },
    /// [`LegacyEvents::close`] was called.
    #[error("the legacy events are closed")]
    Closed,
}

impl EmitError {
    /// A stable name of the reason, for counters and answers.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Event(error) => error.name(),
            Self::Schema(_) => "schema_validation_failed",
            Self::NotSent { reason, .. } => reason.name(),
            Self::Closed => "closed",
        }
    }
}

/// What became of an event that was emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Emitted {
    /// Listeners of this process that were called and returned.
    pub listeners: usize,
    /// Listeners that panicked; the others were called all the same.
    pub panicked: usize,
    /// Frames the router took: one a target, two where the name is mapped.
    pub routed: usize,
    /// Frames that wait for a target that takes none now; tried again three times.
    pub waiting: usize,
}

/// No event came in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Event {name} timeout after {timeout_ms} ms")]
pub struct LegacyTimeout {
    /// Which one was waited for.
    pub name: String,
    /// How long.
    pub timeout_ms: u128,
}

/// Something went wrong that no caller was told of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LegacyFault {
    /// A listener panicked.
    #[error("a listener of {name:?} panicked: {words:?}")]
    ListenerPanicked {
        /// The event's name.
        name: String,
        /// What it said.
        words: String,
    },
    /// A frame was tried again three times.
    #[error("given up: {0}")]
    GivenUp(NotSent),
    /// What arrived was no legacy event.
    #[error("an event from outside was refused: {0}")]
    Malformed(MessageError),
    /// What arrived did not become the other form.
    #[error("an event from outside has one form only: {0}")]
    NotSent(NotSent),
}

/// What is told of faults, on whichever thread they come to light.
pub(super) type OnFault = Box<dyn Fn(&LegacyFault) + Send + Sync>;

/// How legacy events are set up; from [`LegacyEvents::builder`].
pub struct LegacyEventsBuilder<'a> {
    node: &'a Node,
    pub(super) ways: Ways,
    pub(super) mapping: Mapping,
    pub(super) context: Environment,
    pub(super) source: String,
    pub(super) urgency: fn(&str) -> Priority,
    pub(super) on_fault: OnFault,
}

impl std::fmt::Debug for LegacyEventsBuilder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LegacyEventsBuilder").field("ways", &self.ways).finish_non_exhaustive()
    }
}

impl LegacyEventsBuilder<'_> {
    /// Where events go; without it they stay in this process.
    #[must_use]
    pub fn ways(mut self, ways: Ways) -> Self {
        self.ways = ways;
        self
    }

    /// Which names are typed events now.
    #[must_use]
    pub fn mapping(mut self, mapping: Mapping) -> Self {
        self.mapping = mapping;
        self
    }

    /// What kind of place this is; a server unless told.
    #[must_use]
    pub const fn context(mut self, context: Environment) -> Self {
        self.context = context;
        self
    }

    /// What this program calls itself; the node's name unless told.
    #[must_use]
    pub fn source(mut self, source: &str) -> Self {
        source.clone_into(&mut self.source);
        self
    }

    /// How urgent the wrapper of a name is; normal unless told. [`urgency_of_name`] is the rule of
    /// the legacy messages. A typed event has the priority of its type.
    #[must_use]
    pub fn urgency(mut self, urgency: fn(&str) -> Priority) -> Self {
        self.urgency = urgency;
        self
    }

    /// Runs `told` for each fault that no caller hears of; all are counted too.
    #[must_use]
    pub fn on_fault(mut self, told: impl Fn(&LegacyFault) + Send + Sync + 'static) -> Self {
        self.on_fault = Box::new(told);
        self
    }

    /// Begins: from now on events arrive, on a thread `wl-legacy` of its own.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(self) -> Result<LegacyEvents, StartError> {
        let node = self.node;
        let (inner, subscriber) = Inner::new(node, self)?;
        let receiving = Receiving::launch(Arc::clone(&inner), subscriber)
            .map_err(|error| StartError::Thread(error.to_string()))?;
        Ok(LegacyEvents { inner, receiving: Arc::new(receiving) })
    }
}

/// The priority of a name by the rule of the legacy messages: `system` or `health` in it makes it
/// critical, all else is normal.
#[must_use]
pub fn urgency_of_name(name: &str) -> Priority {
    if ["system", "health"].iter().any(|word| name.contains(word)) {
        Priority::Critical
    } else {
        Priority::Normal
    }
}

/// The legacy event system on top of a node: `emit`, `on`, `once`, `wait_for` and `stream` as they
/// were, between all processes that the [`Ways`] reach.
///
/// A clone is the same events. Listeners run on the thread that emits, and for events from outside
/// on the thread `wl-legacy`: an event of another process never interrupts a listener, but may come
/// beside one of this process. A listener may emit, listen and unsubscribe. One that holds a clone
/// keeps the events alive until [`LegacyEvents::close`].
///
/// One is meant for a node: with two, typed handlers of the node would see events of phase 1 nodes
/// twice.
///
/// ```
/// use serde_json::json;
/// use wireloom::{Node, Target, jtag::LegacyEvents};
///
/// let node = Node::builder("desk").start()?;
/// let events = LegacyEvents::new(&node, &Target::Local)?;
///
/// let (seen, sees) = std::sync::mpsc::channel();
/// let unsubscribe = events.on("chat:said", move |data| {
///     let _ = seen.send(data["text"].clone());
/// })?;
/// let emitted = events.emit("chat:said", &json!({ "text": "hello" }))?;
/// assert_eq!(emitted.listeners, 1);
/// assert_eq!(sees.try_recv()?, "hello");
/// unsubscribe.unsubscribe();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct LegacyEvents {
    pub(super) inner: Arc<Inner>,
    receiving: Arc<Receiving>,
}

impl LegacyEvents {
    /// Phase 1: every event to one target, nothing mapped.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(node: &Node, target: &Target) -> Result<Self, StartError> {
        Self::builder(node).ways(Ways::to(target)).start()
    }

    /// Sets up legacy events on a node.
    #[must_use]
    pub fn builder(node: &Node) -> LegacyEventsBuilder<'_> {
        LegacyEventsBuilder {
            node,
            ways: Ways::nowhere(),
            mapping: Mapping::new(),
            context: Environment::Server,
            source: node.name().to_owned(),
            urgency: |_| Priority::Normal,
            on_fault: Box::new(|_| {}),
        }
    }

    /// Emits an event: routes it, then calls every listener of exactly that name in this process,
    /// in the order in which they came, before it returns. A listener that panics is counted and
    /// does not stop the others.
    ///
    /// Costs some µs: JSON is written once, and one frame a target and form is routed.
    ///
    /// # Errors
    /// [`EmitError`]; see there who has seen the event all the same.
    pub fn emit(&self, name: &str, data: &Value) -> Result<Emitted, EmitError> {
        self.inner.emit(name, data)
    }

    /// Calls `listener` with the data of every event of exactly this name, from here or outside,
    /// until the returned [`Unsubscribe`] is dropped.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn on(
        &self,
        name: &str,
        listener: impl Fn(&Value) + Send + Sync + 'static,
    ) -> Result<Unsubscribe, ListenError> {
        self.inner.listeners.add(name, false, listener)
    }

    /// As [`LegacyEvents::on`], for the next event only.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn once(
        &self,
        name: &str,
        listener: impl Fn(&Value) + Send + Sync + 'static,
    ) -> Result<Unsubscribe, ListenError> {
        self.inner.listeners.add(name, true, listener)
    }

    /// Removes a listener; false when it is not there (any more).
    #[must_use = "whether it was there"]
    pub fn unsubscribe(&self, id: ListenerId) -> bool {
        self.inner.listeners.remove(id)
    }

    /// Waits for the next event of this name and returns its data. [`WAIT_TIMEOUT`] is what the
    /// legacy system waits. Blocks this thread: not for a listener.
    ///
    /// # Errors
    /// [`LegacyTimeout`] when none came in time, or none can come: the name may be none, the events
    /// are closed.
    pub fn wait_for(&self, name: &str, timeout: Duration) -> Result<Value, LegacyTimeout> {
        let (seen, sees) = mpsc::channel();
        let late = LegacyTimeout { name: name.to_owned(), timeout_ms: timeout.as_millis() };
        let listens = self.once(name, move |data| {
            // Whoever waited has given up.
            let _ = seen.send(data.clone());
        });
        let Ok(_listens) = listens else { return Err(late) };
        sees.recv_timeout(timeout).map_err(|_| late)
    }

    /// The events that `filter` takes, from here and outside, for whoever likes to take them one by
    /// one. Beyond [`STREAMS_MAX`] streams it is closed from the beginning.
    #[must_use]
    pub fn stream(&self, filter: Filter) -> LegacyStream {
        LegacyStream::new(self.inner.open_stream(filter, STREAMS_MAX))
    }

    /// Sends a message of the legacy system as it is: the text travels unchanged, and an event
    /// message reaches listeners as its event. For transports and bridges.
    ///
    /// # Errors
    /// [`EmitError`].
    pub fn relay(&self, text: &[u8]) -> Result<Emitted, EmitError> {
        let message = Message::read(text)?;
        self.inner.relay(&message, text)
    }

    /// What has become of events so far.
    #[must_use]
    pub fn counts(&self) -> LegacyCounts {
        self.inner.counts()
    }

    /// Ends: listeners are removed, streams end, waiting frames are dropped and counted as given
    /// up. The last clone that is dropped does the same.
    pub fn close(&self) {
        self.receiving.end();
        self.inner.close();
    }

    /// Gives everything that arrives or is emitted here to `tap`, until it says no.
    pub(super) fn tap(&self, tap: impl Fn(&Arrival<'_>) -> bool + Send + Sync + 'static) {
        self.inner.add_tap(Arc::new(tap));
    }
}

#[cfg(test)]
mod tests;

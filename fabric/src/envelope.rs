//! What travels with an event beside its payload.

use wireloom_dataplane::dispatch::Origin;
use wireloom_wire::{EventTypeId, Frame, NodeId, Priority, SessionId, TraceContext};

/// What travels with an event: who sent it, when, how urgent, as part of which trace. Borrowed from
/// the receive buffer or ring; each accessor reads a field in place.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    frame: &'a Frame<'a>,
    origin: &'a Origin,
}

impl<'a> Envelope<'a> {
    #[inline]
    pub(crate) const fn new(frame: &'a Frame<'a>, origin: &'a Origin) -> Self {
        Self { frame, origin }
    }

    /// The node that published the event.
    #[must_use]
    pub const fn source(&self) -> NodeId {
        self.origin.source
    }

    /// The publisher's own number of the event, dense per publisher or router. Two publishers of a
    /// node count separately: use it with [`Envelope::source`] only where one publisher speaks.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.frame.header.sequence
    }

    /// When the event was published, ns since the Unix epoch, by the publisher's clock.
    #[must_use]
    pub const fn timestamp_ns(&self) -> u64 {
        self.frame.header.timestamp_ns
    }

    /// When this node took the event from the network, ns since the Unix epoch; one reading for all
    /// events of a duty cycle.
    #[must_use]
    pub const fn received_ns(&self) -> u64 {
        self.origin.received_unix_ns
    }

    /// The event's priority.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.frame.header.priority
    }

    /// The id of the event's type.
    #[must_use]
    pub const fn event_type(&self) -> EventTypeId {
        self.frame.header.event_type
    }

    /// The trace the event belongs to, when its publisher gave one.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.frame.trace()
    }

    /// After this instant (ns since the Unix epoch) the event is worthless, when its publisher said
    /// so.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        self.frame.deadline()
    }

    /// The link session the event came in; 0 for events of this process.
    ///
    /// A reliable event comes once within a session. Twice it can come when this node was started
    /// again before it had acknowledged it, or when its sender gave it up and published it anew:
    /// [`Envelope::source`], this, the lane and [`Envelope::sequence`] tell one publisher's events
    /// apart.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.origin.session
    }
}

impl Envelope<'_> {
    /// The same as a value that outlives the event's bytes..
    #[must_use]
    pub fn owned(&self) -> OwnedEnvelope {
        OwnedEnvelope {
            source: self.source(),
            session: self.session(),
            sequence: self.sequence(),
            timestamp_ns: self.timestamp_ns(),
            received_ns: self.received_ns(),
            priority: self.priority(),
            trace: self.trace(),
            deadline_ns: self.deadline_ns(),
        }
    }
}

/// What an [`Envelope`] says, as a value: its accessors of the same names say what each is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedEnvelope {
    /// The node that published the event.
    pub source: NodeId,
    /// The link session the event came in; 0 for events of this process.
    pub session: SessionId,
    /// The publisher's own number of the event.
    pub sequence: u64,
    /// When the event was published, ns since the Unix epoch, by the publisher's clock.
    pub timestamp_ns: u64,
    /// When this node took the event from the network, ns since the Unix epoch.
    pub received_ns: u64,
    /// The event's priority.
    pub priority: Priority,
    /// The trace the event belongs to, when its publisher gave one.
    pub trace: Option<TraceContext>,
    /// After this instant (ns since the Unix epoch) the event is worthless.
    pub deadline_ns: Option<u64>,
}

//! Dead letters: events that were given up, and who is told of them.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wireloom_wire::{Encoding, EventTypeId, Frame};

use crate::tally::Undelivered;

/// An event that was given up, as the dead-letter handler sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeadLetter<'a> {
    /// Where it should have gone.
    pub target: SocketAddr,
    /// Why it did not.
    pub reason: Undelivered,
    pub(super) frame: Frame<'a>,
}

impl DeadLetter<'_> {
    /// The type of the event.
    #[must_use]
    pub const fn event_type(&self) -> EventTypeId {
        self.frame.header.event_type
    }

    /// The name of its type, where it travels with the event: dynamic events have one.
    #[must_use]
    pub fn type_name(&self) -> Option<&str> {
        self.frame.name()
    }

    /// How the payload is to be read.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.frame.header.encoding
    }

    /// The payload, as it would have been sent.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.frame.payload()
    }

    /// The number its publisher or router gave it: that of its `Accepted`.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.frame.header.sequence
    }
}

/// Who is told of undelivered events.
pub type DeadLetters = Box<dyn FnMut(&DeadLetter<'_>) + Send>;

/// Tells the handler of undelivered events, if there is one. A panic of it is its own; the links go
/// on.
pub(super) fn tell(handler: Option<&mut DeadLetters>, letter: &DeadLetter<'_>) {
    if let Some(handler) = handler {
        let _ = catch_unwind(AssertUnwindSafe(|| handler(letter)));
    }
}

//! A subscription: who takes events, of what, and how far its coming and going has got.
//!
//! Made by control, owned by its receiver from then on; anybody may look at its standing.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use wireloom_wire::EventTypeId;

use super::{Subscriber, SubscriptionId};

/// What a subscriber asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Events of every type.
    Every,
    /// Events of these types.
    Types(Vec<EventTypeId>),
    /// Events of these types that somebody who asked for them answered with
    /// [`Verdict::Unconverted`](super::Verdict::Unconverted).
    Unread(Vec<EventTypeId>),
    /// No events, only word of gaps.
    Gaps,
    /// [Requests](wireloom_wire::ExchangeKind::Request) whose type nobody asked for by its id. One
    /// subscriber of a receiver; a second takes its place.
    Unanswered,
}

/// A subscriber and what it asked for.
pub struct Subscription {
    /// Which one, for [`crate::command::ReceiverCommand::Unsubscribe`].
    pub id: SubscriptionId,
    /// What it wants.
    pub wanted: Wanted,
    /// Who takes the events.
    pub subscriber: Box<dyn Subscriber>,
    standing: Standing,
}

/// Where a subscription stands, to be asked from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<AtomicU8>);

impl Standing {
    const INSTALLED: u8 = 1;
    const ENDED: u8 = 2;

    /// It is in its receiver's table, or was: events taken from now on reach it.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.0.load(Ordering::Acquire) >= Self::INSTALLED
    }

    /// It is out of the table: it is not running and will not be called again, and what it did can
    /// be seen by whoever reads `true`.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::ENDED
    }
}

impl Subscription {
    /// To be given to a receiver.
    #[must_use]
    pub fn new(id: SubscriptionId, wanted: Wanted, subscriber: Box<dyn Subscriber>) -> Self {
        Self { id, wanted, subscriber, standing: Standing::default() }
    }

    /// It is in its receiver's table.
    pub(super) fn install(&self) {
        self.standing.0.store(Standing::INSTALLED, Ordering::Release);
    }

    /// It is out of the table.
    pub(super) fn end(&self) {
        self.standing.0.store(Standing::ENDED, Ordering::Release);
    }

    /// To be asked from elsewhere.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Lets the subscriber tell of its own panic. What it panicked with is the user's: its drop may
    /// panic again, and then it is leaked.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_panic(&mut self, what: Box<dyn Any + Send>) {
        let (id, subscriber) = (self.id, &mut self.subscriber);
        let told = catch_unwind(AssertUnwindSafe(move || {
            subscriber.on_panic(id, &*what);
            drop(what);
        }));
        if let Err(again) = told {
            std::mem::forget(again);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).field("wanted", &self.wanted).finish()
    }
}

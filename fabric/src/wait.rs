//! Waiting for one event: on the thread that waits, out of a ring of its own, so that building the
//! owned event costs no worker anything. Or in an async task, which the receiving worker wakes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rkyv::Archived;

use crate::decode::{DecodeError, to_owned};
use crate::envelope::Envelope;
use crate::event::Event;
use crate::node::Node;
use crate::outcome::SubscribeError;
use crate::subscriber::{Polled, Subscriber};

/// Why no event was waited for with success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// None came in time, or none that was wanted.
    #[error("no {event_type} event that was wanted came within {waited:?}")]
    TimedOut {
        /// The event's type.
        event_type: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// It came, and its owned form could not be built.
    #[error("a {event_type} event came and could not be read: {reason}")]
    Unreadable {
        /// The event's type.
        event_type: &'static str,
        /// Why.
        reason: DecodeError,
    },
    /// The node ended before one came.
    #[error("the node ended before a {event_type} event that was wanted came")]
    Ended {
        /// The event's type.
        event_type: &'static str,
    },
    /// It could not be subscribed to.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
}

type Wanted<E> = Box<dyn FnMut(&Archived<E>, &Envelope<'_>) -> bool + Send>;

/// An event that is waited for: subscribed to since [`Node::expect`] returned this, so that what
/// makes it come can be done before the wait begins. A thread waits by [`Expected::wait`]; in any
/// async runtime it is a future, without a time limit: the runtime has timers.
#[must_use = "an expectation that nobody waits for finds nothing"]
pub struct Expected<E: Event> {
    subscriber: Subscriber<E>,
    wanted: Wanted<E>,
}

impl<E: Event> fmt::Debug for Expected<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected").field("type", &E::TYPE).finish_non_exhaustive()
    }
}

impl<E: Event> Expected<E> {
    /// Waits for the first wanted event since this was made, and gives it owned. Blocks the thread;
    /// not for handlers, which run on the worker that would have to bring it.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], [`WaitError::Unreadable`], [`WaitError::Ended`].
    pub fn wait(mut self, timeout: Duration) -> Result<E, WaitError> {
        let begun = Instant::now();
        loop {
            if let Some(settled) = self.take() {
                return settled;
            }
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(WaitError::TimedOut { event_type: E::TYPE, waited: timeout });
            }
            self.subscriber.wait_ready(left);
        }
    }

    /// The first wanted event of what has come, or that none will come.
    fn take(&mut self) -> Option<Result<E, WaitError>> {
        let mut found = None;
        let wanted = &mut self.wanted;
        self.subscriber.poll(usize::MAX, |polled| {
            if let Polled::Event(event, envelope) = polled
                && found.is_none()
                && wanted(event, &envelope)
            {
                found = Some(to_owned::<E>(event));
            }
        });
        let unreadable = |reason| WaitError::Unreadable { event_type: E::TYPE, reason };
        match found {
            Some(found) => Some(found.map_err(unreadable)),
            None if !self.subscriber.is_over() => None,
            None => Some(Err(WaitError::Ended { event_type: E::TYPE })),
        }
    }
}

impl<E: Event> Future for Expected<E> {
    type Output = Result<E, WaitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(settled) = self.take() {
                return Poll::Ready(settled);
            }
            ready!(self.subscriber.poll_ready(context));
        }
    }
}

impl Node {
    /// Waits for the next event of type `E` and gives it owned. Blocks the thread.
    ///
    /// What comes before the call is not seen: where the caller itself makes the event come, it
    /// takes [`Node::expect`] first, does so, and waits then.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn wait_for<E: Event>(&self, timeout: Duration) -> Result<E, WaitError> {
        self.expect::<E>()?.wait(timeout)
    }

    /// As [`Node::wait_for`], for the first event that `wanted` says yes to.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn wait_for_where<E: Event>(
        &self,
        timeout: Duration,
        wanted: impl FnMut(&Archived<E>, &Envelope<'_>) -> bool + Send + 'static,
    ) -> Result<E, WaitError> {
        self.expect_where::<E>(wanted)?.wait(timeout)
    }

    /// Subscribes now to an event of type `E` that is waited for later.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wireloom::{Event, Node, Target};
    ///
    /// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    /// #[event(type = "system-ready")]
    /// struct SystemReady { part: String }
    ///
    /// let node = Node::builder("starter").start()?;
    /// let ready = node.expect_where::<SystemReady>(|event, _envelope| event.part == "disk")?;
    /// node.router().route(&SystemReady { part: "disk".into() }, Target::Local)?;
    /// assert_eq!(ready.wait(Duration::from_secs(5))?.part, "disk");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn expect<E: Event>(&self) -> Result<Expected<E>, SubscribeError> {
        self.expect_where::<E>(|_event, _envelope| true)
    }

    /// As [`Node::expect`], for an event that `wanted` says yes to. It runs on the thread that
    /// waits.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn expect_where<E: Event>(
        &self,
        wanted: impl FnMut(&Archived<E>, &Envelope<'_>) -> bool + Send + 'static,
    ) -> Result<Expected<E>, SubscribeError> {
        Ok(Expected { subscriber: self.subscribe::<E>()?, wanted: Box::new(wanted) })
    }
}

//! Events as an async stream: a ring subscriber whose task is woken by the receiving worker. No
//! thread and no runtime of its own.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use wireloom_dataplane::dispatch::Lost;
use wireloom_dataplane::inbound::Shed;

use crate::decode::{DecodeError, to_owned};
use crate::envelope::OwnedEnvelope;
use crate::event::Event;
use crate::node::Node;
use crate::outcome::SubscribeError;
use crate::subscriber::{Polled, Subscriber};

/// What an [`EventStream`] yields: [`Polled`], owned.
#[derive(Debug, Clone, PartialEq)]
pub enum Streamed<E> {
    /// An event.
    Event(E, OwnedEnvelope),
    /// An event came whose owned form could not be built.
    Unreadable(DecodeError, OwnedEnvelope),
    /// Events of a stream were lost on the way, before the events that follow.
    Lost(Lost),
    /// Events did not reach this subscriber, for a reason of its own.
    Shed(Shed),
    /// The subscriber was cut off by its policy
    /// ([`SlowPolicy::Disconnect`](crate::SlowPolicy::Disconnect)): the last item.
    Disconnected,
}

/// The events of a type as a [`Stream`], in any async runtime: [`Node::stream`] and
/// [`Subscriber::into_stream`] give it. It ends when its node has ended, or after
/// [`Streamed::Disconnected`]; dropping it unsubscribes.
///
/// What it does not keep up with waits in its ring, which bounds it, and then its policy decides
/// ([`Node::subscribe_with`]). Cost: an item is one event's owned form. A task that goes to sleep
/// pays a membarrier (1–3 µs). While it is awake the worker pays one load a duty cycle for it; to
/// wake it, what its runtime's waker costs, on the worker.
pub struct EventStream<E: Event> {
    subscriber: Subscriber<E>,
    /// One event can come with notices before it; otherwise empty.
    taken: VecDeque<Streamed<E>>,
}

// Nothing in it is pinned.
impl<E: Event> Unpin for EventStream<E> {}

impl<E: Event> fmt::Debug for EventStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("type", &E::TYPE).finish_non_exhaustive()
    }
}

impl<E: Event> EventStream<E> {
    /// The next item, without a crate of stream adapters; `None` when it has ended. Can be dropped
    /// at any time: nothing is lost by it.
    pub async fn next(&mut self) -> Option<Streamed<E>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl<E: Event> Stream for EventStream<E> {
    type Item = Streamed<E>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { subscriber, taken } = self.get_mut();
        loop {
            if let Some(item) = taken.pop_front() {
                return Poll::Ready(Some(item));
            }
            let polled = subscriber.poll(1, |polled| taken.push_back(owned(polled)));
            if polled == 0 && taken.is_empty() {
                if subscriber.is_over() {
                    return Poll::Ready(None);
                }
                ready!(subscriber.poll_ready(context));
            }
        }
    }
}

impl<E: Event> FusedStream for EventStream<E> {
    fn is_terminated(&self) -> bool {
        self.taken.is_empty() && self.subscriber.is_over()
    }
}

fn owned<E: Event>(polled: Polled<'_, E>) -> Streamed<E> {
    match polled {
        Polled::Event(event, envelope) => match to_owned::<E>(event) {
            Ok(event) => Streamed::Event(event, envelope.owned()),
            Err(reason) => Streamed::Unreadable(reason, envelope.owned()),
        },
        Polled::Lost(lost) => Streamed::Lost(lost),
        Polled::Shed(shed) => Streamed::Shed(shed),
        Polled::Disconnected => Streamed::Disconnected,
    }
}

impl<E: Event> Subscriber<E> {
    /// What it takes, as an async stream.
    #[must_use]
    pub const fn into_stream(self) -> EventStream<E> {
        EventStream { subscriber: self, taken: VecDeque::new() }
    }
}

impl Node {
    /// The events of type `E` as an async stream, from now on. With a ring and a policy of its own:
    /// `node.subscribe_with::<E>(…)?.into_stream()`.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn stream<E: Event>(&self) -> Result<EventStream<E>, SubscribeError> {
        Ok(self.subscribe::<E>()?.into_stream())
    }
}

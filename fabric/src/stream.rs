//! Events as an async stream: a ring subscriber whose task is woken by the receiving worker. No
//! thread and no runtime of its own. One stream for both kinds of subscriber; what each takes from
//! its ring becomes an owned item here.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use wireloom_dataplane::dispatch::Lost;
use wireloom_dataplane::inbound::Shed;
use wireloom_wire::{Encoding, EventTypeId, Fingerprint};

use crate::decode::{DecodeError, deserialize, to_owned};
use crate::envelope::OwnedEnvelope;
use crate::event::Event;
use crate::node::Node;
use crate::outcome::SubscribeError;
use crate::subscriber::{AnyEvent, AnySubscriber, Polled, PolledAny, Subscriber};

/// Records in a row that may be passed over (unreadable, expired) before other tasks of the
/// executor have their turn.
const LOOKS_MAX: usize = 256;

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

/// What an [`AnyEventStream`] yields: [`PolledAny`], owned.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamedAny {
    /// An event.
    Event(OwnedAnyEvent),
    /// Events of a stream were lost on the way, before the events that follow.
    Lost(Lost),
    /// Events did not reach this subscriber, for a reason of its own.
    Shed(Shed),
    /// The subscriber was cut off by its policy
    /// ([`SlowPolicy::Disconnect`](crate::SlowPolicy::Disconnect)): the last item.
    Disconnected,
}

/// An [`AnyEvent`] that outlives its place in the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedAnyEvent {
    /// Its type; [`Node::type_name`] may know what that is called.
    pub event_type: EventTypeId,
    /// The type's name, when it travelled with the event (dynamic events).
    pub type_name: Option<String>,
    /// The schema fingerprint the publisher was built with; 0 for dynamic events.
    pub fingerprint: Fingerprint,
    /// How the payload is encoded.
    pub encoding: Encoding,
    /// The payload as it travelled: JSON text, an archive, or raw bytes.
    pub payload: Vec<u8>,
    /// What travelled with it.
    pub envelope: OwnedEnvelope,
}

impl OwnedAnyEvent {
    /// The event as an `E`; `None` when it is none: another type, schema or encoding. Costs a copy
    /// of the payload where that is not aligned.
    ///
    /// # Errors
    /// [`DecodeError`] when it says it is an `E` and its archive is not one.
    #[must_use]
    pub fn read<E: Event>(&self) -> Option<Result<E, DecodeError>> {
        let is_one = self.encoding == Encoding::Rkyv
            && (self.event_type, self.fingerprint) == (E::TYPE_ID, E::FINGERPRINT32);
        is_one.then(|| deserialize::<E>(&self.payload))
    }
}

impl AnyEvent<'_> {
    /// The same as a value that outlives the event's place in the ring. Costs a copy.
    #[must_use]
    pub fn owned(&self) -> OwnedAnyEvent {
        OwnedAnyEvent {
            event_type: self.envelope.event_type(),
            type_name: self.type_name().map(str::to_owned),
            fingerprint: self.fingerprint(),
            encoding: self.encoding(),
            payload: self.payload().to_vec(),
            envelope: self.envelope.owned(),
        }
    }
}

/// A ring subscriber that a stream can be made of.
#[expect(unnameable_types, reason = "for the two subscribers alone")]
pub trait Source {
    /// What it yields, owned.
    type Item;

    /// Puts what one look at the ring gives behind `items`: an event, with notices before it.
    /// Returns how many records that took.
    fn take(&mut self, items: &mut VecDeque<Self::Item>) -> usize;

    /// Ready when there is something to take, or all is over; else the task is woken then.
    fn poll_ready(&self, context: &Context<'_>) -> Poll<()>;

    /// Whether nothing is there and nothing will come.
    fn is_over(&self) -> bool;
}

impl<E: Event> Source for Subscriber<E> {
    type Item = Streamed<E>;

    fn take(&mut self, items: &mut VecDeque<Self::Item>) -> usize {
        self.poll(1, |polled| items.push_back(owned(polled)))
    }

    fn poll_ready(&self, context: &Context<'_>) -> Poll<()> {
        self.poll_ready(context)
    }

    fn is_over(&self) -> bool {
        self.is_over()
    }
}

impl Source for AnySubscriber {
    type Item = StreamedAny;

    fn take(&mut self, items: &mut VecDeque<Self::Item>) -> usize {
        self.poll(1, |polled| {
            items.push_back(match polled {
                PolledAny::Event(event) => StreamedAny::Event(event.owned()),
                PolledAny::Lost(lost) => StreamedAny::Lost(lost),
                PolledAny::Shed(shed) => StreamedAny::Shed(shed),
                PolledAny::Disconnected => StreamedAny::Disconnected,
            });
        })
    }

    fn poll_ready(&self, context: &Context<'_>) -> Poll<()> {
        self.poll_ready(context)
    }

    fn is_over(&self) -> bool {
        self.is_over()
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

/// What a subscriber takes as a [`Stream`], in any async runtime: an [`EventStream`] or an
/// [`AnyEventStream`]. It ends when its node has ended, or after its `Disconnected`; dropping it
/// unsubscribes.
///
/// What it does not keep up with waits in its ring, which bounds it, and then its policy decides
/// ([`Node::subscribe_with`]). Cost: an item is one event's owned form. A task that goes to sleep
/// pays a membarrier (1–3 µs). While it is awake the worker pays one load a duty cycle for it; to
/// wake it, what its runtime's waker costs, on the worker.
pub struct SubscriberStream<S: Source> {
    subscriber: S,
    /// One event can come with notices before it; otherwise empty.
    taken: VecDeque<S::Item>,
}

/// The events of one type as a [`Stream`]: [`Node::stream`] and [`Subscriber::into_stream`] give
/// it.
pub type EventStream<E> = SubscriberStream<Subscriber<E>>;

/// Events of many types as a [`Stream`]: [`AnySubscriber::into_stream`] gives it.
pub type AnyEventStream = SubscriberStream<AnySubscriber>;

// Nothing in it is pinned.
impl<S: Source> Unpin for SubscriberStream<S> {}

impl<S: Source> fmt::Debug for SubscriberStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_over = self.subscriber.is_over();
        f.debug_struct("SubscriberStream").field("is_over", &is_over).finish_non_exhaustive()
    }
}

impl<S: Source> SubscriberStream<S> {
    const fn of(subscriber: S) -> Self {
        Self { subscriber, taken: VecDeque::new() }
    }

    /// The next item, without a crate of stream adapters; `None` when it has ended. Can be dropped
    /// at any time: nothing is lost by it.
    pub async fn next(&mut self) -> Option<S::Item> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl<S: Source> Stream for SubscriberStream<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { subscriber, taken } = self.get_mut();
        for _ in 0..LOOKS_MAX {
            if let Some(item) = taken.pop_front() {
                return Poll::Ready(Some(item));
            }
            if subscriber.take(taken) == 0 && taken.is_empty() {
                if subscriber.is_over() {
                    return Poll::Ready(None);
                }
                ready!(subscriber.poll_ready(context));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: Source> FusedStream for SubscriberStream<S> {
    fn is_terminated(&self) -> bool {
        self.taken.is_empty() && self.subscriber.is_over()
    }
}

impl<E: Event> Subscriber<E> {
    /// What it takes, as an async stream.
    #[must_use]
    pub const fn into_stream(self) -> EventStream<E> {
        SubscriberStream::of(self)
    }
}

impl AnySubscriber {
    /// What it takes, as an async stream: of [`Node::subscribe_any`] or of
    /// [`Node::subscribe_matching`].
    ///
    /// ```
    /// use wireloom::event::Priority;
    /// use wireloom::{Node, StreamedAny, Target};
    ///
    /// # block_on(async {
    /// let node = Node::builder("desk").start()?;
    /// let metrics = node.subscribe_matching(&["metric.*".parse()?])?;
    /// let mut metrics = metrics.into_stream();
    /// node.router().route_json("metric.cpu", Priority::Low, b"[7]", &Target::Local)?;
    /// let Some(StreamedAny::Event(event)) = metrics.next().await else { panic!("an event") };
    /// assert_eq!(event.type_name.as_deref(), Some("metric.cpu"));
    /// assert_eq!(event.payload, b"[7]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # fn block_on<T>(future: impl Future<Output = T>) -> T {
    /// #     let mut future = std::pin::pin!(future);
    /// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop {
    /// #         match future.as_mut().poll(&mut context) {
    /// #             std::task::Poll::Ready(value) => return value,
    /// #             std::task::Poll::Pending => std::thread::yield_now(),
    /// #         }
    /// #     }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn into_stream(self) -> AnyEventStream {
        SubscriberStream::of(self)
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

//! Subscribers behind a ring: their owner takes events on its own thread, when it likes.

use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rkyv::Archived;
use wireloom_dataplane::dispatch::{
    Lost, Origin, Pumped, Subscriber as Front, SubscriptionId, Verdict, Wanted,
};
use wireloom_dataplane::inbound::{Inbound, RingReader, RingSubscriber, Shed};
use wireloom_dataplane::wake::Wake;
use wireloom_wire::{Encoding, Fingerprint, Frame, event_type_id};

use crate::decode::access;
use crate::envelope::Envelope;
use crate::event::{Event, is_type_name};
use crate::handler::HandlerCounters;
use crate::intake::Intake;
use crate::ledger::Ledger;
use crate::matching::PatternRing;
use crate::outcome::SubscribeError;
use crate::pattern::TypePattern;
use crate::receipt::Unpark;
use crate::shared::Shared;

/// What a subscriber of a type takes from its ring.
pub enum Polled<'a, E: Event> {
    /// An event, in place in the ring.
    Event(&'a Archived<E>, Envelope<'a>),
    /// Events of a stream were lost on the way, before the events that follow.
    Lost(Lost),
    /// Events did not reach this subscriber, for a reason of its own.
    Shed(Shed),
    /// The subscriber was cut off by its policy
    /// ([`SlowPolicy::Disconnect`](crate::SlowPolicy::Disconnect)): nothing follows.
    Disconnected,
}

impl<E: Event> std::fmt::Debug for Polled<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Event(_, envelope) => f.debug_tuple("Event").field(envelope).finish(),
            Self::Lost(lost) => f.debug_tuple("Lost").field(lost).finish(),
            Self::Shed(shed) => f.debug_tuple("Shed").field(shed).finish(),
            Self::Disconnected => f.write_str("Disconnected"),
        }
    }
}

/// Whether a subscriber was cut off by its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    Whole,
    /// Its subscriptions are ended; what the rings hold can be taken.
    Cut,
    /// It knows.
    Told,
}

/// The rings of one subscriber, one from each receiver, and who is woken when they fill.
struct Inlet {
    shared: Arc<Shared>,
    subscriptions: Vec<SubscriptionId>,
    rings: Vec<RingReader>,
    connection: Connection,
    turn: usize,
    wake: Arc<Wake>,
}

impl std::fmt::Debug for Inlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inlet").field("rings", &self.rings).finish_non_exhaustive()
    }
}

impl Inlet {
    /// Makes the rings; `front` may stand a check before each of them.
    fn new(
        shared: &Arc<Shared>,
        types: &[&str],
        intake: Intake,
        front: impl Fn(RingSubscriber) -> Box<dyn Front>,
    ) -> Result<Self, SubscribeError> {
        let mut inlet = Self {
            shared: Arc::clone(shared),
            subscriptions: Vec::new(),
            rings: Vec::new(),
            connection: Connection::Whole,
            turn: 0,
            wake: Wake::of_task(),
        };
        for name in types {
            shared.know_type(event_type_id(name), name)?;
        }
        // One ring for each receiver, so that events of several types keep their order.
        let wanted = if types.is_empty() {
            Wanted::Every
        } else {
            Wanted::Types(types.iter().map(|name| event_type_id(name)).collect())
        };
        let what = if types.is_empty() { "every type".into() } else { types.join(" ") };
        for receiver in 0..shared.receivers() {
            let wake = Some(Arc::clone(&inlet.wake));
            let (subscriber, reader) = shared.inbound((&what, receiver), intake, wake)?;
            let id = shared.next_subscription();
            shared.subscribe(id, (receiver, wanted.clone()), front(subscriber))?;
            inlet.subscriptions.push(id);
            inlet.rings.push(reader);
        }
        Ok(inlet)
    }

    /// Takes up to `limit` records; returns how many.
    fn poll(&mut self, limit: usize, mut take: impl FnMut(Inbound<'_>)) -> usize {
        self.turn = self.turn.wrapping_add(1);
        let (count, mut total) = (self.rings.len(), 0);
        for step in 0..count {
            let ring = &mut self.rings[(self.turn + step) % count];
            total += ring.poll(
                limit - total,
                || self.shared.unix_ns(),
                |inbound| {
                    take(inbound);
                    true
                },
            );
        }
        if self.rings.iter().any(RingReader::is_cut) {
            return total + self.end(limit - total, &mut take);
        }
        total
    }

    /// The subscriber was cut off: ends its subscriptions, and tells it after the last record.
    #[cold]
    fn end(&mut self, limit: usize, take: &mut impl FnMut(Inbound<'_>)) -> usize {
        if self.connection == Connection::Whole {
            self.unsubscribe();
            self.connection = Connection::Cut;
        }
        if self.connection == Connection::Told || limit == 0 || !self.is_drained() {
            return 0;
        }
        self.connection = Connection::Told;
        take(Inbound::Disconnected);
        1
    }

    fn unsubscribe(&self) {
        for id in &self.subscriptions {
            // A node that has ended has no subscriptions left to remove.
            let _ = self.shared.unsubscribe(*id);
        }
    }

    fn is_drained(&self) -> bool {
        self.rings.iter().all(RingReader::is_empty)
    }

    /// Whether there is nothing to poll.
    fn is_empty(&self) -> bool {
        let untold =
            self.connection != Connection::Told && self.rings.iter().any(RingReader::is_cut);
        self.is_drained() && !untold
    }

    /// Whether nothing is there and nothing will come: it was told that it is cut off, or its node
    /// has ended.
    fn is_over(&self) -> bool {
        self.connection == Connection::Told
            || self.rings.iter().all(RingReader::is_gone) && self.is_empty()
    }

    /// Whether there is something to poll, or all is over.
    fn is_ready(&self) -> bool {
        !self.is_empty() || self.is_over()
    }

    /// Ready when `is_done`; otherwise the task is woken then. By the receiving worker itself, at
    /// the end of the duty cycle that brought something.
    fn poll_ready(&self, context: &Context<'_>, is_done: impl Fn(&Self) -> bool) -> Poll<()> {
        if is_done(self) {
            return Poll::Ready(());
        }
        self.wake.sleep_task(context.waker());
        if !is_done(self) {
            return Poll::Pending;
        }
        self.wake.park_end();
        Poll::Ready(())
    }

    /// Sleeps until `is_done` or `timeout` is over; true when it is.
    fn wait(&self, timeout: Duration, is_done: impl Fn(&Self) -> bool) -> bool {
        if is_done(self) {
            return true;
        }
        let until = Instant::now() + timeout;
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            let left = until.saturating_duration_since(Instant::now());
            self.wake.sleep_task(&waker);
            if !is_done(self) && !left.is_zero() {
                std::thread::park_timeout(left);
            }
            self.wake.park_end();
            if is_done(self) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.wake.forget_task();
        self.unsubscribe();
    }
}

/// What an event's key is, for [`SlowPolicy::Latest`](crate::SlowPolicy::Latest).
pub(crate) type KeyOf<E> = Arc<dyn Fn(&Archived<E>) -> u64 + Send + Sync>;

/// Stands before the ring of a typed subscriber, on the receiver's worker: only archives of the
/// right schema are copied.
struct TypedRing<E: Event> {
    ring: RingSubscriber,
    counters: Arc<HandlerCounters>,
    key: Option<KeyOf<E>>,
}

impl<E: Event> TypedRing<E> {
    fn put(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        let Some(key) = &self.key else { return self.ring.take(frame, origin) };
        match access::<E>(frame.payload()) {
            Ok(event) => self.ring.take_keyed(frame, origin, key(event)),
            Err(_) => self.counters.count(Verdict::BadArchive),
        }
    }
}

impl<E: Event> Front for TypedRing<E> {
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        match frame.header.encoding {
            Encoding::Rkyv => match self.counters.admit::<E>(frame, origin) {
                Ok(()) => self.put(frame, origin),
                Err(verdict) => verdict,
            },
            Encoding::Json => Verdict::Unconverted,
            Encoding::Raw => self.counters.count(Verdict::WrongEncoding),
        }
    }

    fn on_lost(&mut self, lost: &Lost) {
        self.ring.on_lost(lost);
    }

    fn pump(&mut self, now_ns: u64) -> Pumped {
        self.ring.pump(now_ns)
    }

    fn end_cycle(&mut self) {
        self.ring.end_cycle();
    }
}

/// Takes events of type `E` from a ring, on its owner's thread. See [`crate::Node::subscribe`].
#[derive(Debug)]
pub struct Subscriber<E> {
    inlet: Inlet,
    /// Written by the subscriber's thread.
    counters: Arc<HandlerCounters>,
    event: PhantomData<fn(&E)>,
}

impl<E: Event> Subscriber<E> {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        intake: Intake,
        key: Option<KeyOf<E>>,
    ) -> Result<Self, SubscribeError> {
        shared.serve_older::<E>()?;
        let at_worker = Arc::new(HandlerCounters::default());
        let inlet = Inlet::new(shared, &[E::TYPE], intake, |ring| {
            let counters = Arc::clone(&at_worker);
            Box::new(TypedRing::<E> { ring, counters, key: key.clone() })
        })?;
        let counters = Arc::new(HandlerCounters::default());
        for counters in [at_worker, Arc::clone(&counters)] {
            shared.account(E::TYPE, counters);
        }
        Ok(Self { inlet, counters, event: PhantomData })
    }

    /// Takes up to `limit` events (and notices), giving each to `take` in place; returns how many
    /// there were. Never waits.
    pub fn poll(&mut self, limit: usize, mut take: impl FnMut(Polled<'_, E>)) -> usize {
        let counters = &self.counters;
        self.inlet.poll(limit, |inbound| match inbound {
            Inbound::Lost(lost) => take(Polled::Lost(lost)),
            Inbound::Shed(shed) => take(Polled::Shed(shed)),
            Inbound::Disconnected => take(Polled::Disconnected),
            Inbound::Event(frame, origin) => {
                let Ok(event) = access::<E>(frame.payload()) else {
                    counters.count(Verdict::BadArchive);
                    return;
                };
                counters.count(Verdict::Delivered);
                take(Polled::Event(event, Envelope::new(&frame, &origin)));
            }
        })
    }

    /// Sleeps until there is something to poll or `timeout` is over; true when there is.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        self.inlet.wait(timeout, |inlet| !inlet.is_empty())
    }

    /// Ready when there is something to poll, or when [`Subscriber::is_over`]; else the task is
    /// woken then.
    pub(crate) fn poll_ready(&self, context: &Context<'_>) -> Poll<()> {
        self.inlet.poll_ready(context, Inlet::is_ready)
    }

    /// As [`Subscriber::wait`], and until all is over.
    pub(crate) fn wait_ready(&self, timeout: Duration) -> bool {
        self.inlet.wait(timeout, Inlet::is_ready)
    }

    /// Whether nothing is there and nothing will come: the subscriber took its
    /// [`Polled::Disconnected`], or its node has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.inlet.is_over()
    }
}

/// An event whose type is known by name only.
#[derive(Debug)]
pub struct AnyEvent<'a> {
    frame: &'a Frame<'a>,
    /// What travelled with it.
    pub envelope: Envelope<'a>,
}

impl AnyEvent<'_> {
    /// The type's name, when it travelled with the event (dynamic events). What a frame says that
    /// is [no type's name](crate::event::is_type_name) is not told: it could be anything.
    #[must_use]
    pub fn type_name(&self) -> Option<&str> {
        self.frame.name().filter(|name| is_type_name(name))
    }

    /// The schema fingerprint the publisher was built with; 0 for dynamic events.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.frame.header.fingerprint
    }

    /// How the payload is encoded.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.frame.header.encoding
    }

    /// The payload as it travelled: JSON text, an archive, or raw bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.frame.payload()
    }
}

/// What a subscriber of any type takes from its ring.
#[derive(Debug)]
pub enum PolledAny<'a> {
    /// An event, in place in the ring.
    Event(AnyEvent<'a>),
    /// Events of a stream were lost on the way, before the events that follow.
    Lost(Lost),
    /// Events did not reach this subscriber, for a reason of its own.
    Shed(Shed),
    /// The subscriber was cut off by its policy
    /// ([`SlowPolicy::Disconnect`](crate::SlowPolicy::Disconnect)): nothing follows.
    Disconnected,
}

/// Takes events of any type from a ring. See [`crate::Node::subscribe_any`].
#[derive(Debug)]
pub struct AnySubscriber {
    inlet: Inlet,
}

impl AnySubscriber {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        types: &[&str],
        intake: Intake,
    ) -> Result<Self, SubscribeError> {
        Ok(Self { inlet: Inlet::new(shared, types, intake, |ring| Box::new(ring))? })
    }

    pub(crate) fn matching(
        shared: &Arc<Shared>,
        patterns: &[TypePattern],
    ) -> Result<Self, SubscribeError> {
        let front = |ring| PatternRing::boxed(shared, ring, patterns);
        Ok(Self { inlet: Inlet::new(shared, &[], Intake::default(), front)? })
    }

    /// Takes up to `limit` events (and notices); returns how many there were. Never waits. JSON
    /// that is not as [the schema of its type](crate::Node::json_schema) says is passed over here,
    /// and counted.
    pub fn poll(&mut self, limit: usize, mut take: impl FnMut(PolledAny<'_>)) -> usize {
        let validations = Arc::clone(&self.inlet.shared.validation);
        self.inlet.poll(limit, |inbound| match inbound {
            Inbound::Lost(lost) => take(PolledAny::Lost(lost)),
            Inbound::Shed(shed) => take(PolledAny::Shed(shed)),
            Inbound::Disconnected => take(PolledAny::Disconnected),
            Inbound::Event(frame, origin) => {
                let of = (frame.header.event_type, frame.name());
                let is_json = frame.header.encoding == Encoding::Json;
                if is_json && validations.check_json(of, frame.payload()).is_err() {
                    return;
                }
                let envelope = Envelope::new(&frame, &origin);
                take(PolledAny::Event(AnyEvent { frame: &frame, envelope }));
            }
        })
    }

    /// Whether nothing is there and nothing will come: the subscriber took its
    /// [`PolledAny::Disconnected`], or its node has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.inlet.is_over()
    }

    /// What [`Node::ledger`](crate::Node::ledger) says, and goes on to say when the node has ended:
    /// with what this subscriber took from its ring after that. As costly.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.inlet.shared.ledger()
    }

    /// Sleeps until there is something to poll or `timeout` is over; true when there is.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        self.inlet.wait(timeout, |inlet| !inlet.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::Node;
    use crate::target::Target;

    #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(type = "beep", crate = "crate")]
    struct Beep {
        number: u64,
    }

    /// Nobody is woken for it: when it comes, nobody sleeps yet.
    #[test]
    fn what_comes_behind_the_first_look_is_seen_before_the_sleep() {
        let (node, turns) = Node::builder("driven").start_invoker().expect("starts");
        let mut subscriber = node.subscribe::<Beep>().expect("subscribes");
        let (router, turns, looks) =
            (RefCell::new(node.router()), RefCell::new(turns), Cell::new(0));
        let look = |inlet: &Inlet| {
            let is_ready = inlet.is_ready();
            if looks.replace(looks.get() + 1) == 0 {
                router.borrow_mut().route(&Beep { number: 7 }, Target::Local).expect("room");
                turns.borrow_mut().drain(100);
            }
            is_ready
        };
        let context = Context::from_waker(Waker::noop());
        assert!(subscriber.inlet.poll_ready(&context, look).is_ready(), "a task");
        assert_eq!(subscriber.poll(10, |_| ()), 1);
        looks.set(0);
        let begun = Instant::now();
        assert!(subscriber.inlet.wait(Duration::from_secs(10), look), "a thread");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

//! Subscribers behind a ring: their owner takes events on its own thread, when it likes.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rkyv::Archived;
use wireloom_dataplane::dispatch::{
    Lost, Origin, Subscriber as Front, SubscriptionId, Verdict, Wanted,
};
use wireloom_dataplane::inbound::{Inbound, RingSubscriber, read_inbound};
use wireloom_dataplane::poller::Poller;
use wireloom_dataplane::wake::Wake;
use wireloom_ring::{Consumer, Records, record_spacing};
use wireloom_wire::{Encoding, Fingerprint, Frame, event_type_id};

use crate::decode::access;
use crate::envelope::Envelope;
use crate::event::Event;
use crate::handler::HandlerCounters;
use crate::matching::PatternRing;
use crate::outcome::SubscribeError;
use crate::pattern::TypePattern;
use crate::shared::Shared;

/// What a subscriber of a type takes from its ring.
pub enum Polled<'a, E: Event> {
    /// An event, in place in the ring.
    Event(&'a Archived<E>, Envelope<'a>),
    /// Events of a stream were lost on the way, before the events that follow.
    Lost(Lost),
    /// This many events were shed because this subscriber's ring was full.
    Shed(u64),
}

impl<E: Event> std::fmt::Debug for Polled<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Event(_, envelope) => f.debug_tuple("Event").field(envelope).finish(),
            Self::Lost(lost) => f.debug_tuple("Lost").field(lost).finish(),
            Self::Shed(events) => f.debug_tuple("Shed").field(events).finish(),
        }
    }
}

/// The rings of one subscriber, one from each receiver, and where it sleeps.
struct Inlet {
    shared: Arc<Shared>,
    subscriptions: Vec<SubscriptionId>,
    rings: Vec<Consumer>,
    turn: usize,
    poller: Poller,
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
        front: impl Fn(RingSubscriber) -> Box<dyn Front>,
    ) -> Result<Self, SubscribeError> {
        let poller = Poller::new().map_err(|error| SubscribeError::Ring(error.to_string()))?;
        let wake = Wake::new(poller.waker());
        let mut inlet = Self {
            shared: Arc::clone(shared),
            subscriptions: Vec::new(),
            rings: Vec::new(),
            turn: 0,
            poller,
            wake,
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
            let (ring, consumer) = shared.inbound(&what, Some(Arc::clone(&inlet.wake)))?;
            inlet.subscriptions.push(shared.subscribe(receiver, wanted.clone(), front(ring))?);
            inlet.rings.push(consumer);
        }
        Ok(inlet)
    }

    /// Takes up to `limit` records; returns how many.
    fn poll(&mut self, limit: usize, mut take: impl FnMut(Inbound<'_>)) -> usize {
        self.turn = self.turn.wrapping_add(1);
        let (count, mut total) = (self.rings.len(), 0);
        for step in 0..count {
            let ring = &mut self.rings[(self.turn + step) % count];
            let batch = ring.read();
            let mut taken = 0;
            for record in Records::new(batch).take(limit - total) {
                if let Some(inbound) = read_inbound(record) {
                    take(inbound);
                }
                taken += record_spacing(record.len());
                total += 1;
            }
            let taken = taken.min(batch.len());
            ring.release(taken);
        }
        total
    }

    fn is_empty(&self) -> bool {
        self.rings.iter().all(Consumer::is_empty)
    }

    /// Sleeps until a record is there or `timeout` is over; true when a record is there.
    fn wait(&mut self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        loop {
            if !self.is_empty() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.wake.park_begin();
            if self.is_empty() {
                self.poller.park(left);
            }
            self.wake.park_end();
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        for id in &self.subscriptions {
            // A node that has ended has no subscriptions left to remove.
            let _ = self.shared.unsubscribe(*id);
        }
    }
}

/// Stands before the ring of a typed subscriber, on the receiver's worker: only archives of the
/// right schema are copied.
struct TypedRing<E> {
    ring: RingSubscriber,
    counters: Arc<HandlerCounters>,
    event: PhantomData<fn(&E)>,
}

impl<E: Event> Front for TypedRing<E> {
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        match frame.header.encoding {
            Encoding::Rkyv => match self.counters.admit::<E>(frame) {
                Ok(()) => self.ring.on_event(frame, origin),
                Err(verdict) => verdict,
            },
            Encoding::Json => Verdict::Unconverted,
            Encoding::Raw => self.counters.count(Verdict::WrongEncoding),
        }
    }

    fn on_lost(&mut self, lost: &Lost) {
        self.ring.on_lost(lost);
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
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Self, SubscribeError> {
        shared.serve_older::<E>()?;
        let at_worker = Arc::new(HandlerCounters::default());
        let inlet = Inlet::new(shared, &[E::TYPE], |ring| {
            let counters = Arc::clone(&at_worker);
            Box::new(TypedRing::<E> { ring, counters, event: PhantomData })
        })?;
        let counters = Arc::new(HandlerCounters::default());
        shared.books().handlers.extend([(E::TYPE, at_worker), (E::TYPE, Arc::clone(&counters))]);
        Ok(Self { inlet, counters, event: PhantomData })
    }

    /// Takes up to `limit` events (and notices), giving each to `take` in place; returns how many
    /// there were. Never waits.
    pub fn poll(&mut self, limit: usize, mut take: impl FnMut(Polled<'_, E>)) -> usize {
        let counters = &self.counters;
        self.inlet.poll(limit, |inbound| match inbound {
            Inbound::Lost(lost) => take(Polled::Lost(lost)),
            Inbound::Shed(events) => take(Polled::Shed(events)),
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
        self.inlet.wait(timeout)
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
    /// The type's name, when it travelled with the event (dynamic events).
    #[must_use]
    pub fn type_name(&self) -> Option<&str> {
        self.frame.name()
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
    /// This many events were shed because this subscriber's ring was full.
    Shed(u64),
}

/// Takes events of any type from a ring. See [`crate::Node::subscribe_any`].
#[derive(Debug)]
pub struct AnySubscriber {
    inlet: Inlet,
}

impl AnySubscriber {
    pub(crate) fn new(shared: &Arc<Shared>, types: &[&str]) -> Result<Self, SubscribeError> {
        Ok(Self { inlet: Inlet::new(shared, types, |ring| Box::new(ring))? })
    }

    pub(crate) fn matching(
        shared: &Arc<Shared>,
        patterns: &[TypePattern],
    ) -> Result<Self, SubscribeError> {
        let front = |ring| PatternRing::boxed(shared, ring, patterns);
        Ok(Self { inlet: Inlet::new(shared, &[], front)? })
    }

    /// Takes up to `limit` events (and notices); returns how many there were. Never waits.
    pub fn poll(&mut self, limit: usize, mut take: impl FnMut(PolledAny<'_>)) -> usize {
        self.inlet.poll(limit, |inbound| match inbound {
            Inbound::Lost(lost) => take(PolledAny::Lost(lost)),
            Inbound::Shed(events) => take(PolledAny::Shed(events)),
            Inbound::Event(frame, origin) => take(PolledAny::Event(AnyEvent {
                frame: &frame,
                envelope: Envelope::new(&frame, &origin),
            })),
        })
    }

    /// Sleeps until there is something to poll or `timeout` is over; true when there is.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        self.inlet.wait(timeout)
    }
}

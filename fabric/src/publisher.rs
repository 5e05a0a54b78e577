//! A publisher: one event type, one target, its own ring — for a hot loop.

use std::marker::PhantomData;
use std::sync::Arc;

use rkyv::Archived;
use wireloom_control::Tally;
use wireloom_wire::{PlainFrame, TraceContext};

use crate::choose::{Aim, Chooser};
use crate::encode::{Scratch, encode, encode_growing};
use crate::event::{Event, deadline_ns};
use crate::outcome::{Accepted, NoRoute, Outcome, Place, Refused};
use crate::plan::lead_to;
use crate::receipt::Receipt;
use crate::router::{asked_of, way_of};
use crate::select::{Asked, Carrier, Size, decide};
use crate::shared::Shared;
use crate::target::Target;
use crate::validation::{Signing, put};
use crate::writer::{Plain, RingWriter, Visible, Way, head, typed_header};

/// Publishes events of one type to one target, encoded straight into the ring the sender sends
/// from. The cheapest way to publish.
///
/// By which transport, and to which member, is decided once, when the publisher is made: by the
/// rules of then, without those that ask for a size unless the type's size is fixed, and without
/// the step for what no packet holds; [`Choice::OwnKey`](crate::Choice::OwnKey), which chooses for
/// each event, is refused. An event too large for the way chosen is refused; a
/// [`Router`](crate::Router) sends it by TCP.
///
/// [`Publisher::publish`] stamps each event with its own reading of the clock (about 25 ns);
/// a [`Burst`] reads the clock once and shows its events to the sender together.
#[derive(Debug)]
pub struct Publisher<E> {
    shared: Arc<Shared>,
    writer: RingWriter,
    /// What becomes of reliable events.
    tally: Option<Arc<Tally>>,
    /// Large events accepted: without any, an event's number is its place in the ring.
    larges: u64,
    /// Where the events go; with `wanting`, this process, which no event is written to by it.
    way: Way,
    wanting: Option<Box<Wanting>>,
    scratch: Scratch,
    /// Where events of a signed type are made and signed.
    signing: Option<Box<Signing>>,
    sequence: u64,
    trace: Option<TraceContext>,
    plain: PlainFrame,
    event: PhantomData<fn(&E)>,
}

/// The ways of [`Target::Interested`]: looked up again when the members have changed.
#[derive(Debug, Default)]
struct Wanting {
    chooser: Chooser,
    /// The table the ways are of.
    generation: Option<u64>,
    ways: Vec<Way>,
    /// This process, once it is among those who want them.
    local: Option<RingWriter>,
}

impl Wanting {
    fn refresh<E: Event>(&mut self, shared: &Shared) -> Result<(), Refused> {
        let generation = Chooser::generation(shared);
        if self.generation == Some(generation) {
            return Ok(());
        }
        (self.generation, self.ways) = (None, Vec::new());
        shared.name_for_access(E::TYPE_ID, E::TYPE);
        for target in self.chooser.interested(shared, E::TYPE_ID, false)? {
            let way = way_of(shared, &target)?;
            if matches!(way, Way::Local(_)) && self.local.is_none() {
                self.local = Some(shared.attach(None, shared.hand())?);
            }
            self.ways.push(way);
        }
        self.generation = Some(generation);
        Ok(())
    }
}

/// The address that events of a type for a target are published to; none for whoever is interested.
fn bind<E: Event>(shared: &Shared, target: &Target) -> Result<Option<Target>, Refused> {
    if target.is_fixed() {
        return Ok(Some(target.clone()));
    }
    let asked = asked_of::<E>(target);
    let size = Size { bytes: E::FLAT.then_some(size_of::<Archived<E>>() as u64), fits: true };
    let configured = shared.cluster.group_of(E::TYPE_ID);
    let (_, rules) = shared.rules.current();
    let decision = decide(&asked, size, configured, &rules, &mut |_, _| {});
    let target = decision.target.as_ref().unwrap_or(target);
    let many = match target {
        Target::Fast(target) => &**target,
        other => other,
    };
    match (decision.carrier, many) {
        (Carrier::Udp, Target::Interested | Target::Auto) => return Ok(None),
        (Carrier::Tcp | Carrier::Streaming, Target::Interested | Target::Auto) => {
            return Err(NoRoute::ManyReliably.into());
        }
        _ => {}
    }
    if let Some(service) = target.of_own_key() {
        let reason = if E::KEY.is_none() { NoRoute::NoKey } else { NoRoute::KeyForEach };
        return Err(reason(service.into()).into());
    }
    let led = Asked { target, ..asked };
    match lead_to(shared, &led, decision.carrier, &mut Chooser::default())? {
        Aim::One(target) => Ok(Some(target)),
        Aim::Each(_) => Err(NoRoute::NotOne.into()),
    }
}

impl<E: Event> Publisher<E> {
    pub(crate) fn new(shared: &Arc<Shared>, target: &Target) -> Result<Self, Refused> {
        shared.know_versions::<E>();
        // Nobody may want them yet: the ring is that of the network in any case.
        let (way, wanting) = match bind::<E>(shared, target)? {
            Some(target) => (way_of(shared, &target)?, None),
            None => (way_of(shared, &Target::Local)?, Some(Box::default())),
        };
        let (writer, tally) = match way {
            Way::Local(_) if wanting.is_none() => (shared.attach(None, shared.hand())?, None),
            Way::Reliable(peer) => {
                let ring =
                    shared.attach_reliable((peer, E::PRIORITY), shared.reliable.ring_bytes)?;
                (ring.writer, Some(ring.tally))
            }
            Way::Link { .. } | Way::Local(_) => {
                (shared.attach(Some(E::PRIORITY), shared.hand())?, None)
            }
        };
        Ok(Self {
            writer,
            tally,
            larges: 0,
            shared: Arc::clone(shared),
            way,
            wanting,
            scratch: Scratch::default(),
            signing: E::SIGNED.then(Box::default),
            sequence: 0,
            trace: None,
            plain: PlainFrame::new(typed_header::<E>(0, 0)),
            event: PhantomData,
        })
    }

    /// Events published from now on belong to this trace; `None` ends it.
    pub const fn set_trace(&mut self, trace: Option<TraceContext>) {
        self.trace = trace;
    }

    /// Publishes one event; the sender sees it at once.
    ///
    /// # Errors
    /// [`Refused::BackPressured`] when the ring is full, [`Refused::TooLarge`],
    /// [`Refused::TooComplex`], [`Refused::Closed`]; for [`Target::Interested`] also
    /// [`NoRoute::NobodyInterested`](crate::NoRoute).
    #[inline]
    pub fn publish(&mut self, event: &E) -> Result<Accepted, Refused> {
        let timestamp_ns = self.shared.unix_ns();
        self.write(event, timestamp_ns, Visible::Now)
    }

    /// The receipt of an event that this publisher accepted; `None` unless its target is reliable.
    /// Costs an atomic addition; an event nobody asks for costs nothing.
    #[must_use]
    pub fn receipt(&self, accepted: Accepted) -> Option<Receipt> {
        // The ring holds this publisher's events alone, so their numbers are their places.
        let tally = self.tally.as_ref()?;
        match accepted.place {
            None => Some(Receipt::new(Arc::clone(tally), accepted.sequence)),
            Some(Place { large: 0, event, .. }) => Some(Receipt::new(Arc::clone(tally), event)),
            Some(Place { event, .. }) => {
                Some(Receipt::new(Arc::clone(&self.writer.large()?.1.tally), event))
            }
        }
    }

    /// The word of an event that was written just now. Large ones are counted apart from those in
    /// the ring, so that with the first of them places are no longer numbers.
    fn accepted(&mut self, large: bool) -> Accepted {
        let sequence = self.sequence;
        self.sequence += 1;
        if !large && self.larges == 0 {
            return Accepted::new(sequence);
        }
        let Way::Reliable(peer) = self.way else { return Accepted::new(sequence) };
        let event = if large { self.larges } else { sequence - self.larges };
        self.larges += u64::from(large);
        let (lane, large) = (E::PRIORITY.index(), u32::from(large));
        let place = Place { peer, lane, large, event };
        Accepted { sequence, place: Some(place) }
    }

    /// Begins a burst: events that share one timestamp and become visible together, when the burst
    /// is dropped or its ring is full.
    pub fn burst(&mut self) -> Burst<'_, E> {
        let timestamp_ns = self.shared.unix_ns();
        Burst { publisher: self, timestamp_ns }
    }

    // Measured: out of line it costs 8 ns an event, most of it stores to the stack.
    #[inline(always)]
    fn write(&mut self, event: &E, at_ns: u64, visible: Visible) -> Result<Accepted, Refused> {
        let sequence = self.sequence;
        let plain = Plain { frame: &self.plain, sequence, timestamp_ns: at_ns };
        let scratch = &mut self.scratch;
        let payload = |into: &mut [u8]| encode(event, into, scratch);
        // Without large events before it: then its number is its place.
        if !E::SIGNED
            && self.trace.is_none()
            && E::DEADLINE.is_none()
            && self.larges == 0
            && !(matches!(self.way, Way::Local(_)) && self.wanting.is_some())
            && self.writer.write_plain(&self.way, plain, visible, payload)
        {
            self.sequence += 1;
            return Ok(Accepted::new(sequence));
        }
        self.write_fully(event, at_ns, visible).whole()
    }

    /// Shows staged events.
    #[inline]
    fn show(&mut self, refused: bool) {
        self.writer.publish(refused);
        if let Some(wanting) = &mut self.wanting
            && let Some(local) = &mut wanting.local
        {
            local.publish(refused);
        }
    }

    /// Any event, and every refusal.
    #[inline(never)]
    fn write_fully(&mut self, event: &E, at_ns: u64, visible: Visible) -> Outcome {
        let written = self.write_any(event, at_ns, visible);
        Outcome::of(written, || {
            let large = self.writer.large().is_some_and(|(large, _)| large);
            self.accepted(large)
        })
    }

    fn write_any(&mut self, event: &E, at_ns: u64, visible: Visible) -> Result<(), Refused> {
        let sequence = self.sequence;
        let head = head(typed_header::<E>(sequence, at_ns), self.trace, deadline_ns::<E>(at_ns));
        let is_local = self.wanting.is_none() && matches!(self.way, Way::Local(_));
        let signing = self.signing.as_deref_mut().filter(|_| !is_local);
        let signed = match signing {
            None => None,
            Some(signing) => {
                let (shared, most) = (&self.shared, self.shared.reliable.stream_bytes_max);
                let signed = signing.alone((&head, event), (&mut self.scratch, most), shared);
                Some(signed.inspect_err(|_| self.writer.count_refusal())?)
            }
        };
        let head = signed.map_or(head, |(proof, _)| head.with_proof(proof));
        let scratch = &mut self.scratch;
        let mut payload = |into: &mut [u8]| match signed {
            None => encode_growing(event, into, scratch),
            Some((_, payload)) => put(payload, into),
        };
        match &mut self.wanting {
            None => self.writer.write(self.way, &head, visible, payload)?,
            Some(wanting) => {
                wanting.refresh::<E>(&self.shared)?;
                // As a router does: the first one's refusal is the outcome.
                let mut outcome = Err(NoRoute::NobodyInterested.into());
                for (index, way) in wanting.ways.iter().enumerate() {
                    let local = wanting.local.as_mut().filter(|_| matches!(way, Way::Local(_)));
                    let writer = local.unwrap_or(&mut self.writer);
                    let written = writer.write(*way, &head, visible, &mut payload);
                    if index == 0 && written.is_err() {
                        return written;
                    }
                    outcome = outcome.or(written);
                }
                outcome?;
            }
        }
        Ok(())
    }
}

/// Events published together; see [`Publisher::burst`].
#[derive(Debug)]
pub struct Burst<'a, E: Event> {
    publisher: &'a mut Publisher<E>,
    timestamp_ns: u64,
}

impl<E: Event> Burst<'_, E> {
    /// Publishes one event of the burst. What was published before stays published when this one
    /// is refused; on back-pressure the burst so far is shown to the sender, so that it can drain.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    #[inline(always)]
    pub fn publish(&mut self, event: &E) -> Result<Accepted, Refused> {
        let outcome = self.publisher.write(event, self.timestamp_ns, Visible::Later);
        if outcome.is_err() {
            self.publisher.show(true);
        }
        outcome
    }
}

impl<E: Event> Drop for Burst<'_, E> {
    fn drop(&mut self) {
        self.publisher.show(false);
    }
}

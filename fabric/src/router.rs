//! The router: any event type, any target, one call.

mod exchanges;
mod outbound;
mod signed;

use std::borrow::Borrow;
use std::sync::Arc;

use rkyv::Archived;
use wireloom_dataplane::dispatch::Origin;
use wireloom_wire::{
    Encoding, Fingerprint, FrameFlags, FrameHeader, LANES, PlainFrame, Priority, SessionId,
    TraceContext, event_type_id,
};

use crate::attributes::SignedTypes;
use crate::choose::Chooser;
use crate::encode::{EncodeError, Scratch, encode, encode_growing};
use crate::event::{Event, deadline_ns, is_type_name};
use crate::json;
use crate::outcome::{Accepted, NoRoute, Refused};
use crate::plan::{Known, PlanIndex, Plans, Spill, Ways};
use crate::receipt::Receipt;
use crate::select::{Asked, Size};
use crate::shared::{Link, Shared};
use crate::target::Target;
use crate::trace;
use crate::validation::Signing;
use crate::writer::{Plain, Visible, Way, head, typed_header};
use outbound::Rings;

/// Routes events of any type to any target. One for each thread: it owns the rings it writes to, so
/// a call takes no lock; a ring is made the first time a priority (or the local target) is used.
///
/// Cost of a call to a known target: one clock reading, the encoding, a few ns beside them; to one
/// that leaves its transport open, one look at what was decided before, about 3 ns more. The first
/// call to a new target asks the system for the path (some tens of µs). `cargo bench -p
/// wireloom-bench --bench route` measures it.
#[derive(Debug)]
pub struct Router {
    pub(crate) shared: Arc<Shared>,
    rings: Rings,
    scratch: Scratch,
    sequence: u64,
    known: Known,
    plans: Plans,
    /// Which dynamic events no other node would take.
    signed: SignedTypes,
    pub(crate) chooser: Chooser,
    trace: Option<TraceContext>,
    deadline_ns: Option<u64>,
    /// Memory in which an event is measured whose way depends on its size.
    measured: Vec<u8>,
    /// Where events of signed types are made and signed.
    signing: Signing,
}

impl Router {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let handed = shared.hand();
        Self {
            shared,
            rings: Rings {
                lanes: [const { None }; LANES],
                local: None,
                reliable: Vec::new(),
                handed,
            },
            scratch: Scratch::default(),
            sequence: 0,
            known: Known::default(),
            plans: Plans::default(),
            signed: SignedTypes::default(),
            chooser: Chooser::default(),
            trace: None,
            deadline_ns: None,
            measured: Vec::new(),
            signing: Signing::default(),
        }
    }

    /// Events routed from now on belong to this trace; `None` ends it, and they belong to the
    /// [current](trace::current) span, if there is one. Costs 32 bytes an event.
    pub const fn set_trace(&mut self, trace: Option<TraceContext>) {
        self.trace = trace;
    }

    /// Events routed from now on are worthless after this instant (ns since the Unix epoch),
    /// whatever their types [say](Event::DEADLINE); `None` ends it. Costs 16 bytes an event.
    pub const fn set_deadline_ns(&mut self, deadline_ns: Option<u64>) {
        self.deadline_ns = deadline_ns;
    }

    /// Routes an event to a target.
    ///
    /// By which transport it goes, the target says, or the rules, its priority, its type, its size;
    /// [`Router::explain`] tells.
    ///
    /// `Ok` means this node took it: it will be sent or dispatched, and if anything becomes of it
    /// other than delivery, the ledger says what. Best effort over UDP: a datagram may be lost on
    /// the way, which the receiver notices and counts. To a [`Target::Reliable`] it goes in order
    /// and is kept until it is acknowledged; [`Router::receipt`] tells. One that no packet or ring
    /// holds goes there in pieces, up to
    /// [`stream_bytes_max`](crate::ReliableSettings::stream_bytes_max): such events of a priority
    /// keep their order among themselves, and smaller ones may pass them.
    ///
    /// # Errors
    /// See [`Refused`]; the event was then not taken. Of a target that means several nodes, the
    /// first one's refusal is the caller's; later copies that are refused are in the ledger.
    #[inline]
    pub fn route<E: Event>(
        &mut self,
        event: &E,
        target: impl Borrow<Target>,
    ) -> Result<Accepted, Refused> {
        let target = target.borrow();
        if target.is_fixed() {
            let way = self.known.way(&self.shared, target)?;
            let at = (self.shared.unix_ns(), Visible::Now);
            if self.route_plain(event, &way, at) {
                return Ok(Accepted::new(self.sequence - 1));
            }
            return self.route_at(event, way, at);
        }
        let at = (self.shared.unix_ns(), Visible::Now);
        if let Some(way) = self.only_way::<E>(target)
            && self.route_plain(event, &way, at)
        {
            return Ok(Accepted::new(self.sequence - 1));
        }
        self.route_open(event, target, at)
    }

    /// The way to a target that leaves its transport open, if there is one for every event.
    #[inline]
    fn only_way<E: Event>(&mut self, target: &Target) -> Option<Way> {
        let plan = self.plans.find(&self.shared, &asked_of::<E>(target));
        self.plans.only_way(&self.shared, plan)
    }

    /// The short way of most events: no extensions, by a link whose ring goes there already or to
    /// this process. False when that is not enough, and then nothing has been written or counted.
    /// Out of line, or with an outcome that goes through memory, it costs several ns.
    #[inline(always)]
    fn route_plain<E: Event>(
        &mut self,
        event: &E,
        way: &Way,
        (unix_ns, visible): (u64, Visible),
    ) -> bool {
        let is_plain = self.deadline_ns.is_none() && E::DEADLINE.is_none();
        let is_plain = is_plain && self.trace.is_none() && trace::current().is_none();
        let writer = match way {
            Way::Link { .. } if !E::SIGNED => self.rings.lanes[E::PRIORITY.index()].as_mut(),
            Way::Local(_) => self.rings.local.as_mut(),
            Way::Link { .. } | Way::Reliable(_) => None,
        };
        let Some(writer) = writer.filter(|_| is_plain) else { return false };
        let (sequence, scratch) = (self.sequence, &mut self.scratch);
        let frame = &PlainFrame::new(typed_header::<E>(0, 0));
        let plain = Plain { frame, sequence, timestamp_ns: unix_ns };
        let written = writer.write_plain(way, plain, visible, |into| encode(event, into, scratch));
        self.sequence += u64::from(written);
        written
    }

    /// A target whose transport is decided here; any event, and every refusal.
    #[inline(never)]
    fn route_open<E: Event>(
        &mut self,
        event: &E,
        target: &Target,
        at: (u64, Visible),
    ) -> Result<Accepted, Refused> {
        let asked = asked_of::<E>(target);
        let plan = self.plans.find(&self.shared, &asked);
        let own_key = if self.plans.asks_for_key(plan) { event.key() } else { None };
        let bytes = if self.plans.asks_for_size(plan) { Some(self.measure(event)) } else { None };
        self.by_plan(&Asked { own_key, ..asked }, (plan, bytes), &mut |router, way| {
            router.route_at(event, way, at)
        })
    }

    /// Writes any event by a way.
    #[inline(never)]
    fn route_at<E: Event>(
        &mut self,
        event: &E,
        way: Way,
        (unix_ns, visible): (u64, Visible),
    ) -> Result<Accepted, Refused> {
        if E::SIGNED && !matches!(way, Way::Local(_)) {
            return self.route_signed(event, way, (unix_ns, visible));
        }
        let sequence = self.sequence;
        let header = typed_header::<E>(sequence, unix_ns);
        let deadline_ns = self.deadline_ns.or_else(|| deadline_ns::<E>(unix_ns));
        let head = head(header, self.trace.or_else(trace::current), deadline_ns);
        let scratch = &mut self.scratch;
        let place = (way, E::PRIORITY, visible);
        let payload = |into: &mut [u8]| encode_growing(event, into, scratch);
        self.rings.write(&self.shared, place, &head, payload)?;
        self.sequence += 1;
        Ok(Accepted { sequence, place: self.rings.place(way, E::PRIORITY) })
    }

    /// Writes an event by the ways of a plan; `write` writes it by one.
    #[inline]
    fn by_plan(
        &mut self,
        asked: &Asked<'_>,
        (plan, bytes): (PlanIndex, Option<u64>),
        write: &mut impl FnMut(&mut Self, Way) -> Result<Accepted, Refused>,
    ) -> Result<Accepted, Refused> {
        let size = Size { bytes, fits: true };
        let memory = (&mut self.chooser, &mut self.known);
        let ways = self.plans.ways(&self.shared, asked, (plan, size), memory)?;
        self.by_ways(asked, (&ways, plan, size), write)
    }

    #[inline]
    fn by_ways(
        &mut self,
        asked: &Asked<'_>,
        (ways, plan, size): (&Ways, PlanIndex, Size),
        write: &mut impl FnMut(&mut Self, Way) -> Result<Accepted, Refused>,
    ) -> Result<Accepted, Refused> {
        let mut by = |(way, spill): &(Way, Spill)| match write(self, *way) {
            Err(Refused::TooLarge { limit }) if *spill != Spill::Refused => {
                self.spill(asked, (plan, size, *spill, limit), write)
            }
            outcome => outcome,
        };
        match ways {
            Ways::One(way, spill) => by(&(*way, *spill)),
            Ways::Each(ways) => each_of(ways, by),
        }
    }

    /// An event that no packet of its way holds goes by TCP.
    #[cold]
    fn spill(
        &mut self,
        asked: &Asked<'_>,
        (plan, size, spill, limit): (PlanIndex, Size, Spill, usize),
        write: &mut impl FnMut(&mut Self, Way) -> Result<Accepted, Refused>,
    ) -> Result<Accepted, Refused> {
        if let Spill::ByTcp(address) = spill {
            let way = self.known.way(&self.shared, &Target::Reliable(address))?;
            return write(self, way);
        }
        let size = Size { fits: false, ..size };
        let memory = (&mut self.chooser, &mut self.known);
        match self.plans.ways(&self.shared, asked, (plan, size), memory) {
            Ok(Ways::One(way, _)) => write(self, way),
            Ok(Ways::Each(ways)) => each_of(&ways, |(way, _)| write(self, *way)),
            // Nobody to be reached one by one: it is the size that is in the way.
            Err(_) => {
                self.rings.handed.count_refusal();
                Err(Refused::TooLarge { limit })
            }
        }
    }

    /// The bytes of an event's payload, by encoding it aside when its type does not say.
    pub(crate) fn measure<E: Event>(&mut self, event: &E) -> u64 {
        if E::FLAT {
            return size_of::<Archived<E>>() as u64;
        }
        let most = self.shared.reliable.stream_bytes_max.next_power_of_two();
        loop {
            match encode_growing(event, &mut self.measured, &mut self.scratch) {
                Ok(bytes) => return bytes as u64,
                Err(EncodeError::DoesNotFit) if self.measured.len() < most => {
                    let larger = (self.measured.len() * 4).clamp(4 << 10, most);
                    self.measured = vec![0; larger];
                }
                // It is refused when it is written.
                Err(_) => return u64::MAX,
            }
        }
    }

    /// Routes one event to each of several targets, in order, and gives the outcome of each: one
    /// refusal leaves the others alone. Costs a call of [`Router::route`] each and the list.
    pub fn route_all<E: Event>(
        &mut self,
        event: &E,
        targets: impl IntoIterator<Item = impl Borrow<Target>>,
    ) -> Vec<Result<Accepted, Refused>> {
        targets.into_iter().map(|target| self.route(event, target)).collect()
    }

    /// Routes several events of one type to one target, which learn their way, their time and
    /// their worker's attention together: one look at the target, one reading of the clock, one
    /// wake-up. Ends at the first refusal; what was accepted before it stays accepted.
    ///
    /// Events of a [signed type](Event::SIGNED) are signed 64 at a time.
    ///
    /// A target that takes turns takes one for the whole batch. Where the way depends on the size
    /// ([`RuleSet`](crate::RuleSet)) or on the event's own key
    /// ([`Choice::OwnKey`](crate::Choice::OwnKey)), each event is routed by itself.
    pub fn route_batch<'a, E: Event>(
        &mut self,
        events: impl IntoIterator<Item = &'a E>,
        target: &Target,
    ) -> Batch {
        let mut batch = Batch { accepted: 0, last: None, refused: None };
        let asked = asked_of::<E>(target);
        let plan = (!target.is_fixed()).then(|| self.plans.find(&self.shared, &asked));
        let apart = plan.is_some_and(|plan| self.plans.looks_at_events(plan));
        let size = Size { bytes: None, fits: true };
        let ways = match plan {
            Some(_) if apart => Ok(Ways::Each([].into())),
            Some(plan) => {
                let memory = (&mut self.chooser, &mut self.known);
                self.plans.ways(&self.shared, &asked, (plan, size), memory)
            }
            None => self.known.way(&self.shared, target).map(|way| Ways::One(way, Spill::Refused)),
        };
        let ways = match ways {
            Ok(ways) => ways,
            Err(refused) => return Batch { refused: Some(refused), ..batch },
        };
        let by_tcp = ways.each().any(|way| matches!(way, Way::Reliable(_)));
        let unix_ns = self.shared.unix_ns();
        if E::SIGNED
            && !apart
            && let Some(way) = ways.one()
            && !matches!(way, Way::Local(_))
        {
            return self.route_signed_batch(events.into_iter(), (way, target), unix_ns);
        }
        let (short, mut is_last) = (ways.one().filter(|_| !apart), false);
        for event in events {
            if let Some(way) = &short
                && self.route_plain(event, way, (unix_ns, Visible::Later))
            {
                batch.accepted += 1;
                is_last = true;
                continue;
            }
            let outcome = if apart {
                self.route_open(event, target, (self.shared.unix_ns(), Visible::Now))
            } else {
                let chosen = (&ways, plan.unwrap_or_default(), size);
                self.by_ways(&asked, chosen, &mut |router, way| {
                    // What is too large for the batch's way has a ring that is not shown below.
                    let unshown = matches!(way, Way::Reliable(_)) && !by_tcp;
                    let visible = if unshown { Visible::Now } else { Visible::Later };
                    router.route_at(event, way, (unix_ns, visible))
                })
            };
            match outcome {
                Ok(accepted) => {
                    batch.accepted += 1;
                    (batch.last, is_last) = (Some(accepted), false);
                }
                Err(refused) => {
                    batch.refused = Some(refused);
                    break;
                }
            }
        }
        if is_last {
            batch.last = Some(Accepted::new(self.sequence - 1));
        }
        for way in ways.each() {
            self.rings.publish((way, E::PRIORITY), batch.refused.is_some());
        }
        batch
    }

    /// Routes a dynamic event: a type name and a JSON text, which travels exactly as given. The
    /// group that its Rust type names counts, where the node has met that type or it is one of the
    /// [ready-made](crate::events) ones when this router first routes it. The text is read whole to
    /// be checked: about 0.2 µs for 64 bytes.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when `json` is not JSON (with line and column) or `event_type` is not
    /// a type name; [`Refused::TooDeep`] beyond [`JSON_DEPTH_MAX`](json::JSON_DEPTH_MAX);
    /// [`Refused::Schema`] when it is not as [the schema of its type](crate::Node::json_schema)
    /// says; otherwise as [`Router::route`].
    pub fn route_json(
        &mut self,
        event_type: &str,
        priority: Priority,
        json: &[u8],
        target: &Target,
    ) -> Result<Accepted, Refused> {
        let malformed = |reason| Refused::Malformed { encoding: Encoding::Json, reason };
        if !is_type_name(event_type) {
            return Err(malformed(format!(
                "{event_type:?} is not a type name: 1 to 255 of a-z, 0-9, '-', '.', '_'"
            )));
        }
        json::check(json)?;
        let id = event_type_id(event_type);
        let checked = self.shared.validation.schemas.check(id, json);
        checked.map_err(|fault| Refused::Schema(Box::new(fault)))?;
        if target.is_fixed() {
            let way = self.known.way(&self.shared, target)?;
            return self.route_json_by((event_type, priority), json, way);
        }
        let (by_name, own_key) = (true, None);
        let asked = Asked { event_type, id, priority, multicast: None, by_name, target, own_key };
        let plan = self.plans.find(&self.shared, &asked);
        self.by_plan(&asked, (plan, Some(json.len() as u64)), &mut |router, way| {
            router.route_json_by((event_type, priority), json, way)
        })
    }

    fn route_json_by(
        &mut self,
        (event_type, priority): (&str, Priority),
        json: &[u8],
        way: Way,
    ) -> Result<Accepted, Refused> {
        let malformed = |reason| Refused::Malformed { encoding: Encoding::Json, reason };
        let id = event_type_id(event_type);
        if !matches!(way, Way::Local(_)) && self.signed.contains(&self.shared, id) {
            return Err(Refused::Unsignable { what: "JSON" });
        }
        let sequence = self.sequence;
        let header = FrameHeader {
            length: 0,
            event_type: id,
            fingerprint: Fingerprint::NONE,
            priority,
            encoding: Encoding::Json,
            flags: FrameFlags::empty(),
            sequence,
            timestamp_ns: self.shared.unix_ns(),
        };
        let head = head(header, self.trace.or_else(trace::current), self.deadline_ns)
            .with_name(event_type)
            .map_err(|error| malformed(error.to_string()))?;
        self.rings.write(&self.shared, (way, priority, Visible::Now), &head, |into| {
            into.get_mut(..json.len()).ok_or(EncodeError::DoesNotFit)?.copy_from_slice(json);
            Ok(json.len())
        })?;
        self.sequence += 1;
        Ok(Accepted { sequence, place: self.rings.place(way, priority) })
    }

    /// The node it routes for.
    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The deadline that events routed now have.
    pub(crate) const fn deadline_ns(&self) -> Option<u64> {
        self.deadline_ns
    }

    /// The receipt of an event that this router accepted; `None` unless its target was reliable.
    /// Costs an atomic addition; an event nobody asks for costs nothing.
    #[must_use]
    pub fn receipt(&self, accepted: Accepted) -> Option<Receipt> {
        let place = accepted.place?;
        let ring = self.rings.reliable.get(place.peer.0 as usize)?.get(place.lane)?.as_ref()?;
        ring.receipt(place)
    }
}

/// What is asked for events of a type.
pub(crate) const fn asked_of<E: Event>(target: &Target) -> Asked<'_> {
    Asked {
        event_type: E::TYPE,
        id: E::TYPE_ID,
        priority: E::PRIORITY,
        multicast: E::MULTICAST,
        by_name: false,
        target,
        own_key: None,
    }
}

/// What became of [`Router::route_batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Batch {
    /// So many events were accepted, those before the first refusal.
    pub accepted: u64,
    /// The last of them; its [`Router::receipt`] tells of it.
    pub last: Option<Accepted>,
    /// Why the next one was not, if there was one.
    pub refused: Option<Refused>,
}

/// Routes to each; the first one's refusal is the outcome and ends it.
fn each_of<T>(
    all: &[T],
    mut route: impl FnMut(&T) -> Result<Accepted, Refused>,
) -> Result<Accepted, Refused> {
    let mut outcome = Err(Refused::from(NoRoute::NobodyInterested));
    for (index, one) in all.iter().enumerate() {
        let routed = route(one);
        if index == 0 && routed.is_err() {
            return routed;
        }
        outcome = outcome.or(routed);
    }
    outcome
}

/// The way to a target with an address, asked of the node.
pub(crate) fn way_of(shared: &Shared, target: &Target) -> Result<Way, Refused> {
    match target {
        Target::Local => Ok(Way::Local(Origin {
            source: shared.id(),
            session: SessionId(0),
            lane: 0,
            received_unix_ns: 0,
            verified: true,
        })),
        Target::Reliable(address) => Ok(Way::Reliable(shared.peer_at(*address)?)),
        Target::Unresolved(error) => Err(NoRoute::from(error.clone()).into()),
        Target::Node(address) | Target::Multicast(address) | Target::Broadcast(address) => {
            let group = !matches!(target, Target::Node(_));
            let Link { id, frame_bytes_max } = shared.link_to(*address, group)?;
            Ok(Way::Link { id, limit: frame_bytes_max, spills: false })
        }
        // Those that are open lead to targets with an address, by `Chooser::aim`.
        _ => Err(NoRoute::NotOne.into()),
    }
}

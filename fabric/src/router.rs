//! The router: any event type, any target, one call.

use std::collections::HashMap;
use std::sync::Arc;

use wireloom_dataplane::dispatch::Origin;
use wireloom_wire::{
    Encoding, Fingerprint, FrameEncoder, FrameFlags, FrameHeader, LANES, Priority, SessionId,
    TraceContext, event_type_id,
};

use crate::choose::Chooser;
use crate::encode::{EncodeError, Scratch, encode_growing};
use crate::event::{Event, deadline_ns, is_type_name};
use crate::outcome::{Accepted, NoRoute, PeerIndex, Place, Refused};
use crate::peers::ReliableRing;
use crate::receipt::Receipt;
use crate::shared::{Link, Shared};
use crate::target::Target;
use crate::trace;
use crate::writer::{Handed, RingWriter, Visible, Way, head, typed_header};

/// Routes events of any type to any target. One for each thread: it owns the rings it writes to, so
/// a call takes no lock; a ring is made the first time a priority (or the local target) is used.
///
/// Cost of a call to a known target: one clock reading, the encoding, about 30 ns beside them.
/// The first call to a new target asks the system for the path (some tens of µs).
#[derive(Debug)]
pub struct Router {
    shared: Arc<Shared>,
    rings: Rings,
    scratch: Scratch,
    sequence: u64,
    routes: HashMap<Target, Way>,
    /// The last target and its way: most calls repeat it.
    last: Option<(Target, Way)>,
    chooser: Chooser,
    trace: Option<TraceContext>,
    deadline_ns: Option<u64>,
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
            routes: HashMap::new(),
            last: None,
            chooser: Chooser::default(),
            trace: None,
            deadline_ns: None,
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
    /// `Ok` means this node took it: it will be sent or dispatched, and if anything becomes of it
    /// other than delivery, the ledger says what. Best effort over UDP: a datagram may be lost on
    /// the way, which the receiver notices and counts. To a [`Target::Reliable`] it goes in order
    /// and is kept until it is acknowledged; [`Router::receipt`] tells. One that no packet or ring
    /// holds goes there in pieces, up to
    /// [`stream_bytes_max`](crate::ReliableSettings::stream_bytes_max): such events of a priority
    /// keep their order among themselves, and smaller ones may pass them.
    ///
    /// # Errors
    /// See [`Refused`]; the event was then not taken.
    pub fn route<E: Event>(
        &mut self,
        event: &E,
        target: impl std::borrow::Borrow<Target>,
    ) -> Result<Accepted, Refused> {
        let target = target.borrow();
        if matches!(target, Target::Interested) {
            return self.route_interested(event);
        }
        self.route_one(event, target)
    }

    /// One copy for each node that wants the type. What a later copy is refused for is counted in
    /// the ledger; the first one's refusal is the caller's.
    #[cold]
    fn route_interested<E: Event>(&mut self, event: &E) -> Result<Accepted, Refused> {
        let targets = self.chooser.interested(&self.shared, E::TYPE_ID)?;
        each_of(&targets, |target| self.route_one(event, target))
    }

    #[inline]
    fn route_one<E: Event>(&mut self, event: &E, target: &Target) -> Result<Accepted, Refused> {
        let sequence = self.sequence;
        let header = typed_header::<E>(sequence, self.shared.unix_ns());
        let deadline_ns = self.deadline_ns.or_else(|| deadline_ns::<E>(header.timestamp_ns));
        let head = head(header, self.trace.or_else(trace::current), deadline_ns);
        let way = self.way(target)?;
        let scratch = &mut self.scratch;
        let place = (way, E::PRIORITY);
        let payload = |into: &mut [u8]| encode_growing(event, into, scratch);
        self.rings.write(&self.shared, place, &head, payload)?;
        self.sequence += 1;
        Ok(Accepted { sequence, place: self.rings.place(way, E::PRIORITY) })
    }

    /// Routes a dynamic event: a type name and a JSON text, which travels exactly as given.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when `json` is not JSON (with line and column) or `event_type` is not
    /// a type name; otherwise as [`Router::route`].
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
        serde_json::from_slice::<serde::de::IgnoredAny>(json)
            .map_err(|error| malformed(error.to_string()))?;
        if matches!(target, Target::Interested) {
            let wanted = event_type_id(event_type);
            let targets = self.chooser.interested(&self.shared, wanted)?;
            return each_of(&targets, |to| self.route_json_one(event_type, priority, json, to));
        }
        self.route_json_one(event_type, priority, json, target)
    }

    fn route_json_one(
        &mut self,
        event_type: &str,
        priority: Priority,
        json: &[u8],
        target: &Target,
    ) -> Result<Accepted, Refused> {
        let malformed = |reason| Refused::Malformed { encoding: Encoding::Json, reason };
        let sequence = self.sequence;
        let header = FrameHeader {
            length: 0,
            event_type: event_type_id(event_type),
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
        let way = self.way(target)?;
        self.rings.write(&self.shared, (way, priority), &head, |into| {
            into.get_mut(..json.len()).ok_or(EncodeError::DoesNotFit)?.copy_from_slice(json);
            Ok(json.len())
        })?;
        self.sequence += 1;
        Ok(Accepted { sequence, place: self.rings.place(way, priority) })
    }

    /// The receipt of an event that this router accepted; `None` unless its target was reliable.
    /// Costs an atomic addition; an event nobody asks for costs nothing.
    #[must_use]
    pub fn receipt(&self, accepted: Accepted) -> Option<Receipt> {
        let place = accepted.place?;
        let ring = self.rings.reliable.get(place.peer.0 as usize)?.get(place.lane)?.as_ref()?;
        ring.receipt(place)
    }

    /// The way to a target: from this router's memory, else asked of the node once.
    #[inline]
    fn way(&mut self, target: &Target) -> Result<Way, Refused> {
        if let Some((last, way)) = &self.last
            && last == target
        {
            return Ok(*way);
        }
        self.other_way(target)
    }

    fn other_way(&mut self, target: &Target) -> Result<Way, Refused> {
        // What a name or a service means may change with every call; it is not remembered as such.
        if let Some(found) = self.chooser.resolve(&self.shared, target)? {
            return self.way(&found);
        }
        let way = match self.routes.get(target) {
            Some(way) => *way,
            None => {
                let way = way_of(&self.shared, target)?;
                self.routes.insert(target.clone(), way);
                way
            }
        };
        self.last = Some((target.clone(), way));
        Ok(way)
    }
}

/// Routes to each target; the first one's refusal is the outcome and ends it.
fn each_of(
    targets: &[Target],
    mut route: impl FnMut(&Target) -> Result<Accepted, Refused>,
) -> Result<Accepted, Refused> {
    let mut outcome = Err(Refused::from(NoRoute::NobodyInterested));
    for (index, target) in targets.iter().enumerate() {
        let routed = route(target);
        if index == 0 && routed.is_err() {
            return routed;
        }
        outcome = outcome.or(routed);
    }
    outcome
}

/// The way to a target, asked of the node.
pub(crate) fn way_of(shared: &Shared, target: &Target) -> Result<Way, Refused> {
    match target {
        Target::Local => Ok(Way::Local(Origin {
            source: shared.id(),
            session: SessionId(0),
            lane: 0,
            received_unix_ns: 0,
        })),
        Target::Reliable(address) => Ok(Way::Reliable(shared.peer_at(*address)?)),
        Target::Unresolved(error) => Err(NoRoute::from(error.clone()).into()),
        Target::Named(_) | Target::Service(..) | Target::AnyOf(_) | Target::Reliably(_) => {
            match Chooser::default().resolve(shared, target)? {
                Some(found) => way_of(shared, &found),
                None => Err(NoRoute::NoTargets.into()),
            }
        }
        // Several ways: publishers and routers take each.
        Target::Interested => Err(NoRoute::NoTargets.into()),
        Target::Node(address) | Target::Multicast(address) | Target::Broadcast(address) => {
            let group = !matches!(target, Target::Node(_));
            let Link { id, frame_bytes_max } = shared.link_to(*address, group)?;
            Ok(Way::Link { id, limit: frame_bytes_max })
        }
    }
}

/// The rings of one router, each made when first used: one for a priority, one for this process,
/// one for each peer and priority of reliable events.
#[derive(Debug)]
struct Rings {
    lanes: [Option<RingWriter>; LANES],
    local: Option<RingWriter>,
    /// By peer, then by lane.
    reliable: Vec<[Option<Box<ReliableRing>>; LANES]>,
    handed: Arc<Handed>,
}

impl Rings {
    /// Writes an event to its ring: a ring to a peer becomes larger when it must and may.
    #[inline]
    fn write(
        &mut self,
        shared: &Shared,
        (way, priority): (Way, Priority),
        head: &FrameEncoder<'_>,
        mut payload: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> Result<(), Refused> {
        loop {
            let writer = self.writer(shared, way, priority)?;
            match writer.write(way, head, Visible::Now, &mut payload) {
                Err(refused) if writer.grows_for(&refused) => {
                    let Way::Reliable(peer) = way else { return Err(refused) };
                    let ring = &mut self.reliable[peer.0 as usize][priority.index()];
                    let Some(ring) = ring else { return Err(refused) };
                    if shared.enlarge((peer, priority), ring).is_err() {
                        ring.writer.count_refusal();
                        return Err(refused);
                    }
                }
                written => return written,
            }
        }
    }

    fn writer(
        &mut self,
        shared: &Shared,
        way: Way,
        priority: Priority,
    ) -> Result<&mut RingWriter, Refused> {
        let (slot, lane) = match way {
            Way::Local(_) => (&mut self.local, None),
            Way::Link { .. } => (&mut self.lanes[priority.index()], Some(priority)),
            Way::Reliable(peer) => return self.reliable_writer(shared, peer, priority),
        };
        match slot {
            Some(writer) => Ok(writer),
            none => Ok(none.insert(shared.attach(lane, Arc::clone(&self.handed))?)),
        }
    }

    fn reliable_writer(
        &mut self,
        shared: &Shared,
        peer: PeerIndex,
        priority: Priority,
    ) -> Result<&mut RingWriter, Refused> {
        let index = peer.0 as usize;
        if self.reliable.len() <= index {
            self.reliable.resize_with(index + 1, Default::default);
        }
        let slot = &mut self.reliable[index][priority.index()];
        match slot {
            Some(ring) => Ok(&mut ring.writer),
            none => {
                let ring =
                    shared.attach_reliable((peer, priority), shared.reliable.first_ring_bytes())?;
                Ok(&mut none.insert(Box::new(ring)).writer)
            }
        }
    }

    /// The place of the event that was written last, where it is a reliable one.
    #[inline]
    fn place(&self, way: Way, priority: Priority) -> Option<Place> {
        let Way::Reliable(peer) = way else { return None };
        let lane = priority.index();
        self.reliable.get(peer.0 as usize)?[lane].as_ref()?.place(peer, lane)
    }
}

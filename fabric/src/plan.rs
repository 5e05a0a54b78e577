//! What a router remembers: for each target that leaves its transport open, and each type and
//! priority routed to it, what was decided and the ways there. Owned by one router.
//!
//! A repeated call compares one target and two numbers; another type of the same target costs a
//! look-up by its id. Everything is forgotten when the node's rules are exchanged.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use wireloom_wire::{EventTypeId, Priority};

use crate::choose::{Aim, Chooser};
use crate::outcome::{NoRoute, Refused};
use crate::router::way_of;
use crate::rules::RuleSet;
use crate::select::{Asked, Carrier, Decision, Size, decide};
use crate::shared::Shared;
use crate::target::Target;
use crate::writer::Way;

/// So many plans are remembered; a router of more begins anew.
const PLANS_MAX: usize = 1 << 16;

/// The ways to where events go.
#[derive(Debug, Clone)]
pub(crate) enum Ways {
    One(Way, Spill),
    /// One copy for each of several, or of none.
    Each(Arc<[(Way, Spill)]>),
}

impl Ways {
    /// The way, where there is one.
    pub(crate) const fn one(&self) -> Option<Way> {
        match self {
            Self::One(way, _) => Some(*way),
            Self::Each(_) => None,
        }
    }

    /// The ways one after the other.
    pub(crate) fn each(&self) -> impl Iterator<Item = Way> {
        let (one, each) = match self {
            Self::One(way, _) => (Some(*way), &[][..]),
            Self::Each(ways) => (None, &ways[..]),
        };
        one.into_iter().chain(each.iter().map(|(way, _)| *way))
    }
}

/// What becomes of an event that no packet of a way holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spill {
    /// It is refused: a datagram was demanded, or the way has pieces of its own.
    Refused,
    /// It goes to the same node by TCP.
    ByTcp(SocketAddr),
    /// A group has no TCP: it is decided anew where it goes.
    Anew,
}

/// The ways a router has asked the node for, by target.
#[derive(Debug, Default)]
pub(crate) struct Known {
    routes: HashMap<Target, Way>,
    /// The last target and its way: most calls repeat it.
    last: Option<(Target, Way)>,
}

impl Known {
    /// The way to a target with an address: remembered, else asked of the node once.
    #[inline]
    pub(crate) fn way(&mut self, shared: &Shared, target: &Target) -> Result<Way, Refused> {
        if let Some((last, way)) = &self.last
            && last == target
        {
            return Ok(*way);
        }
        self.other_way(shared, target)
    }

    fn other_way(&mut self, shared: &Shared, target: &Target) -> Result<Way, Refused> {
        let way = match self.routes.get(target) {
            Some(way) => *way,
            None => {
                let way = way_of(shared, target)?;
                self.routes.insert(target.clone(), way);
                way
            }
        };
        self.last = Some((target.clone(), way));
        Ok(way)
    }
}

/// A plan's place; good until the next [`Plans::find`].
pub(crate) type PlanIndex = usize;

/// The decisions and ways of one router.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    rules: RuleSet,
    generation: u64,
    plans: Vec<Plan>,
    targets: Vec<PlansOfTarget>,
    by_target: HashMap<Target, usize>,
    last_plan: usize,
    last_target: usize,
}

#[derive(Debug)]
struct PlansOfTarget {
    target: Target,
    by_type: HashMap<u64, PlanIndex, BuildHasherDefault<IdHasher>>,
}

/// What was decided for one type, priority and target.
#[derive(Debug)]
struct Plan {
    key: u64,
    target: usize,
    /// Whether a service's member is chosen by each event's own key.
    by_own_key: bool,
    /// Whether anything of an event is to be known before its way is.
    looks: bool,
    /// By the greatest size each is for, in order; the last has no end.
    cuts: Box<[Cut]>,
}

#[derive(Debug)]
struct Cut {
    bytes_max: u64,
    fits: Lead,
    /// For what no packet holds; decided when the first such event comes.
    oversize: Option<Lead>,
}

/// A decision and the ways it leads to.
#[derive(Debug)]
struct Lead {
    decision: Decision,
    /// The members' table the ways are of.
    members: u64,
    ways: Option<Ways>,
}

/// The id of a type is a hash already.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        // The table looks at the highest bits too.
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A type by name alone may stand beside the same type with its attributes.
const fn key(asked: &Asked<'_>) -> u64 {
    (asked.id.0 as u64) << 8 | (asked.by_name as u64) << 7 | asked.priority as u64
}

impl Plans {
    /// The plan for what is asked.
    #[inline]
    pub(crate) fn find(&mut self, shared: &Shared, asked: &Asked<'_>) -> PlanIndex {
        let key = key(asked);
        if shared.rules.generation() == self.generation
            && let Some(plan) = self.plans.get(self.last_plan)
            && plan.key == key
            && self.targets[plan.target].target == *asked.target
        {
            return self.last_plan;
        }
        self.find_other(shared, asked, key)
    }

    fn find_other(&mut self, shared: &Shared, asked: &Asked<'_>, key: u64) -> PlanIndex {
        if shared.rules.generation() != self.generation || self.plans.len() >= PLANS_MAX {
            let (generation, rules) = shared.rules.current();
            *self = Self { rules, generation, ..Self::default() };
        }
        let is_last =
            self.targets.get(self.last_target).is_some_and(|of| of.target == *asked.target);
        if !is_last {
            self.last_target = match self.by_target.get(asked.target) {
                Some(target) => *target,
                None => {
                    let target = asked.target.clone();
                    self.by_target.insert(target.clone(), self.targets.len());
                    self.targets.push(PlansOfTarget { target, by_type: HashMap::default() });
                    self.targets.len() - 1
                }
            };
        }
        self.last_plan = match self.targets[self.last_target].by_type.get(&key) {
            Some(plan) => *plan,
            None => self.compile(shared, asked, key),
        };
        self.last_plan
    }

    #[cold]
    fn compile(&mut self, shared: &Shared, asked: &Asked<'_>, key: u64) -> PlanIndex {
        let configured = shared.cluster.group_of(asked.id);
        let complete = shared.complete(asked);
        let cut = |bytes_max| {
            let size = Size { bytes: Some(bytes_max), fits: true };
            let decision = decide(&complete, size, configured, &self.rules, &mut |_, _| {});
            Cut { bytes_max, fits: Lead::new(decision), oversize: None }
        };
        let cuts: Box<[Cut]> = self.rules.cuts(asked).into_iter().map(cut).collect();
        let targets = cuts.iter().map(|cut| cut.fits.decision.target.as_ref());
        let mut targets = targets.map(|ruled| ruled.unwrap_or(asked.target));
        let by_own_key = targets.any(|target| target.of_own_key().is_some());
        let looks = by_own_key || cuts.len() > 1;
        let index = self.plans.len();
        self.plans.push(Plan { key, target: self.last_target, by_own_key, looks, cuts });
        self.targets[self.last_target].by_type.insert(key, index);
        index
    }

    /// Whether the way depends on the event: how many bytes it has, or its own key.
    #[inline]
    pub(crate) fn looks_at_events(&self, plan: PlanIndex) -> bool {
        self.plans[plan].looks
    }

    /// Whether it depends on the event's own key.
    pub(crate) fn asks_for_key(&self, plan: PlanIndex) -> bool {
        self.plans[plan].by_own_key
    }

    /// Whether it depends on how many bytes an event has.
    pub(crate) fn asks_for_size(&self, plan: PlanIndex) -> bool {
        self.plans[plan].cuts.len() > 1
    }

    /// The way that every event goes by a plan, when nothing of it is to be known before, there is
    /// one, and it is up to date.
    #[inline]
    pub(crate) fn only_way(&self, shared: &Shared, plan: PlanIndex) -> Option<Way> {
        let Plan { looks: false, cuts, .. } = &self.plans[plan] else { return None };
        cuts.first()?.fits.current(shared)?.one()
    }

    /// Where an event of this size goes by a plan; of one that no packet holds if it does not fit.
    #[inline]
    pub(crate) fn ways(
        &mut self,
        shared: &Shared,
        asked: &Asked<'_>,
        of: (PlanIndex, Size),
        memory: (&mut Chooser, &mut Known),
    ) -> Result<Ways, Refused> {
        let lead = self.lead(shared, asked, of);
        if let Some(ways) = lead.current(shared) {
            return Ok(ways.clone());
        }
        lead.look(shared, asked, memory)
    }

    /// What a plan has decided of what is asked, of this size.
    pub(crate) fn decision(
        &mut self,
        shared: &Shared,
        asked: &Asked<'_>,
        of: (PlanIndex, Size),
    ) -> &Decision {
        &self.lead(shared, asked, of).decision
    }

    #[inline]
    fn lead(
        &mut self,
        shared: &Shared,
        asked: &Asked<'_>,
        (plan, size): (PlanIndex, Size),
    ) -> &mut Lead {
        let cuts = &mut self.plans[plan].cuts;
        let bytes = size.bytes.unwrap_or(0);
        let cut = match &mut **cuts {
            [one] => one,
            many => {
                let at = many.partition_point(|cut| cut.bytes_max < bytes);
                &mut many[at]
            }
        };
        if size.fits {
            return &mut cut.fits;
        }
        let configured = shared.cluster.group_of(asked.id);
        let size = Size { bytes: Some(cut.bytes_max), ..size };
        let rules = &self.rules;
        cut.oversize.get_or_insert_with(|| {
            let complete = shared.complete(asked);
            Lead::new(decide(&complete, size, configured, rules, &mut |_, _| {}))
        })
    }
}

impl Decision {
    /// Where a request that travels as `answered` is led to. One node that was asked for is one
    /// node: a request that a rule turned to many would be answered by whoever is first.
    pub(crate) fn ask(
        &self,
        shared: &Shared,
        asked: &Asked<'_>,
        answered: EventTypeId,
        chooser: &mut Chooser,
    ) -> Result<Aim, NoRoute> {
        let target = self.target.as_ref().unwrap_or(asked.target);
        if asked.target.is_single() && !target.is_single() {
            return Err(NoRoute::RequestToMany(target.to_string().into()));
        }
        let led = Asked { target, id: answered, ..*asked };
        lead_to(shared, &led, self.carrier, chooser)
    }
}

impl Lead {
    const fn new(decision: Decision) -> Self {
        Self { decision, members: 0, ways: None }
    }

    /// The ways, if the members are as they were.
    #[inline]
    fn current(&self, shared: &Shared) -> Option<&Ways> {
        self.ways.as_ref().filter(|_| self.members == Chooser::generation(shared))
    }

    /// Looks the ways up, and keeps them where the next call means the same.
    fn look(
        &mut self,
        shared: &Shared,
        asked: &Asked<'_>,
        (chooser, known): (&mut Chooser, &mut Known),
    ) -> Result<Ways, Refused> {
        self.ways = None;
        let members = Chooser::generation(shared);
        shared.name_for_access(asked.id, asked.event_type);
        let target = self.decision.target.as_ref().unwrap_or(asked.target);
        let may_stream = self.decision.may_stream();
        let mut way = |target: &Target| {
            let mut way = known.way(shared, target)?;
            let spill = match (&mut way, target) {
                (Way::Link { spills, .. }, Target::Node(address)) if may_stream => {
                    *spills = true;
                    Spill::ByTcp(*address)
                }
                (Way::Link { spills, .. }, _) if may_stream => {
                    *spills = true;
                    Spill::Anew
                }
                _ => Spill::Refused,
            };
            Ok::<_, Refused>((way, spill))
        };
        let led = Asked { target, ..*asked };
        let ways = match lead_to(shared, &led, self.decision.carrier, chooser)? {
            Aim::One(target) => {
                let (way, spill) = way(&target)?;
                Ways::One(way, spill)
            }
            Aim::Each(targets) => {
                let ways: Arc<[_]> = targets.iter().map(way).collect::<Result<_, _>>()?;
                match *ways {
                    [(way, spill)] => Ways::One(way, spill),
                    _ => Ways::Each(ways),
                }
            }
        };
        if !takes_turns(target) {
            (self.members, self.ways) = (members, Some(ways.clone()));
        }
        Ok(ways)
    }
}

/// Where a decision on what is asked leads now.
pub(crate) fn lead_to(
    shared: &Shared,
    asked: &Asked<'_>,
    carrier: Carrier,
    chooser: &mut Chooser,
) -> Result<Aim, NoRoute> {
    match carrier {
        Carrier::Local => Ok(Aim::One(Target::Local)),
        Carrier::Multicast(group) => Ok(Aim::One(Target::Multicast(group))),
        Carrier::Broadcast(address) => Ok(Aim::One(Target::Broadcast(address))),
        Carrier::Udp | Carrier::Tcp | Carrier::Streaming => {
            chooser.aim(shared, asked, carrier.is_tcp())
        }
    }
}

/// Whether a target may mean another node with each call.
fn takes_turns(target: &Target) -> bool {
    match target {
        Target::Service(..) | Target::AnyOf(_) => true,
        Target::Reliably(target) | Target::Fast(target) => takes_turns(target),
        _ => false,
    }
}

/// The priority's number as a part of a key.
const _: () = assert!((Priority::Background as u64) < 1 << 7);

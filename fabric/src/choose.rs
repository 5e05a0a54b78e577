//! Which member a target by name or service means: pure functions over the table of members, and
//! the memory of a router, which looks at the table again when its generation has changed.

use std::net::SocketAddr;

use wireloom_control::membership::{Member, Table};
use wireloom_wire::EventTypeId;

use crate::config::ServiceChoice;
use crate::outcome::NoRoute;
use crate::select::Asked;
use crate::shared::Shared;
use crate::target::Target;

/// How one of several members that offer a service is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Choice {
    /// As the node is set up: [`NodeBuilder::service_choice`](crate::NodeBuilder::service_choice)
    /// or `services.choice`; one after the other unless told.
    #[default]
    Configured,
    /// One after the other.
    RoundRobin,
    /// The one whose machine has the least load, as it last said.
    LeastLoaded,
    /// The same one for the same key while it is up; when members come and go, as few keys as
    /// possible change theirs (rendezvous hashing, Thaler and Ravishankar 1998).
    Key(u64),
    /// As by [`Choice::Key`], by the key that each event has by itself: that of the field which
    /// `#[event(key = "…")]` names. An event without one is refused.
    OwnKey,
}

/// The members that are up and offer a service, by address.
fn offering(table: &Table, service: &str) -> Vec<(SocketAddr, u32)> {
    let up = table.iter().filter(|member| member.is_up() && member.offers(service));
    up.map(|member| (member.address(), member.record.load_milli)).collect()
}

/// The weight of a member for a key: the highest has it.
fn weight(address: &SocketAddr, key: u64) -> u64 {
    let mut bytes = [0; 26];
    match address.ip() {
        std::net::IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        std::net::IpAddr::V6(ip) => bytes[..16].copy_from_slice(&ip.octets()),
    }
    bytes[16..18].copy_from_slice(&address.port().to_le_bytes());
    bytes[18..].copy_from_slice(&key.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

/// One of `members`; `turn` counts the choices made before.
fn choose(members: &[(SocketAddr, u32)], choice: Told, turn: usize) -> Option<SocketAddr> {
    let chosen = match choice {
        Told::RoundRobin => members.get(turn % members.len().max(1)),
        Told::LeastLoaded => {
            let least = members.iter().map(|(_, load)| load).min()?;
            let idle: Vec<_> = members.iter().filter(|(_, load)| load == least).collect();
            idle.get(turn % idle.len().max(1)).copied()
        }
        Told::Key(key) => members.iter().max_by_key(|(address, _)| weight(address, key)),
    };
    chosen.map(|(address, _)| *address)
}

/// A choice with nothing left open.
#[derive(Debug, Clone, Copy)]
enum Told {
    RoundRobin,
    LeastLoaded,
    Key(u64),
}

/// How a member is chosen for an event of this key; `None` where that needs a key and there is
/// none. A node that was told nothing chooses as it is set up: by hash, all its events go to one
/// member.
fn told(shared: &Shared, choice: Choice, own_key: Option<u64>) -> Option<Told> {
    let configured = || match shared.cluster.joined().map(|joined| joined.choice) {
        Some(ServiceChoice::LeastLoaded) => Told::LeastLoaded,
        Some(ServiceChoice::ConsistentHash) => Told::Key(shared.id().0),
        _ => Told::RoundRobin,
    };
    match choice {
        Choice::Configured => Some(configured()),
        Choice::RoundRobin => Some(Told::RoundRobin),
        Choice::LeastLoaded => Some(Told::LeastLoaded),
        Choice::Key(key) => Some(Told::Key(key)),
        Choice::OwnKey => own_key.map(Told::Key),
    }
}

/// The newest life of the members of this name that are up.
fn named(table: &Table, name: &str) -> Option<SocketAddr> {
    let up = table.iter().filter(|member| member.is_up() && member.name() == name);
    up.max_by_key(|member| member.record.identity.life).map(|member| member.address())
}

/// A router's memory of the table.
#[derive(Debug, Default)]
pub(crate) struct Chooser {
    generation: u64,
    table: Option<Table>,
    turn: usize,
    /// The turn of lists: that of services moves between two calls, by those in the list.
    list_turn: usize,
    /// Whether the target aimed at last is a member that the event's own key has chosen.
    by_own_key: bool,
}

impl Chooser {
    /// The table, looked up again when it has changed: one relaxed load otherwise.
    fn table(&mut self, shared: &Shared) -> Result<Table, NoRoute> {
        let roster = match shared.cluster.joined() {
            Some(joined) => &joined.port.roster,
            None => return Err(NoRoute::NoCluster),
        };
        let generation = roster.generation();
        if let Some(table) = self.table.as_ref().filter(|_| self.generation == generation) {
            return Ok(Table::clone(table));
        }
        self.generation = generation;
        Ok(Table::clone(self.table.insert(roster.table())))
    }

    /// Changes whenever what is resolved may: members, or who may be sent what. Both only grow, so
    /// their sum does; two relaxed loads.
    pub(crate) fn generation(shared: &Shared) -> u64 {
        let members = shared.cluster.joined().map_or(0, |joined| joined.port.roster.generation());
        members.wrapping_add(shared.access.generation())
    }

    /// Whether an event's own key has chosen what [`Chooser::aim`] found last.
    pub(crate) const fn went_by_own_key(&self) -> bool {
        self.by_own_key
    }

    /// Where what is asked goes now: targets with an address.
    pub(crate) fn aim(
        &mut self,
        shared: &Shared,
        asked: &Asked<'_>,
        by_tcp: bool,
    ) -> Result<Aim, NoRoute> {
        self.by_own_key = false;
        match asked.target {
            Target::Interested | Target::Auto => {
                self.interested(shared, asked.id, by_tcp).map(Aim::Each)
            }
            Target::Fast(target) => self.aim(shared, &Asked { target, ..*asked }, false),
            target => self.single(shared, target, (asked.own_key, by_tcp)).map(Aim::One),
        }
    }

    /// The one target with an address that this one means now, for no event in particular: a node
    /// by datagrams unless the target says otherwise.
    pub(crate) fn one(&mut self, shared: &Shared, target: &Target) -> Result<Target, NoRoute> {
        match target.of_own_key() {
            Some(_) => Err(NoRoute::NotOne),
            None => self.single(shared, target, (None, false)),
        }
    }

    /// The one target with an address that this one means now; a node by what carries the event,
    /// unless the target says so itself.
    fn single(
        &mut self,
        shared: &Shared,
        target: &Target,
        (own_key, by_tcp): (Option<u64>, bool),
    ) -> Result<Target, NoRoute> {
        // Of a list, what is tried last is taken.
        self.by_own_key = matches!(target, Target::Service(_, Choice::OwnKey));
        match target {
            Target::Machine(address) => Ok(carried(Target::Node(*address), by_tcp)),
            Target::Named(name) => {
                let found = named(&self.table(shared)?, name);
                let found = found.ok_or_else(|| NoRoute::UnknownName(name.clone()))?;
                Ok(carried(Self::own_or_node(shared, found), by_tcp))
            }
            Target::Service(name, choice) => {
                // A key that is missing is missing in every cluster.
                let told = told(shared, *choice, own_key);
                let told = told.ok_or_else(|| NoRoute::NoKey(name.clone()))?;
                let members = offering(&self.table(shared)?, name);
                self.turn = self.turn.wrapping_add(1);
                let found = choose(&members, told, self.turn);
                let found = found.ok_or_else(|| NoRoute::UnknownService(name.clone()))?;
                Ok(carried(Self::own_or_node(shared, found), by_tcp))
            }
            Target::Reliably(wanted) => match self.single(shared, wanted, (own_key, true)) {
                Ok(Target::Node(address)) => Ok(Target::Reliable(address)),
                Ok(found @ (Target::Reliable(_) | Target::Local)) => Ok(found),
                Ok(_) | Err(NoRoute::NotOne) => Err(NoRoute::NotReliable),
                Err(reason) => Err(reason),
            },
            Target::Fast(wanted) => self.single(shared, wanted, (own_key, false)),
            Target::AnyOf(targets) => self.first_of(shared, targets, (own_key, by_tcp)),
            Target::Interested | Target::Auto => Err(NoRoute::NotOne),
            fixed => Ok(fixed.clone()),
        }
    }

    /// The first of a list that can be reached, beginning with the next one each time.
    fn first_of(
        &mut self,
        shared: &Shared,
        targets: &[Target],
        by: (Option<u64>, bool),
    ) -> Result<Target, NoRoute> {
        let mut last = NoRoute::NoTargets;
        self.list_turn = self.list_turn.wrapping_add(1);
        let turn = self.list_turn;
        for step in 0..targets.len() {
            let found = match &targets[(turn + step) % targets.len()] {
                // One list in another would have two turns.
                Target::AnyOf(_) => Err(NoRoute::NoTargets),
                one => self.single(shared, one, by).and_then(|found| self.up(shared, found)),
            };
            match found {
                Ok(found) => return Ok(found),
                Err(NoRoute::NotOne) => last = NoRoute::NoTargets,
                Err(reason) => last = reason,
            }
        }
        Err(last)
    }

    /// A target whose member is not known to be down.
    fn up(&mut self, shared: &Shared, target: Target) -> Result<Target, NoRoute> {
        let (Target::Node(address) | Target::Reliable(address)) = target else { return Ok(target) };
        let table = self.table(shared).unwrap_or_default();
        let down = |member: &Member| member.address() == address && !member.is_up();
        if table.iter().any(|member| down(member)) {
            return Err(NoRoute::MemberDown(address));
        }
        Ok(target)
    }

    fn own_or_node(shared: &Shared, address: SocketAddr) -> Target {
        let own = shared.cluster.joined().and_then(|joined| joined.announced.first());
        if own.is_some_and(|(own, _)| *own == address) {
            Target::Local
        } else {
            Target::Node(address)
        }
    }

    /// Where events of a type go for [`Target::Interested`]: one target for each node that wants
    /// them, or one group, which only datagrams go to.
    pub(crate) fn interested(
        &mut self,
        shared: &Shared,
        event_type: EventTypeId,
        by_tcp: bool,
    ) -> Result<Vec<Target>, NoRoute> {
        let table = self.table(shared)?;
        let wanting = table.iter().filter(|member| member.is_up() && member.wants(event_type));
        let name = shared.type_name(event_type);
        let may = |member: &Member| {
            member.name() == shared.name()
                || shared.access.may_be_sent(member.name(), name.as_deref())
        };
        let (wanting, barred): (Vec<_>, Vec<_>) = wanting.partition(|member| may(member));
        let targets: Vec<Target> = wanting
            .into_iter()
            .map(|member| carried(Self::own_or_node(shared, member.address()), by_tcp))
            .collect();
        match (targets.len(), shared.cluster.group_of(event_type)) {
            (0, _) => Err(NoRoute::NobodyInterested),
            // The group would reach those who may not have it.
            (2.., Some(group)) if !by_tcp && barred.is_empty() => {
                Ok(vec![Target::Multicast(group)])
            }
            _ => Ok(targets),
        }
    }
}

/// Where an open target leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Aim {
    One(Target),
    /// One copy for each.
    Each(Vec<Target>),
}

/// A node by what carries the event; this process as it is.
fn carried(target: Target, by_tcp: bool) -> Target {
    match target {
        Target::Node(address) if by_tcp => Target::Reliable(address),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(loads: &[u32]) -> Vec<(SocketAddr, u32)> {
        (1..).zip(loads).map(|(last, load)| (([10, 0, 0, last], 9).into(), *load)).collect()
    }

    #[test]
    fn members_take_turns_and_the_idle_ones_go_first() {
        let members = members(&[5, 1, 1]);
        let round: Vec<_> = (0..4).map(|turn| choose(&members, Told::RoundRobin, turn)).collect();
        assert_eq!(round[0], round[3]);
        assert!(round[0] != round[1] && round[1] != round[2] && round[0] != round[2]);
        for turn in 0..4 {
            let idle = choose(&members, Told::LeastLoaded, turn);
            assert_eq!(idle, Some(members[1 + turn % 2].0));
        }
        for choice in [Told::RoundRobin, Told::LeastLoaded, Told::Key(7)] {
            assert_eq!(choose(&[], choice, 3), None);
        }
    }

    #[test]
    fn keys_stay_with_their_member_when_another_goes() {
        let members = members(&[0; 10]);
        let owner = |of: &[(SocketAddr, u32)], key| choose(of, Told::Key(key), 0);
        let mut counts = std::collections::HashMap::new();
        for key in 0..10_000 {
            let before = owner(&members, key).expect("somebody");
            *counts.entry(before).or_insert(0) += 1;
            let after = owner(&members[1..], key);
            assert!(before == members[0].0 || after == Some(before));
        }
        assert!(counts.values().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}

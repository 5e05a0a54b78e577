//! The cluster as a node's user sees it: the members, word of changes, and waiting until those who
//! are needed are there.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wireloom_control::membership::{
    Change, Counts, Member, RecordError, SERVICES_BYTES_MAX, Table,
};
use wireloom_control::mesh::MeshCommand;
use wireloom_wire::EventTypeId;

use crate::node::Node;
use crate::target::Target;

/// What [`Node::ready`] waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    peers: usize,
    services: Vec<String>,
    names: Vec<String>,
    types: Vec<EventTypeId>,
    one_of: Vec<Vec<Self>>,
}

impl Ready {
    /// So many other members are up.
    #[must_use]
    pub const fn peers(peers: usize) -> Self {
        Self {
            peers,
            services: Vec::new(),
            names: Vec::new(),
            types: Vec::new(),
            one_of: Vec::new(),
        }
    }

    /// Each of these services is offered by a member that is up, this node included.
    #[must_use]
    pub fn services<S: Into<String>>(services: impl IntoIterator<Item = S>) -> Self {
        let services = services.into_iter().map(Into::into).collect();
        Self { services, ..Self::default() }
    }

    /// What an event of this type needs before it can go to `target`: the named member is up, the
    /// service is offered, another member wants the type; of a list, this for one of its targets.
    /// Nothing for targets with an address, and for lists with such a one.
    #[must_use]
    pub fn to(target: &Target, event_type: EventTypeId) -> Self {
        match target {
            Target::Named(name) => Self { names: vec![name.to_string()], ..Self::default() },
            Target::Service(name, _) => Self::services([name.to_string()]),
            Target::Interested => Self { types: vec![event_type], ..Self::default() },
            Target::Reliably(target) | Target::Fast(target) => Self::to(target, event_type),
            Target::AnyOf(list) => {
                let each: Vec<Self> = list.iter().map(|of| Self::to(of, event_type)).collect();
                let one_of = if each.iter().any(Self::is_nothing) { vec![] } else { vec![each] };
                Self { one_of, ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.peers = self.peers.max(other.peers);
        self.services.extend(other.services);
        self.names.extend(other.names);
        self.types.extend(other.types);
        self.one_of.extend(other.one_of);
        self
    }

    /// Whether there is nothing to wait for.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What is missing in a table.
    fn missing(&self, table: &Table) -> NotReady {
        let up = table.iter().filter(|member| member.is_up());
        let peers = up.clone().filter(|member| !member.is_self).count();
        let offered = |service: &&String| up.clone().any(|member| member.offers(service));
        let named = |name: &&String| up.clone().any(|member| member.name() == **name);
        let wanted = |event_type: &EventTypeId| {
            up.clone().any(|member| !member.is_self && member.wants(*event_type))
        };
        NotReady {
            peers: self.peers.saturating_sub(peers),
            services: self.services.iter().filter(|of| !offered(of)).cloned().collect(),
            names: self.names.iter().filter(|of| !named(of)).cloned().collect(),
            types: self.types.iter().copied().filter(|of| !wanted(of)).collect(),
            one_of: self.one_of.iter().filter_map(|list| none_of(list, table)).collect(),
            alone: false,
        }
    }
}

/// What is missing for each of a list, when none of them is met.
fn none_of(list: &[Ready], table: &Table) -> Option<Vec<NotReady>> {
    let missing: Vec<NotReady> = list.iter().map(|of| of.missing(table)).collect();
    (!missing.iter().any(NotReady::is_nothing)).then_some(missing)
}

/// What is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotReady {
    /// So many more members.
    pub peers: usize,
    /// These services.
    pub services: Vec<String>,
    /// Members of these names.
    pub names: Vec<String>,
    /// Another member that wants events of these types.
    pub types: Vec<EventTypeId>,
    /// Of each of these lists, one.
    pub one_of: Vec<Vec<Self>>,
    /// The node takes part in no cluster at all.
    pub alone: bool,
}

impl NotReady {
    /// Whether nothing is missing.
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Each thing that is missing, in words.
    fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        if self.peers > 0 {
            parts.push(format!("{} more members must come up", self.peers));
        }
        if !self.services.is_empty() {
            parts.push(format!("nobody offers {}", self.services.join(", ")));
        }
        if !self.names.is_empty() {
            parts.push(format!("no member is called {}", self.names.join(", ")));
        }
        if !self.types.is_empty() {
            parts.push("nobody else has subscribed to the type of the events".to_owned());
        }
        for list in &self.one_of {
            let each: Vec<String> = list.iter().map(|of| of.parts().join(" and ")).collect();
            parts.push(format!("of a list, which needs one: {}", each.join(", ")));
        }
        parts
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.alone {
            return f.write_str(
                "this node takes part in no cluster: give its builder a seed or a discovery group",
            );
        }
        let parts = self.parts().join("; ");
        write!(f, "not ready: {parts}; start them, or check seeds, group and firewall (UDP)")
    }
}

impl std::error::Error for NotReady {}

impl Node {
    /// The members of the cluster, this node among them, by address; the dead are remembered for
    /// two minutes. Empty when the node takes part in none. Costs a lock and a copy of the table.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let Some(joined) = self.shared.cluster.joined() else { return Vec::new() };
        joined.port.roster.table().iter().map(|member| (**member).clone()).collect()
    }

    /// Runs `handler` on the control thread for every member that is up, and then whenever one
    /// comes up, goes down or says something else of itself. It must not wait. False when the node
    /// takes part in no cluster.
    pub fn on_member(&self, handler: impl FnMut(&Change) + Send + 'static) -> bool {
        let joined = self.shared.cluster.joined();
        joined.is_some_and(|joined| joined.command(MeshCommand::OnMember(Box::new(handler))))
    }

    /// Waits until everything in `wanted` is there, `patience` at most.
    ///
    /// # Errors
    /// What is missing still.
    pub fn ready(&self, wanted: &Ready, patience: Duration) -> Result<(), NotReady> {
        let Some(joined) = self.shared.cluster.joined() else {
            return Err(NotReady { alone: true, ..NotReady::default() });
        };
        let roster = &joined.port.roster;
        let until = Instant::now() + patience;
        let (mut generation, mut table) = (roster.generation(), roster.table());
        loop {
            let missing = wanted.missing(&table);
            if missing.is_nothing() {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(missing);
            }
            table = roster.wait(generation, left);
            generation = roster.generation();
        }
    }

    /// Offers these services from now on, instead of those before.
    ///
    /// # Errors
    /// [`RecordError::Services`] when their names have too many bytes together.
    pub fn offer(&self, services: &[&str]) -> Result<(), RecordError> {
        let bytes = services.iter().map(|service| 1 + service.len()).sum();
        if bytes > SERVICES_BYTES_MAX || services.iter().any(|service| service.is_empty()) {
            return Err(RecordError::Services(bytes));
        }
        if let Some(joined) = self.shared.cluster.joined() {
            let services: Vec<String> = services.iter().map(|of| (*of).to_owned()).collect();
            joined.command(MeshCommand::Update(Box::new(|record| record.services = services)));
        }
        Ok(())
    }

    /// The addresses this node announces to its cluster, the chief one first, each with the reason.
    #[must_use]
    pub fn announced(&self) -> Vec<(SocketAddr, String)> {
        self.shared.cluster.joined().map(|joined| joined.announced.clone()).unwrap_or_default()
    }

    /// What the membership agent has counted, refusals by name among it; half a second old.
    #[must_use]
    pub fn cluster_counts(&self) -> Counts {
        self.shared.cluster.joined().map(|joined| joined.port.counts()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let wanted = Ready::peers(2).and(Ready::services(["sum"]));
        let missing = wanted.missing(&Table::default());
        assert_eq!((missing.peers, missing.services.len()), (2, 1));
        let text = missing.to_string();
        assert!(text.contains("2 more members") && text.contains("sum"), "{text}");
    }

    #[test]
    fn a_target_says_what_it_needs() {
        for (target, part) in [
            ("node:desk", "no member is called desk"),
            ("reliable:node:desk", "no member is called desk"),
            ("fast:node:desk", "no member is called desk"),
            ("service:sum", "nobody offers sum"),
            ("interested", "nobody else has subscribed"),
            ("node:desk|service:sum", "no member is called desk, nobody offers sum"),
            ("reliable:(node:desk|service:sum)", "no member is called desk, nobody offers sum"),
        ] {
            let needs = Ready::to(&target.parse().unwrap(), EventTypeId(7));
            let text = needs.missing(&Table::default()).to_string();
            assert!(!needs.is_nothing() && text.contains(part), "{target}: {text}");
        }
        for target in ["udp://127.0.0.1:9", "node:desk|udp://127.0.0.1:9", "local"] {
            let needs = Ready::to(&target.parse().unwrap(), EventTypeId(7));
            assert!(needs.is_nothing(), "{target}: {needs:?}");
        }
    }
}

//! The policy a node has now, and how it reaches its receivers: compiled for the types this node
//! knows and the peers that anything is known of, before a subscription is in any table.
//!
//! Owned by [`Shared`]; control's side of access, every lock on the cold path.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wireloom_dataplane::command::ReceiverCommand;
use wireloom_dataplane::dispatch::{AccessTable, Grant, Rate, Refusals, Refused};
use wireloom_wire::{EventTypeId, NodeId};

use super::{Policy, PolicyMode, Roles, Subject, Verb};
use crate::audit::{Audit, AuditRecord};
use crate::node::Node;
use crate::outcome::AccessError;
use crate::shared::Shared;

/// Who knows which roles nodes have: certificates, or a table in a test.
pub trait RoleSource: Send + Sync {
    /// The roles of a node; `None` of one that nothing is known of.
    fn roles_of(&self, node: NodeId) -> Option<Roles>;

    /// Every node that something is known of. Peers that neither this nor the policy names are
    /// denied all that is not allowed to every node.
    fn nodes(&self) -> Vec<NodeId>;
}

impl RoleSource for BTreeMap<NodeId, Roles> {
    fn roles_of(&self, node: NodeId) -> Option<Roles> {
        self.get(&node).cloned()
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.keys().copied().collect()
    }
}

/// A node's policy and what came of it.
#[derive(Default)]
pub(crate) struct AccessBook {
    generation: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    policy: Option<Policy>,
    roles: Option<Arc<dyn RoleSource>>,
    refusals: Vec<Arc<Refusals>>,
    audit: Audit,
    /// Policies put in force so far, none among them.
    exchanges: u64,
}

impl std::fmt::Debug for AccessBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessBook").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

impl Held {
    fn subject(&self, node: NodeId) -> Subject {
        let roles = self.roles.as_ref().and_then(|source| source.roles_of(node));
        Subject { node: Some(node), roles: roles.unwrap_or_default() }
    }

    /// The peers that get a row of their own.
    fn peers(&self) -> Vec<NodeId> {
        let named = self.policy.iter().flat_map(Policy::nodes).map(NodeId::of_name);
        named.chain(self.roles.iter().flat_map(|source| source.nodes())).collect()
    }

    fn compile(
        &self,
        (policy, refusals): (&Policy, &Arc<Refusals>),
        names: &BTreeMap<EventTypeId, String>,
    ) -> Result<AccessTable, AccessError> {
        let types: Vec<EventTypeId> = names.keys().copied().collect();
        let shadow = policy.mode() == PolicyMode::Shadow;
        let grant = |peer: Option<NodeId>, of: Option<EventTypeId>| {
            let subject = match peer {
                Some(peer) => self.subject(peer),
                None => Subject { node: Some(NodeId(0)), roles: Roles::default() },
            };
            let name = of.and_then(|of| names.get(&of)).map(String::as_str);
            let may = |verb| match name {
                Some(name) => policy.authorise(&subject, verb, name).is_allowed(),
                None => policy.authorises_every_type(&subject, verb),
            };
            let rate = policy.limit(&subject, name);
            let rate =
                rate.map(|limit| Rate { per_second: limit.per_second(), burst: limit.burst() });
            Grant { publish: may(Verb::Publish), request: may(Verb::Request), rate }
        };
        let made = AccessTable::new((shadow, Arc::clone(refusals)), &types, &self.peers(), grant);
        Ok(made?)
    }
}

impl AccessBook {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a policy.
    pub(crate) fn is_asked(&self) -> bool {
        self.held().policy.is_some()
    }

    /// Changes with each exchange; one relaxed load.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// How many policies were put in force so far, and the one that is now.
    pub(crate) fn exchanges(&self) -> (u64, Option<Policy>) {
        let held = self.held();
        (held.exchanges, held.policy.clone())
    }

    /// Refused events that no table had a place for.
    pub(crate) fn refusals_beyond(&self) -> u64 {
        self.held().refusals.iter().map(|table| table.beyond()).sum()
    }

    /// Whether a node may be sent events of a type; in shadow mode everybody may.
    pub(crate) fn may_be_sent(&self, node: &str, type_name: Option<&str>) -> bool {
        let held = self.held();
        let Some(policy) = held.policy.as_ref().filter(|of| of.mode() == PolicyMode::Enforce)
        else {
            return true;
        };
        let subject = held.subject(NodeId::of_name(node));
        match type_name {
            Some(name) => policy.authorise(&subject, Verb::Subscribe, name).is_allowed(),
            None => policy.authorises_every_type(&subject, Verb::Subscribe),
        }
    }
}

impl Shared {
    /// Says who knows the roles of nodes.
    pub(crate) fn roles_from(&self, source: Arc<dyn RoleSource>) -> Result<(), AccessError> {
        self.access.held().roles = Some(source);
        self.compile_access()
    }

    /// Compiles the policy again for what is known now, and gives each receiver its table.
    pub(crate) fn compile_access(&self) -> Result<(), AccessError> {
        let mut held = self.access.held();
        self.give_tables(&mut held)
    }

    fn give_tables(&self, held: &mut Held) -> Result<(), AccessError> {
        self.access.generation.fetch_add(1, Ordering::Relaxed);
        let Some(policy) = held.policy.clone() else {
            return self.each_receiver(|_| Ok(None));
        };
        let names: BTreeMap<EventTypeId, String> = self.known_types().into_iter().collect();
        held.refusals.resize_with(self.receivers(), Arc::default);
        let held = &*held;
        // All are made before any is given.
        let tables = held.refusals.iter().map(|of| held.compile((&policy, of), &names));
        let mut tables: Vec<_> = tables.collect::<Result<_, _>>()?;
        tables.reverse();
        self.each_receiver(|_| Ok(tables.pop().map(Box::new)))
    }

    fn each_receiver(
        &self,
        mut table: impl FnMut(usize) -> Result<Option<Box<AccessTable>>, AccessError>,
    ) -> Result<(), AccessError> {
        for receiver in 0..self.receivers() {
            let command = ReceiverCommand::Access(table(receiver)?);
            self.to_receiver(receiver, command).map_err(|()| AccessError::Stalled)?;
        }
        Ok(())
    }

    /// Who may be sent events of a type is asked by its name, once there was a policy.
    pub(crate) fn name_for_access(&self, id: EventTypeId, name: &str) {
        if self.access.generation() > 0 {
            // Of two names with one id the first stands; the other's events are refused elsewhere.
            let _ = self.know_type(id, name);
        }
    }

    /// What has been refused since an earlier look.
    pub(crate) fn refusals_since(&self, audit: &mut Audit) -> Vec<AuditRecord> {
        let held = self.access.held();
        let record = |(refused, events): (Refused, u64)| {
            let subject = held.subject(refused.source);
            let name = self.type_name(refused.event_type);
            AuditRecord::of((refused, events), held.policy.as_ref(), (&subject, name))
        };
        audit.news(&held.refusals).into_iter().map(record).collect()
    }

    /// Compiles again when there is a policy: a type or peer is new.
    pub(crate) fn refresh_access(&self) -> Result<(), AccessError> {
        let mut held = self.access.held();
        if held.policy.is_none() { Ok(()) } else { self.give_tables(&mut held) }
    }
}

impl Node {
    /// Puts a policy in force, or none, in which case everything is allowed; gives the one before.
    /// Each receiver takes it between two packets. Limits begin with a full burst.
    ///
    /// The policy is about other nodes: events that stay in this process are not asked for.
    /// Without authenticated links a node's id is only what its packets say.
    ///
    /// # Errors
    /// [`AccessError`]; the policy before stays in force then.
    pub fn apply_policy(&self, policy: Option<Policy>) -> Result<Option<Policy>, AccessError> {
        let mut held = self.shared.access.held();
        let before = std::mem::replace(&mut held.policy, policy);
        if let Err(error) = self.shared.give_tables(&mut held) {
            held.policy = before;
            // What was in force before had room.
            let _ = self.shared.give_tables(&mut held);
            return Err(error);
        }
        held.exchanges += 1;
        Ok(before)
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        self.shared.access.held().policy.clone()
    }

    /// Says who knows the roles of nodes; to be called again when they have changed.
    ///
    /// # Errors
    /// As [`Node::apply_policy`].
    pub fn roles_from(&self, source: Arc<dyn RoleSource>) -> Result<(), AccessError> {
        self.shared.roles_from(source)
    }

    /// What has been refused since it was asked last, or would have been: a record for each node,
    /// type and reason, with the line that decided. Costs a look at a table of 1,024 places for
    /// each receiver; ask once a second.
    #[must_use]
    pub fn audit(&self) -> Vec<AuditRecord> {
        let mut audit = std::mem::take(&mut self.shared.access.held().audit);
        let records = self.shared.refusals_since(&mut audit);
        self.shared.access.held().audit = audit;
        records
    }
}

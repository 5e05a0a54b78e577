//! The machine's view of the cluster: the members as the rest of the program sees them, and names
//! that several of them have.

use std::collections::BTreeSet;

use super::machine::{Membership, SHARED_NAME_NS};
use super::member::{Change, Member, MemberState};

impl Membership {
    /// Alarms about names that several members have had for a while.
    pub(super) fn look_at_names(&mut self) {
        let members = self.members();
        let shared: BTreeSet<String> =
            members.iter().filter(|of| of.shares_name).map(|of| of.name().to_owned()).collect();
        let outside_ns = self.clock.outside_ns(0);
        let due = members.iter().filter(|member| !member.is_self && member.is_up());
        let due = due.map(|member| member.since_ns.saturating_sub(outside_ns) + SHARED_NAME_NS);
        self.names_at_ns = due.filter(|due_ns| *due_ns > self.clock.now_ns()).min();
        for name in shared.difference(&self.names_shared) {
            self.entries.changes.push(Change::SharedName(name.clone()));
        }
        self.names_shared = shared;
    }

    /// All members, this node among them, by address.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let mut members = vec![Member {
            record: (*self.own).clone(),
            state: MemberState::Alive,
            refutations: self.refutations,
            since_ns: self.own_since_ns,
            is_self: true,
            shares_name: false,
        }];
        for known in self.foca.iter_membership_state() {
            let Some(entry) = self.entries.by_address.get(&known.id().address) else { continue };
            let Some(record) = &entry.record else { continue };
            let mut record = (**record).clone();
            record.identity = *known.id();
            let state = match known.state() {
                foca::State::Alive => MemberState::Alive,
                foca::State::Suspect => MemberState::Suspect,
                foca::State::Down => MemberState::Down,
            };
            members.push(Member {
                record,
                state,
                refutations: known.incarnation(),
                since_ns: self.clock.outside_ns(entry.since_ns),
                is_self: false,
                shares_name: false,
            });
        }
        members.sort_by_key(Member::address);
        self.mark_shared_names(&mut members);
        members
    }

    fn mark_shared_names(&self, members: &mut [Member]) {
        let now_ns = self.clock.outside_ns(self.clock.now_ns());
        let old = |member: &Member| {
            member.is_self || now_ns.saturating_sub(member.since_ns) >= SHARED_NAME_NS
        };
        let mut counts = std::collections::BTreeMap::<String, u32>::new();
        for member in members.iter().filter(|member| member.is_up() && old(member)) {
            *counts.entry(member.name().to_owned()).or_default() += 1;
        }
        for member in members.iter_mut().filter(|member| member.is_up()) {
            member.shares_name = counts.get(member.name()).is_some_and(|count| *count > 1);
        }
    }
}

//! The machine's view of the cluster: the members as the rest of the program sees them, and names
//! that several of them have.

use std::collections::BTreeSet;

use super::machine::{Membership, NAMES_NS, SHARED_NAME_NS};
use super::member::{Change, Member, MemberState};

impl Membership {
    /// Alarms about names that several members have had for a while. Costs a pass over the table
    /// without a copy, once a second at most: a thousand that join come at a thousand times.
    pub(super) fn look_at_names(&mut self) {
        let shared: BTreeSet<String> = self.shared_names().into_iter().map(str::to_owned).collect();
        let now_ns = self.clock.now_ns();
        let up = self.entries.by_address.values().filter(|entry| entry.up);
        let due = up.map(|entry| entry.since_ns + SHARED_NAME_NS).filter(|due_ns| *due_ns > now_ns);
        self.names_at_ns = due.min().map(|due_ns| due_ns.max(now_ns + NAMES_NS));
        for name in shared.difference(&self.names_shared) {
            self.entries.changes.push(Change::SharedName(name.clone()));
        }
        self.names_shared = shared;
    }

    /// The names that this node and members that have been up for a while have several times.
    fn shared_names(&self) -> BTreeSet<&str> {
        let now_ns = self.clock.now_ns();
        let old =
            self.entries.by_address.values().filter(|entry| {
                entry.up && now_ns.saturating_sub(entry.since_ns) >= SHARED_NAME_NS
            });
        let names = old.filter_map(|entry| entry.record.as_deref()).map(|of| of.name.as_str());
        let mut once = BTreeSet::from([self.own.name.as_str()]);
        names.filter(|name| !once.insert(name)).collect()
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
        let shared = self.shared_names();
        for member in members.iter_mut().filter(|member| member.is_up()) {
            member.shares_name = shared.contains(member.name());
        }
        members
    }
}

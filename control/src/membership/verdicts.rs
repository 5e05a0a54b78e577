//! What the failure detector is known to think of each address, at least. It looks through all its
//! members for each update it is given; most updates of a large cluster are old news, and are left
//! out here for the price of one look-up.
//!
//! What stands here is a lower bound: an update below it changes nothing in the failure detector.

use std::collections::HashMap;
use std::net::SocketAddr;

use foca::{Incarnation, Member, State};

use super::identity::Identity;
use super::settings::MEMBERS_MAX;

/// Ordered as verdicts outdo each other: a later life, then death, then what was said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Verdict {
    identity: Identity,
    rank: u32,
}

const fn rank(incarnation: Incarnation, state: State) -> u32 {
    match state {
        State::Alive => 2 * incarnation as u32,
        State::Suspect => 2 * incarnation as u32 + 1,
        State::Down => u32::MAX,
    }
}

impl Verdict {
    const fn of(update: &Member<Identity>) -> Self {
        Self { identity: *update.id(), rank: rank(update.incarnation(), update.state()) }
    }
}

/// The verdicts by address.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    by_address: HashMap<SocketAddr, Verdict>,
}

impl Verdicts {
    /// Whether this update would change nothing.
    pub(crate) fn is_old(&self, update: &Member<Identity>) -> bool {
        let known = self.by_address.get(&update.id().address);
        known.is_some_and(|known| Verdict::of(update) <= *known)
    }

    /// Whether more is known than this update says.
    pub(crate) fn is_beyond(&self, update: &Member<Identity>) -> bool {
        let known = self.by_address.get(&update.id().address);
        known.is_some_and(|known| *known > Verdict::of(update))
    }

    /// The failure detector has taken this update.
    pub(crate) fn note(&mut self, update: &Member<Identity>) {
        let (address, verdict) = (update.id().address, Verdict::of(update));
        // The failure detector's own table is bounded; to forget a bound is always right.
        if self.by_address.len() >= 2 * MEMBERS_MAX {
            self.by_address.clear();
        }
        let known = self.by_address.entry(address).or_insert(verdict);
        *known = (*known).max(verdict);
    }

    /// The failure detector has forgotten this life, or one before it.
    pub(crate) fn forget(&mut self, identity: Identity) {
        let address = identity.address;
        if self.by_address.get(&address).is_some_and(|known| known.identity <= identity) {
            self.by_address.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom_wire::NodeId;

    fn update(life: u64, incarnation: u16, state: State) -> Member<Identity> {
        let identity = Identity { life, node: NodeId(1), address: ([10, 0, 0, 1], 9).into() };
        Member::new(identity, incarnation, state)
    }

    #[test]
    fn updates_are_old_when_the_failure_detector_would_not_change() {
        use State::{Alive, Down, Suspect};
        // In the order in which each outdoes those before it.
        let order = [
            (1, 0, Alive),
            (1, 0, Suspect),
            (1, 1, Alive),
            (1, 1, Suspect),
            (1, 0, Down),
            (2, 0, Alive),
        ];
        for (at, (life, incarnation, state)) in order.into_iter().enumerate() {
            let mut verdicts = Verdicts::default();
            assert!(!verdicts.is_old(&update(life, incarnation, state)), "nothing is known");
            verdicts.note(&update(life, incarnation, state));
            verdicts.note(&update(1, 0, Alive));
            for (other, (life, incarnation, state)) in order.into_iter().enumerate() {
                let old = verdicts.is_old(&update(life, incarnation, state));
                assert_eq!(old, other <= at, "{other} after {at}");
            }
        }
    }

    #[test]
    fn there_are_so_many_verdicts_at_most() {
        let mut verdicts = Verdicts::default();
        for index in 0..2 * MEMBERS_MAX + 5 {
            let [.., high, low] = u32::try_from(index).expect("few").to_be_bytes();
            let address = ([10, 0, high, low], 9).into();
            verdicts.note(&Member::new(
                Identity { address, ..*update(1, 0, State::Alive).id() },
                0,
                State::Alive,
            ));
            assert!(verdicts.by_address.len() <= 2 * MEMBERS_MAX);
        }
    }

    #[test]
    fn what_is_forgotten_is_news_again() {
        let mut verdicts = Verdicts::default();
        verdicts.note(&update(3, 0, State::Down));
        verdicts.forget(*update(2, 0, State::Down).id());
        assert!(verdicts.is_old(&update(3, 0, State::Alive)), "an earlier life was forgotten");
        verdicts.forget(*update(3, 0, State::Down).id());
        assert!(!verdicts.is_old(&update(3, 0, State::Alive)));
    }
}

//! Members under suspicion, and how long each still has to speak up: the less, the more others
//! suspect it too.
//!
//! Source: "Lifeguard: Local Health Awareness for More Accurate Failure Detection", Dadgar,
//! Phillips, Currey 2017, section 4 (suspicion with a dynamic timeout).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use foca::{Member, State, Timer};

use super::identity::Identity;
use super::verdicts::Verdicts;

/// So many others that suspect a member too leave it the least time.
const AGREEING: usize = 3;

/// What is taken from the time between most and least, in thousandths, when so many (the column) of
/// so many that could (the row) agree: log(agreeing + 1) / log(of + 1).
const SHORTER: [[u64; AGREEING + 1]; AGREEING + 1] =
    [[0; 4], [0, 1_000, 1_000, 1_000], [0, 631, 1_000, 1_000], [0, 500, 792, 1_000]];

/// How long a suspected member may have, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// While nobody else suspects it.
    pub(crate) most_ns: u64,
    /// When [`AGREEING`] others do.
    pub(crate) least_ns: u64,
    /// Others that could.
    pub(crate) others: usize,
}

#[derive(Debug)]
struct Suspicion {
    identity: Identity,
    incarnation: u16,
    begun_ns: u64,
    patience: Patience,
    /// What the failure detector is given at the end; without it we have only heard of it.
    timer: Option<Timer<Identity>>,
    /// Others that suspect it.
    origins: Vec<Identity>,
}

impl Suspicion {
    fn due_ns(&self) -> u64 {
        let Patience { most_ns, least_ns, others } = self.patience;
        let row = SHORTER[others.min(AGREEING)];
        let shorter =
            most_ns.saturating_sub(least_ns) / 1_000 * row[self.origins.len().min(AGREEING)];
        self.begun_ns + most_ns - shorter
    }

    const fn update(&self) -> Member<Identity> {
        Member::new(self.identity, self.incarnation, State::Suspect)
    }
}

/// The suspicions by address; at most one for each member.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    by_address: BTreeMap<SocketAddr, Suspicion>,
}

impl Suspicions {
    /// The suspicion of this life and incarnation, begun now if there is none; `None` when a newer
    /// one is known.
    fn of(
        &mut self,
        (identity, incarnation): (Identity, u16),
        now_ns: u64,
        patience: Patience,
    ) -> Option<&mut Suspicion> {
        let begin = || Suspicion {
            identity,
            incarnation,
            begun_ns: now_ns,
            patience,
            timer: None,
            origins: Vec::new(),
        };
        let known = self.by_address.entry(identity.address).or_insert_with(begin);
        if (known.identity, known.incarnation) < (identity, incarnation) {
            *known = begin();
        }
        ((known.identity, known.incarnation) == (identity, incarnation)).then_some(known)
    }

    /// This node suspects a member: `timer` is to be fired when its time is over. True when it is
    /// news.
    pub(crate) fn begin(
        &mut self,
        suspect: (Identity, u16),
        timer: Timer<Identity>,
        now_ns: u64,
        patience: Patience,
    ) -> bool {
        let Some(suspicion) = self.of(suspect, now_ns, patience) else { return false };
        if suspicion.timer.is_none() {
            (suspicion.begun_ns, suspicion.patience) = (now_ns, patience);
        }
        suspicion.timer.replace(timer).is_none()
    }

    /// `origin` suspects a member too. True when it is news.
    pub(crate) fn agree(
        &mut self,
        suspect: (Identity, u16),
        origin: Identity,
        now_ns: u64,
        patience: Patience,
    ) -> bool {
        let Some(suspicion) = self.of(suspect, now_ns, patience) else { return false };
        // One voice an address: a node that was restarted is no second witness.
        let heard = suspicion.origins.iter().any(|of| of.address == origin.address);
        if heard || suspicion.origins.len() >= AGREEING {
            return false;
        }
        suspicion.origins.push(origin);
        true
    }

    /// The incarnation in which the member at `address` is suspected, if it is.
    pub(crate) fn against(
        &self,
        address: SocketAddr,
        verdicts: &Verdicts,
    ) -> Option<(Identity, u16)> {
        let suspicion = self.by_address.get(&address)?;
        let stands = !verdicts.is_beyond(&suspicion.update());
        stands.then_some((suspicion.identity, suspicion.incarnation))
    }

    /// When the next one ends.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.by_address.values().map(Suspicion::due_ns).min()
    }

    /// Ends those whose time is over, and those that were refuted: the failure detector would call
    /// the latter's members dead to their faces. Gives the timers to fire.
    pub(crate) fn take_due(&mut self, now_ns: u64, verdicts: &Verdicts) -> Vec<Timer<Identity>> {
        let mut due = Vec::new();
        self.by_address.retain(|_, suspicion| {
            let stands = !verdicts.is_beyond(&suspicion.update());
            let over = suspicion.due_ns() <= now_ns;
            if over && stands {
                due.extend(suspicion.timer.take());
            }
            stands && !over
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom_wire::NodeId;

    const PATIENCE: Patience = Patience { most_ns: 6_000, least_ns: 2_000, others: 9 };

    fn member(last: u8) -> Identity {
        Identity { life: 1, node: NodeId(u64::from(last)), address: ([10, 0, 0, last], 1).into() }
    }

    fn timer(incarnation: u16) -> Timer<Identity> {
        Timer::ChangeSuspectToDown { member_id: member(1), incarnation, token: 0 }
    }

    #[test]
    fn each_further_witness_shortens_the_time_and_one_counts_once() {
        let mut suspicions = Suspicions::default();
        assert!(suspicions.begin((member(1), 0), timer(0), 1_000, PATIENCE));
        let mut ends = vec![suspicions.due_ns()];
        for (witness, news) in [(2, true), (2, false), (3, true), (4, true), (5, false)] {
            let heard = suspicions.agree((member(1), 0), member(witness), 1_100, PATIENCE);
            assert_eq!(heard, news, "of {witness}");
            ends.push(suspicions.due_ns());
        }
        let ends: Vec<u64> = ends.into_iter().flatten().collect();
        assert_eq!(ends, [7_000, 5_000, 5_000, 3_832, 3_000, 3_000]);
        let mut restarted = Suspicions::default();
        restarted.agree((member(1), 0), member(2), 0, PATIENCE);
        let again = Identity { life: 2, ..member(2) };
        assert!(!restarted.agree((member(1), 0), again, 0, PATIENCE));
    }

    #[test]
    fn what_was_heard_of_has_its_whole_time_once_this_node_suspects_it_too() {
        let mut suspicions = Suspicions::default();
        let short = Patience { most_ns: 3_000, least_ns: 1_000, ..PATIENCE };
        suspicions.agree((member(1), 0), member(2), 0, short);
        assert_eq!(suspicions.due_ns(), Some(2_000));
        assert!(suspicions.begin((member(1), 0), timer(0), 1_000, PATIENCE));
        assert_eq!(suspicions.due_ns(), Some(5_000), "from now on, with its one witness");
        assert!(!suspicions.begin((member(1), 0), timer(0), 1_500, short), "no news");
        assert_eq!(suspicions.due_ns(), Some(5_000), "it begins once");
    }

    #[test]
    fn a_newer_incarnation_is_suspected_anew() {
        let (mut suspicions, verdicts) = (Suspicions::default(), Verdicts::default());
        suspicions.begin((member(1), 0), timer(0), 0, PATIENCE);
        suspicions.agree((member(1), 0), member(2), 0, PATIENCE);
        assert!(suspicions.begin((member(1), 1), timer(1), 1_000, PATIENCE));
        assert_eq!(suspicions.against(member(1).address, &verdicts), Some((member(1), 1)));
        assert_eq!(suspicions.due_ns(), Some(7_000), "without the witnesses of the older one");
        assert_eq!(suspicions.take_due(7_000, &verdicts), [timer(1)]);
    }

    #[test]
    fn who_is_alone_with_its_suspicion_waits_to_the_end() {
        let mut suspicions = Suspicions::default();
        let alone = Patience { others: 0, ..PATIENCE };
        suspicions.begin((member(1), 0), timer(0), 0, alone);
        suspicions.agree((member(1), 0), member(2), 0, alone);
        assert_eq!(suspicions.due_ns(), Some(6_000));
        assert_eq!(suspicions.take_due(5_999, &Verdicts::default()), []);
        assert_eq!(suspicions.take_due(6_000, &Verdicts::default()), [timer(0)]);
        assert_eq!(suspicions.due_ns(), None);
    }

    #[test]
    fn what_was_refuted_is_not_fired_and_what_was_only_heard_neither() {
        let (mut suspicions, mut verdicts) = (Suspicions::default(), Verdicts::default());
        suspicions.begin((member(1), 0), timer(0), 0, PATIENCE);
        verdicts.note(&Member::new(member(1), 0, State::Suspect));
        assert_eq!(suspicions.against(member(1).address, &verdicts), Some((member(1), 0)));
        verdicts.note(&Member::new(member(1), 1, State::Alive));
        assert_eq!(suspicions.against(member(1).address, &verdicts), None);
        assert_eq!(suspicions.take_due(1, &verdicts), []);
        assert_eq!(suspicions.due_ns(), None, "it is forgotten before its time is over");
        suspicions.agree((member(1), 1), member(2), 9_000, PATIENCE);
        assert!(!suspicions.agree((member(1), 0), member(3), 9_000, PATIENCE), "an older one");
        assert_eq!(suspicions.take_due(20_000, &verdicts), []);
        assert_eq!(suspicions.due_ns(), None, "nothing is kept for ever");
        suspicions.begin((member(2), 0), timer(0), 0, PATIENCE);
        verdicts.note(&Member::new(member(2), 1, State::Alive));
        assert_eq!(suspicions.take_due(20_000, &verdicts), [], "refuted at the last moment");
    }
}

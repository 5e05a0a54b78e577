//! The probe that runs, and the probes this node has been asked to make for others: who is asked
//! and gets no answer from the probed says so; the asking node then knows that it is heard itself.
//!
//! Source: "Lifeguard", Dadgar, Phillips, Currey 2017, section 4 (negative answers, `nack`).

use super::identity::Identity;

/// Probes made for others at a time; further ones are made without a negative answer.
const RELAYS_MAX: usize = 256;

/// This node's probe of one member.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) target: Identity,
    /// Members asked to probe it too.
    asked: Vec<Identity>,
    answered: bool,
}

impl Probe {
    pub(crate) const fn new(target: Identity) -> Self {
        Self { target, asked: Vec::new(), answered: false }
    }

    pub(crate) fn ask(&mut self, member: Identity) {
        self.asked.push(member);
    }

    /// The target has answered, to us or to somebody asked.
    pub(crate) fn answer(&mut self, by: Identity) -> bool {
        self.answered |= by == self.target;
        by == self.target
    }

    /// One that was asked says that it got no answer either. False when it was not asked.
    pub(crate) fn nack(&mut self, by: Identity, target: Identity) -> bool {
        let before = self.asked.len();
        self.asked.retain(|asked| *asked != by || target != self.target);
        self.asked.len() < before
    }

    /// Members that were asked and said nothing at all about a target that did not answer: it may
    /// be us whom nobody hears.
    pub(crate) const fn silent(&self) -> usize {
        if self.answered { 0 } else { self.asked.len() }
    }
}

/// A probe made for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    pub(crate) asker: Identity,
    pub(crate) target: Identity,
    pub(crate) number: u8,
    pub(crate) due_ns: u64,
}

/// The probes made for others that are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    waiting: Vec<Relay>,
}

impl Relays {
    /// False when there are too many.
    pub(crate) fn begin(&mut self, relay: Relay) -> bool {
        let room = self.waiting.len() < RELAYS_MAX;
        if room {
            self.waiting.push(relay);
        }
        room
    }

    /// The target has answered.
    pub(crate) fn answer(&mut self, target: Identity, asker: Identity, number: u8) {
        self.waiting.retain(|one| (one.target, one.asker, one.number) != (target, asker, number));
    }

    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.waiting.iter().map(|relay| relay.due_ns).min()
    }

    pub(crate) fn take_due(&mut self, now_ns: u64) -> Vec<Relay> {
        self.waiting.extract_if(.., |relay| relay.due_ns <= now_ns).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom_wire::NodeId;

    fn member(last: u8) -> Identity {
        Identity { life: 1, node: NodeId(u64::from(last)), address: ([10, 0, 0, last], 1).into() }
    }

    #[test]
    fn only_those_who_were_asked_and_say_nothing_are_silent() {
        let mut probe = Probe::new(member(1));
        for asked in 2..5 {
            probe.ask(member(asked));
        }
        assert_eq!(probe.silent(), 3);
        assert!(probe.nack(member(2), member(1)) && !probe.nack(member(2), member(1)));
        assert!(!probe.nack(member(3), member(9)), "of another probe");
        assert!(!probe.nack(member(9), member(1)), "of somebody not asked");
        assert_eq!(probe.silent(), 2);
        assert!(!probe.answer(member(3)) && probe.answer(member(1)));
        assert_eq!(probe.silent(), 0);
    }

    #[test]
    fn an_answered_relay_is_not_denied_and_there_are_so_many_at_most() {
        let relay = |number| Relay { asker: member(1), target: member(2), number, due_ns: 5 };
        let mut relays = Relays::default();
        assert!(relays.begin(relay(1)) && relays.begin(relay(2)));
        relays.answer(member(2), member(1), 1);
        assert_eq!((relays.due_ns(), relays.take_due(4)), (Some(5), vec![]));
        assert_eq!(relays.take_due(5), [relay(2)]);
        assert_eq!(relays.due_ns(), None);
        assert_eq!((0..=255).filter(|number| relays.begin(relay(*number))).count(), RELAYS_MAX);
        assert!(!relays.begin(relay(0)));
    }
}

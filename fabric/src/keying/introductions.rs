//! Whom this node keeps an authenticated line to, and for how long: who is sent datagrams, who is a
//! member, and for a moment who is said to be there.
//!
//! Sans-IO. Links and members have bounds of their own; what strangers can bring about is bounded
//! here.

use std::collections::HashMap;
use std::net::SocketAddr;

/// How long an address is tried that nothing else speaks for: longer than a handshake may take.
const TRIAL_NS: u64 = 6_000_000_000;
/// Addresses on trial at a time.
const TRIALS_MAX: usize = 256;

/// Why there is to be a line.
#[derive(Debug, Default, Clone, Copy)]
struct Reasons {
    /// Datagrams are sent there; links stay as long as the node does.
    link: bool,
    member: bool,
    trial_until_ns: u64,
}

impl Reasons {
    const fn holds(&self, now_ns: u64) -> bool {
        self.link || self.member || now_ns < self.trial_until_ns
    }
}

/// What links are to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Introduction {
    Introduce(SocketAddr),
    Part(SocketAddr),
}

/// The addresses with a reason.
#[derive(Debug, Default)]
pub(super) struct Introductions {
    wanted: HashMap<SocketAddr, Reasons>,
    on_trial: usize,
    news: Vec<Introduction>,
}

impl Introductions {
    fn reasons(&mut self, address: SocketAddr) -> &mut Reasons {
        self.wanted.entry(address).or_insert_with(|| {
            self.news.push(Introduction::Introduce(address));
            Reasons::default()
        })
    }

    /// Datagrams go there from now on.
    pub(super) fn link(&mut self, address: SocketAddr) {
        self.reasons(address).link = true;
    }

    /// Whether a member is there.
    pub(super) fn member(&mut self, address: SocketAddr, is_up: bool) {
        if is_up {
            self.reasons(address).member = true;
        } else if let Some(reasons) = self.wanted.get_mut(&address) {
            reasons.member = false;
        }
    }

    /// Somebody may be there. False when too many are tried already.
    pub(super) fn attempt(&mut self, address: SocketAddr, now_ns: u64) -> bool {
        if self.wanted.get(&address).is_some_and(|reasons| reasons.holds(now_ns)) {
            return true;
        }
        if self.on_trial >= TRIALS_MAX {
            return false;
        }
        self.on_trial += 1;
        self.reasons(address).trial_until_ns = now_ns + TRIAL_NS;
        true
    }

    /// What links are to be told by now. Looks at every address: seldom.
    pub(super) fn look(&mut self, now_ns: u64) -> Vec<Introduction> {
        let Self { wanted, news, on_trial } = self;
        wanted.retain(|address, reasons| {
            let holds = reasons.holds(now_ns);
            if !holds {
                news.push(Introduction::Part(*address));
            }
            holds
        });
        *on_trial = wanted.values().filter(|of| now_ns < of.trial_until_ns).count();
        std::mem::take(news)
    }

    /// What is new, without a look at the others.
    pub(super) fn news(&mut self) -> Vec<Introduction> {
        std::mem::take(&mut self.news)
    }
}

#[cfg(test)]
mod tests {
    use super::Introduction::{Introduce, Part};
    use super::*;

    fn address(number: u16) -> SocketAddr {
        ([10, 0, 0, 1], number).into()
    }

    #[test]
    fn a_line_is_kept_as_long_as_one_reason_holds() {
        let mut lines = Introductions::default();
        assert!(lines.attempt(address(1), 5));
        assert_eq!(lines.news(), [Introduce(address(1))]);
        lines.member(address(1), true);
        lines.link(address(2));
        assert_eq!(lines.look(TRIAL_NS + 5), [Introduce(address(2))], "a member stays");
        lines.member(address(1), false);
        lines.member(address(3), false);
        assert_eq!(lines.look(TRIAL_NS + 6), [Part(address(1))]);
        assert!(lines.look(u64::MAX).is_empty(), "a link stays");
    }

    #[test]
    fn strangers_bring_about_a_bounded_number_of_attempts() {
        let mut lines = Introductions::default();
        let tried = (0..1_000).filter(|number| lines.attempt(address(*number), 0)).count();
        assert_eq!((tried, lines.news().len()), (TRIALS_MAX, TRIALS_MAX));
        assert!(lines.attempt(address(0), 1), "one that is tried already");
        assert_eq!(lines.look(TRIAL_NS).len(), TRIALS_MAX, "all of them parted");
        assert!(lines.attempt(address(999), TRIAL_NS));
    }
}

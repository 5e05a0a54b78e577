//! The ledger over all three processes: each line is an equation between counts that different
//! processes, or different parts of one, kept for themselves.

use super::Role;
use super::report::{Heard, Published};
use crate::text;

/// One equation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Check {
    node: &'static str,
    /// What there was, and what it was.
    whole: (u64, String),
    /// What became of it.
    parts: Vec<(u64, String)>,
    /// What is behind a difference, where it is known.
    fault: String,
}

impl Check {
    fn new(role: Role, whole: u64, what: &str, parts: &[(u64, &str)]) -> Self {
        let parts = parts.iter().map(|(count, what)| (*count, (*what).to_owned())).collect();
        Self { node: role.node(), whole: (whole, what.to_owned()), parts, fault: String::new() }
    }

    fn and<'a>(mut self, reasons: impl IntoIterator<Item = (&'a String, &'a u64)>) -> Self {
        // Counters name what they count first; here everything is an event.
        let shown = |reason: &str| reason.trim_start_matches("events_").replace('_', " ");
        self.parts.extend(reasons.into_iter().map(|(reason, count)| (*count, shown(reason))));
        self
    }

    /// Whether the two sides are equal.
    pub(super) fn holds(&self) -> bool {
        self.whole.0 == self.parts.iter().map(|(count, _)| count).sum::<u64>()
    }

    /// The equation for a reader.
    pub(super) fn text(&self) -> String {
        let (whole, what) = &self.whole;
        let parts: Vec<String> = self
            .parts
            .iter()
            .map(|(count, what)| format!("{} {what}", text::count(*count)))
            .collect();
        let sign = if self.holds() { "=" } else { "≠" };
        let (parts, fault) = (parts.join(" + "), &self.fault);
        format!("{}  {} {what} {sign} {parts}{fault}", self.node, text::count(*whole))
    }
}

/// Every equation there is. The demonstration succeeds when all hold.
pub(super) fn checks(published: &Published, lines: &Heard, heartbeats: &Heard) -> Vec<Check> {
    let accepted = published.lines_accepted + published.heartbeats_accepted;
    let (to_lines, to_group) = (format!("to {}", Role::Lines.node()), "to the group");
    vec![
        Check::new(
            Role::Publisher,
            published.lines_read,
            "lines read",
            &[(published.lines_accepted, "accepted")],
        )
        .and(&published.refused),
        Check::new(
            Role::Publisher,
            accepted,
            "accepted",
            &[
                (published.lines_sent, &to_lines),
                (published.heartbeats_sent, to_group),
                (published.in_flight, "held"),
            ],
        )
        .and(&published.shed),
        arrived(Role::Lines, published.lines_sent, "lines sent to it", lines),
        arrived(Role::Heartbeats, published.heartbeats_sent, "heartbeats sent to it", heartbeats),
        intact(Role::Lines, lines),
        intact(Role::Heartbeats, heartbeats),
    ]
}

/// What was sent to a listener was delivered, or the listener knows what became of it.
fn arrived(role: Role, sent: u64, what: &str, heard: &Heard) -> Check {
    let mut parts = vec![(heard.taken, "delivered"), (heard.lost, "lost")];
    if heard.before_join > 0 {
        parts.push((heard.before_join, "before the first packet heard"));
    }
    Check::new(role, sent, what, &parts).and(&heard.shed)
}

/// Every event delivered had the content it was published with, and came once and in order.
fn intact(role: Role, heard: &Heard) -> Check {
    let sound = heard.taken.saturating_sub(heard.corrupt + heard.misplaced);
    let mut check = Check::new(role, heard.taken, "delivered", &[(sound, "whole and in order")]);
    if sound != heard.taken {
        let (corrupt, misplaced) = (text::count(heard.corrupt), text::count(heard.misplaced));
        check.fault = format!(" ({corrupt} corrupt, {misplaced} twice or out of order)");
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn good() -> (Published, Heard, Heard) {
        let published = Published {
            lines_read: 12,
            lines_accepted: 10,
            refused: BTreeMap::from([("invalid_utf8".to_owned(), 2)]),
            heartbeats_accepted: 4,
            lines_sent: 10,
            heartbeats_sent: 4,
            ..Published::default()
        };
        let lines = Heard {
            taken: 7,
            lost: 2,
            shed: BTreeMap::from([("events_shed_ring_full".to_owned(), 1)]),
            ..Heard::default()
        };
        (published, lines, Heard { taken: 3, before_join: 1, ..Heard::default() })
    }

    #[test]
    fn a_ledger_with_losses_balances() {
        let (published, lines, heartbeats) = good();
        let checks = checks(&published, &lines, &heartbeats);
        assert!(checks.iter().all(Check::holds), "{checks:#?}");
        assert_eq!(checks[0].text(), "loom-1  12 lines read = 10 accepted + 2 invalid utf8");
        assert_eq!(
            checks[2].text(),
            "loom-2  10 lines sent to it = 7 delivered + 2 lost + 1 shed ring full"
        );
    }

    #[test]
    fn one_event_unaccounted_for_anywhere_breaks_it() {
        type Break = fn(&mut Published, &mut Heard, &mut Heard);
        let breaks: [Break; 8] = [
            |published, _, _| published.lines_read += 1,
            |published, _, _| published.heartbeats_accepted += 1,
            |published, _, _| published.in_flight += 1,
            |_, lines, _| lines.taken -= 1,
            |_, lines, _| lines.lost += 1,
            |_, lines, _| lines.corrupt += 1,
            |_, lines, _| lines.misplaced += 1,
            |_, _, heartbeats| heartbeats.taken += 1,
        ];
        for (index, broken) in breaks.iter().enumerate() {
            let (mut published, mut lines, mut heartbeats) = good();
            broken(&mut published, &mut lines, &mut heartbeats);
            let checks = checks(&published, &lines, &heartbeats);
            let wrong: Vec<&Check> = checks.iter().filter(|check| !check.holds()).collect();
            assert!(!wrong.is_empty(), "{index}");
            assert!(wrong.iter().all(|check| check.text().contains('≠')), "{index}");
        }
    }
}

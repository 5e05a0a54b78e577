//! What became of the lines of one `wireloom pub`, as one JSON object.

use std::collections::BTreeMap;

use serde::Serialize;
use wireloom::{Published, Reliable};

/// The account. What stands beside `accepted` and `refused` is printed only when it is not 0: on a
/// good day the two are all there is.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Lines taken by the node.
    pub(super) accepted: u64,
    /// Lines not taken, by reason.
    refused: BTreeMap<&'static str, u64>,
    /// Accepted and then shed by the sender, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    shed: BTreeMap<&'static str, u64>,
    /// Acknowledged by the other side, of what went by TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<u64>,
    /// Accepted for a reliable target and given up, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    undelivered: BTreeMap<&'static str, u64>,
    /// Accepted and still not sent when the node was closed.
    #[serde(skip_serializing_if = "is_zero")]
    unsent: u64,
    /// Accepted for a reliable target and not acknowledged.
    #[serde(skip)]
    outstanding: u64,
    /// Packets the system would not send.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) datagrams_refused: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Summary {
    /// One more line that was refused.
    pub(super) fn refuse(&mut self, name: &'static str) {
        *self.refused.entry(name).or_default() += 1;
    }

    /// Lines refused, for whatever reason.
    pub(super) fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Takes over what the closed node says.
    pub(super) fn settle(&mut self, published: &Published, datagrams_refused: u64) {
        self.shed.clone_from(&published.shed);
        let gone = published.sent + published.shed.values().sum::<u64>();
        // Copies are sent, not lines: one for each of several members, none for what went by TCP.
        self.unsent = published.accepted.saturating_sub(gone);
        self.datagrams_refused = datagrams_refused;
    }

    /// Takes over what the closed node says of reliable events.
    pub(super) fn settle_reliable(&mut self, reliable: &Reliable) {
        self.delivered = Some(reliable.delivered);
        self.outstanding = reliable.accepted.saturating_sub(reliable.delivered);
        self.undelivered.clone_from(&reliable.undelivered);
    }

    /// Whether every line was accepted and sent; to a reliable target, delivered.
    pub(super) fn is_complete(&self) -> bool {
        let kept = self.shed.is_empty() && self.unsent == 0 && self.datagrams_refused == 0;
        kept && self.outstanding == 0 && self.refused.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_day_has_two_fields() {
        let mut summary = Summary { accepted: 3, ..Summary::default() };
        summary.settle(&Published { accepted: 3, sent: 3, ..Published::default() }, 0);
        assert!(summary.is_complete());
        let json = serde_json::to_string(&summary).unwrap();
        assert_eq!(json, r#"{"accepted":3,"refused":{}}"#);
    }

    #[test]
    fn reliable_lines_are_complete_when_they_are_delivered() {
        let mut summary = Summary { accepted: 3, ..Summary::default() };
        let delivered = Reliable { accepted: 3, delivered: 3, ..Reliable::default() };
        summary.settle_reliable(&delivered);
        assert!(summary.is_complete());
        let json = serde_json::to_string(&summary).unwrap();
        assert_eq!(json, r#"{"accepted":3,"refused":{},"delivered":3}"#);
        let undelivered = BTreeMap::from([("unreachable", 1)]);
        summary.settle_reliable(&Reliable { delivered: 2, undelivered, ..delivered });
        assert!(!summary.is_complete());
        let json = serde_json::to_string(&summary).unwrap();
        let told = r#""delivered":2,"undelivered":{"unreachable":1}"#;
        assert!(json.contains(told), "{json}");
    }

    #[test]
    fn everything_that_went_wrong_is_told_and_makes_it_incomplete() {
        let mut summary = Summary { accepted: 5, ..Summary::default() };
        summary.refuse("malformed");
        summary.refuse("malformed");
        assert!(!summary.is_complete());
        assert_eq!(summary.refused_total(), 2);
        let shed = BTreeMap::from([("events_oversized", 1)]);
        summary.settle(&Published { accepted: 5, sent: 2, shed, ..Published::default() }, 7);
        let json = serde_json::to_string(&summary).unwrap();
        assert_eq!(
            json,
            [
                r#"{"accepted":5,"refused":{"malformed":2},"shed":{"events_oversized":1},"#,
                r#""unsent":2,"datagrams_refused":7}"#,
            ]
            .concat()
        );
        for (sent, refused) in [(2, 0), (3, 1)] {
            let mut summary = Summary { accepted: 3, ..Summary::default() };
            let published = Published { accepted: 3, sent, ..Published::default() };
            summary.settle(&published, refused);
            assert!(!summary.is_complete(), "{sent} sent, {refused} refused");
        }
    }
}

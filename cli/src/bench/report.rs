//! What a run found: one JSON object, or a table for people.
//!
//! Every field stands in every mode of the generator; what a mode does not have is `null`. The
//! method behind each figure: `bench/README.md`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use wireloom::{Ledger, Published};

use super::figures::{BySide, Percentiles};
use super::machine::Machine;
use super::peer::Account;
use super::table::table;
use crate::output::Output;

/// The figures of one run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// `udp`, `multicast`, `tcp`, `local`, `ring` or `idle`.
    pub(super) bench: &'static str,
    /// Length of the measured part, in seconds.
    pub(super) seconds: f64,
    /// Events a second asked for; `null` is as fast as it goes.
    pub(super) rate: Option<f64>,
    /// What the handler counted: whole events, each once, by the second of the measured part.
    pub(super) delivered_per_s: f64,
    /// Accepted and acknowledged within the slices, by the second from a slice's first event to its
    /// last acknowledgement; reliable events only.
    pub(super) acknowledged_per_s: Option<f64>,
    /// Acknowledged over the whole run; reliable events only.
    pub(super) acknowledged: Option<u64>,
    /// Accepted by the publishing node, over the whole run.
    pub(super) published: u64,
    /// Counted by the handler, over the whole run.
    pub(super) delivered: u64,
    /// Published and never handled.
    pub(super) lost: u64,
    /// Handled again.
    pub(super) duplicated: u64,
    /// Handled, but the hash is not that of the bytes.
    pub(super) corrupt: u64,
    /// Handled after a later one.
    pub(super) late: u64,
    /// Refused to the publisher because its ring was full, and offered again.
    pub(super) refused: u64,
    /// Archived length of one event, exactly.
    pub(super) payload_bytes: usize,
    /// The same with its header, as it lies in rings and packets.
    pub(super) frame_bytes: usize,
    /// Largest packet asked for.
    pub(super) packet_bytes: Option<usize>,
    /// The bare loop of the same frames in this run, events a second (median of its slices).
    pub(super) raw_ceiling_per_s: Option<f64>,
    /// `delivered_per_s` / `raw_ceiling_per_s`; not with a rate, which is what was asked for.
    pub(super) ratio_to_raw: Option<f64>,
    /// The bare loop that writes every event and hashes every packet, and whose receiver verifies
    /// each: events a second (median of its slices).
    pub(super) checked_ceiling_per_s: Option<f64>,
    /// `delivered_per_s` / `checked_ceiling_per_s`; not with a rate.
    pub(super) ratio_to_checked: Option<f64>,
    /// `off`, `integrity` or `full`.
    pub(super) security: &'static str,
    /// The same events in clear, in slices between those of the sealed ones: events a second.
    pub(super) clear_per_s: Option<f64>,
    /// `delivered_per_s` / `clear_per_s`.
    pub(super) ratio_to_clear: Option<f64>,
    /// Each slice in clear.
    pub(super) clear_slices_per_s: Vec<f64>,
    /// The naive loops of the ring's run, by name.
    pub(super) naive_per_s: BTreeMap<&'static str, f64>,
    /// Each slice of the product, events a second.
    pub(super) slices_per_s: Vec<f64>,
    /// Each slice of the bare loop.
    pub(super) raw_slices_per_s: Vec<f64>,
    /// Each slice of the checked bare loop.
    pub(super) checked_slices_per_s: Vec<f64>,
    /// CPU seconds, user and system, of all processes for a million delivered events.
    pub(super) cpu_s_per_million: Option<f64>,
    /// Share of one core by process, in the measured part.
    pub(super) cpu_percent: BySide<f64>,
    /// Peak resident memory by process.
    pub(super) peak_rss_bytes: BySide<u64>,
    /// From publishing to the handler; with a rate only.
    pub(super) latency_us: Option<Percentiles>,
    /// How much later than its schedule the generator published; with a rate only.
    pub(super) publish_lag_us: Option<Percentiles>,
    /// Whether the ledgers of both nodes balance, alone and against each other.
    pub(super) ledger_balanced: Option<bool>,
    /// The numbers of that balance.
    pub(super) ledger: Option<CrossLedger>,
    /// `adaptive` or `spin`.
    pub(super) idle: &'static str,
    /// `publisher`, `router` or `route`.
    pub(super) via: &'static str,
    /// `auto`, `mio` or `uring`, as asked; what could not be had stands in the notes.
    pub(super) io: &'static str,
    /// Cores the sides were pinned to, publisher first; empty: not pinned.
    pub(super) cores: Vec<usize>,
    /// What the system did not grant.
    pub(super) notes: Vec<String>,
    /// Counters of the receiving node that are not zero.
    pub(super) counters: BTreeMap<String, u64>,
    /// Where it was measured.
    pub(super) machine: Machine,
}

/// One publisher's and one receiver's account side by side, in events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct CrossLedger {
    /// Taken by the publishing node.
    pub(super) accepted: u64,
    /// Shed by its sender, with a reason of its own ledger.
    pub(super) shed: u64,
    /// Handed to the kernel; reliable ones: acknowledged.
    pub(super) sent: u64,
    /// In packets the receiving node accepted.
    pub(super) received: u64,
    /// Missing between those packets, as the receiving node saw it.
    pub(super) lost: u64,
    /// Sent before the receiving node first heard the stream.
    pub(super) before_join: u64,
    /// Taken by the receiving node's handler.
    pub(super) delivered: u64,
    /// What the handler itself counted, whole or not.
    pub(super) handled: u64,
    /// `sent` less everything the receiver accounts for; 0 when balanced.
    pub(super) unaccounted: i64,
}

/// What a node's publishers handed over and what became of it, by datagram and reliably together.
pub(super) fn carried(ledger: &Ledger) -> Published {
    let (reliable, mut all) = (&ledger.reliable, ledger.published.clone());
    all.accepted += reliable.accepted;
    all.sent += reliable.delivered;
    all.in_flight += reliable.in_flight;
    for (reason, events) in &reliable.undelivered {
        *all.shed.entry(reason).or_default() += events;
    }
    all
}

impl CrossLedger {
    /// What one node sent beside what others received, settled.
    pub(super) fn between(published: &Published, account: &Account) -> (Self, bool) {
        Self {
            accepted: published.accepted,
            shed: published.shed.values().sum(),
            sent: published.sent,
            received: account.received,
            lost: account.lost,
            before_join: account.before_join,
            delivered: account.delivered,
            handled: account.counts.handled(),
            unaccounted: 0,
        }
        .settle()
    }

    /// Fills in what is left over, and says whether nothing is.
    pub(super) fn settle(mut self) -> (Self, bool) {
        let seen = self.received + self.lost + self.before_join;
        self.unaccounted = self.sent.cast_signed().wrapping_sub(seen.cast_signed());
        let balanced = self.accepted == self.sent + self.shed
            && self.unaccounted == 0
            && self.received == self.delivered
            && self.delivered == self.handled;
        (self, balanced)
    }
}

impl Report {
    /// A report in which nothing was measured yet.
    pub(super) fn new(bench: &'static str) -> Self {
        Self {
            bench,
            seconds: 0.0,
            rate: None,
            delivered_per_s: 0.0,
            acknowledged_per_s: None,
            acknowledged: None,
            published: 0,
            delivered: 0,
            lost: 0,
            duplicated: 0,
            corrupt: 0,
            late: 0,
            refused: 0,
            payload_bytes: 0,
            frame_bytes: 0,
            packet_bytes: None,
            raw_ceiling_per_s: None,
            ratio_to_raw: None,
            checked_ceiling_per_s: None,
            ratio_to_checked: None,
            security: "off",
            clear_per_s: None,
            ratio_to_clear: None,
            clear_slices_per_s: Vec::new(),
            naive_per_s: BTreeMap::new(),
            slices_per_s: Vec::new(),
            raw_slices_per_s: Vec::new(),
            checked_slices_per_s: Vec::new(),
            cpu_s_per_million: None,
            cpu_percent: BySide::new(),
            peak_rss_bytes: BySide::new(),
            latency_us: None,
            publish_lag_us: None,
            ledger_balanced: None,
            ledger: None,
            idle: "adaptive",
            via: "publisher",
            io: "auto",
            cores: Vec::new(),
            notes: Vec::new(),
            counters: BTreeMap::new(),
            machine: Machine::read(),
        }
    }
}

impl Findings for Report {
    fn is_sound(&self) -> bool {
        // Nothing that was accepted reliably may be missing or out of order.
        let complete = self.acknowledged.is_none() || self.lost + self.late == 0;
        let whole = self.corrupt == 0 && self.duplicated == 0;
        whole && complete && self.ledger_balanced != Some(false)
    }

    fn table(&self, output: &Output) -> String {
        table(self, output)
    }
}

/// What a mode found.
pub(super) trait Findings: Serialize {
    /// False when the run found a fault: a damaged or repeated event, or an account that is open.
    fn is_sound(&self) -> bool;

    /// A table for people, without the last line break.
    fn table(&self, output: &Output) -> String;

    /// Prints it: one line of JSON, or the table. Gives the exit status of the command.
    fn print(&self, output: &Output, json: bool) -> Result<ExitCode>
    where
        Self: Sized,
    {
        if json {
            output.json(self)?;
        } else {
            output.line(self.table(output))?;
        }
        Ok(if self.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: CrossLedger = CrossLedger {
        accepted: 100,
        shed: 1,
        sent: 99,
        received: 90,
        lost: 7,
        before_join: 2,
        delivered: 90,
        handled: 90,
        unaccounted: 0,
    };

    #[test]
    fn a_ledger_balances_only_when_every_event_is_somewhere() {
        assert_eq!(CLOSED.settle(), (CLOSED, true));
        let (open, balanced) =
            CrossLedger { received: 89, delivered: 89, handled: 89, ..CLOSED }.settle();
        assert!(!balanced);
        assert_eq!(open.unaccounted, 1);
        assert_eq!(CrossLedger { lost: 9, ..CLOSED }.settle().0.unaccounted, -2);
        for open in [
            CrossLedger { accepted: 101, ..CLOSED },
            CrossLedger { handled: 91, ..CLOSED },
            CrossLedger { delivered: 89, ..CLOSED },
        ] {
            assert!(!open.settle().1, "{open:?}");
        }
    }

    #[test]
    fn a_damaged_or_repeated_event_makes_a_run_unsound_and_loss_does_not() {
        let sound = Report { lost: 5, ..Report::new("udp") };
        assert!(sound.is_sound());
        let reliable = Report { acknowledged: Some(1), ..Report::new("tcp") };
        assert!(reliable.is_sound());
        assert!(!Report { lost: 1, ..reliable.clone() }.is_sound());
        assert!(!Report { late: 1, ..reliable }.is_sound());
        assert!(!Report { corrupt: 1, ..sound.clone() }.is_sound());
        assert!(!Report { duplicated: 1, ..sound.clone() }.is_sound());
        assert!(!Report { ledger_balanced: Some(false), ..sound }.is_sound());
    }

    #[test]
    fn the_fields_of_the_published_format_are_there() {
        let json = serde_json::to_value(Report::new("udp")).unwrap();
        for field in [
            "delivered_per_s",
            "lost",
            "duplicated",
            "corrupt",
            "payload_bytes",
            "raw_ceiling_per_s",
            "ratio_to_raw",
            "checked_ceiling_per_s",
            "ratio_to_checked",
            "cpu_s_per_million",
            "peak_rss_bytes",
            "latency_us",
            "ledger_balanced",
            "machine",
        ] {
            assert!(json.get(field).is_some(), "{field}");
        }
    }
}

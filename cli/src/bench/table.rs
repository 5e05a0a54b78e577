//! A run's figures as a table for people.

use std::fmt::Write as _;

use super::figures::Percentiles;
use super::machine::Machine;
use super::report::Report;
use crate::output::{Output, Style};
use crate::text::{bytes, count};

/// The table, without the last line break.
pub(super) fn table(report: &Report, output: &Output) -> String {
    let title =
        format!("{} for {:.1} s, {} bytes", report.bench, report.seconds, report.payload_bytes);
    let mut table = Table::new(&title, output);
    if report.bench != "idle" {
        rates(report, &mut table);
    }
    for (side, percent) in &report.cpu_percent {
        table.row(&format!("cpu, {side}"), &format!("{percent:.2} % of a core"));
    }
    if let Some(seconds) = report.cpu_s_per_million {
        table.row("cpu, both sides", &format!("{seconds:.4} s per million events"));
    }
    for (side, peak) in &report.peak_rss_bytes {
        table.row(&format!("peak memory, {side}"), &bytes(*peak));
    }
    table.percentiles("latency", report.latency_us.as_ref());
    table.percentiles("published late by", report.publish_lag_us.as_ref());
    if let Some(balanced) = report.ledger_balanced {
        table.ledger(balanced, output);
    }
    table.end(&report.notes, &report.machine)
}

/// What was delivered, beside what it is compared with.
fn rates(report: &Report, table: &mut Table) {
    if let Some(rate) = report.acknowledged_per_s {
        table.row("acknowledged", &per_s(rate));
    }
    table.row("delivered", &per_s(report.delivered_per_s));
    for (name, ceiling, ratio) in [
        ("bare loop, same frames", report.raw_ceiling_per_s, report.ratio_to_raw),
        ("events in clear", report.clear_per_s, report.ratio_to_clear),
        ("the same, all checked", report.checked_ceiling_per_s, report.ratio_to_checked),
    ] {
        let Some(ceiling) = ceiling else { continue };
        let share = match ratio {
            Some(ratio) => format!("delivered: {:.0} % of it", ratio * 100.0),
            None => "as fast as it goes, not at the rate".to_owned(),
        };
        table.row(name, &format!("{} ({share})", per_s(ceiling)));
    }
    for (name, rate) in &report.naive_per_s {
        table.row(&format!("naive: {name}"), &per_s(*rate));
    }
    for (name, number) in [
        ("published", report.published),
        ("delivered", report.delivered),
        ("lost", report.lost),
        ("duplicated", report.duplicated),
        ("corrupt", report.corrupt),
    ] {
        table.row(name, &count(number));
    }
    if let Some(acknowledged) = report.acknowledged {
        table.row("out of order", &count(report.late));
        table.row("acknowledged", &count(acknowledged));
    }
}

/// Lines of a name and what is to be said of it, below a title.
pub(super) struct Table {
    text: String,
}

impl Table {
    pub(super) fn new(title: &str, output: &Output) -> Self {
        Self { text: output.paint(Style::Bold, title) + "\n" }
    }

    pub(super) fn row(&mut self, name: &str, value: &str) {
        self.line(&format!("{name:<24} {value}"));
    }

    /// A line of another form.
    pub(super) fn line(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "  {text}");
    }

    /// A distribution, if there is one.
    pub(super) fn percentiles(&mut self, name: &str, times: Option<&Percentiles>) {
        if let Some(Percentiles { p50, p99, p99_9, max, .. }) = times {
            let text = format!("p50 {p50:.1} µs, p99 {p99:.1}, p99.9 {p99_9:.1}, max {max:.1}");
            self.row(name, &text);
        }
    }

    pub(super) fn ledger(&mut self, balanced: bool, output: &Output) {
        let (style, word) = if balanced { (Style::Good, "balanced") } else { (Style::Bad, "OPEN") };
        self.row("ledger", &output.paint(style, word));
    }

    /// What stands below every table; gives the whole text.
    pub(super) fn end(mut self, notes: &[String], machine: &Machine) -> String {
        for note in notes {
            self.row("note", note);
        }
        let cores = format!("{}, {} cores, Linux {}", machine.cpu, machine.cores, machine.kernel);
        self.row("machine", &cores);
        self.text.trim_end().to_owned()
    }
}

/// A rate as people read it.
pub(super) fn per_s(rate: f64) -> String {
    match rate {
        r if r >= 1e6 => format!("{:.2} M/s", r / 1e6),
        r if r >= 1e4 => format!("{:.1} k/s", r / 1e3),
        r => format!("{r:.0}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_well() {
        assert_eq!(per_s(23_456_789.0), "23.46 M/s");
        assert_eq!(per_s(123_456.0), "123.5 k/s");
        assert_eq!(per_s(980.4), "980/s");
    }
}

//! What one event costs its sender as publishers, registered types and subscribers become more.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::fan::{Account, Cost, Fan, LocalFan, Shape};
use super::figures::{median, rounded};
use super::machine::Machine;
use super::place::{Place, PlaceArgs, measured_ns};
use super::report::Findings;
use super::table::Table;
use crate::output::Output;
use crate::text::count;
use crate::values::duration;

/// Events of a round: most of what the sender takes in a duty cycle.
const ROUND_EVENTS: u64 = 512;
/// Times all rows are gone through; a row is the median.
const ROUNDS: usize = 5;
/// What a flat cost may rise by.
const FLAT: f64 = 1.1;

const PUBLISHERS: [usize; 4] = [1, 2, 4, 8];
const TYPES: [usize; 4] = [1, 10, 100, 1_000];
const SUBSCRIBERS: [usize; 4] = [1, 4, 16, 64];

/// Options of the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct ScaleArgs {
    /// How long a slice is; each of the twelve rows has five
    #[arg(long, value_name = "TIME", default_value = "400ms", value_parser = duration)]
    duration: Duration,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

/// What carries the events of a row.
enum Way {
    Network(Box<Fan>),
    Local(Box<LocalFan>),
}

/// One row while it is measured.
struct Measured {
    kind: &'static str,
    count: usize,
    way: Way,
    costs: Vec<f64>,
}

/// One row.
#[derive(Debug, Serialize)]
struct Row {
    /// `publishers`, `types` or `subscribers`.
    kind: &'static str,
    count: usize,
    /// Median of the slices: the sender's; for types the whole way to the handler.
    ns_per_event: f64,
    /// By the first row of the kind.
    ratio: f64,
    slices_ns_per_event: Vec<f64>,
}

/// The figures of one run.
#[derive(Debug, Serialize)]
pub(super) struct Scale {
    bench: &'static str,
    rows: Vec<Row>,
    /// By kind: whether no ratio is above 1.1.
    flat: BTreeMap<&'static str, bool>,
    /// Handler calls that were due, and those that never came.
    published: u64,
    lost: u64,
    duplicated: u64,
    corrupt: u64,
    ledger_balanced: bool,
    cores: Vec<usize>,
    machine: Machine,
}

/// Runs the mode.
pub(super) fn run(args: &ScaleArgs, output: &Output) -> Result<Scale> {
    let place = Place::check(&args.place)?;
    let slice_ns = measured_ns(args.duration)?;
    let mut found = Scale {
        bench: "scale",
        rows: Vec::new(),
        flat: BTreeMap::new(),
        published: 0,
        lost: 0,
        duplicated: 0,
        corrupt: 0,
        ledger_balanced: true,
        cores: place.cores.clone(),
        machine: Machine::read(),
    };
    let mut rows = start(&place)?;
    for row in &mut rows {
        row.way.slice(slice_ns.min(50_000_000))?;
    }
    for round in 1..=ROUNDS {
        for row in &mut rows {
            output.progress(&format!("round {round} of {ROUNDS}, {} {}", row.count, row.kind));
            row.costs.push(row.way.slice(slice_ns)?.sender_ns_per_event);
        }
    }
    output.progress("");
    for row in rows {
        found.add(row)?;
    }
    Ok(found)
}

/// All rows, ready to go; those whose turn it is not rest.
fn start(place: &Place) -> Result<Vec<Measured>> {
    let network =
        |shape| Fan::start(place, shape, ROUND_EVENTS).map(|fan| Way::Network(Box::new(fan)));
    let mut rows = Vec::new();
    let mut add = |kind, count, way| rows.push(Measured { kind, count, way, costs: Vec::new() });
    for count in PUBLISHERS {
        add("publishers", count, network(Shape::Publishers(count))?);
    }
    for count in TYPES {
        add("types", count, Way::Local(Box::new(LocalFan::start(place, count)?)));
    }
    for count in SUBSCRIBERS {
        add("subscribers", count, network(Shape::Handlers(count))?);
    }
    Ok(rows)
}

impl Way {
    fn slice(&mut self, for_ns: u64) -> Result<Cost> {
        match self {
            Self::Network(fan) => fan.slice(for_ns),
            Self::Local(fan) => fan.slice(for_ns),
        }
    }

    fn finish(self) -> Result<Account> {
        match self {
            Self::Network(fan) => fan.finish(),
            Self::Local(fan) => Ok(fan.finish()),
        }
    }
}

impl Scale {
    fn add(&mut self, row: Measured) -> Result<()> {
        let account = row.way.finish()?;
        self.published += account.published;
        self.lost += account.lost;
        self.duplicated += account.counts.duplicated;
        self.corrupt += account.counts.corrupt;
        self.ledger_balanced &= account.is_balanced;
        let ns_per_event = median(&row.costs).unwrap_or(0.0);
        let first = self.rows.iter().find(|other| other.kind == row.kind);
        let ratio = first.map_or(1.0, |first| ns_per_event / first.ns_per_event);
        *self.flat.entry(row.kind).or_insert(true) &= ratio <= FLAT;
        self.rows.push(Row {
            kind: row.kind,
            count: row.count,
            ns_per_event: rounded(ns_per_event),
            ratio: rounded(ratio),
            slices_ns_per_event: row.costs.into_iter().map(rounded).collect(),
        });
        Ok(())
    }
}

impl Findings for Scale {
    fn is_sound(&self) -> bool {
        self.corrupt == 0 && self.duplicated == 0 && self.ledger_balanced
    }

    fn table(&self, output: &Output) -> String {
        let mut table = Table::new("scale, 64 bytes", output);
        table.line("what becomes more        ns an event   by the first");
        for row in &self.rows {
            table.line(&format!(
                "{:<14} {:>9} {:>11.1} {:>14.2}",
                row.kind,
                count(row.count as u64),
                row.ns_per_event,
                row.ratio
            ));
        }
        for (kind, is_flat) in &self.flat {
            let verdict = if *is_flat { "flat within 10 %" } else { "not flat" };
            table.row(kind, verdict);
        }
        for (name, number) in
            [("lost", self.lost), ("duplicated", self.duplicated), ("corrupt", self.corrupt)]
        {
            table.row(name, &count(number));
        }
        table.ledger(self.ledger_balanced, output);
        table.end(&[], &self.machine)
    }
}

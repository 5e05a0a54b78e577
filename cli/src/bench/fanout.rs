//! One event to many subscribers: what each more costs the sender and the receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::fan::{Account, Cost, Fan, Shape};
use super::figures::{line, median, real, rounded};
use super::machine::Machine;
use super::place::{Place, PlaceArgs, measured_ns};
use super::report::Findings;
use super::table::{Table, per_s};
use crate::output::Output;
use crate::text::count;
use crate::values::duration;

/// Events of a round for each target: few, so that a round of many targets is over before the
/// machine interrupts it.
const ROUND_EVENTS: u64 = 128;
/// Slices of a row, of which the median counts.
const SLICES: u64 = 5;

/// A way to many, by name, for so many.
type Way = (&'static str, fn(usize) -> Shape);

const WAYS: [Way; 3] =
    [("handlers", Shape::Handlers), ("unicast", Shape::Targets), ("multicast", Shape::Group)];

/// Options of the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct FanoutArgs {
    /// The most subscribers: 1 to 64; rows are 1, 2, 4, … up to it
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    subscribers: u16,
    /// How long to measure each row
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    duration: Duration,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

/// One way to so many subscribers.
#[derive(Debug, Serialize)]
struct Row {
    way: &'static str,
    subscribers: usize,
    /// Medians of the row's slices.
    sender_ns_per_event: f64,
    receiver_ns_per_event: f64,
    receiver_ns_per_delivery: f64,
    /// What the receiving loop can deliver: by the time it was busy.
    deliveries_per_s: f64,
    events: u64,
    /// Handler calls that were due.
    deliveries_due: u64,
    lost: u64,
}

impl Row {
    fn new(way: &'static str, subscribers: usize, costs: &[Cost], account: &Account) -> Self {
        let middle =
            |of: fn(&Cost) -> f64| median(&costs.iter().map(of).collect::<Vec<_>>()).unwrap_or(0.0);
        let receiver_ns = middle(|cost| cost.receiver_ns_per_event);
        let each_ns = receiver_ns / real(subscribers as u64);
        Self {
            way,
            subscribers,
            sender_ns_per_event: rounded(middle(|cost| cost.sender_ns_per_event)),
            receiver_ns_per_event: rounded(receiver_ns),
            receiver_ns_per_delivery: rounded(each_ns),
            deliveries_per_s: if each_ns > 0.0 { (1e9 / each_ns).round() } else { 0.0 },
            events: costs.iter().map(|cost| cost.events).sum(),
            deliveries_due: costs.iter().map(|cost| cost.deliveries).sum(),
            lost: account.lost,
        }
    }
}

/// The straight lines nearest to the rows of one way: ns for each subscriber more.
#[derive(Debug, Clone, Copy, Serialize)]
struct Slopes {
    sender_ns_per_subscriber: f64,
    sender_ns_fixed: f64,
    receiver_ns_per_subscriber: f64,
    receiver_ns_fixed: f64,
}

/// The figures of one run.
#[derive(Debug, Serialize)]
pub(super) struct Fanout {
    bench: &'static str,
    rows: Vec<Row>,
    /// By way; not there when there is one row only.
    slopes: BTreeMap<&'static str, Slopes>,
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
pub(super) fn run(args: &FanoutArgs, output: &Output) -> Result<Fanout> {
    let place = Place::check(&args.place)?;
    let slice_ns = measured_ns(args.duration)?.div_ceil(SLICES);
    let mut found = Fanout {
        bench: "fanout",
        rows: Vec::new(),
        slopes: BTreeMap::new(),
        published: 0,
        lost: 0,
        duplicated: 0,
        corrupt: 0,
        ledger_balanced: true,
        cores: place.cores.clone(),
        machine: Machine::read(),
    };
    let most = usize::from(args.subscribers);
    let mut counts: Vec<usize> = (0..7).map(|power| 1 << power).filter(|n| *n < most).collect();
    counts.push(most);
    for (way, shape) in WAYS {
        for subscribers in &counts {
            output.progress(&format!("{way}, {subscribers} of {most}"));
            let mut fan = Fan::start(&place, shape(*subscribers), ROUND_EVENTS)?;
            fan.slice(slice_ns.min(50_000_000))?;
            let costs: Vec<Cost> =
                (0..SLICES).map(|_| fan.slice(slice_ns)).collect::<Result<_>>()?;
            let account = fan.finish()?;
            found.rows.push(Row::new(way, *subscribers, &costs, &account));
            found.add(&account);
        }
        found.slopes.extend(found.slopes_of(way).map(|slopes| (way, slopes)));
    }
    output.progress("");
    Ok(found)
}

impl Fanout {
    fn add(&mut self, account: &Account) {
        self.published += account.published;
        self.lost += account.lost;
        self.duplicated += account.counts.duplicated;
        self.corrupt += account.counts.corrupt;
        self.ledger_balanced &= account.is_balanced;
    }

    fn slopes_of(&self, way: &str) -> Option<Slopes> {
        let along = |of: fn(&Row) -> f64| {
            let rows = self.rows.iter().filter(|row| row.way == way);
            let points: Vec<_> = rows.map(|row| (real(row.subscribers as u64), of(row))).collect();
            line(&points).map(|(slope, fixed)| (rounded(slope), rounded(fixed)))
        };
        let sender = along(|row| row.sender_ns_per_event)?;
        let receiver = along(|row| row.receiver_ns_per_event)?;
        Some(Slopes {
            sender_ns_per_subscriber: sender.0,
            sender_ns_fixed: sender.1,
            receiver_ns_per_subscriber: receiver.0,
            receiver_ns_fixed: receiver.1,
        })
    }
}

impl Findings for Fanout {
    fn is_sound(&self) -> bool {
        self.corrupt == 0 && self.duplicated == 0 && self.ledger_balanced
    }

    fn table(&self, output: &Output) -> String {
        let mut table = Table::new("fanout, 64 bytes", output);
        table.line(
            "way        subscribers   sender: ns an event   receiver: ns an event   \
             ns a delivery    deliveries",
        );
        for row in &self.rows {
            table.line(&format!(
                "{:<10} {:>11} {:>21.1} {:>23.1} {:>15.1} {:>13}",
                row.way,
                row.subscribers,
                row.sender_ns_per_event,
                row.receiver_ns_per_event,
                row.receiver_ns_per_delivery,
                per_s(row.deliveries_per_s),
            ));
        }
        for (way, slopes) in &self.slopes {
            let text = format!(
                "sender {:.1} ns, receiver {:.1} ns",
                slopes.sender_ns_per_subscriber, slopes.receiver_ns_per_subscriber
            );
            table.row(&format!("each more, {way}"), &text);
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

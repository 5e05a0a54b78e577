//! One event to many subscribers: what each more costs the sender and the receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::fan::{Account, Cost, Fan, Given, Shape};
use super::figures::{line, median, real, rounded};
use super::machine::{Machine, is_loopback_steered};
use super::members::Members;
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
    /// The most subscribers: 1 to 100; rows are 1, 2, 4, … up to it
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=100))]
    subscribers: u16,
    /// One of the three ways alone
    #[arg(long, value_name = "WAY", value_parser = ["handlers", "unicast", "multicast"])]
    only: Option<String>,
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
    /// CPU time of the sending thread, what the kernel does in its calls included.
    sender_cpu_ns_per_event: f64,
    /// A plain socket that sends as many datagrams of the same length to as many plain members of a
    /// group, CPU time of the sending thread; `multicast` only.
    raw_cpu_ns_per_event: Option<f64>,
    /// What the sending node gave the kernel.
    calls_per_event: f64,
    datagrams_per_event: f64,
    bytes_per_event: f64,
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
    fn new(
        (way, subscribers): (&'static str, usize),
        (costs, raw_ns): (&[Cost], &[f64]),
        account: &Account,
    ) -> Self {
        let middle =
            |of: fn(&Cost) -> f64| median(&costs.iter().map(of).collect::<Vec<_>>()).unwrap_or(0.0);
        let receiver_ns = middle(|cost| cost.receiver_ns_per_event);
        let each_ns = receiver_ns / real(subscribers as u64);
        let sum = |of: fn(&Cost) -> u64| costs.iter().map(of).sum::<u64>();
        let events = sum(|cost| cost.events);
        let given = |of: u64| (real(of) / real(events.max(1)) * 1e6).round() / 1e6;
        let datagrams = sum(|cost| cost.given.datagrams);
        let raw_ns = median(raw_ns).map(|raw_ns| rounded(raw_ns * given(datagrams)));
        Self {
            way,
            subscribers,
            sender_ns_per_event: rounded(middle(|cost| cost.sender_ns_per_event)),
            sender_cpu_ns_per_event: rounded(middle(|cost| cost.sender_cpu_ns_per_event)),
            raw_cpu_ns_per_event: raw_ns,
            calls_per_event: given(sum(|cost| cost.given.calls)),
            datagrams_per_event: given(datagrams),
            bytes_per_event: given(sum(|cost| cost.given.bytes)),
            receiver_ns_per_event: rounded(receiver_ns),
            receiver_ns_per_delivery: rounded(each_ns),
            deliveries_per_s: if each_ns > 0.0 { (1e9 / each_ns).round() } else { 0.0 },
            events,
            deliveries_due: sum(|cost| cost.deliveries),
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

/// CPU time of the last row by that of the first, of the product and of the plain socket.
#[derive(Debug, Clone, Copy, Serialize)]
struct Growth {
    sender: f64,
    raw: f64,
}

/// The figures of one run.
#[derive(Debug, Serialize)]
pub(super) struct Fanout {
    bench: &'static str,
    /// Whether the loopback interface hands what arrives to other cores.
    steered: bool,
    rows: Vec<Row>,
    /// By way; not there when there is one row only.
    slopes: BTreeMap<&'static str, Slopes>,
    /// What the sending thread pays with the most members of a group by what it pays with one.
    group_growth: Option<Growth>,
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
        steered: is_loopback_steered(),
        rows: Vec::new(),
        slopes: BTreeMap::new(),
        group_growth: None,
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
    let is_wanted = |way: &str| args.only.as_deref().is_none_or(|only| only == way);
    for (way, shape) in WAYS.into_iter().filter(|(way, _)| is_wanted(way)) {
        for subscribers in &counts {
            output.progress(&format!("{way}, {subscribers} of {most}"));
            let fan = Fan::start(&place, shape(*subscribers), ROUND_EVENTS)?;
            found.measure((way, *subscribers), fan, slice_ns)?;
        }
        found.slopes.extend(found.slopes_of(way).map(|slopes| (way, slopes)));
    }
    output.progress("");
    found.group_growth = found.growth();
    Ok(found)
}

/// The plain group beside a fan, whose datagrams are as long as those of a slice.
fn bare_beside(way: &str, subscribers: usize, given: Given) -> Result<Option<Members>> {
    let bytes = given.bytes / given.datagrams.max(1);
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    (way == "multicast").then(|| Members::start(subscribers, bytes)).transpose()
}

impl Fanout {
    /// One row: slices of the product and, beside a group, of the plain one in turn.
    fn measure(&mut self, row: (&'static str, usize), mut fan: Fan, slice_ns: u64) -> Result<()> {
        let warm_up = fan.slice(slice_ns.min(50_000_000))?;
        let mut bare = bare_beside(row.0, row.1, warm_up.given)?;
        let (mut costs, mut raw_ns) = (Vec::new(), Vec::new());
        for _ in 0..SLICES {
            costs.push(fan.slice(slice_ns)?);
            if let Some(bare) = &mut bare {
                raw_ns.push(bare.slice(slice_ns / 4)?);
            }
        }
        let account = fan.finish()?;
        self.rows.push(Row::new(row, (&costs, &raw_ns), &account));
        self.add(&account);
        Ok(())
    }

    /// The rows of a group.
    fn group(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.raw_cpu_ns_per_event.is_some())
    }

    fn growth(&self) -> Option<Growth> {
        let (first, last) = (self.group().next()?, self.group().last()?);
        Some(Growth {
            sender: rounded(last.sender_cpu_ns_per_event / first.sender_cpu_ns_per_event),
            raw: rounded(last.raw_cpu_ns_per_event? / first.raw_cpu_ns_per_event?),
        })
    }

    /// What one event to a group costs its sender, beside the plain group.
    fn group_rows(&self, table: &mut Table) {
        let Some(Growth { sender, raw }) = self.group_growth else { return };
        table.line(
            "to a group, for 128 events:    calls   datagrams    bytes   CPU of the sender, ns   \
             of a plain socket",
        );
        for row in self.group() {
            let round = |each: f64| each * real(ROUND_EVENTS);
            table.line(&format!(
                "{:>19} members {:>10.2} {:>11.2} {:>8.0} {:>23.0} {:>19.0}",
                row.subscribers,
                round(row.calls_per_event),
                round(row.datagrams_per_event),
                round(row.bytes_per_event),
                round(row.sender_cpu_ns_per_event),
                round(row.raw_cpu_ns_per_event.unwrap_or(0.0)),
            ));
        }
        let text = format!("CPU × {sender:.2}, of a plain socket × {raw:.2}");
        table.row("from first to last row", &text);
        let text = if self.steered {
            "another core delivers to the members, as a network's receivers would"
        } else {
            "the kernel delivers to each member in the sender's call: see scripts/steered"
        };
        table.row("on this loopback", text);
    }

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
        self.group_rows(&mut table);
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

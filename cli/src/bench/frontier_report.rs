//! What `frontier` found, as JSON, as a table and as a plot.

use serde::{Serialize, Serializer};

use super::event::FIXED_PAYLOAD_BYTES;
use super::figures::{BySide, Percentiles, per_second, percent, rounded};
use super::frontier::Slice;
use super::machine::Machine;
use super::peer::Account;
use super::report::{CrossLedger, Findings};
use super::svg::{Curve, Plot};
use super::table::Table;
use super::times::Distribution;
use crate::output::Output;
use crate::text::{bytes, count};

/// One flush interval.
#[derive(Debug, Serialize)]
pub(super) struct Point {
    pub(super) interval_us: u64,
    pub(super) product: Cost,
    pub(super) raw: Cost,
}

impl Point {
    pub(super) fn new(interval_us: u64) -> Self {
        Self { interval_us, product: Cost::default(), raw: Cost::default() }
    }
}

/// What the slices of one interval cost and how late their events came.
#[derive(Debug)]
pub(super) struct Cost {
    sum: Slice,
    times: Distribution,
}

impl Default for Cost {
    fn default() -> Self {
        Self { sum: Slice::default(), times: Distribution::new() }
    }
}

/// The same as figures.
#[derive(Debug, Clone, Copy, Serialize)]
struct CostFigures {
    /// Share of one core.
    publisher_cpu_percent: f64,
    receiver_cpu_percent: f64,
    publisher_wakes_per_s: f64,
    receiver_wakes_per_s: f64,
    /// From the time an event was due to its handler.
    latency_us: Option<Percentiles>,
}

impl Cost {
    pub(super) fn add(&mut self, slice: &Slice) {
        self.sum.elapsed_ns += slice.elapsed_ns;
        self.sum.publisher_cpu_ns += slice.publisher_cpu_ns;
        self.sum.receiver_cpu_ns += slice.receiver_cpu_ns;
        self.sum.publisher_wakes += slice.publisher_wakes;
        self.sum.receiver_wakes += slice.receiver_wakes;
        self.times.add(&slice.times);
    }

    fn figures(&self) -> CostFigures {
        let elapsed_ns = self.sum.elapsed_ns;
        CostFigures {
            publisher_cpu_percent: rounded(percent(self.sum.publisher_cpu_ns, elapsed_ns)),
            receiver_cpu_percent: rounded(percent(self.sum.receiver_cpu_ns, elapsed_ns)),
            publisher_wakes_per_s: per_second(self.sum.publisher_wakes, elapsed_ns).round(),
            receiver_wakes_per_s: per_second(self.sum.receiver_wakes, elapsed_ns).round(),
            latency_us: self.times.percentiles(),
        }
    }
}

impl Serialize for Cost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.figures().serialize(serializer)
    }
}

impl CostFigures {
    /// The busier process's share of a core.
    fn busier_percent(&self) -> f64 {
        self.publisher_cpu_percent.max(self.receiver_cpu_percent)
    }
}

/// The figures of one run.
#[derive(Debug, Serialize)]
pub(super) struct Frontier {
    bench: &'static str,
    rate: f64,
    payload_bytes: usize,
    pub(super) frame_bytes: usize,
    points: Vec<Point>,
    /// The shortest interval at which each node takes less than 5 % of a core and half of the
    /// events arrive within 1 ms.
    below_5_percent_p50_below_1_ms_at_us: Option<u64>,
    /// The longest interval at which 99 of 100 events arrive within 1 ms.
    p99_below_1_ms_at_us: Option<u64>,
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) raw_lost: u64,
    duplicated: u64,
    pub(super) corrupt: u64,
    late: u64,
    pub(super) peak_rss_bytes: BySide<u64>,
    pub(super) ledger_balanced: bool,
    pub(super) ledger: CrossLedger,
    kernel_drops: u64,
    pub(super) cores: Vec<usize>,
    pub(super) notes: Vec<String>,
    pub(super) machine: Machine,
}

impl Frontier {
    pub(super) fn new(rate: f64, points: Vec<Point>, account: &Account) -> Self {
        let at = |holds: fn(&CostFigures, &Percentiles) -> bool| {
            let holds = move |point: &&Point| {
                let figures = point.product.figures();
                figures.latency_us.is_some_and(|latency| holds(&figures, &latency))
            };
            let mut found = points.iter().filter(holds).map(|point| point.interval_us);
            (found.next(), found.next_back())
        };
        let cheap = at(|cost, latency| cost.busier_percent() < 5.0 && latency.p50 < 1_000.0);
        let quick = at(|_, latency| latency.p99 < 1_000.0);
        let counts = account.counts;
        Self {
            bench: "frontier",
            rate,
            payload_bytes: FIXED_PAYLOAD_BYTES,
            frame_bytes: 0,
            below_5_percent_p50_below_1_ms_at_us: cheap.0,
            p99_below_1_ms_at_us: quick.1.or(quick.0),
            points,
            published: 0,
            delivered: counts.delivered,
            lost: 0,
            raw_lost: 0,
            duplicated: counts.duplicated,
            corrupt: counts.corrupt,
            late: counts.late,
            peak_rss_bytes: BySide::new(),
            ledger_balanced: false,
            ledger: CrossLedger::default(),
            kernel_drops: account.kernel_drops,
            cores: Vec::new(),
            notes: Vec::new(),
            machine: Machine::read(),
        }
    }

    /// Latency over CPU: two curves of the product, two of the raw loop.
    pub(super) fn plot(&self) -> Plot {
        type Kind = (&'static str, fn(&Point) -> CostFigures, &'static str, bool);
        type Height = (&'static str, fn(&Percentiles) -> f64, bool);
        let kinds: [Kind; 2] = [
            ("wireloom", |point| point.product.figures(), "#0b6fb8", false),
            ("raw wake-ups", |point| point.raw.figures(), "#c4561b", true),
        ];
        let heights: [Height; 2] = [("p50", |l| l.p50, false), ("p99", |l| l.p99, true)];
        let mut curves = Vec::new();
        for (kind, figures, colour, is_below) in kinds {
            for (height, of, is_dashed) in heights {
                let points = self.points.iter().filter_map(|point| {
                    let cost = figures(point);
                    let label = if is_dashed { String::new() } else { interval(point.interval_us) };
                    Some((cost.busier_percent(), of(&cost.latency_us?), label))
                });
                let name = format!("{kind}, {height}");
                let points = points.collect();
                curves.push(Curve { name, colour, is_dashed, is_below, points });
            }
        }
        Plot {
            title: format!("Latency against CPU at {:.0} events/s, by flush interval", self.rate),
            x_label: "CPU of the busier process, % of a core".into(),
            y_label: "latency from the time an event was due, µs".into(),
            curves,
        }
    }
}

/// An interval as people read it.
fn interval(us: u64) -> String {
    if us < 1_000 { format!("{us} µs") } else { format!("{} ms", super::figures::real(us) / 1e3) }
}

impl Findings for Frontier {
    fn is_sound(&self) -> bool {
        self.corrupt == 0 && self.duplicated == 0 && self.ledger_balanced
    }

    fn table(&self, output: &Output) -> String {
        let title = format!("frontier at {:.0} events/s, {} bytes", self.rate, self.payload_bytes);
        let mut table = Table::new(&title, output);
        table.line(
            "flush            cpu %: publisher receiver   latency µs: p50     p99   p99.9   \
             wakes/s: publisher receiver",
        );
        for point in &self.points {
            for (name, cost) in [("", &point.product), ("raw", &point.raw)] {
                let cost = cost.figures();
                let Some(times) = cost.latency_us else { continue };
                let flush =
                    if name.is_empty() { interval(point.interval_us) } else { "  raw".into() };
                table.line(&format!(
                    "{flush:<15} {:>16.2} {:>8.2} {:>17.0} {:>7.0} {:>7.0} {:>18.0} {:>8.0}",
                    cost.publisher_cpu_percent,
                    cost.receiver_cpu_percent,
                    times.p50,
                    times.p99,
                    times.p99_9,
                    cost.publisher_wakes_per_s,
                    cost.receiver_wakes_per_s,
                ));
            }
        }
        let at = |found: Option<u64>| found.map_or_else(|| "nowhere".into(), interval);
        table.row("< 5 % with p50 < 1 ms", &at(self.below_5_percent_p50_below_1_ms_at_us));
        table.row("p99 < 1 ms up to", &at(self.p99_below_1_ms_at_us));
        table.row("published", &count(self.published));
        table.row("lost", &format!("{} (raw: {})", count(self.lost), count(self.raw_lost)));
        table.row("duplicated", &count(self.duplicated));
        table.row("corrupt", &count(self.corrupt));
        for (side, peak) in &self.peak_rss_bytes {
            table.row(&format!("peak memory, {side}"), &bytes(*peak));
        }
        table.ledger(self.ledger_balanced, output);
        table.end(&self.notes, &self.machine)
    }
}

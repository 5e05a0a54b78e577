//! What `pingpong` found, as JSON and as a table.

use serde::Serialize;

use super::arrivals::Counts;
use super::figures::{BySide, Percentiles, real, rounded, sides};
use super::flow::Transport;
use super::machine::Machine;
use super::place::Place;
use super::report::{CrossLedger, Findings};
use super::table::Table;
use super::times::Distribution;
use crate::output::Output;
use crate::text::{bytes, count};

/// The figures of one run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RoundTrips {
    bench: &'static str,
    /// `udp` or `tcp`.
    transport: &'static str,
    /// `spin` or `adaptive`.
    idle: &'static str,
    /// Length of the product's measured slices, in seconds.
    seconds: f64,
    /// Archived length of the event.
    pub(super) payload_bytes: usize,
    /// Length of the packet that carries it, and of the raw message.
    pub(super) datagram_bytes: usize,
    /// From publishing an event to the handler of its answer.
    round_trip_us: Option<Percentiles>,
    /// From before the raw message is sent to after it was received back.
    raw_round_trip_us: Option<Percentiles>,
    /// Product by raw.
    ratio_p50: Option<f64>,
    ratio_p99: Option<f64>,
    /// The median of each slice.
    slice_p50_us: Vec<f64>,
    raw_slice_p50_us: Vec<f64>,
    /// Round trips of the measured slices.
    count: u64,
    /// Begun, in the whole run, and not answered within 100 ms.
    pub(super) lost: u64,
    pub(super) raw_lost: u64,
    /// Events that came again, either way.
    duplicated: u64,
    /// Events whose hash is not that of their bytes, either way.
    corrupt: u64,
    /// Events that came after a later one, either way.
    late: u64,
    cpu_percent: BySide<f64>,
    peak_rss_bytes: BySide<u64>,
    /// Whether both nodes' ledgers balance, alone and against each other, both ways.
    pub(super) ledger_balanced: bool,
    pub(super) ledger_there: CrossLedger,
    pub(super) ledger_back: CrossLedger,
    cores: Vec<usize>,
    pub(super) notes: Vec<String>,
    machine: Machine,
    #[serde(skip)]
    pub(super) product: Distribution,
    #[serde(skip)]
    pub(super) raw: Distribution,
    #[serde(skip)]
    pub(super) elapsed_ns: u64,
}

impl RoundTrips {
    pub(super) fn new(transport: Transport, idle: &'static str, place: &Place) -> Self {
        Self {
            bench: "pingpong",
            transport: transport.name(),
            idle,
            seconds: 0.0,
            payload_bytes: 0,
            datagram_bytes: 0,
            round_trip_us: None,
            raw_round_trip_us: None,
            ratio_p50: None,
            ratio_p99: None,
            slice_p50_us: Vec::new(),
            raw_slice_p50_us: Vec::new(),
            count: 0,
            lost: 0,
            raw_lost: 0,
            duplicated: 0,
            corrupt: 0,
            late: 0,
            cpu_percent: BySide::new(),
            peak_rss_bytes: BySide::new(),
            ledger_balanced: false,
            ledger_there: CrossLedger::default(),
            ledger_back: CrossLedger::default(),
            cores: place.cores.clone(),
            notes: Vec::new(),
            machine: Machine::read(),
            product: Distribution::new(),
            raw: Distribution::new(),
            elapsed_ns: 0,
        }
    }

    /// Forgets what was measured so far: it was the warm-up.
    pub(super) fn begin(&mut self) {
        (self.product, self.raw) = (Distribution::new(), Distribution::new());
        self.elapsed_ns = 0;
    }

    /// Fills in what follows from the slices: percentiles, ratios, and what both handlers counted.
    pub(super) fn settle(&mut self, both: [Counts; 2], cpu_percent: (f64, f64)) {
        self.seconds = rounded(real(self.elapsed_ns) / 1e9);
        let (product, raw) = (self.product.percentiles(), self.raw.percentiles());
        let ratio = |of: fn(&Percentiles) -> f64| {
            let (product, raw) = (product.as_ref().map(of)?, raw.as_ref().map(of)?);
            (raw > 0.0).then(|| rounded(product / raw))
        };
        (self.ratio_p50, self.ratio_p99) = (ratio(|p| p.p50), ratio(|p| p.p99));
        self.count = product.map_or(0, |product| product.count);
        (self.round_trip_us, self.raw_round_trip_us) = (product, raw);
        self.slice_p50_us.clone_from(&self.product.slice_p50_us);
        self.raw_slice_p50_us.clone_from(&self.raw.slice_p50_us);
        let counts: Counts = both.into_iter().sum();
        (self.duplicated, self.corrupt, self.late) =
            (counts.duplicated, counts.corrupt, counts.late);
        self.cpu_percent = sides(rounded(cpu_percent.0), rounded(cpu_percent.1));
    }

    /// The most memory each process had.
    pub(super) fn peak(&mut self, own_bytes: u64, other_bytes: u64) {
        self.peak_rss_bytes = sides(own_bytes, other_bytes);
    }
}

impl Findings for RoundTrips {
    fn is_sound(&self) -> bool {
        self.corrupt == 0 && self.duplicated == 0 && self.ledger_balanced
    }

    fn table(&self, output: &Output) -> String {
        let title = format!(
            "pingpong ({}, {}) for {:.1} s, {} bytes",
            self.transport, self.idle, self.seconds, self.payload_bytes
        );
        let mut table = Table::new(&title, output);
        table.percentiles("round trip", self.round_trip_us.as_ref());
        table.percentiles("raw, same packets", self.raw_round_trip_us.as_ref());
        if let (Some(p50), Some(p99)) = (self.ratio_p50, self.ratio_p99) {
            table.row("product by raw", &format!("p50 {p50:.2}, p99 {p99:.2}"));
        }
        let slices =
            |p50: &[f64]| p50.iter().map(|us| format!("{us:.1}")).collect::<Vec<_>>().join(" ");
        table.row("p50 of each slice", &slices(&self.slice_p50_us));
        table.row("p50 of each raw slice", &slices(&self.raw_slice_p50_us));
        table.row("round trips", &count(self.count));
        table.row("lost", &format!("{} (raw: {})", count(self.lost), count(self.raw_lost)));
        table.row("duplicated", &count(self.duplicated));
        table.row("corrupt", &count(self.corrupt));
        for (side, percent) in &self.cpu_percent {
            table.row(&format!("cpu, {side}"), &format!("{percent:.2} % of a core"));
        }
        for (side, peak) in &self.peak_rss_bytes {
            table.row(&format!("peak memory, {side}"), &bytes(*peak));
        }
        table.ledger(self.ledger_balanced, output);
        table.end(&self.notes, &self.machine)
    }
}

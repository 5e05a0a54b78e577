//! Wireloom's own rows, as `wireloom bench … --json` prints them, in the shape of a peer's.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use peer_measure::{Class, Percentiles, Row, Tuning, Work};
use serde::Deserialize;

/// The fields that are taken from a row of `wireloom bench`; the others stay in the raw rows.
#[derive(Debug, Deserialize)]
struct Printed {
    #[serde(default)]
    seconds: f64,
    #[serde(default)]
    published: u64,
    /// A ping-pong counts its round trips instead.
    #[serde(default, alias = "count")]
    delivered: u64,
    #[serde(default)]
    lost: u64,
    #[serde(default)]
    duplicated: u64,
    #[serde(default)]
    corrupt: u64,
    #[serde(default)]
    late: u64,
    #[serde(default)]
    refused: u64,
    #[serde(default)]
    delivered_per_s: f64,
    /// The same number as microseconds by message.
    #[serde(default)]
    cpu_s_per_million: Option<f64>,
    #[serde(default)]
    cpu_percent: BTreeMap<String, f64>,
    #[serde(default)]
    peak_rss_bytes: BTreeMap<String, u64>,
    round_trip_us: Option<Percentiles>,
    raw_round_trip_us: Option<Percentiles>,
    #[serde(default)]
    curve_us: Vec<[f64; 2]>,
    #[serde(default)]
    raw_curve_us: Vec<[f64; 2]>,
}

/// The row of a named run; with a ping-pong also that of the bare loop measured beside it.
pub(crate) fn rows(name: &str, printed: serde_json::Value) -> Result<Vec<Row>> {
    let printed: Printed = serde_json::from_value(printed)?;
    let (work, tuning, class, how) = known(name).with_context(|| format!("no run `{name}`"))?;
    let mut row = Row {
        system: "wireloom".to_owned(),
        version: "this commit".to_owned(),
        work,
        config: name.to_owned(),
        tuning,
        class,
        how: how.to_owned(),
        seconds: printed.seconds,
        // A ping-pong says how many came back, and how many did not.
        published: printed.published.max(printed.delivered + printed.lost),
        delivered: printed.delivered,
        lost: printed.lost,
        duplicated: printed.duplicated,
        corrupt: printed.corrupt,
        late: printed.late,
        refused: printed.refused,
        delivered_per_s: printed.delivered_per_s,
        cpu_us_per_message: printed.cpu_s_per_million.unwrap_or(0.0),
        cpu_percent: printed.cpu_percent,
        peak_rss_bytes: printed.peak_rss_bytes,
        round_trip_us: printed.round_trip_us,
        curve_us: curve(printed.curve_us, printed.round_trip_us),
    };
    let mut rows = vec![row.clone()];
    if let Some(times) = printed.raw_round_trip_us {
        "wireloom's bare loop".clone_into(&mut row.system);
        row.round_trip_us = Some(times);
        row.curve_us = curve(printed.raw_curve_us, Some(times));
        (row.cpu_us_per_message, row.delivered_per_s) = (0.0, 0.0);
        row.cpu_percent.clear();
        row.peak_rss_bytes.clear();
        rows.push(row);
    }
    Ok(rows)
}

/// Three points where the whole curve was not printed.
fn curve(printed: Vec<[f64; 2]>, times: Option<Percentiles>) -> Vec<[f64; 2]> {
    match times {
        Some(times) if printed.is_empty() => {
            vec![[0.5, times.p50], [0.99, times.p99], [0.999, times.p99_9]]
        }
        _ => printed,
    }
}

/// What the runs of `scripts/bench-peers` are.
fn known(name: &str) -> Option<(Work, Tuning, Class, &'static str)> {
    Some(match name {
        "udp" => (
            Work::Throughput,
            Tuning::Default,
            Class::BestEffort,
            "typed events, packets of 64 KiB as loopback takes them, flow control, both sides spin",
        ),
        "udp-1400" => (
            Work::Throughput,
            Tuning::Default,
            Class::BestEffort,
            "typed events, packets of 1,400 bytes, flow control, both sides spin",
        ),
        "local" => (
            Work::Throughput,
            Tuning::Default,
            Class::SameHost,
            "typed events between two threads of one process",
        ),
        "pingpong-spin" => {
            (Work::PingPong, Tuning::Fast, Class::BestEffort, "UDP, both sides spin")
        }
        "pingpong-adaptive" => {
            (Work::PingPong, Tuning::Default, Class::BestEffort, "UDP, both sides park when idle")
        }
        _ => return None,
    })
}

//! What a run prints: one row of JSON, or a line for people.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::config::{Class, Config, Tuning, Work};
use crate::figures::{real, rounded};

/// One run of one configuration of one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the system.
    pub system: String,
    /// Its version.
    pub version: String,
    /// What was measured.
    pub work: Work,
    /// Name of the configuration.
    pub config: String,
    /// Configured for speed, or as it comes.
    pub tuning: Tuning,
    /// What may be relied on.
    pub class: Class,
    /// What was set.
    pub how: String,
    /// How long the publisher published, or the pings took.
    pub seconds: f64,
    /// What the publisher's calls accepted in that time.
    pub published: u64,
    /// Whole messages the receiver counted, each once.
    pub delivered: u64,
    /// Accepted but never counted.
    pub lost: u64,
    /// Messages that came again.
    pub duplicated: u64,
    /// Messages whose bytes do not fit their hash or length.
    pub corrupt: u64,
    /// Of those delivered, the ones that came after a later one.
    pub late: u64,
    /// Offers for which there was no room at first.
    pub refused: u64,
    /// Delivered by the receiver's time from its first to its last delivery.
    pub delivered_per_s: f64,
    /// User and system time of all processes by message delivered, in microseconds.
    pub cpu_us_per_message: f64,
    /// Share of one core, by process.
    pub cpu_percent: BTreeMap<String, f64>,
    /// Most memory resident, by process.
    pub peak_rss_bytes: BTreeMap<String, u64>,
    /// Times there and back, of ping-pong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<Percentiles>,
    /// The same as pairs of share and microseconds, for plots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve_us: Vec<[f64; 2]>,
}

/// A distribution of times, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half were at most this.
    pub p50: f64,
    /// 99 of 100 were at most this.
    pub p99: f64,
    /// 999 of 1,000 were at most this.
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
    /// How many times were measured.
    #[serde(default)]
    pub count: u64,
}

impl Percentiles {
    /// The percentiles of a histogram of nanoseconds.
    pub(crate) fn of(times: &Histogram<u64>) -> Self {
        let at = |quantile| rounded(real(times.value_at_quantile(quantile)) / 1e3);
        let max = rounded(real(times.max()) / 1e3);
        Self { p50: at(0.5), p99: at(0.99), p99_9: at(0.999), max, count: times.len() }
    }
}

impl Row {
    /// A row with all figures at zero.
    pub(crate) fn new(system: &str, version: String, config: &Config) -> Self {
        Self {
            system: system.to_owned(),
            version,
            work: config.work,
            config: config.name.to_owned(),
            tuning: config.tuning,
            class: config.class,
            how: config.how.to_owned(),
            seconds: 0.0,
            published: 0,
            delivered: 0,
            lost: 0,
            duplicated: 0,
            corrupt: 0,
            late: 0,
            refused: 0,
            delivered_per_s: 0.0,
            cpu_us_per_message: 0.0,
            cpu_percent: BTreeMap::new(),
            peak_rss_bytes: BTreeMap::new(),
            round_trip_us: None,
            curve_us: Vec::new(),
        }
    }

    /// Whether what was counted is beyond doubt: nothing came twice or damaged.
    pub(crate) fn is_sound(&self) -> bool {
        self.duplicated == 0 && self.corrupt == 0 && self.delivered > 0
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}: ", self.system, self.work, self.config)?;
        match &self.round_trip_us {
            Some(times) => write!(
                formatter,
                "{} µs p50, {} µs p99, {} µs p99.9",
                times.p50, times.p99, times.p99_9
            )?,
            None => write!(
                formatter,
                "{} a second, {} µs CPU a message",
                self.delivered_per_s, self.cpu_us_per_message
            )?,
        }
        let Self { delivered, lost, duplicated, corrupt, .. } = self;
        write!(
            formatter,
            "; {delivered} delivered, {lost} lost, {duplicated} duplicated, {corrupt} corrupt"
        )
    }
}

//! The arithmetic of a run: rates, medians, percentiles.
//!
//! Plain functions over plain numbers; nothing is measured here.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest time a histogram tells apart, in nanoseconds: one minute. Longer counts as that long.
pub(super) const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// A count as a number to calculate with; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of a run stay far below 2^53")]
pub(super) const fn real(count: u64) -> f64 {
    count as f64
}

/// So many in so many nanoseconds, by the second; 0 for no time.
pub(super) fn per_second(count: u64, elapsed_ns: u64) -> f64 {
    if elapsed_ns == 0 { 0.0 } else { real(count) * 1e9 / real(elapsed_ns) }
}

/// CPU seconds for each million events, to the microsecond; 0 for no events.
pub(super) fn cpu_s_per_million(cpu_ns: u64, events: u64) -> f64 {
    if events == 0 { 0.0 } else { (real(cpu_ns) / real(events) * 1e3).round() / 1e6 }
}

/// Share of one core, in percent.
pub(super) fn percent(cpu_ns: u64, elapsed_ns: u64) -> f64 {
    per_second(cpu_ns, elapsed_ns) / 1e7
}

/// The middle value (the mean of the two middle ones); `None` of none.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(lower.midpoint(upper))
}

/// The straight line nearest to points by least squares, as `(slope, height at 0)`; `None` where
/// fewer than two differ in x.
pub(super) fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = real(points.len() as u64);
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let common: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    (spread > 0.0).then(|| (common / spread, y_mean - common / spread * x_mean))
}

/// Rounded to three decimals, so that a line of JSON can be read.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A distribution of times, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Percentiles {
    /// Half were at most this.
    pub(super) p50: f64,
    /// 99 of 100 were at most this.
    pub(super) p99: f64,
    /// 999 of 1,000 were at most this.
    pub(super) p99_9: f64,
    /// The longest.
    pub(super) max: f64,
    /// How many times were measured.
    pub(super) count: u64,
}

/// An empty histogram of nanoseconds with three significant digits (about 220 KiB).
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are constants that work")
}

impl Percentiles {
    /// The percentiles of a histogram of nanoseconds; `None` of an empty one.
    pub(super) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| rounded(real(histogram.value_at_quantile(quantile)) / 1e3);
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p99: at(0.99),
            p99_9: at(0.999),
            max: rounded(real(histogram.max()) / 1e3),
            count: histogram.len(),
        })
    }
}

/// Figures by the process they belong to.
pub(super) type BySide<T> = BTreeMap<&'static str, T>;

/// The two sides of a run over a network.
pub(super) fn sides<T>(publisher: T, receiver: T) -> BySide<T> {
    BTreeMap::from([("publisher", publisher), ("receiver", receiver)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_shares() {
        assert!((per_second(500, 250_000_000) - 2_000.0).abs() < 1e-9);
        assert!((per_second(500, 0)).abs() < 1e-9);
        assert!((percent(50_000_000, 5_000_000_000) - 1.0).abs() < 1e-9);
        // 3 s of CPU for 2 million events.
        assert!((cpu_s_per_million(3_000_000_000, 2_000_000) - 1.5).abs() < 1e-9);
        assert!((cpu_s_per_million(1, 0)).abs() < 1e-9);
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[9.0, 1.0, 5.0, 2.0]), Some(3.5));
    }

    #[test]
    fn the_nearest_line_goes_through_points_that_lie_on_one() {
        let (slope, height) = line(&[(1.0, 5.0), (2.0, 7.0), (64.0, 131.0)]).unwrap();
        assert!((slope - 2.0).abs() < 1e-9 && (height - 3.0).abs() < 1e-9);
        let (slope, height) = line(&[(0.0, 1.0), (1.0, 0.0), (2.0, 2.0)]).unwrap();
        assert!((slope - 0.5).abs() < 1e-9 && (height - 0.5).abs() < 1e-9);
        assert_eq!(line(&[(3.0, 1.0), (3.0, 2.0)]), None);
        assert_eq!(line(&[]), None);
    }

    #[test]
    fn percentiles_are_microseconds_of_the_whole_distribution() {
        let mut times = histogram();
        assert_eq!(Percentiles::of(&times), None);
        for us in 1..=1_000 {
            times.saturating_record(us * 1_000);
        }
        times.saturating_record(u64::MAX);
        let found = Percentiles::of(&times).unwrap();
        assert!((found.p50 - 501.0).abs() < 2.0, "{found:?}");
        assert!((found.p99 - 991.0).abs() < 2.0, "{found:?}");
        assert!((found.p99_9 - 1_000.0).abs() < 2.0, "{found:?}");
        assert!(found.max > 59e6, "{found:?}");
        assert_eq!(found.count, 1_001);
    }
}

//! The arithmetic of a run. Plain functions over plain numbers.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A count as a number to calculate with; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of a run stay far below 2^53")]
pub(crate) const fn real(count: u64) -> f64 {
    count as f64
}

/// `part` by `whole`; 0 where there is no whole.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// Rounded to three decimals, so that a line of JSON can be read.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Nanoseconds of a time; far longer than any run fits.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// An empty histogram of nanoseconds up to a minute, with three significant digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are constants that work")
}

/// The distribution as `[share of 1, µs]` pairs, two steps each time the rest is halved: what the
/// plots of HdrHistogram are drawn from.
pub(crate) fn curve(times: &Histogram<u64>) -> Vec<[f64; 2]> {
    let steps = times.iter_quantiles(2);
    steps
        .map(|step| [step.quantile_iterated_to(), rounded(real(step.value_iterated_to()) / 1e3)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_to_the_longest_time() {
        let mut times = histogram();
        for time in 1..=1_000 {
            times.record(time * 1_000).unwrap();
        }
        let curve = curve(&times);
        assert!(curve.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1]), "{curve:?}");
        let last = curve.last().unwrap();
        assert!((last[1] - 1_000.0).abs() < 1.0, "{last:?}");
        assert!(curve.iter().any(|[share, us]| (*share - 0.5).abs() < 1e-9 && *us < 502.0));
    }
}

//! Measured times that one thread records and another reads: counts by length, in atomic cells.
//!
//! The handler that measures owns the right to write; whoever started it takes the counts when a
//! slice is over and nothing is under way. No lock and no read-modify-write stands in an event's
//! way.

use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::figures::{LATENCY_NS_MAX, Percentiles, histogram};

/// Each doubling of the time has 2^9 cells: a time is known to 0.2 %.
const CELL_BITS: u32 = 9;
/// Cells of all times up to [`LATENCY_NS_MAX`], which has 36 bits (115 KiB, touched where used).
const CELLS: usize = (36 - CELL_BITS as usize + 1) << CELL_BITS;

/// Times as `(ns, how many)`, each once, in order: what travels between processes.
pub(super) type Counted = Vec<(u64, u64)>;

/// Counts of times by length.
#[derive(Debug)]
pub(super) struct Times(Vec<AtomicU64>);

impl Times {
    pub(super) fn new() -> Self {
        Self((0..CELLS).map(|_| AtomicU64::new(0)).collect())
    }

    /// Counts one time. One thread only: the cell is read and written apart.
    #[inline]
    pub(super) fn record(&self, ns: u64) {
        if let Some(cell) = self.0.get(cell_of(ns)) {
            cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Takes what was recorded; to be called while nothing is.
    pub(super) fn take(&self) -> Counted {
        let cells = self.0.iter().enumerate();
        cells
            .map(|(index, cell)| (time_of(index), cell.swap(0, Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// The times of several slices.
#[derive(Debug, Clone)]
pub(super) struct Distribution {
    all: Histogram<u64>,
    /// Of each slice, so that a noisy one shows.
    pub(super) slice_p50_us: Vec<f64>,
    pub(super) slice_p99_us: Vec<f64>,
}

impl Distribution {
    pub(super) fn new() -> Self {
        Self { all: histogram(), slice_p50_us: Vec::new(), slice_p99_us: Vec::new() }
    }

    /// Adds the times of one slice.
    pub(super) fn add(&mut self, slice: &Counted) {
        let times = distribution(slice);
        if let Some(found) = Percentiles::of(&times) {
            self.slice_p50_us.push(found.p50);
            self.slice_p99_us.push(found.p99);
        }
        // Both have the same bounds.
        let added = self.all.add(&times);
        debug_assert!(added.is_ok(), "{added:?}");
    }

    /// Over all slices; `None` when nothing was timed.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        Percentiles::of(&self.all)
    }
}

/// Counted times as a histogram.
pub(super) fn distribution(counted: &Counted) -> Histogram<u64> {
    let mut all = histogram();
    for (ns, count) in counted {
        all.saturating_record_n(*ns, *count);
    }
    all
}

/// Short times have a cell for each nanosecond; longer ones lose as many low bits as they have
/// above the first cells.
#[inline]
fn cell_of(ns: u64) -> usize {
    let ns = ns.min(LATENCY_NS_MAX);
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(CELL_BITS + 1);
    let cell = (u64::from(shift) << CELL_BITS) + (ns >> shift);
    usize::try_from(cell).unwrap_or(CELLS)
}

/// The middle of a cell's times.
const fn time_of(cell: usize) -> u64 {
    let shift = (cell >> CELL_BITS).saturating_sub(1);
    let first = (cell - (shift << CELL_BITS)) as u64;
    (first << shift) + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_kept_to_a_fifth_of_a_percent() {
        for exponent in 0..36 {
            for ns in [1_u64 << exponent, (1 << exponent) + (1 << exponent) / 3] {
                let kept = time_of(cell_of(ns));
                assert!(kept.abs_diff(ns) * 500 <= ns, "{ns} became {kept}");
            }
        }
        assert!(cell_of(u64::MAX) < CELLS, "a long time counts as the longest");
        let cells: Vec<usize> = (0..5_000).map(cell_of).collect();
        assert!(cells.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
    }

    #[test]
    fn times_are_taken_once() {
        let times = Times::new();
        for ns in [7, 7, 90_000, u64::MAX] {
            times.record(ns);
        }
        let taken = times.take();
        assert_eq!(taken[0], (7, 2));
        assert_eq!(taken.iter().map(|(_, count)| count).sum::<u64>(), 4);
        assert!(times.take().is_empty());
        let all = distribution(&taken);
        assert_eq!((all.len(), all.value_at_quantile(0.5)), (4, 7));
        let mut slices = Distribution::new();
        for slice in [&taken, &Vec::new(), &vec![(900, 1)]] {
            slices.add(slice);
        }
        assert_eq!(slices.percentiles().unwrap().count, 5);
        assert_eq!(slices.slice_p50_us, [0.007, 0.9], "a slice without times has no median");
    }
}

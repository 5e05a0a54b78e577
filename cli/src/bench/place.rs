//! What every mode with a form of its own is asked: where it runs and how it answers.
//!
//! Plain values, and the cutting of a run's time into slices.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::flow::chosen_cores;
use super::machine::allowed_cores;

/// Options of the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlaceArgs {
    /// Cores for the two processes; `none` leaves it to the system [default: the first two]
    #[arg(long, value_name = "CORES")]
    cores: Option<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

/// The same, checked.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Cores of the measuring process (0) and of the other (1); empty: not pinned.
    pub(super) cores: Vec<usize>,
}

impl Place {
    pub(super) fn check(args: &PlaceArgs) -> Result<Self> {
        Ok(Self { cores: chosen_cores(args.cores.as_deref(), &allowed_cores())? })
    }

    /// The core of a side; `None` is the system's choice.
    pub(super) fn core(&self, side: usize) -> Option<usize> {
        self.cores.get(side).or_else(|| self.cores.first()).copied()
    }
}

/// A duration that can be measured in, as ns.
pub(super) fn measured_ns(duration: Duration) -> Result<u64> {
    if duration < Duration::from_millis(10) {
        bail!("--duration: nothing is measured in less than 10ms; try 1s");
    }
    Ok(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// A run's time in slices of a second at most, five at least, so that one noisy slice shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slices {
    pub(super) count: u64,
    pub(super) each_ns: u64,
}

impl Slices {
    pub(super) fn of(total_ns: u64) -> Self {
        let count = total_ns.div_ceil(1_000_000_000).max(5);
        Self { count, each_ns: (total_ns / count).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_five_at_least_and_a_second_at_most() {
        let second = 1_000_000_000;
        assert_eq!(Slices::of(second / 2), Slices { count: 5, each_ns: second / 10 });
        assert_eq!(Slices::of(5 * second), Slices { count: 5, each_ns: second });
        assert_eq!(Slices::of(8 * second).count, 8);
        assert!(measured_ns(Duration::from_millis(9)).is_err());
    }
}

//! What the processes of a run cost, read from `/proc`, and the core each runs on.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Result, bail};

/// Figures by the process they belong to.
pub(crate) type ByProcess<T> = BTreeMap<String, T>;

/// The processes of a run: both ends, and the driver or broker.
#[derive(Debug, Default)]
pub(crate) struct Processes(Vec<(String, u32)>);

impl Processes {
    /// Counts this process from now on.
    pub(crate) fn add(&mut self, name: &str, process: u32) {
        self.0.push((name.to_owned(), process));
    }

    /// User and system time each has used, all threads, in milliseconds (the kernel gives it in
    /// steps of 10).
    pub(crate) fn cpu_ms(&self) -> ByProcess<u64> {
        let ticks_a_second = rustix::param::clock_ticks_per_second();
        self.each("stat", |stat| ticks_of(stat).map(|ticks| ticks * 1000 / ticks_a_second))
    }

    /// The most memory each has had resident so far, in bytes (`VmHWM`).
    pub(crate) fn peak_rss_bytes(&self) -> ByProcess<u64> {
        self.each("status", peak_of)
    }

    fn each(&self, file: &str, read: impl Fn(&str) -> Option<u64>) -> ByProcess<u64> {
        let figure = |(name, process): &(String, u32)| {
            let text = fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
            (name.clone(), read(&text).unwrap_or(0))
        };
        self.0.iter().map(figure).collect()
    }
}

/// `utime` and `stime`: the 12th and 13th field after the command, which may have spaces in it.
fn ticks_of(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Pins the calling thread, and every thread it starts from then on, to a core. On a machine with
/// one core everybody shares it.
pub(crate) fn pin(core: usize) -> Result<()> {
    let core = core.min(std::thread::available_parallelism().map_or(1, usize::from) - 1);
    if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        bail!("the kernel refused core {core}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_command() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 100 0 0 0 25 17 0 0 20 0 1 0 55";
        assert_eq!(ticks_of(stat), Some(42));
        assert_eq!(ticks_of("7 (a) S 1"), None);
        assert_eq!(peak_of("Name:\tx\nVmHWM:\t  8 kB\n"), Some(8192));
    }

    #[test]
    fn the_cost_of_work_is_seen() {
        let mut processes = Processes::default();
        processes.add("self", std::process::id());
        let mut sum = 0_u64;
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 1_000 && processes.cpu_ms()["self"] < 40 {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
        }
        assert!(processes.cpu_ms()["self"] >= 40, "{sum}");
        assert!(processes.peak_rss_bytes()["self"] > 500_000);
    }
}

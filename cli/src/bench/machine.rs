//! What this process costs and what machine it runs on, read from the kernel.
//!
//! Reads clocks and `/proc`; owns nothing and changes nothing but the core a thread runs on.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::process::Process;

/// CPU time this process has used, all threads, user and system, in nanoseconds
/// (`CLOCK_PROCESS_CPUTIME_ID`, `clock_gettime(2)`).
pub(super) fn process_cpu_ns() -> u64 {
    cpu_ns(rustix::time::ClockId::ProcessCPUTime)
}

/// CPU time the calling thread has used, user and system, in nanoseconds
/// (`CLOCK_THREAD_CPUTIME_ID`).
pub(super) fn thread_cpu_ns() -> u64 {
    cpu_ns(rustix::time::ClockId::ThreadCPUTime)
}

fn cpu_ns(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Whether the loopback interface hands what arrives to other cores than the one it was sent from
/// (`rps_cpus`, receive packet steering; `scripts/steered` makes it so).
pub(super) fn is_loopback_steered() -> bool {
    let cores = fs::read_to_string("/sys/class/net/lo/queues/rx-0/rps_cpus").unwrap_or_default();
    cores.contains(|digit: char| digit.is_ascii_hexdigit() && digit != '0')
}

/// The most memory this process has had resident so far, in bytes.
pub(super) fn peak_rss_bytes() -> u64 {
    Process::own().rss_bytes_peak
}

/// Pins the calling thread, and every thread it starts from then on, to one core. False when the
/// kernel refused; the thread then stays where the scheduler puts it.
pub(super) fn pin(core: Option<usize>) -> bool {
    core.is_some_and(|id| core_affinity::set_for_current(core_affinity::CoreId { id }))
}

/// The cores this process may run on, in order.
pub(super) fn allowed_cores() -> Vec<usize> {
    core_affinity::get_core_ids().into_iter().flatten().map(|core| core.id).collect()
}

/// The machine a figure was measured on: no figure means anything without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    /// Model name of the first core (`/proc/cpuinfo`).
    pub(super) cpu: String,
    /// Cores this process may run on.
    pub(super) cores: usize,
    /// Kernel release (`/proc/sys/kernel/osrelease`).
    pub(super) kernel: String,
    /// Total memory, in bytes (`/proc/meminfo`).
    pub(super) memory_bytes: u64,
}

impl Machine {
    /// Reads the machine's facts; what the kernel does not say is `unknown` or 0.
    pub(super) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let unknown = || "unknown".to_owned();
        let cpu = text("/proc/cpuinfo");
        let kernel = text("/proc/sys/kernel/osrelease");
        Self {
            cpu: cpu.lines().find_map(model_name).map_or_else(unknown, str::to_owned),
            cores: allowed_cores().len(),
            kernel: kernel.lines().next().map_or_else(unknown, str::to_owned),
            memory_bytes: text("/proc/meminfo").lines().find_map(total_memory).unwrap_or(0),
        }
    }
}

/// `model name : …` on x86, `Processor : …` on some Arm kernels.
fn model_name(line: &str) -> Option<&str> {
    let (name, value) = line.split_once(':')?;
    matches!(name.trim(), "model name" | "Processor").then(|| value.trim())
}

fn total_memory(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("MemTotal:")?;
    Some(rest.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_work_is_seen() {
        let (before_ns, thread_ns) = (process_cpu_ns(), thread_cpu_ns());
        let mut sum = 0_u64;
        while process_cpu_ns() < before_ns + 5_000_000 {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
        }
        assert!(process_cpu_ns() >= before_ns + 5_000_000, "{sum}");
        assert!(thread_cpu_ns() > thread_ns, "this thread's own");
    }

    #[test]
    fn facts_are_read_from_the_kernels_lines() {
        assert_eq!(model_name("model name\t: A Core @ 2 GHz"), Some("A Core @ 2 GHz"));
        assert_eq!(model_name("flags : model name"), None);
        assert_eq!(total_memory("MemTotal:       16 kB"), Some(16_384));
        let machine = Machine::read();
        assert!(machine.cores > 0 && machine.memory_bytes > 0, "{machine:?}");
    }
}

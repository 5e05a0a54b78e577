//! What a node says about itself every few seconds: that it lives, and how busy it is.
//!
//! [`Heartbeat::sample`] reads `/proc`; control threads call it, never a worker.

use std::fs::File;
use std::io::{self, Read};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::Event;

/// Longest text read from a file of `/proc`, in bytes; `meminfo` has about 1.5 kB.
const PROC_BYTES_MAX: u64 = 64 * 1024;

/// One node's sign of life, with the load and memory of its machine.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[event(type = "heartbeat", priority = "normal", multicast = "239.255.87.76:9076", crate = "crate")]
pub struct Heartbeat {
    /// The node's name.
    pub node: String,
    /// The node's id, as packets carry it.
    pub node_id: u64,
    /// When the sample was taken: milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Load average of the last minute, in thousandths of a runnable task.
    pub load_1m_milli: u32,
    /// Memory that is not available to new programs: total minus `MemAvailable`.
    pub memory_used_bytes: u64,
    /// Memory of the machine (`MemTotal`), not of a container.
    pub memory_total_bytes: u64,
    /// Names of the services that the node offers.
    pub services: Vec<String>,
}

/// Why no sample could be taken.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// A file of `/proc` could not be read.
    #[error("cannot read {path}: {source}; a heartbeat needs /proc mounted and readable")]
    Read {
        /// The file.
        path: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of `/proc` does not say what proc(5) promises.
    #[error("{path} does not have {wanted}: is /proc the kernel's own?")]
    Format {
        /// The file.
        path: &'static str,
        /// What was looked for.
        wanted: &'static str,
    },
}

const LOADAVG: &str = "/proc/loadavg";
const MEMINFO: &str = "/proc/meminfo";

impl Heartbeat {
    /// Samples this machine now: load and memory from `/proc` (proc(5)), the time from the system
    /// clock. `services` is empty; the caller fills it.
    ///
    /// Reads two files and allocates: some tens of microseconds.
    ///
    /// # Errors
    ///
    /// [`SampleError`] when `/proc` cannot be read or is not the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// use wireloom::events::Heartbeat;
    ///
    /// let heartbeat = Heartbeat::sample("analytics-01", 7)?;
    /// assert!(heartbeat.memory_used_bytes <= heartbeat.memory_total_bytes);
    /// # Ok::<(), wireloom::events::heartbeat::SampleError>(())
    /// ```
    pub fn sample(node: &str, node_id: u64) -> Result<Self, SampleError> {
        let load = load_1m_milli(&read(LOADAVG)?)
            .ok_or(SampleError::Format { path: LOADAVG, wanted: "a load average" })?;
        let memory = Memory::parse(&read(MEMINFO)?).ok_or(SampleError::Format {
            path: MEMINFO,
            wanted: "MemTotal and MemAvailable in kB",
        })?;
        Ok(Self {
            node: node.to_owned(),
            node_id,
            unix_ms: unix_ms(),
            load_1m_milli: load,
            memory_used_bytes: memory.total_bytes.saturating_sub(memory.available_bytes),
            memory_total_bytes: memory.total_bytes,
            services: Vec::new(),
        })
    }
}

/// Milliseconds since the Unix epoch; 0 for a clock set before it.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn read(path: &'static str) -> Result<String, SampleError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(PROC_BYTES_MAX).read_to_string(&mut text))
        .map_err(|source| SampleError::Read { path, source })?;
    Ok(text)
}

/// The first number of `/proc/loadavg`, which has two decimals, in thousandths.
fn load_1m_milli(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_whitespace().next()?.split_once('.')?;
    let scale = match decimals.len() {
        1 => 100,
        2 => 10,
        3 => 1,
        _ => return None,
    };
    let milli = digits(decimals)?.checked_mul(scale)?;
    digits(whole)?.checked_mul(1_000)?.checked_add(milli)
}

/// A number of decimal digits alone; `parse` would take a sign too.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|one| one.is_ascii_digit()).then(|| text.parse().ok())?
}

struct Memory {
    total_bytes: u64,
    available_bytes: u64,
}

impl Memory {
    fn parse(text: &str) -> Option<Self> {
        Some(Self {
            total_bytes: Self::line(text, "MemTotal:")?,
            available_bytes: Self::line(text, "MemAvailable:")?,
        })
    }

    /// The value of one line such as `MemTotal:  16318472 kB`, in bytes.
    fn line(text: &str, name: &str) -> Option<u64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        let (number, unit) = rest.trim().split_once(' ')?;
        if unit != "kB" {
            return None;
        }
        number.parse::<u64>().ok()?.checked_mul(1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_read_in_thousandths() {
        assert_eq!(load_1m_milli("0.52 0.58 0.59 1/467 12345\n"), Some(520));
        assert_eq!(load_1m_milli("12.07 0 0"), Some(12_070));
        assert_eq!(load_1m_milli("0.00"), Some(0));
        for wrong in ["", "x", "1", "-1.00 0", "1.2345", "4294968.00", "1.-5", "1.+5"] {
            assert_eq!(load_1m_milli(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       16318472 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n";
        let memory = Memory::parse(text).expect("both lines are there");
        assert_eq!(memory.total_bytes, 16_318_472 * 1024);
        assert_eq!(memory.available_bytes, 8_000_000 * 1024);
        for wrong in ["", "MemTotal: 1 kB\n", "MemTotal: 1 MB\nMemAvailable: 1 kB\n"] {
            assert!(Memory::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_sample_agrees_with_the_kernel() {
        let heartbeat = Heartbeat::sample("here", 3).expect("/proc is readable on Linux");
        let memory = Memory::parse(&read(MEMINFO).expect("readable")).expect("well formed");
        assert_eq!(heartbeat.memory_total_bytes, memory.total_bytes);
        assert!(heartbeat.memory_used_bytes > 0);
        assert!(heartbeat.memory_used_bytes < heartbeat.memory_total_bytes);
        assert!(heartbeat.unix_ms > 1_700_000_000_000, "the clock stands after 2023");
        assert_eq!((heartbeat.node.as_str(), heartbeat.node_id), ("here", 3));
    }
}

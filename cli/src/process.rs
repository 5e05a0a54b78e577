//! What a process costs, by the kernel's account of it (`proc(5)`). Reads and changes nothing.

use std::fs;

/// Memory, threads and open files of one process; 0 is what the kernel does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Process {
    /// Resident now, the program's own pages included (`VmRSS`).
    pub(crate) rss_bytes: u64,
    /// The most that was ever resident (`VmHWM`).
    pub(crate) rss_bytes_peak: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// File descriptors: sockets, pipes, epoll and the like.
    pub(crate) files: u64,
}

impl Process {
    /// The process that asks.
    pub(crate) fn own() -> Self {
        Self::of("self")
    }

    /// Another process of the same user, by its number.
    pub(crate) fn other(id: u32) -> Self {
        Self::of(&id.to_string())
    }

    fn of(name: &str) -> Self {
        let status = fs::read_to_string(format!("/proc/{name}/status")).unwrap_or_default();
        let files = fs::read_dir(format!("/proc/{name}/fd")).map_or(0, Iterator::count);
        Self { files: files as u64, ..Self::from_status(&status) }
    }

    fn from_status(status: &str) -> Self {
        let number = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        Self {
            rss_bytes: number("VmRSS:") * 1024,
            rss_bytes_peak: number("VmHWM:") * 1024,
            threads: number("Threads:"),
            files: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\nThreads:\t7\n";
        let read = Process { rss_bytes: 1_024, rss_bytes_peak: 2_097_152, threads: 7, files: 0 };
        assert_eq!(Process::from_status(status), read);
        assert_eq!(Process::from_status("Name:\tx\n"), Process::default());
        let own = Process::own();
        assert!(own.rss_bytes_peak >= own.rss_bytes && own.rss_bytes > 500_000, "{own:?}");
        assert!(own.threads > 0 && own.files > 2, "{own:?}");
        assert_eq!(Process::other(u32::MAX), Process::default());
    }
}

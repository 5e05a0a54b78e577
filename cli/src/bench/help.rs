//! The parts of the help texts of the modes that are written by hand. At most 80 columns.

/// Below the options of `pingpong`.
pub(super) const PINGPONG: &str = "\
One event at a time: this process publishes it, the other's handler publishes it
back, the handler here takes the time. The raw round trip is one datagram of the
same length between two plain sockets, in slices between the product's. Spinning,
both poll and one thread a side drives its node; adaptive, both sleep until woken.

Examples:
  Busy on both sides, beside a busy recvfrom:
    wireloom bench pingpong

  Nodes whose workers sleep, beside a recvfrom that sleeps:
    wireloom bench pingpong --idle adaptive

  Larger events, as JSON:
    wireloom bench pingpong --payload-bytes 1024 --duration 10s --json

Exit status:
  0  every event that came back was whole and came once, the ledgers balance
  1  something was damaged, came twice, or a ledger is open
  2  wrong words, or it could not start";

/// Below the options of `priority`.
pub(super) const PRIORITY: &str = "\
A critical event each millisecond, alone on the link (idle) and behind a bulk
flow of low priority as fast as it goes (loaded), in alternating slices. One
thread a side drives its node. The goal is drawn from the run itself:
  bound = 2 x p99 idle + one GSO send
where a GSO send is what the sender gives the kernel in one duty cycle, at the
rate at which the bulk arrived.

Examples:
  How long a critical event takes, with and without a bulk flow:
    wireloom bench priority

  More events behind the percentiles, as JSON:
    wireloom bench priority --duration 30s --json

Exit status:
  0  everything that arrived was whole and came once, the ledgers balance;
     whether the bound was kept is a figure, not a status
  1  something was damaged, came twice, or a ledger is open
  2  wrong words, or it could not start";

#[cfg(test)]
mod tests {
    #[test]
    fn every_help_text_fits_a_terminal_and_tells_the_exit_statuses() {
        for text in [super::PINGPONG, super::PRIORITY] {
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(text.contains("Examples:") && text.contains("Exit status:"), "{text}");
        }
    }
}

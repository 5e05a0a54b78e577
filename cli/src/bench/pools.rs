//! What a node costs with its pools full: a link in each place to every other node and one from
//! it, and reliable events on all of them, both ways. The node is the first; the others send to it
//! alone, and it to all.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::crowd::Crowd;
use super::figures::real;
use super::mesh::{PATIENCE, mb, unix_ns};
use super::table::Table;
use crate::exchange::{Asked, Exchanged};
use crate::output::Output;
use crate::text::count;

/// The node that is looked at.
const OBSERVED: usize = 0;

/// Links of a pool of the default size that the two kinds of event use: both.
const POOL: u64 = 2;

/// What is asked of the nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) nodes: u16,
    /// Events of either kind, to each peer, a second.
    pub(super) per_s: u32,
    pub(super) time: Duration,
}

/// The observed node; bytes are the kernel's account, the program's own pages included.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Pools {
    peers: u64,
    /// Links opened, from here and from there.
    links: u64,
    /// Without links, and at the end of the time with all of them in use.
    rss_bytes_before: u64,
    rss_bytes: u64,
    /// The most it ever was (`VmHWM`).
    rss_bytes_peak: u64,
    /// What it grew by, for each peer.
    bytes_per_peer: f64,
    threads: u64,
    files: u64,
    /// Reliable events accepted here, acknowledged by the peers, handled by them.
    accepted: u64,
    acknowledged: u64,
    handled_by_peers: u64,
    /// The same of the peers' events to here.
    accepted_by_peers: u64,
    acknowledged_to_peers: u64,
    handled: u64,
    /// Handled anywhere with other content than was sent.
    damaged: u64,
    /// Whether each number agrees with those it must agree with.
    pub(super) is_complete: bool,
}

impl Pools {
    /// Opens all links, lets events flow for a time, and waits until every one is acknowledged.
    pub(super) fn fill(crowd: &mut Crowd, load: Load, output: &Output) -> Result<Self> {
        let peers = u64::from(load.nodes) - 1;
        let links = peers * POOL * 2;
        let before = crowd.kernels_account(OBSERVED);
        let others = 1..usize::from(load.nodes);
        let with: Vec<SocketAddr> = others.clone().filter_map(|n| crowd.address(n)).collect();
        output.progress(&format!("opening {links} links of one node"));
        crowd.ask(OBSERVED, &Asked::Exchange { with, per_s: load.per_s })?;
        let with: Vec<SocketAddr> = crowd.address(OBSERVED).into_iter().collect();
        for index in others.clone() {
            crowd.ask(index, &Asked::Exchange { with: with.clone(), per_s: load.per_s })?;
        }
        let opened = |crowd: &Crowd| crowd.exchanged()[OBSERVED].1.links >= links;
        crowd.listen_until(PATIENCE, "not all links are open", opened)?;
        output.progress("events on all links of one node");
        let until_ns = unix_ns() + u64::try_from(load.time.as_nanos()).unwrap_or(u64::MAX);
        crowd.listen_until(load.time + PATIENCE, "no end", |_| unix_ns() >= until_ns)?;
        let full = crowd.kernels_account(OBSERVED);
        for index in std::iter::once(OBSERVED).chain(others) {
            crowd.ask(index, &Asked::Rest)?;
        }
        output.progress("waiting for the last acknowledgement");
        let settled = settled_since(unix_ns() + 1_500_000_000);
        crowd.listen_until(PATIENCE, "reliable events are not acknowledged", settled)?;
        let told: Vec<Exchanged> = crowd.exchanged().into_iter().map(|(_, of)| of).collect();
        let grown = full.rss_bytes.saturating_sub(before.rss_bytes);
        Ok(Self {
            peers,
            rss_bytes_before: before.rss_bytes,
            rss_bytes: full.rss_bytes,
            rss_bytes_peak: full.rss_bytes_peak,
            bytes_per_peer: (real(grown) / real(peers)).round(),
            threads: full.threads,
            files: full.files,
            ..Self::account(&told)
        })
    }

    /// The events of the observed node and of all others, beside each other.
    fn account(told: &[Exchanged]) -> Self {
        let observed = told[OBSERVED];
        let sum = |of: fn(&Exchanged) -> u64| told.iter().skip(1).map(of).sum::<u64>();
        let found = Self {
            peers: 0,
            links: observed.links,
            rss_bytes_before: 0,
            rss_bytes: 0,
            rss_bytes_peak: 0,
            bytes_per_peer: 0.0,
            threads: 0,
            files: 0,
            accepted: observed.accepted,
            acknowledged: observed.acknowledged,
            handled_by_peers: sum(|of| of.handled),
            accepted_by_peers: sum(|of| of.accepted),
            acknowledged_to_peers: sum(|of| of.acknowledged),
            handled: observed.handled,
            damaged: told.iter().map(|of| of.damaged).sum(),
            is_complete: false,
        };
        let (there, here) = (found.accepted, found.accepted_by_peers);
        let is_complete = [found.acknowledged, found.handled_by_peers] == [there; 2]
            && [found.acknowledged_to_peers, found.handled] == [here; 2]
            && found.damaged == 0
            && there > 0
            && here > 0;
        Self { is_complete, ..found }
    }

    /// Its lines of the table.
    pub(super) fn rows(&self, table: &mut Table) {
        let text = format!("{} links of one node, to and from {} peers", self.links, self.peers);
        table.row("pools full", &text);
        let (now, peak) = (mb(self.rss_bytes), mb(self.rss_bytes_peak));
        let (before, each) = (mb(self.rss_bytes_before), self.bytes_per_peer / 1e3);
        let text = format!("{now}, {peak} at most; {before} before, so {each:.1} kB a peer");
        table.row("  memory of that node", &text);
        let text = format!("{} threads, {} descriptors", self.threads, self.files);
        table.row("  of the system", &text);
        for (name, accepted, acknowledged, handled) in [
            ("  events to peers", self.accepted, self.acknowledged, self.handled_by_peers),
            ("  from peers", self.accepted_by_peers, self.acknowledged_to_peers, self.handled),
        ] {
            let [accepted, acknowledged, handled] = [accepted, acknowledged, handled].map(count);
            let text =
                format!("{accepted} accepted, {acknowledged} acknowledged, {handled} handled");
            table.row(name, &text);
        }
    }
}

/// Whether every process has told since then that it waits for no acknowledgement. What was told
/// in the second after they were asked to rest may be of before.
fn settled_since(from_ns: u64) -> impl Fn(&Crowd) -> bool {
    move |crowd| {
        crowd.exchanged().iter().all(|(told_ns, of)| {
            *told_ns > from_ns && of.accepted == of.acknowledged + of.undelivered
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_complete_when_each_number_agrees_with_its_others() {
        let node = |accepted, acknowledged, handled| Exchanged {
            links: 4,
            accepted,
            acknowledged,
            handled,
            ..Exchanged::default()
        };
        let told = [node(10, 10, 7), node(3, 3, 5), node(4, 4, 5)];
        assert!(Pools::account(&told).is_complete);
        for (place, changed) in [
            (0, node(10, 9, 7)),
            (0, node(10, 10, 8)),
            (1, node(3, 2, 5)),
            (1, node(3, 3, 6)),
            (2, node(5, 4, 5)),
            (2, Exchanged { damaged: 1, ..told[2] }),
        ] {
            let mut open = told;
            open[place] = changed;
            assert!(!Pools::account(&open).is_complete, "{open:?}");
        }
        assert!(!Pools::account(&[node(0, 0, 0), node(0, 0, 0)]).is_complete, "nothing flowed");
    }
}

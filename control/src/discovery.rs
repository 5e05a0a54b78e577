//! Whom to say hello to, and when: a group, seeds, and what names resolve to, all together.
//!
//! Sans-IO: it is told the time and who is up, and gives addresses. A hello is answered at once by
//! everybody who hears it, so a node with multicast knows all and is known to all after one round
//! trip; with seeds alone the seed passes it on. Hellos go on for as long as a node lives, seldom:
//! they join again what a long partition has made forget each other.

use std::net::SocketAddr;

const MS: u64 = 1_000_000;

/// When hellos to the group are said after the start, ns; a single one could be lost.
const GROUP_NS: [u64; 4] = [0, 50 * MS, 250 * MS, 1_000 * MS];
/// How often afterwards.
const GROUP_LATER_NS: u64 = 30_000 * MS;
/// How often while nobody is known.
const ALONE_NS: u64 = 1_000 * MS;
/// How often a seed that is not up is tried: first, and later.
const SEED_NS: [u64; 3] = [200 * MS, 800 * MS, 5_000 * MS];

/// Seeds at most; those of names included.
const SEEDS_MAX: usize = 64;

#[derive(Debug)]
struct Seed {
    address: SocketAddr,
    at_ns: u64,
    tries: usize,
}

/// Says when to say hello to whom.
#[derive(Debug)]
pub struct Discovery {
    group: Option<SocketAddr>,
    group_at_ns: u64,
    group_tries: usize,
    seeds: Vec<Seed>,
}

impl Discovery {
    /// Begins at `now_ns`.
    #[must_use]
    pub fn new(group: Option<SocketAddr>, seeds: &[SocketAddr], now_ns: u64) -> Self {
        let mut discovery = Self { group, group_at_ns: now_ns, group_tries: 0, seeds: Vec::new() };
        discovery.add_seeds(seeds, now_ns);
        discovery
    }

    /// Adds seeds that are new; those beyond 64 are left out.
    pub fn add_seeds(&mut self, seeds: &[SocketAddr], now_ns: u64) {
        for address in seeds {
            let known = self.seeds.iter().any(|seed| seed.address == *address);
            if !known && self.seeds.len() < SEEDS_MAX {
                self.seeds.push(Seed { address: *address, at_ns: now_ns, tries: 0 });
            }
        }
    }

    /// Whom to say hello to now. `is_up` says whether the member at an address is up, `alone`
    /// whether none is.
    pub fn due(
        &mut self,
        now_ns: u64,
        alone: bool,
        is_up: impl Fn(SocketAddr) -> bool,
    ) -> Vec<SocketAddr> {
        let mut hellos = Vec::new();
        if let Some(group) = self.group.filter(|_| self.group_at_ns <= now_ns) {
            hellos.push(group);
            self.group_tries += 1;
            let later_ns = if alone { ALONE_NS } else { GROUP_LATER_NS };
            let pause_ns = match GROUP_NS.get(self.group_tries) {
                Some(next_ns) => next_ns - GROUP_NS[self.group_tries - 1],
                None => later_ns,
            };
            self.group_at_ns = now_ns + pause_ns;
        }
        for seed in self.seeds.iter_mut().filter(|seed| seed.at_ns <= now_ns) {
            if is_up(seed.address) {
                seed.tries = 0;
            } else {
                hellos.push(seed.address);
                seed.tries += 1;
            }
            let tries = seed.tries.saturating_sub(1).min(SEED_NS.len() - 1);
            let pause_ns = if seed.tries == 0 { SEED_NS[2] } else { SEED_NS[tries] };
            seed.at_ns = now_ns + pause_ns;
        }
        hellos
    }

    /// When [`Discovery::due`] next has something to say.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        let group_ns = self.group.map(|_| self.group_at_ns);
        self.seeds.iter().map(|seed| seed.at_ns).chain(group_ns).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 9).into()
    }

    /// The times of hellos over `for_ms`, ms, with whom.
    fn run(discovery: &mut Discovery, for_ms: u64, up: &[SocketAddr]) -> Vec<(u64, SocketAddr)> {
        let mut hellos = Vec::new();
        while let Some(at_ns) = discovery.deadline_ns().filter(|at_ns| *at_ns <= for_ms * MS) {
            let due = discovery.due(at_ns, up.is_empty(), |address| up.contains(&address));
            hellos.extend(due.into_iter().map(|to| (at_ns / MS, to)));
        }
        hellos
    }

    #[test]
    fn group_and_seeds_are_used_together_and_seldom_later() {
        let mut discovery = Discovery::new(Some(address(99)), &[address(1), address(2)], 0);
        let hellos = run(&mut discovery, 70_000, &[address(1)]);
        let to = |to| hellos.iter().filter(move |(_, of)| *of == to).map(|(at, _)| *at);
        assert_eq!(to(address(99)).collect::<Vec<_>>(), [0, 50, 250, 1_000, 31_000, 61_000]);
        assert_eq!(to(address(1)).count(), 0, "it is up");
        assert_eq!(to(address(2)).take(5).collect::<Vec<_>>(), [0, 200, 1_000, 6_000, 11_000]);
    }

    #[test]
    fn who_is_alone_goes_on_asking_and_names_add_seeds() {
        let mut discovery = Discovery::new(Some(address(99)), &[], 0);
        assert_eq!(run(&mut discovery, 5_000, &[]).len(), 8);
        discovery.add_seeds(&[address(3), address(3)], 6_000 * MS);
        assert_eq!(discovery.seeds.len(), 1);
        let many: Vec<SocketAddr> = (0..200).map(address).collect();
        discovery.add_seeds(&many, 0);
        assert_eq!(discovery.seeds.len(), SEEDS_MAX);
    }
}

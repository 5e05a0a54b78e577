//! [`ReceiveWindow`] against a naive oracle that knows what was sent and remembers every packet.

use proptest::prelude::*;
use wireloom_wire::{Admission, Gap, ReceiveWindow, WINDOW_PACKETS};

use crate::sample::Random;

/// What a stream goes through on its way.
#[derive(Clone, Copy, Debug)]
struct Path {
    packets: usize,
    /// The receiver joins when this many packets are over.
    joined_after: usize,
    loss_percent: usize,
    /// How often the path is cut for as many packets as `reorder_packets`.
    cuts: usize,
    duplicate_percent: usize,
    reorder_percent: usize,
    /// A reordered or duplicated packet comes up to this many packets later.
    reorder_packets: usize,
    seed: u64,
}

/// Where each packet begins, and where the last one ends. Some packets are tail markers.
fn sent(path: Path, random: &mut Random) -> Vec<u64> {
    let mut next = 0;
    let mut starts = vec![0];
    for _ in 0..path.packets {
        let count = match random.below(20) {
            0 => 0,
            1 => random.below(usize::from(u16::MAX) + 1),
            _ => 1 + random.below(14),
        };
        next += count as u64;
        starts.push(next);
    }
    starts
}

/// The sequences in the order of their arrival; then three tail markers, of which the last arrives.
fn arrivals(path: Path, random: &mut Random) -> Vec<usize> {
    let cut_starts: Vec<usize> = (0..path.cuts).map(|_| random.below(path.packets)).collect();
    let mut timed = Vec::new();
    for sequence in path.joined_after..path.packets {
        let cut =
            cut_starts.iter().any(|from| (*from..*from + path.reorder_packets).contains(&sequence));
        let copies = if cut || random.chance(path.loss_percent) {
            0
        } else {
            1 + usize::from(random.chance(path.duplicate_percent))
        };
        for copy in 0..copies {
            let late = copy > 0 || random.chance(path.reorder_percent);
            let delay = if late { random.below(path.reorder_packets + 1) } else { 0 };
            timed.push((sequence + delay, sequence));
        }
    }
    // Stable: packets of one time keep the order in which they were sent.
    timed.sort_by_key(|(time, _)| *time);
    let markers = (path.packets..path.packets + 2).filter(|_| random.chance(50));
    let markers: Vec<usize> = markers.chain([path.packets + 2]).collect();
    timed.into_iter().map(|(_, sequence)| sequence).chain(markers).collect()
}

/// Remembers everything, in the plainest way.
struct Oracle {
    /// `starts[n]..starts[n + 1]` are the events of packet `n`.
    starts: Vec<u64>,
    taken: Vec<bool>,
    first: Option<usize>,
    newest: usize,
}

impl Oracle {
    fn count(&self, sequence: usize) -> u64 {
        self.starts[sequence + 1] - self.starts[sequence]
    }

    fn admit(&mut self, sequence: usize) -> Admission {
        let admission = self.judge(sequence);
        if matches!(admission, Admission::New { .. } | Admission::Late) {
            self.taken[sequence] = true;
            self.newest = self.newest.max(sequence);
        }
        admission
    }

    fn judge(&mut self, sequence: usize) -> Admission {
        let Some(first) = self.first else {
            self.first = Some(sequence);
            return Admission::New { gap: None };
        };
        if sequence > self.newest {
            let missing: u64 = (self.newest + 1..sequence).map(|lost| self.count(lost)).sum();
            let from = self.starts[self.newest + 1];
            let gap = (missing > 0).then_some(Gap { from, to: from + missing });
            return Admission::New { gap };
        }
        if sequence < first || self.newest - sequence >= usize::try_from(WINDOW_PACKETS).unwrap() {
            return Admission::Stale;
        }
        if self.taken[sequence] { Admission::Duplicate } else { Admission::Late }
    }

    /// Events of the packets that were taken, or were not, after the first one.
    fn events(&self, taken: bool) -> u64 {
        let first = self.first.unwrap();
        let packets = (first..self.taken.len()).filter(|sequence| self.taken[*sequence] == taken);
        packets.map(|sequence| self.count(sequence)).sum()
    }
}

/// What a run came through, so that a test can see that it met what it was made for.
#[derive(Debug, Default)]
struct Seen {
    gaps: usize,
    late: usize,
    duplicates: usize,
    stale: usize,
}

fn run(path: Path) -> Seen {
    let mut random = Random(path.seed);
    let mut starts = sent(path, &mut random);
    let all_sent = starts[path.packets];
    starts.extend([all_sent; 3]);
    let taken = vec![false; path.packets + 3];
    let mut oracle = Oracle { starts, taken, first: None, newest: 0 };
    let mut window = ReceiveWindow::new();
    let (mut seen, mut gap_events, mut late_events) = (Seen::default(), 0, 0);
    for sequence in arrivals(path, &mut random) {
        let (start, count) = (oracle.starts[sequence], oracle.count(sequence));
        let expected = oracle.admit(sequence);
        let admission = window.admit(sequence as u64, start, u16::try_from(count).unwrap());
        assert_eq!(admission, expected, "packet {sequence} of {path:?}");
        match admission {
            Admission::New { gap: Some(gap) } => {
                seen.gaps += 1;
                gap_events += gap.events();
            }
            Admission::New { gap: None } => {}
            Admission::Late => {
                seen.late += 1;
                late_events += count;
            }
            Admission::Duplicate => seen.duplicates += 1,
            Admission::Stale => seen.stale += 1,
            Admission::Inconsistent => panic!("an honest stream is consistent"),
        }
    }
    let first = oracle.first.unwrap();
    assert_eq!(window.events_before(), oracle.starts[first]);
    assert_eq!(window.received(), oracle.events(true));
    assert_eq!(window.lost(), oracle.events(false));
    assert_eq!(window.lost(), gap_events - late_events, "gaps told less those filled");
    assert_eq!(window.late(), late_events);
    assert_eq!(window.duplicates(), seen.duplicates as u64);
    assert_eq!(window.stale(), seen.stale as u64);
    // Every event is accounted for, exactly.
    assert_eq!(window.received() + window.lost() + window.events_before(), all_sent);
    seen
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn streams_are_accounted_for_exactly(
        packets in 1..4_000_usize,
        joined_percent in 0..100_usize,
        (loss_percent, cuts) in (0..60_usize, 0..3_usize),
        (duplicate_percent, reorder_percent) in (0..30_usize, 0..100_usize),
        reorder_packets in prop_oneof![0..4_usize, 0..200_usize, 0..3_000_usize],
        seed: u64,
    ) {
        let joined_after = packets * joined_percent / 100;
        run(Path {
            packets, joined_after, loss_percent, cuts, duplicate_percent, reorder_percent,
            reorder_packets, seed,
        });
    }
}

#[test]
fn reordering_beyond_the_window_is_stale_and_still_accounted_for() {
    for seed in 0..6 {
        let seen = run(Path {
            packets: 40_000,
            joined_after: 1_000,
            loss_percent: 3,
            cuts: 1,
            duplicate_percent: 10,
            reorder_percent: 20,
            reorder_packets: 12_000,
            seed,
        });
        let met = [seen.gaps, seen.late, seen.duplicates, seen.stale];
        assert!(met.iter().all(|count| *count > 100), "{seen:?}");
    }
}

#[test]
fn a_stream_without_faults_has_no_loss() {
    let seen = run(Path {
        packets: 30_000,
        joined_after: 0,
        loss_percent: 0,
        cuts: 0,
        duplicate_percent: 0,
        reorder_percent: 0,
        reorder_packets: 0,
        seed: 1,
    });
    assert_eq!(seen.late + seen.duplicates + seen.stale, 0, "{seen:?}");
}

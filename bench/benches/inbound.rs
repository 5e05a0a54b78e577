//! What an event costs its receiver for one ring subscriber: with room in the ring, and with the
//! ring full for good, by policy. In turn, so that all meet the same machine; events one a duty
//! cycle and 64 a cycle. What the subscriber itself does is not in the times.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a bench says what it found")]

use std::hint::black_box;
use std::time::Instant;

use wireloom_bench::frames;
use wireloom_dataplane::dispatch::{Origin, Pumped, Subscriber as _};
use wireloom_dataplane::inbound::{RingReader, RingSubscriber, SlowPolicy, inbound};
use wireloom_ring::{RingConfig, ring};
use wireloom_wire::{Frame, Frames, NodeId, SessionId};

/// As in `wireloom bench isolation`: 512 records of 128 bytes.
const RING_BYTES: usize = 64 << 10;
/// Events of one measurement: half a ring.
const EVENTS: u64 = 256;
const CYCLES: [u64; 2] = [1, 64];
const ROUNDS: usize = 4_000;
/// An event that makes the oldest give way may cost this many times one that finds room.
const RATIO_MAX: f64 = 3.0;

const ORIGIN: Origin = Origin {
    source: NodeId(7),
    session: SessionId(1),
    lane: 2,
    received_unix_ns: 1_700_000_000_000_000_000,
    verified: false,
};

/// A subscriber's ring, read after each measurement or never.
struct Ring {
    name: &'static str,
    subscriber: RingSubscriber,
    reader: RingReader,
    is_frozen: bool,
    now_ns: u64,
}

impl Ring {
    fn new(name: &'static str, policy: SlowPolicy, is_frozen: bool) -> Self {
        let config = RingConfig { capacity_bytes: RING_BYTES, huge_pages: false };
        let (subscriber, reader) = inbound(ring(config).expect("memory"), policy, (None, None));
        Self { name, subscriber, reader, is_frozen, now_ns: 1 }
    }

    /// Nanoseconds an event.
    fn measure(&mut self, frames: &[Frame<'_>], cycle: u64) -> f64 {
        let begun = Instant::now();
        for from in (0..EVENTS).step_by(usize::try_from(cycle).expect("a small number")) {
            for number in from..from + cycle {
                let frame = &frames[usize::try_from(number).expect("a small number")];
                black_box(self.subscriber.on_event(black_box(frame), &ORIGIN));
            }
            self.now_ns += 1;
            if let Pumped::Holds { until_ns } = self.subscriber.pump(self.now_ns) {
                self.now_ns = until_ns;
            }
            self.subscriber.end_cycle();
        }
        let took = begun.elapsed();
        if !self.is_frozen {
            while self.reader.poll(usize::MAX, || 0, |_| true) > 0 {}
        }
        took.as_secs_f64() * 1e9 / EVENTS as f64
    }
}

/// The median of a ring's measurements.
fn compare(rounds: usize, cycle: u64) -> Vec<(&'static str, f64)> {
    let bytes = frames(EVENTS);
    let frames: Vec<_> = Frames::new(&bytes).map(|frame| frame.expect("a frame")).collect();
    let block = SlowPolicy::Block(std::time::Duration::from_millis(1));
    let mut rings = [
        Ring::new("taken", SlowPolicy::DropOldest, false),
        Ring::new("frozen, drop-newest", SlowPolicy::DropNewest, true),
        Ring::new("frozen, drop-oldest", SlowPolicy::DropOldest, true),
        Ring::new("frozen, block", block, true),
        Ring::new("frozen, latest", SlowPolicy::Latest { keys: 512 }, true),
    ];
    let mut costs = rings.each_ref().map(|_| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        for (ring, costs) in rings.iter_mut().zip(&mut costs) {
            costs.push(ring.measure(&frames, cycle));
        }
    }
    let median = |costs: &mut Vec<f64>| {
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    };
    rings.iter().zip(&mut costs).map(|(ring, costs)| (ring.name, median(costs))).collect()
}

fn main() {
    // Tiny mode runs everything and judges nothing: figures of a test build mean nothing.
    let is_tiny = std::env::args().any(|argument| argument == "--test");
    for cycle in CYCLES {
        let costs = compare(if is_tiny { 8 } else { ROUNDS }, cycle);
        println!("{cycle} a cycle:");
        for (name, cost_ns) in &costs {
            println!("  {name:<20} {cost_ns:>6.1} ns an event");
        }
        let ratio = costs[2].1 / costs[0].1;
        println!("  drop-oldest costs × {ratio:.2} of a plain event");
        assert!(is_tiny || ratio <= RATIO_MAX, "× {ratio:.2}, at most × {RATIO_MAX}");
    }
}

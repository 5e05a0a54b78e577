//! News passed on: each goes with a bounded number of packets, the youngest first. Who misses a
//! record altogether notices at the sender's next probe, which says how new its record is.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use wireloom_wire::EventTypeId;
use wireloom_wire::gossip::ControlPacket;

/// News waiting to be passed on at a time; beyond that the one passed on most often goes.
const WAITING_MAX: usize = 512;

/// News looked at for one packet that do not fit into it; shorter ones may stand behind them.
const PASSED_OVER_MAX: usize = 4;

#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    sends_left: u32,
}

/// The news of one type that are still to be passed on, by what they are of.
#[derive(Debug)]
pub(crate) struct Spread<K> {
    event_type: EventTypeId,
    waiting: HashMap<K, Waiting>,
    /// The same in the order in which they go.
    order: BTreeSet<Reverse<(u32, K)>>,
}

impl<K: Copy + Ord + Hash> Spread<K> {
    pub(crate) fn new(event_type: EventTypeId) -> Self {
        Self { event_type, waiting: HashMap::new(), order: BTreeSet::new() }
    }

    /// Passes a payload on `sends` times, instead of an older one of the same.
    pub(crate) fn add(&mut self, of: K, bytes: Vec<u8>, sends: u32) {
        if self.waiting.len() >= WAITING_MAX
            && !self.waiting.contains_key(&of)
            && let Some(Reverse((_, oldest))) = self.order.pop_last()
        {
            self.waiting.remove(&oldest);
        }
        let before = self.waiting.insert(of, Waiting { bytes, sends_left: sends });
        if let Some(before) = before {
            self.order.remove(&Reverse((before.sends_left, of)));
        }
        self.order.insert(Reverse((sends, of)));
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds to a packet what fits into `room` bytes of it, but for `skip`. Costs what it adds,
    /// however many wait.
    pub(crate) fn fill(
        &mut self,
        packet: &mut ControlPacket<'_>,
        skip: impl Fn(&K) -> bool,
        room: usize,
    ) {
        let mut room = room.min(packet.room());
        let (mut sent, mut passed_over) = (Vec::new(), 0);
        for Reverse((sends_left, of)) in &self.order {
            if room < 2 * wireloom_wire::FRAME_HEADER_BYTES || passed_over == PASSED_OVER_MAX {
                break;
            }
            let Some(waiting) = self.waiting.get(of).filter(|_| !skip(of)) else {
                continue;
            };
            let frame_bytes =
                wireloom_wire::align_up(wireloom_wire::FRAME_HEADER_BYTES + waiting.bytes.len());
            if frame_bytes > room || !packet.push(self.event_type, &waiting.bytes) {
                passed_over += 1;
                continue;
            }
            room -= frame_bytes;
            sent.push((*sends_left, *of));
        }
        for (sends_left, of) in sent {
            self.order.remove(&Reverse((sends_left, of)));
            match self.waiting.get_mut(&of) {
                Some(waiting) if sends_left > 1 => {
                    waiting.sends_left = sends_left - 1;
                    self.order.insert(Reverse((sends_left - 1, of)));
                }
                _ => drop(self.waiting.remove(&of)),
            }
        }
    }
}

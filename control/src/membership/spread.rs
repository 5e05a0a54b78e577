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

#[cfg(test)]
mod tests {
    use wireloom_wire::gossip::{CONTROL_OVERHEAD_BYTES, CONTROL_PACKET_BYTES_MAX, RECORD};
    use wireloom_wire::{NodeId, SessionId, decode_packet};

    use super::*;

    /// The first bytes of what goes with the next packet of so many bytes, but for `skip`.
    fn next(spread: &mut Spread<u16>, skip: Option<u16>, room: usize) -> Vec<u8> {
        let mut bytes = [0; CONTROL_PACKET_BYTES_MAX];
        let mut packet = ControlPacket::new(&mut bytes);
        spread.fill(&mut packet, |of| Some(*of) == skip, room);
        let sent = packet.finish(NodeId(1), SessionId(1));
        assert!(sent.len() <= room + CONTROL_OVERHEAD_BYTES, "{} bytes", sent.len());
        let packet = decode_packet(sent, true).expect("genuine");
        packet.frames().flatten().map(|frame| frame.payload()[0]).collect()
    }

    #[test]
    fn the_youngest_go_first_each_so_often_and_nobody_is_told_of_itself() {
        let mut spread = Spread::new(RECORD);
        spread.add(1, vec![1; 16], 2);
        spread.add(2, vec![2; 16], 3);
        assert_eq!(next(&mut spread, Some(2), 1_000), [1]);
        assert_eq!(next(&mut spread, None, 1_000), [2, 1]);
        assert_eq!(next(&mut spread, None, 1_000), [2]);
        spread.add(2, vec![9; 16], 2);
        let sent = [(); 3].map(|()| next(&mut spread, None, 1_000));
        assert_eq!(sent, [vec![9], vec![9], vec![]], "the newer word instead of the older");
        assert!(spread.is_empty() && spread.order.is_empty());
    }

    #[test]
    fn shorter_news_go_with_a_packet_that_has_no_room_for_longer_ones() {
        let mut spread = Spread::new(RECORD);
        spread.add(1, vec![1; 16], 1);
        spread.add(2, vec![2; 600], 2);
        assert_eq!(next(&mut spread, None, 200), [1]);
        assert_eq!(next(&mut spread, None, 1_000), [2]);
    }

    #[test]
    fn so_many_wait_at_most_and_the_one_passed_on_most_often_gives_way() {
        let mut spread = Spread::new(RECORD);
        spread.add(0, vec![0], 1);
        for of in 1..=600 {
            spread.add(of, vec![1], 3);
            assert!(spread.len() <= WAITING_MAX && spread.order.len() == spread.len(), "{of}");
        }
        assert_eq!(spread.len(), WAITING_MAX);
        assert!(!spread.waiting.contains_key(&0) && spread.waiting.contains_key(&600));
    }
}

//! Records passed on: each new one goes with a bounded number of packets, the youngest first. Who
//! misses all of them notices at the sender's next probe, which says how new its record is.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use wireloom_wire::gossip::{ControlPacket, RECORD};

use super::record::{GOSSIP_VERSION, Record};

/// Records waiting to be passed on at a time; beyond that the one passed on most often goes.
const WAITING_MAX: usize = 512;

/// Records looked at for one packet that do not fit into it; shorter ones may stand behind them.
const PASSED_OVER_MAX: usize = 4;

#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    sends_left: u32,
}

/// The records that are still to be passed on.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    waiting: HashMap<SocketAddr, Waiting>,
    /// The same in the order in which they go.
    order: BTreeSet<Reverse<(u32, SocketAddr)>>,
}

impl Spread {
    /// Passes a record on `sends` times, instead of an older one of the same member.
    pub(crate) fn add(&mut self, record: &Arc<Record>, sends: u32) {
        let address = record.identity.address;
        if self.waiting.len() >= WAITING_MAX
            && !self.waiting.contains_key(&address)
            && let Some(Reverse((_, oldest))) = self.order.pop_last()
        {
            self.waiting.remove(&oldest);
        }
        let mut bytes = vec![GOSSIP_VERSION];
        bytes.extend(record.encode());
        let before = self.waiting.insert(address, Waiting { bytes, sends_left: sends });
        if let Some(before) = before {
            self.order.remove(&Reverse((before.sends_left, address)));
        }
        self.order.insert(Reverse((sends, address)));
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds to a packet what fits below `bytes_max` bytes of it, for a member at `to`. Costs what
    /// it adds, however many records wait.
    pub(crate) fn fill(&mut self, packet: &mut ControlPacket<'_>, to: SocketAddr, room: usize) {
        let mut room = room.min(packet.room());
        let (mut sent, mut passed_over) = (Vec::new(), 0);
        for Reverse((sends_left, address)) in &self.order {
            if room < 2 * wireloom_wire::FRAME_HEADER_BYTES || passed_over == PASSED_OVER_MAX {
                break;
            }
            let Some(waiting) = self.waiting.get(address).filter(|_| *address != to) else {
                continue;
            };
            let frame_bytes =
                wireloom_wire::align_up(wireloom_wire::FRAME_HEADER_BYTES + waiting.bytes.len());
            if frame_bytes > room || !packet.push(RECORD, &waiting.bytes) {
                passed_over += 1;
                continue;
            }
            room -= frame_bytes;
            sent.push((*sends_left, *address));
        }
        for (sends_left, address) in sent {
            self.order.remove(&Reverse((sends_left, address)));
            match self.waiting.get_mut(&address) {
                Some(waiting) if sends_left > 1 => {
                    waiting.sends_left = sends_left - 1;
                    self.order.insert(Reverse((sends_left - 1, address)));
                }
                _ => drop(self.waiting.remove(&address)),
            }
        }
    }
}

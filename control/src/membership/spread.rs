//! Records passed on: each new one goes with a bounded number of packets, the youngest first. Who
//! misses all of them notices at the sender's next probe, which says how new its record is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use wireloom_wire::gossip::{ControlPacket, RECORD};

use super::record::{GOSSIP_VERSION, Record};

/// Records waiting to be passed on at a time; beyond that the one passed on most often goes.
const WAITING_MAX: usize = 512;

#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    sends_left: u32,
}

/// The records that are still to be passed on.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    waiting: BTreeMap<SocketAddr, Waiting>,
}

impl Spread {
    /// Passes a record on `sends` times, instead of an older one of the same member.
    pub(crate) fn add(&mut self, record: &Arc<Record>, sends: u32) {
        let address = record.identity.address;
        if self.waiting.len() >= WAITING_MAX && !self.waiting.contains_key(&address) {
            let oldest = self.waiting.iter().min_by_key(|(_, waiting)| waiting.sends_left);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.waiting.remove(&oldest);
            }
        }
        let mut bytes = vec![GOSSIP_VERSION];
        bytes.extend(record.encode());
        self.waiting.insert(address, Waiting { bytes, sends_left: sends });
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds to a packet what fits below `bytes_max` bytes of it, for a member at `to`.
    pub(crate) fn fill(&mut self, packet: &mut ControlPacket<'_>, to: SocketAddr, room: usize) {
        let mut room = room.min(packet.room());
        let mut order: Vec<(u32, SocketAddr)> =
            self.waiting.iter().map(|(address, waiting)| (waiting.sends_left, *address)).collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        for (_, address) in order.into_iter().filter(|(_, address)| *address != to) {
            let Some(waiting) = self.waiting.get_mut(&address) else { continue };
            let frame_bytes =
                wireloom_wire::align_up(wireloom_wire::FRAME_HEADER_BYTES + waiting.bytes.len());
            if frame_bytes > room || !packet.push(RECORD, &waiting.bytes) {
                continue;
            }
            room -= frame_bytes;
            waiting.sends_left -= 1;
            if waiting.sends_left == 0 {
                self.waiting.remove(&address);
            }
            if room < 2 * wireloom_wire::FRAME_HEADER_BYTES {
                break;
            }
        }
    }
}

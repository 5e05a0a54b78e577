//! Beacons: how nodes with credentials find each other before they have keys.
//!
//! A beacon says that somebody is at the address it comes from, and nothing else. It is the only
//! packet in clear that such a node's machine looks at, and it changes nothing in the table.

use wireloom_wire::decode_packet;
use wireloom_wire::gossip::{
    BEACON, BEACON_PACKET_BYTES, CONTROL_OVERHEAD_BYTES, CONTROL_PACKET_BYTES_MAX, ControlPacket,
    is_control,
};

use super::machine::Membership;

impl Membership {
    /// The packet that says that this node is here.
    pub(crate) fn beacon(&self) -> Vec<u8> {
        let mut bytes = [0; CONTROL_PACKET_BYTES_MAX];
        let mut packet = ControlPacket::new(&mut bytes);
        packet.push(BEACON, &[0; BEACON_PACKET_BYTES - CONTROL_OVERHEAD_BYTES]);
        packet.finish(self.own.identity.node, self.cluster).to_vec()
    }

    /// Whether a packet that proves nothing is a beacon of another node of this cluster; any other
    /// is counted.
    pub(crate) fn hears_beacon(&mut self, packet: &[u8]) -> bool {
        self.counts.packets_heard += 1;
        self.counts.bytes_heard += packet.len() as u64;
        let Ok(packet) = decode_packet(packet, true) else {
            self.counts.refused_malformed += 1;
            return false;
        };
        let first = packet.frames().next().and_then(Result::ok);
        let is_beacon = is_control(&packet.header)
            && packet.header.length as usize >= BEACON_PACKET_BYTES
            && first.is_some_and(|frame| frame.header.event_type == BEACON);
        if !is_beacon {
            self.counts.refused_clear += 1;
        } else if packet.header.session != self.cluster {
            self.counts.refused_cluster += 1;
        } else {
            let is_other = packet.header.source != self.own.identity.node;
            self.counts.beacons_heard += u64::from(is_other);
            return is_other;
        }
        false
    }
}

//! The way of control packets from a receiver to the control thread: checked packets with the
//! address they came from, and whether they had been sealed, in a bounded ring. The receiver owns
//! the writing half, copies and never answers; what finds the ring full is dropped and counted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use wireloom_ring::Producer;
use wireloom_wire::gossip::CONTROL_PACKET_BYTES_MAX;
use wireloom_wire::{PACKET_HEADER_BYTES, Packet, PacketFlags, PacketHeader, body_hash};

use crate::counters::Counter;
use crate::wake::Wake;

/// Bytes before the packet in a record: its length field, the port, the address as IPv6, and
/// whether the packet was sealed.
const SENDER_BYTES: usize = 32;
const AUTHENTICATED_OFFSET: usize = 28;

/// The receiver's half.
#[derive(Debug)]
pub struct ControlIntake {
    producer: Producer,
    wake: Option<Arc<Wake>>,
    staged: bool,
}

impl ControlIntake {
    /// Writes into `producer` and wakes the control thread by `wake`.
    #[must_use]
    pub const fn new(producer: Producer, wake: Option<Arc<Wake>>) -> Self {
        Self { producer, wake, staged: false }
    }

    /// Takes a packet; returns what to count. One that was sealed goes on as it was before.
    pub(crate) fn take(
        &mut self,
        packet: &Packet<'_>,
        authenticated: bool,
        sender: SocketAddr,
    ) -> Counter {
        let packet_bytes = PACKET_HEADER_BYTES + packet.body.len();
        if packet_bytes > CONTROL_PACKET_BYTES_MAX {
            return Counter::ControlOversized;
        }
        let seal = PacketFlags::SEALED | PacketFlags::CLEAR;
        let header = PacketHeader {
            flags: packet.header.flags.without(seal | PacketFlags::PADDED),
            length: u32::try_from(packet_bytes).unwrap_or(0),
            ..packet.header
        };
        let summed = authenticated || header.flags.contains(PacketFlags::CHECKSUMMED);
        let head = header.encode(summed.then(|| body_hash(packet.body)));
        let length = SENDER_BYTES + packet_bytes;
        let Ok(mut claim) = self.producer.claim(length) else { return Counter::ControlShed };
        claim[4..6].copy_from_slice(&sender.port().to_le_bytes());
        claim[6..8].fill(0);
        let address = match sender.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        claim[8..24].copy_from_slice(&address.octets());
        let scope = if let SocketAddr::V6(sender) = sender { sender.scope_id() } else { 0 };
        claim[24..28].copy_from_slice(&scope.to_le_bytes());
        claim[AUTHENTICATED_OFFSET..SENDER_BYTES].fill(0);
        claim[AUTHENTICATED_OFFSET] = u8::from(authenticated);
        let body = SENDER_BYTES + PACKET_HEADER_BYTES;
        claim[SENDER_BYTES..body].copy_from_slice(&head);
        claim[body..length].copy_from_slice(packet.body);
        claim.stage(length);
        self.staged = true;
        Counter::ControlPassed
    }

    /// Shows the control thread what was taken.
    pub(crate) fn end_cycle(&mut self) {
        if std::mem::take(&mut self.staged) {
            self.producer.publish();
            if let Some(wake) = &self.wake {
                wake.notify();
            }
        }
    }
}

/// A control packet as a receiver passed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed<'a> {
    /// Where it came from, as the kernel says.
    pub sender: SocketAddr,
    /// The packet in clear, which [`wireloom_wire::decode_packet`] takes again.
    pub packet: &'a [u8],
    /// It had been sealed by a key of the node that it names as its source.
    pub authenticated: bool,
}

/// Reads one record of the control thread's half. `None` for what is no such record.
#[must_use]
pub fn read_control(record: &[u8]) -> Option<Passed<'_>> {
    let (head, packet) = record.split_at_checked(SENDER_BYTES)?;
    let authenticated = head[AUTHENTICATED_OFFSET] != 0;
    let sender = head;
    let port = u16::from_le_bytes(sender[4..6].try_into().ok()?);
    let octets: [u8; 16] = sender[8..24].try_into().ok()?;
    let scope = u32::from_le_bytes(sender[24..28].try_into().ok()?);
    let address = Ipv6Addr::from(octets);
    let sender = match address.to_ipv4_mapped() {
        Some(ip) => SocketAddr::new(ip.into(), port),
        None => SocketAddr::V6(std::net::SocketAddrV6::new(address, port, 0, scope)),
    };
    Some(Passed { sender, packet, authenticated })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom_ring::{Records, RingConfig, ring};
    use wireloom_wire::{NodeId, SessionId, decode_packet};

    fn packet(body: &[u8], flags: PacketFlags) -> Packet<'_> {
        let header = PacketHeader {
            flags,
            lane: 0,
            frame_count: 1,
            length: 0,
            session: SessionId(5),
            source: NodeId(6),
            sequence: 0,
            first_event: 0,
        };
        Packet { header, body }
    }

    #[test]
    fn packets_arrive_with_their_sender_and_a_full_ring_drops() {
        let (producer, mut consumer) =
            ring(RingConfig { capacity_bytes: 8192, huge_pages: false }).expect("memory");
        let mut intake = ControlIntake::new(producer, None);
        let senders: [SocketAddr; 2] =
            [([10, 0, 0, 9], 77).into(), "[fe80::7%3]:9".parse().expect("an address")];
        let (small, clear) = ([5; 96], PacketFlags::CHECKSUMMED);
        let sealed = PacketFlags::SEALED | PacketFlags::PADDED;
        for (sender, authenticated) in [(senders[0], false), (senders[1], true)] {
            let packet = packet(&small, if authenticated { sealed } else { clear });
            assert_eq!(intake.take(&packet, authenticated, sender), Counter::ControlPassed);
        }
        let oversized = [0; 1_360];
        let oversized = packet(&oversized, clear);
        assert_eq!(intake.take(&oversized, false, senders[0]), Counter::ControlOversized);
        let large = [6; 992];
        let large = packet(&large, clear);
        while intake.take(&large, false, senders[0]) == Counter::ControlPassed {}
        assert_eq!(intake.take(&large, false, senders[0]), Counter::ControlShed);
        intake.end_cycle();
        let batch = consumer.read();
        let read: Vec<_> = Records::new(batch).filter_map(read_control).collect();
        for (passed, sender) in read.iter().zip(senders) {
            let packet = decode_packet(passed.packet, true).expect("a packet as any other");
            assert_eq!((packet.body, packet.header.flags), (&small[..], clear));
            assert_eq!((packet.header.source, packet.header.length), (NodeId(6), 144));
            assert_eq!((passed.sender, passed.authenticated), (sender, sender == senders[1]));
        }
        assert!(read.len() > 3 && read_control(&[0; 31]).is_none());
    }
}

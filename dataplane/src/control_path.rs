//! The way of control packets from a receiver to the control thread: checked packets with the
//! address they came from, in a bounded ring. The receiver owns the writing half, copies and never
//! answers; what finds the ring full is dropped and counted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use wireloom_ring::Producer;
use wireloom_wire::gossip::CONTROL_PACKET_BYTES_MAX;

use crate::counters::Counter;
use crate::wake::Wake;

/// Bytes before the packet in a record: its length field, the port, and the address as IPv6.
const SENDER_BYTES: usize = 32;

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

    /// Takes a packet; returns what to count.
    pub(crate) fn take(&mut self, packet: &[u8], sender: SocketAddr) -> Counter {
        if packet.len() > CONTROL_PACKET_BYTES_MAX {
            return Counter::ControlOversized;
        }
        let length = SENDER_BYTES + packet.len();
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
        claim[28..SENDER_BYTES].fill(0);
        claim[SENDER_BYTES..length].copy_from_slice(packet);
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

/// Reads one record of the control thread's half: who sent it, and the packet, which
/// [`wireloom_wire::decode_packet`] takes again. `None` for what is no such record.
#[must_use]
pub fn read_control(record: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (sender, packet) = record.split_at_checked(SENDER_BYTES)?;
    let port = u16::from_le_bytes(sender[4..6].try_into().ok()?);
    let octets: [u8; 16] = sender[8..24].try_into().ok()?;
    let scope = u32::from_le_bytes(sender[24..28].try_into().ok()?);
    let address = Ipv6Addr::from(octets);
    let sender = match address.to_ipv4_mapped() {
        Some(ip) => SocketAddr::new(ip.into(), port),
        None => SocketAddr::V6(std::net::SocketAddrV6::new(address, port, 0, scope)),
    };
    Some((sender, packet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom_ring::{Records, RingConfig, ring};

    #[test]
    fn packets_arrive_with_their_sender_and_a_full_ring_drops() {
        let (producer, mut consumer) =
            ring(RingConfig { capacity_bytes: 8192, huge_pages: false }).expect("memory");
        let mut intake = ControlIntake::new(producer, None);
        let senders: [SocketAddr; 2] =
            [([10, 0, 0, 9], 77).into(), "[fe80::7%3]:9".parse().expect("an address")];
        for sender in senders {
            assert_eq!(intake.take(&[5; 100], sender), Counter::ControlPassed);
        }
        assert_eq!(intake.take(&[0; 1_401], senders[0]), Counter::ControlOversized);
        while intake.take(&[6; 1_000], senders[0]) == Counter::ControlPassed {}
        assert_eq!(intake.take(&[6; 1_000], senders[0]), Counter::ControlShed);
        intake.end_cycle();
        let batch = consumer.read();
        let read: Vec<_> = Records::new(batch).filter_map(read_control).collect();
        assert_eq!(read[0], (senders[0], &[5; 100][..]));
        assert_eq!(read[1], (senders[1], &[5; 100][..]));
        assert!(read.len() > 3 && read_control(&[0; 31]).is_none());
    }
}

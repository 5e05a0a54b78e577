//! Every kind of packet that a stranger can send, as one that nothing but a key or a certificate
//! would tell from an honest one.

use std::net::SocketAddr;

use wireloom::Identity;
use wireloom_control::membership::{Membership, MembershipConfig, Record, Timing};
use wireloom_seal::{Cipher, Direction, Mode, SealingKey, Secret};
use wireloom_wire::gossip::{
    CONTROL_OVERHEAD_BYTES, CONTROL_PACKET_BYTES_MAX, ControlPacket, NACK, PAGE, PULL, RECORD,
    SUSPECT, SWIM, WELCOME,
};
use wireloom_wire::{
    Correlation, EventTypeId, ExchangeKind, FrameEncoder, FrameHeader, KeySetId, NodeId,
    PACKET_HEADER_BYTES, PacketFlags, PacketHeader, Priority, ReplyWay, SessionId, Status,
    align_up, body_hash, decode_packet, event_type_id,
};

/// Whom the packets are about.
#[derive(Clone, Copy)]
pub(crate) struct Parties {
    /// The node that is to answer.
    pub(crate) desk: Identity,
    /// Its cluster.
    pub(crate) cluster: SessionId,
    /// Where answers, probes and replies are to go: to somebody who never asked.
    pub(crate) victim: SocketAddr,
    /// Which of several strangers.
    pub(crate) number: u64,
}

impl Parties {
    fn stranger(&self) -> Identity {
        let life = self.desk.life + self.number;
        Identity { life, node: NodeId(1_000 + self.number), address: self.victim }
    }

    fn record(&self) -> Record {
        Record::new(self.stranger(), "stranger")
    }

    fn control(&self, event_type: EventTypeId, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [0; CONTROL_PACKET_BYTES_MAX];
        let mut packet = ControlPacket::new(&mut bytes);
        assert!(packet.push(event_type, payload));
        packet.finish(self.stranger().node, self.cluster).to_vec()
    }

    fn hello(&self) -> Vec<u8> {
        let (record, cluster, timing) = (self.record(), self.cluster, Timing::default());
        let config = MembershipConfig { record, cluster, seed: 1, timing };
        let mut stranger = Membership::new(config).unwrap();
        stranger.hello(self.desk.address, 1_000_000_000);
        stranger.take_packets().remove(0).1
    }

    /// A question, as long as questions are.
    fn pull(&self, what: u8) -> Vec<u8> {
        let mut payload = vec![1, what];
        payload.resize((CONTROL_PACKET_BYTES_MAX & !15) - CONTROL_OVERHEAD_BYTES, 0);
        self.control(PULL, &payload)
    }

    /// A failure detector's word of this kind, with a third member and a number where it has them.
    fn swim(&self, kind: u8, third: bool, probe: bool) -> Vec<u8> {
        let mut payload = vec![1];
        payload.extend_from_slice(&[0; 12]);
        payload.extend_from_slice(&[kind, 0, 0]);
        put(&mut payload, self.stranger());
        put(&mut payload, self.desk);
        if third {
            put(&mut payload, self.stranger());
        }
        payload.extend(probe.then_some(7));
        self.control(SWIM, &payload)
    }

    /// Word of the failure detector that a member has left.
    pub(crate) fn leave_of(&self, member: Identity) -> Vec<u8> {
        let mut payload = vec![1];
        payload.extend_from_slice(&[0; 12]);
        payload.extend_from_slice(&[8, 0, 0]);
        put(&mut payload, self.stranger());
        put(&mut payload, self.desk);
        // One update: down, in the newest of its refutations.
        payload.extend_from_slice(&[0, 1, 2, 0xff, 0xff]);
        put(&mut payload, member);
        self.control(SWIM, &payload)
    }

    fn with_record(&self, event_type: EventTypeId, front: &[u8]) -> Vec<u8> {
        let hello = self.hello();
        let packet = decode_packet(&hello, true).unwrap();
        let said = packet.frames().next().unwrap().unwrap().payload()[1..].to_vec();
        let length = usize::from(u16::from_le_bytes([said[0], said[1]]));
        let record = if event_type == RECORD { &said[2..2 + length] } else { &said[..2 + length] };
        self.control(event_type, &[&[1], front, record].concat())
    }

    fn packet(&self, flags: PacketFlags, body: &[u8]) -> Vec<u8> {
        let header = self.header(flags, body);
        [&header.encode(Some(body_hash(body)))[..], body].concat()
    }

    fn header(&self, flags: PacketFlags, body: &[u8]) -> PacketHeader {
        PacketHeader {
            flags,
            lane: Priority::Normal.lane(),
            frame_count: u16::from(!body.is_empty()),
            length: u32::try_from(PACKET_HEADER_BYTES + body.len()).unwrap(),
            session: SessionId(7),
            source: self.stranger().node,
            sequence: self.number,
            first_event: self.number,
        }
    }

    fn sealed(&self, flags: PacketFlags, body: &[u8]) -> Vec<u8> {
        let secret = Secret::new(Cipher::of_this_processor(), &[9; 32]);
        let mut key = SealingKey::new(&secret, Direction::FromDialler, KeySetId(7), 0);
        let mut bytes = vec![0; PACKET_HEADER_BYTES + body.len() + 16];
        let sealed = (&self.header(flags, body), Mode::Full);
        let length = key.seal(sealed, [body], &mut bytes, 1).unwrap();
        bytes.truncate(length);
        bytes
    }

    /// A request whose reply is to go to the victim.
    fn request(&self, event_type: &str, way: ReplyWay) -> Vec<u8> {
        let ip = match self.victim.ip() {
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            std::net::IpAddr::V6(ip) => ip,
        };
        let correlation = Correlation {
            id: self.number,
            kind: ExchangeKind::Request,
            way,
            address: ip.octets(),
            port: self.victim.port(),
            subject: EventTypeId(1),
        };
        self.packet(PacketFlags::SEQUENCED, &frame(event_type, Some(&correlation)))
    }

    /// Every kind, each with its name.
    pub(crate) fn kinds(&self) -> Vec<(&'static str, Vec<u8>)> {
        let event = frame("parcel", None);
        let status = Status {
            source: self.desk.node,
            session: SessionId(7),
            lane: 2,
            next_sequence: 1 << 40,
            window_bytes: u64::MAX,
        };
        let suspect = {
            let mut payload = vec![1, 0, 0];
            put(&mut payload, self.desk);
            put(&mut payload, self.stranger());
            self.control(SUSPECT, &payload)
        };
        let nack = {
            let mut payload = vec![1, 7];
            put(&mut payload, self.stranger());
            put(&mut payload, self.desk);
            self.control(NACK, &payload)
        };
        vec![
            ("event", self.packet(PacketFlags::SEQUENCED, &event)),
            ("tail marker", self.packet(PacketFlags::SEQUENCED, &[])),
            ("status", status.encode().to_vec()),
            ("request", self.request("sum?", ReplyWay::Datagram)),
            ("request nobody answers", self.request("nobody?", ReplyWay::Datagram)),
            ("request by link", self.request("sum?", ReplyWay::Reliable)),
            ("hello", self.hello()),
            ("pull of itself", self.pull(0)),
            ("pull of the table", self.pull(1)),
            ("welcome", self.with_record(WELCOME, &[0; 8])),
            ("page", self.with_record(PAGE, &[0, 1])),
            ("record", self.with_record(RECORD, &[])),
            ("ping", self.swim(0, false, true)),
            ("acknowledgement", self.swim(1, false, true)),
            ("request for a ping", self.swim(2, true, true)),
            ("indirect ping", self.swim(3, true, true)),
            ("announcement", self.swim(6, false, false)),
            ("gossip", self.swim(8, false, false)),
            ("you are dead", self.swim(10, false, false)),
            ("suspicion", suspect),
            ("no answer", nack),
            ("sealed event", self.sealed(PacketFlags::SEQUENCED, &event)),
            ("sealed tail marker", self.sealed(PacketFlags::SEQUENCED, &[])),
            ("sealed status", self.sealed(PacketFlags::STATUS, &[])),
            ("sealed control packet", self.sealed(PacketFlags::empty(), &event)),
            ("nothing", Vec::new()),
            ("noise", vec![0xa5; 1_400]),
        ]
    }
}

fn put(into: &mut Vec<u8>, identity: Identity) {
    into.extend_from_slice(&identity.life.to_le_bytes());
    into.extend_from_slice(&identity.node.0.to_le_bytes());
    let SocketAddr::V4(address) = identity.address else { panic!("IPv4") };
    into.push(4);
    into.extend_from_slice(&address.ip().octets());
    into.extend_from_slice(&address.port().to_le_bytes());
}

fn frame(event_type: &str, correlation: Option<&Correlation>) -> Vec<u8> {
    let header = FrameHeader::bare(event_type_id(event_type), Priority::Normal);
    let mut encoder = FrameEncoder::new(header);
    if let Some(correlation) = correlation {
        encoder = encoder.with_correlation(correlation);
    }
    let mut body = vec![0; 256];
    let length = encoder.write(&[9; 16], &mut body).unwrap();
    body.truncate(align_up(length));
    body
}

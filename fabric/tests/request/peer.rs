//! A socket that speaks as a node: every byte of its packets is the test's.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};

use wireloom::Target;
use wireloom_wire::*;

use crate::{PATIENCE, Product};

pub(crate) struct Peer {
    socket: UdpSocket,
    sequence: u64,
    events: u64,
    /// What came in one packet with what was asked for.
    heard: VecDeque<Correlation>,
}

impl Peer {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, sequence: 0, events: 0, heard: VecDeque::new() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    pub(crate) fn target(&self) -> Target {
        Target::Node(self.address())
    }

    /// The next correlation that comes.
    pub(crate) fn hears(&mut self) -> Correlation {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            let mut bytes = vec![0; 2048];
            let (length, _) = self.socket.recv_from(&mut bytes).expect("something comes");
            let Ok(packet) = decode_packet(&bytes[..length], true) else { continue };
            let frames = packet.frames().filter_map(Result::ok);
            self.heard.extend(frames.filter_map(|one| one.correlation()));
        }
    }

    /// Sends one frame of an exchange.
    pub(crate) fn says(
        &mut self,
        to: SocketAddr,
        event_type: &str,
        (correlation, payload): (&Correlation, &[u8]),
    ) {
        let fingerprint = <Product as wireloom::Event>::FINGERPRINT32;
        let header = header(event_type, fingerprint);
        let encoder = FrameEncoder::new(header).with_correlation(correlation);
        self.sends(to, &[written(&encoder, payload)]);
    }

    /// Sends frames in one packet.
    pub(crate) fn sends(&mut self, to: SocketAddr, frames: &[Vec<u8>]) {
        let body = frames.concat();
        let header = PacketHeader {
            flags: PacketFlags::SEQUENCED,
            lane: Priority::Normal.lane(),
            frame_count: u16::try_from(frames.len()).expect("few"),
            length: u32::try_from(PACKET_HEADER_BYTES + body.len()).expect("short"),
            session: SessionId(7),
            source: NodeId(9),
            sequence: self.sequence,
            first_event: self.events,
        };
        self.sequence += 1;
        self.events += frames.len() as u64;
        let bytes = [&header.encode(Some(body_hash(&body)))[..], &body].concat();
        self.socket.send_to(&bytes, to).expect("sent");
    }
}

pub(crate) fn header(event_type: &str, fingerprint: Fingerprint) -> FrameHeader {
    FrameHeader {
        length: 0,
        event_type: event_type_id(event_type),
        fingerprint,
        priority: Priority::Normal,
        encoding: Encoding::Rkyv,
        flags: FrameFlags::empty(),
        sequence: 0,
        timestamp_ns: 0,
    }
}

/// A frame's bytes.
pub(crate) fn written(encoder: &FrameEncoder<'_>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    let length = encoder.write(payload, &mut bytes).expect("fits");
    bytes.truncate(length);
    bytes
}

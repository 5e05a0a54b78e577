//! Control messages: what nodes say to each other beside events when a link over TCP begins.
//!
//! A control message is one frame with a reserved event type in an unsequenced packet, so that a
//! reader of packets meets nothing new. Plain values; who says what and when is the control plane's
//! matter. Owns nothing; a message that was read borrows its name from the packet.
//!
//! ```text
//!    0         2         3         4                   8
//!  0 ├ protocol┼ name n ─┼ streams ┼ blocks ┼ zeros ───┼─ cluster ─────────────────────────────┤
//! 16 ├─ incarnation ─────────────────────────────────┼ family ┼ 0 ┼─ port ──┼─ largest event ─┤
//! 32 ├─ address, 16 bytes: IPv6, or IPv4 and zeros ──────────────────────────────────────────────┤
//! 48 ├ lane ─┼ pieces ┼ 0, 0 ┼─ session ──────────┼─ sequence ──────────────────┤ for each stream
//!  … ├─ name, n bytes of UTF-8 ─┤
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bytes::{all_zero, put, u16_at, u32_at, u64_at};
use crate::checksum::body_hash;
use crate::extension::NAME_BYTES_MAX;
use crate::flags::PacketFlags;
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader};
use crate::frame_encoder::FrameEncoder;
use crate::ids::{EventTypeId, NodeId, SessionId, event_type_id};
use crate::packet::{PACKET_HEADER_BYTES, Packet, PacketHeader};
use crate::priority::{Encoding, LANES, Lane, Priority};
use crate::{ALIGNMENT, align_up};

/// The version of what nodes say on a link: both sides must speak the same.
pub const LINK_PROTOCOL: u16 = 3;

/// Streams that one hello can open: two a lane, one of packets of events and one of pieces.
pub const HELLO_STREAMS_MAX: usize = 2 * LANES;

/// The longest control packet: header, frame header, fixed part, streams and name.
pub const CONTROL_PACKET_BYTES_MAX: usize = PACKET_HEADER_BYTES
    + FRAME_HEADER_BYTES
    + align_up(FIXED_BYTES + HELLO_STREAMS_MAX * STREAM_BYTES + NAME_BYTES_MAX);

/// "I am …, and I want to go on with these streams": the first packet on a link.
const HELLO: EventTypeId = event_type_id("wl.hello");
/// "I am …, and I want these streams from here on": the answer.
const WELCOME: EventTypeId = event_type_id("wl.welcome");
/// "No, because …": the other answer.
const REFUSAL: EventTypeId = event_type_id("wl.refusal");

const FIXED_BYTES: usize = 48;
const STREAM_BYTES: usize = 16;
const REFUSAL_BYTES: usize = 16;

/// A stream that is opened or goes on, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamPoint {
    /// The lane, below [`LANES`].
    pub lane: Lane,
    /// Whether its packets carry [`Piece`](crate::Piece)s and not whole events.
    pub pieces: bool,
    /// The session of the stream's source.
    pub session: u32,
    /// In a hello the first packet that is not acknowledged; in a welcome the first one wanted.
    pub sequence: u64,
}

/// What a hello or a welcome says. The node's id is the packet's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The version of the conversation; [`LINK_PROTOCOL`] where it is ours.
    pub protocol: u16,
    /// Which cluster the node is of; 0 where none was named.
    pub cluster: u64,
    /// The node.
    pub node: NodeId,
    /// Which life of it: later lives have larger numbers.
    pub incarnation: u64,
    /// Where it listens.
    pub listens: SocketAddr,
    /// The largest event it takes in pieces, bytes of its whole frame.
    pub event_bytes_max: u32,
    /// In a hello: whether it can read and write blocks. In a welcome: whether the link does.
    pub compresses: bool,
    /// Its streams: the first `stream_count` count.
    pub streams: [StreamPoint; HELLO_STREAMS_MAX],
    /// How many streams.
    pub stream_count: usize,
    /// Its name.
    pub name: &'a str,
}

impl Hello<'_> {
    /// The streams that count.
    #[must_use]
    pub fn streams(&self) -> &[StreamPoint] {
        self.streams.get(..self.stream_count).unwrap_or(&self.streams)
    }
}

/// Why a link was refused, in a packet or as the name of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The other side speaks another version.
    Protocol,
    /// It is of another cluster.
    Cluster,
    /// It is this very node.
    OwnNode,
    /// Another life, started later, has this name.
    Name,
    /// The hello could not be read, or something else came first.
    Malformed,
    /// No room for another link or stream now.
    Busy,
    /// A stream is asked to go on where it cannot.
    Stream,
    /// The certificate is of another node than the hello.
    Identity,
    /// It talks to nodes with certificates only.
    Secured,
}

impl Refusal {
    /// Every refusal; the place in this list is its number on the wire, counted from 1.
    pub const ALL: [Self; 9] = [
        Self::Protocol,
        Self::Cluster,
        Self::OwnNode,
        Self::Name,
        Self::Malformed,
        Self::Busy,
        Self::Stream,
        Self::Identity,
        Self::Secured,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The refusal's stable short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Cluster => "cluster",
            Self::OwnNode => "own_node",
            Self::Name => "name",
            Self::Malformed => "malformed",
            Self::Busy => "busy",
            Self::Stream => "stream",
            Self::Identity => "identity",
            Self::Secured => "secured",
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.pad(match self {
            Self::Protocol => "it speaks another version of the protocol: update the older node",
            Self::Cluster => "it belongs to another cluster: give both nodes the same cluster name",
            Self::OwnNode => "it is this node itself: use the target local",
            Self::Name => "another node of this name started later: give each node its own name",
            Self::Malformed => "it could not read the hello: find out who listens at this address",
            Self::Busy => "it has no room for another link: try again later",
            Self::Stream => "it cannot go on where the stream stands: the link begins anew",
            Self::Identity => {
                "this node's certificate is of another node: it needs one of its name"
            }
            Self::Secured => "it talks to nodes with certificates only: give this node one",
        })
    }
}

/// A control message that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// The first packet of a link.
    Hello(Hello<'a>),
    /// The answer that opens it.
    Welcome(Hello<'a>),
    /// The answer that does not.
    Refusal(Refusal),
}

impl<'a> Control<'a> {
    /// What a checked packet says, if it is an unsequenced packet with one frame of a type
    /// that this version knows and nothing in it contradicts itself.
    #[must_use]
    pub fn of(packet: &Packet<'a>) -> Option<Self> {
        let PacketHeader { flags, frame_count, source, .. } = packet.header;
        if flags.without(PacketFlags::CHECKSUMMED) != PacketFlags::default() || frame_count != 1 {
            return None;
        }
        let frame = packet.frames().next()?.ok()?;
        if frame.header.encoding != Encoding::Raw || !frame.header.flags.is_empty() {
            return None;
        }
        if packet.body.len() != align_up(frame.bytes().len()) {
            return None;
        }
        match frame.header.event_type {
            HELLO => Some(Self::Hello(decode_hello(source, frame.payload())?)),
            WELCOME => Some(Self::Welcome(decode_hello(source, frame.payload())?)),
            REFUSAL => Some(Self::Refusal(decode_refusal(frame.payload())?)),
            _ => None,
        }
    }

    /// Writes the packet; gives its length. `source` is the node that speaks; a hello's own node is
    /// not looked at. Names are cut to 255 bytes at a letter's end.
    ///
    /// About 60 ns.
    #[must_use]
    pub fn encode(&self, source: NodeId, into: &mut [u8; CONTROL_PACKET_BYTES_MAX]) -> usize {
        let mut payload = [0; CONTROL_PACKET_BYTES_MAX];
        let (event_type, bytes) = match self {
            Self::Hello(hello) => (HELLO, encode_hello(hello, &mut payload)),
            Self::Welcome(hello) => (WELCOME, encode_hello(hello, &mut payload)),
            Self::Refusal(refusal) => {
                payload[0] = refusal.number();
                (REFUSAL, REFUSAL_BYTES)
            }
        };
        let encoder = FrameEncoder::new(FrameHeader::bare(event_type, Priority::Critical));
        let (head, body) = into.split_at_mut(PACKET_HEADER_BYTES);
        let payload = payload.get(..bytes).unwrap_or_default();
        // There is room for the longest: the sum is made of the same parts.
        let body_bytes = encoder.write(payload, body).unwrap_or(0);
        let body = body.get(..body_bytes).unwrap_or_default();
        let length = PACKET_HEADER_BYTES + body_bytes;
        head.copy_from_slice(&link_header(source, length).encode(Some(body_hash(body))));
        length
    }
}

/// The header of what a link says beside events: one frame, of no stream.
pub(crate) fn link_header(source: NodeId, length: usize) -> PacketHeader {
    PacketHeader {
        flags: PacketFlags::default(),
        lane: 0,
        frame_count: 1,
        length: u32::try_from(length).unwrap_or(0),
        session: SessionId(0),
        source,
        sequence: 0,
        first_event: 0,
    }
}

fn encode_hello(hello: &Hello<'_>, into: &mut [u8; CONTROL_PACKET_BYTES_MAX]) -> usize {
    let name = &hello.name[..hello.name.floor_char_boundary(NAME_BYTES_MAX)];
    let streams = hello.streams();
    put(into, 0, hello.protocol.to_le_bytes());
    into[2] = u8::try_from(name.len()).unwrap_or(0);
    into[3] = u8::try_from(streams.len()).unwrap_or(0);
    into[4] = u8::from(hello.compresses);
    put(into, 8, hello.cluster.to_le_bytes());
    put(into, 16, hello.incarnation.to_le_bytes());
    put(into, 26, hello.listens.port().to_le_bytes());
    put(into, 28, hello.event_bytes_max.to_le_bytes());
    match hello.listens.ip() {
        IpAddr::V4(ip) => {
            into[24] = 4;
            put(into, 32, ip.octets());
        }
        IpAddr::V6(ip) => {
            into[24] = 6;
            put(into, 32, ip.octets());
        }
    }
    let mut at = FIXED_BYTES;
    for stream in streams {
        into[at] = stream.lane;
        into[at + 1] = u8::from(stream.pieces);
        put(into, at + 4, stream.session.to_le_bytes());
        put(into, at + 8, stream.sequence.to_le_bytes());
        at += STREAM_BYTES;
    }
    into[at..at + name.len()].copy_from_slice(name.as_bytes());
    at + name.len()
}

fn decode_hello(node: NodeId, payload: &[u8]) -> Option<Hello<'_>> {
    let (fixed, rest) = payload.split_first_chunk::<FIXED_BYTES>()?;
    let (name_bytes, stream_count) = (usize::from(fixed[2]), usize::from(fixed[3]));
    let reserved_is_zero = all_zero(&fixed[5..8]) && fixed[25] == 0;
    if stream_count > HELLO_STREAMS_MAX || fixed[4] > 1 || !reserved_is_zero {
        return None;
    }
    let (points, name) = rest.split_at_checked(stream_count * STREAM_BYTES)?;
    if name.len() != name_bytes || name.is_empty() {
        return None;
    }
    let mut streams = [StreamPoint::default(); HELLO_STREAMS_MAX];
    for (stream, bytes) in streams.iter_mut().zip(points.as_chunks::<STREAM_BYTES>().0) {
        if usize::from(bytes[0]) >= LANES || bytes[1] > 1 || !all_zero(&bytes[2..4]) {
            return None;
        }
        let (session, sequence) = (u32_at(bytes, 4), u64_at(bytes, 8));
        *stream = StreamPoint { lane: bytes[0], pieces: bytes[1] == 1, session, sequence };
    }
    Some(Hello {
        protocol: u16_at(fixed, 0),
        cluster: u64_at(fixed, 8),
        node,
        incarnation: u64_at(fixed, 16),
        listens: SocketAddr::new(decode_address(fixed)?, u16_at(fixed, 26)),
        event_bytes_max: u32_at(fixed, 28),
        compresses: fixed[4] == 1,
        streams,
        stream_count,
        name: core::str::from_utf8(name).ok()?,
    })
}

fn decode_address(fixed: &[u8; FIXED_BYTES]) -> Option<IpAddr> {
    let bytes = fixed[32..].first_chunk::<ALIGNMENT>()?;
    match fixed[24] {
        4 if all_zero(&bytes[4..]) => {
            Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into())
        }
        6 => Some(Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}

fn decode_refusal(payload: &[u8]) -> Option<Refusal> {
    let bytes: &[u8; REFUSAL_BYTES] = payload.try_into().ok()?;
    if !all_zero(&bytes[1..]) {
        return None;
    }
    Refusal::ALL.get(usize::from(bytes[0]).checked_sub(1)?).copied()
}

#[cfg(test)]
#[path = "control/tests.rs"]
mod tests;

//! The bytes of identities and of the failure detector's datagrams. Little-endian; everything from
//! outside is bounded and checked, and a refusal is one value: [`Malformed`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};
use wireloom_wire::NodeId;

use super::identity::Identity;

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("control bytes are malformed: they end early or say what cannot be")]
pub struct Malformed;

/// Reads bytes from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A text of at most `bytes_max` bytes behind its length in one byte.
    pub(crate) fn text(&mut self, bytes_max: usize) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u8()?);
        if length > bytes_max {
            return Err(Malformed);
        }
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)?;
        if text.chars().any(char::is_control) { Err(Malformed) } else { Ok(text) }
    }

    pub(crate) fn address(&mut self) -> Result<SocketAddr, Malformed> {
        let ip: IpAddr = match self.u8()? {
            4 => Ipv4Addr::from(self.array::<4>()?).into(),
            6 => Ipv6Addr::from(self.array::<16>()?).into(),
            _ => return Err(Malformed),
        };
        let port = self.u16()?;
        let nobody = ip.is_unspecified() || ip.is_multicast() || port == 0;
        let all = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        if nobody || all { Err(Malformed) } else { Ok(SocketAddr::new(ip, port)) }
    }

    pub(crate) fn identity(&mut self) -> Result<Identity, Malformed> {
        let (life, node) = (self.u64()?, NodeId(self.u64()?));
        Ok(Identity { life, node, address: self.address()? })
    }
}

pub(crate) fn put_text(into: &mut Vec<u8>, text: &str) {
    into.push(u8::try_from(text.len()).unwrap_or(0));
    into.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_address(into: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            into.push(4);
            into.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            into.push(6);
            into.extend_from_slice(&ip.octets());
        }
    }
    into.extend_from_slice(&address.port().to_le_bytes());
}

pub(crate) fn put_identity(into: &mut Vec<u8>, identity: &Identity) {
    into.extend_from_slice(&identity.life.to_le_bytes());
    into.extend_from_slice(&identity.node.0.to_le_bytes());
    put_address(into, identity.address);
}

/// The first byte of a failure detector's datagram: what it is.
pub(crate) const PING: u8 = 0;
pub(crate) const ACK: u8 = 1;
pub(crate) const PING_REQUEST: u8 = 2;
const INDIRECT_PING: u8 = 3;
const INDIRECT_ACK: u8 = 4;
pub(crate) const FORWARDED_ACK: u8 = 5;
const ANNOUNCE: u8 = 6;
const FEED: u8 = 7;
const GOSSIP: u8 = 8;
const BROADCAST: u8 = 9;
const TURN_UNDEAD: u8 = 10;

fn put_header(into: &mut Vec<u8>, header: &Header<Identity>) {
    let (kind, third, probe) = match &header.message {
        Message::Ping(probe) => (PING, None, Some(*probe)),
        Message::Ack(probe) => (ACK, None, Some(*probe)),
        Message::PingReq { target, probe_number } => {
            (PING_REQUEST, Some(target), Some(*probe_number))
        }
        Message::IndirectPing { origin, probe_number } => {
            (INDIRECT_PING, Some(origin), Some(*probe_number))
        }
        Message::IndirectAck { target, probe_number } => {
            (INDIRECT_ACK, Some(target), Some(*probe_number))
        }
        Message::ForwardedAck { origin, probe_number } => {
            (FORWARDED_ACK, Some(origin), Some(*probe_number))
        }
        Message::Announce => (ANNOUNCE, None, None),
        Message::Feed => (FEED, None, None),
        Message::Gossip => (GOSSIP, None, None),
        Message::Broadcast => (BROADCAST, None, None),
        Message::TurnUndead => (TURN_UNDEAD, None, None),
    };
    into.push(kind);
    into.extend_from_slice(&header.src_incarnation.to_le_bytes());
    put_identity(into, &header.src);
    put_identity(into, &header.dst);
    if let Some(third) = third {
        put_identity(into, third);
    }
    into.extend(probe);
}

pub(crate) fn read_header(from: &mut Reader<'_>) -> Result<Header<Identity>, Malformed> {
    let kind = from.u8()?;
    let src_incarnation = from.u16()?;
    let (src, dst) = (from.identity()?, from.identity()?);
    let message = match kind {
        PING => Message::Ping(from.u8()?),
        ACK => Message::Ack(from.u8()?),
        PING_REQUEST => Message::PingReq { target: from.identity()?, probe_number: from.u8()? },
        INDIRECT_PING => {
            Message::IndirectPing { origin: from.identity()?, probe_number: from.u8()? }
        }
        INDIRECT_ACK => Message::IndirectAck { target: from.identity()?, probe_number: from.u8()? },
        FORWARDED_ACK => {
            Message::ForwardedAck { origin: from.identity()?, probe_number: from.u8()? }
        }
        ANNOUNCE => Message::Announce,
        FEED => Message::Feed,
        GOSSIP => Message::Gossip,
        BROADCAST => Message::Broadcast,
        TURN_UNDEAD => Message::TurnUndead,
        _ => return Err(Malformed),
    };
    Ok(Header { src, src_incarnation, dst, message })
}

fn read_member(from: &mut Reader<'_>) -> Result<Member<Identity>, Malformed> {
    let state = match from.u8()? {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        _ => return Err(Malformed),
    };
    let incarnation = from.u16()?;
    Ok(Member::new(from.identity()?, incarnation, state))
}

/// A datagram of the failure detector with those of its updates that `keep` wants, as many as fit
/// into `bytes_max`: so that no answer is longer than what it answers. An update that is cut goes
/// with a later datagram.
pub(crate) fn cut(
    datagram: &[u8],
    bytes_max: usize,
    mut keep: impl FnMut(&Member<Identity>) -> bool,
) -> Result<Vec<u8>, Malformed> {
    let mut rest = Reader(datagram);
    let header = read_header(&mut rest)?;
    let mut shorter = datagram[..datagram.len() - rest.0.len()].to_vec();
    if rest.0.len() < 2 || header.message == Message::Broadcast {
        return Ok(shorter);
    }
    let head = shorter.len();
    // foca counts in network byte order.
    let (mut kept, count) = (0_u16, rest.u16()?.swap_bytes());
    shorter.extend_from_slice(&[0, 0]);
    for _ in 0..count {
        let before = rest.0;
        let member = read_member(&mut rest)?;
        let bytes = &before[..before.len() - rest.0.len()];
        if keep(&member) && shorter.len() + bytes.len() <= bytes_max {
            shorter.extend_from_slice(bytes);
            kept += 1;
        }
    }
    if kept == 0 {
        shorter.truncate(head);
    } else {
        shorter[head..head + 2].copy_from_slice(&kept.to_be_bytes());
    }
    Ok(shorter)
}

/// What `foca` encodes and decodes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codec;

impl Codec {
    fn write(bytes: &[u8], mut into: impl BufMut) -> Result<(), Malformed> {
        if into.remaining_mut() < bytes.len() {
            return Err(Malformed);
        }
        into.put_slice(bytes);
        Ok(())
    }

    fn read<T>(
        mut from: impl Buf,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        let mut reader = Reader(from.chunk());
        let before = reader.0.len();
        let value = read(&mut reader)?;
        let taken = before - reader.0.len();
        from.advance(taken);
        Ok(value)
    }
}

impl foca::Codec<Identity> for Codec {
    type Error = Malformed;

    fn encode_header(
        &mut self,
        header: &Header<Identity>,
        into: impl BufMut,
    ) -> Result<(), Malformed> {
        let mut bytes = Vec::with_capacity(128);
        put_header(&mut bytes, header);
        Self::write(&bytes, into)
    }

    fn decode_header(&mut self, from: impl Buf) -> Result<Header<Identity>, Malformed> {
        Self::read(from, read_header)
    }

    fn encode_member(
        &mut self,
        member: &Member<Identity>,
        into: impl BufMut,
    ) -> Result<(), Malformed> {
        let mut bytes = Vec::with_capacity(48);
        bytes.push(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        bytes.extend_from_slice(&member.incarnation().to_le_bytes());
        put_identity(&mut bytes, member.id());
        Self::write(&bytes, into)
    }

    fn decode_member(&mut self, from: impl Buf) -> Result<Member<Identity>, Malformed> {
        Self::read(from, read_member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Codec as _;

    fn identity(last: u8) -> Identity {
        Identity { life: 5, node: NodeId(7), address: ([10, 0, 0, last], 9).into() }
    }

    #[test]
    fn headers_of_every_kind_read_back() {
        let third = identity(3);
        for message in [
            Message::Ping(9),
            Message::Ack(9),
            Message::PingReq { target: third, probe_number: 1 },
            Message::IndirectPing { origin: third, probe_number: 1 },
            Message::IndirectAck { target: third, probe_number: 1 },
            Message::ForwardedAck { origin: third, probe_number: 1 },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ] {
            let (src, dst) = (identity(1), identity(2));
            let header = Header { src, src_incarnation: 4, dst, message };
            let mut bytes = Vec::new();
            put_header(&mut bytes, &header);
            assert_eq!(read_header(&mut Reader(&bytes)), Ok(header));
            for short in 0..bytes.len() {
                assert_eq!(read_header(&mut Reader(&bytes[..short])), Err(Malformed));
            }
        }
    }

    #[test]
    fn a_datagram_is_cut_between_updates() {
        let message = Message::Ack(1);
        let header = Header { src: identity(1), src_incarnation: 0, dst: identity(2), message };
        let mut datagram = Vec::new();
        put_header(&mut datagram, &header);
        let head = datagram.len();
        datagram.extend_from_slice(&3_u16.to_be_bytes());
        for last in 3..6 {
            let member = Member::alive(identity(last));
            Codec.encode_member(&member, &mut datagram).expect("there is room");
        }
        let each = (datagram.len() - head - 2) / 3;
        let all = |_: &Member<Identity>| true;
        assert_eq!(cut(&datagram, datagram.len(), all).as_ref(), Ok(&datagram));
        let two = cut(&datagram, datagram.len() - 1, all).expect("well formed");
        assert_eq!((two.len(), two[head + 1]), (head + 2 + 2 * each, 2));
        assert_eq!(cut(&datagram, head, all).expect("well formed"), datagram[..head]);
        let last =
            cut(&datagram, datagram.len(), |of| *of.id() == identity(5)).expect("well formed");
        assert_eq!(last[head + 2..], datagram[head + 2 + 2 * each..]);
        assert_eq!(cut(&datagram[..datagram.len() - 1], 9_000, all), Err(Malformed));
    }

    #[test]
    fn addresses_of_nobody_are_refused() {
        for address in ["0.0.0.0:9", "224.0.0.1:9", "10.0.0.1:0", "[::]:9", "255.255.255.255:9"] {
            let mut bytes = Vec::new();
            put_address(&mut bytes, address.parse().expect("an address"));
            assert_eq!(Reader(&bytes).address(), Err(Malformed), "{address}");
        }
    }
}

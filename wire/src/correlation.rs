//! What ties a reply to its request: the `CORRELATION` extension.
//!
//! Plain values without state. A request says where its reply goes, because a packet's source is
//! the socket that sent it and not where its node listens.
//!
//! ```text
//!  0 ├─ id, u64 ──────────────────────────────┼─ kind ─┼─ way ─┼─ port ─┼─ subject, u32 ─┤
//! 16 ├─ address: an IPv6 one, or an IPv4 one mapped into one (::ffff:a.b.c.d) ───────────┤
//! ```

use crate::bytes::{all_zero, put, u16_at, u32_at, u64_at};
use crate::ids::EventTypeId;

pub(crate) const CORRELATION_BYTES: usize = 32;

/// What an event is in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExchangeKind {
    /// A request to one node, which says so when nobody there answers it.
    Request = 1,
    /// A request to many, of whom those who do not answer it are silent.
    Query = 2,
    /// A reply.
    Reply = 3,
    /// Word that no reply will come, and why.
    Denial = 4,
}

/// By which way a reply goes to the requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReplyWay {
    /// Inside the process: address and port are 0.
    Local = 0,
    /// By datagram.
    Datagram = 1,
    /// By a reliable link.
    Reliable = 2,
}

/// The `CORRELATION` extension of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Correlation {
    /// The requester's number of the request.
    pub id: u64,
    /// What this event is.
    pub kind: ExchangeKind,
    /// How the reply goes; [`ReplyWay::Local`] in replies themselves.
    pub way: ReplyWay,
    /// Where it goes: an IPv6 address, or a mapped IPv4 one; 0 in replies.
    pub address: [u8; 16],
    /// At which port; 0 in replies.
    pub port: u16,
    /// Of a request: the type of the reply that is understood. Of a reply: the type that it is.
    pub subject: EventTypeId,
}

impl Correlation {
    /// The extension's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; CORRELATION_BYTES] {
        let mut bytes = [0; CORRELATION_BYTES];
        put(&mut bytes, 0, self.id.to_le_bytes());
        (bytes[8], bytes[9]) = (self.kind as u8, self.way as u8);
        put(&mut bytes, 10, self.port.to_le_bytes());
        put(&mut bytes, 12, self.subject.0.to_le_bytes());
        bytes[16..].copy_from_slice(&self.address);
        bytes
    }

    /// What the bytes say; `None` when they are not an extension: a kind or way that is none, or an
    /// address where the way has none.
    #[must_use]
    pub fn decode(bytes: &[u8; CORRELATION_BYTES]) -> Option<Self> {
        let kind = match bytes[8] {
            1 => ExchangeKind::Request,
            2 => ExchangeKind::Query,
            3 => ExchangeKind::Reply,
            4 => ExchangeKind::Denial,
            _ => return None,
        };
        let way = match bytes[9] {
            0 => ReplyWay::Local,
            1 => ReplyWay::Datagram,
            2 => ReplyWay::Reliable,
            _ => return None,
        };
        let answers = matches!(kind, ExchangeKind::Reply | ExchangeKind::Denial);
        let port = u16_at(bytes, 10);
        let mut address = [0; 16];
        address.copy_from_slice(&bytes[16..]);
        let is_local = matches!(way, ReplyWay::Local);
        if (answers && !is_local) || is_local != (port == 0) || is_local != all_zero(&address) {
            return None;
        }
        let (id, subject) = (u64_at(bytes, 0), EventTypeId(u32_at(bytes, 12)));
        Some(Self { id, kind, way, address, port, subject })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Correlation = Correlation {
        id: 0x0102_0304_0506_0708,
        kind: ExchangeKind::Request,
        way: ReplyWay::Datagram,
        address: [7; 16],
        port: 9_000,
        subject: EventTypeId(0x0a0b_0c0d),
    };

    #[test]
    fn what_is_written_is_read() {
        let reply = Correlation {
            kind: ExchangeKind::Reply,
            way: ReplyWay::Local,
            address: [0; 16],
            port: 0,
            ..REQUEST
        };
        let denial = Correlation { kind: ExchangeKind::Denial, ..reply };
        let local = Correlation { kind: ExchangeKind::Query, ..reply };
        let reliable = Correlation { way: ReplyWay::Reliable, ..REQUEST };
        for correlation in [REQUEST, reply, denial, local, reliable] {
            assert_eq!(Correlation::decode(&correlation.encode()), Some(correlation));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |change: fn(&mut [u8; 32])| {
            let mut bytes = REQUEST.encode();
            change(&mut bytes);
            Correlation::decode(&bytes).is_none()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|bytes| bytes[8] = 0) && refused(|bytes| bytes[8] = 5), "kinds");
        assert!(refused(|bytes| bytes[9] = 3), "ways");
        assert!(refused(|bytes| bytes[8] = 3), "a reply with an address");
        assert!(refused(|bytes| bytes[9] = 0), "this process at an address");
        assert!(refused(|bytes| bytes[10..12].fill(0)), "no port");
        assert!(refused(|bytes| bytes[16..].fill(0)), "no address");
    }
}

//! What a member says of itself: its record. Small, bounded, versioned; every node keeps the newest
//! of every member.

use std::net::SocketAddr;

use wireloom_wire::{EventTypeId, NODE_NAME_BYTES_MAX, is_node_name};

use super::codec::{Malformed, Reader, put_address, put_identity, put_text};
use super::identity::Identity;

/// Version of the control messages; others are refused by name.
pub(crate) const GOSSIP_VERSION: u8 = 1;

/// Bytes of a node's name.
pub const NAME_BYTES_MAX: usize = NODE_NAME_BYTES_MAX;
/// Addresses of one node.
pub const ADDRESSES_MAX: usize = 8;
/// Bytes of all services' names together, one more for each.
pub const SERVICES_BYTES_MAX: usize = 400;
/// Types a record lists; a node that wants more is taken to want every type.
pub const INTERESTS_MAX: usize = 64;
/// Bytes of a profile's name.
const PROFILE_BYTES_MAX: usize = 16;
/// Bytes of a program's version.
const VERSION_BYTES_MAX: usize = 16;
/// Bytes of a record, whatever it says: one and a page's head fit into a packet.
pub const RECORD_BYTES_MAX: usize = 1_024;

const _: () = {
    let addresses = 1 + 19 * ADDRESSES_MAX;
    let texts = 3 + NAME_BYTES_MAX + PROFILE_BYTES_MAX + VERSION_BYTES_MAX;
    let types = 2 + 4 * INTERESTS_MAX;
    let fixed = 35 + 4 + 4 + 8 + 8;
    assert!(fixed + addresses + texts + 1 + SERVICES_BYTES_MAX + types <= RECORD_BYTES_MAX);
};

/// The event types a node wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Every type: it subscribed to all, or to more than [`INTERESTS_MAX`].
    Every,
    /// These, sorted.
    Types(Vec<EventTypeId>),
}

impl Interest {
    /// The interest in `types`: sorted, each once, or every type when there are too many.
    #[must_use]
    pub fn of(mut types: Vec<EventTypeId>) -> Self {
        types.sort_unstable_by_key(|event_type| event_type.0);
        types.dedup();
        if types.len() > INTERESTS_MAX { Self::Every } else { Self::Types(types) }
    }

    /// Whether events of this type are wanted.
    #[must_use]
    pub fn wants(&self, event_type: EventTypeId) -> bool {
        match self {
            Self::Every => true,
            Self::Types(types) => {
                types.binary_search_by_key(&event_type.0, |wanted| wanted.0).is_ok()
            }
        }
    }
}

/// Why a node cannot say this of itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The node's name.
    #[error(
        "a node of a cluster has a name of 1 to {NAME_BYTES_MAX} bytes without control \
         characters, and {0:?} is none: choose a shorter one"
    )]
    Name(String),
    /// The services' names.
    #[error(
        "the services' names have {0} bytes, one more for each, and {SERVICES_BYTES_MAX} fit: \
         announce fewer, or give them shorter names of 1 to 255 bytes"
    )]
    Services(usize),
    /// The addresses.
    #[error("a node announces 1 to {ADDRESSES_MAX} addresses, not {0}")]
    Addresses(usize),
}

/// A member's word on itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which life of which node, at which address.
    pub identity: Identity,
    /// Grows with every change within a life.
    pub version: u32,
    /// The node's name.
    pub name: String,
    /// Every address it receives at, the identity's among them.
    pub addresses: Vec<SocketAddr>,
    /// The services it offers.
    pub services: Vec<String>,
    /// The event types it wants.
    pub interest: Interest,
    /// Load average of its machine over the last minute, in thousandths.
    pub load_milli: u32,
    /// Memory in use on its machine, bytes.
    pub memory_used_bytes: u64,
    /// Memory of its machine, bytes.
    pub memory_total_bytes: u64,
    /// Name of its profile.
    pub profile: String,
    /// Version of its program.
    pub program: String,
}

impl Record {
    /// A record that says the least: who and where.
    #[must_use]
    pub fn new(identity: Identity, name: &str) -> Self {
        Self {
            identity,
            version: 1,
            name: name.to_owned(),
            addresses: vec![identity.address],
            services: Vec::new(),
            interest: Interest::Types(Vec::new()),
            load_milli: 0,
            memory_used_bytes: 0,
            memory_total_bytes: 0,
            profile: String::new(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Whether the bounds hold.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), RecordError> {
        let name = &self.name;
        if !is_node_name(name) {
            return Err(RecordError::Name(name.clone()));
        }
        let services: usize = self.services.iter().map(|service| 1 + service.len()).sum();
        let named = self.services.iter().all(|service| {
            (1..=255).contains(&service.len()) && !service.chars().any(char::is_control)
        });
        if services > SERVICES_BYTES_MAX || !named {
            return Err(RecordError::Services(services));
        }
        match self.addresses.len() {
            1..=ADDRESSES_MAX => Ok(()),
            other => Err(RecordError::Addresses(other)),
        }
    }

    /// Whether this is a newer word than `other`.
    #[must_use]
    pub(crate) fn is_newer(&self, other: &Self) -> bool {
        (self.identity, self.version) > (other.identity, other.version)
    }

    /// The record's bytes.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        put_identity(&mut bytes, &self.identity);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.load_milli.to_le_bytes());
        bytes.extend_from_slice(&self.memory_used_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.memory_total_bytes.to_le_bytes());
        for text in [&self.name, &self.profile, &self.program] {
            put_text(&mut bytes, text);
        }
        bytes.push(u8::try_from(self.addresses.len()).unwrap_or(0));
        for address in &self.addresses {
            put_address(&mut bytes, *address);
        }
        bytes.push(u8::try_from(self.services.len()).unwrap_or(0));
        for service in &self.services {
            put_text(&mut bytes, service);
        }
        match &self.interest {
            Interest::Every => bytes.push(u8::MAX),
            Interest::Types(types) => {
                bytes.push(u8::try_from(types.len()).unwrap_or(u8::MAX));
                for event_type in types {
                    bytes.extend_from_slice(&event_type.0.to_le_bytes());
                }
            }
        }
        bytes
    }

    /// Whose record the bytes begin, and how new it is.
    pub(crate) fn decode_version(bytes: &[u8]) -> Result<(Identity, u32), Malformed> {
        let mut from = Reader(bytes);
        Ok((from.identity()?, from.u32()?))
    }

    /// The record in `bytes`, all of them.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader(bytes);
        let (identity, version) = (from.identity()?, from.u32()?);
        let load_milli = from.u32()?;
        let (memory_used_bytes, memory_total_bytes) = (from.u64()?, from.u64()?);
        let name = from.text(NAME_BYTES_MAX)?.to_owned();
        let profile = from.text(PROFILE_BYTES_MAX)?.to_owned();
        let program = from.text(VERSION_BYTES_MAX)?.to_owned();
        let count = usize::from(from.u8()?);
        if count > ADDRESSES_MAX {
            return Err(Malformed);
        }
        let addresses = (0..count).map(|_| from.address()).collect::<Result<Vec<_>, _>>()?;
        let count = from.u8()?;
        let services = (0..count).map(|_| from.text(255).map(str::to_owned));
        let services = services.collect::<Result<Vec<_>, _>>()?;
        let interest = match from.u8()? {
            u8::MAX => Interest::Every,
            count if usize::from(count) > INTERESTS_MAX => return Err(Malformed),
            count => {
                let types = (0..count).map(|_| from.u32().map(EventTypeId));
                Interest::of(types.collect::<Result<Vec<_>, _>>()?)
            }
        };
        let record = Self {
            identity,
            version,
            name,
            addresses,
            services,
            interest,
            load_milli,
            memory_used_bytes,
            memory_total_bytes,
            profile,
            program,
        };
        let whole = from.0.is_empty() && record.addresses.contains(&identity.address);
        if whole && record.check().is_ok() { Ok(record) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom_wire::NodeId;

    fn full() -> Record {
        let address = "[2001:db8::1]:9000".parse().expect("an address");
        let identity = Identity { life: u64::MAX, node: NodeId(1), address };
        Record {
            addresses: vec![address; ADDRESSES_MAX],
            services: (0..40).map(|n| format!("service{n:02}")).collect(),
            interest: Interest::of((0..64).map(EventTypeId).collect()),
            profile: "p".repeat(PROFILE_BYTES_MAX),
            ..Record::new(identity, &"n".repeat(NAME_BYTES_MAX))
        }
    }

    #[test]
    fn the_longest_record_reads_back_and_every_shorter_piece_is_refused() {
        let record = full();
        assert_eq!(record.check(), Ok(()));
        let bytes = record.encode();
        assert!(bytes.len() <= RECORD_BYTES_MAX, "{}", bytes.len());
        assert_eq!(Record::decode(&bytes), Ok(record));
        for short in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..short]), Err(Malformed));
        }
        assert_eq!(Record::decode(&[&bytes[..], &[0]].concat()), Err(Malformed));
    }

    #[test]
    fn changed_bytes_never_panic_and_never_break_a_bound() {
        let bytes = full().encode();
        for at in 0..bytes.len() {
            for value in [0, 1, 5, 127, 255] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(record) = Record::decode(&changed) {
                    assert_eq!(record.check(), Ok(()));
                    assert!(record.encode().len() <= RECORD_BYTES_MAX);
                }
            }
        }
    }

    #[test]
    fn too_many_types_are_every_type() {
        let many = Interest::of((0..65).map(EventTypeId).collect());
        assert_eq!(many, Interest::Every);
        assert!(many.wants(EventTypeId(1_000)));
        let few = Interest::of(vec![EventTypeId(9), EventTypeId(3), EventTypeId(9)]);
        assert!(few.wants(EventTypeId(3)) && !few.wants(EventTypeId(4)));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let long = Record { name: "x".repeat(65), ..full() };
        assert!(matches!(long.check(), Err(RecordError::Name(_))));
        let many = Record { services: vec!["x".repeat(200); 2], ..full() };
        assert_eq!(many.check(), Err(RecordError::Services(402)));
        let none = Record { addresses: Vec::new(), ..full() };
        assert_eq!(none.check(), Err(RecordError::Addresses(0)));
    }
}

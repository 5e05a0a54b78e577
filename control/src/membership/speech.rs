//! The messages beside the failure detector's: hello and welcome, pull and page.

use std::net::SocketAddr;

use wireloom_wire::gossip::{CONTROL_OVERHEAD_BYTES, CONTROL_PACKET_BYTES_MAX};

use super::codec::{Malformed, Reader, put_address, put_identity};
use super::identity::Identity;
use super::record::{GOSSIP_VERSION, RECORD_BYTES_MAX, Record};

/// Payload of a padded question: no answer can be longer.
const PADDED_BYTES: usize = (CONTROL_PACKET_BYTES_MAX & !15) - CONTROL_OVERHEAD_BYTES;

/// A suspicion's frame in a packet, at most: header, version, incarnation, two identities.
pub(crate) const SUSPICION_FRAME_BYTES_MAX: usize =
    wireloom_wire::align_up(wireloom_wire::FRAME_HEADER_BYTES + 3 + 2 * 35);

/// Records of a page at most: the shortest has some 60 bytes.
const PAGE_RECORDS_MAX: usize = 32;

/// A message of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Version,
    Malformed,
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Checks the version in the first byte of every payload.
pub(crate) fn versioned(payload: &[u8]) -> Result<Reader<'_>, Refusal> {
    let mut reader = Reader(payload);
    match reader.u8()? {
        GOSSIP_VERSION => Ok(reader),
        _ => Err(Refusal::Version),
    }
}

fn put_record(into: &mut Vec<u8>, record: &Record) {
    let bytes = record.encode();
    into.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
    into.extend_from_slice(&bytes);
}

fn take_record(from: &mut Reader<'_>) -> Result<Record, Malformed> {
    let length = usize::from(from.u16()?);
    if length > RECORD_BYTES_MAX { Err(Malformed) } else { Record::decode(from.take(length)?) }
}

/// A hello's payload.
pub(crate) fn hello(record: &Record) -> Vec<u8> {
    let mut payload = vec![GOSSIP_VERSION];
    put_record(&mut payload, record);
    payload.resize(PADDED_BYTES, 0);
    payload
}

pub(crate) fn read_hello(payload: &[u8]) -> Result<Record, Refusal> {
    if payload.len() != PADDED_BYTES {
        return Err(Refusal::Malformed);
    }
    Ok(take_record(&mut versioned(payload)?)?)
}

/// A welcome's payload: the newest life known at the address of the one who said hello.
pub(crate) fn welcome(record: &Record, known_life: u64) -> Vec<u8> {
    let mut payload = vec![GOSSIP_VERSION];
    payload.extend_from_slice(&known_life.to_le_bytes());
    put_record(&mut payload, record);
    payload
}

pub(crate) fn read_welcome(payload: &[u8]) -> Result<(u64, Record), Refusal> {
    let mut from = versioned(payload)?;
    Ok((from.u64()?, take_record(&mut from)?))
}

/// What a pull asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pull {
    /// The asked node's own record.
    Own,
    /// The records from the start.
    First,
    /// The records behind this address.
    After(SocketAddr),
}

pub(crate) fn pull(what: Pull) -> Vec<u8> {
    let mut payload = vec![GOSSIP_VERSION];
    match what {
        Pull::Own => payload.push(0),
        Pull::First => payload.push(1),
        Pull::After(address) => {
            payload.push(2);
            put_address(&mut payload, address);
        }
    }
    payload.resize(PADDED_BYTES, 0);
    payload
}

pub(crate) fn read_pull(payload: &[u8]) -> Result<Pull, Refusal> {
    let mut from = versioned(payload)?;
    if payload.len() != PADDED_BYTES {
        return Err(Refusal::Malformed);
    }
    match from.u8()? {
        0 => Ok(Pull::Own),
        1 => Ok(Pull::First),
        2 => Ok(Pull::After(from.address()?)),
        _ => Err(Refusal::Malformed),
    }
}

/// A suspicion's payload: `origin` got no answer from `suspect`.
pub(crate) fn suspicion(suspect: Identity, incarnation: u16, origin: Identity) -> Vec<u8> {
    let mut payload = vec![GOSSIP_VERSION];
    payload.extend_from_slice(&incarnation.to_le_bytes());
    put_identity(&mut payload, &suspect);
    put_identity(&mut payload, &origin);
    payload
}

pub(crate) fn read_suspicion(payload: &[u8]) -> Result<(Identity, u16, Identity), Refusal> {
    let mut from = versioned(payload)?;
    let incarnation = from.u16()?;
    Ok((from.identity()?, incarnation, from.identity()?))
}

/// A negative answer's payload: `by` was asked to probe `target` and got no answer.
pub(crate) fn nack(by: Identity, target: Identity) -> Vec<u8> {
    let mut payload = vec![GOSSIP_VERSION];
    put_identity(&mut payload, &by);
    put_identity(&mut payload, &target);
    payload
}

pub(crate) fn read_nack(payload: &[u8]) -> Result<(Identity, Identity), Refusal> {
    let mut from = versioned(payload)?;
    Ok((from.identity()?, from.identity()?))
}

/// A page's payload: as many of `records` as fit.
pub(crate) fn page<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<u8> {
    let mut payload = vec![GOSSIP_VERSION, 0];
    let mut records = records.peekable();
    for _ in 0..PAGE_RECORDS_MAX {
        let before = payload.len();
        let Some(record) = records.peek() else { break };
        put_record(&mut payload, record);
        if payload.len() > PADDED_BYTES {
            payload.truncate(before);
            break;
        }
        records.next();
    }
    payload[1] = u8::from(records.peek().is_some());
    payload
}

/// The records of a page, and whether there are more behind the last.
pub(crate) fn read_page(payload: &[u8]) -> Result<(bool, Vec<Record>), Refusal> {
    let mut from = versioned(payload)?;
    let more = from.u8()? != 0;
    let mut records = Vec::new();
    while !from.0.is_empty() {
        if records.len() == PAGE_RECORDS_MAX {
            return Err(Refusal::Malformed);
        }
        records.push(take_record(&mut from)?);
    }
    Ok((more, records))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom_wire::NodeId;

    fn record(last: u8) -> Record {
        let address = ([10, 0, 0, last], 9).into();
        let name = format!("node-{last}");
        Record::new(Identity { life: 1, node: NodeId(u64::from(last)), address }, &name)
    }

    #[test]
    fn questions_are_never_shorter_than_answers() {
        let asked = hello(&record(1)).len();
        assert_eq!(asked, pull(Pull::First).len());
        assert!(welcome(&record(2), 9).len() <= asked);
        let records: Vec<Record> = (0..100).map(record).collect();
        assert!(page(records.iter()).len() <= asked);
    }

    #[test]
    fn messages_read_back_and_other_versions_are_told_apart() {
        assert_eq!(read_hello(&hello(&record(1))), Ok(record(1)));
        assert_eq!(read_welcome(&welcome(&record(1), 7)), Ok((7, record(1))));
        for what in [Pull::Own, Pull::First, Pull::After(record(3).identity.address)] {
            assert_eq!(read_pull(&pull(what)), Ok(what));
        }
        let (one, two) = (record(1).identity, record(2).identity);
        assert_eq!(read_suspicion(&suspicion(one, 9, two)), Ok((one, 9, two)));
        assert_eq!(read_nack(&nack(one, two)), Ok((one, two)));
        let mut other = hello(&record(1));
        other[0] = 2;
        assert_eq!(read_hello(&other), Err(Refusal::Version));
        let short = &hello(&record(1))[..200];
        assert_eq!(
            read_hello(short),
            Err(Refusal::Malformed),
            "an unpadded hello asks too cheaply"
        );
    }

    #[test]
    fn pages_lead_through_all_records() {
        let records: Vec<Record> = (0..100).map(record).collect();
        let (mut read, mut pages) = (Vec::new(), 0);
        loop {
            let (more, some) = read_page(&page(records[read.len()..].iter())).expect("a page");
            read.extend(some);
            pages += 1;
            if !more {
                break;
            }
        }
        assert_eq!(read, records);
        assert!((4..20).contains(&pages), "{pages}");
    }
}

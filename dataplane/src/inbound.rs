//! An inbound ring: what the receiver writes for one subscriber and the subscriber's thread drains.
//!
//! Each record is a 32-byte origin header and then the frame as it came (one copy, out of the
//! receive buffer), or a notice of events that will not come: lost on the way, or shed for a reason
//! of the subscriber's own. Notices stand where the events would have stood.
//!
//! The layout of these records stands here; `ring` fills the ring by the subscriber's policy
//! (`policy`), with `backlog` and `latest` where events wait that it does not hold; `reader` drains
//! it on the subscriber's thread; `account` is what the two ends say of themselves.
//!
//! A *local* ring is filled inside this process and drained by a receiver: events routed to this
//! process, and packets that came by TCP, each one record with all its frames.

mod account;
mod backlog;
mod latest;
mod policy;
mod reader;
mod ring;

pub use self::account::{InboundCounters, TakenCounters};
pub use self::policy::{BLOCK_MAX, KEYS_MAX, Shed, ShedReason, SlowPolicy};
pub use self::reader::RingReader;
pub use self::ring::{RingSubscriber, inbound};

use wireloom_ring::{ClaimError, Consumer, Producer, Records, record_length, record_spacing};
use wireloom_wire::{Frame, Frames, NodeId, Packet, SessionId};

use crate::dispatch::{Lost, Origin};

/// Bytes of the origin header before each frame.
pub const ORIGIN_BYTES: usize = 32;
const NOTICE_BYTES: usize = 48;

const KIND_OFFSET: usize = 4;
const LANE_OFFSET: usize = 5;
const REASON_OFFSET: usize = 6;
const SLOT_OFFSET: usize = 6;
const GENERATION_OFFSET: usize = 12;

/// Beside the lane, which is below it.
const VERIFIED: u8 = 0x80;

const EVENT: u8 = 0;
const LOST: u8 = 1;
const SHED: u8 = 2;
const PACKET: u8 = 3;

/// What a subscriber reads from its ring.
#[derive(Debug)]
pub enum Inbound<'a> {
    /// An event, in place.
    Event(Frame<'a>, Origin),
    /// Events of a stream that will not come.
    Lost(Lost),
    /// Events were shed.
    Shed(Shed),
    /// The subscriber was cut off by its policy: nothing follows.
    Disconnected,
}

fn put_origin(into: &mut [u8], kind: u8, origin: &Origin) {
    into[KIND_OFFSET] = kind;
    into[LANE_OFFSET] = origin.lane | if origin.verified { VERIFIED } else { 0 };
    into[6..8].fill(0);
    into[8..12].copy_from_slice(&origin.session.0.to_le_bytes());
    into[12..16].fill(0);
    into[16..24].copy_from_slice(&origin.source.0.to_le_bytes());
    into[24..32].copy_from_slice(&origin.received_unix_ns.to_le_bytes());
}

/// Writes which event of which key's slot a record holds: for those who keep only the newest.
fn put_generation(into: &mut [u8], slot: u16, generation: u32) {
    into[SLOT_OFFSET..SLOT_OFFSET + 2].copy_from_slice(&slot.to_le_bytes());
    into[GENERATION_OFFSET..GENERATION_OFFSET + 4].copy_from_slice(&generation.to_le_bytes());
}

fn generation_of(record: &[u8]) -> (usize, u32) {
    let slot = record.get(SLOT_OFFSET..SLOT_OFFSET + 2).and_then(|b| b.try_into().ok());
    (usize::from(slot.map_or(0, u16::from_le_bytes)), u32_at(record, GENERATION_OFFSET))
}

/// Writes a notice: of a gap from an event to another, or of so many events (`from`) shed.
fn put_notice(into: &mut [u8], kind: u8, origin: &Origin, (from, to): (u64, u64)) {
    put_origin(into, kind, origin);
    into[32..40].copy_from_slice(&from.to_le_bytes());
    into[40..48].copy_from_slice(&to.to_le_bytes());
}

fn u64_at(record: &[u8], at: usize) -> u64 {
    record.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn u32_at(record: &[u8], at: usize) -> u32 {
    record.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn origin_of(record: &[u8]) -> Origin {
    let lane = record.get(LANE_OFFSET).copied().unwrap_or(0);
    Origin {
        source: NodeId(u64_at(record, 16)),
        session: SessionId(u32_at(record, 8)),
        lane: lane & !VERIFIED,
        received_unix_ns: u64_at(record, 24),
        verified: lane & VERIFIED != 0,
    }
}

/// The gap that a notice is of.
fn lost_of(record: &[u8]) -> Lost {
    Lost { origin: origin_of(record), from: u64_at(record, 32), to: u64_at(record, 40) }
}

/// Writes the origin header of an event into the first [`ORIGIN_BYTES`] of a record: for those who
/// fill a local ring.
#[inline]
pub fn origin_header(into: &mut [u8], origin: &Origin) {
    put_origin(into, EVENT, origin);
}

/// Writes a packet's frames with their origin into a local ring as one record, visible at once.
///
/// # Errors
/// As [`Producer::claim`]: the ring is full, closed, or too small for the packet.
pub fn commit_packet(
    producer: &mut Producer,
    packet: &Packet<'_>,
    origin: &Origin,
) -> Result<(), ClaimError> {
    let length = ORIGIN_BYTES + packet.body.len();
    let mut claim = producer.claim(length)?;
    put_origin(&mut claim, PACKET, origin);
    claim[6..8].copy_from_slice(&packet.header.frame_count.to_le_bytes());
    claim[ORIGIN_BYTES..length].copy_from_slice(packet.body);
    claim.commit(length);
    Ok(())
}

/// Reads one record of an inbound ring; `None` when it is not one (never, of a ring this crate
/// filled).
#[inline]
fn read_inbound(record: &[u8]) -> Option<Inbound<'_>> {
    if record.len() < ORIGIN_BYTES {
        return None;
    }
    let origin = origin_of(record);
    match record[KIND_OFFSET] {
        EVENT => Some(Inbound::Event(Frame::parse(&record[ORIGIN_BYTES..]).ok()?, origin)),
        LOST => Some(Inbound::Lost(lost_of(record))),
        SHED => {
            let reason = ShedReason::from_number(record[REASON_OFFSET])?;
            Some(Inbound::Shed(Shed { events: u64_at(record, 32), reason }))
        }
        _ => None,
    }
}

/// Writes an event with its origin into a record of just that length.
#[inline]
fn put_event(into: &mut [u8], frame: &Frame<'_>, origin: &Origin) {
    put_origin(into, EVENT, origin);
    into[ORIGIN_BYTES..].copy_from_slice(frame.bytes());
}

/// Writes an event with its origin into a ring, staged.
///
/// # Errors
/// As [`Producer::claim`]: the ring is full, closed, or too small for the frame.
#[inline]
fn stage_event(
    producer: &mut Producer,
    frame: &Frame<'_>,
    origin: &Origin,
) -> Result<(), ClaimError> {
    let length = ORIGIN_BYTES + frame.bytes().len();
    let mut claim = producer.claim(length)?;
    put_event(&mut claim, frame, origin);
    claim.stage(length);
    Ok(())
}

/// What a receiver finds in a local ring.
#[derive(Debug)]
pub(crate) enum Local<'a> {
    /// One event of this process.
    Event(Frame<'a>, Origin),
    /// The frames of a packet, and how many.
    Packet(Frames<'a>, u16, Origin),
}

fn read_local(record: &[u8]) -> Option<Local<'_>> {
    let (head, body) = record.split_at_checked(ORIGIN_BYTES)?;
    match head[KIND_OFFSET] {
        EVENT => Some(Local::Event(Frame::parse(body).ok()?, origin_of(head))),
        PACKET => {
            let count = u16::from_le_bytes([head[6], head[7]]);
            Some(Local::Packet(Frames::counted(body, count), count, origin_of(head)))
        }
        _ => None,
    }
}

/// Records of a local ring, up to `bytes_max`; returns the bytes read.
pub(crate) fn drain_local(
    consumer: &mut Consumer,
    bytes_max: usize,
    mut sink: impl FnMut(Local<'_>),
) -> usize {
    let batch = consumer.read();
    let mut taken = 0;
    for record in Records::new(batch) {
        debug_assert_eq!(record_length(record), record.len());
        if let Some(local) = read_local(record) {
            sink(local);
        }
        taken += record_spacing(record.len());
        if taken >= bytes_max {
            break;
        }
    }
    let taken = taken.min(batch.len());
    consumer.release(taken);
    taken
}

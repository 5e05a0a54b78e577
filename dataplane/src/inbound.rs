//! An inbound ring: what the receiver writes for one subscriber and the subscriber's thread drains.
//!
//! Each record is a 32-byte origin header and then the frame as it came (one copy, out of the
//! receive buffer), or a notice of events that will not come: lost on the way, or shed because this
//! very ring was full. Notices stand where the events would have stood.
//!
//! A *local* ring is filled inside this process and drained by a receiver: events routed to this
//! process, and packets that came by TCP, each one record with all its frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wireloom_ring::{ClaimError, Consumer, Producer, Records, record_length, record_spacing};
use wireloom_wire::{Frame, Frames, NodeId, Packet, SessionId};

use crate::dispatch::{Lost, Origin, Subscriber, Verdict};
use crate::wake::Wake;

/// Bytes of the origin header before each frame.
pub const ORIGIN_BYTES: usize = 32;
const NOTICE_BYTES: usize = 48;

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
    /// This many events were shed because the ring was full.
    Shed(u64),
}

/// What became of a ring subscriber's events; written by the receiver alone, on cache lines of its
/// own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct InboundCounters {
    /// Events put into the ring.
    pub delivered: AtomicU64,
    /// Events shed because the ring was full.
    pub shed: AtomicU64,
}

fn bump(cell: &AtomicU64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

fn put_origin(into: &mut [u8], kind: u8, origin: &Origin) {
    into[4] = kind;
    into[5] = origin.lane;
    into[6..8].fill(0);
    into[8..12].copy_from_slice(&origin.session.0.to_le_bytes());
    into[12..16].fill(0);
    into[16..24].copy_from_slice(&origin.source.0.to_le_bytes());
    into[24..32].copy_from_slice(&origin.received_unix_ns.to_le_bytes());
}

fn u64_at(record: &[u8], at: usize) -> u64 {
    record.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn u32_at(record: &[u8], at: usize) -> u32 {
    record.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn origin_of(record: &[u8]) -> Origin {
    Origin {
        source: NodeId(u64_at(record, 16)),
        session: SessionId(u32_at(record, 8)),
        lane: record.get(5).copied().unwrap_or(0),
        received_unix_ns: u64_at(record, 24),
    }
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
#[must_use]
pub fn read_inbound(record: &[u8]) -> Option<Inbound<'_>> {
    if record.len() < ORIGIN_BYTES {
        return None;
    }
    let origin = origin_of(record);
    match record[4] {
        EVENT => Some(Inbound::Event(Frame::parse(&record[ORIGIN_BYTES..]).ok()?, origin)),
        LOST => {
            Some(Inbound::Lost(Lost { origin, from: u64_at(record, 32), to: u64_at(record, 40) }))
        }
        SHED => Some(Inbound::Shed(u64_at(record, 32))),
        _ => None,
    }
}

/// Writes an event with its origin into a ring, staged.
///
/// # Errors
/// As [`Producer::claim`]: the ring is full, closed, or too small for the frame.
#[inline]
pub fn stage_event(
    producer: &mut Producer,
    frame: &Frame<'_>,
    origin: &Origin,
) -> Result<(), ClaimError> {
    let length = ORIGIN_BYTES + frame.bytes().len();
    let mut claim = producer.claim(length)?;
    put_origin(&mut claim, EVENT, origin);
    claim[ORIGIN_BYTES..length].copy_from_slice(frame.bytes());
    claim.stage(length);
    Ok(())
}

/// The receiver's side of an inbound ring.
#[derive(Debug)]
pub struct RingSubscriber {
    producer: Producer,
    wake: Option<Arc<Wake>>,
    counters: Arc<InboundCounters>,
    /// Shed since the last notice got through, and gaps that found no room.
    shed_untold: u64,
    lost_untold: Option<Lost>,
}

impl RingSubscriber {
    /// Fills `producer`'s ring; wakes `wake` when records have become visible.
    #[must_use]
    pub fn new(producer: Producer, wake: Option<Arc<Wake>>) -> Self {
        Self {
            producer,
            wake,
            counters: Arc::new(InboundCounters::default()),
            shed_untold: 0,
            lost_untold: None,
        }
    }

    /// The counters, to be read from elsewhere.
    #[must_use]
    pub const fn counters(&self) -> &Arc<InboundCounters> {
        &self.counters
    }

    fn stage_notice(&mut self, kind: u8, origin: &Origin, from: u64, to: u64) -> bool {
        let Ok(mut claim) = self.producer.claim(NOTICE_BYTES) else { return false };
        put_origin(&mut claim, kind, origin);
        claim[32..40].copy_from_slice(&from.to_le_bytes());
        claim[40..48].copy_from_slice(&to.to_le_bytes());
        claim.stage(NOTICE_BYTES);
        true
    }

    /// Tells what could not be told when the ring was full; false when it still is.
    fn tell_untold(&mut self, origin: &Origin) -> bool {
        if self.shed_untold > 0 {
            if !self.stage_notice(SHED, origin, self.shed_untold, 0) {
                return false;
            }
            self.shed_untold = 0;
        }
        if let Some(lost) = self.lost_untold.take()
            && !self.stage_notice(LOST, &lost.origin, lost.from, lost.to)
        {
            self.lost_untold = Some(lost);
            return false;
        }
        true
    }
}

impl Subscriber for RingSubscriber {
    #[inline]
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        let told =
            (self.shed_untold == 0 && self.lost_untold.is_none()) || self.tell_untold(origin);
        if told && stage_event(&mut self.producer, frame, origin).is_ok() {
            bump(&self.counters.delivered);
            return Verdict::Delivered;
        }
        self.shed_untold += 1;
        bump(&self.counters.shed);
        Verdict::RingFull
    }

    fn on_lost(&mut self, lost: &Lost) {
        let told = self.tell_untold(&lost.origin)
            && self.stage_notice(LOST, &lost.origin, lost.from, lost.to);
        if !told {
            // Gaps that find the ring full grow into one when they are of one stream; of several
            // streams the newest is told, and the receiver's counters hold all of them.
            self.lost_untold = Some(match self.lost_untold {
                Some(old) if old.origin.session == lost.origin.session => {
                    Lost { from: old.from, ..*lost }
                }
                _ => *lost,
            });
        }
    }

    fn end_cycle(&mut self) {
        self.producer.publish();
        if let Some(wake) = &self.wake {
            wake.notify();
        }
    }
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
    match head[4] {
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

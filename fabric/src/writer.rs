//! One outbound ring as a publisher writes it: claim, encode in place, commit, wake.
//!
//! Routers and publishers both write through here; nothing else in the fabric touches a ring's
//! producer. The event is written once, by its encoder, where it will be sent from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wireloom_control::FRAME_BYTES_MAX;
use wireloom_dataplane::dispatch::Origin;
use wireloom_dataplane::inbound::{ORIGIN_BYTES, origin_header};
use wireloom_dataplane::link::LinkId;
use wireloom_dataplane::outbound::{mark, mark_with_deadlines};
use wireloom_dataplane::wake::Wake;
use wireloom_ring::{Claim, ClaimError, Producer, record_spacing};
use wireloom_wire::{
    Encoding, FRAME_HEADER_BYTES, FrameEncoder, FrameFlags, FrameHeader, PlainFrame, TraceContext,
};

use crate::encode::EncodeError;
use crate::event::Event;
use crate::large::LargeWriter;
use crate::outcome::{PeerIndex, Refused};

/// Room first tried for a payload whose length is not known yet.
const FIRST_ROOM_BYTES: usize = 192;

/// Where a frame goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    /// To a link, in frames of at most `limit` bytes; what does not fit goes another way where it
    /// `spills`, and is no refusal.
    Link { id: LinkId, limit: usize, spills: bool },
    /// To a peer by TCP, through a ring of its own: no mark says where frames go.
    Reliable(PeerIndex),
    /// To this process: the frame carries its origin.
    Local(Origin),
}

impl Way {
    /// The same way; whether what no packet of it holds goes another one.
    pub(crate) const fn spilling(mut self, whether: bool) -> Self {
        if let Self::Link { spills, .. } = &mut self {
            *spills = whether;
        }
        self
    }
}

/// A frame without extensions, ready but for its payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain<'a> {
    pub(crate) frame: &'a PlainFrame,
    pub(crate) sequence: u64,
    pub(crate) timestamp_ns: u64,
}

/// A router's ring that is full is followed by one so many times as large.
const GROWTH: usize = 4;

/// Whether the sender sees the frame at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visible {
    Now,
    /// With the next [`RingWriter::publish`].
    Later,
}

impl Visible {
    /// Ends a record of so many bytes.
    #[inline(always)]
    fn end(self, claim: Claim<'_>, length: usize) {
        match self {
            Self::Now => claim.commit(length),
            Self::Later => claim.stage(length),
        }
    }
}

/// How many events a publisher or router has handed over; written by it alone, on a cache line (and
/// its neighbour, which the processor fetches too) of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Handed {
    pub(crate) to_links: AtomicU64,
    pub(crate) to_local: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Times a batch was full while the sender slept, and woke it.
    pub(crate) batches: AtomicU64,
}

impl Handed {
    /// One more event was refused. Called by its writer alone.
    pub(crate) fn count_refusal(&self) {
        bump(&self.refused);
    }

    /// One more event was handed over for another node. Called by its writer alone.
    pub(crate) fn count_to_links(&self) {
        bump(&self.to_links);
    }
}

fn bump(cell: &AtomicU64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// The producer's side of an outbound or local ring.
#[derive(Debug)]
pub(crate) struct RingWriter {
    producer: Producer,
    wake: Option<Arc<Wake>>,
    /// Frames do not wait for the worker's flush interval.
    urgent: bool,
    /// Nor do so many of them, counted in `handed`; and where the count stood at the last batch.
    batch: u64,
    batched: u64,
    handed: Arc<Handed>,
    /// A ring of up to so many bytes may follow this one.
    bytes_max: usize,
    /// The link frames go to since the last mark.
    marked: Option<LinkId>,
    /// The mark said that frames may have deadlines: once one had, every later mark says so.
    deadlines: bool,
    /// Room that was enough for the last payload.
    room_bytes: usize,
    /// For events to a peer by TCP that the ring does not hold.
    large: Option<Box<LargeWriter>>,
    /// The last event written went by it.
    was_large: bool,
}

impl RingWriter {
    pub(crate) const fn new(
        producer: Producer,
        wake: Option<Arc<Wake>>,
        urgent: bool,
        handed: Arc<Handed>,
    ) -> Self {
        Self {
            producer,
            wake,
            urgent,
            batch: u64::MAX,
            batched: 0,
            handed,
            bytes_max: 0,
            marked: None,
            deadlines: false,
            room_bytes: FIRST_ROOM_BYTES,
            large: None,
            was_large: false,
        }
    }

    /// The same, whose sender's flush interval ends after so many events.
    pub(crate) fn batching(mut self, events: u64) -> Self {
        self.batched = self.handed.to_links.load(Ordering::Relaxed);
        self.batch = events;
        self
    }

    /// Lets events that no ring holds go by `large`.
    pub(crate) fn carry_large(&mut self, large: Option<Box<LargeWriter>>) {
        self.large = large;
    }

    /// What carried large events, for the ring that follows this one.
    pub(crate) const fn leave_large(&mut self) -> Option<Box<LargeWriter>> {
        self.large.take()
    }

    /// Whether the last event written was a large one, and the account of those.
    #[inline]
    pub(crate) fn large(&self) -> Option<(bool, &LargeWriter)> {
        self.large.as_deref().map(|large| (self.was_large, large))
    }

    /// The same for a ring that larger ones may follow.
    pub(crate) const fn growing_to(mut self, bytes_max: usize) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// The capacity of the ring that follows this one.
    pub(crate) fn larger_bytes(&self) -> usize {
        self.producer.capacity_bytes().saturating_mul(GROWTH).min(self.bytes_max)
    }

    /// Whether what was refused may find room in a larger ring that may be had.
    pub(crate) fn grows_for(&self, refused: &Refused) -> bool {
        let for_room = match refused {
            Refused::BackPressured => !self.was_large,
            Refused::TooLarge { limit } => *limit < FRAME_BYTES_MAX,
            _ => false,
        };
        for_room && self.larger_bytes() > self.producer.capacity_bytes()
    }

    /// Counts a refusal for which no larger ring was to be had.
    pub(crate) fn count_refusal(&self) {
        bump(&self.handed.refused);
    }

    /// Writes one frame: `head` and then the payload, which `payload` writes into the bytes it is
    /// given, returning its length.
    #[inline(always)]
    pub(crate) fn write(
        &mut self,
        way: Way,
        head: &FrameEncoder<'_>,
        visible: Visible,
        mut payload: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> Result<(), Refused> {
        let room_bytes = self.room_bytes;
        self.was_large = false;
        let mut written = self.try_write(way, head, visible, &mut payload);
        if let Err(Refused::TooLarge { limit }) = written
            && !self.grows_for(&Refused::TooLarge { limit })
            && let Some(large) = &mut self.large
        {
            // Small events go on with the room they need.
            self.room_bytes = room_bytes;
            written = large.write(head, limit, payload);
            self.was_large = true;
        }
        match (&written, way) {
            (Ok(()), _) if self.was_large => {}
            (Ok(()), Way::Link { .. } | Way::Reliable(_)) => bump(&self.handed.to_links),
            (Ok(()), Way::Local(_)) => bump(&self.handed.to_local),
            // The caller goes another way; small events go on with the room they need.
            (Err(Refused::TooLarge { .. }), Way::Link { spills: true, .. }) => {
                self.room_bytes = room_bytes;
            }
            // The caller tries again in a larger ring.
            (Err(refused), _) if self.grows_for(refused) => {}
            (Err(_), _) => bump(&self.handed.refused),
        }
        if visible == Visible::Now {
            self.wake(written.is_err());
        }
        written
    }

    /// Writes one frame without extensions to the link that frames go to already, to a peer by TCP
    /// or to this process, as [`RingWriter::write`] would, in the fewest steps; false when that is
    /// not enough, and then nothing has been written or counted.
    #[inline(always)]
    pub(crate) fn write_plain(
        &mut self,
        way: &Way,
        plain: Plain<'_>,
        visible: Visible,
        payload: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> bool {
        let limit = match *way {
            Way::Link { id, limit, .. } if self.marked == Some(id) => limit,
            Way::Reliable(_) => FRAME_BYTES_MAX,
            Way::Local(ref origin) => {
                return self.write_plain_local(origin, plain, visible, payload);
            }
            Way::Link { .. } => return false,
        };
        let room = record_spacing(FRAME_HEADER_BYTES + self.room_bytes).min(limit);
        let Ok(mut claim) = self.producer.claim(room) else { return false };
        let Some((head, rest)) = claim.split_first_chunk_mut() else { return false };
        let Ok(bytes) = payload(rest) else { return false };
        plain.frame.write(head, plain.sequence, plain.timestamp_ns);
        bump(&self.handed.to_links);
        visible.end(claim, FRAME_HEADER_BYTES + bytes);
        if visible == Visible::Now {
            self.wake(false);
        }
        true
    }

    /// To this process: the origin stands before the frame, which says its own length.
    #[inline(always)]
    fn write_plain_local(
        &mut self,
        origin: &Origin,
        plain: Plain<'_>,
        visible: Visible,
        payload: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> bool {
        let limit = self.producer.record_bytes_max();
        let room = record_spacing(ORIGIN_BYTES + FRAME_HEADER_BYTES + self.room_bytes).min(limit);
        let Ok(mut claim) = self.producer.claim(room) else { return false };
        let Some((front, frame)) = claim.split_first_chunk_mut::<ORIGIN_BYTES>() else {
            return false;
        };
        let Some((head, rest)) = frame.split_first_chunk_mut() else { return false };
        let Ok(bytes) = payload(rest) else { return false };
        let length = FRAME_HEADER_BYTES + bytes;
        let Ok(field) = u32::try_from(length) else { return false };
        origin_header(front, origin);
        plain.frame.write(head, plain.sequence, plain.timestamp_ns);
        head[..size_of::<u32>()].copy_from_slice(&field.to_le_bytes());
        bump(&self.handed.to_local);
        visible.end(claim, ORIGIN_BYTES + length);
        if visible == Visible::Now {
            self.wake(false);
        }
        true
    }

    /// Wakes the worker for frames it can see; a refusal is a full ring, and does not wait.
    #[inline]
    fn wake(&mut self, refused: bool) {
        let Some(wake) = &self.wake else { return };
        if self.urgent || refused {
            wake.notify();
        } else if wake.notify_soon() {
            self.wait_for_company();
        }
    }

    /// The worker sleeps for its flush interval: a full batch ends that.
    #[cold]
    fn wait_for_company(&mut self) {
        let handed = self.handed.to_links.load(Ordering::Relaxed);
        if handed.wrapping_sub(self.batched) < self.batch {
            return;
        }
        self.batched = handed;
        bump(&self.handed.batches);
        if let Some(wake) = &self.wake {
            wake.notify();
        }
    }

    #[inline(always)]
    fn try_write(
        &mut self,
        way: Way,
        head: &FrameEncoder<'_>,
        visible: Visible,
        mut payload: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> Result<(), Refused> {
        let (front, limit) = self.begin(way, head.has_deadline())?;
        let least = front + head.payload_offset();
        let mut room = least + self.room_bytes;
        loop {
            room = record_spacing(room).min(limit);
            if room < least {
                return Err(Refused::TooLarge { limit });
            }
            let mut claim = self.producer.claim(room).map_err(|error| refusal(error, limit))?;
            if let Way::Local(origin) = &way {
                origin_header(&mut claim[..ORIGIN_BYTES], origin);
            }
            match payload(&mut claim[least..]) {
                Ok(bytes) => {
                    let length = least + bytes;
                    let frame = &mut claim[front..];
                    let mut whole = head.encode(frame);
                    if front > 0 {
                        // Without a header before it the frame is the record, and the ring writes
                        // its length and padding.
                        whole = whole.and_then(|_| head.finish(frame, bytes));
                    }
                    if whole.is_err() {
                        return Err(Refused::TooLarge { limit });
                    }
                    visible.end(claim, length);
                    return Ok(());
                }
                Err(EncodeError::DoesNotFit) if room < limit => {
                    // The claim is dropped: nothing was written. Try again with all there may be,
                    // and remember so that the next event of this size needs one try.
                    let larger = room.saturating_mul(4);
                    self.room_bytes = larger.min(limit) - least;
                    room = larger;
                }
                Err(EncodeError::DoesNotFit) => return Err(Refused::TooLarge { limit }),
                Err(_) => return Err(Refused::TooComplex),
            }
        }
    }

    /// Marks the link if it is not the last one's; gives what stands before the frame and the
    /// longest record.
    #[inline]
    fn begin(&mut self, way: Way, deadline: bool) -> Result<(usize, usize), Refused> {
        let ring_limit = self.producer.record_bytes_max();
        match way {
            Way::Link { id, limit, .. } => {
                let limit = limit.min(ring_limit);
                if self.marked != Some(id) || (deadline && !self.deadlines) {
                    let deadlines = self.deadlines || deadline;
                    let mark = if deadlines { mark_with_deadlines } else { mark };
                    mark(&mut self.producer, id).map_err(|error| refusal(error, limit))?;
                    (self.marked, self.deadlines) = (Some(id), deadlines);
                }
                Ok((0, limit))
            }
            Way::Reliable(_) => Ok((0, ring_limit.min(FRAME_BYTES_MAX))),
            Way::Local(_) => Ok((ORIGIN_BYTES, ring_limit)),
        }
    }

    /// Makes staged frames visible and wakes the worker if it sleeps; `refused` is as for
    /// [`RingWriter::wake`].
    #[inline]
    pub(crate) fn publish(&mut self, refused: bool) {
        self.producer.publish();
        self.wake(refused);
    }
}

/// Header and extensions of an event to be written.
#[inline]
pub(crate) const fn head<'a>(
    header: FrameHeader,
    trace: Option<TraceContext>,
    deadline_ns: Option<u64>,
) -> FrameEncoder<'a> {
    let mut encoder = FrameEncoder::new(header);
    if let Some(trace) = trace {
        encoder = encoder.with_trace(trace);
    }
    if let Some(deadline_ns) = deadline_ns {
        encoder = encoder.with_deadline(deadline_ns);
    }
    encoder
}

/// The header of a typed event.
#[inline]
pub(crate) fn typed_header<E: Event>(sequence: u64, timestamp_ns: u64) -> FrameHeader {
    FrameHeader {
        length: 0,
        event_type: E::TYPE_ID,
        fingerprint: E::FINGERPRINT32,
        priority: E::PRIORITY,
        encoding: Encoding::Rkyv,
        flags: FrameFlags::empty(),
        sequence,
        timestamp_ns,
    }
}

fn refusal(error: ClaimError, limit: usize) -> Refused {
    match error {
        ClaimError::Full => Refused::BackPressured,
        ClaimError::TooLarge { .. } => Refused::TooLarge { limit },
        ClaimError::Closed => Refused::Closed,
    }
}

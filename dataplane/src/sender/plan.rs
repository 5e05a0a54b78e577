//! What one duty cycle will send: spans of ring bytes, grouped into packets, chained by stream.
//!
//! The plan holds positions, not references, so that its memory is reused cycle after cycle. A
//! packet may gather spans of several rings; a span is a run of whole frames lying side by side.

use wireloom_ring::{record_length, record_spacing};
use wireloom_wire::{FRAME_HEADER_BYTES, LANES, deadline_of, packet_charge, take_frames};

use crate::counters::{Counter, Counters};
use crate::flow::FlowControl;
use crate::limits::{
    CYCLE_PACKETS_MAX, CYCLE_SPANS_MAX, LANE_PACKETS_MIN, LANE_SPANS_MIN, OUTBOUNDS_MAX,
};
use crate::link::{Link, LinkId};
use crate::outbound::{MARK_BYTES, Outbound, read_mark};
use crate::sender::Links;

/// Which ring of the sender's lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RingIndex {
    pub(super) lane: usize,
    pub(super) index: usize,
}

/// One ring's turn in a duty cycle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) ring: RingIndex,
    /// Bytes after which it packs no more.
    pub(super) budget: usize,
    /// Bytes that it exceeds by its first event alone.
    pub(super) bytes_max: usize,
    pub(super) now_ns: u64,
    /// The same as deadlines count it.
    pub(super) now_unix_ns: u64,
}

/// What became of the frames at the front of a ring.
enum Packed {
    /// This many bytes of them are planned.
    Bytes(usize),
    /// The first fits in no packet of its link.
    Oversized,
    /// The peer takes no more of this stream now, or the link has no key.
    NoRoom,
}

/// Whole frames side by side in one ring's batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) ring: RingIndex,
    pub(super) offset: usize,
    pub(super) bytes: usize,
    pub(super) next: Option<u32>,
}

/// A packet to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedPacket {
    pub(super) frames: u16,
    pub(super) body_bytes: usize,
    pub(super) span_count: usize,
    pub(super) spans: Option<(u32, u32)>,
    pub(super) next: Option<u32>,
}

/// A stream with packets in this plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Touched {
    pub(super) link: LinkId,
    pub(super) lane: usize,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) packets: Vec<PlannedPacket>,
    pub(super) spans: Vec<Span>,
    pub(super) touched: Vec<Touched>,
    /// Streams that found no room at their peer in this cycle.
    pub(super) held: Vec<Touched>,
}

/// Counts an event that was taken out of its ring and not sent.
fn count_shed(counters: &Counters, reason: Counter) {
    counters.add(Counter::EventsTaken, 1);
    counters.add(reason, 1);
}

impl Plan {
    pub(super) fn new() -> Self {
        Self {
            packets: Vec::with_capacity(CYCLE_PACKETS_MAX),
            spans: Vec::with_capacity(CYCLE_SPANS_MAX),
            touched: Vec::with_capacity(CYCLE_PACKETS_MAX),
            held: Vec::with_capacity(OUTBOUNDS_MAX),
        }
    }

    pub(super) fn clear(&mut self) {
        self.packets.clear();
        self.spans.clear();
        self.touched.clear();
        self.held.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The packets of a chain, from one of them on.
    pub(super) fn packets_from(&self, first: u32) -> impl Iterator<Item = &PlannedPacket> {
        let mut next = Some(first);
        std::iter::from_fn(move || {
            let packet = self.packets.get(next? as usize)?;
            next = packet.next;
            Some(packet)
        })
        .filter(|packet| packet.frames > 0)
    }

    /// The spans of a packet, in order.
    pub(super) fn spans_of(&self, packet: &PlannedPacket) -> impl Iterator<Item = &Span> {
        let mut next = packet.spans.map(|(first, _)| first);
        std::iter::from_fn(move || {
            let span = self.spans.get(next? as usize)?;
            next = span.next;
            Some(span)
        })
    }

    /// Whether a lane may open another packet and span: lower lanes always find their least.
    fn has_room(&self, lane: usize) -> bool {
        let lower = LANES.saturating_sub(lane + 1);
        self.packets.len() + lower * LANE_PACKETS_MIN < CYCLE_PACKETS_MAX
            && self.spans.len() + lower * LANE_SPANS_MIN < CYCLE_SPANS_MAX
    }

    /// Packs frames from the front of one ring in its turn; returns the bytes packed. What the ring
    /// may release afterwards stands in `outbound.taken`.
    pub(super) fn gather(
        &mut self,
        links: &mut Links,
        outbound: &mut Outbound,
        turn: Turn,
        counters: &Counters,
    ) -> usize {
        // Closed is read before the batch: then an empty batch is the end.
        let closed = outbound.consumer.is_closed();
        let batch = outbound.consumer.read();
        outbound.ended = closed && batch.is_empty();
        let (mut at, mut packed, mut expired) = (0, 0, 0);
        while packed + expired < turn.budget && at < batch.len() && self.has_room(turn.ring.lane) {
            let rest = &batch[at..];
            let length = record_length(rest);
            if length == MARK_BYTES {
                let (link, deadlines) = read_mark(rest);
                (outbound.link, outbound.deadlines) = (Some(link), deadlines);
                outbound.waited_for_link = false;
                at += MARK_BYTES;
                continue;
            }
            if length < FRAME_HEADER_BYTES {
                counters.add(Counter::RecordsMalformed, 1);
                at += record_spacing(length.max(1)).min(rest.len());
                continue;
            }
            let Some(link) = outbound.link.and_then(|id| links.get_mut(id)) else {
                if !outbound.waited_for_link {
                    // The command that brings the link may be a moment behind the frames.
                    outbound.waited_for_link = true;
                    break;
                }
                count_shed(counters, Counter::EventsUnroutable);
                at += record_spacing(length).min(rest.len());
                continue;
            };
            // With deadlines each frame is looked at, and packed alone.
            let front = record_spacing(length).min(rest.len());
            let rest = if outbound.deadlines { &rest[..front] } else { rest };
            if outbound.deadlines && deadline_of(rest).is_some_and(|at| at < turn.now_unix_ns) {
                count_shed(counters, Counter::EventsExpired);
                at += front;
                expired += front;
                continue;
            }
            let left = turn.bytes_max.saturating_sub(packed);
            if packed > 0 && front > left {
                break;
            }
            let rest = &rest[..rest.len().min(left.max(front))];
            let reason = match self.pack(link, turn, at, rest) {
                Packed::Bytes(bytes) => {
                    at += bytes;
                    packed += bytes;
                    continue;
                }
                Packed::Oversized => Counter::EventsOversized,
                Packed::NoRoom => {
                    let Some(reason) = self.hold(link, turn) else { break };
                    reason
                }
            };
            count_shed(counters, reason);
            at += front;
        }
        outbound.taken = at;
        packed
    }

    /// Notes that a stream may not go on now; why its next event is shed, if it is not to wait.
    fn hold(&mut self, link: &mut Link, turn: Turn) -> Option<Counter> {
        let lane = turn.ring.lane;
        if link.streams[lane].credit.hold(turn.now_ns) {
            self.held.push(Touched { link: link.id, lane });
        }
        if link.is_keyless(lane) {
            return (!link.waits_for_key(turn.now_ns)).then_some(Counter::EventsShedUnsealed);
        }
        (link.flow != FlowControl::Hold).then_some(Counter::EventsShedWindow)
    }

    /// Packs what fits of `rest` into the stream's packet.
    fn pack(&mut self, link: &mut Link, turn: Turn, offset: usize, rest: &[u8]) -> Packed {
        let (body_bytes, body_bytes_max) = (link.body_bytes, link.body_bytes_max);
        let ring = turn.ring;
        for _ in 0..2 {
            let Some(packet) = self.open_packet(link, ring.lane, turn.now_ns) else {
                return Packed::NoRoom;
            };
            let filled = self.packets[packet as usize].body_bytes;
            let (mut bytes, mut frames) = take_frames(rest, body_bytes.saturating_sub(filled));
            if frames == 0 && filled == 0 {
                // Larger than packets are filled, but the path may carry it alone.
                let alone = record_spacing(record_length(rest)).min(rest.len());
                if alone > body_bytes_max {
                    return Packed::Oversized;
                }
                (bytes, frames) = (alone, 1);
            }
            if frames > 0 {
                self.extend(packet, Span { ring, offset, bytes, next: None }, frames);
                return Packed::Bytes(bytes);
            }
            link.streams[ring.lane].chain.open = false;
        }
        Packed::Oversized
    }

    /// The packet that takes the stream's next frames; `None` when its peer has no room for one or
    /// its link no key.
    /// A new packet is taken for a full one, so that what is planned never exceeds the room.
    #[inline]
    fn open_packet(&mut self, link: &mut Link, lane: usize, now_ns: u64) -> Option<u32> {
        let is_keyless = link.is_keyless(lane);
        let stream = &mut link.streams[lane];
        let chain = &mut stream.chain;
        if let (Some((_, last)), true) = (chain.ends, chain.open) {
            return Some(last);
        }
        if is_keyless {
            return None;
        }
        if link.flow != FlowControl::Off {
            if chain.ends.is_none() {
                chain.room = stream.credit.room(link.window.lane(lane), stream.sequence, now_ns);
            }
            let charge = packet_charge(link.overhead_bytes + link.body_bytes);
            chain.room = chain.room.checked_sub(charge)?;
        }
        let packet = u32::try_from(self.packets.len()).expect("a cycle has few packets");
        self.packets.push(PlannedPacket {
            frames: 0,
            body_bytes: 0,
            span_count: 0,
            spans: None,
            next: None,
        });
        match &mut chain.ends {
            Some((_, last)) => {
                self.packets[*last as usize].next = Some(packet);
                *last = packet;
            }
            none => {
                *none = Some((packet, packet));
                self.touched.push(Touched { link: link.id, lane });
            }
        }
        chain.open = true;
        Some(packet)
    }

    /// Appends frames to a packet: grows its last span when they lie side by side.
    #[inline]
    fn extend(&mut self, packet: u32, more: Span, frames: u16) {
        let planned = &mut self.packets[packet as usize];
        planned.frames += frames;
        planned.body_bytes += more.bytes;
        if let Some((_, last)) = planned.spans {
            let span = &mut self.spans[last as usize];
            if span.ring == more.ring && span.offset + span.bytes == more.offset {
                span.bytes += more.bytes;
                return;
            }
        }
        let index = u32::try_from(self.spans.len()).expect("a cycle has few spans");
        self.spans.push(more);
        planned.span_count += 1;
        match &mut planned.spans {
            Some((_, last)) => {
                self.spans[*last as usize].next = Some(index);
                *last = index;
            }
            none => *none = Some((index, index)),
        }
    }
}

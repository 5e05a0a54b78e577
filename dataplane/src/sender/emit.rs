//! Plan → headers, runs, slices → kernel.
//!
//! A *run* is what one send carries: packets of one stream, made equally long with zero bytes where
//! that wastes little, so that the kernel takes them as one segmented (GSO) send. Packet headers
//! stand beside the frames: the slices point at a header here and at the frames in their ring.
//! Where a link has a key the packets are sealed instead (`sealed.rs`), and a run is one slice.

use std::io::IoSlice;

use wireloom_wire::{BodyHash, PACKET_HEADER_BYTES, body_hash};

use super::plan::{Plan, Span, Touched};
use super::sealed::Sealed;
use super::{Lanes, Links, Sender};
use crate::counters::Counter;
use crate::flow::FlowControl;
use crate::io::{Message, Segmentation, Transmit};
use crate::limits::{
    CYCLE_PACKETS_MAX, CYCLE_SPANS_MAX, MESSAGE_SLICES_MAX, PADDING_BYTES_MAX, TAIL_MARKER_NS,
    TAIL_MARKERS,
};
use crate::link::{Link, LinkId};

static ZEROS: [u8; PADDING_BYTES_MAX] = [0; PADDING_BYTES_MAX];

/// Packets of one stream that travel as one send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) link: LinkId,
    pub(super) lane: usize,
    pub(super) first: u32,
    pub(super) packets: usize,
    /// Where its bytes stand, if they are sealed.
    pub(super) sealed: Option<(usize, usize)>,
    slices: usize,
    /// Length of the longest packet so far: the segment length.
    segment_bytes: usize,
    /// Sum of the packets' own lengths.
    bytes: usize,
}

impl Run {
    fn begin(touched: Touched, first: u32, packet_bytes: usize, slices: usize) -> Self {
        Self {
            link: touched.link,
            lane: touched.lane,
            first,
            packets: 1,
            sealed: None,
            slices,
            segment_bytes: packet_bytes,
            bytes: packet_bytes,
        }
    }

    /// The run with one more packet, if that is worth a segmented send: the padding of those before
    /// it (the last is never padded) stays within an eighth of their bytes, and the kernel's limits
    /// hold.
    fn with(self, packet_bytes: usize, slices: usize, limits: Segmentation) -> Option<Self> {
        let grown = Self {
            packets: self.packets + 1,
            slices: self.slices + slices + 1,
            segment_bytes: self.segment_bytes.max(packet_bytes),
            bytes: self.bytes + packet_bytes,
            ..self
        };
        let padded = self.packets * grown.segment_bytes;
        let fits = grown.packets <= limits.max_segments
            && padded + packet_bytes <= limits.max_bytes
            && grown.slices <= MESSAGE_SLICES_MAX;
        let waste = padded - self.bytes;
        (fits && waste <= self.bytes / 8 && waste <= PADDING_BYTES_MAX).then_some(grown)
    }

    /// Zero bytes after the packet at `index` of the run.
    pub(super) const fn padding(&self, index: usize, packet_bytes: usize) -> usize {
        if index + 1 == self.packets { 0 } else { self.segment_bytes - packet_bytes }
    }
}

/// The reused memory of a cycle's headers, runs and slices.
#[derive(Debug)]
pub(super) struct Emission {
    headers: Vec<[u8; PACKET_HEADER_BYTES]>,
    pub(super) sealed: Sealed,
    runs: Vec<Run>,
    slices: Vec<IoSlice<'static>>,
    ends: Vec<usize>,
    messages: Vec<Message<'static>>,
}

/// Gives an empty vector's memory to elements of another lifetime. Nothing is copied or allocated:
/// the standard library collects in place when layouts agree (held by the no-allocation test).
fn recycle<A, B>(mut vector: Vec<A>) -> Vec<B> {
    vector.clear();
    vector.into_iter().map(|_| -> B { unreachable!("the vector was cleared") }).collect()
}

impl Emission {
    pub(super) fn new() -> Self {
        Self {
            headers: Vec::with_capacity(CYCLE_PACKETS_MAX),
            sealed: Sealed::new(),
            runs: Vec::with_capacity(CYCLE_PACKETS_MAX),
            slices: Vec::with_capacity(2 * CYCLE_PACKETS_MAX + CYCLE_SPANS_MAX),
            ends: Vec::with_capacity(CYCLE_PACKETS_MAX),
            messages: Vec::with_capacity(CYCLE_PACKETS_MAX),
        }
    }

    /// Groups the planned packets into runs.
    fn form_runs(&mut self, plan: &Plan, links: &Links, limits: Segmentation) {
        self.runs.clear();
        for touched in &plan.touched {
            let Some(link) = links.get(touched.link) else { continue };
            let mut next = link.streams[touched.lane].chain.ends.map(|(first, _)| first);
            let mut run: Option<Run> = None;
            while let Some(index) = next {
                let packet = &plan.packets[index as usize];
                next = packet.next;
                if packet.frames == 0 {
                    continue;
                }
                let bytes = link.packet_bytes(touched.lane, packet.body_bytes);
                let slices = 1 + packet.span_count;
                run = match run.and_then(|run| run.with(bytes, slices, limits)) {
                    Some(grown) => Some(grown),
                    None => {
                        self.runs.extend(run);
                        Some(Run::begin(*touched, index, bytes, slices))
                    }
                };
            }
            self.runs.extend(run);
        }
    }

    /// Numbers the packets and writes their headers, or seals them, in the order of the runs.
    /// Returns how many there are.
    fn write_packets(
        &mut self,
        plan: &Plan,
        links: &mut Links,
        lanes: &Lanes,
        now_ns: u64,
    ) -> usize {
        self.headers.clear();
        self.sealed.clear();
        let mut packets = 0;
        for run in &mut self.runs {
            let Some(link) = links.get_mut(run.link) else { continue };
            let stream = &link.streams[run.lane];
            let before = (stream.first_event, stream.sequence);
            if link.mode(run.lane).is_some() {
                self.sealed.seal_run(run, link, (plan, lanes), now_ns);
            } else {
                write_headers(&mut self.headers, run, link, (plan, lanes));
            }
            packets += run.packets;
            let stream = &mut link.streams[run.lane];
            stream.tail.due_ns = now_ns + TAIL_MARKER_NS;
            stream.tail.markers_left = TAIL_MARKERS;
            let (events, packets) = (stream.first_event - before.0, stream.sequence - before.1);
            link.counters.add(run.lane, events, packets);
        }
        packets
    }
}

/// Numbers the packets of a run in clear and writes their headers.
fn write_headers(
    headers: &mut Vec<[u8; PACKET_HEADER_BYTES]>,
    run: &Run,
    link: &mut Link,
    (plan, lanes): (&Plan, &Lanes),
) {
    for (index, packet) in plan.packets_from(run.first).take(run.packets).enumerate() {
        let bytes = PACKET_HEADER_BYTES + packet.body_bytes;
        let header = link.header(run.lane, packet.frames, bytes, run.padding(index, bytes) > 0);
        headers.push(header.encode(Some(hash_of(plan.spans_of(packet), lanes))));
        link.advance(run.lane, &header);
    }
}

/// The frames of a span, in place in their ring.
#[inline]
pub(super) fn frames_of<'a>(span: &Span, lanes: &'a Lanes) -> &'a [u8] {
    let batch = lanes[span.ring.lane][span.ring.index].consumer.peek();
    &batch[span.offset..span.offset + span.bytes]
}

/// The checksum part of a packet's frames; one call where they lie side by side.
fn hash_of<'a>(mut spans: impl Iterator<Item = &'a Span>, lanes: &Lanes) -> u64 {
    let Some(first) = spans.next() else { return body_hash(&[]) };
    let Some(second) = spans.next() else { return body_hash(frames_of(first, lanes)) };
    let mut hash = BodyHash::new();
    hash.update(frames_of(first, lanes));
    hash.update(frames_of(second, lanes));
    for span in spans {
        hash.update(frames_of(span, lanes));
    }
    hash.finish()
}

impl<T: Transmit> Sender<T> {
    /// Sends the plan; what the kernel does not take now goes into the stash. Returns the packets.
    pub(super) fn send_plan(&mut self, now_ns: u64) -> usize {
        let limits = self.transport.segmentation();
        self.emission.form_runs(&self.plan, &self.links, limits);
        let packets = self.emission.write_packets(&self.plan, &mut self.links, &self.lanes, now_ns);
        self.transmit();
        self.count_sent(packets);
        self.end_streams();
        packets
    }

    /// Builds the slices and messages over headers and rings, and sends them.
    fn transmit(&mut self) {
        let Emission { headers, sealed, runs, slices, ends, messages } = &mut self.emission;
        let mut pointed: Vec<IoSlice<'_>> = recycle(std::mem::take(slices));
        ends.clear();
        let mut headers = headers.iter();
        for run in runs.iter() {
            if run.sealed.is_some() {
                pointed.push(IoSlice::new(sealed.run(run)));
                ends.push(pointed.len());
                continue;
            }
            for (index, packet) in self.plan.packets_from(run.first).take(run.packets).enumerate() {
                let Some(header) = headers.next() else { break };
                pointed.push(IoSlice::new(header));
                for span in self.plan.spans_of(packet) {
                    pointed.push(IoSlice::new(frames_of(span, &self.lanes)));
                }
                let padding = run.padding(index, PACKET_HEADER_BYTES + packet.body_bytes);
                if padding > 0 {
                    pointed.push(IoSlice::new(&ZEROS[..padding]));
                }
            }
            ends.push(pointed.len());
        }
        let mut ready: Vec<Message<'_>> = recycle(std::mem::take(messages));
        let mut from = 0;
        for (run, end) in runs.iter().zip(ends.iter()) {
            let own = &pointed[from..*end];
            from = *end;
            // Of a sealed run everything may have been shed.
            let link = self.links.get(run.link).filter(|_| run.packets > 0);
            let Some(link) = link else { continue };
            ready.push(Message {
                destination: &link.destination,
                slices: own,
                bytes: own.iter().map(|slice| slice.len()).sum(),
                segment_bytes: if run.packets > 1 { run.segment_bytes } else { 0 },
                datagrams: u32::try_from(run.packets).unwrap_or(u32::MAX),
            });
        }
        let mut done = 0;
        while done < ready.len() {
            let sent = self.transport.send(&ready[done..]);
            done += sent.messages;
            if sent.would_block || sent.messages == 0 {
                self.counters.add(Counter::SendBlocked, 1);
                self.stash.keep(&ready[done..]);
                break;
            }
        }
        let bytes: usize = ready.iter().map(|message| message.bytes).sum();
        self.counters.add(Counter::BytesSent, bytes as u64);
        self.counters.add(Counter::SendCalls, ready.len() as u64);
        *messages = recycle(ready);
        *slices = recycle(pointed);
    }

    fn count_sent(&self, packets: usize) {
        let events: u64 = self.plan.packets.iter().map(|packet| u64::from(packet.frames)).sum();
        self.counters.add(Counter::EventsTaken, events);
        self.counters.add(Counter::EventsSent, events - self.emission.sealed.shed());
        self.counters.add(Counter::PacketsSent, packets as u64);
        self.count_sealed();
    }

    /// Forgets the plan's chains and lists the streams whose tail will need marking.
    fn end_streams(&mut self) {
        for touched in &self.plan.touched {
            let Some(link) = self.links.get_mut(touched.link) else { continue };
            let stream = &mut link.streams[touched.lane];
            stream.chain = crate::link::Chain::default();
            if link.flow != FlowControl::Off {
                stream.credit.mark(stream.sequence);
                let impossible = stream.credit.take_disbelieved();
                self.counters.add(Counter::StatusesImpossible, impossible);
            }
            if !stream.tail.listed {
                stream.tail.listed = true;
                self.tails.list(*touched, stream.tail.due_ns);
            }
        }
    }
}

//! Tail markers: after a stream falls silent, a few empty packets say how far it has come, so that
//! the receiver sees loss at the end as it sees loss in the middle.

use std::io::IoSlice;

use wireloom_wire::PACKET_HEADER_BYTES;

use super::Sender;
use super::plan::Touched;
use super::sealed::Marker;
use crate::counters::Counter;
use crate::io::{Message, Transmit};
use crate::limits::{CYCLE_PACKETS_MAX, LINKS_MAX, TAIL_MARKER_NS, TAIL_MARKERS};
use crate::link::{Link, LinkId};

/// Streams that have sent and may need marking.
#[derive(Debug)]
pub(super) struct Tails {
    streams: Vec<Touched>,
    due_ns: Option<u64>,
}

impl Tails {
    pub(super) fn new() -> Self {
        Self { streams: Vec::with_capacity(LINKS_MAX * wireloom_wire::LANES), due_ns: None }
    }

    pub(super) fn list(&mut self, stream: Touched, due_ns: u64) {
        self.streams.push(stream);
        self.due_ns = Some(self.due_ns.map_or(due_ns, |due| due.min(due_ns)));
    }

    #[inline]
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        self.due_ns.is_some_and(|due_ns| due_ns <= now_ns)
    }

    pub(super) const fn due_ns(&self) -> Option<u64> {
        self.due_ns
    }
}

/// The empty packet that says where a stream stands; `None` when it cannot be sealed.
fn marker(link: &mut Link, lane: usize, now_ns: u64) -> Option<Marker> {
    let header = link.header(lane, 0, PACKET_HEADER_BYTES, false);
    let marker = Marker::of(link, lane, &header, now_ns)?;
    link.streams[lane].sequence += 1;
    link.counters.add(lane, 0, 1);
    Some(marker)
}

impl<T: Transmit> Sender<T> {
    /// Marks the streams whose silence has lasted; forgets those marked often enough.
    pub(super) fn mark_tails(&mut self, now_ns: u64) -> usize {
        let (mut marked, mut index, mut next_due) = (0, 0, None::<u64>);
        while let Some(touched) = self.tails.streams.get(index).copied() {
            let Some(link) = self.links.get_mut(touched.link) else {
                self.tails.streams.swap_remove(index);
                continue;
            };
            let tail = &mut link.streams[touched.lane].tail;
            if tail.markers_left == 0 {
                tail.listed = false;
                self.tails.streams.swap_remove(index);
                continue;
            }
            if tail.due_ns <= now_ns && marked < CYCLE_PACKETS_MAX {
                let waits = 3_u64.pow(1 + TAIL_MARKERS - tail.markers_left);
                tail.markers_left -= 1;
                tail.due_ns = now_ns + TAIL_MARKER_NS * waits;
                self.send_marker(touched.link, touched.lane, Counter::TailMarkers, now_ns);
                marked += 1;
            }
            let due_ns = self.links.get(touched.link).map(|l| l.streams[touched.lane].tail.due_ns);
            next_due = [next_due, due_ns].into_iter().flatten().min();
            index += 1;
        }
        self.tails.due_ns = next_due;
        marked
    }

    /// Marks every stream that ever sent: the last word of a closing sender.
    pub(super) fn mark_every_tail(&mut self, now_ns: u64) {
        for slot in 0..self.links.0.len() {
            for lane in 0..wireloom_wire::LANES {
                let Some(link) = self.links.0[slot].as_deref() else { break };
                if link.streams[lane].sequence > 0 {
                    let id = link.id;
                    self.send_marker(id, lane, Counter::TailMarkers, now_ns);
                }
            }
        }
    }

    /// Sends an empty packet that says where a stream stands, and counts it as what it is for.
    pub(super) fn send_marker(&mut self, id: LinkId, lane: usize, counter: Counter, now_ns: u64) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(marker) = marker(link, lane, now_ns) else { return };
        let slices = [IoSlice::new(marker.bytes())];
        let message = Message {
            destination: &link.destination,
            slices: &slices,
            bytes: marker.bytes().len(),
            segment_bytes: 0,
            datagrams: 1,
        };
        let sent = self.transport.send(&[message]);
        if sent.messages == 1 {
            self.counters.add(counter, 1);
            self.counters.add(Counter::PacketsSent, 1);
            self.counters.add(Counter::BytesSent, marker.bytes().len() as u64);
        }
    }
}

//! Packets of links that have a key: encrypted from their rings into memory of the cycle, side by
//! side, so that a run of them is one slice.

use wireloom_wire::{PACKET_HEADER_BYTES, PacketHeader, TAG_BYTES};

use super::emit::{Run, frames_of};
use super::plan::Plan;
use super::{Lanes, Sender};
use crate::counters::Counter;
use crate::io::Transmit;
use crate::limits::SEALED_BYTES;
use crate::link::Link;

/// The reused memory of a cycle's sealed packets.
#[derive(Debug)]
pub(super) struct Sealed {
    bytes: Vec<u8>,
    used: usize,
    /// Of this cycle.
    packets: u64,
    /// Events of packets that could not be sealed, in this cycle.
    shed: u64,
}

impl Sealed {
    /// All it will need, touched only where links have keys.
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; SEALED_BYTES], used: 0, packets: 0, shed: 0 }
    }

    pub(super) const fn clear(&mut self) {
        (self.used, self.packets, self.shed) = (0, 0, 0);
    }

    /// Events that were planned and are not sent.
    pub(super) const fn shed(&self) -> u64 {
        self.shed
    }

    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }

    /// The packets of a run, with their padding.
    pub(super) fn run(&self, run: &Run) -> &[u8] {
        let (from, to) = run.sealed.unwrap_or((0, 0));
        &self.bytes[from..to]
    }

    /// Numbers and seals the packets of a run. One that cannot be sealed, because the keys are used
    /// up, is shed with all behind it: in clear it must not leave.
    pub(super) fn seal_run(
        &mut self,
        run: &mut Run,
        link: &mut Link,
        (plan, lanes): (&Plan, &Lanes),
        now_ns: u64,
    ) {
        let from = self.used;
        let mut sealed = 0;
        for (index, packet) in plan.packets_from(run.first).take(run.packets).enumerate() {
            let bytes = PACKET_HEADER_BYTES + packet.body_bytes + TAG_BYTES;
            let padding = run.padding(index, bytes);
            let header = link.header(run.lane, packet.frames, bytes, padding > 0);
            let spans = plan.spans_of(packet).map(|span| frames_of(span, lanes));
            let Some(length) =
                seal(link, (run.lane, &header), spans, &mut self.bytes[self.used..], now_ns)
            else {
                let unsealed = plan.packets_from(run.first).take(run.packets).skip(sealed);
                self.shed += unsealed.map(|packet| u64::from(packet.frames)).sum::<u64>();
                break;
            };
            self.used += length;
            let Some(zeros) = self.bytes.get_mut(self.used..self.used + padding) else { break };
            zeros.fill(0);
            self.used += padding;
            link.advance(run.lane, &header);
            sealed += 1;
        }
        run.packets = sealed;
        run.sealed = Some((from, self.used));
        self.packets += sealed as u64;
    }
}

/// Seals one packet of a link; `None` when its keys are used up.
fn seal<'a>(
    link: &mut Link,
    (lane, header): (usize, &PacketHeader),
    frames: impl Iterator<Item = &'a [u8]>,
    out: &mut [u8],
    now_ns: u64,
) -> Option<usize> {
    let seal = link.seal.as_mut()?;
    let mode = seal.modes[lane]?;
    seal.key.seal((header, mode), frames, out, now_ns).ok()
}

/// The bytes of an empty packet.
pub(super) struct Marker {
    bytes: [u8; PACKET_HEADER_BYTES + TAG_BYTES],
    length: usize,
}

impl Marker {
    /// The packet with this header, sealed where its lane is; `None` when it cannot be.
    pub(super) fn of(
        link: &mut Link,
        lane: usize,
        header: &PacketHeader,
        now_ns: u64,
    ) -> Option<Self> {
        if link.is_keyless(lane) {
            return None;
        }
        let mut bytes = [0; PACKET_HEADER_BYTES + TAG_BYTES];
        let length = if link.mode(lane).is_some() {
            seal(link, (lane, header), std::iter::empty(), &mut bytes, now_ns)?
        } else {
            let head = header.encode(Some(wireloom_wire::body_hash(&[])));
            bytes[..head.len()].copy_from_slice(&head);
            head.len()
        };
        Some(Self { bytes, length })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl<T: Transmit> Sender<T> {
    /// Counts what was sealed in this cycle and what could not be.
    pub(super) fn count_sealed(&self) {
        let sealed = &self.emission.sealed;
        if sealed.packets() > 0 {
            self.counters.add(Counter::PacketsSealed, sealed.packets());
        }
        if sealed.shed() > 0 {
            self.counters.add(Counter::EventsShedUnsealed, sealed.shed());
        }
    }
}

//! The bare loops the product is compared with: the same frames in the same packets, sent as
//! segmented runs and received joined, or written to a stream packet by packet, with nothing around
//! them.
//!
//! The plain sender sends the same prepared run again and again; its receiver reads one word of
//! each event and counts. No rings, no encoding, no checksums, no checks, no dispatch: what the
//! kernel and the copies cost, and so the ceiling for anything built on them. The checked sender
//! writes every event and hashes every packet, as anything must that sends news and wants to know
//! what arrived; its receiver verifies the hash and reads one word of each event.

use std::io::IoSlice;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use wireloom::Clock;
use wireloom_dataplane::io::mio::MioTransmit;
use wireloom_dataplane::io::{DATAGRAM_BYTES_MAX, Destination, Message, Transmit};
use wireloom_wire::{PACKET_HEADER_BYTES, body_hash};

use super::figures::{median, per_second};
use super::peer::{Account, Peer, PeerPlan, PeerWork, Question};
use super::raw::{ANY_PORT, HASH_OFFSET, socket};
use super::stream::StreamSender;

/// Sends as fast as it goes, for so many ns.
type Flood = Box<dyn FnMut(u64) -> Result<()>>;

/// A bare loop: a sender here, a receiver in a process of its own, and what its slices found.
pub(super) struct Bare {
    receiver: Peer,
    flood: Flood,
    /// Events a second of each slice.
    pub(super) slices_per_s: Vec<f64>,
}

impl Bare {
    /// Starts the receiver; `plan` says what the product's receiver does.
    pub(super) fn start(plan: &PeerPlan, work: PeerWork, packet_bytes: usize) -> Result<Self> {
        let plan = PeerPlan { work, driven: true, timed_every: 0, ..plan.clone() };
        let receiver = Peer::start(&plan)?;
        let (to, frame_bytes) = (receiver.address(&plan), plan.frame_bytes);
        let flood: Flood = if plan.reliable {
            let mut sender = StreamSender::new(to, frame_bytes, packet_bytes)?;
            Box::new(move |for_ns| sender.flood(for_ns))
        } else {
            let mut sender = RawSender::new(to, frame_bytes, packet_bytes)?;
            let checked = work == PeerWork::RawChecked;
            let send = if checked { RawSender::flood_checked } else { RawSender::flood };
            Box::new(move |for_ns| {
                send(&mut sender, for_ns);
                Ok(())
            })
        };
        Ok(Self { receiver, flood, slices_per_s: Vec::new() })
    }

    /// Runs it, alone on both cores.
    pub(super) fn slice(&mut self, for_ns: u64) -> Result<()> {
        self.receiver.sample(Question::Run { timed_from_ns: u64::MAX })?;
        let before = self.receiver.sample(Question::Sample)?;
        (self.flood)(for_ns)?;
        let after = self.receiver.sample(Question::Pause)?;
        let events = after.counts.delivered - before.counts.delivered;
        self.slices_per_s.push(per_second(events, after.active_ns).round());
        Ok(())
    }

    /// Events a second: the median of the slices.
    pub(super) fn per_s(&self) -> Option<f64> {
        median(&self.slices_per_s).map(f64::round)
    }

    /// Ends the receiver.
    pub(super) fn finish(self) -> Result<Account> {
        self.receiver.finish()
    }
}

/// Sends runs of packets.
pub(super) struct RawSender {
    transmit: MioTransmit,
    destination: Destination,
    run: Vec<u8>,
    packet_bytes: usize,
    frame_bytes: usize,
    sequence: u64,
    clock: Clock,
}

impl RawSender {
    /// Prepares the largest run the kernel takes, of packets filled with frames of `frame_bytes`.
    pub(super) fn new(to: SocketAddr, frame_bytes: usize, packet_bytes: usize) -> Result<Self> {
        let (socket, _) = socket(ANY_PORT, None)?;
        let transmit = MioTransmit::new(vec![socket]).context("the raw sender's socket")?;
        let packet_bytes = filled_packet_bytes(frame_bytes, packet_bytes);
        let limits = transmit.segmentation();
        let fitting = limits.max_bytes.min(DATAGRAM_BYTES_MAX) / packet_bytes;
        let packets = fitting.clamp(1, limits.max_segments);
        Ok(Self {
            transmit,
            destination: Destination::new(0, to),
            run: (0..packets * packet_bytes).map(|byte| byte.to_le_bytes()[0]).collect(),
            packet_bytes,
            frame_bytes,
            sequence: 0,
            clock: Clock::system(),
        })
    }

    /// Sends the prepared run for `for_ns`.
    pub(super) fn flood(&mut self, for_ns: u64) {
        let until_ns = self.clock.now_ns().saturating_add(for_ns);
        while self.clock.now_ns() < until_ns {
            self.send(self.run.len());
        }
    }

    /// Writes every event of a run anew and hashes its packets before it is sent, for `for_ns`.
    pub(super) fn flood_checked(&mut self, for_ns: u64) {
        let until_ns = self.clock.now_ns().saturating_add(for_ns);
        loop {
            let now_ns = self.clock.now_ns();
            if now_ns >= until_ns {
                return;
            }
            for packet in self.run.chunks_exact_mut(self.packet_bytes) {
                let (header, body) = packet.split_at_mut(PACKET_HEADER_BYTES);
                for frame in body.chunks_exact_mut(self.frame_bytes) {
                    write_frame(frame, self.sequence, now_ns);
                    self.sequence += 1;
                }
                header[HASH_OFFSET..].copy_from_slice(&body_hash(body).to_le_bytes());
            }
            self.send(self.run.len());
        }
    }

    /// Writes and sends the next `events` events, packed; `due_ns` gives each its time by its
    /// sequence.
    pub(super) fn send_packed(&mut self, events: u64, due_ns: impl Fn(u64) -> u64) {
        let until = self.sequence + events;
        while self.sequence < until {
            let mut bytes = 0;
            for packet in self.run.chunks_exact_mut(self.packet_bytes) {
                if self.sequence == until {
                    break;
                }
                bytes += PACKET_HEADER_BYTES;
                for frame in packet[PACKET_HEADER_BYTES..].chunks_exact_mut(self.frame_bytes) {
                    if self.sequence == until {
                        break;
                    }
                    write_frame(frame, self.sequence, due_ns(self.sequence));
                    self.sequence += 1;
                    bytes += frame.len();
                }
            }
            self.send(bytes);
        }
    }

    /// Events written so far.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Sends the first bytes of the run as packets.
    fn send(&mut self, bytes: usize) {
        let slices = [IoSlice::new(&self.run[..bytes])];
        let message = if bytes <= self.packet_bytes {
            Message::single(&self.destination, &slices)
        } else {
            Message::segmented(&self.destination, &slices, self.packet_bytes)
        };
        self.transmit.send(&[message]);
    }
}

/// Writes every word of an event; its time and its sequence lead the payload.
#[inline]
pub(super) fn write_frame(frame: &mut [u8], sequence: u64, sent_ns: u64) {
    let (words, _) = frame.as_chunks_mut::<8>();
    for (place, index) in words.iter_mut().zip(0_u64..) {
        *place = sequence.wrapping_add(index).to_le_bytes();
    }
    if let [_, _, _, _, time, number, ..] = words {
        (*time, *number) = (sent_ns.to_le_bytes(), sequence.to_le_bytes());
    }
}

/// A packet's length when it is filled with whole frames, as the product fills it.
pub(super) const fn filled_packet_bytes(frame_bytes: usize, packet_bytes: usize) -> usize {
    let room = packet_bytes.saturating_sub(PACKET_HEADER_BYTES);
    let frames = if room < frame_bytes { 1 } else { room / frame_bytes };
    PACKET_HEADER_BYTES + frames * frame_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_filled_with_whole_frames() {
        assert_eq!(filled_packet_bytes(96, 1_400), 48 + 14 * 96);
        assert_eq!(filled_packet_bytes(96, 143), 48 + 96, "one frame always goes");
        assert_eq!(filled_packet_bytes(2_000, 1_400), 2_048);
    }
}

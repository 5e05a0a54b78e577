//! The bare loop the product is compared with: the same frames in the same packets, sent as
//! segmented runs and received joined, with nothing around it.
//!
//! The sender sends the same prepared run again and again; the receiver reads one word of each
//! event and counts. No rings, no encoding, no checksums, no checks, no dispatch: what the kernel
//! and the copies cost, and so the ceiling for anything built on them.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result};
use wireloom::Clock;
use wireloom_dataplane::io::mio::{MioReceive, MioTransmit};
use wireloom_dataplane::io::{DATAGRAM_BYTES_MAX, Destination, Message, Receive, Transmit};
use wireloom_dataplane::socket::{GroupJoin, MulticastOptions, SocketConfig, SocketReport, open};
use wireloom_wire::PACKET_HEADER_BYTES;

use super::arrivals::Counts;
use super::peer::{Account, Answer, PeerPlan, Receiving, say, serve};

/// Bytes of a frame before its payload.
const FRAME_HEADER_BYTES: usize = wireloom_wire::FRAME_HEADER_BYTES;

/// A socket like the product's: same buffers, same options.
fn socket(bind: SocketAddr, group: Option<SocketAddr>) -> Result<(UdpSocket, SocketReport)> {
    let joins = group.map(|group| GroupJoin { group: group.ip(), interface: super::loopback() });
    let opened = open(&SocketConfig {
        bind,
        groups: joins.into_iter().collect(),
        multicast: MulticastOptions { interface: super::loopback(), ..MulticastOptions::default() },
        broadcast: false,
        receive_buffer_bytes: super::RECEIVE_BUFFER_BYTES,
        send_buffer_bytes: super::SEND_BUFFER_BYTES,
        reuse_port: false,
        reuse_address: group.is_some(),
    })?;
    Ok((opened.socket, opened.report))
}

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Sends a prepared run of packets.
pub(super) struct RawSender {
    transmit: MioTransmit,
    destination: Destination,
    run: Vec<u8>,
    packet_bytes: usize,
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
            clock: Clock::system(),
        })
    }

    /// Sends for `for_ns`.
    pub(super) fn flood(&mut self, for_ns: u64) {
        let slices = [IoSlice::new(&self.run)];
        let message = if self.run.len() == self.packet_bytes {
            Message::single(&self.destination, &slices)
        } else {
            Message::segmented(&self.destination, &slices, self.packet_bytes)
        };
        let until_ns = self.clock.now_ns().saturating_add(for_ns);
        while self.clock.now_ns() < until_ns {
            self.transmit.send(&[message]);
        }
    }
}

/// A packet's length when it is filled with whole frames, as the product fills it.
pub(super) const fn filled_packet_bytes(frame_bytes: usize, packet_bytes: usize) -> usize {
    let room = packet_bytes.saturating_sub(PACKET_HEADER_BYTES);
    let frames = if room < frame_bytes { 1 } else { room / frame_bytes };
    PACKET_HEADER_BYTES + frames * frame_bytes
}

/// Receives and counts.
struct RawReceiver {
    receive: MioReceive,
    frame_bytes: usize,
    events: u64,
    /// What was read, so that the reads cannot be left out.
    words: u64,
}

impl Receiving for RawReceiver {
    fn drive(&mut self) -> usize {
        let Self { receive, frame_bytes, events, words } = self;
        let received = receive.receive(&mut |arrival| {
            for datagram in arrival.datagrams() {
                let Some(body) = datagram.get(PACKET_HEADER_BYTES..) else { continue };
                for frame in body.chunks_exact(*frame_bytes) {
                    let word = frame[FRAME_HEADER_BYTES..].first_chunk().copied();
                    *words = words.wrapping_add(word.map_or(0, u64::from_le_bytes));
                    *events += 1;
                }
            }
        });
        received.datagrams
    }

    fn counts(&self) -> Counts {
        Counts { delivered: self.events, ..Counts::default() }
    }

    fn time_from(&mut self, _timed_from_ns: u64) {}

    fn finish(self) -> Account {
        std::hint::black_box(self.words);
        Account {
            counts: self.counts(),
            kernel_drops: self.receive.counters().kernel_drops,
            ..Account::default()
        }
    }
}

/// The child process of a raw run.
pub(super) fn serve_raw(plan: &PeerPlan) -> Result<()> {
    let (socket, report) = socket(plan.group.unwrap_or(ANY_PORT), plan.group)?;
    let receive = MioReceive::new(vec![socket]).context("the raw receiver's socket")?;
    let receiver =
        RawReceiver { receive, frame_bytes: plan.frame_bytes.max(48), events: 0, words: 0 };
    say(&Answer::Ready { address: report.local, notes: report.notes })?;
    serve(receiver, true)
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

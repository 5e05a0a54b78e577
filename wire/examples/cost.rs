//! What the hot paths cost, a frame or a packet: packets of 14 frames with 64-byte payloads.
//!
//! `cargo run --release -p wireloom-wire --example cost [rounds]`
//!
//! The best of several repetitions, on one thread, with everything in the nearest cache. Not a
//! benchmark of the product: `wireloom bench` is.
#![expect(clippy::print_stdout, reason = "an example prints what it measured")]

use std::{error::Error, hint::black_box, time::Instant};

use wireloom_wire::{
    BodyHash, EncodeError, Encoding, Fingerprint, FrameEncoder, FrameFlags, FrameHeader, Frames,
    NodeId, PacketFlags, PacketHeader, Priority, ReceiveWindow, SessionId, body_hash,
    decode_packet, event_type_id, take_frames,
};

const FRAMES: u16 = 14;
const REPETITIONS: usize = 9;

/// Frames with payloads of `payload_bytes(index)` bytes, side by side.
fn body(payload_bytes: impl Fn(usize) -> usize) -> Result<Vec<u8>, EncodeError> {
    let (mut body, mut at) = (vec![0; 64 * 1024], 0);
    for index in 0..usize::from(FRAMES) {
        let encoder = encoder(index as u64);
        at += encoder.write(&vec![7; payload_bytes(index)], &mut body[at..])?;
    }
    body.truncate(at);
    Ok(body)
}

#[inline]
fn encoder(sequence: u64) -> FrameEncoder<'static> {
    FrameEncoder::new(FrameHeader {
        length: 0,
        event_type: const { event_type_id("user-interaction") },
        fingerprint: Fingerprint::NONE,
        priority: Priority::Normal,
        encoding: Encoding::Raw,
        flags: FrameFlags::empty(),
        sequence,
        timestamp_ns: sequence,
    })
}

fn header(body: &[u8], sequence: u64) -> PacketHeader {
    PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: Priority::Normal.lane(),
        frame_count: FRAMES,
        length: u32::try_from(48 + body.len()).unwrap_or(u32::MAX),
        session: SessionId(1),
        source: NodeId(2),
        sequence,
        first_event: sequence * u64::from(FRAMES),
    }
}

/// Prints the best time of one `work`, divided by `parts`.
fn report(name: &str, rounds: u64, parts: u64, mut work: impl FnMut(u64)) {
    let best = (0..REPETITIONS)
        .map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(&mut work);
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!("{name:<44} {:8.2} ns", best.as_secs_f64() * 1e9 / (rounds * parts) as f64);
}

/// One look at every field that a dispatcher reads.
fn walk(body: &[u8]) -> u64 {
    Frames::new(body).flatten().fold(0, |sum, frame| {
        let header = &frame.header;
        sum.wrapping_add(u64::from(header.event_type.0) + header.sequence)
            .wrapping_add(frame.payload().len() as u64)
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().nth(1).as_deref().unwrap_or("300000").parse()?;
    let frames = u64::from(FRAMES);
    let even = body(|_| 64)?;
    let odd = body(|index| [64, 20, 100, 0, 40][index % 5])?;

    for (name, body) in [("equal", &even), ("mixed", &odd)] {
        report(&format!("take_frames, {name} frames, a frame"), rounds, frames, |_| {
            black_box(take_frames(black_box(body), 64 * 1024));
        });
        report(&format!("Frames, {name} frames, a frame"), rounds, frames, |_| {
            black_box(walk(black_box(body)));
        });
    }
    let mut record = [0; 128];
    report("FrameEncoder::encode, a frame", rounds, 1, |round| {
        let _ = black_box(encoder(round).encode(black_box(&mut record)));
    });
    println!("body of {} bytes", even.len());
    report("body_hash, a packet", rounds, 1, |_| {
        black_box(body_hash(black_box(&even)));
    });
    report("BodyHash of two pieces, a packet", rounds, 1, |_| {
        let (front, back) = black_box(&even).split_at(672);
        let mut hash = BodyHash::new();
        hash.update(front);
        hash.update(back);
        black_box(hash.finish());
    });
    report("PacketHeader::encode without the body's hash", rounds, 1, |round| {
        black_box(black_box(header(&even, round)).encode(Some(round)));
    });
    for (name, hash) in [("with", Some(body_hash(&even))), ("without", None)] {
        let packet = [&header(&even, 0).encode(hash), &even[..]].concat();
        report(&format!("decode_packet {name} checksum, a packet"), rounds, 1, |_| {
            let _ = black_box(decode_packet(black_box(&packet), false));
        });
    }
    let (mut window, mut next) = (ReceiveWindow::new(), 0);
    report("ReceiveWindow::admit in order, a packet", rounds, 1, |_| {
        black_box(window.admit(black_box(next), next * frames, FRAMES));
        next += 1;
    });
    report("ReceiveWindow::admit after a gap, a packet", rounds, 1, |_| {
        next += 1_000;
        black_box(window.admit(black_box(next), next * frames, FRAMES));
    });
    Ok(())
}

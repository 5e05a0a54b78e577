//! Clients that flood the bridge (F39, F40): the others have their turns, and nothing grows.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tungstenite::{Bytes, Message};

use crate::jtag_bridge::{Bridge, PATIENCE};

/// How long an answer may take while somebody floods.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// What the bridge may grow by: one message on its way, as long as messages may be.
const GROWTH_MAX: u64 = 48 << 20;

/// A client that writes frames by hand.
fn raw(bridge: &Bridge) -> TcpStream {
    let mut stream = TcpStream::connect(&bridge.clients).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
        .write_all(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    stream
}

/// A masked frame with at most one byte: first byte, payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

fn resident_bytes(bridge: &Bridge) -> u64 {
    let path = format!("/proc/{}/status", bridge.child.id());
    let status = std::fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") << 10
}

/// The longest of twenty answers to an honest client while somebody repeats `frames` behind
/// `first`, as fast as the bridge takes them; how many bytes that were.
fn flood(bridge: &Bridge, first: &[u8], frames: &[u8]) -> (Duration, u64) {
    let (stop, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut honest, mut stream) = (bridge.client(), raw(bridge));
    let (stop, bytes_sent) = (&stop, &bytes);
    let mut worst = Duration::ZERO;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
            let _ = stream.write_all(first);
            let many = frames.repeat(10_000);
            while !stop.load(Ordering::Relaxed) {
                match stream.write(&many) {
                    // Whole frames again: what is left of them goes first.
                    Ok(written) if stream.write_all(&many[written..]).is_ok() => {
                        bytes_sent.fetch_add(many.len() as u64, Ordering::Relaxed);
                    }
                    Ok(_) => return,
                    Err(_) => return,
                }
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        for number in 0..20_u8 {
            let begun = Instant::now();
            honest.0.send(Message::Ping(Bytes::from(vec![number]))).expect("sent");
            let answer = honest.0.read().expect("an answer");
            assert_eq!(answer, Message::Pong(Bytes::from(vec![number])));
            worst = worst.max(begun.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
    });
    (worst, bytes.into_inner())
}

#[test]
fn f40_floods_of_pings_and_of_empty_and_tiny_fragments_leave_the_others_their_turns() {
    let bridge = Bridge::start(&[]);
    let before = resident_bytes(&bridge);
    let (text, on, ping) = (frame(0x01, b"x"), frame(0x00, b""), frame(0x89, b""));
    for (what, first, frames) in [
        ("pings", &[][..], &ping),
        ("empty fragments", &text, &on),
        ("fragments of a byte", &text, &frame(0x00, b"x")),
        ("empty messages", &[], &frame(0x81, b"")),
    ] {
        let (worst, bytes) = flood(&bridge, first, frames);
        let grown = resident_bytes(&bridge).saturating_sub(before);
        println!("{what}: {bytes} bytes, slowest answer {worst:?}, memory + {} KiB", grown >> 10);
        assert!(bytes > 100_000, "{what}: {bytes}");
        assert!(worst < ANSWER_MAX, "{what}: {worst:?}");
        assert!(grown < GROWTH_MAX, "{what}: {grown}");
    }
    bridge.end();
}

#[test]
fn f40_a_million_fragments_are_one_message_and_unmasked_frames_are_none() {
    let bridge = Bridge::start(&[]);
    let mut stream = raw(&bridge);
    // A text of a million letters, a letter a frame: no message of ours, and refused as such.
    stream.write_all(&frame(0x01, b"x")).expect("sent");
    let some = frame(0x00, b"x").repeat(10_000);
    (0..100).for_each(|_| stream.write_all(&some).expect("it reads"));
    stream.write_all(&frame(0x80, b"x")).expect("sent");
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("an answer");
    assert_eq!(head[0], 0x81, "a refusal by name, and the client stays");
    let mut unmasked = raw(&bridge);
    unmasked.write_all(&[0x81, 0x01, b'x']).expect("sent");
    let mut told = Vec::new();
    let _ = unmasked.read_to_end(&mut told);
    assert_eq!(told[..1], [0x88], "{told:?}");
    assert_eq!(u16::from_be_bytes([told[2], told[3]]), 1_002, "a fault of the protocol");
    let account = bridge.end();
    assert_eq!(account["sockets"]["ended"]["protocol"], 1, "{account}");
}

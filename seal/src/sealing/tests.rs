//! Known answers, made by another implementation (Python's `cryptography` and `hmac`), and how the
//! counter goes through its phases to its end.

use super::*;
use crate::secret::Cipher;
use wireloom_wire::{NodeId, SessionId, decode_sealed};

const HEADER: PacketHeader = PacketHeader {
    flags: PacketFlags::SEQUENCED,
    lane: 2,
    frame_count: 1,
    length: 0,
    session: SessionId(0x5e55_1077),
    source: NodeId(0x0123_4567_89ab_cdef),
    sequence: 1_000,
    first_event: 14_000,
};

fn secret(cipher: Cipher) -> Secret {
    Secret::new(cipher, &std::array::from_fn(|index| u8::try_from(index).unwrap()))
}

fn key() -> SealingKey {
    let secret = secret(Cipher::Aes256Gcm);
    SealingKey::new(&secret, Direction::FromDialler, KeySetId(0xbeef), 1)
}

/// The bytes of a block of `docs/wire.md`.
fn golden(name: &str) -> Vec<u8> {
    let page = include_str!("../../../docs/wire.md");
    let (_, block) = page.split_once(&format!("```hex {name}\n")).unwrap();
    let lines = block.split_once("```").unwrap().0.lines();
    let digits = lines.flat_map(|line| {
        line.split_once(':').unwrap().1.split(';').next().unwrap().split_whitespace()
    });
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// The sixth packet of phase 3, in which a frame of `docs/wire.md` stands.
fn sixth_of_phase_three(cipher: Cipher, mode: Mode, cut: &[usize]) -> Vec<u8> {
    let frame = golden("packet")[48..96].to_vec();
    let mut key = SealingKey::new(&secret(cipher), Direction::FromDialler, KeySetId(0xbeef), 1);
    let mut out = vec![0xff; 200];
    for _ in 0..3 {
        key.seal((&HEADER, mode), [&frame[..]], &mut out, 5).unwrap();
        key.end_phase();
    }
    for _ in 0..5 {
        key.seal((&HEADER, mode), [], &mut out, 5).unwrap();
    }
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in cut.iter().copied().chain([frame.len()]) {
        pieces.push(&frame[from..to]);
        from = to;
    }
    let length = key.seal((&HEADER, mode), pieces, &mut out, 5).unwrap();
    assert!(out[length..].iter().all(|byte| *byte == 0xff), "bytes behind the packet");
    out.truncate(length);
    out
}

#[test]
fn known_answers_in_one_piece_and_in_several() {
    let tags = [
        (Cipher::Aes256Gcm, Mode::Full, "2e45b789dc1e710c9e8a80f5b128d74a"),
        (Cipher::Aes256Gcm, Mode::Integrity, "a4d297f4914053704ab2f0df363b1f82"),
        (Cipher::ChaCha20Poly1305, Mode::Full, "f22a4c9b60d60cc23cfdf8649beb54c9"),
        (Cipher::ChaCha20Poly1305, Mode::Integrity, "508b96440f4c25f803897274da14767a"),
    ];
    for (cipher, mode, tag) in tags {
        let whole = sixth_of_phase_three(cipher, mode, &[]);
        let hex: String = whole[96..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, tag, "{cipher:?} {mode:?}");
        assert_eq!(sixth_of_phase_three(cipher, mode, &[16]), whole);
        assert_eq!(sixth_of_phase_three(cipher, mode, &[0, 1, 47]), whole);
    }
    assert_eq!(sixth_of_phase_three(Cipher::Aes256Gcm, Mode::Full, &[]), golden("sealed"));
}

fn counter_of(key: &mut SealingKey, now_ns: u64) -> Result<u64, SealError> {
    let mut out = [0; 64];
    let length = key.seal((&HEADER, Mode::Full), [], &mut out, now_ns)?;
    let header = PacketHeader { frame_count: 0, ..HEADER };
    let sealed = header.encode_sealed(&Seal { set: key.set, slot: 1, counter: 0 });
    // The frame count lies (there are none), so the header is looked at as it stands.
    assert_eq!((length, out[0]), (64, sealed[0]));
    Ok(u64::from_le_bytes(out[40..48].try_into().unwrap()))
}

#[test]
fn no_counter_is_used_twice_and_a_phase_ends_by_its_count() {
    let mut key = key();
    for expected in 0..3 {
        assert_eq!(counter_of(&mut key, 5), Ok(expected));
    }
    key.counter = PHASE_PACKETS - 1;
    assert_eq!(counter_of(&mut key, 5), Ok(PHASE_PACKETS - 1));
    let before = key.secret.copy();
    assert_eq!(counter_of(&mut key, 5), Ok(PHASE_PACKETS));
    assert_eq!(key.phase_end, 2 * PHASE_PACKETS);
    let mut tags = [[0; 16]; 2];
    for (secret, tag) in [before, key.secret.copy()].iter().zip(&mut tags) {
        let lane = secret.lane_key(Direction::FromDialler, 1);
        lane.seal_in_place((0, &[]), &mut [], tag).unwrap();
    }
    assert_ne!(tags[0], tags[1], "the new phase has another key");
}

#[test]
fn a_phase_ends_by_time_when_it_has_carried_enough_and_time_runs_from_its_first_packet() {
    let mut key = key();
    let begin = 7 * PHASE_NS;
    for _ in 0..PHASE_PACKETS_MIN - 1 {
        counter_of(&mut key, begin).unwrap();
    }
    let due = begin + PHASE_NS;
    assert_eq!(counter_of(&mut key, due), Ok(PHASE_PACKETS_MIN - 1), "too few yet");
    assert_eq!(counter_of(&mut key, due - 1), Ok(PHASE_PACKETS_MIN), "too early");
    assert_eq!(counter_of(&mut key, due), Ok(PHASE_PACKETS));
    assert_eq!(counter_of(&mut key, due + PHASE_NS - 1), Ok(PHASE_PACKETS + 1));
}

#[test]
fn a_phase_ends_when_told_but_none_is_passed_over() {
    let mut key = key();
    key.end_phase();
    assert_eq!(counter_of(&mut key, 5), Ok(0), "nothing had been sealed in it");
    key.end_phase();
    key.end_phase();
    assert_eq!(counter_of(&mut key, 5), Ok(PHASE_PACKETS));
}

#[test]
fn after_the_last_phase_nothing_is_sealed() {
    let mut key = key();
    key.counter = (PHASES << PHASE_BITS) - 1;
    key.phase_end = PHASES << PHASE_BITS;
    key.due_ns = u64::MAX;
    assert_eq!(counter_of(&mut key, 5), Ok((1 << 38) - 1));
    for _ in 0..2 {
        assert_eq!(counter_of(&mut key, 5), Err(SealError::UsedUp));
    }
}

#[test]
fn what_does_not_fit_is_refused_and_uses_no_counter() {
    let mut key = key();
    let frames = [&[0; 32][..], &[0; 16]];
    for mode in [Mode::Full, Mode::Integrity] {
        for pieces in 0..=2 {
            let needed = 64 + frames[..pieces].concat().len();
            for length in 0..needed {
                let body = frames[..pieces].iter().copied();
                let sealed = key.seal((&HEADER, mode), body, &mut vec![0; length], 5);
                assert_eq!(sealed, Err(SealError::NoRoom), "{length} of {needed}");
            }
        }
    }
    assert_eq!(counter_of(&mut key, 5), Ok(0));
}

#[test]
fn secrets_and_keys_print_nothing_of_what_they_are() {
    let printed = format!("{:?} {:?}", secret(Cipher::Aes256Gcm), key());
    assert!(!printed.contains("0, 1, 2") && printed.contains("Secret { cipher: Aes256Gcm, .. }"));
    let mut out = [0; 200];
    key().seal((&HEADER, Mode::Full), [&[7; 32][..]], &mut out, 0).unwrap();
    assert_eq!(decode_sealed(&out[..96]).unwrap().seal.set, KeySetId(0xbeef));
}

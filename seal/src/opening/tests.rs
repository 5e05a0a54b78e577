//! Each refusal, and that it changes nothing.

use super::*;
use crate::sealing::{Mode, SealingKey};
use crate::secret::Cipher;
use wireloom_wire::{KeySetId, NodeId, PacketFlags, PacketHeader, SessionId, decode_sealed};

const PHASE: u64 = 1 << PHASE_BITS;
const SECOND: u64 = 1_000_000_000;

fn secret() -> Secret {
    Secret::new(Cipher::Aes256Gcm, &[3; 32])
}

fn sealing() -> SealingKey {
    SealingKey::new(&secret(), Direction::FromDialler, KeySetId(5), 2)
}

fn opening() -> OpeningKey {
    OpeningKey::new(&secret(), Direction::FromDialler, 2)
}

fn seal_mode(key: &mut SealingKey, mode: Mode) -> Vec<u8> {
    let header = PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: 0,
        frame_count: 1,
        length: 0,
        session: SessionId(1),
        source: NodeId(1),
        sequence: 0,
        first_event: 0,
    };
    let mut out = vec![0; 112];
    assert_eq!(key.seal((&header, mode), [&[4; 48][..]], &mut out, 1), Ok(112));
    out
}

fn seal(key: &mut SealingKey) -> Vec<u8> {
    seal_mode(key, Mode::Full)
}

fn open(key: &mut OpeningKey, bytes: &[u8], now_ns: u64) -> Result<(), OpenError> {
    let mut plain = [0; 64];
    let packet = decode_sealed(bytes).expect("it looks like a packet");
    key.open(&packet, &mut plain, now_ns).map(|packet| assert_eq!(packet.body, [4; 48]))
}

#[test]
fn packets_open_in_any_order_within_the_window_and_once() {
    for mode in [Mode::Full, Mode::Integrity] {
        let (mut sealing, mut opening) = (sealing(), opening());
        let packets: Vec<_> = (0..200).map(|_| seal_mode(&mut sealing, mode)).collect();
        for packet in packets.iter().step_by(2).rev().chain(packets.iter().skip(1).step_by(2)) {
            assert_eq!(open(&mut opening, packet, 1), Ok(()));
        }
        for packet in &packets {
            assert_eq!(open(&mut opening, packet, 1), Err(OpenError::Replayed));
        }
    }
}

#[test]
fn older_than_the_window_is_replayed() {
    let (mut sealing, mut opening) = (sealing(), opening());
    let packets: Vec<_> = (0..8_193).map(|_| seal(&mut sealing)).collect();
    assert_eq!(open(&mut opening, &packets[8_192], 1), Ok(()));
    assert_eq!(open(&mut opening, &packets[0], 1), Err(OpenError::Replayed));
    assert_eq!(open(&mut opening, &packets[1], 1), Ok(()));
}

#[test]
fn no_changed_bit_opens_and_none_moves_the_window() {
    for mode in [Mode::Full, Mode::Integrity] {
        let (mut sealing, mut opening) = (sealing(), opening());
        let genuine = seal_mode(&mut sealing, mode);
        let mut refused = 0;
        for bit in 0..genuine.len() * 8 {
            let mut forged = genuine.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let Ok(packet) = decode_sealed(&forged) else { continue };
            let error = opening.open(&packet, &mut [0; 64], 1).err();
            // A higher bit of the counter says another phase.
            assert!(matches!(error, Some(OpenError::Forged | OpenError::Phase)), "bit {bit}");
            refused += u64::from(error == Some(OpenError::Forged));
        }
        assert_eq!(opening.failed(), refused);
        assert!(refused > 500 && opening.number == 0);
        assert_eq!(open(&mut opening, &genuine, 1), Ok(()));
    }
}

#[test]
fn a_packet_cut_to_integrity_or_of_another_direction_slot_or_cipher_does_not_open() {
    let genuine = seal(&mut sealing());
    let mut clear = genuine.clone();
    clear[1] |= PacketFlags::CLEAR.bits();
    assert_eq!(open(&mut opening(), &clear, 1), Err(OpenError::Forged));
    let chacha = Secret::new(Cipher::ChaCha20Poly1305, &[3; 32]);
    for mut other in [
        OpeningKey::new(&secret(), Direction::FromDialler.back(), 2),
        OpeningKey::new(&secret(), Direction::FromDialler, 3),
        OpeningKey::new(&chacha, Direction::FromDialler, 2),
        OpeningKey::new(&secret().next(), Direction::FromDialler, 2),
    ] {
        assert_eq!(open(&mut other, &genuine, 1), Err(OpenError::Forged));
    }
}

#[test]
fn the_next_phase_is_followed_and_the_one_before_it_taken_for_a_second() {
    let (mut sealing, mut opening) = (sealing(), opening());
    let [first, late, later] = std::array::from_fn(|_| seal(&mut sealing));
    assert_eq!(open(&mut opening, &first, 1), Ok(()));
    sealing.end_phase();
    let second = seal(&mut sealing);
    assert_eq!(open(&mut opening, &second, SECOND), Ok(()));
    assert_eq!(open(&mut opening, &late, 2 * SECOND), Ok(()));
    assert_eq!(open(&mut opening, &first, 2 * SECOND), Err(OpenError::Replayed));
    assert_eq!(open(&mut opening, &second, 2 * SECOND), Err(OpenError::Replayed));
    assert_eq!(open(&mut opening, &later, 2 * SECOND + 1), Err(OpenError::Phase));
    assert_eq!(opening.failed(), 0);
}

#[test]
fn a_phase_too_far_is_refused_before_any_key_is_made() {
    let (mut sealing, mut opening) = (sealing(), opening());
    let mut packets = Vec::new();
    for _ in 0..4 {
        packets.push(seal(&mut sealing));
        sealing.end_phase();
    }
    for far in [&packets[2], &packets[3]] {
        assert_eq!(open(&mut opening, far, 1), Err(OpenError::Phase));
    }
    for (number, packet) in (0..).zip(&packets) {
        assert_eq!(open(&mut opening, packet, number * SECOND), Ok(()));
    }
    assert_eq!(opening.number, 3);
    assert_eq!(open(&mut opening, &packets[1], 3 * SECOND), Err(OpenError::Phase));
    let mut forged = packets[0].clone();
    for counter in [4 * PHASE, PHASES * PHASE, u64::MAX] {
        forged[40..48].copy_from_slice(&counter.to_le_bytes());
        let expected = if counter == 4 * PHASE { OpenError::Forged } else { OpenError::Phase };
        assert_eq!(open(&mut opening, &forged, 9 * SECOND), Err(expected));
    }
    assert_eq!(opening.number, 3, "a forged packet begins no phase");
}

#[test]
fn phases_do_not_follow_each_other_faster_than_a_link_can_count() {
    let (mut sealing, mut opening) = (sealing(), opening());
    for number in 0..3 {
        let packet = seal(&mut sealing);
        let expected = if number == 2 { Err(OpenError::Phase) } else { Ok(()) };
        assert_eq!(open(&mut opening, &packet, SECOND), expected);
        if number == 2 {
            assert_eq!(open(&mut opening, &packet, SECOND + PHASE_NS_MIN), Ok(()));
        }
        sealing.end_phase();
    }
}

#[test]
fn a_key_that_failed_too_often_is_given_up() {
    let mut opening = opening();
    let genuine = seal(&mut sealing());
    let mut forged = genuine.clone();
    forged[60] ^= 1;
    opening.failed = FAILED_OPENS_MAX - 1;
    assert_eq!(open(&mut opening, &forged, 1), Err(OpenError::Forged));
    assert_eq!(open(&mut opening, &genuine, 1), Err(OpenError::GivenUp));
}

#[test]
fn a_slot_belongs_to_the_receiver_that_opened_it_first() {
    let owner = Owner::default();
    let (mut first, mut second) = (opening().at(0, &owner), opening().at(1, &owner));
    let mut sealing = sealing();
    let [one, two] = std::array::from_fn(|_| seal(&mut sealing));
    let mut forged = one.clone();
    forged[60] ^= 1;
    assert_eq!(open(&mut second, &forged, 1), Err(OpenError::Forged), "this claims nothing");
    assert_eq!(open(&mut first, &one, 1), Ok(()));
    for packet in [&one, &two, &forged] {
        assert_eq!(open(&mut second, packet, 1), Err(OpenError::ForeignOwner));
    }
    assert_eq!(open(&mut first, &two, 1), Ok(()));
    assert!(!owner.claim(2) && owner.claim(1), "a race has one winner");
}

#[test]
fn frames_longer_than_the_memory_for_them_are_refused() {
    let mut opening = opening();
    let genuine = seal(&mut sealing());
    let packet = decode_sealed(&genuine).unwrap();
    assert_eq!(opening.open(&packet, &mut [0; 47], 1).err(), Some(OpenError::NoRoom));
    assert_eq!(open(&mut opening, &genuine, 1), Ok(()));
}

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

/// What a receiver that was away hears first: one packet of each of these phases.
fn of_phases<const N: usize>(numbers: [u64; N]) -> [Vec<u8>; N] {
    let (mut sealing, mut now) = (sealing(), 0);
    numbers.map(|number| {
        (now..number).for_each(|_| {
            seal(&mut sealing);
            sealing.end_phase();
        });
        now = number;
        seal(&mut sealing)
    })
}

#[test]
fn who_has_missed_phases_catches_up_and_takes_nothing_of_before() {
    let mut opening = opening();
    let [first, missed, late, far, next, later] = of_phases([0, 3, 63, 64, 65, 130]);
    assert_eq!(open(&mut opening, &first, SECOND), Ok(()));
    let mut forged = far.clone();
    forged[60] ^= 1;
    assert_eq!(open(&mut opening, &forged, SECOND), Err(OpenError::Forged));
    assert_eq!((opening.number, opening.failed()), (0, 1), "a forged packet begins no phase");
    // Not again at once: anybody can name a phase.
    let soon = SECOND + CATCH_UP_EVERY_NS;
    assert_eq!(open(&mut opening, &far, soon - 1), Err(OpenError::Phase));
    assert_eq!(open(&mut opening, &far, soon), Ok(()));
    assert_eq!(opening.number, 64);
    assert_eq!(open(&mut opening, &far, soon), Err(OpenError::Replayed));
    for over in [&first, &missed, &late] {
        assert_eq!(open(&mut opening, over, soon), Err(OpenError::Phase));
    }
    // It goes on from there.
    assert_eq!(open(&mut opening, &next, 2 * SECOND), Ok(()));
    assert_eq!(open(&mut opening, &later, 3 * SECOND), Err(OpenError::Phase), "65 are too many");
    assert_eq!(opening.number, 65);
}

#[test]
#[ignore = "a measurement: cargo test -p wireloom-seal --lib -- --ignored --nocapture"]
fn catching_up_with_64_phases_is_measured() {
    let [far] = of_phases([CATCH_UP_PHASES_MAX]);
    let mut took: Vec<_> = (0..1_000)
        .map(|_| {
            let (mut opening, begun) = (opening(), std::time::Instant::now());
            assert_eq!(open(&mut opening, &far, SECOND), Ok(()));
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!("64 phases: best {:.1?}, median {:.1?} of 1,000", took[0], took[500]);
}

#[test]
fn the_last_phase_is_the_last_and_one_too_far_costs_no_key() {
    let mut opening = opening();
    let mut forged = seal(&mut sealing());
    let mut named = |counter: u64, now_ns| {
        forged[40..48].copy_from_slice(&counter.to_le_bytes());
        open(&mut opening, &forged, now_ns)
    };
    for counter in [(CATCH_UP_PHASES_MAX + 1) * PHASE, PHASES * PHASE, u64::MAX] {
        assert_eq!(named(counter, SECOND), Err(OpenError::Phase));
    }
    // None of them was the try that this moment allows.
    assert_eq!(named(CATCH_UP_PHASES_MAX * PHASE, SECOND), Err(OpenError::Forged));
    opening.number = PHASES - 2;
    let mut named = |counter: u64, now_ns| {
        forged[40..48].copy_from_slice(&counter.to_le_bytes());
        open(&mut opening, &forged, now_ns)
    };
    assert_eq!(named(PHASES * PHASE, 2 * SECOND), Err(OpenError::Phase));
    assert_eq!(named((PHASES - 1) * PHASE, 2 * SECOND), Err(OpenError::Forged));
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

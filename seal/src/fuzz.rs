//! What must hold whatever the bytes: one function a property.
//!
//! The same functions run as bounded tests (`tests/hostile.rs`) and under a coverage-guided fuzzer
//! (`fuzz/`). They panic when something does not hold; the product does not call them.

use wireloom_wire::{
    KeySetId, NodeId, PacketFlags, PacketHeader, SessionId, TAG_BYTES, decode_sealed,
};

use crate::replay::{REPLAY_PACKETS, Replay};
use crate::{Cipher, Direction, Mode, OpeningKey, SealingKey, Secret};

/// Keys of one slot, for sealing and for opening.
fn keys() -> (SealingKey, OpeningKey) {
    let secret = Secret::new(Cipher::of_this_processor(), &[9; 32]);
    let direction = Direction::FromDialler;
    let sealing = SealingKey::new(&secret, direction, KeySetId(1), 0);
    (sealing, OpeningKey::new(&secret, direction, 0))
}

const HEADER: PacketHeader = PacketHeader {
    flags: PacketFlags::SEQUENCED,
    lane: 1,
    frame_count: 2,
    length: 0,
    session: SessionId(3),
    source: NodeId(4),
    sequence: 5,
    first_event: 6,
};

/// [`OpeningKey::open`]: no change of a packet opens it, a change opens nothing else, and the
/// packet itself opens afterwards all the same, once. The input is what is changed: where and how.
pub fn forge(changes: &[u8]) {
    for mode in [Mode::Integrity, Mode::Full] {
        let (mut sealing, mut opening) = keys();
        let (mut genuine, mut plain) = ([0; 48 + 96 + TAG_BYTES], [0; 96]);
        let body = [&[1; 32][..], &[2; 64]];
        let sealed = sealing.seal((&HEADER, mode), body, &mut genuine, 0);
        assert_eq!(sealed, Ok(genuine.len()));
        let mut forged = genuine;
        for change in changes.as_chunks::<2>().0 {
            let at = usize::from(change[0]) % forged.len();
            forged[at] ^= change[1];
        }
        if forged != genuine
            && let Ok(packet) = decode_sealed(&forged)
        {
            assert!(opening.open(&packet, &mut plain, 0).is_err(), "a forged packet opened");
        }
        let packet = decode_sealed(&genuine).expect("it was sealed");
        let opened = opening.open(&packet, &mut plain, 0).expect("nothing had been committed");
        assert_eq!(opened.body, body.concat());
        assert!(opening.open(&packet, &mut plain, 0).is_err(), "it opened twice");
    }
}

/// Counters that [`replay`] remembers: longer inputs are cut.
const COUNTERS_MAX: usize = 512;

/// The window: nothing is taken twice, everything fresh within the window is taken. Three bytes are
/// a packet: how far from the newest, and on which side.
pub fn replay(packets: &[u8]) {
    let mut window = Replay::new();
    let mut taken: Vec<u64> = Vec::new();
    for [low, high, side] in packets.as_chunks::<3>().0.iter().take(COUNTERS_MAX) {
        let end = taken.iter().max().map_or(0, |newest| newest + 1);
        let distance = u64::from(u16::from_le_bytes([*low, *high])) >> (side >> 4);
        let counter = if side & 1 == 0 { end + distance } else { end.saturating_sub(distance) };
        let within = counter >= end || end - counter <= REPLAY_PACKETS;
        let fresh = within && !taken.contains(&counter);
        assert_eq!(window.is_fresh(counter), fresh, "counter {counter} of {end}");
        if fresh {
            window.take(counter);
            taken.push(counter);
        }
    }
}

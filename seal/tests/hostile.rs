//! The bounded half of the fuzz targets, and properties of the pair of keys.
#![forbid(unsafe_code)]

use proptest::prelude::*;
use wireloom_seal::{Cipher, Direction, Mode, OpenError, OpeningKey, SealingKey, Secret, fuzz};
use wireloom_wire::{
    KeySetId, NodeId, PacketFlags, PacketHeader, SessionId, TAG_BYTES, decode_sealed,
};

proptest! {
    #[test]
    fn changed_packets_do_not_open(changes in prop::collection::vec(any::<u8>(), 0..40)) {
        fuzz::forge(&changes);
    }

    #[test]
    fn the_window_takes_each_counter_once(
        packets in prop::collection::vec(any::<u8>(), 0..900),
    ) {
        fuzz::replay(&packets);
    }

    /// Whatever the frames, their cut and the cipher: what is sealed opens as it was.
    #[test]
    fn what_is_sealed_opens_as_it_was(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5),
        secret in any::<[u8; 32]>(),
        (aes, full, slot) in (any::<bool>(), any::<bool>(), any::<u8>()),
    ) {
        let cipher = if aes { Cipher::Aes256Gcm } else { Cipher::ChaCha20Poly1305 };
        let mode = if full { Mode::Full } else { Mode::Integrity };
        let secret = Secret::new(cipher, &secret);
        let direction = Direction::FromAcceptor;
        let mut sealing = SealingKey::new(&secret, direction, KeySetId(1), slot);
        let mut opening = OpeningKey::new(&secret, direction, slot);
        let mut body = pieces.concat();
        let padding = vec![0; body.len().next_multiple_of(16) - body.len()];
        body.extend_from_slice(&padding);
        let frames = u16::try_from(body.len() / 32).unwrap();
        let header = PacketHeader {
            flags: PacketFlags::SEQUENCED,
            lane: 4,
            frame_count: if body.len() == 16 { 0 } else { frames },
            length: 0,
            session: SessionId(1),
            source: NodeId(2),
            sequence: 3,
            first_event: 4,
        };
        let whole = pieces.iter().map(Vec::as_slice).chain([&padding[..]]);
        let mut sealed = vec![0; 48 + body.len() + TAG_BYTES];
        prop_assert_eq!(sealing.seal((&header, mode), whole, &mut sealed, 1), Ok(sealed.len()));
        let mut plain = vec![0; body.len()];
        prop_assume!(body.len() != 16);
        let packet = decode_sealed(&sealed).unwrap();
        prop_assert_eq!(full && body.len() >= 32, packet.body() != body && !body.is_empty());
        prop_assert_eq!(opening.open(&packet, &mut plain, 1).unwrap().body, body);
        prop_assert_eq!(opening.open(&packet, &mut plain, 1).err(), Some(OpenError::Replayed));
    }
}

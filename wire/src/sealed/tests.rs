//! Each refusal of a sealed packet before a key is looked for, by the change that causes it.

use super::*;
use crate::ids::{NodeId, SessionId};
use std::vec::Vec;

const SEAL: Seal = Seal { set: KeySetId(0x1234), slot: 5, counter: 0x0102_0304_0506_0708 };

fn header(frame_count: u16, body_bytes: u32) -> PacketHeader {
    PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: 2,
        frame_count,
        length: 48 + body_bytes + 16,
        session: SessionId(7),
        source: NodeId(9),
        sequence: 77,
        first_event: 900,
    }
}

/// A packet of two smallest frames' worth of bytes, with a tag of sevens.
fn packet() -> Vec<u8> {
    let mut bytes = header(2, 64).encode_sealed(&SEAL).to_vec();
    bytes.extend_from_slice(&[0xa5; 64]);
    bytes.extend_from_slice(&[7; TAG_BYTES]);
    bytes
}

fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> Option<PacketError> {
    let mut bytes = packet();
    change(&mut bytes);
    decode_sealed(&bytes).err()
}

#[test]
fn a_sealed_packet_comes_apart() {
    let bytes = packet();
    assert!(is_sealed(&bytes));
    let sealed = decode_sealed(&bytes).unwrap();
    let flags = PacketFlags::SEQUENCED | PacketFlags::SEALED;
    assert_eq!(sealed.header, PacketHeader { flags, ..header(2, 64) });
    assert_eq!(sealed.seal, SEAL);
    assert_eq!((sealed.head(), sealed.body()), (&bytes[..48], &[0xa5; 64][..]));
    assert_eq!((sealed.covered(), sealed.tag()), (&bytes[..112], &[7; 16][..]));
    assert!(!sealed.is_clear());
    assert_eq!(sealed.opened(&[1; 64]).body, [1; 64]);
    assert_eq!(crate::decode_packet(&bytes, false).err(), Some(PacketError::Sealed));
}

#[test]
fn flags_that_no_sealed_packet_has_are_refused() {
    let clear = refusal(|bytes| bytes[1] |= PacketFlags::CLEAR.bits());
    assert_eq!(clear, None);
    for flag in [PacketFlags::CHECKSUMMED, PacketFlags::COMPRESSED, PacketFlags::STATUS] {
        let refused = refusal(|bytes| bytes[1] |= flag.bits());
        assert_eq!(refused, Some(PacketError::Flags), "{flag}");
    }
    let open = refusal(|bytes| bytes[1] = PacketFlags::SEQUENCED.bits());
    assert_eq!(open, Some(PacketError::Flags));
    let no_set = refusal(|bytes| bytes[6..8].fill(0));
    assert_eq!(no_set, Some(PacketError::Flags));
}

#[test]
fn a_sealed_status_is_a_header_and_a_tag() {
    let mut status = header(0, 0);
    status.flags = PacketFlags::STATUS;
    let mut bytes = status.encode_sealed(&SEAL).to_vec();
    bytes.extend_from_slice(&[0; TAG_BYTES]);
    assert!(decode_sealed(&bytes).is_ok());
    for flag in [PacketFlags::CLEAR, PacketFlags::PADDED, PacketFlags::SEQUENCED] {
        let mut bytes = bytes.clone();
        bytes[1] |= flag.bits();
        assert_eq!(decode_sealed(&bytes).err(), Some(PacketError::Flags), "{flag}");
    }
}

#[test]
fn other_versions_lanes_and_lengths_are_refused() {
    assert_eq!(refusal(|bytes| bytes[0] = 2), Some(PacketError::Version));
    assert_eq!(refusal(|bytes| bytes[2] = 5), Some(PacketError::Lane));
    for length in [0, 16, 48, 49, 63, 64, 80, 112, 127, 144, 0x7fff_fff0, u32::MAX] {
        let refused = refusal(|bytes| bytes[8..12].copy_from_slice(&length.to_le_bytes()));
        assert_eq!(refused, Some(PacketError::Length), "length {length}");
    }
    for count in [0_u16, 3, u16::MAX] {
        let refused = refusal(|bytes| bytes[4..6].copy_from_slice(&count.to_le_bytes()));
        assert_eq!(refused, Some(PacketError::Length), "count {count}");
    }
    let bytes = packet();
    for length in 0..bytes.len() {
        let expected = if length < 48 { PacketError::Truncated } else { PacketError::Length };
        assert_eq!(decode_sealed(&bytes[..length]).err(), Some(expected), "at {length}");
        assert_eq!(is_sealed(&bytes[..length]), length >= 48);
    }
}

#[test]
fn padding_is_announced_zeros() {
    assert_eq!(refusal(|bytes| bytes.push(0)), Some(PacketError::Trailing));
    let padded = |byte: u8| {
        refusal(|bytes| {
            bytes[1] |= PacketFlags::PADDED.bits();
            bytes.extend_from_slice(&[byte; 32]);
        })
    };
    assert_eq!((padded(0), padded(1)), (None, Some(PacketError::Trailing)));
}

//! Each refusal of a packet, by the change that causes it.

use super::*;
use std::vec;
use std::vec::Vec;

fn header(frame_count: u16, body_bytes: u32) -> PacketHeader {
    PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: 2,
        frame_count,
        length: 48 + body_bytes,
        session: SessionId(0x0102_0304),
        source: NodeId(0x1112_1314_1516_1718),
        sequence: 77,
        first_event: 900,
    }
}

/// A packet of two smallest frames' worth of bytes; `decode_packet` does not look at them.
fn packet(checksummed: bool) -> Vec<u8> {
    let body = [0xa5; 64];
    let hash = checksummed.then(|| body_hash(&body));
    let mut bytes = header(2, 64).encode(hash).to_vec();
    bytes.extend_from_slice(&body);
    bytes
}

/// Makes the checksum fit again after a change, so that the change itself is what gets refused.
fn resum(bytes: &mut [u8]) {
    let (head, body) = bytes.split_first_chunk_mut::<PACKET_HEADER_BYTES>().unwrap();
    let checksum = packet_checksum(head, body_hash(body));
    put(head, CHECKSUM_OFFSET, checksum.to_le_bytes());
}

/// What a packet is refused for after a change that its sender meant (the checksum fits).
fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> Option<PacketError> {
    let mut bytes = packet(true);
    change(&mut bytes);
    if bytes.len() >= PACKET_HEADER_BYTES {
        resum(&mut bytes);
    }
    decode_packet(&bytes, true).err()
}

#[test]
fn a_valid_packet_comes_back() {
    for checksummed in [false, true] {
        let bytes = packet(checksummed);
        let decoded = decode_packet(&bytes, checksummed).unwrap();
        let mut expected = header(2, 64);
        if checksummed {
            expected.flags = expected.flags | PacketFlags::CHECKSUMMED;
        }
        assert_eq!(decoded.header, expected);
        assert_eq!(decoded.body, &bytes[PACKET_HEADER_BYTES..]);
    }
}

#[test]
fn encode_follows_the_hash_and_not_the_flag() {
    let mut header = header(0, 0);
    header.flags = PacketFlags::CHECKSUMMED;
    let plain = header.encode(None);
    assert_eq!(plain[FLAGS_OFFSET], 0);
    assert_eq!(u64_at(&plain, CHECKSUM_OFFSET), 0);
    assert!(decode_packet(&plain, false).is_ok());
    assert_eq!(decode_packet(&plain, true).err(), Some(PacketError::Unchecksummed));
}

#[test]
fn a_datagram_below_a_header_is_truncated() {
    let bytes = packet(true);
    for length in 0..PACKET_HEADER_BYTES {
        let refused = decode_packet(&bytes[..length], false).err();
        assert_eq!(refused, Some(PacketError::Truncated), "at {length}");
    }
    for length in PACKET_HEADER_BYTES..bytes.len() {
        let refused = decode_packet(&bytes[..length], false).err();
        assert_eq!(refused, Some(PacketError::Length), "at {length}");
    }
}

#[test]
fn versions_lanes_and_reserved_bytes_are_refused() {
    for version in [0, 2, 255] {
        assert_eq!(refusal(|bytes| bytes[0] = version), Some(PacketError::Version));
    }
    for lane in 0..=u8::MAX {
        let expected = (lane >= 5).then_some(PacketError::Lane);
        assert_eq!(refusal(|bytes| bytes[2] = lane), expected, "lane {lane}");
    }
    for at in [3, 6, 7] {
        assert_eq!(refusal(|bytes| bytes[at] = 1), Some(PacketError::Flags), "byte {at}");
    }
}

#[test]
fn reserved_flags_are_refused_and_named() {
    for (flag, name) in PacketFlags::NAMES {
        let refused = refusal(|bytes| bytes[1] |= flag.bits());
        let reserved = name == "COMPRESSED";
        // A packet of a stream is no status packet, and one with a checksum is not sealed.
        let refuses = reserved || ["SEALED", "CLEAR", "STATUS"].contains(&name);
        assert_eq!(refused, refuses.then_some(PacketError::Flags), "{name}");
        assert_eq!(!flag.unsupported().is_empty(), reserved, "{name}");
    }
}

#[test]
fn a_sealed_packet_is_refused_by_its_own_name_where_nobody_looks_for_keys() {
    let sealed = |flags: PacketFlags| {
        let mut bytes = packet(false);
        bytes[FLAGS_OFFSET] |= flags.bits();
        decode_packet(&bytes, false).err()
    };
    assert_eq!(sealed(PacketFlags::SEALED), Some(PacketError::Sealed));
    assert_eq!(sealed(PacketFlags::SEALED | PacketFlags::CLEAR), Some(PacketError::Sealed));
    assert_eq!(sealed(PacketFlags::SEALED | PacketFlags::STATUS), Some(PacketError::Flags));
    assert_eq!(sealed(PacketFlags::CLEAR), Some(PacketError::Flags));
}

#[test]
fn lying_lengths_are_refused() {
    for length in [0, 16, 47, 49, 64, 96, 111, 113, 128, 0x7fff_fff0, u32::MAX] {
        let refused = refusal(|bytes| bytes[8..12].copy_from_slice(&length.to_le_bytes()));
        assert_eq!(refused, Some(PacketError::Length), "length {length}");
    }
}

#[test]
fn lengths_between_multiples_of_sixteen_are_refused() {
    // Padding behind the packet leaves room for a length that is only a little too long.
    for length in 112..=144_u32 {
        let mut header = header(2, length - 48);
        header.flags = header.flags | PacketFlags::PADDED;
        let body = vec![0; 96];
        let end = usize::try_from(length).unwrap() - PACKET_HEADER_BYTES;
        let mut bytes = header.encode(Some(body_hash(&body[..end]))).to_vec();
        bytes.extend_from_slice(&body);
        let expected = (length % 16 != 0).then_some(PacketError::Length);
        assert_eq!(decode_packet(&bytes, true).err(), expected, "length {length}");
    }
}

#[test]
fn impossible_frame_counts_are_refused() {
    for count in [0_u16, 1, 2, 3, u16::MAX] {
        let refused = refusal(|bytes| bytes[4..6].copy_from_slice(&count.to_le_bytes()));
        let expected = (!(1..=2).contains(&count)).then_some(PacketError::Length);
        assert_eq!(refused, expected, "count {count}");
    }
}

#[test]
fn a_tail_marker_is_a_packet() {
    let bytes = header(0, 0).encode(Some(body_hash(&[])));
    let decoded = decode_packet(&bytes, true).unwrap();
    assert_eq!((decoded.header.frame_count, decoded.body.len()), (0, 0));
    assert_eq!(decoded.frames().count(), 0);
}

/// A checksummed packet with `padding` zeros behind it.
fn padded(flags: PacketFlags, padding: usize) -> Vec<u8> {
    let mut marker = header(0, 0);
    marker.flags = marker.flags | flags;
    let mut bytes = marker.encode(Some(body_hash(&[]))).to_vec();
    bytes.resize(bytes.len() + padding, 0);
    bytes
}

#[test]
fn padding_is_zeros_that_were_announced_and_bounded() {
    for padding in [0, 1, 15, 16, 1_000, PACKET_PADDING_BYTES_MAX] {
        assert!(decode_packet(&padded(PacketFlags::PADDED, padding), true).is_ok(), "{padding}");
        let unannounced = decode_packet(&padded(PacketFlags::empty(), padding), true).err();
        assert_eq!(unannounced, (padding > 0).then_some(PacketError::Trailing), "{padding}");
    }
    let too_many = padded(PacketFlags::PADDED, PACKET_PADDING_BYTES_MAX + 1);
    assert_eq!(decode_packet(&too_many, true).err(), Some(PacketError::Trailing));
    for at in PACKET_HEADER_BYTES..PACKET_HEADER_BYTES + 100 {
        let mut bytes = padded(PacketFlags::PADDED, 100);
        bytes[at] = 0x80;
        let refused = decode_packet(&bytes, true).err();
        assert_eq!(refused, Some(PacketError::Trailing), "byte {at}");
    }
}

#[test]
fn no_changed_bit_is_accepted_under_a_checksum() {
    for require_checksum in [false, true] {
        let good = packet(true);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_packet(&bytes, require_checksum).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a_checksum_without_its_flag_is_refused() {
    let mut bytes = packet(false);
    bytes[CHECKSUM_OFFSET] = 1;
    assert_eq!(decode_packet(&bytes, false).err(), Some(PacketError::Checksum));
}

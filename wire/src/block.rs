//! Blocks: whole packets of a reliable link, compressed together.
//!
//! A block begins like a packet, so that a reader of a stream meets nothing new: the flag
//! `COMPRESSED` says that what follows is no frame. Plain values; how bytes are compressed is the
//! control plane's matter. Only links whose hellos agree on it carry blocks; no datagram is one.
//!
//! | field of the packet header | in a block |
//! |---|---|
//! | flags | `COMPRESSED` and `CHECKSUMMED` |
//! | length | header and compressed bytes, rounded up to 16; zeros fill it |
//! | sequence | how many compressed bytes there are |
//! | first event | how many bytes they become: at most [`BLOCK_PACKETS_BYTES_MAX`] |
//! | all others | 0 |

use crate::bytes::{all_zero, u64_at};
use crate::checksum::{body_hash, packet_checksum};
use crate::flags::PacketFlags;
use crate::ids::{NodeId, SessionId};
use crate::packet::{CHECKSUM_OFFSET, PACKET_HEADER_BYTES, PacketHeader, VERSION};
use crate::{PacketError, align_up};

/// What the packets of one block come to at most, which bounds what a reader has room for: two of
/// the longest.
pub const BLOCK_PACKETS_BYTES_MAX: usize = 128 << 10;

/// The longest block: it is never longer than the packets in it.
pub const BLOCK_BYTES_MAX: usize = PACKET_HEADER_BYTES + BLOCK_PACKETS_BYTES_MAX;

const FLAGS: PacketFlags = PacketFlags::COMPRESSED.with(PacketFlags::CHECKSUMMED);

/// A checked block: what is compressed, and what it is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// The compressed bytes.
    pub compressed: &'a [u8],
    /// How many bytes they stand for: neither 0, nor more than [`BLOCK_PACKETS_BYTES_MAX`], nor
    /// fewer than there are compressed ones.
    pub packets_bytes: usize,
    /// Bytes of the whole block.
    pub length: usize,
}

/// Whether a header announces a block.
#[inline]
#[must_use]
pub const fn is_block(header: &PacketHeader) -> bool {
    header.flags.contains(PacketFlags::COMPRESSED)
}

/// Writes the header of a block in front of its `compressed` bytes, which become `packets_bytes`.
/// `into` is the whole block: room for a header, the compressed bytes and at most 15 more, which
/// become zeros. Gives the block's length; `None` when `into` is too short, or the block would be
/// longer than the packets.
#[must_use]
pub fn seal_block(into: &mut [u8], compressed: usize, packets_bytes: usize) -> Option<usize> {
    let length = PACKET_HEADER_BYTES + align_up(compressed);
    if compressed == 0 || length >= packets_bytes || packets_bytes > BLOCK_PACKETS_BYTES_MAX {
        return None;
    }
    let (head, body) = into.get_mut(..length)?.split_first_chunk_mut::<PACKET_HEADER_BYTES>()?;
    body.get_mut(compressed..)?.fill(0);
    let header = PacketHeader {
        flags: FLAGS,
        lane: 0,
        frame_count: 0,
        length: u32::try_from(length).ok()?,
        session: SessionId(0),
        source: NodeId(0),
        sequence: compressed as u64,
        first_event: packets_bytes as u64,
    };
    *head = header.encode(Some(body_hash(body)));
    Some(length)
}

/// The block at the front of a stream, cut to its length.
///
/// # Errors
/// `Truncated`, `Version`, `Flags`, `Length` (of the block, of what is in it, of what it becomes),
/// `Trailing` (padding that is not zero), `Checksum`: nothing of it is to be believed.
pub fn decode_block(bytes: &[u8]) -> Result<Block<'_>, PacketError> {
    let Some((head, body)) = bytes.split_first_chunk::<PACKET_HEADER_BYTES>() else {
        return Err(PacketError::Truncated);
    };
    if head[0] != VERSION {
        return Err(PacketError::Version);
    }
    let header = PacketHeader::peek(head);
    let others = (header.lane, header.frame_count, header.session, header.source);
    let reserved = head[3] != 0 || head[6] != 0 || head[7] != 0;
    if header.flags != FLAGS || others != (0, 0, SessionId(0), NodeId(0)) || reserved {
        return Err(PacketError::Flags);
    }
    let (Ok(compressed), Ok(packets_bytes)) =
        (usize::try_from(header.sequence), usize::try_from(header.first_event))
    else {
        return Err(PacketError::Length);
    };
    let length = header.length as usize;
    if packets_bytes > BLOCK_PACKETS_BYTES_MAX
        || length >= packets_bytes
        || compressed == 0
        || length != bytes.len()
        || body.len() != align_up(compressed)
    {
        return Err(PacketError::Length);
    }
    if u64_at(head, CHECKSUM_OFFSET) != packet_checksum(head, body_hash(body)) {
        return Err(PacketError::Checksum);
    }
    let (compressed, padding) = body.split_at(compressed);
    if !all_zero(padding) {
        return Err(PacketError::Trailing);
    }
    Ok(Block { compressed, packets_bytes, length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn block(compressed: usize, packets_bytes: usize) -> Vec<u8> {
        let mut bytes = std::vec![7; PACKET_HEADER_BYTES + align_up(compressed)];
        let length = seal_block(&mut bytes, compressed, packets_bytes).expect("a block");
        assert_eq!(length, bytes.len());
        bytes
    }

    #[test]
    fn a_block_is_read_as_it_was_written() {
        for (compressed, packets_bytes) in [(1, 80), (16, 65_504), (17, 96), (1_000, 1 << 17)] {
            let bytes = block(compressed, packets_bytes);
            let read = decode_block(&bytes).expect("a block");
            assert_eq!(read.compressed, std::vec![7; compressed]);
            assert_eq!((read.packets_bytes, read.length), (packets_bytes, bytes.len()));
            assert!(is_block(&PacketHeader::peek(bytes.first_chunk().unwrap())));
        }
    }

    #[test]
    fn what_would_not_be_shorter_or_too_long_is_no_block() {
        let mut room = std::vec![0; BLOCK_BYTES_MAX];
        for (compressed, packets_bytes) in
            [(0, 100), (17, 80), (1_000, 1_048), (10, (1 << 17) + 1), (1 << 17, 1 << 17)]
        {
            assert_eq!(seal_block(&mut room, compressed, packets_bytes), None, "{compressed}");
        }
        assert_eq!(seal_block(&mut [0; 64], 17, 1_000), None, "no room");
    }

    #[test]
    fn no_changed_bit_is_accepted() {
        let good = block(21, 4_000);
        for bit in 0..8 * good.len() {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_block(&bad).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(decode_block(&good[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn a_lie_is_refused_by_name_though_its_checksum_fits() {
        type Change = fn(&mut PacketHeader);
        let lies: [(Change, PacketError); 8] = [
            (|header| header.first_event = (1 << 17) + 1, PacketError::Length),
            (|header| header.first_event = u64::MAX, PacketError::Length),
            (|header| header.first_event = 80, PacketError::Length),
            (|header| header.sequence = 0, PacketError::Length),
            (|header| header.sequence = 33, PacketError::Length),
            (|header| header.sequence = 1 << 63, PacketError::Length),
            (|header| header.frame_count = 1, PacketError::Flags),
            (|header| header.flags = FLAGS | PacketFlags::SEQUENCED, PacketError::Flags),
        ];
        for (change, error) in lies {
            let mut bytes = block(21, 4_000);
            let mut header = PacketHeader::peek(bytes.first_chunk().unwrap());
            change(&mut header);
            let head = header.encode(Some(body_hash(&bytes[PACKET_HEADER_BYTES..])));
            bytes[..PACKET_HEADER_BYTES].copy_from_slice(&head);
            assert_eq!(decode_block(&bytes), Err(error));
        }
        let mut bytes = block(21, 4_000);
        bytes[PACKET_HEADER_BYTES + 30] = 1;
        let header = PacketHeader::peek(bytes.first_chunk().unwrap());
        let head = header.encode(Some(body_hash(&bytes[PACKET_HEADER_BYTES..])));
        bytes[..PACKET_HEADER_BYTES].copy_from_slice(&head);
        assert_eq!(decode_block(&bytes), Err(PacketError::Trailing), "padding that says something");
    }
}

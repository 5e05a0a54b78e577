//! A piece of an event larger than a packet: a frame that carries a slice of the event's own frame.
//!
//! Pieces travel on links over TCP alone, one a packet, in order. Anywhere else their flag is
//! refused as `unsupported`. Owns nothing: a piece that was read borrows its slice from the packet.
//!
//! ```text
//!  0 ├─ length ─┼─ type ─┼─ fingerprint ─┼─ priority, encoding, flags = FRAGMENT ─┤   as in
//! 16 ├─ event sequence ──────────────────┼─ timestamp ──────────────────────────────┤   the whole
//! 32 ├─ total, bytes of the whole frame ─┼─ offset of the slice ────────────────────┤
//! 48 ├─ the slice: header, extensions and payload of the whole frame, from `offset` on …
//! ```

use crate::bytes::{put, u16_at, u32_at, u64_at};
use crate::flags::{FrameFlags, PacketFlags};
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader};
use crate::packet::Packet;
use crate::{ALIGNMENT, align_up};

/// Bytes before the slice of a piece: a frame header and the extension of `FRAGMENT`.
pub const PIECE_HEAD_BYTES: usize = FRAME_HEADER_BYTES + ALIGNMENT;

const FLAGS_OFFSET: usize = 14;
const TOTAL_OFFSET: usize = FRAME_HEADER_BYTES;
const OFFSET_OFFSET: usize = FRAME_HEADER_BYTES + 8;

/// One piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Bytes of the whole frame, without its padding. Never more than a frame's length can say.
    pub total: u32,
    /// Where the slice begins in it.
    pub offset: u32,
    /// The slice: at least one byte, and `offset + slice.len() <= total`.
    pub slice: &'a [u8],
}

impl<'a> Piece<'a> {
    /// The bytes before the slice. `whole` is the header of the whole frame; the slice has
    /// `slice_bytes` from `offset` on. Checks nothing.
    #[must_use]
    pub fn head(whole: &FrameHeader, offset: u32, slice_bytes: u32) -> [u8; PIECE_HEAD_BYTES] {
        #[expect(clippy::cast_possible_truncation, reason = "48")]
        let length = slice_bytes.saturating_add(PIECE_HEAD_BYTES as u32);
        let header = FrameHeader { length, flags: FrameFlags::FRAGMENT, ..*whole };
        let mut head = [0; PIECE_HEAD_BYTES];
        head[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode());
        put(&mut head, TOTAL_OFFSET, u64::from(whole.length).to_le_bytes());
        put(&mut head, OFFSET_OFFSET, u64::from(offset).to_le_bytes());
        head
    }

    /// The piece of a checked packet; `None` when it is none: another count of frames than one,
    /// another flag, bytes behind the frame, an empty slice, or one that ends beyond the total.
    #[must_use]
    pub fn of(packet: &Packet<'a>) -> Option<Self> {
        let flags = packet.header.flags.without(PacketFlags::CHECKSUMMED);
        if packet.header.frame_count != 1 || flags != PacketFlags::SEQUENCED {
            return None;
        }
        let (head, _) = packet.body.split_first_chunk::<PIECE_HEAD_BYTES>()?;
        let length = u32_at(head, 0) as usize;
        let slice = packet.body.get(PIECE_HEAD_BYTES..length)?;
        if u16_at(head, FLAGS_OFFSET) != FrameFlags::FRAGMENT.bits()
            || packet.body.len() != align_up(length)
        {
            return None;
        }
        let total = u32::try_from(u64_at(head, TOTAL_OFFSET)).ok()?;
        let offset = u32::try_from(u64_at(head, OFFSET_OFFSET)).ok()?;
        let end = u64::from(offset) + slice.len() as u64;
        let whole = total as usize >= FRAME_HEADER_BYTES && !slice.is_empty();
        (whole && end <= u64::from(total)).then_some(Self { total, offset, slice })
    }
}

#[cfg(test)]
#[path = "piece/tests.rs"]
mod tests;

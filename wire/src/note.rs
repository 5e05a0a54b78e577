//! Notes: what nodes that have proved who they are tell each other beside events.
//!
//! A note is cut into packets, so that no word and no event waits behind more than one of them. A
//! cut is one frame of a reserved type in an unsequenced packet, on links over TCP alone. Where
//! each cut begins follows from its number: all but the last are of one length. Owns nothing; a cut
//! that was read borrows its slice from the packet.
//!
//! ```text
//!  0 ├─ frame header, type `wl.note`, raw, no flags …
//! 32 ├─ total, bytes of the note ─┼─ index ─┼─ 10 zeros ─────────────────────────────┤
//! 48 ├─ the slice: from `index` × 16,288 on …
//! ```

use crate::bytes::{all_zero, put, u16_at, u32_at};
use crate::checksum::body_hash;
use crate::control::link_header;
use crate::flags::{FrameFlags, PacketFlags};
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader};
use crate::ids::{EventTypeId, NodeId, event_type_id};
use crate::packet::{PACKET_HEADER_BYTES, Packet};
use crate::priority::Priority;
use crate::{ALIGNMENT, align_up};

/// The longest note.
pub const NOTE_BYTES_MAX: usize = 256 << 10;

/// The longest packet of a note: one record of TLS.
pub const NOTE_PACKET_BYTES_MAX: usize = 16 << 10;

/// What stands before the slice in the packet's body.
const CUT_HEAD_BYTES: usize = FRAME_HEADER_BYTES + ALIGNMENT;

/// The slice of every cut but the last.
const SLICE_BYTES: usize = NOTE_PACKET_BYTES_MAX - PACKET_HEADER_BYTES - CUT_HEAD_BYTES;

const NOTE: EventTypeId = event_type_id("wl.note");

/// One cut of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteCut<'a> {
    /// Bytes of the whole note, 1 to [`NOTE_BYTES_MAX`].
    pub total: usize,
    /// Which cut, counted from 0.
    pub index: usize,
    /// Its bytes.
    pub slice: &'a [u8],
}

impl<'a> NoteCut<'a> {
    /// The cut of this number; `None` beyond the last, and of a note that is empty or too long.
    #[must_use]
    pub fn nth(note: &'a [u8], index: usize) -> Option<Self> {
        let (from, until) = bounds(note.len(), index)?;
        Some(Self { total: note.len(), index, slice: note.get(from..until)? })
    }

    /// Whether it is the last one of its note.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.index * SLICE_BYTES + self.slice.len() == self.total
    }

    /// Writes the packet and gives its length. `source` is the node that says it. About 1 µs for a
    /// whole one: its hash.
    #[must_use]
    pub fn encode(&self, source: NodeId, into: &mut [u8; NOTE_PACKET_BYTES_MAX]) -> usize {
        let slice = self.slice.get(..SLICE_BYTES).unwrap_or(self.slice);
        let frame_bytes = CUT_HEAD_BYTES + slice.len();
        let length = PACKET_HEADER_BYTES + align_up(frame_bytes);
        let (head, body) = into.split_at_mut(PACKET_HEADER_BYTES);
        let Some(body) = body.get_mut(..length - PACKET_HEADER_BYTES) else { return 0 };
        body[..CUT_HEAD_BYTES].copy_from_slice(&self.head(frame_bytes));
        body[CUT_HEAD_BYTES..frame_bytes].copy_from_slice(slice);
        body[frame_bytes..].fill(0);
        head.copy_from_slice(&link_header(source, length).encode(Some(body_hash(body))));
        length
    }

    /// What stands before the slice, in the packet's body.
    fn head(&self, frame_bytes: usize) -> [u8; CUT_HEAD_BYTES] {
        let frame = FrameHeader {
            length: u32::try_from(frame_bytes).unwrap_or(0),
            ..FrameHeader::bare(NOTE, Priority::Critical)
        };
        let mut head = [0; CUT_HEAD_BYTES];
        put(&mut head, 0, frame.encode());
        put(&mut head, FRAME_HEADER_BYTES, u32::try_from(self.total).unwrap_or(0).to_le_bytes());
        let index = u16::try_from(self.index).unwrap_or(u16::MAX);
        put(&mut head, FRAME_HEADER_BYTES + 4, index.to_le_bytes());
        head
    }

    /// The cut in a checked packet; `None` when it is none, its note is longer than
    /// [`NOTE_BYTES_MAX`], or it has another length than its number and the total say.
    #[must_use]
    pub fn of(packet: &Packet<'a>) -> Option<Self> {
        let header = &packet.header;
        if header.frame_count != 1 || header.flags != PacketFlags::CHECKSUMMED {
            return None;
        }
        let mut frames = packet.frames();
        let (Some(Ok(frame)), None) = (frames.next(), frames.next()) else { return None };
        if frame.header.event_type != NOTE || frame.header.flags != FrameFlags::empty() {
            return None;
        }
        let (head, slice) = frame.payload().split_first_chunk::<ALIGNMENT>()?;
        let total = usize::try_from(u32_at(head, 0)).ok()?;
        let index = usize::from(u16_at(head, 4));
        let (from, until) = bounds(total, index)?;
        (all_zero(&head[6..]) && slice.len() == until - from).then_some(Self {
            total,
            index,
            slice,
        })
    }
}

/// Where a cut of a note of so many bytes begins and ends.
fn bounds(total: usize, index: usize) -> Option<(usize, usize)> {
    let from = index.checked_mul(SLICE_BYTES)?;
    (from < total && total <= NOTE_BYTES_MAX).then(|| (from, total.min(from + SLICE_BYTES)))
}

#[cfg(test)]
#[path = "note/tests.rs"]
mod tests;

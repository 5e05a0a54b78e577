//! What is on the wire: packet and frame headers, packing, sequence windows.
//!
//! Sans-IO: this crate knows neither threads, sockets nor clocks, and owns no memory but what its
//! callers hand in. It is `no_std` without `alloc`, so that no path of it can allocate, and it
//! forbids `unsafe`. Everything here treats bytes as hostile: whatever they are, a decoder gives a
//! value or a named reason, in time bounded by the length of its input, and never panics.
//!
//! `docs/wire.md` draws the layout; a test compares its golden bytes and tables with this code.
//!
//! | to | see |
//! |---|---|
//! | write a frame into a claimed record | [`FrameEncoder`] |
//! | choose the frames of the next packet | [`take_frames`] |
//! | write a packet header beside them | [`PacketHeader::encode`], [`body_hash`], [`BodyHash`] |
//! | check a datagram | [`decode_packet`] |
//! | walk its frames | [`Packet::frames`], [`Frames`], [`Frame`] |
//! | find the key of a sealed packet | [`is_sealed`], [`decode_sealed`], [`Seal`] |
//! | follow a stream: loss, duplicates, order | [`ReceiveWindow`] |
//! | tell a stream's sender how far it may go | [`Status`], [`packet_charge`] |
//! | begin a link over TCP | [`Control`], [`Hello`], [`Refusal`] |
//! | cut an event larger than a packet | [`Piece`] |
//! | tell a node that has proved who it is something beside events | [`NoteCut`] |
//! | speak outside of every stream | [`gossip`] |
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod block;
mod bytes;
mod checksum;
mod control;
mod correlation;
mod extension;
mod flags;
mod frame;
mod frame_encoder;
#[doc(hidden)]
pub mod fuzz;
pub mod gossip;
mod ids;
mod note;
mod pack;
mod packet;
mod piece;
mod priority;
mod proof;
mod reason;
mod receive_window;
mod sealed;
mod status;

pub use block::{
    BLOCK_BYTES_MAX, BLOCK_PACKETS_BYTES_MAX, Block, decode_block, is_block, seal_block,
};
pub use checksum::{BodyHash, body_hash};
pub use control::{
    CONTROL_PACKET_BYTES_MAX, Control, HELLO_STREAMS_MAX, Hello, LINK_PROTOCOL, Refusal,
    StreamPoint,
};
pub use correlation::{Correlation, ExchangeKind, ReplyWay};
pub use extension::{NAME_BYTES_MAX, TraceContext};
pub use flags::{FrameFlags, PacketFlags};
pub use frame::{FRAME_HEADER_BYTES, Frame, FrameHeader, Frames, deadline_of};
pub use frame_encoder::{EncodeError, FrameEncoder, PlainFrame};
pub use ids::{
    EventTypeId, Fingerprint, NODE_NAME_BYTES_MAX, NodeId, SessionId, event_type_id, is_node_name,
};
pub use note::{NOTE_BYTES_MAX, NOTE_PACKET_BYTES_MAX, NoteCut};
pub use pack::take_frames;
pub use packet::{
    PACKET_HEADER_BYTES, PACKET_PADDING_BYTES_MAX, Packet, PacketHeader, VERSION, decode_packet,
};
pub use piece::{PIECE_HEAD_BYTES, Piece};
pub use priority::{Encoding, LANES, Lane, Priority, UnknownName};
pub use proof::{AUDIT_STEPS_MAX, HASH_BYTES, Proof, SIGNATURE_BYTES, SIGNED_EVENTS_MAX};
pub use reason::{FrameError, PacketError};
pub use receive_window::{Admission, Gap, ReceiveWindow, WINDOW_PACKETS};
pub use sealed::{KeySetId, Seal, SealedPacket, TAG_BYTES, decode_sealed, is_sealed};
pub use status::{Status, packet_charge};

/// Frames, packet headers and extensions start at multiples of this many bytes, so that a payload
/// can be read in place as a type with an alignment of up to 16.
pub const ALIGNMENT: usize = 16;

/// `bytes` rounded up to a multiple of [`ALIGNMENT`]: what a frame of that length takes in a body.
///
/// Wraps to 0 for lengths above `usize::MAX - 15`, which no slice has.
#[inline]
#[must_use]
pub const fn align_up(bytes: usize) -> usize {
    bytes.wrapping_add(ALIGNMENT - 1) & !(ALIGNMENT - 1)
}

#[cfg(test)]
mod tests {
    use super::align_up;

    #[test]
    fn align_up_is_the_next_multiple_of_sixteen() {
        for (bytes, aligned) in [(0, 0), (1, 16), (15, 16), (16, 16), (17, 32), (usize::MAX, 0)] {
            assert_eq!(align_up(bytes), aligned, "of {bytes}");
        }
    }
}

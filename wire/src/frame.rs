//! The frame header, and the walk over a packet's frames.
//!
//! A frame is one event: header, extensions, payload. The same bytes are the publisher's record in
//! its ring. Owns nothing: a frame is a view of the caller's bytes, checked once when it is made.
//!
//! ```text
//!    0                   4                   8                   12        13        14
//!  0 ├─ length ──────────┼─ event type ──────┼─ fingerprint ─────┼priority─┼encoding─┼─ flags ─┤
//! 16 ├─ event sequence ──────────────────────┼─ timestamp, ns since the Unix epoch ────────────┤
//! 32 ├─ extensions, each a multiple of 16 ─┼─ payload, to `length` ─┼─ zeros to 16 ─┤
//! ```

use core::iter::FusedIterator;

use crate::bytes::{put, u16_at, u32_at, u64_at};
use crate::correlation::{CORRELATION_BYTES, Correlation};
use crate::extension::{self, DEADLINE_BYTES, TRACE_BYTES, TraceContext, name_extension_bytes};
use crate::flags::FrameFlags;
use crate::ids::{EventTypeId, Fingerprint};
use crate::priority::{Encoding, Priority};
use crate::proof::Proof;
use crate::reason::FrameError;
use crate::{ALIGNMENT, align_up};

/// Bytes of a frame header: twice 16, so that payloads stay aligned behind it.
pub const FRAME_HEADER_BYTES: usize = 32;

const TYPE_OFFSET: usize = 4;
const FINGERPRINT_OFFSET: usize = 8;
const PRIORITY_OFFSET: usize = 12;
const ENCODING_OFFSET: usize = 13;
const FLAGS_OFFSET: usize = 14;
pub(crate) const SEQUENCE_OFFSET: usize = 16;
const TIMESTAMP_OFFSET: usize = 24;

const _: () = {
    assert!(FRAME_HEADER_BYTES.is_multiple_of(ALIGNMENT));
    assert!(TRACE_BYTES.is_multiple_of(ALIGNMENT) && DEADLINE_BYTES.is_multiple_of(ALIGNMENT));
    assert!(SEQUENCE_OFFSET + size_of::<u64>() == TIMESTAMP_OFFSET);
    assert!(TIMESTAMP_OFFSET + size_of::<u64>() == FRAME_HEADER_BYTES);
};

/// What a frame says of its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of header, extensions and payload, without the padding behind.
    pub length: u32,
    /// The type of the event.
    pub event_type: EventTypeId,
    /// The shape of the type that the publisher was built with.
    pub fingerprint: Fingerprint,
    /// How urgent the event is.
    pub priority: Priority,
    /// How the payload is to be read.
    pub encoding: Encoding,
    /// Which extensions follow the header.
    pub flags: FrameFlags,
    /// The publisher's own count of its events: dense from 0 for each publisher.
    pub sequence: u64,
    /// When the event was published, in nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
}

impl FrameHeader {
    /// The header of a frame of raw bytes of which no more is said: no shape, number or time; its
    /// encoder says how long it is.
    #[must_use]
    pub const fn bare(event_type: EventTypeId, priority: Priority) -> Self {
        Self {
            length: 0,
            event_type,
            fingerprint: Fingerprint::NONE,
            priority,
            encoding: Encoding::Raw,
            flags: FrameFlags::empty(),
            sequence: 0,
            timestamp_ns: 0,
        }
    }

    /// The header's bytes. About 1 ns.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        put(&mut bytes, 0, self.length.to_le_bytes());
        put(&mut bytes, TYPE_OFFSET, self.event_type.0.to_le_bytes());
        put(&mut bytes, FINGERPRINT_OFFSET, self.fingerprint.0.to_le_bytes());
        bytes[PRIORITY_OFFSET] = self.priority.lane();
        bytes[ENCODING_OFFSET] = self.encoding as u8;
        put(&mut bytes, FLAGS_OFFSET, self.flags.bits().to_le_bytes());
        put(&mut bytes, SEQUENCE_OFFSET, self.sequence.to_le_bytes());
        put(&mut bytes, TIMESTAMP_OFFSET, self.timestamp_ns.to_le_bytes());
        bytes
    }

    /// What the bytes say. `length` is as found: [`Frame::parse`] holds it against the bytes.
    ///
    /// # Errors
    /// `Priority`, `Encoding`: out of range. `Flags`: a bit without a meaning. `Unsupported`: a
    /// reserved extension, whose length this version does not know.
    #[inline]
    pub const fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<Self, FrameError> {
        let Some(priority) = Priority::from_number(bytes[PRIORITY_OFFSET]) else {
            return Err(FrameError::Priority);
        };
        let Some(encoding) = Encoding::from_number(bytes[ENCODING_OFFSET]) else {
            return Err(FrameError::Encoding);
        };
        let flags = FrameFlags::from_bits(u16_at(bytes, FLAGS_OFFSET));
        if !flags.unsupported().is_empty() {
            let unknown = !flags.unsupported().without(FrameFlags::RESERVED).is_empty();
            return Err(if unknown { FrameError::Flags } else { FrameError::Unsupported });
        }
        Ok(Self {
            length: u32_at(bytes, 0),
            event_type: EventTypeId(u32_at(bytes, TYPE_OFFSET)),
            fingerprint: Fingerprint(u32_at(bytes, FINGERPRINT_OFFSET)),
            priority,
            encoding,
            flags,
            sequence: u64_at(bytes, SEQUENCE_OFFSET),
            timestamp_ns: u64_at(bytes, TIMESTAMP_OFFSET),
        })
    }

    /// Bytes of the extensions that `flags` announce, `name` being the one of `NAMED`: what lies
    /// between header and payload. Reserved flags add nothing, and [`Proof::bytes`] is apart.
    #[inline]
    #[must_use]
    pub const fn extensions_bytes(flags: FrameFlags, name: &str) -> usize {
        let trace = if flags.contains(FrameFlags::TRACE) { TRACE_BYTES } else { 0 };
        let deadline = if flags.contains(FrameFlags::DEADLINE) { DEADLINE_BYTES } else { 0 };
        let named = flags.contains(FrameFlags::NAMED);
        let named = if named { name_extension_bytes(name.len()) } else { 0 };
        let correlated = flags.contains(FrameFlags::CORRELATION);
        trace + deadline + named + if correlated { CORRELATION_BYTES } else { 0 }
    }
}

/// One event in place: a checked header, and views of extensions and payload.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What the frame says of its event.
    pub header: FrameHeader,
    bytes: &'a [u8],
    payload_offset: usize,
}

impl<'a> Frame<'a> {
    /// The frame at the front of `bytes`, which may go on behind it. The padding behind the
    /// payload need not be there. A record of a ring is such bytes.
    ///
    /// # Errors
    /// `Short`, `Length`, the errors of [`FrameHeader::decode`], `Extension`.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let Some(head) = bytes.first_chunk::<FRAME_HEADER_BYTES>() else {
            return Err(FrameError::Short);
        };
        let length = u32_at(head, 0) as usize;
        if length < FRAME_HEADER_BYTES {
            return Err(FrameError::Length);
        }
        let Some(bytes) = bytes.get(..length) else { return Err(FrameError::Length) };
        let header = FrameHeader::decode(head)?;
        let payload_offset = if header.flags.is_empty() {
            FRAME_HEADER_BYTES
        } else {
            extension::check(bytes, header.flags)?
        };
        Ok(Self { header, bytes, payload_offset })
    }

    /// The whole frame without the padding behind it: what a ring's record of it holds.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The payload. Starts 16-aligned where the frame does, ends exactly at the frame's length.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        // The offset was checked when the frame was made; `get` rather than an index, so that no
        // path of the reader can panic.
        self.bytes.get(self.payload_offset..).unwrap_or_default()
    }

    /// Where the event stands in a trace, if its publisher said so.
    #[inline]
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        extension::trace(self.bytes, self.header.flags)
    }

    /// Until when the event is of use, in nanoseconds since the Unix epoch, if its publisher said.
    #[inline]
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        extension::deadline(self.bytes, self.header.flags)
    }

    /// The name of the event's type, if it travels with the event. 1 to 255 bytes.
    #[inline]
    #[must_use]
    pub fn name(&self) -> Option<&'a str> {
        extension::name(self.bytes, self.header.flags)
    }

    /// Who published the event, as far as it proves that itself.
    #[inline]
    #[must_use]
    pub fn proof(&self) -> Option<Proof> {
        extension::proof(self.bytes, self.header.flags)
    }

    /// What a proof of the event is about, in two pieces: every byte of the frame but its length
    /// (the pieces have it) and the proof itself. Type, schema, flags, sequence, time and the
    /// extensions are in it, and where each piece ends follows from its flags.
    #[must_use]
    pub fn proven(&self) -> [&'a [u8]; 2] {
        // The offsets were checked when the frame was made.
        extension::proven(self.bytes, self.header.flags).unwrap_or_default()
    }

    /// What ties the event to a request or a reply, if it is one.
    #[inline]
    #[must_use]
    pub fn correlation(&self) -> Option<Correlation> {
        extension::correlation(self.bytes, self.header.flags)
    }
}

/// Until when a frame says its event is of use, read before anything of it is checked; `None` of
/// one without a deadline. About 1 ns.
#[inline]
#[must_use]
pub fn deadline_of(frame: &[u8]) -> Option<u64> {
    let head = frame.first_chunk::<FRAME_HEADER_BYTES>()?;
    extension::deadline(frame, FrameFlags::from_bits(u16_at(head, FLAGS_OFFSET)))
}

/// The frames of a packet's body, in order. Ends after the first error: what follows a frame that
/// lies cannot be found. About 2 ns a frame without extensions.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
    /// How many more there must be, where that is known.
    left: Option<u16>,
}

impl<'a> Frames<'a> {
    /// The frames of `body`, however many.
    #[inline]
    #[must_use]
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body, left: None }
    }

    /// The frames of `body`, which must be `count`.
    #[inline]
    #[must_use]
    pub const fn counted(body: &'a [u8], count: u16) -> Self {
        Self { rest: body, left: Some(count) }
    }

    /// What the next frame says is its type, before anything of it is checked.
    #[inline]
    #[must_use]
    pub fn next_type(&self) -> Option<EventTypeId> {
        let head = self.rest.first_chunk::<FRAME_HEADER_BYTES>()?;
        Some(EventTypeId(u32_at(head, TYPE_OFFSET)))
    }

    /// The next frame, if it says it is of this type and nothing is wrong with it. Otherwise
    /// nothing is taken, except that after a malformed frame there is no next one.
    #[inline(always)]
    pub fn next_of(&mut self, event_type: EventTypeId) -> Option<Frame<'a>> {
        if self.next_type() != Some(event_type) {
            return None;
        }
        match self.take_frame() {
            Ok(frame) => Some(frame),
            Err(_) => {
                *self = Self { rest: &[], left: None };
                None
            }
        }
    }

    /// Takes one frame and its padding off the front.
    #[inline]
    fn take_frame(&mut self) -> Result<Frame<'a>, FrameError> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or(FrameError::Count)?;
        }
        let frame = Frame::parse(self.rest)?;
        let rest = self.rest.get(align_up(frame.bytes.len())..).ok_or(FrameError::Length)?;
        self.rest = rest;
        Ok(frame)
    }

    /// The end of the bytes: an error, once, if frames are missing.
    fn end(&mut self) -> Option<Result<Frame<'a>, FrameError>> {
        let missing = self.left.replace(0).unwrap_or(0);
        (missing > 0).then_some(Err(FrameError::Count))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return self.end();
        }
        let taken = self.take_frame();
        if taken.is_err() {
            *self = Self { rest: &[], left: None };
        }
        Some(taken)
    }
}

impl FusedIterator for Frames<'_> {}

#[cfg(test)]
#[path = "frame/tests.rs"]
mod tests;

//! Writes a frame's header and extensions into a claimed record.
//!
//! The payload is the caller's: it goes where [`FrameEncoder::encode`] says, in place, once. Every
//! byte before it is written, the unused ones as zeros. Owns nothing.

use core::fmt;

use crate::align_up;
use crate::correlation::{CORRELATION_BYTES, Correlation};
use crate::extension::{NAME_BYTES_MAX, TraceContext};
use crate::flags::FrameFlags;
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, SEQUENCE_OFFSET};
use crate::proof::Proof;

/// A frame to be written: its header and what goes between header and payload.
///
/// ```
/// use wireloom_wire::*;
///
/// # fn main() -> Result<(), EncodeError> {
/// let encoder = FrameEncoder::new(FrameHeader {
///     length: 0,                  // written when the payload's length is known
///     event_type: event_type_id("heartbeat"),
///     fingerprint: Fingerprint::NONE,
///     priority: Priority::Normal,
///     encoding: Encoding::Raw,
///     flags: FrameFlags::empty(), // follow from what is added
///     sequence: 7,
///     timestamp_ns: 1_700_000_000_000_000_000,
/// })
/// .with_deadline(1_700_000_001_000_000_000);
///
/// let mut record = [0xff; 128];
/// let payload_offset = encoder.encode(&mut record)?;
/// record[payload_offset..payload_offset + 5].copy_from_slice(b"alive");
/// let taken = encoder.finish(&mut record, 5)?;
///
/// let frame = Frame::parse(&record[..taken]).expect("it was just written");
/// assert_eq!(frame.payload(), b"alive");
/// assert_eq!(frame.deadline(), Some(1_700_000_001_000_000_000));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FrameEncoder<'a> {
    header: FrameHeader,
    trace: TraceContext,
    deadline_ns: u64,
    name: &'a str,
    proof: Option<&'a Proof>,
    correlation: Option<&'a Correlation>,
}

/// The header of frames that differ in nothing but sequence and time, written ready: for a
/// publisher of one type whose events carry no extensions.
#[derive(Clone, Copy, Debug)]
pub struct PlainFrame([u8; FRAME_HEADER_BYTES]);

impl PlainFrame {
    /// As `header` says; its length, flags, sequence and time do not matter.
    #[must_use]
    pub fn new(header: FrameHeader) -> Self {
        Self(FrameHeader { flags: FrameFlags::empty(), ..header }.encode())
    }

    /// Writes the header; the length is for a ring's commit to write. Under 1 ns.
    #[inline(always)]
    pub fn write(&self, into: &mut [u8; FRAME_HEADER_BYTES], sequence: u64, timestamp_ns: u64) {
        let counted = u128::from(timestamp_ns) << 64 | u128::from(sequence);
        let (same, own) = into.split_at_mut(SEQUENCE_OFFSET);
        same.copy_from_slice(&self.0[..SEQUENCE_OFFSET]);
        own.copy_from_slice(&counted.to_le_bytes());
    }
}

/// Why a frame could not be written. Nothing of the caller's slice is to be believed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The slice is too short.
    Room {
        /// Bytes that the frame takes.
        needed: usize,
        /// Bytes that the slice has.
        given: usize,
    },
    /// The type's name has no byte, or more than [`NAME_BYTES_MAX`].
    Name {
        /// Bytes that the name has.
        bytes: usize,
    },
    /// The frame would be longer than its length field can say.
    Length {
        /// Bytes that the payload has.
        payload_bytes: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room { needed, given } => write!(
                formatter,
                "frame takes {needed} bytes and has room for {given}: claim a longer record"
            ),
            Self::Name { bytes } => write!(
                formatter,
                "event type's name has {bytes} bytes: give it 1 to {NAME_BYTES_MAX}"
            ),
            Self::Length { payload_bytes } => write!(
                formatter,
                "payload of {payload_bytes} bytes makes a frame above 4 GiB: split the event"
            ),
        }
    }
}

impl core::error::Error for EncodeError {}

impl<'a> FrameEncoder<'a> {
    /// A frame with this header and no extension. The header's `length` and `flags` do not matter.
    #[inline]
    #[must_use]
    pub const fn new(header: FrameHeader) -> Self {
        Self {
            header: FrameHeader { flags: FrameFlags::empty(), ..header },
            trace: TraceContext { trace_id: [0; 16], span_id: [0; 8], sampled: false },
            deadline_ns: 0,
            name: "",
            proof: None,
            correlation: None,
        }
    }

    /// Adds the event's place in a trace.
    #[inline]
    #[must_use]
    pub const fn with_trace(mut self, trace: TraceContext) -> Self {
        self.trace = trace;
        self.header.flags = self.header.flags.with(FrameFlags::TRACE);
        self
    }

    /// Adds the time until which the event is of use, in nanoseconds since the Unix epoch.
    #[inline]
    #[must_use]
    pub const fn with_deadline(mut self, unix_ns: u64) -> Self {
        self.deadline_ns = unix_ns;
        self.header.flags = self.header.flags.with(FrameFlags::DEADLINE);
        self
    }

    /// Whether the frame says until when its event is of use.
    #[inline]
    #[must_use]
    pub const fn has_deadline(&self) -> bool {
        self.header.flags.contains(FrameFlags::DEADLINE)
    }

    /// Adds the name of the event's type.
    ///
    /// # Errors
    /// `Name` unless it has 1 to [`NAME_BYTES_MAX`] bytes.
    #[inline]
    pub const fn with_name(mut self, name: &'a str) -> Result<Self, EncodeError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(EncodeError::Name { bytes: name.len() });
        }
        self.name = name;
        self.header.flags = self.header.flags.with(FrameFlags::NAMED);
        Ok(self)
    }

    /// Adds the proof of who publishes the event.
    #[inline]
    #[must_use]
    pub const fn with_proof(mut self, proof: &'a Proof) -> Self {
        self.proof = Some(proof);
        self.header.flags = self.header.flags.with(FrameFlags::SIGNED);
        self
    }

    /// Adds what ties the event to a request or a reply.
    #[inline]
    #[must_use]
    pub const fn with_correlation(mut self, correlation: &'a Correlation) -> Self {
        self.correlation = Some(correlation);
        self.header.flags = self.header.flags.with(FrameFlags::CORRELATION);
        self
    }

    /// Where the payload begins: a multiple of 16, at least 32.
    #[inline]
    #[must_use]
    pub fn payload_offset(&self) -> usize {
        let proof = self.proof.map_or(0, Proof::bytes);
        FRAME_HEADER_BYTES + FrameHeader::extensions_bytes(self.header.flags, self.name) + proof
    }

    /// Writes header and extensions to the front of `into` and gives the payload's offset. The
    /// length field says an empty payload until [`finish`](Self::finish), or until the commit of
    /// a ring, whose record length is the same field. About 2 ns without extensions.
    ///
    /// # Errors
    /// `Room` when header and extensions do not fit.
    #[inline]
    pub fn encode(&self, into: &mut [u8]) -> Result<usize, EncodeError> {
        let offset = self.payload_offset();
        let given = into.len();
        let Some(front) = into.get_mut(..offset) else {
            return Err(EncodeError::Room { needed: offset, given });
        };
        // At most 32 + 32 + 16 + 272 + 256 + 32 bytes.
        let length = u32::try_from(offset).unwrap_or(u32::MAX);
        let (head, extensions) = front.split_at_mut(FRAME_HEADER_BYTES);
        head.copy_from_slice(&FrameHeader { length, ..self.header }.encode());
        if !extensions.is_empty() {
            self.encode_extensions(extensions);
        }
        Ok(offset)
    }

    /// Writes the extensions, in the order of their bits, over exactly their bytes.
    fn encode_extensions(&self, mut extensions: &mut [u8]) {
        extensions.fill(0);
        let mut put = |flag, bytes: &[u8], spacing: usize| {
            if self.header.flags.contains(flag) {
                let (own, rest) = core::mem::take(&mut extensions).split_at_mut(spacing);
                own[..bytes.len()].copy_from_slice(bytes);
                extensions = rest;
            }
        };
        let trace = self.trace.encode();
        put(FrameFlags::TRACE, &trace, trace.len());
        put(FrameFlags::DEADLINE, &self.deadline_ns.to_le_bytes(), 16);
        if let Some(proof) = self.proof {
            put(FrameFlags::SIGNED, &proof.encode()[..proof.bytes()], proof.bytes());
        }
        let name_bytes = self.name.len();
        let mut name = [0; 1 + NAME_BYTES_MAX];
        name[0] = u8::try_from(name_bytes).unwrap_or(u8::MAX);
        name[1..=name_bytes].copy_from_slice(self.name.as_bytes());
        put(FrameFlags::NAMED, &name[..=name_bytes], align_up(1 + name_bytes));
        if let Some(correlation) = self.correlation {
            put(FrameFlags::CORRELATION, &correlation.encode(), CORRELATION_BYTES);
        }
    }

    /// Writes the length of the frame at the front of `frame`, its payload being `payload_bytes`
    /// long, and zeros the padding behind it. Gives the bytes that the frame takes: a multiple
    /// of 16. A ring's commit does the same; this is for frames elsewhere.
    ///
    /// # Errors
    /// `Room` when payload or padding are beyond the slice, `Length` above 4 GiB.
    #[inline]
    pub fn finish(&self, frame: &mut [u8], payload_bytes: usize) -> Result<usize, EncodeError> {
        let length = self.payload_offset().saturating_add(payload_bytes);
        let field = u32::try_from(length).map_err(|_| EncodeError::Length { payload_bytes })?;
        let (needed, given) = (align_up(length), frame.len());
        let Some(padded) = frame.get_mut(..needed) else {
            return Err(EncodeError::Room { needed, given });
        };
        padded[..size_of::<u32>()].copy_from_slice(&field.to_le_bytes());
        // Guarded: an empty fill is still a call of memset.
        if length < needed {
            padded[length..].fill(0);
        }
        Ok(needed)
    }

    /// [`encode`](Self::encode), a copy of `payload`, [`finish`](Self::finish).
    ///
    /// # Errors
    /// As those two.
    pub fn write(&self, payload: &[u8], into: &mut [u8]) -> Result<usize, EncodeError> {
        let (offset, given) = (self.payload_offset(), into.len());
        let needed = align_up(offset.saturating_add(payload.len()));
        let Some(into) = into.get_mut(..needed) else {
            return Err(EncodeError::Room { needed, given });
        };
        self.encode(into)?;
        into[offset..offset + payload.len()].copy_from_slice(payload);
        self.finish(into, payload.len())
    }
}

#[cfg(test)]
#[path = "frame_encoder/tests.rs"]
mod tests;

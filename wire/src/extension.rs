//! The extensions between a frame's header and its payload: where they lie, what they say.
//!
//! Extensions stand in the order of their flag bits, each a multiple of 16 long, so that payloads
//! stay aligned. They are checked once, when the frame is, and read when somebody asks.
//!
//! ```text
//! TRACE    ├─ trace id, 16 B ───────────────┼─ span id, 8 B ─┼─ sampled ─┼─ 7 × 0 ─┤   32 B
//! DEADLINE ├─ u64, ns since the Unix epoch ─┼─ 8 × 0 ────────┤                         16 B
//! SIGNED: see `proof.rs`                                             80 to 272 B
//! NAMED    ├─ u8 n ─┼─ n bytes of UTF-8 ────┼─ zeros to 16 ──┤              16 to 256 B
//! CORRELATION: see `correlation.rs`                                            32 B
//! ```

use crate::align_up;
use crate::bytes::{all_zero, u64_at};
use crate::correlation::{CORRELATION_BYTES, Correlation};
use crate::flags::FrameFlags;
use crate::frame::FRAME_HEADER_BYTES;
use crate::proof::Proof;
use crate::reason::FrameError;

pub(crate) const TRACE_BYTES: usize = 32;
pub(crate) const DEADLINE_BYTES: usize = 16;

/// The longest type name an event can carry, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 255;

/// Where an event stands in a distributed trace, as W3C Trace Context defines the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The whole trace: 16 bytes, in the order in which `traceparent` prints them.
    pub trace_id: [u8; 16],
    /// The publisher's span within it: 8 bytes, in the same order.
    pub span_id: [u8; 8],
    /// Whether the trace is being recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// The extension's bytes.
    #[inline]
    pub(crate) fn encode(&self) -> [u8; TRACE_BYTES] {
        let mut bytes = [0; TRACE_BYTES];
        bytes[..16].copy_from_slice(&self.trace_id);
        bytes[16..24].copy_from_slice(&self.span_id);
        bytes[24] = u8::from(self.sampled);
        bytes
    }

    /// What the extension says.
    #[inline]
    fn decode(bytes: &[u8; TRACE_BYTES]) -> Self {
        let [front, back] = [0, 16].map(|at| {
            let mut half = [0; 16];
            half.copy_from_slice(&bytes[at..at + 16]);
            half
        });
        let mut span_id = [0; 8];
        span_id.copy_from_slice(&back[..8]);
        Self { trace_id: front, span_id, sampled: back[8] & 1 == 1 }
    }
}

/// Bytes that a name of `name_bytes` takes with its length and padding.
#[inline]
pub(crate) const fn name_extension_bytes(name_bytes: usize) -> usize {
    align_up(1 + name_bytes)
}

/// Where the proof begins in a frame with these flags, or would begin.
#[inline]
const fn proof_offset(flags: FrameFlags) -> usize {
    let mut offset = FRAME_HEADER_BYTES;
    if flags.contains(FrameFlags::TRACE) {
        offset += TRACE_BYTES;
    }
    if flags.contains(FrameFlags::DEADLINE) {
        offset += DEADLINE_BYTES;
    }
    offset
}

/// Where the name begins in a frame that is checked so far, or would begin.
#[inline]
fn name_offset(frame: &[u8], flags: FrameFlags) -> Option<usize> {
    let offset = proof_offset(flags);
    if !flags.contains(FrameFlags::SIGNED) {
        return Some(offset);
    }
    Some(offset + Proof::bytes_of(frame.get(offset..)?)?)
}

/// Checks every extension of a frame and gives the offset of its payload. `frame` is the whole
/// frame, `flags` hold supported ones only.
pub(crate) fn check(frame: &[u8], flags: FrameFlags) -> Result<usize, FrameError> {
    if let Some(trace) = trace_bytes(frame, flags)? {
        let reserved = &trace[24..];
        if reserved[0] > 1 || !all_zero(&reserved[1..]) {
            return Err(FrameError::Extension);
        }
    }
    if let Some(deadline) = deadline_bytes(frame, flags)?
        && !all_zero(&deadline[8..])
    {
        return Err(FrameError::Extension);
    }
    let mut offset = proof_offset(flags);
    if flags.contains(FrameFlags::SIGNED) {
        let bytes = frame.get(offset..).ok_or(FrameError::Length)?;
        offset += Proof::decode(bytes).ok_or(FrameError::Extension)?.bytes();
    }
    if flags.contains(FrameFlags::NAMED) {
        let name_bytes = usize::from(*frame.get(offset).ok_or(FrameError::Length)?);
        let end = offset + name_extension_bytes(name_bytes);
        let extension = frame.get(offset..end).ok_or(FrameError::Length)?;
        let (name, padding) = extension[1..].split_at(name_bytes);
        if name.is_empty() || !all_zero(padding) || core::str::from_utf8(name).is_err() {
            return Err(FrameError::Extension);
        }
        offset = end;
    }
    if flags.contains(FrameFlags::CORRELATION) {
        let bytes = frame.get(offset..).and_then(|rest| rest.first_chunk());
        Correlation::decode(bytes.ok_or(FrameError::Length)?).ok_or(FrameError::Extension)?;
        offset += CORRELATION_BYTES;
    }
    Ok(offset)
}

/// What ties a checked frame to others.
pub(crate) fn correlation(frame: &[u8], flags: FrameFlags) -> Option<Correlation> {
    if !flags.contains(FrameFlags::CORRELATION) {
        return None;
    }
    let mut offset = name_offset(frame, flags)?;
    if flags.contains(FrameFlags::NAMED) {
        offset += name_extension_bytes(usize::from(*frame.get(offset)?));
    }
    Correlation::decode(frame.get(offset..)?.first_chunk()?)
}

/// The trace extension, if the flags announce it.
#[inline]
fn trace_bytes(frame: &[u8], flags: FrameFlags) -> Result<Option<&[u8; TRACE_BYTES]>, FrameError> {
    if !flags.contains(FrameFlags::TRACE) {
        return Ok(None);
    }
    let bytes = frame.get(FRAME_HEADER_BYTES..).and_then(|rest| rest.first_chunk());
    bytes.map(Some).ok_or(FrameError::Length)
}

/// The deadline extension, if the flags announce it.
#[inline]
fn deadline_bytes(
    frame: &[u8],
    flags: FrameFlags,
) -> Result<Option<&[u8; DEADLINE_BYTES]>, FrameError> {
    if !flags.contains(FrameFlags::DEADLINE) {
        return Ok(None);
    }
    let offset = proof_offset(flags) - DEADLINE_BYTES;
    let bytes = frame.get(offset..).and_then(|rest| rest.first_chunk());
    bytes.map(Some).ok_or(FrameError::Length)
}

/// The trace context of a checked frame.
#[inline]
pub(crate) fn trace(frame: &[u8], flags: FrameFlags) -> Option<TraceContext> {
    trace_bytes(frame, flags).ok().flatten().map(TraceContext::decode)
}

/// The deadline of a checked frame.
#[inline]
pub(crate) fn deadline(frame: &[u8], flags: FrameFlags) -> Option<u64> {
    deadline_bytes(frame, flags).ok().flatten().map(|bytes| u64_at(bytes, 0))
}

/// The type name of a checked frame.
pub(crate) fn name(frame: &[u8], flags: FrameFlags) -> Option<&str> {
    if !flags.contains(FrameFlags::NAMED) {
        return None;
    }
    let (length, rest) = frame.get(name_offset(frame, flags)?..)?.split_first()?;
    core::str::from_utf8(rest.get(..usize::from(*length))?).ok()
}

/// The proof of a checked frame.
pub(crate) fn proof(frame: &[u8], flags: FrameFlags) -> Option<Proof> {
    let signed = flags.contains(FrameFlags::SIGNED);
    signed.then(|| Proof::decode(frame.get(proof_offset(flags)..)?)).flatten()
}

/// What the proof of a checked frame is about: all of it but its length and the proof.
pub(crate) fn proven(frame: &[u8], flags: FrameFlags) -> Option<[&[u8]; 2]> {
    let front = frame.get(size_of::<u32>()..proof_offset(flags))?;
    Some([front, frame.get(name_offset(frame, flags)?..)?])
}

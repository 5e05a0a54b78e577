//! How many of a ring's frames go into a packet.
//!
//! The sender's inner loop: it reads one length a frame and touches nothing else. Owns nothing.

use crate::align_up;
use crate::frame::FRAME_HEADER_BYTES;

/// The longest run of whole frames at the front of `batch` that fits `room` bytes, as
/// `(bytes, frames)`: bytes with the padding behind each frame, at most 65,535 frames.
///
/// Stops before a record shorter than a frame header (a ring may carry marks of 16 bytes between
/// its frames), before a frame that does not fit, and before one that is not whole. `(0, 0)` when
/// the first is none or does not fit. About 1 ns a frame.
#[inline]
#[must_use]
pub fn take_frames(batch: &[u8], room: usize) -> (usize, u16) {
    let limit = room.min(batch.len());
    let batch = &batch[..limit];
    let (mut bytes, mut frames) = (0, 0_u16);
    let (mut last, mut spacing) = (0, 0);
    while frames < u16::MAX {
        let Some(length) = batch.get(bytes..).and_then(|rest| rest.first_chunk()) else { break };
        let length = u32::from_le_bytes(*length) as usize;
        // Most frames are as long as the one before. Asked as a question, the processor guesses the
        // answer and goes on; as a sum it would wait for each length to come from memory.
        if length != last {
            (last, spacing) = other_length(length);
        }
        if spacing > limit - bytes {
            break;
        }
        bytes += spacing;
        frames += 1;
    }
    (bytes, frames)
}

/// A frame's length and what it takes; more than there ever is when it is no frame's.
#[cold]
#[inline(never)]
fn other_length(length: usize) -> (usize, usize) {
    let spacing = if length < FRAME_HEADER_BYTES { usize::MAX } else { align_up(length) };
    (length, spacing)
}

#[cfg(test)]
mod tests {
    use super::take_frames;
    use std::vec;
    use std::vec::Vec;

    /// Records of these lengths side by side.
    fn batch(lengths: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for length in lengths {
            let start = bytes.len();
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.resize(start + length.max(&1).next_multiple_of(16) as usize, 0xee);
        }
        bytes
    }

    #[test]
    fn takes_what_fits_the_room() {
        let batch = batch(&[32, 33, 100, 64]);
        let ends = [0, 32, 80, 192, 256];
        for room in 0..300 {
            let frames = ends.iter().filter(|end| **end <= room).count() - 1;
            let (bytes, count) = take_frames(&batch, room);
            assert_eq!((bytes, usize::from(count)), (ends[frames], frames), "room {room}");
        }
    }

    #[test]
    fn takes_only_whole_frames() {
        let whole = batch(&[48, 40]);
        for length in 0..whole.len() {
            let expected = if length < 48 { (0, 0) } else { (48, 1) };
            assert_eq!(take_frames(&whole[..length], usize::MAX), expected, "of {length}");
        }
        assert_eq!(take_frames(&whole, usize::MAX), (96, 2));
    }

    #[test]
    fn stops_before_what_is_no_frame() {
        for mark in [0, 1, 16, 31] {
            let batch = batch(&[64, 64, mark, 64]);
            assert_eq!(take_frames(&batch, usize::MAX), (128, 2), "before a mark of {mark}");
        }
        for liar in [193_u32, 0x7fff_ffff, 0xffff_fff1, u32::MAX] {
            let mut batch = batch(&[64, 64, 64, 64]);
            batch[64..68].copy_from_slice(&liar.to_le_bytes());
            assert_eq!(take_frames(&batch, usize::MAX), (64, 1), "before a length of {liar}");
        }
    }

    #[test]
    fn takes_no_more_than_a_header_can_count() {
        let frames = usize::from(u16::MAX) + 5;
        let mut batch = vec![0; frames * 32];
        for frame in batch.chunks_exact_mut(32) {
            frame[0] = 32;
        }
        let taken = usize::from(u16::MAX);
        assert_eq!(take_frames(&batch, usize::MAX), (taken * 32, u16::MAX));
        assert_eq!(take_frames(&batch[taken * 32..], usize::MAX), (5 * 32, 5));
    }
}

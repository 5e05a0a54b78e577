//! An event too large for a packet or a ring, as its publisher hands it over: its frame in memory
//! of its own, the account it settles, and its share of what may wait for its peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wireloom_wire::{Frame, FrameHeader, align_up};

use crate::tally::Tally;

/// Bytes of large events that wait for one peer, or are on their way to it. Publishers add, the
/// control thread takes away.
#[derive(Debug, Default)]
pub struct LargeRoom(AtomicUsize);

impl LargeRoom {
    /// Bytes in use now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A share of `bytes`, if no more than `most` are in use then; one event always finds room
    /// where there is no other.
    #[must_use]
    pub fn take(self: &Arc<Self>, bytes: usize, most: usize) -> Option<LargeShare> {
        let fits = |used: usize| {
            let sum = used.saturating_add(bytes);
            (used == 0 || sum <= most).then_some(sum)
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(LargeShare { room: Arc::clone(self), bytes })
    }
}

/// Bytes in use until this is dropped.
#[derive(Debug)]
pub struct LargeShare {
    room: Arc<LargeRoom>,
    bytes: usize,
}

impl Drop for LargeShare {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The event.
#[derive(Debug)]
pub struct Large {
    /// The frame and zeros to a multiple of 16.
    padded: Box<[u8]>,
    header: FrameHeader,
    pub(super) tally: Arc<Tally>,
    /// Given back with the event.
    _share: LargeShare,
}

impl Large {
    /// The frame at the front of `padded`, which ends with the frame's padding; the account of what
    /// becomes of it. `None` when the bytes are no frame of that length.
    #[must_use]
    pub fn new(padded: Box<[u8]>, tally: Arc<Tally>, share: LargeShare) -> Option<Self> {
        let header = Frame::parse(&padded).ok()?.header;
        let whole = align_up(header.length as usize) == padded.len();
        whole.then_some(Self { padded, header, tally, _share: share })
    }

    pub(super) const fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// Bytes of its frame without padding.
    pub(super) const fn length(&self) -> usize {
        self.header.length as usize
    }

    /// The bytes of the frame from `offset` on, `bytes` of them and the padding if it is the end.
    pub(super) fn slice(&self, offset: usize, bytes: usize) -> &[u8] {
        self.padded.get(offset..offset + align_up(bytes)).unwrap_or_default()
    }

    /// It was checked when it was made.
    pub(super) fn frame(&self) -> Option<Frame<'_>> {
        Frame::parse(&self.padded).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_bounded_and_shares_come_back() {
        let room = Arc::<LargeRoom>::default();
        let first = room.take(500, 100).expect("alone it always fits");
        assert!(room.take(1, 100).is_none());
        drop(first);
        let shares: Vec<_> = (0..3).map_while(|_| room.take(40, 100)).collect();
        assert_eq!((shares.len(), room.used()), (2, 80));
        drop(shares);
        assert_eq!(room.used(), 0);
    }
}

//! The producer's half: claim room, write the record in place, commit or stage it.
//!
//! Owned by one thread; stores to the published cursors and to the bytes between the consumer's
//! head and the head plus the capacity, from its own place onwards.
//!
//! Unsafe is allowed here for one thing: to take a claim's bytes out of the shared memory without
//! a copy. The borrow checker holds the rest: a claim borrows its producer, so there is one at
//! most and it cannot outlive the half that made it.

use core::{
    fmt,
    ops::{Deref, DerefMut},
};

use crate::{
    Shared,
    config::Backing,
    layout::Capacity,
    record::{LENGTH_BYTES, RECORD_BYTES_MIN, record_spacing},
    sync::{Arc, Ordering},
};

/// The half that writes. There is one for each ring: it cannot be cloned, and every call that
/// writes takes it by `&mut`. Dropping it closes the ring.
pub struct Producer {
    shared: Arc<Shared>,
    capacity: Capacity,
    /// Where the next record starts unless it must wrap: the end of what is committed or staged.
    position: usize,
    /// Where the records of the last finished lap ended. Stored with the tail.
    watermark: usize,
    /// The consumer's head as last seen. It only grows, so that room seen once stays room.
    head: usize,
    /// Up to here `position` may advance without a look at anything shared: the end of this lap,
    /// or of the room behind `head`, whichever comes first. Already passed after a new lap began.
    room_end: usize,
    closed: bool,
}

impl Producer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let capacity = shared.capacity;
        let room_end = capacity.bytes();
        Self { shared, capacity, position: 0, watermark: 0, head: 0, room_end, closed: false }
    }

    /// Takes room for one record of at most `length_max` bytes (its own four length bytes
    /// counted; less than 16 counts as 16), to be written in place and then committed or staged.
    /// Nothing is allocated; the consumer sees nothing of it yet.
    ///
    /// The bytes hold whatever was there a lap ago: write all of what you commit.
    ///
    /// Costs a few compares while the room seen before lasts, then one look at the consumer's
    /// cursor.
    ///
    /// # Errors
    /// - [`ClaimError::Full`]: the consumer has not released enough. What was staged has been
    ///   published, so that whoever waits for room never waits for itself.
    /// - [`ClaimError::TooLarge`]: no record of that length fits this ring, now or later.
    /// - [`ClaimError::Closed`]: closed by [`close`](Self::close), or the consumer is gone.
    #[inline]
    pub fn claim(&mut self, length_max: usize) -> Result<Claim<'_>, ClaimError> {
        let limit = self.record_bytes_max();
        if length_max > limit {
            return Err(ClaimError::TooLarge { asked: length_max, limit });
        }
        if self.consumer_is_gone() {
            return Err(ClaimError::Closed);
        }
        let length_max = length_max.max(RECORD_BYTES_MIN);
        let spacing = record_spacing(length_max);
        let start = if self.position + spacing <= self.room_end {
            self.position
        } else {
            self.make_room(spacing)?
        };
        let offset = self.capacity.offset(start);
        // SAFETY: `start..start + spacing` ends at or before the end of its lap, so within the
        // memory, and at or before `head + capacity`: the consumer has released every byte of it
        // (Acquire in `look_at_head`, or never had it) and is given none of it before `publish`.
        // While this claim borrows the producer there is no second one, and the memory stays.
        let bytes = unsafe { self.shared.memory.bytes_mut(offset, spacing) };
        Ok(Claim { producer: self, start, bytes, length_max })
    }

    /// Makes everything staged visible to the consumer, in one step. One Release store (and one
    /// plain store to the same cache line) whether anything was staged or not.
    #[inline]
    pub fn publish(&mut self) {
        let published = &self.shared.cursors.published;
        // Read by the consumer only after it saw a tail beyond this lap, hence after this store.
        published.watermark.store(self.watermark, Ordering::Relaxed);
        // Partner: the Acquire load of `tail` in `Consumer::read`. What was written to the records
        // and to the watermark before is seen by whoever sees this tail.
        published.tail.store(self.position, Ordering::Release);
    }

    /// Publishes what is staged and ends the ring: each later claim is refused as
    /// [`ClaimError::Closed`], and the consumer can drain what is there and see the end. Closing
    /// twice is closing once.
    pub fn close(&mut self) {
        if self.closed {
            return;
        }
        self.publish();
        self.closed = true;
        self.room_end = self.position; // sends every later claim to `make_room`, which asks
        // Partner: the Acquire load in `Consumer::is_closed`, which then sees the last tail too.
        self.shared.cursors.closed.by_producer.store(true, Ordering::Release);
    }

    /// Whether claims are refused for good: this half was closed, or the consumer is gone.
    #[inline]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed || self.consumer_is_gone()
    }

    /// Capacity of the ring's memory in bytes.
    #[inline]
    #[must_use]
    pub const fn capacity_bytes(&self) -> usize {
        self.capacity.bytes()
    }

    /// The longest record in bytes that can be claimed: a quarter of the capacity.
    #[inline]
    #[must_use]
    pub const fn record_bytes_max(&self) -> usize {
        self.capacity.record_bytes_max()
    }

    /// The pages that hold the ring, as the kernel reported them at the start.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.shared.memory.backing()
    }

    /// Bytes ever committed or staged: records, their padding, and the dead space at the ends of
    /// laps. Less [`consumed_position`](Self::consumed_position), it is what the ring holds now.
    #[inline]
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position as u64
    }

    /// Bytes ever released by the consumer, counted as [`position`](Self::position) is. Final once
    /// the consumer is gone. Looks at the consumer's cache line: for gauges, not for each record.
    #[must_use]
    pub fn consumed_position(&mut self) -> u64 {
        self.look_at_head();
        self.head as u64
    }

    /// The slow way into a claim: the lap ends, or the room seen last is used up. Gives the
    /// position of a record of `spacing` bytes.
    #[cold]
    fn make_room(&mut self, spacing: usize) -> Result<usize, ClaimError> {
        if self.closed {
            return Err(ClaimError::Closed);
        }
        self.look_at_head();
        let free_end = self.head + self.capacity.bytes();
        let lap_end = self.capacity.lap_end(self.position);
        self.room_end = lap_end.min(free_end);
        // A record is never split: what does not fit before the lap's end starts the next lap.
        let fits = self.position + spacing <= lap_end;
        let start = if fits { self.position } else { lap_end };
        if start + spacing > free_end {
            self.publish();
            return Err(ClaimError::Full);
        }
        Ok(start)
    }

    fn look_at_head(&mut self) {
        // Partner: the Release store of `head` in `Consumer::release`. The consumer's reads of
        // the bytes before this head are over before this thread writes there again.
        self.head = self.shared.cursors.released.head.load(Ordering::Acquire);
    }

    /// Takes in a finished record. The one place where the position moves.
    #[inline]
    fn advance(&mut self, start: usize, spacing: usize) {
        if start != self.position {
            // The record went to the front of the next lap; this one's data ends here.
            self.watermark = self.position;
        }
        self.position = start + spacing;
    }

    #[inline]
    fn consumer_is_gone(&self) -> bool {
        // Partner: the Release store in the consumer's drop, after which the head is final.
        self.shared.cursors.closed.by_consumer.load(Ordering::Acquire)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Producer")
            .field("capacity_bytes", &self.capacity_bytes())
            .field("position", &self.position)
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Room for one record, exclusively this claim's. Write the record into it (it is a `[u8]` of the
/// length claimed), then [`commit`](Self::commit) or [`stage`](Self::stage) it. Dropping it instead
/// [aborts](Self::abort) it.
///
/// The first four bytes belong to the ring, which writes the length there.
#[must_use = "a claim that is dropped is aborted"]
pub struct Claim<'a> {
    producer: &'a mut Producer,
    start: usize,
    /// The whole room, padding included: 16-aligned at both ends.
    bytes: &'a mut [u8],
    length_max: usize,
}

impl Claim<'_> {
    /// Finishes a record of `length` bytes, its four length bytes counted, and publishes it and
    /// everything staged before it. The rest of the room goes back. One Release store.
    ///
    /// # Panics
    /// Unless `length` is at least 16 and at most what was claimed.
    #[inline]
    pub fn commit(self, length: usize) {
        self.finish(length).publish();
    }

    /// Finishes a record of `length` bytes as [`commit`](Self::commit) does, but leaves it unseen
    /// until the next publish, commit, close, or claim refused as full. No shared store at all.
    ///
    /// # Panics
    /// Unless `length` is at least 16 and at most what was claimed.
    #[inline]
    pub fn stage(self, length: usize) {
        self.finish(length);
    }

    /// Gives the room back; the consumer never sees a byte. The same as dropping the claim.
    #[inline]
    pub fn abort(self) {
        // Nothing to undo: a claim moves nothing of its producer until it is finished.
    }
}

impl<'a> Claim<'a> {
    #[inline]
    fn finish(self, length: usize) -> &'a mut Producer {
        let Self { producer, start, bytes, length_max } = self;
        assert!(
            RECORD_BYTES_MIN <= length && length <= length_max,
            "a record of {length} bytes was committed to a claim of {length_max}; the length must \
             be at least {RECORD_BYTES_MIN} and at most what was claimed",
        );
        let spacing = record_spacing(length);
        producer.shared.memory.shadow().write(producer.capacity.offset(start), spacing);
        #[expect(clippy::cast_possible_truncation, reason = "CAPACITY_BYTES_MAX / 4 fits a u32")]
        let length_field = (length as u32).to_le_bytes();
        bytes[..LENGTH_BYTES].copy_from_slice(&length_field);
        // Guarded: an empty fill is still a call of memset, 1.9 ns an event.
        if length < spacing {
            bytes[length..spacing].fill(0);
        }
        producer.advance(start, spacing);
        producer
    }
}

impl Deref for Claim<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length_max]
    }
}

impl DerefMut for Claim<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length_max]
    }
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Claim")
            .field("position", &self.start)
            .field("length_max", &self.length_max)
            .finish_non_exhaustive()
    }
}

/// Why a claim was refused. The ring is as it was before, but for what [`Full`](Self::Full) says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClaimError {
    /// There is no room now. What was staged has been published.
    #[error("the ring is full: claim again when its consumer has released, or shed the record")]
    Full,
    /// There will never be room.
    #[error(
        "a record of {asked} bytes does not fit this ring, whose records have at most {limit}: \
         send it another way, or make the ring larger (four times the largest record)"
    )]
    TooLarge {
        /// The length asked for, in bytes.
        asked: usize,
        /// The longest record of this ring, in bytes.
        limit: usize,
    },
    /// The ring has ended, by this half's close or with the consumer.
    #[error("the ring is closed: drop this producer and make a new ring")]
    Closed,
}

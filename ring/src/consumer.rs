//! The consumer's half: read a batch of whole records in place, then release them.
//!
//! Owned by one thread; stores to the released cursor and to nothing else, and writes no byte.
//!
//! Unsafe is allowed here for one thing: to take a batch out of the shared memory without a copy.
//! The borrow checker holds the rest: a batch borrows its consumer, so nothing can be released
//! while the batch is in use.

use core::fmt;

use crate::{
    Shared,
    config::Backing,
    layout::Capacity,
    record::{self, RECORD_ALIGNMENT},
    sync::{Arc, Ordering},
};

/// The half that reads. There is one for each ring: it cannot be cloned, and every call that moves
/// it takes it by `&mut`. Dropping it tells the producer, whose claims are refused from then on.
pub struct Consumer {
    shared: Arc<Shared>,
    capacity: Capacity,
    /// Where the first unreleased record starts; ahead of the shared head only by the dead space
    /// of a lap that has been read to its end.
    head: usize,
    /// Where the batch given last ends: `head..batch_end` lies in one lap.
    batch_end: usize,
    /// Up to here records were seen to be published.
    seen: usize,
}

impl Consumer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let capacity = shared.capacity;
        Self { shared, capacity, head: 0, batch_end: 0, seen: 0 }
    }

    /// All published records that lie in one piece from the first unreleased one on: whole
    /// records in order, each 16-aligned and padded to a multiple of 16 (see
    /// [`Records`](crate::Records)). Empty when there is none. Without a release in between, the
    /// next read gives the same records, and those published since.
    ///
    /// The producer continues at the front of the memory when it comes to the end; the records
    /// there follow in the reads after those before the end have been released.
    ///
    /// Costs one look at the producer's cursor, however many records there are.
    #[inline]
    pub fn read(&mut self) -> &[u8] {
        // A batch that begins behind dead space steps over it; the next release tells the producer.
        (self.head, self.batch_end) = self.batch_from(self.head);
        self.peek()
    }

    /// What the last [`read`](Self::read) gave, less what has been released since. Looks at no
    /// shared cursor, and takes `&self`: batches of several rings can be in hand at once.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> &[u8] {
        let offset = self.capacity.offset(self.head);
        // SAFETY: `head..batch_end` is in one lap, so within the memory. It was published (Acquire
        // in `read`), and the producer writes none of it before a head beyond it is stored, which
        // takes `release` and thus `&mut self`.
        unsafe { self.shared.memory.bytes(offset, self.batch_end - self.head) }
    }

    /// Gives the first `bytes` of the last batch back to the producer: whole records, padding
    /// included, as [`Records::bytes_taken`](crate::Records::bytes_taken) and
    /// [`record_spacing`](crate::record_spacing) count. One Release store.
    ///
    /// # Panics
    /// When `bytes` is more than the batch or not a multiple of 16. In debug builds also when it
    /// does not end between two records.
    #[inline]
    pub fn release(&mut self, bytes: usize) {
        assert!(
            bytes <= self.batch_end - self.head && bytes.is_multiple_of(RECORD_ALIGNMENT),
            "{bytes} bytes were released of a batch of {}; release whole records of it, padding \
             included",
            self.batch_end - self.head,
        );
        debug_assert!(
            record::ends_between_records(self.peek(), bytes),
            "{bytes} bytes were released, which end inside a record",
        );
        self.shared.memory.shadow().read(self.capacity.offset(self.head), bytes);
        self.head += bytes;
        // Partner: the Acquire load of `head` in `Producer::look_at_head`. All reads of the bytes
        // before this head are over when the producer sees it and writes there again.
        self.shared.cursors.released.head.store(self.head, Ordering::Release);
    }

    /// Whether the producer was closed or dropped. Records may still be there: the ring is drained
    /// when this was true *before* a read that gave nothing.
    #[inline]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // Partner: the Release store in `Producer::close`, made after its last tail.
        self.shared.cursors.closed.by_producer.load(Ordering::Acquire)
    }

    /// Whether everything published so far has been released. One look at the producer's cursor.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Only a comparison: no byte is read on the strength of this load. The tail never rests
        // on dead space, so it equals the head exactly when no record lies between.
        self.shared.cursors.published.tail.load(Ordering::Relaxed) == self.head
    }

    /// Capacity of the ring's memory in bytes.
    #[inline]
    #[must_use]
    pub const fn capacity_bytes(&self) -> usize {
        self.capacity.bytes()
    }

    /// The pages that hold the ring, as the kernel reported them at the start.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.shared.memory.backing()
    }

    /// Bytes ever released: records, their padding, and the dead space at the ends of laps.
    #[inline]
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.head as u64
    }

    /// Where the published records from `at` on that lie in one piece begin and end. `at` is not
    /// before the head and not beyond what was published; the begin differs from it only when the
    /// records of its lap end there.
    #[inline]
    pub(crate) fn batch_from(&mut self, at: usize) -> (usize, usize) {
        // Partner: the Release store of `tail` in `Producer::publish`. The records before this
        // tail, and the watermark if the tail is a lap ahead, are seen as they were published.
        let tail = self.shared.cursors.published.tail.load(Ordering::Acquire);
        let lap_end = self.capacity.lap_end(at);
        self.seen = tail;
        if tail <= lap_end { (at, tail) } else { self.batch_across(at, lap_end, tail) }
    }

    /// The tail is in the next lap, so the data of this one ends at its watermark.
    #[cold]
    fn batch_across(&self, at: usize, lap_end: usize, tail: usize) -> (usize, usize) {
        // Ordered by the tail. This lap's watermark cannot be overwritten yet: that takes a
        // producer past the next lap, hence a released head in the next lap, and `at` is not
        // before the head.
        let watermark = self.shared.cursors.published.watermark.load(Ordering::Relaxed);
        // Records that filled a lap to its last byte leave no watermark; the one there is older.
        let data_end = if watermark < at { lap_end } else { watermark };
        if at < data_end { (at, data_end) } else { (lap_end, tail) }
    }

    /// Where the first unreleased byte stands.
    #[inline]
    pub(crate) const fn head(&self) -> usize {
        self.head
    }

    /// Whether records beyond `at` have been published. One look at the producer's cursor.
    #[inline]
    pub(crate) fn has_beyond(&self, at: usize) -> bool {
        // Only a comparison, as in `is_empty`.
        self.shared.cursors.published.tail.load(Ordering::Relaxed) != at
    }

    /// Bytes that were seen published and are not released, within one lap.
    ///
    /// # Panics
    /// When they are not such bytes.
    #[inline]
    pub(crate) fn held(&self, at: usize, bytes: usize) -> &[u8] {
        let is_held = self.head <= at && at <= self.seen && bytes <= self.seen - at;
        assert!(is_held, "{bytes} bytes at {at} that are not held");
        let offset = self.capacity.offset(at);
        assert!(bytes <= self.capacity.bytes() - offset, "bytes across the end of a lap");
        // SAFETY: within the memory, as asserted. All before `seen` was published (Acquire in
        // `batch_from`), and the producer writes none of it before a head beyond it is stored,
        // which takes `&mut self`. Dead space between two laps is old bytes that nobody writes.
        unsafe { self.shared.memory.bytes(offset, bytes) }
    }

    /// Gives all bytes before `position` back to the producer: a place between two records, not
    /// before the head and not beyond what was published. One Release store.
    #[inline]
    pub(crate) fn release_to(&mut self, position: usize) {
        let lap_end = self.capacity.lap_end(self.head);
        let first_end = position.min(lap_end);
        let shadow = self.shared.memory.shadow();
        shadow.read(self.capacity.offset(self.head), first_end - self.head);
        shadow.read(0, position - first_end);
        (self.head, self.batch_end) = (position, position);
        // Partner: as in `release`.
        self.shared.cursors.released.head.store(position, Ordering::Release);
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Partner: the Acquire load in `Producer::consumer_is_gone`.
        self.shared.cursors.closed.by_consumer.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Consumer")
            .field("capacity_bytes", &self.capacity_bytes())
            .field("position", &self.head)
            .field("batch_bytes", &(self.batch_end - self.head))
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

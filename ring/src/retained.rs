//! A consumer that keeps what it has taken until it is told to give it back: for records that are
//! sent, and sent again, until somebody has them.
//!
//! Owned by one thread, like the consumer it is made of, and stores to the same one cursor.
//!
//! ```text
//!       released          taken             read           published
//!   ···─────────────┬─────────────────┬───────────────┬───────────────┬···
//!                  head             ahead            end            tail
//!                    bytes(), any time   the last read   seen by the next
//! ```

use crate::{Backing, Consumer, record, record::RECORD_ALIGNMENT};

/// A [`Consumer`] with a second cursor that runs ahead of what has been released. What was
/// [taken](Self::take) stays readable by its position until it is [released](Self::release_to).
///
/// The ring holds what is taken and not released; its producer is refused as full when that is all
/// there is room for.
#[derive(Debug)]
pub struct Retained {
    consumer: Consumer,
    /// Where the first record that was not taken starts.
    ahead: usize,
    /// Where the last read ends: `ahead..end` lies in one lap, and all of `head..end` is published.
    end: usize,
}

impl Retained {
    /// Goes on where `consumer` stands: with its first unreleased record.
    #[must_use]
    pub const fn new(consumer: Consumer) -> Self {
        let head = consumer.head();
        Self { consumer, ahead: head, end: head }
    }

    /// All published records that lie in one piece behind those taken; empty when there are none.
    /// As [`Consumer::read`], with *taken* for *released*.
    #[inline]
    pub fn read(&mut self) -> &[u8] {
        (self.ahead, self.end) = self.consumer.batch_from(self.ahead);
        self.consumer.held(self.ahead, self.end - self.ahead)
    }

    /// Takes the first `bytes` of the last [read](Self::read): whole records, padding included.
    /// Gives the position under which [`bytes`](Self::bytes) finds them.
    ///
    /// # Panics
    /// When `bytes` is more than the last read less what was taken of it, or no multiple of 16. In
    /// debug builds also when it does not end between two records.
    #[inline]
    pub fn take(&mut self, bytes: usize) -> u64 {
        let read = self.end - self.ahead;
        assert!(
            bytes <= read && bytes.is_multiple_of(RECORD_ALIGNMENT),
            "{bytes} bytes were taken of a read of {read}; take whole records of it",
        );
        let position = self.ahead;
        debug_assert!(
            record::ends_between_records(self.consumer.held(position, read), bytes),
            "{bytes} bytes were taken, which end inside a record",
        );
        self.ahead += bytes;
        position as u64
    }

    /// Bytes taken and not released, by the position that [`take`](Self::take) gave (or one within
    /// what it took).
    ///
    /// # Panics
    /// When some of them were not taken, are released, or lie across the end of a lap.
    #[inline]
    #[must_use]
    pub fn bytes(&self, position: u64, bytes: usize) -> &[u8] {
        let at = index(position);
        assert!(at <= self.ahead && bytes <= self.ahead - at, "bytes at {at} that were not taken");
        self.consumer.held(at, bytes)
    }

    /// Gives everything before `position` back to the producer. `position` is where something taken
    /// begins or ends. One Release store; none when nothing is given back.
    ///
    /// # Panics
    /// When `position` is before what has been released, or beyond what was taken.
    #[inline]
    pub fn release_to(&mut self, position: u64) {
        let (at, head) = (index(position), self.consumer.head());
        assert!(
            head <= at && at <= self.ahead,
            "released to {at}, which is not between what is released ({head}) and what is taken \
             ({})",
            self.ahead,
        );
        if at > head {
            self.consumer.release_to(at);
        }
    }

    /// Whether records that were not taken may be there. One look at the producer's cursor.
    #[inline]
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.consumer.has_beyond(self.ahead)
    }

    /// Whether the producer was closed or dropped: as [`Consumer::is_closed`], to be asked before
    /// the read that finds nothing.
    #[inline]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.consumer.is_closed()
    }

    /// Where the first record that was not taken starts, or the dead space before it.
    #[inline]
    #[must_use]
    pub const fn ahead(&self) -> u64 {
        self.ahead as u64
    }

    /// Capacity of the ring's memory in bytes.
    #[must_use]
    pub const fn capacity_bytes(&self) -> usize {
        self.consumer.capacity_bytes()
    }

    /// The pages that hold the ring, as the kernel reported them at the start.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.consumer.backing()
    }
}

/// Positions are made of a `usize`; one that is none is beyond what was taken.
#[inline]
fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

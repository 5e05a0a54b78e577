//! A record as both halves see it: a length, the user's bytes, padding to the next multiple of 16.
//!
//! Pure functions over slices: no shared memory, no panic whatever the bytes are.
//!
//! ```text
//!  0        4                                   length         next record
//!  ├────────┼───────────────────────────────────┼──────────────┤
//!  │ length │ the user's bytes                  │ zeros        │
//!  │ u32 LE │                                   │ (0 to 15)    │
//!  └────────┴───────────────────────────────────┴──────────────┘
//!  16-aligned                                                  16-aligned
//! ```

/// Every record starts at a multiple of this many bytes, in memory and in position.
pub const RECORD_ALIGNMENT: usize = 16;

/// The shortest record: one alignment unit, four bytes of it the length.
pub const RECORD_BYTES_MIN: usize = 16;

/// Bytes of the length at the front of each record.
pub(crate) const LENGTH_BYTES: usize = size_of::<u32>();

/// The bytes that a record of `length` takes in the ring: `length` rounded up to a multiple of
/// [`RECORD_ALIGNMENT`]. This is what [`Consumer::release`](crate::Consumer::release) counts.
///
/// `length` is at most a ring's capacity; the sum does not overflow below `usize::MAX - 15`.
#[inline]
#[must_use]
pub const fn record_spacing(length: usize) -> usize {
    (length + (RECORD_ALIGNMENT - 1)) & !(RECORD_ALIGNMENT - 1)
}

/// The length in bytes, padding not counted, of the record at the front of `batch`: its first
/// four bytes, little-endian. 0 when fewer than four bytes are left, which no record has, so that
/// a loop over a batch may use it as its end.
#[inline]
#[must_use]
pub fn record_length(batch: &[u8]) -> usize {
    match batch.first_chunk() {
        Some(&bytes) => u32::from_le_bytes(bytes) as usize,
        None => 0,
    }
}

/// The records of a batch that [`Consumer::read`](crate::Consumer::read) gave, in order, each
/// without its padding. One load and a few additions a record.
///
/// Ends at the end of the batch, and also before bytes that are no whole record (a slice that was
/// cut elsewhere than between two records): it never panics and never leaves the batch.
///
/// ```
/// use wireloom_ring::Records;
///
/// let mut batch = [0; 48];
/// batch[0] = 20; // a record of 20 bytes takes 32
/// batch[32] = 16;
/// let mut records = Records::new(&batch);
/// assert_eq!(records.next().map(<[u8]>::len), Some(20));
/// assert_eq!(records.bytes_taken(), 32);
/// assert_eq!(records.next().map(<[u8]>::len), Some(16));
/// assert_eq!(records.next(), None);
/// assert_eq!(records.bytes_taken(), 48);
/// ```
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    batch_bytes: usize,
}

impl<'a> Records<'a> {
    /// The records of `batch`, from its front.
    #[inline]
    #[must_use]
    pub const fn new(batch: &'a [u8]) -> Self {
        Self { rest: batch, batch_bytes: batch.len() }
    }

    /// Bytes of the batch that the records given so far take, padding included: what to release
    /// once they have been dealt with.
    #[inline]
    #[must_use]
    pub const fn bytes_taken(&self) -> usize {
        self.batch_bytes - self.rest.len()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let length = record_length(self.rest);
        if length < RECORD_BYTES_MIN {
            return None;
        }
        let (record, _) = self.rest.split_at_checked(length)?;
        let (_, rest) = self.rest.split_at_checked(record_spacing(length))?;
        self.rest = rest;
        Some(record)
    }
}

impl core::iter::FusedIterator for Records<'_> {}

/// Whether `bytes` from the front of `batch` end between two records.
pub(crate) fn ends_between_records(batch: &[u8], bytes: usize) -> bool {
    let mut records = Records::new(batch);
    while records.bytes_taken() < bytes {
        if records.next().is_none() {
            return false;
        }
    }
    records.bytes_taken() == bytes
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Records, ends_between_records, record_length, record_spacing};

    #[test]
    fn spacing_is_the_next_multiple_of_sixteen() {
        for (length, spacing) in [(16, 16), (17, 32), (31, 32), (32, 32), (33, 48), (1_000, 1_008)]
        {
            assert_eq!(record_spacing(length), spacing, "of {length}");
        }
    }

    #[test]
    fn length_of_too_few_bytes_is_none() {
        assert_eq!(record_length(&[]), 0);
        assert_eq!(record_length(&[16, 0, 0]), 0);
        assert_eq!(record_length(&[16, 1, 0, 0]), 272);
    }

    #[test]
    fn records_stop_before_what_is_no_record() {
        let lengths: [&[u8]; 4] = [&[15], &[33], &[0, 0, 0, 255], &[255, 255, 255, 255]];
        for length in lengths {
            let mut batch = [0; 48];
            batch[0] = 16;
            batch[16..16 + length.len()].copy_from_slice(length);
            let mut records = Records::new(&batch);
            assert_eq!(records.next().map(<[u8]>::len), Some(16), "before {length:?}");
            assert_eq!(records.next(), None, "{length:?} is no record of 32 bytes");
            assert_eq!(records.next(), None, "and it stays ended");
            assert_eq!(records.bytes_taken(), 16);
        }
    }

    #[test]
    fn a_cut_is_between_records_or_not() {
        let mut batch = [0; 64];
        batch[0] = 17;
        batch[32] = 32;
        for bytes in 0..80 {
            let between = [0, 32, 64].contains(&bytes);
            assert_eq!(ends_between_records(&batch, bytes), between, "at {bytes}");
        }
    }
}

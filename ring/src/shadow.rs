//! What loom sees of the ring's bytes: one cell for each 16-byte block.
//!
//! Loom cannot watch plain memory. Under `--cfg loom` each side therefore touches the cells of
//! the blocks it may use, when it is given them and again when it gives them up; two touches
//! that no Release and Acquire put in order are a data race, and the model fails. Without loom
//! there is nothing here, at no cost.

#[cfg(loom)]
use {crate::record::RECORD_ALIGNMENT, loom::cell::UnsafeCell, std::ops::Range};

/// One cell a block.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Shadow(Vec<UnsafeCell<()>>);

#[cfg(loom)]
impl Shadow {
    pub(crate) fn new(capacity_bytes: usize) -> Self {
        Self((0..capacity_bytes / RECORD_ALIGNMENT).map(|_| UnsafeCell::new(())).collect())
    }

    /// These bytes may be read now.
    pub(crate) fn read(&self, offset: usize, bytes: usize) {
        for cell in &self.0[blocks(offset, bytes)] {
            cell.with(|_| ());
        }
    }

    /// These bytes may be written now.
    pub(crate) fn write(&self, offset: usize, bytes: usize) {
        for cell in &self.0[blocks(offset, bytes)] {
            cell.with_mut(|_| ());
        }
    }
}

#[cfg(loom)]
fn blocks(offset: usize, bytes: usize) -> Range<usize> {
    offset / RECORD_ALIGNMENT..(offset + bytes).div_ceil(RECORD_ALIGNMENT)
}

/// Nothing: the machine's memory needs no shadow.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct Shadow;

#[cfg(not(loom))]
#[expect(clippy::unused_self, reason = "the same calls as loom's shadow")]
impl Shadow {
    pub(crate) const fn new(_capacity_bytes: usize) -> Self {
        Self
    }

    #[inline]
    pub(crate) const fn read(&self, _offset: usize, _bytes: usize) {}

    #[inline]
    pub(crate) const fn write(&self, _offset: usize, _bytes: usize) {}
}

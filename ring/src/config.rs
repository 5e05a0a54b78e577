//! What the caller asks of a ring, what it got, and why it may be refused.
//!
//! Plain values; checked once, when the ring is made.

use std::io;

/// What a ring should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RingConfig {
    /// Bytes of the ring's memory: a power of two, from 4,096 to 8 GiB. The largest record is a
    /// quarter of it. For speed, keep it within the cache that the two cores share.
    pub capacity_bytes: usize,
    /// Ask for huge pages of 2 MiB: fewer misses in the processor's address cache. Only taken up
    /// when the capacity is a multiple of 2 MiB; [`Backing`] says what the memory really got.
    pub huge_pages: bool,
}

/// The pages that hold a ring's memory, as the kernel reported them after every page was touched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backing {
    /// Pages of 2 MiB out of the pool the operator reserved (`vm.nr_hugepages`).
    HugePages,
    /// Pages of 2 MiB that the kernel put together on its own; every byte of the ring lies in one.
    TransparentHugePages,
    /// Ordinary pages, at least in part.
    Pages,
}

/// Why there is no ring. Nothing is left behind: what had been mapped is unmapped.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The capacity is not a power of two within the bounds.
    #[error(
        "a ring cannot hold {asked} bytes: choose a power of two from {min} to {max}",
        min = CAPACITY_BYTES_MIN,
        max = CAPACITY_BYTES_MAX
    )]
    Capacity {
        /// The capacity asked for, in bytes.
        asked: usize,
    },
    /// The kernel gave no memory.
    #[error(
        "the kernel gave no {bytes} bytes of memory for a ring: choose a smaller capacity, or \
         raise the memory limit of this process"
    )]
    Memory {
        /// The capacity asked for, in bytes.
        bytes: usize,
        /// What the kernel answered.
        source: io::Error,
    },
}

/// One page. Loom looks at every interleaving, so its rings are as small as they can be and
/// still have dead space: a largest record of two alignment units.
pub(crate) const CAPACITY_BYTES_MIN: usize = if cfg!(loom) { 128 } else { 4096 };

/// A record's length is a `u32`, and the largest record is a quarter of the ring.
pub(crate) const CAPACITY_BYTES_MAX: usize = 1 << 33;

const _: () = assert!(CAPACITY_BYTES_MAX / 4 <= u32::MAX as usize, "a length must fit its field");

impl RingConfig {
    pub(crate) fn check(&self) -> Result<(), RingError> {
        let asked = self.capacity_bytes;
        let within = (CAPACITY_BYTES_MIN..=CAPACITY_BYTES_MAX).contains(&asked);
        if within && asked.is_power_of_two() { Ok(()) } else { Err(RingError::Capacity { asked }) }
    }
}

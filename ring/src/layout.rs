//! Where things stand: the shared cursors on their cache lines, and the arithmetic of positions.
//!
//! Both halves of a ring use this file; neither owns it. It holds no memory and does no input or
//! output. A *position* counts bytes for ever (laps and all); an *offset* is its place in the
//! ring's memory. Positions never wrap: at 16 GB/s a `usize` of 64 bits lasts 36 years.

use core::mem::{align_of, offset_of, size_of};

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicBool, AtomicUsize};

/// What the two threads share beside the bytes, grouped by the thread that writes it.
///
/// One group, one cache line: a thread that stores to its own cursor never takes away the line
/// that the other thread is storing to.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Cursors {
    /// Written by the producer alone.
    pub(crate) published: CachePadded<Published>,
    /// Written by the consumer alone.
    pub(crate) released: CachePadded<Released>,
    /// Written once in a ring's life by each side; read at every claim, so that it must not lie
    /// beside anything that is written often.
    pub(crate) closed: CachePadded<Closed>,
}

/// How far the producer has come, as one picture: stored together, seen together.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Published {
    /// Where published records end. The Release store of it publishes everything before.
    pub(crate) tail: AtomicUsize,
    /// Where the records of the lap that was left last end; the rest of that lap is dead space.
    /// Means something only while the tail is in the next lap; guarded by the tail.
    pub(crate) watermark: AtomicUsize,
}

/// How far the consumer has come.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Released {
    /// Where unreleased records begin: all before it may be written again.
    pub(crate) head: AtomicUsize,
}

/// Who has gone. Each flag goes from false to true once.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Closed {
    /// The producer publishes no more: it was closed or dropped.
    pub(crate) by_producer: AtomicBool,
    /// The consumer reads no more: it was dropped.
    pub(crate) by_consumer: AtomicBool,
}

/// A ring's capacity in bytes, a power of two, and with it the arithmetic of laps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity(usize);

impl Capacity {
    /// `bytes` must be a power of two.
    pub(crate) const fn new(bytes: usize) -> Self {
        debug_assert!(bytes.is_power_of_two());
        Self(bytes)
    }

    #[inline]
    pub(crate) const fn bytes(self) -> usize {
        self.0
    }

    /// The largest record: a quarter of the ring. A claim may have to skip less than one record
    /// of dead space and then needs as much again, so that half would do to make every claim fit
    /// an empty ring; a quarter lets the consumer work on one record while the next is written.
    #[inline]
    pub(crate) const fn record_bytes_max(self) -> usize {
        self.0 / 4
    }

    /// The place in memory of a position.
    #[inline]
    pub(crate) const fn offset(self, position: usize) -> usize {
        position & (self.0 - 1)
    }

    /// The position at which the lap of `position` ends and the next one begins.
    #[inline]
    pub(crate) const fn lap_end(self, position: usize) -> usize {
        (position | (self.0 - 1)) + 1
    }
}

// Positions are `usize` and are given out as `u64`; offsets index memory. One and the same here.
const _: () = assert!(usize::BITS == 64, "a position needs 64 bits");

/// Two stores less than this apart make the threads fight for one line. 128 and not 64 because
/// x86-64 prefetches lines in pairs and some aarch64 cores have lines of 128: `CachePadded`'s
/// choice for both.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const CACHE_LINE_APART_BYTES: usize = 128;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const CACHE_LINE_APART_BYTES: usize = 32;

/// A cache line as the processor moves it.
const CACHE_LINE_BYTES: usize = 64;

const _: () = {
    let published = offset_of!(Cursors, published);
    let released = offset_of!(Cursors, released);
    let closed = offset_of!(Cursors, closed);
    assert!(released - published >= CACHE_LINE_APART_BYTES, "tail and head share a cache line");
    assert!(closed - released >= CACHE_LINE_APART_BYTES, "head and flags share a cache line");
    assert!(size_of::<Cursors>() - closed >= CACHE_LINE_APART_BYTES, "flags share a cache line");
    assert!(align_of::<Cursors>() >= CACHE_LINE_APART_BYTES, "cursors start inside a line");
};

// Loom's atomics carry their history and are larger; the machine's must fit one line.
#[cfg(not(loom))]
const _: () = {
    assert!(offset_of!(Published, tail) == 0);
    assert!(size_of::<Published>() <= CACHE_LINE_BYTES, "tail and watermark must move together");
};
#[cfg(loom)]
const _: usize = CACHE_LINE_BYTES;

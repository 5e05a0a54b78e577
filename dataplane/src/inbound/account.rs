//! What the two ends of an inbound ring say of it, each in cells that it alone writes.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::policy::ShedReason;

const REASONS: usize = ShedReason::ALL.len();

fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// What became of a ring subscriber's events at the receiver, who alone writes it; on cache lines
/// of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct InboundCounters {
    /// Events put into the ring, or beside it to wait for room.
    delivered: AtomicU64,
    shed: [AtomicU64; REASONS],
    /// Events of the ring before this position have made room for newer ones.
    pub(super) stale_until: AtomicU64,
    /// Something waits for room in the ring: who makes room wakes the receiver.
    pub(super) waits: AtomicBool,
    /// The subscriber was cut off.
    pub(super) cut: AtomicBool,
    /// The receiver's side is gone: no record follows.
    pub(super) gone: AtomicBool,
    /// The newest event of each key's slot.
    pub(super) generations: Box<[AtomicU32]>,
}

impl InboundCounters {
    pub(super) fn with_keys(keys: usize) -> Self {
        let generations = (0..keys).map(|_| AtomicU32::new(0)).collect();
        Self { generations, ..Self::default() }
    }

    #[inline]
    pub(super) fn count_delivered(&self) {
        add(&self.delivered, 1);
    }

    pub(super) fn count_shed(&self, reason: ShedReason, events: u64) {
        add(&self.shed[reason as usize], events);
    }

    /// Events taken in: put into the ring, or beside it to wait for room.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Events shed by the receiver for a reason.
    #[must_use]
    pub fn shed(&self, reason: ShedReason) -> u64 {
        self.shed[reason as usize].load(Ordering::Relaxed)
    }
}

/// What became of a ring subscriber's events on its own thread, which alone writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TakenCounters {
    taken: AtomicU64,
    shed: [AtomicU64; REASONS],
}

impl TakenCounters {
    pub(super) fn count_taken(&self, events: u64) {
        add(&self.taken, events);
    }

    pub(super) fn count_shed(&self, reason: ShedReason, events: u64) {
        add(&self.shed[reason as usize], events);
    }

    /// Events given to the subscriber.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Events passed over when they were to be taken, for a reason.
    #[must_use]
    pub fn shed(&self, reason: ShedReason) -> u64 {
        self.shed[reason as usize].load(Ordering::Relaxed)
    }
}

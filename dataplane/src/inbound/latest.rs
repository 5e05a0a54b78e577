//! The newest event of each key, waiting for room in a subscriber's ring.
//!
//! A key has a slot of fixed size while its event waits, and until the subscriber has taken it from
//! the ring. Each event of a slot has a generation, which its record carries: when a newer one
//! comes, the subscriber passes the older over, for the newer will follow.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use wireloom_ring::{ClaimError, Producer};
use wireloom_wire::Frame;

use super::{ORIGIN_BYTES, put_generation, put_origin};
use crate::dispatch::Origin;

/// Where a slot's event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No key has the slot.
    Free,
    /// Here.
    Waiting,
    /// In the ring, if the subscriber has not taken it.
    InRing,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    key: u64,
    generation: u32,
    length: usize,
    state: State,
    /// The next slot of the same bucket.
    next: Option<u16>,
}

/// Slots of one bucket, at most: keys are made by others, who may have them meet in one.
const BUCKET_SLOTS_MAX: usize = 32;

/// Which slot a key has: as many buckets as keys, each the head of a chain through the slots.
#[derive(Debug)]
struct Index(Vec<Option<u16>>);

impl Index {
    fn new(keys: usize) -> Self {
        Self(vec![None; keys.next_power_of_two()])
    }

    /// Fibonacci hashing: the upper bits of the product.
    const fn bucket(&self, key: u64) -> usize {
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        mixed as usize & (self.0.len() - 1)
    }

    /// The slot of a key; `Err` when it has none and its bucket takes no further one.
    fn find(&self, key: u64, slots: &[Slot]) -> Result<Option<u16>, ()> {
        let mut next = self.0[self.bucket(key)];
        for _ in 0..BUCKET_SLOTS_MAX {
            let Some(slot) = next else { return Ok(None) };
            let held = &slots[usize::from(slot)];
            if held.key == key {
                return Ok(Some(slot));
            }
            next = held.next;
        }
        Err(())
    }

    /// Gives a slot its key.
    fn add(&mut self, slot: u16, key: u64, slots: &mut [Slot]) {
        let bucket = self.bucket(key);
        let held = &mut slots[usize::from(slot)];
        (held.key, held.next) = (key, self.0[bucket].replace(slot));
    }

    /// Takes a slot's key away.
    fn remove(&mut self, slot: u16, slots: &mut [Slot]) {
        let Slot { key, next: after, .. } = slots[usize::from(slot)];
        let bucket = self.bucket(key);
        let mut at = self.0[bucket];
        if at == Some(slot) {
            self.0[bucket] = after;
            return;
        }
        while let Some(before) = at {
            let held = &mut slots[usize::from(before)];
            if held.next == Some(slot) {
                held.next = after;
                return;
            }
            at = held.next;
        }
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It waits; an older one that waited gave way to it.
    Waits { superseded: bool },
    /// It is longer than a slot.
    TooLarge,
    /// Every slot holds another key's event.
    KeysFull,
}

/// Slots by key.
#[derive(Debug)]
pub(super) struct Latest {
    slots: Vec<Slot>,
    slot_bytes: usize,
    memory: Vec<u8>,
    index: Index,
    free: Vec<u16>,
    /// Slots whose event waits, in the order in which they began to.
    waiting: VecDeque<u16>,
    /// What was put into the ring: slot, generation, and the position behind it.
    in_ring: VecDeque<(u16, u32, u64)>,
    in_ring_max: usize,
}

impl Latest {
    pub(super) fn new(bytes: usize, keys: usize, ring_bytes: usize) -> Self {
        let keys = keys.clamp(1, super::KEYS_MAX);
        let slot_bytes = (bytes / keys).max(2 * ORIGIN_BYTES) & !15;
        let slot = Slot { key: 0, generation: 0, length: 0, state: State::Free, next: None };
        let in_ring_max = (ring_bytes / (2 * ORIGIN_BYTES)).max(1);
        Self {
            slots: vec![slot; keys],
            slot_bytes,
            memory: vec![0; slot_bytes * keys],
            index: Index::new(keys),
            free: (0..keys).rev().filter_map(|slot| u16::try_from(slot).ok()).collect(),
            waiting: VecDeque::with_capacity(keys),
            in_ring: VecDeque::with_capacity(in_ring_max),
            in_ring_max,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Gives the slots back whose events the subscriber has taken from the ring.
    fn reclaim(&mut self, consumed: u64) {
        while let Some((slot, generation, end)) = self.in_ring.front().copied()
            && end <= consumed
        {
            self.in_ring.pop_front();
            let held = &mut self.slots[usize::from(slot)];
            if held.state == State::InRing && held.generation == generation {
                held.state = State::Free;
                self.index.remove(slot, &mut self.slots);
                self.free.push(slot);
            }
        }
    }

    /// Keeps an event as the newest of its key. `generations` is what the subscriber sees.
    pub(super) fn put(
        &mut self,
        key: u64,
        (frame, origin): (&Frame<'_>, &Origin),
        producer: &mut Producer,
        generations: &[AtomicU32],
    ) -> Put {
        let length = ORIGIN_BYTES + frame.bytes().len();
        if length > self.slot_bytes {
            return Put::TooLarge;
        }
        let slot = match self.index.find(key, &self.slots) {
            Ok(Some(slot)) => slot,
            Ok(None) => {
                self.reclaim(producer.consumed_position());
                let Some(slot) = self.free.pop() else { return Put::KeysFull };
                self.index.add(slot, key, &mut self.slots);
                slot
            }
            Err(()) => {
                self.reclaim(producer.consumed_position());
                return Put::KeysFull;
            }
        };
        let at = usize::from(slot);
        let held = &mut self.slots[at];
        let superseded = held.state == State::Waiting;
        if !superseded {
            self.waiting.push_back(slot);
        }
        let generation = held.generation.wrapping_add(1);
        (held.generation, held.length, held.state) = (generation, length, State::Waiting);
        let record = &mut self.memory[at * self.slot_bytes..][..length];
        put_origin(record, super::EVENT, origin);
        put_generation(record, slot, generation);
        record[ORIGIN_BYTES..].copy_from_slice(frame.bytes());
        if let Some(seen) = generations.get(at) {
            seen.store(generation, Ordering::Relaxed);
        }
        Put::Waits { superseded }
    }

    /// Moves the event that has waited longest into the ring, staged.
    pub(super) fn move_first(&mut self, producer: &mut Producer) -> Result<(), ClaimError> {
        let Some(slot) = self.waiting.front().copied() else { return Ok(()) };
        if self.in_ring.len() == self.in_ring_max {
            self.reclaim(producer.consumed_position());
            if self.in_ring.len() == self.in_ring_max {
                return Err(ClaimError::Full);
            }
        }
        let at = usize::from(slot);
        let held = &mut self.slots[at];
        let mut claim = producer.claim(held.length)?;
        claim[..held.length].copy_from_slice(&self.memory[at * self.slot_bytes..][..held.length]);
        claim.stage(held.length);
        held.state = State::InRing;
        let generation = held.generation;
        self.waiting.pop_front();
        self.in_ring.push_back((slot, generation, producer.position()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_finds_what_it_holds_and_refuses_a_bucket_that_is_too_long() {
        let free = Slot { key: 0, generation: 0, length: 0, state: State::Free, next: None };
        let mut slots = vec![free; 64];
        let mut index = Index::new(64);
        // Keys of one bucket: they differ where the hash does not look.
        let same: Vec<u64> =
            (0..u64::MAX).filter(|key| index.bucket(*key) == index.bucket(7)).take(40).collect();
        for (slot, key) in (0..).zip(&same[..BUCKET_SLOTS_MAX]) {
            assert_eq!(index.find(*key, &slots), Ok(None));
            index.add(slot, *key, &mut slots);
        }
        assert_eq!(index.find(same[39], &slots), Err(()), "as long as it may be");
        for (slot, key) in (0..).zip(&same[..BUCKET_SLOTS_MAX]) {
            assert_eq!(index.find(*key, &slots), Ok(Some(slot)));
        }
        // From the middle, the end and the front.
        for slot in [15_u16, 0, 31] {
            index.remove(slot, &mut slots);
            assert_eq!(index.find(same[usize::from(slot)], &slots), Ok(None));
        }
        for slot in [1_u16, 14, 16, 30] {
            assert_eq!(index.find(same[usize::from(slot)], &slots), Ok(Some(slot)));
        }
        assert_eq!(index.find(same[39], &slots), Ok(None), "there is room again");
    }
}

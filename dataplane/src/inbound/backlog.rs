//! Records that wait for room in a subscriber's ring, in order, in memory of the receiver's own.
//!
//! They lie in it as they will in the ring: each in one piece, 16-aligned, with its length in its
//! first four bytes, so that one is written in place and given up by a step. Where the next one
//! does not fit before the end of the memory, a length of 0 says so, and it begins at the front.
//! All memory is there from the start, and touched as it is used: nothing is allocated on a worker.

use wireloom_ring::{ClaimError, Producer, record_length, record_spacing};

use super::{EVENT, KIND_OFFSET, lost_of};
use crate::dispatch::Lost;

const LENGTH_BYTES: usize = 4;

/// A queue of records, bounded in bytes.
#[derive(Debug)]
pub(super) struct Backlog {
    memory: Vec<u8>,
    /// Where the oldest record begins and the newest ends, in bytes ever put in.
    begin: usize,
    end: usize,
}

impl Backlog {
    /// `bytes` is a power of two, as a ring's are.
    pub(super) fn new(bytes: usize) -> Self {
        debug_assert!(bytes.is_power_of_two());
        Self { memory: vec![0; bytes], begin: 0, end: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// Its place in the memory.
    #[inline]
    const fn offset(&self, position: usize) -> usize {
        position & (self.memory.len() - 1)
    }

    /// Where the lap that begins at or before a position ends.
    #[inline]
    const fn lap_end(&self, position: usize) -> usize {
        (position | (self.memory.len() - 1)) + 1
    }

    /// Appends a record of so many bytes, 16 at least, which `write` fills behind its first four;
    /// false, and nothing happened, when there is no room.
    #[inline]
    pub(super) fn push(&mut self, length: usize, write: impl FnOnce(&mut [u8])) -> bool {
        let Ok(told) = u32::try_from(length) else { return false };
        let (spacing, lap_end) = (record_spacing(length), self.lap_end(self.end));
        let fits = self.end + spacing <= lap_end;
        let start = if fits { self.end } else { lap_end };
        if start + spacing - self.begin > self.memory.len() {
            return false;
        }
        if !fits {
            let dead = self.offset(self.end);
            self.memory[dead..dead + LENGTH_BYTES].fill(0);
        }
        let offset = self.offset(start);
        let record = &mut self.memory[offset..offset + length];
        write(record);
        record[..LENGTH_BYTES].copy_from_slice(&told.to_le_bytes());
        self.end = start + spacing;
        true
    }

    /// The oldest record, which `begin` is at then; `None` when there is none.
    #[inline]
    fn first(&mut self) -> Option<&[u8]> {
        if self.is_empty() {
            return None;
        }
        let mut offset = self.offset(self.begin);
        if record_length(&self.memory[offset..]) == 0 {
            (self.begin, offset) = (self.lap_end(self.begin), 0);
        }
        let length = record_length(&self.memory[offset..]);
        self.memory.get(offset..offset + length)
    }

    /// Drops the oldest record: true of an event; false of the notice of a gap, which `keep` is
    /// given. `None` of an empty backlog.
    #[inline]
    pub(super) fn drop_first(&mut self, keep: impl FnOnce(Lost)) -> Option<bool> {
        let first = self.first()?;
        let (spacing, is_event) = (record_spacing(first.len()), first[KIND_OFFSET] == EVENT);
        if !is_event {
            keep(lost_of(first));
        }
        self.begin += spacing;
        Some(is_event)
    }

    /// Forgets everything but the gaps, which `keep` is given; returns how many events there were.
    pub(super) fn clear(&mut self, mut keep: impl FnMut(Lost)) -> u64 {
        let mut events = 0;
        while let Some(is_event) = self.drop_first(&mut keep) {
            events += u64::from(is_event);
        }
        events
    }

    /// Moves the oldest record into the ring, staged.
    pub(super) fn move_first(&mut self, producer: &mut Producer) -> Result<(), ClaimError> {
        let Some(first) = self.first() else { return Ok(()) };
        let length = first.len();
        let mut claim = producer.claim(length)?;
        claim[..length].copy_from_slice(first);
        claim.stage(length);
        self.begin += record_spacing(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use wireloom_ring::{Records, RingConfig, ring};

    use super::*;
    use crate::inbound::LOST;

    const BYTES: usize = 4_096;

    /// A backlog, beside it what it should hold, and the ring it empties into.
    struct Checked {
        backlog: Backlog,
        held: VecDeque<Vec<u8>>,
        ring: (Producer, wireloom_ring::Consumer),
    }

    impl Checked {
        fn new() -> Self {
            let config = RingConfig { capacity_bytes: BYTES, huge_pages: false };
            let ring = ring(config).expect("memory");
            Self { backlog: Backlog::new(BYTES), held: VecDeque::new(), ring }
        }

        /// Whether it was taken; it must be where a largest record's dead space is left beside it.
        fn push(&mut self, number: u8, length: usize) -> bool {
            let mut record = vec![number; length];
            record[KIND_OFFSET] = if number.is_multiple_of(3) { LOST } else { EVENT };
            let is_in = self.backlog.push(length, |into| into.copy_from_slice(&record));
            let spacings = self.held.iter().map(|record| record_spacing(record.len()));
            let bytes = spacings.sum::<usize>() + record_spacing(length);
            assert!(is_in || bytes > BYTES * 3 / 4, "{bytes} bytes are refused");
            assert!(!is_in || bytes <= BYTES, "{bytes} bytes are taken");
            if is_in {
                self.held.push_back(record);
            }
            is_in
        }

        fn drop_first(&mut self) -> bool {
            let first = self.held.pop_front();
            let is_event = first.as_ref().map(|record| record[KIND_OFFSET] == EVENT);
            let mut kept = None;
            assert_eq!(self.backlog.drop_first(|lost| kept = Some(lost)), is_event);
            let gap = first.as_ref().filter(|_| is_event == Some(false));
            assert_eq!(kept, gap.map(|record| lost_of(record)));
            assert_eq!(self.backlog.is_empty(), self.held.is_empty());
            first.is_some()
        }

        fn move_first(&mut self) {
            let (producer, consumer) = &mut self.ring;
            self.backlog.move_first(producer).expect("the ring is empty");
            producer.publish();
            let moved = Records::new(consumer.read()).next().map(|record| record[4..].to_vec());
            assert_eq!(moved, self.held.pop_front().map(|record| record[4..].to_vec()));
            let bytes = consumer.peek().len();
            consumer.release(bytes);
        }
    }

    #[test]
    fn records_of_any_length_come_out_as_they_went_in_lap_after_lap() {
        let mut checked = Checked::new();
        let mut seed = 1_u32;
        for step in 0..20_000_u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let length = 48 + (seed >> 8) as usize % (BYTES / 4 - 47);
            match (seed >> 4) % 8 {
                0 => checked.move_first(),
                1 if step % 7 == 0 => while checked.drop_first() {},
                // As a subscriber does that keeps the newest.
                _ => while !checked.push(step.to_le_bytes()[0], length) && checked.drop_first() {},
            }
        }
        let events = checked.held.iter().filter(|record| record[KIND_OFFSET] == EVENT).count();
        let (mut gaps, all) = (0, checked.held.len());
        assert_eq!(checked.backlog.clear(|_| gaps += 1), events as u64);
        assert_eq!(gaps, all - events);
        assert!(checked.backlog.is_empty());
    }
}

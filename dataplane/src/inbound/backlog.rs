//! Records that wait for room in a subscriber's ring, in order, in memory of the receiver's own.
//!
//! Both vectors have their whole capacity from the start: nothing is allocated on a worker, and
//! pages are touched as they are used.

use std::collections::VecDeque;

use wireloom_ring::{ClaimError, Producer};

use super::{EVENT, KIND_OFFSET, ORIGIN_BYTES};

/// The shortest record: an origin and a frame header.
const RECORD_BYTES_MIN: usize = ORIGIN_BYTES + wireloom_wire::FRAME_HEADER_BYTES;

/// A queue of records, bounded in bytes and in number.
#[derive(Debug)]
pub(super) struct Backlog {
    bytes: VecDeque<u8>,
    lengths: VecDeque<u32>,
    bytes_max: usize,
    records_max: usize,
}

impl Backlog {
    pub(super) fn new(bytes_max: usize) -> Self {
        let records_max = (bytes_max / RECORD_BYTES_MIN).max(1);
        Self {
            bytes: VecDeque::with_capacity(bytes_max),
            lengths: VecDeque::with_capacity(records_max),
            bytes_max,
            records_max,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Whether a record of so many bytes has room.
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.lengths.len() < self.records_max && self.bytes.len() + length <= self.bytes_max
    }

    /// Appends a record of two parts; false, and nothing happened, when there is no room.
    pub(super) fn push(&mut self, head: &[u8], body: &[u8]) -> bool {
        let length = head.len() + body.len();
        let Ok(told) = u32::try_from(length) else { return false };
        if !self.has_room(length) {
            return false;
        }
        self.bytes.extend(head);
        self.bytes.extend(body);
        self.lengths.push_back(told);
        true
    }

    /// The kind of the first record.
    fn kind(&self) -> Option<u8> {
        self.bytes.get(KIND_OFFSET).copied()
    }

    /// Drops the first record; true when it was an event. `None` of an empty backlog.
    pub(super) fn drop_first(&mut self) -> Option<bool> {
        let is_event = self.kind() == Some(EVENT);
        let length = self.lengths.pop_front()? as usize;
        self.bytes.drain(..length.min(self.bytes.len()));
        Some(is_event)
    }

    /// Forgets everything; returns how many events there were.
    pub(super) fn clear(&mut self) -> u64 {
        let mut events = 0;
        while let Some(is_event) = self.drop_first() {
            events += u64::from(is_event);
        }
        events
    }

    /// Moves the first record into the ring, staged.
    pub(super) fn move_first(&mut self, producer: &mut Producer) -> Result<(), ClaimError> {
        let Some(length) = self.lengths.front().map(|length| *length as usize) else {
            return Ok(());
        };
        let mut claim = producer.claim(length)?;
        let (front, back) = self.bytes.as_slices();
        let from_front = length.min(front.len());
        claim[..from_front].copy_from_slice(&front[..from_front]);
        claim[from_front..length].copy_from_slice(&back[..length - from_front]);
        claim.stage(length);
        self.drop_first();
        Ok(())
    }
}

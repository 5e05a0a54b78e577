//! An event too large for any ring, on its way from the control thread to the handlers and back.
//!
//! The control thread puts its frame together in memory of its own and gives it to a receiver by
//! [`crate::command::ReceiverCommand::Large`]; the receiver dispatches it in place, and hands the
//! box back through the queue it names. The way back is the word that the handlers have taken it,
//! and the memory is freed where it was made.

use std::sync::Arc;

use wireloom_wire::{ALIGNMENT, Frames, align_up};

use crate::command::{Commands, Returns};
use crate::counters::Counters;
use crate::dispatch::Origin;
use crate::wake::Wake;

/// Zeroed memory whose first byte lies on a 16-byte boundary, so that a payload in it can be read
/// in place as a type. Filled from the front.
pub struct AlignedBytes {
    memory: Box<[u8]>,
    start: usize,
    filled: usize,
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBytes").field("filled", &self.filled).finish_non_exhaustive()
    }
}

impl AlignedBytes {
    /// Room for `bytes`. Large memory comes from the kernel as zeros that take no page until they
    /// are written to.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let memory = vec![0; align_up(bytes) + ALIGNMENT - 1].into_boxed_slice();
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, start, filled: 0 }
    }

    /// Bytes it has room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.memory.len() - (ALIGNMENT - 1)
    }

    /// What was filled in, and zeros behind it up to the next multiple of 16.
    #[must_use]
    pub fn padded(&self) -> &[u8] {
        &self.memory[self.start..self.start + align_up(self.filled)]
    }

    /// Bytes filled in.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.filled
    }

    /// Whether nothing was filled in.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Adds bytes behind those filled in; false, and nothing added, when there is no room.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let end = self.filled + bytes.len();
        if end > self.capacity() {
            return false;
        }
        let start = self.start + self.filled;
        self.memory[start..start + bytes.len()].copy_from_slice(bytes);
        self.filled = end;
        true
    }
}

/// The event.
#[derive(Debug)]
pub struct LargeEvent {
    frame: AlignedBytes,
    origin: Origin,
    /// What its maker knows it by.
    ticket: usize,
    back: Commands<Box<Self>>,
    wake: Option<Arc<Wake>>,
}

impl LargeEvent {
    /// One whole frame. It comes back through `back`, and then `wake` is woken.
    #[must_use]
    pub fn new(
        frame: AlignedBytes,
        origin: Origin,
        ticket: usize,
        (back, wake): (Commands<Box<Self>>, Option<Arc<Wake>>),
    ) -> Box<Self> {
        Box::new(Self { frame, origin, ticket, back, wake })
    }

    /// What its maker knows it by.
    #[must_use]
    pub const fn ticket(&self) -> usize {
        self.ticket
    }

    /// Bytes of its frame.
    #[must_use]
    pub const fn frame_bytes(&self) -> usize {
        self.frame.len()
    }

    /// The frame, unchecked, as the only one of its packet, and where it came from.
    pub(crate) fn frames(&self) -> (Frames<'_>, Origin) {
        (Frames::counted(self.frame.padded(), 1), self.origin)
    }

    /// Hands the event back to who made it. Neither allocates nor frees. Its maker has no more of
    /// them out than the queue takes; should it be full all the same, the event is freed by control
    /// as other things are, and nobody hears that it was taken.
    pub fn give_back(self: Box<Self>, returns: &Returns, counters: &Counters) {
        let (back, wake) = (self.back.clone(), self.wake.clone());
        if let Err(event) = back.push(self) {
            returns.give_back(event, counters);
        }
        if let Some(wake) = wake {
            wake.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_zeroed_behind_and_bounded() {
        for bytes in [1, 15, 16, 17, 1_000, 200_000] {
            let mut memory = AlignedBytes::new(bytes);
            assert!(memory.is_empty() && memory.capacity() == align_up(bytes));
            assert!(memory.push(&vec![7; bytes]));
            assert_eq!(memory.len(), bytes);
            assert_eq!(memory.padded().len(), align_up(bytes));
            assert!(memory.padded().as_ptr().addr().is_multiple_of(ALIGNMENT));
            assert!(memory.padded()[..bytes].iter().all(|byte| *byte == 7));
            assert!(memory.padded()[bytes..].iter().all(|byte| *byte == 0));
            assert!(!memory.push(&[7; 16]) && memory.len() == bytes, "no room");
        }
    }
}

//! The ring between two threads: variable-length records, claimed, written in place, committed,
//! read in place, released. Single producer, single consumer, no lock, no copy, no allocation
//! after [`ring`].
//!
//! This is the only memory that threads of Wireloom share. A publisher writes an event here once;
//! the sender points the kernel at the very bytes.
//!
//! ```
//! use wireloom_ring::{ClaimError, Records, RingConfig, ring};
//!
//! let (mut producer, mut consumer) =
//!     ring(RingConfig { capacity_bytes: 64 * 1024, huge_pages: false })?;
//!
//! let publisher = std::thread::spawn(move || -> Result<(), ClaimError> {
//!     for text in ["a", "record", "has the length it needs"] {
//!         // Claim the most it may take, write in place, commit what it took.
//!         let mut claim = producer.claim(4 + 100)?;
//!         claim[4..4 + text.len()].copy_from_slice(text.as_bytes());
//!         claim.stage(4 + text.len().max(12)); // seen by nobody yet
//!     }
//!     producer.publish(); // now all three, by one store
//!     let mut claim = producer.claim(16)?;
//!     claim.fill(b'!');
//!     claim.abort(); // as dropping it would: nobody will ever see it
//!     Ok(()) // dropping the producer closes the ring
//! });
//!
//! let mut lengths = Vec::new();
//! loop {
//!     let closed = consumer.is_closed(); // asked before the read: then empty means drained
//!     let batch = consumer.read();
//!     if batch.is_empty() && closed {
//!         break;
//!     }
//!     let mut records = Records::new(batch);
//!     lengths.extend(records.by_ref().map(<[u8]>::len));
//!     let bytes = records.bytes_taken();
//!     consumer.release(bytes);
//! }
//! assert_eq!(lengths, [16, 16, 27]);
//! publisher.join().expect("no panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The picture
//!
//! A *position* counts bytes for ever; its offset in the memory is the position modulo the
//! capacity. Seen by positions, each cursor runs to the right and never back:
//!
//! ```text
//!       released        published          staged      claimed        free
//!   ···─────────────┬───────────────────┬───────────┬───────────┬───────────────┬···
//!                   head                tail        position          head + capacity
//!                    the consumer reads  the producer writes
//! ```
//!
//! The same in memory, after the producer has come round. Record 6 was followed by one that did
//! not fit before the end: the rest of that lap is dead space, and record 7 starts the next lap.
//!
//! ```text
//!   offset 0                                                               capacity
//!   ├──────────┬────────┬────────────────────────┬────────┬─────┬──────────┬──────┤
//!   │ record 7 │ rec. 8 │ free                   │ rec. 4 │  5  │ record 6 │ dead │
//!   └──────────┴────────┴────────────────────────┴────────┴─────┴──────────┴──────┘
//!                      tail                     head                   watermark
//!    second read: 7, 8                            first read: 4, 5, 6
//! ```
//!
//! A record is [drawn in `record.rs`](RECORD_ALIGNMENT): a `u32` length, bytes, zeros to the next
//! multiple of 16.
//!
//! # Roles
//!
//! | shared | stored by | loaded by | says |
//! |---|---|---|---|
//! | `tail` | producer, Release | consumer, Acquire | records before it are whole: read them |
//! | `watermark` | producer, before `tail` | consumer, after `tail` | data's end in the last lap |
//! | `head` | consumer, Release | producer, Acquire | bytes before it were read: write there |
//! | `by_producer` | producer, Release | consumer, Acquire | the tail will not move again |
//! | `by_consumer` | consumer, Release | producer, Acquire | the head will not move again |
//!
//! Each half keeps its own cursor and its last sight of the other's as plain fields, and looks at
//! the shared one only when those run out (producer) or once a batch (consumer). `tail` and
//! `watermark` share a cache line, `head` and the flags have one each: `layout.rs` asserts it.
//!
//! A [`Retained`] consumer has a second cursor between head and tail: it reads on and releases
//! later, because what it has sent may have to be sent again.
//!
//! # Invariants
//!
//! 1. `head <= tail <= position <= head + capacity`, in positions. A claim checks the last one; the
//!    producer's sight of `head` may be old, and is then too small, which is safe.
//! 2. A record lies in one lap, and so does a batch: neither is ever split.
//! 3. At most one end of a lap lies between `head` and the end of a claim: by invariant 1 they are
//!    at most one capacity apart. So one watermark is enough. The next one is written when the
//!    producer enters the lap after, which takes a released head beyond the end of this one, and
//!    nobody asks for this lap's watermark then.
//! 4. Any claim up to a quarter of the capacity fits an empty ring: the dead space before it is
//!    smaller than the record, and twice the record is at most half the ring.
//! 5. An aborted claim has moved nothing. A staged record is whole; nobody sees it before its
//!    publish.
//! 6. The bytes in `head..tail` are only read, those in `tail..head + capacity` only touched by the
//!    producer. That is what makes the two `unsafe` slices sound, and what loom checks.

#![deny(unsafe_code)]

mod config;
#[allow(unsafe_code)]
mod consumer;
mod layout;
#[allow(unsafe_code)]
mod memory;
#[allow(unsafe_code)]
mod producer;
mod record;
mod retained;
mod shadow;
mod sync;

#[cfg(all(test, not(loom)))]
mod tests;

pub use config::{Backing, RingConfig, RingError};
pub use consumer::Consumer;
pub use producer::{Claim, ClaimError, Producer};
pub use record::{RECORD_ALIGNMENT, RECORD_BYTES_MIN, Records, record_length, record_spacing};
pub use retained::Retained;

use layout::{Capacity, Cursors};
use memory::Memory;
use sync::Arc;

/// Makes a ring: maps its memory, touches every page of it, and gives out the two halves. The
/// memory goes back to the kernel when both are gone.
///
/// Takes a few system calls and, for each 4 KiB, about the time of a page fault: for start-up.
///
/// # Errors
/// [`RingError::Capacity`] when the capacity is not a power of two within bounds,
/// [`RingError::Memory`] when the kernel gives no memory. That there are no huge pages is no error:
/// see [`Backing`].
pub fn ring(config: RingConfig) -> Result<(Producer, Consumer), RingError> {
    config.check()?;
    let memory = Memory::map(config.capacity_bytes, config.huge_pages)?;
    let capacity = Capacity::new(config.capacity_bytes);
    let shared = Arc::new(Shared { cursors: Cursors::default(), memory, capacity });
    Ok((Producer::new(Arc::clone(&shared)), Consumer::new(shared)))
}

/// What both halves hold. The cursors are padded, so the fields after them, which are only read,
/// never share a line with what is written.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Shared {
    pub(crate) cursors: Cursors,
    pub(crate) memory: Memory,
    pub(crate) capacity: Capacity,
}

//! What the kernel would not take: packets kept aside, in order, until it does.
//!
//! They are copied (a rare path: a full socket buffer) so that their rings can be released and the
//! next cycle needs no memory of this one. While anything is here nothing newer is sent, so order
//! holds and the stash never needs more than one cycle's bytes.

use std::io::IoSlice;

use crate::io::{Destination, Message, Transmit};
use crate::limits::{CYCLE_PACKETS_MAX, STASH_BYTES};

#[derive(Debug)]
struct Kept {
    destination: Destination,
    offset: usize,
    bytes: usize,
    segment_bytes: usize,
    datagrams: u32,
}

#[derive(Debug)]
pub(super) struct Stash {
    bytes: Vec<u8>,
    kept: Vec<Kept>,
    sent: usize,
}

impl Stash {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(STASH_BYTES),
            kept: Vec::with_capacity(CYCLE_PACKETS_MAX),
            sent: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Copies messages the kernel did not take. They fit: a cycle's bytes are bounded by
    /// [`STASH_BYTES`] and its messages by [`CYCLE_PACKETS_MAX`].
    pub(super) fn keep(&mut self, messages: &[Message<'_>]) {
        for message in messages {
            debug_assert!(self.bytes.len() + message.bytes <= STASH_BYTES);
            let offset = self.bytes.len();
            for slice in message.slices {
                self.bytes.extend_from_slice(slice);
            }
            self.kept.push(Kept {
                destination: message.destination.clone(),
                offset,
                bytes: message.bytes,
                segment_bytes: message.segment_bytes,
                datagrams: message.datagrams,
            });
        }
    }

    /// Sends what it can; returns the messages sent.
    pub(super) fn resume(&mut self, transport: &mut impl Transmit) -> usize {
        let before = self.sent;
        while let Some(kept) = self.kept.get(self.sent) {
            let slices = [IoSlice::new(&self.bytes[kept.offset..kept.offset + kept.bytes])];
            let sent = transport.send(&[Message {
                destination: &kept.destination,
                slices: &slices,
                bytes: kept.bytes,
                segment_bytes: kept.segment_bytes,
                datagrams: kept.datagrams,
            }]);
            self.sent += sent.messages;
            if sent.would_block || sent.messages == 0 {
                break;
            }
        }
        let resumed = self.sent - before;
        if self.sent == self.kept.len() {
            self.kept.clear();
            self.bytes.clear();
            self.sent = 0;
        }
        resumed
    }
}

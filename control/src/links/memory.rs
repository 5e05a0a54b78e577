//! What the links of a node can come to hold, as a sum with a reason for each term. Rings of
//! reliable targets belong to who made them and are counted there.

use std::sync::atomic::{AtomicUsize, Ordering};

use wireloom_wire::{BLOCK_BYTES_MAX, LANES};

use super::accepted::{ASIDE_BYTES_MAX, SPEECH_BYTES_MAX};
use super::{INBOX_BYTES, SCRATCH_BYTES};
use crate::compression::COMPRESSION_BYTES;
use crate::incoming::reassembly::EVENTS_PER_NODE;
use crate::outgoing::{FIRST_WINDOW_BYTES, FORMED_BYTES_MAX};
use crate::settings::ReliableSettings;

/// The most links that were accepted at a time; the agent writes it, anybody reads it.
#[derive(Debug, Default)]
pub struct AcceptedMost(AtomicUsize);

impl AcceptedMost {
    /// Notes how many there are; there is one writer.
    pub(super) fn note(&self, accepted: usize) {
        if accepted > self.0.load(Ordering::Relaxed) {
            self.0.store(accepted, Ordering::Relaxed);
        }
    }

    /// What links with these settings, to `peers` peers and from as many as there have been at a
    /// time, can come to hold: a reason and bytes each. What an accepted link keeps is bounded by
    /// one read of its socket.
    #[must_use]
    pub fn memory(&self, settings: &ReliableSettings, peers: usize) -> [(&'static str, usize); 7] {
        let accepted = self.0.load(Ordering::Relaxed);
        let inbox = if settings.listens { INBOX_BYTES } else { 0 };
        let events = if settings.listens { EVENTS_PER_NODE } else { 0 };
        let blocks = if settings.compression {
            COMPRESSION_BYTES + peers * settings.pool * BLOCK_BYTES_MAX
        } else {
            0
        };
        let unasked = usize::try_from(FIRST_WINDOW_BYTES).unwrap_or(usize::MAX);
        [
            ("reliable links: what is read from one socket at a time", SCRATCH_BYTES),
            ("reliable links: packets of peers on their way to the handlers", inbox),
            (
                "reliable links: packets begun and words owed of each link accepted at a time",
                accepted * (SCRATCH_BYTES + ASIDE_BYTES_MAX + SPEECH_BYTES_MAX),
            ),
            (
                "reliable links: large events that come in pieces, until they were handled",
                events * settings.event_bytes_max(),
            ),
            (
                "reliable links: pieces sent unasked by each link accepted at a time",
                accepted * LANES * unasked,
            ),
            ("reliable links: compressed blocks, and what is left to write of them", blocks),
            (
                "reliable links: packets not acknowledged, their headers, for each peer so far",
                peers * LANES * FORMED_BYTES_MAX,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_and_each_link_has_its_term() {
        let (most, settings) = (AcceptedMost::default(), ReliableSettings::default());
        let sum = |peers| most.memory(&settings, peers).iter().map(|(_, of)| of).sum::<usize>();
        let large = EVENTS_PER_NODE * (64 << 20);
        assert_eq!(sum(0), SCRATCH_BYTES + INBOX_BYTES + large);
        assert_eq!(sum(3) - sum(0), 3 * LANES * FORMED_BYTES_MAX);
        let packing = ReliableSettings { compression: true, ..settings.clone() };
        let packing: usize = most.memory(&packing, 3).iter().map(|(_, of)| of).sum();
        assert_eq!(packing - sum(3), COMPRESSION_BYTES + 3 * 2 * BLOCK_BYTES_MAX);
        most.note(2);
        most.note(1);
        let words = SPEECH_BYTES_MAX + ASIDE_BYTES_MAX;
        let links = 2 * (SCRATCH_BYTES + words + LANES * (128 << 10));
        assert_eq!(sum(0), SCRATCH_BYTES + INBOX_BYTES + large + links);
        let deaf = ReliableSettings { listens: false, ..settings.clone() };
        let deaf: usize = most.memory(&deaf, 0).iter().map(|(_, of)| of).sum();
        assert_eq!(sum(0) - deaf, INBOX_BYTES + large);
    }
}

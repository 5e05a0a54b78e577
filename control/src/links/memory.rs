//! What the links of a node can come to hold, as a sum with a reason for each term. Rings of
//! reliable targets belong to who made them and are counted there.

use std::sync::atomic::{AtomicUsize, Ordering};

use wireloom_wire::{BLOCK_BYTES_MAX, LANES, NOTE_BYTES_MAX};

use super::accepted::{ASIDE_BYTES_MAX, SPEECH_BYTES_MAX};
use super::notes::WAITING_BYTES_MAX;
use super::reading::READS_PER_CYCLE;
use super::{INBOX_BYTES, SCRATCH_BYTES};
use crate::compression::COMPRESSION_BYTES;
use crate::incoming::reassembly::EVENTS_PER_NODE;
use crate::outgoing::{FIRST_WINDOW_BYTES, FORMED_BYTES_MAX};
use crate::settings::ReliableSettings;
use crate::tls::SESSION_BYTES_MAX;

/// Notes of one line: one begun, those that one cycle's reads bring whole, those that wait.
const NOTES_BYTES_MAX: usize = NOTE_BYTES_MAX + READS_PER_CYCLE * SCRATCH_BYTES + WAITING_BYTES_MAX;

/// The most links that were accepted at a time; the agent writes it, anybody reads it.
#[derive(Debug, Default)]
pub struct AcceptedMost {
    accepted: AtomicUsize,
    /// Lines, when one of them was last found to be authenticated.
    authenticated: AtomicUsize,
}

impl AcceptedMost {
    /// Notes how many there are; there is one writer.
    pub(super) fn note(&self, accepted: usize) {
        raise(&self.accepted, accepted);
    }

    /// Notes how many lines there are, where they are authenticated.
    pub(super) fn note_authenticated(&self, lines: usize) {
        raise(&self.authenticated, lines);
    }

    /// What links with these settings, to `peers` peers and from as many as there have been at a
    /// time, can come to hold: a reason and bytes each. What an accepted link keeps is bounded by
    /// one read of its socket.
    #[must_use]
    pub fn memory(&self, settings: &ReliableSettings, peers: usize) -> [(&'static str, usize); 9] {
        let accepted = self.accepted.load(Ordering::Relaxed);
        let authenticated = self.authenticated.load(Ordering::Relaxed);
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
            (
                "reliable links: notes begun, told and waiting of each authenticated one",
                authenticated * NOTES_BYTES_MAX,
            ),
            (
                "reliable links: what TLS holds of what each authenticated one says and hears",
                authenticated * SESSION_BYTES_MAX,
            ),
        ]
    }
}

fn raise(most: &AtomicUsize, to: usize) {
    if to > most.load(Ordering::Relaxed) {
        most.store(to, Ordering::Relaxed);
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
        most.note_authenticated(3);
        let line = NOTES_BYTES_MAX + SESSION_BYTES_MAX;
        assert_eq!(sum(0), SCRATCH_BYTES + INBOX_BYTES + large + links + 3 * line);
        let deaf = ReliableSettings { listens: false, ..settings.clone() };
        let deaf: usize = most.memory(&deaf, 0).iter().map(|(_, of)| of).sum();
        assert_eq!(sum(0) - deaf, INBOX_BYTES + large);
    }
}

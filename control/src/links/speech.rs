//! Small packets that wait to be written: hellos, statuses, questions.
//!
//! Bounded by its users: who speaks looks first whether what was said before has left.

/// Memory of this much is kept for the next words; what a block needed goes back.
const KEPT_BYTES: usize = 4 << 10;

/// What one line has to say and has not written yet.
#[derive(Debug, Default)]
pub(super) struct Speech {
    bytes: Vec<u8>,
    written: usize,
}

impl Speech {
    pub(super) const fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(super) fn say(&mut self, packet: &[u8]) {
        self.bytes.extend_from_slice(packet);
    }

    /// What is not written yet.
    pub(super) fn left(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// So many bytes more are written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written < self.bytes.len() {
            return;
        }
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.written = 0;
    }
}

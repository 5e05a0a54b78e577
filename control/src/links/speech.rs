//! Small packets that wait to be written: hellos, statuses, questions.
//!
//! Bounded by its users: who speaks looks first whether what was said before has left.

use std::io::{self, IoSlice};

use crate::sockets::{SocketId, Sockets};

/// Memory of this much is kept for the next words; what a block needed goes back.
const KEPT_BYTES: usize = 4 << 10;

/// What one link has to say and has not written yet.
#[derive(Debug, Default)]
pub(super) struct Speech {
    bytes: Vec<u8>,
    written: usize,
}

impl Speech {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(super) fn say(&mut self, packet: &[u8]) {
        self.bytes.extend_from_slice(packet);
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Writes what there is room for; false when some is left.
    pub(super) fn write<S: Sockets>(
        &mut self,
        sockets: &mut S,
        socket: SocketId,
    ) -> io::Result<bool> {
        while self.written < self.bytes.len() {
            match sockets.write(socket, &[IoSlice::new(&self.bytes[self.written..])]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.written = 0;
        Ok(true)
    }
}

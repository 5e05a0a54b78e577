//! Small packets that wait to be written: hellos, statuses, questions.
//!
//! Bounded by its users: who speaks looks first whether what was said before has left.

use std::io::{self, IoSlice};

use crate::sockets::{SocketId, Sockets};

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
        self.bytes.clear();
        self.written = 0;
        Ok(true)
    }
}

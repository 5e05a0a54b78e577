//! A socket of the links: what was read and not taken, what is said and not written.
//!
//! Owned by the links' agent. Up to two halves share a line: a [`Dialled`](super::dialled::Dialled)
//! writes this node's events to it, an [`Accepted`](super::accepted::Accepted) takes the peer's
//! from it. Who dialled does not matter to either.

use std::io::{self, IoSlice};

use super::accepted::SPEECH_BYTES_MAX;
use super::notes::Incoming;
use super::speech::Speech;
use super::{Cycle, LinkKey};
use crate::framing::Remainder;
use crate::sockets::{Ready, SocketId, Sockets};
use crate::tls::Distrust;

/// A socket is looked at unasked for so long after it brought something.
const HOT_NS: u64 = 1_000_000;

/// The line.
#[derive(Debug)]
pub(super) struct Line {
    socket: SocketId,
    is_ours: bool,
    writer: Option<LinkKey>,
    had_writer: bool,
    /// A hello came by it, so that events may come; and so may blocks of them.
    pub(super) was_greeted: bool,
    pub(super) takes_blocks: bool,
    /// A hello went by it that is not answered yet.
    pub(super) owes_answer: bool,
    /// A hello stands at the front of the remainder.
    pub(super) greets: bool,
    /// What stands at the front of the remainder finds no room.
    pub(super) blocked: bool,
    pub(super) remainder: Remainder,
    /// Events had a turn since the last cut of a note was said.
    pub(super) events_had_turn: bool,
    /// The peer's notes.
    pub(super) notes: Incoming,
    speech: Speech,
    /// So much at its front are no words: the rest of a block, or a cut of a note.
    apart_bytes: usize,
    half_written: bool,
    readable: bool,
    writable: bool,
    /// The end of the stream is behind what can be read.
    ends: bool,
    has_ended: bool,
    /// Why the other side is not trusted any more.
    distrust: Option<Distrust>,
    heard_ns: u64,
    read_ns: u64,
}

impl Line {
    /// The line of a socket that a peer dialled.
    pub(super) fn accepted(socket: SocketId) -> Self {
        Self {
            socket,
            is_ours: false,
            writer: None,
            had_writer: false,
            was_greeted: false,
            takes_blocks: false,
            owes_answer: false,
            greets: false,
            blocked: false,
            remainder: Remainder::default(),
            events_had_turn: true,
            notes: Incoming::new(),
            speech: Speech::default(),
            apart_bytes: 0,
            half_written: false,
            readable: true,
            writable: true,
            ends: false,
            has_ended: false,
            distrust: None,
            heard_ns: 0,
            read_ns: 0,
        }
    }

    /// The line of a socket that this node dialled for one of its links.
    pub(super) fn dialled(socket: SocketId, writer: LinkKey) -> Self {
        let mut line = Self::accepted(socket);
        (line.is_ours, line.readable, line.writable) = (true, false, false);
        line.set_writer(Some(writer));
        line
    }

    pub(super) const fn socket(&self) -> SocketId {
        self.socket
    }

    /// Whether this node dialled.
    pub(super) const fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// The link that writes this node's events to it.
    pub(super) const fn writer(&self) -> Option<LinkKey> {
        self.writer
    }

    /// Whether a link of this node has ever written to it: words for it may still come.
    pub(super) const fn had_writer(&self) -> bool {
        self.had_writer
    }

    /// Whether the link of this node that wrote to it has left it.
    pub(super) const fn is_left(&self) -> bool {
        self.had_writer && self.writer.is_none()
    }

    pub(super) fn set_writer(&mut self, writer: Option<LinkKey>) {
        self.writer = writer;
        self.had_writer |= writer.is_some();
    }

    /// Whether a link of this node may say hello by it: the peer dialled, and no link writes to it
    /// or has left it so lately that an answer to its hello is still to come.
    pub(super) const fn is_free(&self) -> bool {
        !self.is_ours && self.writer.is_none() && !self.owes_answer && !self.has_ended
    }

    /// Whether the hello at its front is answered now. Who says hello again and again, and does not
    /// read the answers, waits.
    pub(super) const fn answers(&self) -> bool {
        self.greets && self.has_room_for_words()
    }

    /// What waits for room is looked at again: words may stand behind it.
    pub(super) const fn look_behind(&mut self) {
        self.readable |= std::mem::replace(&mut self.blocked, false);
    }

    /// Whether the line is of use when its peer's streams have left it.
    pub(super) const fn goes_on_without_peer(&self) -> bool {
        self.is_ours && self.writer.is_some()
    }

    pub(super) const fn on_ready(&mut self, ready: Ready) {
        self.readable |= ready.readable;
        self.writable |= ready.writable;
        self.ends |= ready.ends;
    }

    /// Whether something came so lately that it is worth a look whether there is more.
    pub(super) const fn is_hot(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.read_ns) < HOT_NS
    }

    /// Looks at the socket in this cycle without having been told that there is anything.
    pub(super) const fn look(&mut self) {
        self.readable = true;
    }

    pub(super) const fn is_readable(&self) -> bool {
        self.readable
    }

    pub(super) const fn is_writable(&self) -> bool {
        self.writable
    }

    pub(super) const fn end(&mut self) {
        self.has_ended = true;
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Ends the line, and says why.
    pub(super) const fn end_untrusted(&mut self, distrust: Distrust) {
        (self.has_ended, self.distrust) = (true, Some(distrust));
    }

    pub(super) const fn distrust(&self) -> Option<Distrust> {
        self.distrust
    }

    /// When the peer last said something that could be read.
    pub(super) const fn heard_ns(&self) -> u64 {
        self.heard_ns
    }

    pub(super) const fn hear(&mut self, now_ns: u64) {
        self.heard_ns = now_ns;
    }

    /// Puts what was left before and what can be read now into `scratch`; gives how much.
    pub(super) fn fill<S: Sockets>(
        &mut self,
        cycle: &mut Cycle<'_, S>,
        scratch: &mut [u8],
        bytes_max: usize,
    ) -> usize {
        let kept = self.remainder.restore(scratch);
        let room = scratch.len().min(kept.saturating_add(bytes_max));
        if !self.readable || kept == room {
            return kept;
        }
        match cycle.sockets.read(self.socket, &mut scratch[kept..room]) {
            Ok(0) => {
                self.readable = false;
                self.has_ended = true;
                kept
            }
            Ok(bytes) => {
                // What fills the room may go on; an end behind it must still be read.
                self.readable = self.ends || bytes == room - kept;
                self.read_ns = cycle.now_ns;
                kept + bytes
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                kept
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => kept,
            Err(error) => {
                (self.has_ended, self.distrust) = (true, Distrust::of(&error));
                kept
            }
        }
    }

    /// What is said and not written, where it may be written now: not into a packet.
    pub(super) fn said(&self) -> &[u8] {
        if self.half_written { &[] } else { self.speech.left() }
    }

    /// Says a small packet behind what was said before.
    pub(super) fn say(&mut self, packet: &[u8]) {
        self.speech.say(packet);
    }

    /// Says, when nothing else is said, what takes no room of words: the rest of a block that was
    /// begun, or a cut of a note. Words come behind it.
    pub(super) fn say_apart(&mut self, bytes: &[u8]) {
        self.apart_bytes = bytes.len();
        self.speech.say(bytes);
    }

    /// Whether the peer has read enough of what was said to it to be told more.
    pub(super) const fn has_room_for_words(&self) -> bool {
        self.speech.len() - self.apart_bytes <= SPEECH_BYTES_MAX
    }

    /// How much of it there is.
    pub(super) const fn said_bytes(&self) -> usize {
        self.speech.len()
    }

    /// Whether a packet is half written: nothing else may be written before its rest.
    pub(super) const fn set_half_written(&mut self, half_written: bool) {
        self.half_written = half_written;
    }

    /// Writes what was said; false while some of it is left.
    pub(super) fn speak<S: Sockets>(&mut self, sockets: &mut S) -> io::Result<bool> {
        while self.speech.len() > 0 {
            if !self.writable || self.half_written {
                return Ok(false);
            }
            self.write(sockets, 0, std::iter::empty())?;
        }
        Ok(true)
    }

    /// Writes what was said and behind it these parts, about so many; gives how many bytes of the
    /// parts the socket took.
    pub(super) fn write<'p, S: Sockets>(
        &mut self,
        sockets: &mut S,
        count: usize,
        parts: impl Iterator<Item = &'p [u8]>,
    ) -> io::Result<usize> {
        let said = self.said();
        let (spoken, mut bytes) = (said.len(), said.len());
        let mut slices = Vec::with_capacity(1 + count);
        if spoken > 0 {
            slices.push(IoSlice::new(said));
        }
        for part in parts.filter(|part| !part.is_empty()) {
            slices.push(IoSlice::new(part));
            bytes += part.len();
        }
        let written = match sockets.write(self.socket, &slices) {
            Ok(0) if bytes > 0 => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            Err(error) => return Err(error),
        };
        self.writable = written == bytes;
        self.speech.wrote(written.min(spoken));
        self.apart_bytes -= written.min(spoken).min(self.apart_bytes);
        Ok(written.saturating_sub(spoken))
    }
}

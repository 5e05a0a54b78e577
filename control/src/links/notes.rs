//! Notes between nodes that have proved who they are: those that wait for each line, and what has
//! come of the peer's.
//!
//! A note goes in cuts: none before the last has left for the socket and events have had a turn
//! there, so that neither words nor events wait behind more than one. A note is lost with its line;
//! whoever is told of the line that takes its place says again what must be known.

use std::collections::{BTreeMap, VecDeque};

use wireloom_dataplane::counters::{Counter, Counters};
use wireloom_wire::{NOTE_BYTES_MAX, NOTE_PACKET_BYTES_MAX, NoteCut};

use super::Cycle;
use super::line::Line;
use crate::quota::Quota;
use crate::sockets::{SocketId, Sockets};

/// Notes that wait for a line, and their bytes.
const WAITING_MAX: usize = 16;
pub(super) const WAITING_BYTES_MAX: usize = 2 * NOTE_BYTES_MAX;

/// Notes of one line that are taken in a second.
const TAKEN_PER_SECOND: u64 = 64;

/// Notes that wait for one line; the first may have been begun.
#[derive(Debug, Default)]
struct Waiting {
    notes: VecDeque<Box<[u8]>>,
    /// The next cut of the first.
    index: usize,
}

impl Waiting {
    fn has_room(&self, bytes: usize) -> bool {
        let waiting: usize = self.notes.iter().map(|note| note.len()).sum();
        self.notes.len() < WAITING_MAX && waiting + bytes <= WAITING_BYTES_MAX
    }

    /// Says the next cut, if nothing else is to be said before, and events have had their turn.
    fn say<S: Sockets>(&mut self, line: &mut Line, cycle: &mut Cycle<'_, S>) -> bool {
        let is_its_turn =
            line.said_bytes() == 0 && (line.events_had_turn || line.writer().is_none());
        let Some(note) = self.notes.front().filter(|_| is_its_turn) else { return false };
        let Some(packet) = cycle.scratch.first_chunk_mut::<NOTE_PACKET_BYTES_MAX>() else {
            return false;
        };
        if let Some(cut) = NoteCut::nth(note, self.index) {
            let length = cut.encode(cycle.identity.node, packet);
            line.say_apart(&packet[..length]);
            line.events_had_turn = false;
            self.index += 1;
            if !cut.is_last() {
                return true;
            }
        }
        cycle.counters.add(Counter::NotesSent, 1);
        self.notes.pop_front();
        self.index = 0;
        true
    }
}

/// Notes that wait, by line.
#[derive(Debug, Default)]
pub(super) struct Outbox(BTreeMap<SocketId, Waiting>);

impl Outbox {
    /// Lets a note wait for a line, if there is one and it has room.
    pub(super) fn push(&mut self, line: Option<SocketId>, note: Box<[u8]>, counters: &Counters) {
        let is_note = (1..=NOTE_BYTES_MAX).contains(&note.len());
        if let Some(socket) = line.filter(|_| is_note) {
            let waiting = self.0.entry(socket).or_default();
            if waiting.has_room(note.len()) {
                waiting.notes.push_back(note);
                return;
            }
        }
        counters.add(Counter::NotesUnsent, 1);
    }

    /// Says a cut by each line that has one and takes it; gives how many.
    pub(super) fn speak<S: Sockets>(
        &mut self,
        lines: &mut BTreeMap<SocketId, Line>,
        cycle: &mut Cycle<'_, S>,
    ) -> usize {
        let mut said = 0;
        self.0.retain(|socket, waiting| {
            let Some(line) = lines.get_mut(socket).filter(|line| !line.has_ended()) else {
                return true; // it is told of in the next cycle
            };
            let spoken = line.speak(cycle.sockets).and_then(|_| {
                said += usize::from(waiting.say(line, cycle));
                line.speak(cycle.sockets)
            });
            if spoken.is_err() {
                line.end();
                said += 1;
            }
            !waiting.notes.is_empty()
        });
        said
    }

    /// A line has ended, and what waited for it is lost.
    pub(super) fn end(&mut self, socket: SocketId, counters: &Counters) {
        let lost = self.0.remove(&socket).map_or(0, |waiting| waiting.notes.len());
        counters.add(Counter::NotesUnsent, lost as u64);
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.values().map(|waiting| waiting.notes.len()).sum()
    }
}

/// What is wrong with a cut that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not the next one of the note that was begun.
    Order,
    /// It begins one note too many in a second.
    Flood,
}

/// Notes that come by one line.
#[derive(Debug)]
pub(super) struct Incoming {
    /// What has come of a note, in how many cuts, and how long it is to be.
    begun: Vec<u8>,
    cuts: usize,
    total: usize,
    whole: Vec<Box<[u8]>>,
    quota: Quota,
}

impl Incoming {
    pub(super) const fn new() -> Self {
        Self {
            begun: Vec::new(),
            cuts: 0,
            total: 0,
            whole: Vec::new(),
            quota: Quota::new(TAKEN_PER_SECOND, TAKEN_PER_SECOND),
        }
    }

    /// Takes a cut; gives whether its note is whole. No memory is taken before its bytes are there.
    pub(super) fn take(&mut self, cut: &NoteCut<'_>, now_ns: u64) -> Result<bool, Wrong> {
        if cut.index != self.cuts || (cut.index > 0 && cut.total != self.total) {
            return Err(Wrong::Order);
        }
        if cut.index == 0 && !self.quota.take(now_ns) {
            return Err(Wrong::Flood);
        }
        self.begun.reserve_exact(cut.slice.len());
        self.begun.extend_from_slice(cut.slice);
        (self.cuts, self.total) = (self.cuts + 1, cut.total);
        let is_whole = cut.is_last();
        if is_whole {
            self.cuts = 0;
            self.whole.push(std::mem::take(&mut self.begun).into_boxed_slice());
        }
        Ok(is_whole)
    }

    /// The notes that are whole.
    pub(super) fn whole(&mut self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut self.whole)
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.begun.capacity()
    }
}

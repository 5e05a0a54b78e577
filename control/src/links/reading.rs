//! What comes by a line, given to the half it is for: packets with events to the one that takes
//! them, the peer's words on this node's events to the link that writes them.

use wireloom_dataplane::counters::Counter;
use wireloom_wire::{Control, NOTE_PACKET_BYTES_MAX, NoteCut, Packet, PacketFlags, Status};

use super::Cycle;
use super::accepted::{Accepted, Into};
use super::dialled::Dialled;
use super::line::Line;
use super::notes::Wrong;
use crate::framing::{Unit, next_unit};
use crate::outgoing::PACKET_BYTES_MAX;
use crate::sockets::Sockets;

/// Reads of one line in a duty cycle, so that others come round.
pub(super) const READS_PER_CYCLE: usize = 4;

/// Bytes read at a time from a line that brings words only.
const WORD_BYTES: usize = 16 << 10;

/// The halves of a line.
pub(super) struct Halves<'a> {
    /// The one that takes the peer's events.
    pub(super) accepted: Option<&'a mut Accepted>,
    /// The one that writes this node's events.
    pub(super) writer: Option<&'a mut Dialled>,
}

/// What came by a line.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Heard {
    /// Packets and pieces that were handed over.
    pub(super) handed: usize,
    /// What else was taken: the peer's words, packets had before or set aside, the end of a line.
    pub(super) others: usize,
    /// Of those, notes that are whole.
    pub(super) notes: usize,
}

impl std::ops::AddAssign for Heard {
    fn add_assign(&mut self, other: Self) {
        self.handed += other.handed;
        self.others += other.others;
        self.notes += other.notes;
    }
}

/// What is to be done with the front of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is taken: what is behind it.
    On,
    /// It stays.
    Stop,
}

/// Reads a line as long as there is something and room for it.
pub(super) fn read_line<S: Sockets>(
    line: &mut Line,
    halves: &mut Halves<'_>,
    cycle: &mut Cycle<'_, S>,
    mut into: Option<Into<'_>>,
) -> Heard {
    let mut heard = Heard::default();
    if let Some(half) = halves.accepted.as_mut().filter(|half| half.has_aside())
        && let Some(into) = &mut into
    {
        heard.handed += half.take_aside(cycle, into);
        if !half.is_open() {
            line.end();
        }
    }
    let is_full = |into: &Option<Into<'_>>| into.as_ref().is_some_and(|into| into.0.is_full());
    for _ in 0..READS_PER_CYCLE {
        let is_ready = line.is_readable() || line.blocked || line.remainder.len() > 0;
        if line.has_ended() || line.greets || !is_ready {
            break;
        }
        // Words may stand behind packets for which there is no room, not behind those for which
        // there is none aside either.
        if is_full(&into) && (halves.writer.is_none() || line.blocked) {
            line.blocked |= line.remainder.len() > 0;
            break;
        }
        let scratch = std::mem::take(&mut cycle.scratch);
        let filled = if line.blocked {
            line.remainder.restore(scratch)
        } else {
            let most = if halves.accepted.is_some() { usize::MAX } else { WORD_BYTES };
            line.fill(cycle, scratch, most)
        };
        if line.has_ended() {
            heard.others += 1;
            cycle.counters.add(Counter::LinksCut, u64::from(halves.accepted.is_some()));
        }
        line.blocked = false;
        let taken = take(&scratch[..filled], (line, halves), (cycle, &mut into), &mut heard);
        line.remainder.keep(&scratch[taken..filled]);
        cycle.scratch = scratch;
        if !line.is_readable() {
            break;
        }
    }
    heard
}

/// Takes the packets and blocks at the front of `bytes`; gives how many bytes that is.
fn take<S: Sockets>(
    bytes: &[u8],
    (line, halves): (&mut Line, &mut Halves<'_>),
    (cycle, into): (&mut Cycle<'_, S>, &mut Option<Into<'_>>),
    heard: &mut Heard,
) -> usize {
    let mut at = 0;
    loop {
        let most = if line.was_greeted { PACKET_BYTES_MAX } else { NOTE_PACKET_BYTES_MAX };
        let unit = match next_unit(&bytes[at..], most, line.takes_blocks) {
            Ok(Some(unit)) => unit,
            Ok(None) => return at,
            Err(_) => {
                break_off(line, halves, cycle);
                return at;
            }
        };
        let length = unit.length();
        line.hear(cycle.now_ns);
        let next = match &unit {
            Unit::Packet(packet) if !has_events(packet) => {
                take_word(packet, (line, halves), cycle, heard)
            }
            _ => {
                let whole = &bytes[at..at + length];
                take_events((&unit, whole), (line, halves), (cycle, into), heard)
            }
        };
        if next == Next::Stop {
            return at;
        }
        at += length;
    }
}

/// Whether it is a packet of a stream.
fn has_events(packet: &Packet<'_>) -> bool {
    packet.header.flags.without(PacketFlags::CHECKSUMMED) == PacketFlags::SEQUENCED
}

/// Events go to the half that takes them; those for which there is no room stay, or are set aside
/// where words may stand behind them.
fn take_events<S: Sockets>(
    (unit, whole): (&Unit<'_>, &[u8]),
    (line, halves): (&mut Line, &mut Halves<'_>),
    (cycle, into): (&mut Cycle<'_, S>, &mut Option<Into<'_>>),
    heard: &mut Heard,
) -> Next {
    let (Some(half), Some(into)) = (halves.accepted.as_mut().filter(|half| half.is_open()), into)
    else {
        if line.was_greeted {
            // Its streams go by another line by now.
            cycle.counters.add(Counter::PacketsDuplicate, 1);
            heard.others += 1;
            return Next::On;
        }
        break_off(line, halves, cycle);
        return Next::Stop;
    };
    if !half.has_aside() {
        let (taken, handed) = half.take(unit, cycle, into);
        heard.handed += handed;
        if taken {
            heard.others += usize::from(handed == 0);
            return Next::On;
        }
        if !half.is_open() {
            line.end();
            return Next::Stop;
        }
    }
    let Some(writer) = &mut halves.writer else {
        line.blocked = true;
        return Next::Stop;
    };
    if half.set_aside(whole) {
        heard.others += 1;
        return Next::On;
    }
    writer.want_own();
    line.blocked = true;
    Next::Stop
}

/// The peer's word on this node's events, or its hello.
fn take_word<S: Sockets>(
    packet: &Packet<'_>,
    (line, halves): (&mut Line, &mut Halves<'_>),
    cycle: &mut Cycle<'_, S>,
    heard: &mut Heard,
) -> Next {
    let is_status = Status::of(packet).is_some();
    let control = Control::of(packet);
    if matches!(control, Some(Control::Hello(_))) {
        line.greets = true;
        return Next::Stop;
    }
    if let Some(cut) = NoteCut::of(packet).filter(|_| !is_status && control.is_none()) {
        return take_note(&cut, (line, halves), cycle, heard);
    }
    if !line.had_writer() || !(is_status || control.is_some()) {
        break_off(line, halves, cycle);
        return Next::Stop;
    }
    heard.others += 1;
    line.owes_answer &= is_status;
    match &mut halves.writer {
        Some(writer) => writer.on_word(packet, cycle),
        // Of a link that has left.
        None => cycle.counters.add(Counter::StatusesUnknown, 1),
    }
    Next::On
}

/// A cut of a note is taken from peers that have proved who they are, behind their hello or their
/// answer to ours.
fn take_note<S: Sockets>(
    cut: &NoteCut<'_>,
    (line, halves): (&mut Line, &mut Halves<'_>),
    cycle: &Cycle<'_, S>,
    heard: &mut Heard,
) -> Next {
    let named = if cycle.sockets.peer_identity(line.socket()).is_none() {
        Some(Counter::NotesInClear)
    } else if !line.was_greeted && line.owes_answer {
        None
    } else {
        match line.notes.take(cut, cycle.now_ns) {
            Ok(is_whole) => {
                heard.others += 1;
                heard.notes += usize::from(is_whole);
                cycle.counters.add(Counter::NotesReceived, u64::from(is_whole));
                return Next::On;
            }
            Err(Wrong::Flood) => Some(Counter::NotesFlooded),
            Err(Wrong::Order) => None,
        }
    };
    if let Some(named) = named {
        cycle.counters.add(named, 1);
    }
    break_off(line, halves, cycle);
    Next::Stop
}

fn break_off<S>(line: &mut Line, halves: &mut Halves<'_>, cycle: &Cycle<'_, S>) {
    if halves.accepted.is_some() {
        cycle.counters.add(Counter::LinksBroken, 1);
    }
    if let Some(writer) = &mut halves.writer {
        writer.on_broken();
    }
    line.end();
}

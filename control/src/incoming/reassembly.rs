//! Large events put together from their pieces, and the memory that may go into that.
//!
//! Owned by the inbox. A sender announces an event with its first piece and may send
//! [`FIRST_WINDOW_BYTES`] unasked; more is granted once the *whole* event has a place in the budget
//! of its peer and of the node, so that whatever was granted can be finished. Who finds no room
//! waits in order of arrival. A whole event goes to the receiver as one box; the box comes back
//! when the handlers have taken it: then its place is given to others and its stream moves on.
//!
//! ```text
//!  taken                                     received            reserved          allowed
//!  ├── in the handlers' hands ──┬─ put together ─┼─ to be sent ───────┼─ FIRST_WINDOW ──┤
//!                                                ├──── WINDOW at most ─── allowed ends here then
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use wireloom_dataplane::command::{Commands, ReceiverCommand};
use wireloom_dataplane::counters::{Counter, Counters};
use wireloom_dataplane::dispatch::Origin;
use wireloom_dataplane::large::{AlignedBytes, LargeEvent};
use wireloom_dataplane::launch::ReceiverPort;
use wireloom_dataplane::limits::COMMANDS_MAX;
use wireloom_dataplane::wake::Wake;
use wireloom_wire::{NodeId, Packet, Piece};

use super::{Incoming, Streams};
use crate::outgoing::FIRST_WINDOW_BYTES;
use crate::sockets::SocketId;

/// The shortest event that comes in pieces: a quarter of the smallest ring. It bounds how many can
/// be in what was sent unasked.
const EVENT_BYTES_MIN: usize = 1_024;

/// Bytes on their way in a stream beyond what has come: enough for 8 ms at 1 Gb/s, and as much as a
/// small event can find before it in the sockets of its link.
const WINDOW_BYTES: u64 = 1 << 20;

/// How many largest events a node has memory for at a time; one peer has one's.
pub(crate) const EVENTS_PER_NODE: usize = 4;

/// An event that has not been taken.
#[derive(Debug)]
struct Expected {
    total: usize,
    /// The sequence after its last piece; of no meaning while it is being put together.
    after: u64,
    reserved: bool,
}

/// The event being put together.
#[derive(Debug)]
struct Open {
    memory: AlignedBytes,
    /// Of its first piece.
    sequence: u64,
    /// Events before it.
    event: u64,
    touched_ns: u64,
}

/// A stream of pieces: what a stream has beside its numbers.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    /// Those not taken, oldest first; the last one is the open one, if there is one.
    events: VecDeque<Expected>,
    open: Option<Open>,
    received: u64,
    taken: u64,
    /// Every event before it has its place in the budget, or has been taken.
    reserved: u64,
    /// What was received and allowed when the sender was last told.
    told: (u64, u64),
    /// It is among those who wait for room.
    waits: bool,
    /// It goes on by a new link: its sender has all its time again.
    pub(super) resumed: bool,
}

impl Arriving {
    fn allowed(&self) -> u64 {
        let granted = self.reserved + FIRST_WINDOW_BYTES;
        let granted = granted.min(self.received + WINDOW_BYTES);
        granted.max(self.taken + FIRST_WINDOW_BYTES)
    }

    pub(super) fn has_news(&self) -> bool {
        self.told != (self.received, self.allowed())
    }

    /// How much may be sent beyond what was taken: as it is told.
    pub(super) fn window(&mut self) -> u64 {
        self.told = (self.received, self.allowed());
        self.allowed() - self.taken
    }

    /// Whether the open event is to be abandoned when nothing comes: its sender was granted all of
    /// it, or has gone.
    fn is_owed(&self, socket: Option<SocketId>) -> bool {
        socket.is_none() || self.events.back().is_some_and(|expected| expected.reserved)
    }

    /// The first event without a place in the budget.
    fn unreserved(&mut self) -> Option<&mut Expected> {
        self.events.iter_mut().find(|expected| !expected.reserved)
    }
}

/// A piece that cannot be: its link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfitting;

/// Why an event has no place yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    /// Its own peer holds too much.
    ForPeer,
    /// All peers together do.
    ForAll,
}

/// Where whole events go.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// The receiver that dispatches them.
    pub(crate) receiver: ReceiverPort,
    /// Woken when one has been taken.
    pub(crate) wake: Option<Arc<Wake>>,
    pub(crate) counters: Arc<Counters>,
}

/// When something happens: now, and how long a peer may be silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now_ns: u64,
    pub(crate) unix_ns: u64,
    pub(crate) ack_ns: u64,
}

/// The memory for events in pieces, and everything in it.
#[derive(Debug)]
pub(crate) struct Reassembly {
    outlet: Outlet,
    event_bytes_max: usize,
    reserved: usize,
    reserved_by: BTreeMap<NodeId, usize>,
    /// Streams with an event that found no room, in order of arrival.
    waiting: VecDeque<usize>,
    /// Streams with an event being put together.
    open: BTreeSet<usize>,
    /// Whole events the receiver's queue had no room for.
    ready: VecDeque<Box<LargeEvent>>,
    /// Events in the receiver's hands.
    out: usize,
    back: Commands<Box<LargeEvent>>,
    /// Something was received or taken since those who wait were told to.
    moved: bool,
    tell_at_ns: u64,
}

impl Reassembly {
    /// Memory for events of at most `event_bytes_max`.
    pub(crate) fn new(outlet: Outlet, event_bytes_max: usize) -> Self {
        Self {
            outlet,
            event_bytes_max,
            reserved: 0,
            reserved_by: BTreeMap::new(),
            waiting: VecDeque::new(),
            open: BTreeSet::new(),
            ready: VecDeque::new(),
            out: 0,
            back: Commands::default(),
            moved: false,
            tell_at_ns: 0,
        }
    }

    /// Takes the next packet of a stream of pieces.
    pub(super) fn take(
        &mut self,
        packet: &Packet<'_>,
        (place, stream): (usize, &mut Incoming),
        moment: Moment,
    ) -> Result<(), Unfitting> {
        let taken = self.admit(packet, place, stream, moment.now_ns);
        let counter =
            if taken.is_some() { Counter::PiecesReceived } else { Counter::PiecesRefused };
        self.outlet.counters.add(counter, 1);
        let piece = taken.ok_or(Unfitting)?;
        let arriving = stream.pieces.as_deref_mut().ok_or(Unfitting)?;
        let open = arriving.open.as_mut().ok_or(Unfitting)?;
        if !open.memory.push(piece.slice) {
            // It began without a place in the budget, in a buffer for what comes unasked.
            let mut whole = AlignedBytes::new(piece.total as usize);
            let kept = &open.memory.padded()[..open.memory.len()];
            if !whole.push(kept) || !whole.push(piece.slice) {
                return Err(Unfitting);
            }
            open.memory = whole;
        }
        open.touched_ns = moment.now_ns;
        arriving.received += piece.slice.len() as u64;
        self.moved = true;
        stream.next = packet.header.sequence + 1;
        let whole = open.memory.len() == piece.total as usize;
        stream.next_event = Some(packet.header.first_event + u64::from(whole));
        if whole {
            self.finish(place, stream, moment);
        }
        Ok(())
    }

    /// The piece, if it goes on where the stream stands; an event that begins has its place then,
    /// or waits for one.
    fn admit<'a>(
        &mut self,
        packet: &Packet<'a>,
        place: usize,
        stream: &mut Incoming,
        now_ns: u64,
    ) -> Option<Piece<'a>> {
        let piece = Piece::of(packet)?;
        let total = piece.total as usize;
        let arriving = stream.pieces.as_deref_mut()?;
        if arriving.received + piece.slice.len() as u64 > arriving.allowed() {
            return None;
        }
        if let Some(open) = &arriving.open {
            let fits = arriving.events.back().is_some_and(|expected| expected.total == total)
                && open.memory.len() == piece.offset as usize;
            return fits.then_some(piece);
        }
        if piece.offset != 0 || !(EVENT_BYTES_MIN..=self.event_bytes_max).contains(&total) {
            return None;
        }
        arriving.events.push_back(Expected { total, after: 0, reserved: false });
        // Its place is asked for in turn: whoever waits already comes first.
        let reserved = self.waiting.is_empty() && self.reserve(stream.key.0, arriving).is_ok();
        if !reserved {
            self.outlet.counters.add(Counter::ReassembliesWaited, 1);
            if !std::mem::replace(&mut arriving.waits, true) {
                self.waiting.push_back(place);
            }
        }
        let unasked = usize::try_from(FIRST_WINDOW_BYTES).unwrap_or(usize::MAX);
        let memory = AlignedBytes::new(if reserved { total } else { total.min(unasked) });
        let (sequence, event) = (packet.header.sequence, packet.header.first_event);
        arriving.open = Some(Open { memory, sequence, event, touched_ns: now_ns });
        self.open.insert(place);
        Some(piece)
    }

    /// A place for the first event of a stream that has none.
    fn reserve(&mut self, node: NodeId, arriving: &mut Arriving) -> Result<(), Full> {
        let Some(expected) = arriving.unreserved() else { return Ok(()) };
        let by_peer = self.reserved_by.get(&node).copied().unwrap_or(0) + expected.total;
        let by_all = self.reserved + expected.total;
        if by_peer > self.event_bytes_max {
            return Err(Full::ForPeer);
        }
        if by_all > EVENTS_PER_NODE * self.event_bytes_max {
            return Err(Full::ForAll);
        }
        expected.reserved = true;
        arriving.reserved += expected.total as u64;
        self.reserved_by.insert(node, by_peer);
        self.count_reserved(by_all);
        Ok(())
    }

    fn release(&mut self, node: NodeId, bytes: usize) {
        if let Some(by_peer) = self.reserved_by.get_mut(&node) {
            *by_peer -= bytes;
            if *by_peer == 0 {
                self.reserved_by.remove(&node);
            }
        }
        self.count_reserved(self.reserved - bytes);
    }

    fn count_reserved(&mut self, bytes: usize) {
        self.reserved = bytes;
        let (counters, bytes) = (&self.outlet.counters, bytes as u64);
        counters.set(Counter::ReassemblyBytes, bytes);
        let most = counters.read(Counter::ReassemblyBytesMost).max(bytes);
        counters.set(Counter::ReassemblyBytesMost, most);
    }

    /// An event is whole: it goes to the handlers.
    fn finish(&mut self, place: usize, stream: &mut Incoming, moment: Moment) {
        let after = stream.next;
        let Some(arriving) = stream.pieces.as_deref_mut() else { return };
        let Some(open) = arriving.open.take() else { return };
        if let Some(expected) = arriving.events.back_mut() {
            expected.after = after;
        }
        self.open.remove(&place);
        let (source, session, lane) = stream.key;
        let origin =
            Origin { source, session, lane, received_unix_ns: moment.unix_ns, verified: false };
        let back = (self.back.clone(), self.outlet.wake.clone());
        self.ready.push_back(LargeEvent::new(open.memory, origin, place, back));
        self.hand_over();
    }

    /// Gives the receiver what is ready, as much as its queue and the one back take.
    fn hand_over(&mut self) {
        let mut handed = false;
        while self.out < COMMANDS_MAX
            && let Some(event) = self.ready.pop_front()
        {
            if let Err(refused) = self.outlet.receiver.commands.push(ReceiverCommand::Large(event))
            {
                if let ReceiverCommand::Large(event) = refused {
                    self.ready.push_front(event);
                }
                break;
            }
            self.out += 1;
            handed = true;
        }
        if handed && let Some(wake) = &self.outlet.receiver.wake {
            wake.notify();
        }
    }

    /// Takes in what the handlers have taken, and gives what has room now its place; returns how
    /// many events were taken.
    pub(super) fn settle(&mut self, streams: &mut Streams, moment: Moment) -> usize {
        let mut settled = 0;
        while let Some(event) = self.back.pop() {
            settled += 1;
            self.out -= 1;
            self.moved = true;
            let Some(stream) = streams.at(event.ticket()) else { continue };
            let Some(arriving) = stream.pieces.as_deref_mut() else { continue };
            let Some(expected) = arriving.events.pop_front() else { continue };
            arriving.taken += expected.total as u64;
            arriving.reserved = arriving.reserved.max(arriving.taken);
            if expected.reserved {
                self.release(stream.key.0, expected.total);
            }
            stream.take(expected.after, expected.total, moment.now_ns);
        }
        if !self.ready.is_empty() {
            self.hand_over();
        }
        if !self.waiting.is_empty() {
            self.serve_waiting(streams, moment);
        }
        settled
    }

    /// Gives places to those who wait, in order: nobody overtakes one that is too large for what is
    /// free, or it might wait for ever; but one whose own peer holds too much holds up no others.
    /// Those who go on waiting hear of it while anything moves.
    fn serve_waiting(&mut self, streams: &mut Streams, moment: Moment) {
        let tells = self.moved && moment.now_ns >= self.tell_at_ns;
        let mut full = false;
        for place in std::mem::take(&mut self.waiting) {
            let Some(stream) = streams.at(place) else { continue };
            let node = stream.key.0;
            let Some(arriving) = stream.pieces.as_deref_mut() else { continue };
            while !full && arriving.unreserved().is_some() {
                match self.reserve(node, arriving) {
                    Ok(()) => {}
                    Err(Full::ForPeer) => break,
                    Err(Full::ForAll) => full = true,
                }
            }
            arriving.waits = arriving.unreserved().is_some();
            if !arriving.waits
                && let Some(open) = &mut arriving.open
            {
                open.touched_ns = moment.now_ns;
            }
            if arriving.waits {
                self.waiting.push_back(place);
                stream.asked |= tells;
            }
        }
        if tells {
            self.moved = false;
            self.tell_at_ns = moment.now_ns.saturating_add(moment.ack_ns / 4);
        }
    }

    /// Frees the memory of events of which nothing more comes: those that were granted, and those
    /// whose link has ended. Their streams go back to the first piece. Gives the links to end.
    pub(super) fn abandon(&mut self, streams: &mut Streams, moment: Moment) -> Vec<SocketId> {
        let mut sockets = Vec::new();
        for place in self.open.clone() {
            let Some(stream) = streams.at(place) else { continue };
            let Some(arriving) = stream.pieces.as_deref_mut() else { continue };
            let owed = arriving.is_owed(stream.socket);
            let resumed = std::mem::take(&mut arriving.resumed);
            let due = |open: &mut Open| {
                if resumed {
                    open.touched_ns = moment.now_ns;
                }
                owed && open.touched_ns.saturating_add(moment.ack_ns) <= moment.now_ns
            };
            let Some(open) = arriving.open.take_if(due) else { continue };
            arriving.received -= open.memory.len() as u64;
            (stream.next, stream.next_event) = (open.sequence, Some(open.event));
            if let Some(expected) = arriving.events.pop_back()
                && expected.reserved
            {
                arriving.reserved -= expected.total as u64;
                self.release(stream.key.0, expected.total);
            }
            self.open.remove(&place);
            self.outlet.counters.add(Counter::ReassembliesAbandoned, 1);
            sockets.extend(stream.socket);
        }
        sockets
    }

    /// When the next event is to be abandoned, or those who wait are to be told so.
    pub(super) fn deadline_ns(&self, streams: &Streams, ack_ns: u64) -> u64 {
        let owed = self.open.iter().filter_map(|place| {
            let stream = streams.get(*place)?;
            let arriving = stream.pieces.as_ref().filter(|it| it.is_owed(stream.socket))?;
            Some(arriving.open.as_ref()?.touched_ns.saturating_add(ack_ns))
        });
        let tells = self.moved && !self.waiting.is_empty();
        owed.chain(tells.then_some(self.tell_at_ns)).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
#[path = "reassembly/tests.rs"]
mod tests;

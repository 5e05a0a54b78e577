//! From a frame to those who asked for its type: the receiver's table of subscriptions.
//!
//! One table look-up an event, whatever the number of registered types. The table is owned by its
//! receiver; control changes it by commands. A subscriber runs on the receiver's worker: it must
//! return quickly and may not block.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

mod access;
mod deadline;
mod judge;
mod refusals;
mod run;
mod subscription;

pub use access::{AccessTable, AccessTooLarge, Grant, Rate};
pub use deadline::is_over;
pub use refusals::{Refusal, Refusals, Refused};
pub use run::Run;
pub use subscription::{Standing, Subscription, Wanted};

use wireloom_wire::{EventTypeId, ExchangeKind, Frame, FrameFlags, Frames, NodeId, SessionId};

use self::access::Guard;
use self::deadline::is_expired;
use crate::counters::{Counter, Counters};
use crate::limits::{SUBSCRIPTIONS_MAX, TYPE_SLOTS};

/// Which subscription of a node. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub u64);

/// Where an event came from, the same for every event of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The publishing node.
    pub source: NodeId,
    /// The link session it came in; 0 for events of this process.
    pub session: SessionId,
    /// The priority lane it travelled in.
    pub lane: u8,
    /// When this node took it from the network, ns since the Unix epoch (one reading a cycle).
    pub received_unix_ns: u64,
    /// It is of this process, or its proof was checked here; never of what comes from elsewhere.
    pub verified: bool,
}

/// Events that will not come: a gap in a stream, told before the stream's next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The stream: publishing node, session and lane.
    pub origin: Origin,
    /// Index in the stream of the first missing event.
    pub from: u64,
    /// Index in the stream of the first event after the gap.
    pub to: u64,
}

impl Lost {
    /// How many events are missing.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// What a subscriber did with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Handled, or in the subscriber's ring.
    Delivered,
    /// The schema fingerprint is not the subscriber's.
    WrongSchema,
    /// The encoding cannot be read by this subscriber.
    WrongEncoding,
    /// The payload failed the checks of its type.
    BadArchive,
    /// The subscriber's ring is full.
    RingFull,
    /// The subscriber's ring takes no event as long as this.
    TooLarge,
    /// The subscriber keeps the newest event of each key, and has no room for another key.
    KeysFull,
    /// The subscriber's ring is full, and its policy ends the subscription.
    Disconnected,
    /// Nobody waits for what would become of it any more: its time is over.
    Expired,
    /// An event of this subscriber's type in another form than it reads (dynamic, or of an older
    /// version): those who asked for what is [unread](Wanted::Unread) make the right one of it.
    Unconverted,
    /// Not for this subscriber after all; says nothing about the event.
    Passed,
}

/// Whether a subscriber has events that found no room where it puts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pumped {
    /// It has none.
    Done,
    /// It has: it is asked again in the next cycle.
    Waits,
    /// It has, and until then (monotonic ns) the receiver is to take nothing in.
    Holds {
        /// When it is waited for no longer.
        until_ns: u64,
    },
}

/// One who takes events on the receiver's worker.
pub trait Subscriber: Send {
    /// An event of a type this subscriber asked for. The frame's bytes are borrowed from the
    /// receive buffer: what is to be kept must be copied.
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict;

    /// Events of one type side by side, when nobody else asked for the type: one call for all.
    /// There is no reason to write another one than this.
    fn on_run(&mut self, run: &mut Run<'_, '_>, origin: &Origin) {
        run.each(|frame| self.on_event(frame, origin));
    }

    /// A gap in some stream; events of this subscriber's types may have been in it.
    fn on_lost(&mut self, lost: &Lost) {
        let _ = lost;
    }

    /// Before the end of a duty cycle in which this subscriber was called, or did not say
    /// [`Pumped::Done`] in the one before: put what waits where there is room now.
    fn pump(&mut self, now_ns: u64) -> Pumped {
        let _ = now_ns;
        Pumped::Done
    }

    /// The end of such a cycle: make staged records visible, wake whoever waits for them.
    fn end_cycle(&mut self) {}

    /// One of the calls above has panicked, with this. The event is counted; the subscriber, known
    /// as `id`, is called again for the next one.
    #[cold]
    fn on_panic(&mut self, id: SubscriptionId, what: &(dyn Any + Send)) {
        let _ = (id, what);
    }
}

#[derive(Debug)]
struct Entry {
    subscription: Box<Subscription>,
    called: bool,
}

/// One subscriber in the chain of one type.
#[derive(Debug, Clone, Copy)]
struct Place {
    entry: u32,
    next: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// 0 is an empty slot: no type has id 0.
    event_type: u32,
    head: Option<u32>,
    /// Those who take what the others could not read.
    unread: Option<u32>,
    /// Its column of the table of access.
    column: u32,
}

impl Slot {
    /// Whether nobody asked for the type.
    const fn heads_nothing(&self) -> bool {
        self.head.is_none() && self.unread.is_none()
    }
}

/// Which chain a subscription is in.
#[derive(Debug, Clone, Copy)]
enum Chain {
    Every,
    Of(u32),
    UnreadOf(u32),
}

/// Subscriptions by type: a slot for each type heads a chain of places, each naming an entry.
#[derive(Debug)]
pub(crate) struct Dispatch {
    slots: Box<[Slot]>,
    /// What other nodes may send; everything when there is none.
    access: Option<Box<AccessTable>>,
    places: Vec<Place>,
    free_places: Vec<u32>,
    entries: Vec<Option<Entry>>,
    free_entries: Vec<u32>,
    /// The chain of those who want every type.
    every: Option<u32>,
    /// Who is given requests that nobody answers.
    unanswered: Option<u32>,
    /// Those called in this cycle, and those that wait for room since an earlier one.
    called: Vec<u32>,
    /// Until when one of them holds the receiver up; 0 when none does.
    hold_until_ns: u64,
    /// The time of this cycle, against which deadlines are held.
    now_unix_ns: u64,
}

fn index_of(length: usize) -> u32 {
    u32::try_from(length).expect("the tables are bounded")
}

impl Dispatch {
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![Slot::default(); TYPE_SLOTS].into_boxed_slice(),
            access: None,
            places: Vec::with_capacity(SUBSCRIPTIONS_MAX),
            free_places: Vec::with_capacity(SUBSCRIPTIONS_MAX),
            entries: Vec::with_capacity(SUBSCRIPTIONS_MAX),
            free_entries: Vec::with_capacity(SUBSCRIPTIONS_MAX),
            every: None,
            unanswered: None,
            called: Vec::with_capacity(SUBSCRIPTIONS_MAX),
            hold_until_ns: 0,
            now_unix_ns: 0,
        }
    }

    /// Linear probing from the id itself, which is a hash already. The table is at most half full.
    #[inline]
    fn slot_of(&self, event_type: u32) -> usize {
        let mut index = event_type as usize & (TYPE_SLOTS - 1);
        loop {
            let held = self.slots[index].event_type;
            if held == event_type || held == 0 {
                return index;
            }
            index = (index + 1) & (TYPE_SLOTS - 1);
        }
    }

    /// Empties a slot that heads no chain and names no column, and moves those behind it up, so
    /// that probing finds them (Knuth, TAOCP 3, 6.4, algorithm R): types that come and go fill no
    /// table.
    fn vacate(&mut self, mut hole: usize) {
        let slot = self.slots[hole];
        if !slot.heads_nothing() || slot.column != 0 {
            return;
        }
        let behind = |at: usize, from: usize| at.wrapping_sub(from) & (TYPE_SLOTS - 1);
        let mut index = hole;
        loop {
            index = (index + 1) & (TYPE_SLOTS - 1);
            let slot = self.slots[index];
            if slot.event_type == 0 {
                break;
            }
            if behind(index, slot.event_type as usize) >= behind(index, hole) {
                self.slots[hole] = slot;
                hole = index;
            }
        }
        self.slots[hole] = Slot::default();
    }

    /// The head of a chain; the slot of its type is taken if need be.
    fn head_mut(&mut self, chain: Chain) -> &mut Option<u32> {
        let (Chain::Of(event_type) | Chain::UnreadOf(event_type)) = chain else {
            return &mut self.every;
        };
        let slot = self.slot_of(event_type);
        let slot = &mut self.slots[slot];
        if slot.event_type != event_type {
            slot.event_type = event_type;
            let access = self.access.as_ref();
            slot.column = access.map_or(0, |access| access.column_of(EventTypeId(event_type)));
        }
        if let Chain::UnreadOf(_) = chain { &mut slot.unread } else { &mut slot.head }
    }

    fn chains_of(wanted: &Wanted) -> impl Iterator<Item = Chain> + '_ {
        let (every, types, unread): (bool, &[EventTypeId], bool) = match wanted {
            Wanted::Every => (true, &[], false),
            Wanted::Types(types) => (false, types, false),
            Wanted::Unread(types) => (false, types, true),
            Wanted::Gaps | Wanted::Unanswered => (false, &[], false),
        };
        let types = types.iter().map(|id| id.0).filter(|id| *id != 0);
        let types = types.map(move |id| if unread { Chain::UnreadOf(id) } else { Chain::Of(id) });
        every.then_some(Chain::Every).into_iter().chain(types)
    }

    fn has_room(&self, wanted: &Wanted) -> bool {
        let places = self.places.len() - self.free_places.len() + Self::chains_of(wanted).count();
        let entries = self.entries.len() - self.free_entries.len() + 1;
        places <= SUBSCRIPTIONS_MAX && entries <= SUBSCRIPTIONS_MAX
    }

    /// Adds a subscription; gives it back when the table is full.
    pub(crate) fn add(&mut self, subscription: Box<Subscription>) -> Result<(), Box<Subscription>> {
        if !self.has_room(&subscription.wanted) {
            return Err(subscription);
        }
        let entry = self.free_entries.pop().unwrap_or_else(|| {
            self.entries.push(None);
            index_of(self.entries.len() - 1)
        });
        for chain in Self::chains_of(&subscription.wanted) {
            let next = *self.head_mut(chain);
            let place = Place { entry, next };
            let index = if let Some(index) = self.free_places.pop() {
                self.places[index as usize] = place;
                index
            } else {
                self.places.push(place);
                index_of(self.places.len() - 1)
            };
            *self.head_mut(chain) = Some(index);
        }
        if subscription.wanted == Wanted::Unanswered {
            self.unanswered = Some(entry);
        }
        subscription.install();
        self.entries[entry as usize] = Some(Entry { subscription, called: false });
        Ok(())
    }

    /// Removes a subscription and gives it back to be freed elsewhere.
    pub(crate) fn remove(&mut self, id: SubscriptionId) -> Option<Box<Subscription>> {
        let holds = |entry: &Option<Entry>| entry.as_ref().is_some_and(|e| e.subscription.id == id);
        let entry = index_of(self.entries.iter().position(holds)?);
        let removed = self.entries[entry as usize].take()?;
        for chain in Self::chains_of(&removed.subscription.wanted) {
            self.unlink(chain, entry);
            if let Chain::Of(event_type) | Chain::UnreadOf(event_type) = chain {
                self.vacate(self.slot_of(event_type));
            }
        }
        if self.unanswered == Some(entry) {
            self.unanswered = None;
        }
        self.free_entries.push(entry);
        self.called.retain(|called| *called != entry);
        removed.subscription.end();
        Some(removed.subscription)
    }

    /// Takes an entry's place out of one chain.
    fn unlink(&mut self, chain: Chain, entry: u32) {
        let mut before: Option<u32> = None;
        let mut next = *self.head_mut(chain);
        while let Some(index) = next {
            let place = self.places[index as usize];
            if place.entry == entry {
                match before {
                    Some(before) => self.places[before as usize].next = place.next,
                    None => *self.head_mut(chain) = place.next,
                }
                self.free_places.push(index);
                return;
            }
            before = Some(index);
            next = place.next;
        }
    }

    /// Gives the frames at the front that make a run of one type to those who asked for it, and
    /// counts what became of each. Returns how many there were; 0 when the next frame is none.
    #[inline]
    pub(crate) fn deliver_run(
        &mut self,
        frames: &mut Frames<'_>,
        origin: &Origin,
        counters: &Counters,
    ) -> u16 {
        let Some(event_type) = frames.next_type() else { return 0 };
        let slot = &self.slots[self.slot_of(event_type.0)];
        let guard = match &mut self.access {
            None => Guard::Free,
            Some(access) => access.guard(origin.source, slot.column, self.now_unix_ns),
        };
        let alone = slot.head.and_then(|head| self.alone(head));
        let (most, asks, bucket) = match guard {
            Guard::Free => (u16::MAX, false, None),
            Guard::Held { events, requests, bucket } if alone.is_some() => {
                (events, requests, bucket)
            }
            Guard::Held { .. } | Guard::Each => return self.judge_one(frames, origin, counters),
        };
        let entry = alone.and_then(|index| self.entries[index as usize].as_mut().zip(alone));
        let Some((entry, index)) = entry else {
            let Some(frame) = frames.next_of(event_type) else { return 0 };
            counters.add(self.deliver(&frame, origin), 1);
            return 1;
        };
        if !entry.called {
            entry.called = true;
            self.called.push(index);
        }
        let subscription = &mut *entry.subscription;
        let run = Run::new(frames, event_type, (counters, self.now_unix_ns));
        let mut run = run.held(most, asks);
        loop {
            let subscriber = &mut subscription.subscriber;
            match catch_unwind(AssertUnwindSafe(|| subscriber.on_run(&mut run, origin))) {
                Ok(()) => break,
                Err(what) => subscription.tell_panic(what),
            }
            if !run.panicked() {
                break;
            }
        }
        let (taken, [unread, asked]) = run.end();
        if let Some(frame) = unread {
            counters.add(self.convert(&frame, origin).unwrap_or(Counter::EventsUnconverted), 1);
        }
        if let (Some(bucket), Some(access)) = (bucket, &mut self.access) {
            access.spend(bucket, taken);
        }
        match asked {
            Some(frame) => taken + self.judge(&frame, origin, counters),
            None => taken,
        }
    }

    /// The only entry of a chain that is all who are given the type.
    #[inline]
    fn alone(&self, head: u32) -> Option<u32> {
        let place = self.places[head as usize];
        (place.next.is_none() && self.every.is_none()).then_some(place.entry)
    }

    /// Gives one event to everybody who asked for it; returns the counter of what became of it.
    // Out of line the frame goes through memory, read in other pieces than it was written in.
    #[inline(always)]
    pub(crate) fn deliver(&mut self, frame: &Frame<'_>, origin: &Origin) -> Counter {
        if is_expired(frame, self.now_unix_ns) {
            return Counter::EventsExpired;
        }
        let typed = self.slots[self.slot_of(frame.header.event_type.0)].head;
        let mut outcome: Option<Counter> = None;
        let mut unread = false;
        for head in [typed, self.every] {
            let mut next = head;
            while let Some(index) = next {
                let place = self.places[index as usize];
                next = place.next;
                let Some(entry) = self.entries[place.entry as usize].as_mut() else { break };
                if !entry.called {
                    entry.called = true;
                    self.called.push(place.entry);
                }
                let subscriber = &mut entry.subscription.subscriber;
                let verdict = catch_unwind(AssertUnwindSafe(|| subscriber.on_event(frame, origin)));
                let counter = match verdict.map(run::counter_of) {
                    Ok(Some(counter)) => counter,
                    Ok(None) => continue,
                    Err(what) => {
                        entry.subscription.tell_panic(what);
                        Counter::EventsHandlerPanicked
                    }
                };
                unread |= counter == Counter::EventsUnconverted;
                // Delivered to one is delivered; otherwise the first real reason stands.
                if matches!(outcome, None | Some(Counter::EventsUnconverted))
                    || counter == Counter::EventsDelivered
                {
                    outcome = Some(counter);
                }
            }
        }
        if typed.is_none() && frame.header.flags.contains(FrameFlags::CORRELATION) {
            self.leave_unanswered(frame, origin);
        }
        let converted = if unread { self.convert(frame, origin) } else { None };
        match (outcome, converted) {
            (Some(Counter::EventsUnconverted), Some(converted)) => converted,
            _ => outcome.unwrap_or(Counter::EventsUnsubscribed),
        }
    }

    /// Gives an event that somebody could not read to those who make what can be read of it; `None`
    /// when nobody takes it.
    #[cold]
    #[inline(never)]
    fn convert(&mut self, frame: &Frame<'_>, origin: &Origin) -> Option<Counter> {
        let mut next = self.slots[self.slot_of(frame.header.event_type.0)].unread;
        while let Some(index) = next {
            let place = self.places[index as usize];
            next = place.next;
            let entry = self.entries[place.entry as usize].as_mut()?;
            if !entry.called {
                entry.called = true;
                self.called.push(place.entry);
            }
            let subscriber = &mut entry.subscription.subscriber;
            let verdict = catch_unwind(AssertUnwindSafe(|| subscriber.on_event(frame, origin)));
            match verdict.map(run::counter_of) {
                Ok(None) => {}
                Ok(taken) => return taken,
                Err(what) => {
                    entry.subscription.tell_panic(what);
                    return Some(Counter::EventsHandlerPanicked);
                }
            }
        }
        None
    }

    /// A request that only those who want every type have seen, if anybody.
    #[cold]
    fn leave_unanswered(&mut self, frame: &Frame<'_>, origin: &Origin) {
        let is_request = frame.correlation().is_some_and(|of| of.kind == ExchangeKind::Request);
        let entry = self.unanswered.filter(|_| is_request);
        let Some(entry) = entry.and_then(|index| self.entries[index as usize].as_mut()) else {
            return;
        };
        let subscriber = &mut entry.subscription.subscriber;
        // It is the node's own; what it says does not change what became of the event.
        let told = catch_unwind(AssertUnwindSafe(|| subscriber.on_event(frame, origin)));
        if let Err(what) = told {
            entry.subscription.tell_panic(what);
        }
    }

    /// Tells every subscriber of a gap.
    pub(crate) fn lost(&mut self, lost: &Lost) {
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let Some(entry) = entry else { continue };
            if !entry.called {
                entry.called = true;
                self.called.push(index_of(index));
            }
            let subscriber = &mut entry.subscription.subscriber;
            // A panic here is the subscriber's own; its gap stays counted by the receiver.
            if let Err(what) = catch_unwind(AssertUnwindSafe(|| subscriber.on_lost(lost))) {
                entry.subscription.tell_panic(what);
            }
        }
    }

    /// The time of the cycle that begins.
    #[inline]
    pub(crate) const fn begin_cycle(&mut self, now_unix_ns: u64) {
        self.now_unix_ns = now_unix_ns;
    }

    /// Ends the cycle for those called in it, or still waiting for room.
    pub(crate) fn end_cycle(&mut self, now_ns: u64) {
        self.hold_until_ns = 0;
        let mut waiting = 0;
        for at in 0..self.called.len() {
            let index = self.called[at];
            let Some(entry) = self.entries[index as usize].as_mut() else { continue };
            let subscriber = &mut entry.subscription.subscriber;
            let end = || {
                let pumped = subscriber.pump(now_ns);
                subscriber.end_cycle();
                pumped
            };
            match catch_unwind(AssertUnwindSafe(end)).unwrap_or(Pumped::Done) {
                Pumped::Done => {
                    entry.called = false;
                    continue;
                }
                Pumped::Waits => {}
                Pumped::Holds { until_ns } => {
                    self.hold_until_ns = self.hold_until_ns.max(until_ns);
                }
            }
            self.called[waiting] = index;
            waiting += 1;
        }
        self.called.truncate(waiting);
    }

    /// Whether somebody is to be asked at the end of the cycle.
    #[inline]
    pub(crate) const fn has_called(&self) -> bool {
        !self.called.is_empty()
    }

    /// Until when a subscriber holds the receiver up; `None` when none does.
    #[inline]
    pub(crate) const fn hold_until_ns(&self) -> Option<u64> {
        if self.hold_until_ns == 0 { None } else { Some(self.hold_until_ns) }
    }
}

#[cfg(test)]
mod tests;

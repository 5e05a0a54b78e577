//! The receiver's side of an inbound ring: puts events into it, and does what the subscriber's
//! policy says with those that find it full. Runs on the receiver's worker; never waits itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wireloom_ring::{ClaimError, Consumer, Producer};
use wireloom_wire::{Frame, NodeId, SessionId};

use super::account::InboundCounters;
use super::backlog::Backlog;
use super::latest::{Latest, Put};
use super::policy::{BLOCK_MAX, ShedReason, SlowPolicy};
use super::reader::RingReader;
use super::{
    LOST, NOTICE_BYTES, ORIGIN_BYTES, REASON_OFFSET, SHED, put_event, put_notice, stage_event,
};
use crate::dispatch::{Lost, Origin, Pumped, Subscriber, Verdict};
use crate::wake::Wake;

/// Of a notice that is of no stream.
const NOWHERE: Origin = Origin {
    source: NodeId(0),
    session: SessionId(0),
    lane: 0,
    received_unix_ns: 0,
    verified: false,
};

const REASONS: usize = ShedReason::ALL.len();

/// Joins the two halves of a ring to the two ends of a subscriber's. The receiver wakes `wakes.0`
/// when records have become visible; who takes records wakes `wakes.1`, the receiver's, when some
/// wait for room. Allocates all that the policy will need.
#[must_use]
pub fn inbound(
    (producer, consumer): (Producer, Consumer),
    policy: SlowPolicy,
    wakes: (Option<Arc<Wake>>, Option<Arc<Wake>>),
) -> (RingSubscriber, RingReader) {
    let ring_bytes = producer.capacity_bytes();
    let bytes = policy.beside_bytes(ring_bytes);
    let keys = match policy {
        SlowPolicy::Latest { keys } => keys.clamp(1, super::KEYS_MAX),
        _ => 0,
    };
    let counters = Arc::new(InboundCounters::with_keys(keys));
    let store = match policy {
        SlowPolicy::DropNewest => Store::Nothing,
        SlowPolicy::Disconnect => Store::Cut,
        SlowPolicy::DropOldest => Store::Oldest(Backlog::new(bytes)),
        SlowPolicy::Block(patience) => {
            Store::Block(Backlog::new(bytes), Patience::new(patience, ring_bytes))
        }
        SlowPolicy::Latest { keys } => {
            Store::Latest(Box::new(Latest::new(bytes, keys, ring_bytes)))
        }
    };
    let reader = RingReader::new(consumer, Arc::clone(&counters), wakes.1);
    let subscriber = RingSubscriber {
        congested: matches!(store, Store::Latest(_)),
        producer,
        wake: wakes.0,
        counters,
        shed_untold: [0; REASONS],
        lost_untold: None,
        store,
    };
    (subscriber, reader)
}

/// How long a blocking subscriber may hold its receiver up.
#[derive(Debug)]
struct Patience {
    patience_ns: u64,
    left_ns: u64,
    /// When the receiver began, or went on, to be held up; 0 while it is not.
    held_at_ns: u64,
    /// What the subscriber must have taken for a new patience, and what that grows by.
    renewed_at: u64,
    renewal_bytes: u64,
}

impl Patience {
    fn new(patience: Duration, ring_bytes: usize) -> Self {
        let patience = patience.min(BLOCK_MAX).as_nanos();
        let patience_ns = u64::try_from(patience).unwrap_or(u64::MAX);
        let renewal_bytes = ring_bytes as u64 / 2;
        Self {
            patience_ns,
            left_ns: patience_ns,
            held_at_ns: 0,
            renewed_at: renewal_bytes,
            renewal_bytes,
        }
    }

    /// Takes the time since the last call off what is left, if the receiver was held up in it.
    fn charge(&mut self, now_ns: u64) {
        if self.held_at_ns > 0 {
            let held_ns = now_ns.saturating_sub(self.held_at_ns);
            self.left_ns = self.left_ns.saturating_sub(held_ns);
        }
        self.held_at_ns = 0;
    }

    /// A subscriber that has taken half a ring since the last time is waited for anew.
    fn renew(&mut self, consumed: u64) {
        if consumed >= self.renewed_at {
            self.renewed_at = consumed + self.renewal_bytes;
            self.left_ns = self.patience_ns;
        }
    }
}

/// What a policy needs.
#[derive(Debug)]
enum Store {
    Nothing,
    Cut,
    Oldest(Backlog),
    Block(Backlog, Patience),
    Latest(Box<Latest>),
}

/// The receiver's side of an inbound ring.
#[derive(Debug)]
pub struct RingSubscriber {
    producer: Producer,
    wake: Option<Arc<Wake>>,
    counters: Arc<InboundCounters>,
    /// The short way is closed: something is untold, waits for room, or every event has a key.
    congested: bool,
    shed_untold: [u64; REASONS],
    lost_untold: Option<Lost>,
    store: Store,
}

/// Puts a record behind those that wait, and drops the oldest until it has room; returns how many
/// events were dropped. A gap among them is to be told: whatever still waits is newer than it.
#[inline]
fn push_newest(
    (backlog, untold): (&mut Backlog, &mut Option<Lost>),
    length: usize,
    write: impl Fn(&mut [u8]),
) -> u64 {
    let mut dropped = 0;
    while !backlog.push(length, &write) {
        let Some(is_event) = backlog.drop_first(|lost| grow(untold, &lost)) else { break };
        dropped += u64::from(is_event);
    }
    dropped
}

/// Notes a gap that could not be told. Those of one stream grow into one: nothing that came between
/// them is taken before it is told, or at all. Of several streams the newest is told, and the
/// receiver's counters hold all of them.
#[cold]
fn grow(untold: &mut Option<Lost>, lost: &Lost) {
    let stream = |of: &Lost| (of.origin.source, of.origin.session, of.origin.lane);
    *untold = Some(match *untold {
        Some(old) if stream(&old) == stream(lost) => {
            Lost { from: old.from.min(lost.from), to: old.to.max(lost.to), ..*lost }
        }
        _ => *lost,
    });
}

impl RingSubscriber {
    /// The counters, to be read from elsewhere.
    #[must_use]
    pub const fn counters(&self) -> &Arc<InboundCounters> {
        &self.counters
    }

    /// Puts an event into the ring.
    #[inline]
    pub fn take(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        if !self.congested && stage_event(&mut self.producer, frame, origin).is_ok() {
            self.counters.count_delivered();
            return Verdict::Delivered;
        }
        self.take_congested(frame, origin, u64::from(frame.header.event_type.0))
    }

    /// The same for an event of this key, which [`SlowPolicy::Latest`] looks at. Without a key, all
    /// events of a type have one.
    #[inline]
    pub fn take_keyed(&mut self, frame: &Frame<'_>, origin: &Origin, key: u64) -> Verdict {
        self.take_congested(frame, origin, key)
    }

    fn take_congested(&mut self, frame: &Frame<'_>, origin: &Origin, key: u64) -> Verdict {
        let verdict = self.take_by_policy(frame, origin, key);
        if verdict == Verdict::Delivered {
            self.counters.count_delivered();
        }
        self.congested = self.is_congested();
        verdict
    }

    fn take_by_policy(&mut self, frame: &Frame<'_>, origin: &Origin, key: u64) -> Verdict {
        if self.producer.is_closed() {
            return Verdict::Passed;
        }
        if ORIGIN_BYTES + frame.bytes().len() > self.producer.record_bytes_max() {
            return self.shed(ShedReason::TooLarge);
        }
        if let Store::Latest(latest) = &mut self.store {
            let generations = &self.counters.generations;
            return match latest.put(key, (frame, origin), &mut self.producer, generations) {
                Put::Waits { superseded } => {
                    if superseded {
                        self.give_way(ShedReason::Superseded, 1);
                    }
                    Verdict::Delivered
                }
                Put::TooLarge => self.shed(ShedReason::TooLarge),
                Put::KeysFull => self.shed(ShedReason::KeysFull),
            };
        }
        let is_first = !self.has_backlog() && self.tell_untold();
        if is_first && stage_event(&mut self.producer, frame, origin).is_ok() {
            return Verdict::Delivered;
        }
        self.take_full(frame, origin)
    }

    /// An event that found the ring full.
    fn take_full(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        let length = ORIGIN_BYTES + frame.bytes().len();
        let write = |record: &mut [u8]| put_event(record, frame, origin);
        match &mut self.store {
            Store::Nothing | Store::Latest(_) => self.shed(ShedReason::RingFull),
            Store::Cut => {
                self.counters.count_shed(ShedReason::Disconnected, 1);
                // Nothing more is put into it; what is there can be taken, and is seen by whoever
                // sees that this was the last.
                self.producer.close();
                self.counters.cut.store(true, Ordering::Release);
                Verdict::Disconnected
            }
            Store::Block(backlog, patience) => {
                if patience.left_ns > 0 && backlog.push(length, write) {
                    return Verdict::Delivered;
                }
                self.shed(ShedReason::RingFull)
            }
            Store::Oldest(backlog) => {
                let dropped = push_newest((backlog, &mut self.lost_untold), length, write);
                self.give_way_oldest(dropped);
                Verdict::Delivered
            }
        }
    }

    /// Sheds an event that was not taken in.
    fn shed(&mut self, reason: ShedReason) -> Verdict {
        self.give_way(reason, 1);
        match reason {
            ShedReason::TooLarge => Verdict::TooLarge,
            ShedReason::KeysFull => Verdict::KeysFull,
            _ => Verdict::RingFull,
        }
    }

    fn give_way(&mut self, reason: ShedReason, events: u64) {
        self.counters.count_shed(reason, events);
        self.shed_untold[reason as usize] += events;
        self.congested = true;
    }

    /// The same for the oldest of those that wait: what is in the ring is older still.
    #[inline]
    fn give_way_oldest(&mut self, events: u64) {
        if events > 0 {
            let stale_until = self.producer.position();
            self.counters.stale_until.store(stale_until, Ordering::Release);
            self.give_way(ShedReason::Oldest, events);
        }
    }

    fn has_backlog(&self) -> bool {
        match &self.store {
            Store::Nothing | Store::Cut => false,
            Store::Oldest(backlog) | Store::Block(backlog, _) => !backlog.is_empty(),
            Store::Latest(latest) => !latest.is_empty(),
        }
    }

    fn is_congested(&self) -> bool {
        matches!(self.store, Store::Latest(_))
            || self.has_backlog()
            || self.lost_untold.is_some()
            || self.shed_untold.iter().any(|events| *events > 0)
    }

    fn stage_notice(&mut self, kind: u8, origin: &Origin, about: (u64, u64), reason: u8) -> bool {
        let Ok(mut claim) = self.producer.claim(NOTICE_BYTES) else { return false };
        put_notice(&mut claim, kind, origin, about);
        claim[REASON_OFFSET] = reason;
        claim.stage(NOTICE_BYTES);
        true
    }

    /// Tells what could not be told when the ring was full; false when it still is.
    fn tell_untold(&mut self) -> bool {
        for reason in ShedReason::ALL {
            let events = self.shed_untold[reason as usize];
            if events > 0 {
                if !self.stage_notice(SHED, &NOWHERE, (events, 0), reason as u8) {
                    return false;
                }
                self.shed_untold[reason as usize] = 0;
            }
        }
        if let Some(lost) = self.lost_untold.take()
            && !self.stage_notice(LOST, &lost.origin, (lost.from, lost.to), 0)
        {
            self.lost_untold = Some(lost);
            return false;
        }
        true
    }

    /// Moves what waits into the ring as far as there is room; false when something is left.
    fn drain_backlog(&mut self) -> bool {
        if !self.tell_untold() {
            return false;
        }
        while self.has_backlog() {
            let moved = match &mut self.store {
                Store::Oldest(backlog) | Store::Block(backlog, _) => {
                    backlog.move_first(&mut self.producer)
                }
                Store::Latest(latest) => latest.move_first(&mut self.producer),
                Store::Nothing | Store::Cut => return true,
            };
            match moved {
                Ok(()) => {}
                Err(ClaimError::Full) => return false,
                // The subscriber is gone: nobody will ask for what waits.
                Err(_) => return true,
            }
        }
        true
    }

    /// Whether a blocking subscriber is waited for; sheds what waits when it was long enough.
    fn hold(&mut self, now_ns: u64, is_drained: bool) -> Pumped {
        let Store::Block(backlog, patience) = &mut self.store else { return Pumped::Waits };
        patience.charge(now_ns);
        patience.renew(self.producer.consumed_position());
        if is_drained {
            return Pumped::Done;
        }
        if patience.left_ns > 0 {
            patience.held_at_ns = now_ns;
            return Pumped::Holds { until_ns: now_ns + patience.left_ns };
        }
        let untold = &mut self.lost_untold;
        let events = backlog.clear(|lost| grow(untold, &lost));
        self.give_way(ShedReason::WaitedTooLong, events);
        // To be told, when there is room.
        Pumped::Waits
    }
}

impl Subscriber for RingSubscriber {
    #[inline]
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        self.take(frame, origin)
    }

    fn on_lost(&mut self, lost: &Lost) {
        let told = !self.has_backlog()
            && self.tell_untold()
            && self.stage_notice(LOST, &lost.origin, (lost.from, lost.to), 0);
        if told {
            return;
        }
        let about = (lost.from, lost.to);
        let write = |into: &mut [u8]| put_notice(into, LOST, &lost.origin, about);
        match &mut self.store {
            Store::Oldest(backlog) if !backlog.is_empty() => {
                let untold = &mut self.lost_untold;
                let dropped = push_newest((backlog, untold), NOTICE_BYTES, write);
                self.give_way_oldest(dropped);
            }
            Store::Block(backlog, _) if !backlog.is_empty() => {
                if !backlog.push(NOTICE_BYTES, write) {
                    // It is told before those that wait, so it may not grow over them.
                    self.lost_untold = Some(*lost);
                }
            }
            _ => grow(&mut self.lost_untold, lost),
        }
        self.congested = true;
    }

    fn pump(&mut self, now_ns: u64) -> Pumped {
        let waits = self.counters.waits.load(Ordering::Relaxed);
        if !self.congested && !waits {
            return Pumped::Done;
        }
        let is_drained = self.drain_backlog();
        let pumped = match self.store {
            Store::Block(..) => self.hold(now_ns, is_drained),
            _ if is_drained => Pumped::Done,
            _ => Pumped::Waits,
        };
        if waits != (pumped != Pumped::Done) {
            self.counters.waits.store(!waits, Ordering::Relaxed);
        }
        self.congested = self.is_congested();
        pumped
    }

    fn end_cycle(&mut self) {
        self.producer.publish();
        if let Some(wake) = &self.wake {
            wake.notify();
        }
    }
}

impl Drop for RingSubscriber {
    fn drop(&mut self) {
        self.producer.publish();
        self.counters.gone.store(true, Ordering::Release);
        if let Some(wake) = &self.wake {
            wake.notify();
        }
    }
}

#[cfg(test)]
mod tests;

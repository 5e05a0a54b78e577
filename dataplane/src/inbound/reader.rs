//! The subscriber's side of an inbound ring: takes events on its own thread, and passes over those
//! that made room for newer ones or whose deadline is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wireloom_ring::{Consumer, Records, record_spacing};
use wireloom_wire::Frame;

use super::account::{InboundCounters, TakenCounters};
use super::policy::{Shed, ShedReason};
use super::{Inbound, generation_of, read_inbound};
use crate::dispatch::{Origin, is_over};
use crate::wake::Wake;

/// The subscriber's side of an inbound ring.
#[derive(Debug)]
pub struct RingReader {
    consumer: Consumer,
    counters: Arc<InboundCounters>,
    taken: Arc<TakenCounters>,
    /// The receiver's.
    wake: Option<Arc<Wake>>,
}

impl RingReader {
    pub(super) fn new(
        consumer: Consumer,
        counters: Arc<InboundCounters>,
        wake: Option<Arc<Wake>>,
    ) -> Self {
        Self { consumer, counters, taken: Arc::default(), wake }
    }

    /// What was taken, to be read from elsewhere.
    #[must_use]
    pub const fn taken(&self) -> &Arc<TakenCounters> {
        &self.taken
    }

    /// Whether nothing lies in the ring. One look at the receiver's cursor.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.consumer.is_empty()
    }

    /// Whether the subscriber was cut off by its policy: what is in the ring is the last.
    #[inline]
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.counters.cut.load(Ordering::Acquire)
    }

    /// Whether the receiver's side is gone: its subscription or its node has ended, and what lies
    /// in the ring now is the last.
    #[inline]
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.counters.gone.load(Ordering::Acquire)
    }

    /// Takes up to `limit` events and notices of one batch, giving each to `take`, which says
    /// whether it takes it: one that it does not is given again in the next call. Events passed
    /// over are told before the next one, and count for nothing. `unix_ns` gives the time; it is
    /// asked once, and only if an event has a deadline. Returns how many were taken.
    pub fn poll(
        &mut self,
        limit: usize,
        unix_ns: impl Fn() -> u64,
        mut take: impl FnMut(Inbound<'_>) -> bool,
    ) -> usize {
        let batch = self.consumer.read();
        if batch.is_empty() {
            return 0;
        }
        let mut passing = Passing::new(&self.counters, &self.taken);
        let (mut events, mut taken, mut bytes) = (0, 0, 0);
        let at = self.consumer.position();
        let batch = self.consumer.peek();
        for record in Records::new(batch) {
            if taken >= limit {
                break;
            }
            if let Some(inbound) = read_inbound(record) {
                let over = match &inbound {
                    Inbound::Event(frame, origin) => {
                        let event = (frame, origin);
                        passing.reason(record, event, at + bytes as u64, &unix_ns)
                    }
                    _ => None,
                };
                if let Some(reason) = over {
                    passing.over(reason, &mut take);
                } else {
                    passing.tell(&mut take);
                    let is_event = matches!(inbound, Inbound::Event(..));
                    if !take(inbound) {
                        break;
                    }
                    events += u64::from(is_event);
                    taken += 1;
                }
            }
            bytes += record_spacing(record.len());
        }
        passing.tell(&mut take);
        self.taken.count_taken(events);
        let bytes = bytes.min(batch.len());
        self.consumer.release(bytes);
        if let Some(wake) = &self.wake {
            wake.notify_for(&self.counters.waits);
        }
        taken
    }
}

/// What one batch passes over.
struct Passing<'a> {
    counters: &'a InboundCounters,
    taken: &'a TakenCounters,
    stale_until: u64,
    now_ns: Option<u64>,
    untold: Option<Shed>,
}

impl<'a> Passing<'a> {
    fn new(counters: &'a InboundCounters, taken: &'a TakenCounters) -> Self {
        let stale_until = counters.stale_until.load(Ordering::Acquire);
        Self { counters, taken, stale_until, now_ns: None, untold: None }
    }

    /// Why an event is not wanted any more.
    #[inline]
    fn reason(
        &mut self,
        record: &[u8],
        (frame, origin): (&Frame<'_>, &Origin),
        at: u64,
        unix_ns: impl Fn() -> u64,
    ) -> Option<ShedReason> {
        if at < self.stale_until {
            return Some(ShedReason::Oldest);
        }
        if !self.counters.generations.is_empty() {
            let (slot, generation) = generation_of(record);
            let newest = self.counters.generations.get(slot);
            if newest.is_some_and(|newest| newest.load(Ordering::Relaxed) != generation) {
                return Some(ShedReason::Superseded);
            }
        }
        let now_ns = || *self.now_ns.get_or_insert_with(unix_ns);
        is_over(frame, origin, now_ns).then_some(ShedReason::Expired)
    }

    fn over(&mut self, reason: ShedReason, take: &mut impl FnMut(Inbound<'_>) -> bool) {
        self.taken.count_shed(reason, 1);
        if self.untold.is_some_and(|shed| shed.reason != reason) {
            self.tell(take);
        }
        self.untold.get_or_insert(Shed { events: 0, reason }).events += 1;
    }

    #[inline]
    fn tell(&mut self, take: &mut impl FnMut(Inbound<'_>) -> bool) {
        if let Some(shed) = self.untold.take() {
            take(Inbound::Shed(shed));
        }
    }
}

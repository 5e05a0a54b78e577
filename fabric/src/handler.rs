//! Inline handlers: closures of the user that run on the receiving worker, with the event in place.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rkyv::Archived;
use wireloom_dataplane::dispatch::{Lost, Origin, Subscriber, SubscriptionId, Verdict};
use wireloom_wire::{Encoding, Fingerprint, Frame};

use crate::decode::access;
use crate::envelope::Envelope;
use crate::event::{Event, serves};
use crate::reports::Reports;
use crate::trace;

/// What became of one handler's events; written by its worker alone, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct HandlerCounters {
    pub(crate) delivered: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) panicked: AtomicU64,
    /// The last schema fingerprint refused, and this handler's own, as `theirs << 32 | own`; 0 when
    /// none was.
    pub(crate) mismatch: AtomicU64,
}

impl HandlerCounters {
    fn bump(cell: &AtomicU64) {
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Takes over the figures of a handler that is gone.
    pub(crate) fn add(&self, gone: &Self) {
        for (sum, cell) in [
            (&self.delivered, &gone.delivered),
            (&self.refused, &gone.refused),
            (&self.panicked, &gone.panicked),
        ] {
            sum.fetch_add(cell.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.mismatch.fetch_max(gone.mismatch.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Checks a frame's schema against `E`'s: one comparison when they are the same. An event of a
    /// signed type that nobody has verified goes to who does.
    #[inline]
    pub(crate) fn admit<E: Event>(
        &self,
        frame: &Frame<'_>,
        origin: &Origin,
    ) -> Result<(), Verdict> {
        let theirs = frame.header.fingerprint;
        if theirs != E::FINGERPRINT32 {
            return Err(self.other_schema::<E>(theirs));
        }
        if E::SIGNED && !origin.verified { Err(Verdict::Unconverted) } else { Ok(()) }
    }

    /// An older version that `E` is made from must be converted; any other schema is refused, and
    /// both fingerprints are kept.
    #[cold]
    fn other_schema<E: Event>(&self, theirs: Fingerprint) -> Verdict {
        if serves::<E>(theirs) {
            return Verdict::Unconverted;
        }
        let mismatch = u64::from(theirs.0) << 32 | u64::from(E::FINGERPRINT32.0);
        self.mismatch.store(mismatch, Ordering::Relaxed);
        Self::bump(&self.refused);
        Verdict::WrongSchema
    }

    /// The last schema refused, and this handler's own.
    #[allow(clippy::cast_possible_truncation, reason = "each half is what is meant")]
    pub(crate) fn schemas(&self) -> [Fingerprint; 2] {
        let mismatch = self.mismatch.load(Ordering::Relaxed);
        [mismatch >> 32, mismatch].map(|half| Fingerprint(half as u32))
    }

    /// Gives a frame's event to `take` if it is one of `E`; says and counts what became of it.
    #[inline]
    pub(crate) fn take<E: Event>(
        &self,
        (frame, origin): (&Frame<'_>, &Origin),
        take: impl FnOnce(&Archived<E>) -> Verdict,
    ) -> Verdict {
        match frame.header.encoding {
            Encoding::Rkyv => {}
            // Converted on the control thread when the type is known by its JSON form, and then
            // dispatched again as an archive.
            Encoding::Json => return Verdict::Unconverted,
            Encoding::Raw => return self.count(Verdict::WrongEncoding),
        }
        if let Err(verdict) = self.admit::<E>(frame, origin) {
            return verdict;
        }
        let Ok(event) = access::<E>(frame.payload()) else {
            return self.count(Verdict::BadArchive);
        };
        self.count(take(event))
    }

    #[inline]
    pub(crate) fn count(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Delivered => Self::bump(&self.delivered),
            Verdict::Passed | Verdict::Unconverted => {}
            _ => Self::bump(&self.refused),
        }
        verdict
    }
}

/// Whose panics they are: counts them and tells the control thread.
pub(crate) struct Panics {
    event_type: &'static str,
    counters: Arc<HandlerCounters>,
    reports: Arc<Reports>,
    /// What had been delivered at the last panic: when no more was at the next, they follow each
    /// other. So the way of an event knows nothing of panics.
    delivered: u64,
    in_a_row: u32,
}

impl Panics {
    pub(crate) fn new<E: Event>(counters: &Arc<HandlerCounters>, reports: &Arc<Reports>) -> Self {
        Self {
            event_type: E::TYPE,
            counters: Arc::clone(counters),
            reports: Arc::clone(reports),
            delivered: 0,
            in_a_row: 0,
        }
    }

    pub(crate) fn tell(&mut self, id: SubscriptionId, what: &(dyn Any + Send)) {
        HandlerCounters::bump(&self.counters.panicked);
        let delivered = self.counters.delivered.load(Ordering::Relaxed);
        self.in_a_row =
            if self.delivered == delivered { self.in_a_row.saturating_add(1) } else { 1 };
        self.delivered = delivered;
        self.reports.tell_panic(id, self.event_type, self.in_a_row, what);
    }
}

/// A closure for events of one type, which says what it did with each.
pub(crate) struct TypedHandler<E, H> {
    handler: H,
    counters: Arc<HandlerCounters>,
    panics: Panics,
    event: PhantomData<fn(&E)>,
}

impl<E, H> TypedHandler<E, H>
where
    E: Event,
    H: FnMut(&Archived<E>, &Envelope<'_>) -> Verdict + Send + 'static,
{
    #[expect(clippy::new_ret_no_self, reason = "what the node installs and what it counts")]
    pub(crate) fn new(
        handler: H,
        reports: &Arc<Reports>,
    ) -> (Box<dyn Subscriber>, Arc<HandlerCounters>) {
        let counters = Arc::new(HandlerCounters::default());
        let panics = Panics::new::<E>(&counters, reports);
        let handler = Self { handler, counters: Arc::clone(&counters), panics, event: PhantomData };
        (Box::new(handler), counters)
    }
}

impl<E, H> Subscriber for TypedHandler<E, H>
where
    E: Event,
    H: FnMut(&Archived<E>, &Envelope<'_>) -> Verdict + Send + 'static,
{
    #[inline]
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        let handler = &mut self.handler;
        self.counters.take::<E>((frame, origin), |event| {
            let _traced = trace::enter_event(frame.trace());
            handler(event, &Envelope::new(frame, origin))
        })
    }

    fn on_panic(&mut self, id: SubscriptionId, what: &(dyn Any + Send)) {
        self.panics.tell(id, what);
    }
}

/// A closure for gaps.
pub(crate) struct LostHandler<H> {
    handler: H,
    reports: Arc<Reports>,
}

impl<H: FnMut(&Lost) + Send + 'static> LostHandler<H> {
    pub(crate) fn boxed(handler: H, reports: &Arc<Reports>) -> Box<dyn Subscriber> {
        Box::new(Self { handler, reports: Arc::clone(reports) })
    }
}

impl<H: FnMut(&Lost) + Send + 'static> Subscriber for LostHandler<H> {
    fn on_event(&mut self, _frame: &Frame<'_>, _origin: &Origin) -> Verdict {
        Verdict::Passed
    }

    fn on_lost(&mut self, lost: &Lost) {
        (self.handler)(lost);
    }

    fn on_panic(&mut self, id: SubscriptionId, what: &(dyn Any + Send)) {
        self.reports.tell_panic(id, "", 1, what);
    }
}

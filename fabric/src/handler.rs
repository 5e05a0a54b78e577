//! Inline handlers: closures of the user that run on the receiving worker, with the event in place.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rkyv::Archived;
use wireloom_dataplane::dispatch::{Lost, Origin, Subscriber, Verdict};
use wireloom_wire::{Encoding, Fingerprint, Frame};

use crate::decode::access;
use crate::envelope::Envelope;
use crate::event::{Event, serves};
use crate::trace;

/// What became of one handler's events; written by its worker alone, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct HandlerCounters {
    pub(crate) delivered: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// The last schema fingerprint refused, and this handler's own, as `theirs << 32 | own`; 0 when
    /// none was.
    pub(crate) mismatch: AtomicU64,
}

impl HandlerCounters {
    fn bump(cell: &AtomicU64) {
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Checks a frame's schema against `E`'s: one comparison when they are the same.
    #[inline]
    pub(crate) fn admit<E: Event>(&self, frame: &Frame<'_>) -> Result<(), Verdict> {
        let theirs = frame.header.fingerprint;
        if theirs == E::FINGERPRINT32 { Ok(()) } else { Err(self.other_schema::<E>(theirs)) }
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

/// A closure for events of one type.
pub(crate) struct TypedHandler<E, H> {
    handler: H,
    counters: Arc<HandlerCounters>,
    event: PhantomData<fn(&E)>,
}

impl<E, H> TypedHandler<E, H>
where
    E: Event,
    H: FnMut(&Archived<E>, &Envelope<'_>) + Send + 'static,
{
    #[expect(clippy::new_ret_no_self, reason = "what the node installs and what it counts")]
    pub(crate) fn new(handler: H) -> (Box<dyn Subscriber>, Arc<HandlerCounters>) {
        let counters = Arc::new(HandlerCounters::default());
        let subscriber = Self { handler, counters: Arc::clone(&counters), event: PhantomData };
        (Box::new(subscriber), counters)
    }
}

impl<E, H> Subscriber for TypedHandler<E, H>
where
    E: Event,
    H: FnMut(&Archived<E>, &Envelope<'_>) + Send + 'static,
{
    #[inline]
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        match frame.header.encoding {
            Encoding::Rkyv => {}
            // Converted on the control thread when the type is known by its JSON form, and then
            // dispatched again as an archive.
            Encoding::Json => return Verdict::Unconverted,
            Encoding::Raw => return self.counters.count(Verdict::WrongEncoding),
        }
        if let Err(verdict) = self.counters.admit::<E>(frame) {
            return verdict;
        }
        let Ok(event) = access::<E>(frame.payload()) else {
            return self.counters.count(Verdict::BadArchive);
        };
        let _traced = trace::enter_event(frame.trace());
        (self.handler)(event, &Envelope::new(frame, origin));
        self.counters.count(Verdict::Delivered)
    }
}

/// A closure for gaps.
pub(crate) struct LostHandler(Box<dyn FnMut(&Lost) + Send>);

impl LostHandler {
    pub(crate) fn new(handler: impl FnMut(&Lost) + Send + 'static) -> Self {
        Self(Box::new(handler))
    }

    pub(crate) fn boxed(self) -> Box<dyn Subscriber> {
        Box::new(self)
    }
}

impl Subscriber for LostHandler {
    fn on_event(&mut self, _frame: &Frame<'_>, _origin: &Origin) -> Verdict {
        Verdict::Passed
    }

    fn on_lost(&mut self, lost: &Lost) {
        (self.0)(lost);
    }
}

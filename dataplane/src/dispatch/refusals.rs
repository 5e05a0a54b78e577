//! Who was refused what at a receiver, and how often: a bounded table that its receiver writes and
//! anybody reads. A flood of refusals costs no more than its counting.

use std::sync::atomic::{AtomicU64, Ordering};

use wireloom_wire::{EventTypeId, NodeId};

use crate::limits::REFUSALS_MAX;

/// Places looked at for one entry.
const PROBES: usize = 16;

/// Why an event was refused, or would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Refusal {
    /// It was a request, otherwise published.
    pub request: bool,
    /// It came more often than it may; otherwise it may not come at all.
    pub limited: bool,
    /// It was let through: the policy is only tried.
    pub shadow: bool,
}

impl Refusal {
    const fn bits(self) -> u64 {
        1 | (self.request as u64) << 1 | (self.limited as u64) << 2 | (self.shadow as u64) << 3
    }

    const fn of(bits: u64) -> Self {
        Self { request: bits & 2 != 0, limited: bits & 4 != 0, shadow: bits & 8 != 0 }
    }
}

/// One entry of [`Refusals`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The node.
    pub source: NodeId,
    /// What of.
    pub event_type: EventTypeId,
    /// Why.
    pub refusal: Refusal,
    /// How many events so far.
    pub events: u64,
    /// When the last one came, ns since the Unix epoch.
    pub last_unix_ns: u64,
}

#[derive(Debug, Default)]
struct Place {
    source: AtomicU64,
    /// Type and reason; 0 is an empty place. Written last.
    what: AtomicU64,
    events: AtomicU64,
    last_unix_ns: AtomicU64,
}

/// Refused events by node, type and reason.
#[derive(Debug)]
pub struct Refusals {
    places: Box<[Place]>,
    beyond: AtomicU64,
}

impl Default for Refusals {
    fn default() -> Self {
        let places = (0..REFUSALS_MAX).map(|_| Place::default()).collect();
        Self { places, beyond: AtomicU64::new(0) }
    }
}

impl Refusals {
    /// One more. Only the owning receiver may call this.
    pub(super) fn count(
        &self,
        (source, event_type): (NodeId, EventTypeId),
        refusal: Refusal,
        now_unix_ns: u64,
    ) {
        // 40 bits: a type, and why.
        let what = u64::from(event_type.0) << 8 | refusal.bits();
        let begin = super::access::spread(source) ^ event_type.0 as usize;
        for probe in 0..PROBES {
            let place = &self.places[(begin + probe) & (REFUSALS_MAX - 1)];
            let held = place.what.load(Ordering::Relaxed);
            if held == 0 {
                place.source.store(source.0, Ordering::Relaxed);
            } else if held != what || place.source.load(Ordering::Relaxed) != source.0 {
                continue;
            }
            let events = place.events.load(Ordering::Relaxed) + 1;
            place.events.store(events, Ordering::Relaxed);
            place.last_unix_ns.store(now_unix_ns, Ordering::Relaxed);
            if held == 0 {
                // Partner: the load in `list`. Whoever sees what, sees whose.
                place.what.store(what, Ordering::Release);
            }
            return;
        }
        self.beyond.store(self.beyond.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Every entry. Costs a look at all places.
    #[must_use]
    pub fn list(&self) -> Vec<Refused> {
        let read = |place: &Place| {
            let what = place.what.load(Ordering::Acquire);
            (what != 0).then(|| Refused {
                source: NodeId(place.source.load(Ordering::Relaxed)),
                event_type: EventTypeId(u32::try_from(what >> 8).unwrap_or_default()),
                refusal: Refusal::of(what),
                events: place.events.load(Ordering::Relaxed),
                last_unix_ns: place.last_unix_ns.load(Ordering::Relaxed),
            })
        };
        self.places.iter().filter_map(read).collect()
    }

    /// Refused events of further nodes and types, for which the table had no place.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond.load(Ordering::Relaxed)
    }
}

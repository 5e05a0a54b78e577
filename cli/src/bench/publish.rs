//! The publishing side of a run: as fast as it goes, or at a rate.
//!
//! Owns one publisher and the event it fills again and again. What happens between bursts (driving
//! the node, sleeping) is the caller's: it knows which threads there are.

use anyhow::Result;
use hdrhistogram::Histogram;
use wireloom::{Clock, Publisher, Refused, Router, Target};

use super::event::Load;
use super::figures::{Percentiles, histogram};

/// Bytes of frames a burst fills: about what the sender takes in one duty cycle, so that the bytes
/// are sent while they are in the cache.
const BURST_BYTES: usize = 63_000;

/// Events prepared before the first of them is published. One at a time would be read back while it
/// is still on its way to the cache, in other pieces than it was written in: the processor then
/// waits until all earlier writes, to the ring too, are done.
const PREPARED_EVENTS: usize = 32;
/// But no more than stay in the cache.
const PREPARED_BYTES: usize = 64 << 10;

/// By which call events are taken.
#[derive(Debug)]
pub(super) enum Call<E: Load> {
    /// In bursts of a publisher.
    Publisher(Box<Publisher<E>>),
    /// In batches of a router.
    Batch(Box<Router>, Target),
    /// By a router, one by one.
    Route(Box<Router>, Target),
}

impl<E: Load> Call<E> {
    /// One event of its own, seen by the sender at once.
    #[inline]
    fn one(&mut self, event: &E) -> Result<(), Refused> {
        match self {
            Self::Publisher(publisher) => publisher.publish(event),
            Self::Batch(router, target) | Self::Route(router, target) => {
                router.route(event, &*target)
            }
        }
        .map(|_| ())
    }
}

#[inline]
fn taken<E, T>(
    events: &[E],
    mut take: impl FnMut(&E) -> Result<T, Refused>,
) -> (usize, Option<Refused>) {
    for (index, event) in events.iter().enumerate() {
        if let Err(refused) = take(event) {
            return (index, Some(refused));
        }
    }
    (events.len(), None)
}

/// What publishes and its count.
pub(super) struct Pump<E: Load> {
    call: Call<E>,
    prepared: Vec<E>,
    burst_events: usize,
    /// Taken by the node; the sequence of the next event.
    pub(super) accepted: u64,
    /// Refused because the ring was full; offered again later.
    pub(super) refused: u64,
    clock: Clock,
}

impl<E: Load> Pump<E> {
    pub(super) fn new(publisher: Publisher<E>, payload_bytes: usize, frame_bytes: usize) -> Self {
        Self::by(Call::Publisher(Box::new(publisher)), payload_bytes, frame_bytes)
    }

    pub(super) fn by(call: Call<E>, payload_bytes: usize, frame_bytes: usize) -> Self {
        let frame_bytes = frame_bytes.max(1);
        let prepared = (PREPARED_BYTES / frame_bytes).clamp(1, PREPARED_EVENTS);
        Self {
            call,
            prepared: (0..prepared).map(|_| E::with_payload(payload_bytes)).collect(),
            burst_events: (BURST_BYTES / frame_bytes).max(1),
            accepted: 0,
            refused: 0,
            clock: Clock::system(),
        }
    }

    /// One burst of up to `events`, of which `sent_ns` gives each its time by its sequence; false
    /// when the ring was full before its end.
    #[inline]
    fn burst(&mut self, events: usize, sent_ns: impl Fn(u64) -> u64) -> Result<bool> {
        let Self { call, prepared, accepted, .. } = self;
        let mut fill = Fill { prepared, accepted };
        let refused = match call {
            Call::Publisher(publisher) => {
                let mut burst = publisher.burst();
                fill.offer(events, sent_ns, |some| taken(some, |event| burst.publish(event)))
            }
            Call::Route(router, target) => fill
                .offer(events, sent_ns, |some| taken(some, |event| router.route(event, &*target))),
            Call::Batch(router, target) => fill.offer(events, sent_ns, |some| {
                let batch = router.route_batch(some, target);
                (usize::try_from(batch.accepted).unwrap_or(usize::MAX), batch.refused)
            }),
        };
        match refused {
            None => Ok(true),
            Some(Refused::BackPressured) => {
                self.refused += 1;
                Ok(false)
            }
            Some(refused) => Err(refused.into()),
        }
    }

    /// One burst of about what the sender takes in a duty cycle; false when the ring was full.
    pub(super) fn one_burst(&mut self) -> Result<bool> {
        let now_ns = self.clock.now_ns();
        self.burst(self.burst_events, |_| now_ns)
    }

    /// As [`Pump::one_burst`] of at most `events`, each with a time of its own.
    pub(super) fn burst_of(&mut self, events: u64, sent_ns: impl Fn(u64) -> u64) -> Result<bool> {
        let events = usize::try_from(events).unwrap_or(usize::MAX).min(self.burst_events);
        self.burst(events, sent_ns)
    }

    /// One event of its own, seen by the sender at once; false when the ring was full.
    #[inline]
    fn single(&mut self) -> Result<bool> {
        let event = &mut self.prepared[0];
        event.fill(self.accepted, self.clock.now_ns());
        match self.call.one(event) {
            Ok(()) => {
                self.accepted += 1;
                Ok(true)
            }
            Err(Refused::BackPressured) => {
                self.refused += 1;
                Ok(false)
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// Publishes as fast as it goes for `for_ns`; `between` runs after each burst and is told
    /// whether the ring was full. Returns how long it took.
    pub(super) fn flood(&mut self, for_ns: u64, mut between: impl FnMut(bool)) -> Result<u64> {
        let from_ns = self.clock.now_ns();
        loop {
            let complete = self.one_burst()?;
            between(!complete);
            let elapsed_ns = self.clock.now_ns().saturating_sub(from_ns);
            if elapsed_ns >= for_ns {
                return Ok(elapsed_ns);
            }
        }
    }

    /// Publishes what is due at each tick of a schedule until it ends; `wait` passes the time until
    /// the monotonic time it is given.
    pub(super) fn pace(&mut self, pace: &mut Pace, mut wait: impl FnMut(u64)) -> Result<()> {
        let offset = self.accepted;
        loop {
            let now_ns = self.clock.now_ns();
            let due = offset + pace.due(now_ns);
            if self.accepted < due {
                pace.note_lag(self.accepted - offset, now_ns);
            }
            while self.accepted < due && self.single()? {}
            if now_ns >= pace.until_ns {
                return Ok(());
            }
            wait(pace.next_tick_ns(now_ns).min(pace.until_ns));
        }
    }
}

/// Events that are filled and offered, some at a time.
struct Fill<'a, E> {
    prepared: &'a mut [E],
    accepted: &'a mut u64,
}

impl<E: Load> Fill<'_, E> {
    /// Offers `events` of them, until one is refused: gives why. `take` gives how many it took.
    #[inline]
    fn offer(
        &mut self,
        mut events: usize,
        sent_ns: impl Fn(u64) -> u64,
        mut take: impl FnMut(&[E]) -> (usize, Option<Refused>),
    ) -> Option<Refused> {
        while events > 0 {
            let some = events.min(self.prepared.len());
            let prepared = &mut self.prepared[..some];
            for (event, sequence) in prepared.iter_mut().zip(*self.accepted..) {
                event.fill(sequence, sent_ns(sequence));
            }
            let (accepted, refused) = take(prepared);
            *self.accepted += accepted as u64;
            if refused.is_some() {
                return refused;
            }
            events -= some;
        }
        None
    }
}

/// A schedule: so many events a second, published in ticks.
#[derive(Debug)]
pub(super) struct Pace {
    from_ns: u64,
    until_ns: u64,
    tick_ns: u64,
    events_per_s: f64,
    lag: Histogram<u64>,
}

impl Pace {
    /// A schedule that begins at `from_ns` and lasts `for_ns`.
    pub(super) fn new(events_per_s: f64, tick_ns: u64, from_ns: u64, for_ns: u64) -> Self {
        let until_ns = from_ns.saturating_add(for_ns);
        Self { from_ns, until_ns, tick_ns: tick_ns.max(1), events_per_s, lag: histogram() }
    }

    /// Events that should have been published by now.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, whole")]
    fn due(&self, now_ns: u64) -> u64 {
        let elapsed_ns = now_ns.min(self.until_ns).saturating_sub(self.from_ns);
        (super::figures::real(elapsed_ns) * self.events_per_s / 1e9) as u64
    }

    /// The first tick after now: ticks missed are not made up for one by one.
    fn next_tick_ns(&self, now_ns: u64) -> u64 {
        let ticks = now_ns.saturating_sub(self.from_ns) / self.tick_ns + 1;
        self.from_ns.saturating_add(ticks.saturating_mul(self.tick_ns))
    }

    /// Remembers how late the first event of a tick is, beyond the tick itself: a schedule that is
    /// not kept makes latencies look better than they are.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, whole")]
    fn note_lag(&mut self, event: u64, now_ns: u64) {
        let due_after_ns = (super::figures::real(event + 1) * 1e9 / self.events_per_s) as u64;
        let late_ns = now_ns.saturating_sub(self.from_ns.saturating_add(due_after_ns));
        self.lag.saturating_record(late_ns.saturating_sub(self.tick_ns).max(1));
    }

    /// How late ticks were published.
    pub(super) fn lag(&self) -> Option<Percentiles> {
        Percentiles::of(&self.lag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_NS: u64 = 1_000_000;

    #[test]
    fn a_schedule_says_how_many_are_due_and_ends() {
        let pace = Pace::new(1_000.0, 500_000, START_NS, 10_000_000);
        assert_eq!(pace.due(0), 0);
        assert_eq!(pace.due(START_NS), 0);
        assert_eq!(pace.due(START_NS + 999_999), 0);
        assert_eq!(pace.due(START_NS + 3_000_000), 3);
        assert_eq!(pace.due(START_NS + 10_000_000), 10);
        assert_eq!(pace.due(START_NS + 99_000_000), 10, "nothing is due after the end");
    }

    #[test]
    fn ticks_are_in_the_future_and_late_ones_are_left_out() {
        let pace = Pace::new(1_000.0, 500_000, START_NS, 10_000_000);
        assert_eq!(pace.next_tick_ns(START_NS), START_NS + 500_000);
        assert_eq!(pace.next_tick_ns(START_NS + 500_000), START_NS + 1_000_000);
        assert_eq!(pace.next_tick_ns(START_NS + 4_600_000), START_NS + 5_000_000);
    }

    #[test]
    fn lag_is_what_exceeds_the_tick() {
        let mut pace = Pace::new(1_000.0, 500_000, START_NS, 10_000_000);
        assert_eq!(pace.lag(), None);
        pace.note_lag(0, START_NS + 1_400_000);
        assert!(pace.lag().unwrap().max < 0.01, "within the tick");
        pace.note_lag(0, START_NS + 3_500_000);
        assert!((pace.lag().unwrap().max - 2_000.0).abs() < 3.0, "{:?}", pace.lag());
    }
}

//! The rings of subscribers as the node keeps them: made here, with what both ends say of them.
//! Cold path only.

use std::sync::Arc;

use wireloom_dataplane::counters::CounterMeaning;
use wireloom_dataplane::inbound::{
    InboundCounters, RingReader, RingSubscriber, ShedReason, TakenCounters, inbound,
};
use wireloom_dataplane::wake::Wake;

use crate::intake::Intake;
use crate::outcome::SubscribeError;
use crate::shared::Shared;

/// What both ends of a subscriber's ring say of it.
#[derive(Debug)]
pub(crate) struct RingBook {
    /// What the subscriber asked for.
    pub(crate) what: String,
    pub(crate) inbound: Arc<InboundCounters>,
    pub(crate) taken: Arc<TakenCounters>,
}

impl RingBook {
    /// Events shed at this ring for a reason, by either end.
    pub(crate) fn shed(&self, reason: ShedReason) -> u64 {
        self.inbound.shed(reason) + self.taken.shed(reason)
    }
}

/// What subscribers' rings took in and gave up, by reason, as counters.
pub(crate) fn given_up(rings: &[RingBook]) -> impl Iterator<Item = (&'static CounterMeaning, u64)> {
    ShedReason::ALL.into_iter().filter_map(|reason| {
        let events = rings.iter().map(|ring| ring.shed(reason)).sum::<u64>();
        reason.meaning().filter(|_| events > 0).map(|meaning| (meaning, events))
    })
}

impl Shared {
    /// A ring from one receiver to a subscriber's thread, who sleeps at `wake`.
    pub(crate) fn inbound(
        &self,
        (what, receiver): (&str, usize),
        intake: Intake,
        wake: Option<Arc<Wake>>,
    ) -> Result<(RingSubscriber, RingReader), SubscribeError> {
        let (policy, ring_bytes) = intake.check()?;
        let ring_bytes = ring_bytes.unwrap_or(self.sizes.subscriber_ring_bytes);
        let halves = self.ring(ring_bytes).map_err(SubscribeError::Ring)?;
        let wakes = (wake, self.receivers[receiver].wake.clone());
        let (subscriber, reader) = inbound(halves, policy, wakes);
        let mut books = self.books();
        books.ring_bytes += policy.beside_bytes(ring_bytes);
        books.rings.push(RingBook {
            what: what.to_owned(),
            inbound: Arc::clone(subscriber.counters()),
            taken: Arc::clone(reader.taken()),
        });
        drop(books);
        Ok((subscriber, reader))
    }
}

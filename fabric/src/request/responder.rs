//! Who answers requests: a closure on the receiving worker that gives a reply for each.

use std::any::Any;
use std::fmt::Display;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use rkyv::Archived;
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::dispatch::{Origin, Subscriber, SubscriptionId, Verdict, Wanted, is_over};
use wireloom_wire::{EventTypeId, Frame, event_type_id};

use crate::decode::DecodeError;
use crate::envelope::Envelope;
use crate::event::Event;
use crate::handler::{HandlerCounters, Panics};
use crate::node::Node;
use crate::outcome::SubscribeError;
use crate::reports::message_of;
use crate::request::Failure;
use crate::request::answers::AnswerWriter;
use crate::request::exchange::request_name;
use crate::shared::Shared;

/// What a responder may give: a reply, or the result of trying to make one, whose error the
/// requester reads as [`Failure::Responder`].
pub trait Answer {
    /// The event that the reply is.
    type Reply: Event;

    /// The reply, or why there is none.
    ///
    /// # Errors
    /// In the responder's own words.
    fn into_reply(self) -> Result<Self::Reply, String>;
}

impl<R: Event> Answer for R {
    type Reply = R;

    fn into_reply(self) -> Result<R, String> {
        Ok(self)
    }
}

impl<R: Event, F: Display> Answer for Result<R, F> {
    type Reply = R;

    fn into_reply(self) -> Result<R, String> {
        self.map_err(|failure| failure.to_string())
    }
}

/// Answers the requests of one type, whoever makes the replies.
pub(crate) struct Answering {
    answers: AnswerWriter,
    counters: Arc<HandlerCounters>,
    clock: Clock,
}

impl Answering {
    pub(crate) fn new(
        shared: &Shared,
        counters: Arc<HandlerCounters>,
    ) -> Result<Self, SubscribeError> {
        let (answers, clock) = (AnswerWriter::of_responder(shared)?, shared.clock().clone());
        Ok(Self { answers, counters, clock })
    }

    /// Whether whoever asked waits no longer. A reading of the clock (25 ns) for each request with
    /// a deadline, since those before it in the cycle may have taken their time.
    fn is_over(&self, frame: &Frame<'_>, origin: &Origin) -> bool {
        is_over(frame, origin, || self.clock.unix_ns(self.clock.now_ns()))
    }

    /// Answers one request with what `handler` gives, unless its time is over. A panic in it is
    /// told to the requester, and goes on.
    pub(crate) fn answer<Q: Event, A: Answer>(
        &mut self,
        frame: &Frame<'_>,
        origin: &Origin,
        handler: impl FnOnce(&Archived<Q>, &Envelope<'_>) -> Result<A, DecodeError>,
    ) -> Verdict {
        let is_over = self.is_over(frame, origin);
        let Self { answers, counters, .. } = self;
        let Some(to) = frame.correlation() else { return counters.count(Verdict::WrongEncoding) };
        if to.subject != A::Reply::TYPE_ID {
            answers.deny(&to, Failure::OtherReply, A::Reply::TYPE);
            return counters.count(Verdict::WrongSchema);
        }
        if is_over {
            return Verdict::Expired;
        }
        let mut seen = false;
        let verdict = counters.take::<Q>((frame, origin), |request| {
            seen = true;
            let envelope = Envelope::new(frame, origin);
            let answer = || handler(request, &envelope).map(Answer::into_reply);
            match catch_unwind(AssertUnwindSafe(answer)) {
                Ok(Ok(Ok(reply))) => answers.reply(&to, &reply),
                Ok(Ok(Err(words))) => answers.deny(&to, Failure::Responder, &words),
                Ok(Err(reason)) => {
                    answers.deny(&to, Failure::Schema, &reason.to_string());
                    return Verdict::BadArchive;
                }
                Err(what) => {
                    answers.deny(&to, Failure::Panicked, &message_of(&*what));
                    // Counted and reported as every handler's.
                    resume_unwind(what);
                }
            }
            Verdict::Delivered
        });
        if !seen {
            let words = if Q::SIGNED && verdict == Verdict::Unconverted {
                "its type is signed, and requests never are: it is answered within a process alone"
            } else {
                Q::TYPE
            };
            answers.deny(&to, Failure::Schema, words);
        }
        verdict
    }
}

/// A closure that answers requests of one type.
struct Responder<Q, A, H> {
    handler: H,
    answering: Answering,
    panics: Panics,
    types: PhantomData<fn(&Q) -> A>,
}

impl<Q, A, H> Subscriber for Responder<Q, A, H>
where
    Q: Event,
    A: Answer,
    H: FnMut(&Archived<Q>, &Envelope<'_>) -> A + Send + 'static,
{
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        let Self { handler, answering, .. } = self;
        answering.answer::<Q, A>(frame, origin, |request, envelope| Ok(handler(request, envelope)))
    }

    fn on_panic(&mut self, id: SubscriptionId, what: &(dyn Any + Send)) {
        self.panics.tell(id, what);
    }
}

impl Shared {
    /// Makes a subscription the one that answers requests of a type.
    pub(crate) fn claim_requests<Q: Event>(
        &self,
        id: SubscriptionId,
    ) -> Result<EventTypeId, SubscribeError> {
        let name = request_name(Q::TYPE);
        let event_type = event_type_id(&name);
        self.know_type(event_type, &name)?;
        let mut table = self.exchange.table();
        let other = table.responders.get(&event_type).filter(|other| **other != id);
        if other.is_some_and(|other| self.books().installed.contains_key(other)) {
            return Err(SubscribeError::AlreadyAnswered(Q::TYPE));
        }
        table.responders.insert(event_type, id);
        Ok(event_type)
    }
}

impl Node {
    /// Answers requests of type `Q` with what `handler` gives: a reply, or a `Result` whose error
    /// the requester reads. It runs on the receiving worker, with the request in place, and must
    /// return quickly; the reply is routed by the control thread, the way the request came. A
    /// request that has waited here for as long as its asker does is not answered, but counted as
    /// `events_expired`.
    ///
    /// One responder of a type for each node; on a node of several receivers it is a method of an
    /// object ([`Node::install`]). Handlers of the event `Q` do not meet requests, and a
    /// responder does not meet events.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wireloom::{Event, Node, Target};
    ///
    /// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    /// #[event(type = "quote-request")]
    /// struct QuoteRequest { instrument: String }
    ///
    /// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    /// #[event(type = "quote")]
    /// struct Quote { cents: u64 }
    ///
    /// let desk = Node::builder("desk").start()?;
    /// desk.respond::<QuoteRequest, _>(|request, _envelope| match request.instrument.as_str() {
    ///     "ACME" => Ok(Quote { cents: 1_250 }),
    ///     other => Err(format!("{other} is not traded here")),
    /// })?;
    ///
    /// let client = Node::builder("client").start()?;
    /// let asks = QuoteRequest { instrument: "ACME".into() };
    /// let target = Target::Node(desk.address());
    /// let quote: Quote = client.router().request(&asks, &target, Duration::from_secs(5))?;
    /// assert_eq!(quote.cents, 1_250);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError::AlreadyAnswered`], and the others of [`SubscribeError`].
    pub fn respond<Q: Event, A: Answer + 'static>(
        &self,
        handler: impl FnMut(&Archived<Q>, &Envelope<'_>) -> A + Send + 'static,
    ) -> Result<SubscriptionId, SubscribeError> {
        let (shared, id) = (&self.shared, self.shared.next_subscription());
        let many = shared.receivers();
        if many > 1 {
            return Err(SubscribeError::OneHandlerManyReceivers(many));
        }
        let event_type = shared.claim_requests::<Q>(id)?;
        let counters = Arc::new(HandlerCounters::default());
        let panics = Panics::new::<Q>(&counters, &shared.reports);
        let answering = Answering::new(shared, Arc::clone(&counters))?;
        let responder = Responder::<Q, A, _> { handler, answering, panics, types: PhantomData };
        shared.subscribe(id, (0, Wanted::Types(vec![event_type])), Box::new(responder))?;
        shared.account(Q::TYPE, counters);
        Ok(id)
    }
}

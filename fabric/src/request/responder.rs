//! Who answers requests: a closure on the receiving worker that gives a reply for each.

use std::any::Any;
use std::fmt::Display;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use rkyv::Archived;
use wireloom_dataplane::dispatch::{Origin, Subscriber, SubscriptionId, Verdict, Wanted};
use wireloom_wire::{Correlation, Encoding, Frame, event_type_id};

use crate::decode::access;
use crate::envelope::Envelope;
use crate::event::Event;
use crate::handler::{HandlerCounters, Panics};
use crate::node::Node;
use crate::outcome::SubscribeError;
use crate::reports::message_of;
use crate::request::Failure;
use crate::request::answers::AnswerWriter;
use crate::request::exchange::request_name;

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

/// A closure that answers requests of one type.
pub(crate) struct Responder<Q, A, H> {
    handler: H,
    answers: AnswerWriter,
    counters: Arc<HandlerCounters>,
    panics: Panics,
    types: PhantomData<fn(&Q) -> A>,
}

impl<Q, A, H> Responder<Q, A, H>
where
    Q: Event,
    A: Answer,
    H: FnMut(&Archived<Q>, &Envelope<'_>) -> A,
{
    fn answer(&mut self, frame: &Frame<'_>, origin: &Origin, to: &Correlation) -> Verdict {
        let refuse = |answers: &mut AnswerWriter, failure, words: &str, verdict| {
            answers.deny(to, failure, words);
            verdict
        };
        if to.subject != A::Reply::TYPE_ID {
            let words = A::Reply::TYPE;
            self.counters.count(Verdict::WrongSchema);
            return refuse(&mut self.answers, Failure::OtherReply, words, Verdict::WrongSchema);
        }
        if !self.counters.admits::<Q>(frame) {
            return refuse(&mut self.answers, Failure::Schema, Q::TYPE, Verdict::WrongSchema);
        }
        let Ok(request) = access::<Q>(frame.payload()) else {
            return refuse(&mut self.answers, Failure::Schema, Q::TYPE, Verdict::BadArchive);
        };
        let (handler, envelope) = (&mut self.handler, Envelope::new(frame, origin));
        match catch_unwind(AssertUnwindSafe(|| handler(request, &envelope).into_reply())) {
            Ok(Ok(reply)) => self.answers.reply(to, &reply),
            Ok(Err(words)) => self.answers.deny(to, Failure::Responder, &words),
            Err(what) => {
                self.answers.deny(to, Failure::Panicked, &message_of(&*what));
                // Counted and reported as every handler's.
                resume_unwind(what);
            }
        }
        Verdict::Delivered
    }
}

impl<Q, A, H> Subscriber for Responder<Q, A, H>
where
    Q: Event,
    A: Answer,
    H: FnMut(&Archived<Q>, &Envelope<'_>) -> A + Send + 'static,
{
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        let verdict = match frame.correlation() {
            Some(to) if frame.header.encoding == Encoding::Rkyv => self.answer(frame, origin, &to),
            _ => Verdict::WrongEncoding,
        };
        match verdict {
            // Counted where it was found.
            Verdict::WrongSchema => verdict,
            _ => self.counters.count(verdict),
        }
    }

    fn on_panic(&mut self, id: SubscriptionId, what: &(dyn Any + Send)) {
        self.panics.tell(id, what);
    }
}

impl Node {
    /// Answers requests of type `Q` with what `handler` gives: a reply, or a `Result` whose error
    /// the requester reads. It runs on the receiving worker, with the request in place, and must
    /// return quickly; the reply is routed by the control thread, the way the request came.
    ///
    /// One responder of a type for each node. Handlers of the event `Q` do not meet requests, and a
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
        match self.shared.receivers() {
            1 => {
                let mut handler = Some(handler);
                self.respond_each::<Q, A, _>(|_receiver| handler.take())
            }
            many => Err(SubscribeError::OneHandlerManyReceivers(many)),
        }
    }

    /// One responder for each receiver, under one id.
    fn respond_each<Q: Event, A: Answer + 'static, H>(
        &self,
        mut make: impl FnMut(usize) -> Option<H>,
    ) -> Result<SubscriptionId, SubscribeError>
    where
        H: FnMut(&Archived<Q>, &Envelope<'_>) -> A + Send + 'static,
    {
        let (shared, id) = (&self.shared, self.shared.next_subscription());
        let name = request_name(Q::TYPE);
        let event_type = event_type_id(&name);
        shared.know_type(event_type, &name)?;
        {
            let mut table = shared.exchange.table();
            let answered = table.responders.get(&event_type);
            if answered.is_some_and(|old| shared.books().installed.contains_key(old)) {
                return Err(SubscribeError::AlreadyAnswered(Q::TYPE));
            }
            table.responders.insert(event_type, id);
        }
        for receiver in 0..shared.receivers() {
            let Some(handler) = make(receiver) else { continue };
            let counters = Arc::new(HandlerCounters::default());
            let responder = Responder::<Q, A, H> {
                handler,
                answers: AnswerWriter::of_responder(shared)?,
                panics: Panics::new::<Q>(&counters, &shared.reports),
                counters: Arc::clone(&counters),
                types: PhantomData,
            };
            let at = (receiver, Wanted::Types(vec![event_type]));
            shared.subscribe(id, at, Box::new(responder))?;
            shared.account(Q::TYPE, counters);
        }
        Ok(id)
    }
}

//! Requests: an event that is answered by another, to the same targets as every event.
//!
//! | file | what lives there |
//! |---|---|
//! | `request.rs` | the requester's face: [`Router::request`], the reply that is awaited |
//! | `request/exchange.rs` | the table of requests under way |
//! | `request/inbox.rs` | replies that come in (control thread) |
//! | `request/responder.rs` | who answers (worker) |
//! | `request/answers.rs` | answers that go out (worker, then control thread) |

pub(crate) mod answers;
pub(crate) mod exchange;
mod inbox;
pub(crate) mod responder;

use std::borrow::Borrow;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use wireloom_wire::{
    Correlation, Encoding, EventTypeId, ExchangeKind, FrameFlags, FrameHeader, event_type_id,
};

use crate::decode::{DecodeError, access, to_owned};
use crate::encode::encode_growing;
use crate::event::Event;
use crate::outcome::{NoRoute, Refused, SubscribeError};
use crate::receipt::Unpark;
use crate::request::exchange::{Part, Promise, REQUESTS_MAX, Settled, request_name};
use crate::router::Router;
use crate::shared::Shared;
use crate::target::Target;

/// Why a node that was asked gives no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It has no responder for the request's type.
    NoResponder,
    /// Its responder returned an error.
    Responder,
    /// Its responder panicked.
    Panicked,
    /// Its responder replies with another type.
    OtherReply,
    /// Its request or reply type has another schema, or the request was damaged.
    Schema,
    /// The reply does not fit the way the request came: a packet by datagram, 64 KiB otherwise.
    ReplyTooLarge,
    /// For a reason this version does not know.
    Other,
}

impl Failure {
    const ALL: [Self; 7] = [
        Self::Other,
        Self::NoResponder,
        Self::Responder,
        Self::Panicked,
        Self::OtherReply,
        Self::Schema,
        Self::ReplyTooLarge,
    ];

    /// What stands for it on the wire.
    pub(crate) fn code(self) -> u8 {
        let place = Self::ALL.iter().position(|one| *one == self);
        place.and_then(|place| u8::try_from(place).ok()).unwrap_or_default()
    }

    pub(crate) fn of(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Other)
    }
}

/// Why a request has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The node that was asked answers no requests of this type, and said so; or no member of the
    /// cluster wants them.
    #[error("nobody there answers {request} requests: a node does by Node::respond")]
    NoResponder {
        /// The request's type.
        request: &'static str,
    },
    /// Nothing was heard in time: the node is not there or busy, request or reply was lost, or, of
    /// many that were asked, none answers.
    #[error("no reply to a {request} request within {waited:?}")]
    TimedOut {
        /// The request's type.
        request: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// The request was not taken; nothing was sent.
    #[error("the request was not sent: {0}")]
    Refused(#[from] Refused),
    /// The responder could not, or would not, reply.
    #[error("the {request} request failed ({reason:?}): {message}")]
    Failed {
        /// The request's type.
        request: &'static str,
        /// What went wrong.
        reason: Failure,
        /// In the responder's words, where it has some; at most 512 bytes, as they came.
        message: String,
    },
    /// A reply came that is not one of its type.
    #[error("the reply to a {request} request cannot be read: {reason}")]
    Unreadable {
        /// The request's type.
        request: &'static str,
        /// Why.
        reason: DecodeError,
    },
    /// This node has as many requests under way as it can.
    #[error("this node already has its {0} requests under way: wait for replies")]
    Exhausted(usize),
    /// This node could not be made to hear replies.
    #[error("replies could not be subscribed to: {0}")]
    Subscribe(#[from] SubscribeError),
}

/// A reply that will come: to be waited for by a thread, or awaited in any async runtime (the
/// control thread wakes it). Dropping it gives the request up; the responder does not learn of it.
#[derive(Debug)]
#[must_use = "a reply is nothing unless it is waited for"]
pub struct PendingReply<R> {
    shared: Arc<Shared>,
    promise: Arc<Promise>,
    id: u64,
    request: &'static str,
    begun: Instant,
    timeout: Duration,
    settled: bool,
    reply: PhantomData<fn() -> R>,
}

impl<R: Event> PendingReply<R> {
    /// Waits for the reply. Blocks the thread; not for handlers, which run on the worker that would
    /// have to bring it.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn wait(mut self) -> Result<R, RequestError> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            if let Some(settled) = self.promise.take(&waker) {
                return self.end(settled);
            }
            let left = self.timeout.saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                // Also where nobody drives the control thread.
                self.settled = true;
                self.shared.exchange.leave(self.id, true);
                return self.end(Settled::TimedOut);
            }
            std::thread::park_timeout(left);
        }
    }

    fn end(&mut self, settled: Settled) -> Result<R, RequestError> {
        self.settled = true;
        let request = self.request;
        match settled {
            Settled::TimedOut => Err(RequestError::TimedOut { request, waited: self.timeout }),
            Settled::Denied(Failure::NoResponder, _) => Err(RequestError::NoResponder { request }),
            Settled::Denied(reason, message) => {
                Err(RequestError::Failed { request, reason, message })
            }
            Settled::Reply(fingerprint, _) if fingerprint != R::FINGERPRINT32 => {
                let message = format!("the reply's schema is {fingerprint}");
                Err(RequestError::Failed { request, reason: Failure::Schema, message })
            }
            Settled::Reply(_, bytes) => access::<R>(&bytes)
                .and_then(to_owned::<R>)
                .map_err(|reason| RequestError::Unreadable { request, reason }),
        }
    }
}

impl<R: Event> Future for PendingReply<R> {
    type Output = Result<R, RequestError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.promise.take(context.waker()) {
            Some(settled) => Poll::Ready(self.end(settled)),
            None => Poll::Pending,
        }
    }
}

impl<R> Drop for PendingReply<R> {
    fn drop(&mut self) {
        if !self.settled {
            self.shared.exchange.leave(self.id, false);
        }
    }
}

impl Router {
    /// Routes a request and waits for its reply: [`Router::begin_request`] and
    /// [`PendingReply::wait`] in one.
    ///
    /// # Errors
    /// See [`RequestError`]; `NoResponder` comes as fast as a reply would.
    pub fn request<Q: Event, R: Event>(
        &mut self,
        request: &Q,
        target: impl Borrow<Target>,
        timeout: Duration,
    ) -> Result<R, RequestError> {
        self.begin_request(request, target, timeout)?.wait()
    }

    /// Routes a request to a target; its reply is what this returns. Asked of one node by datagram,
    /// request or reply may be lost like every event, and then it times out; asked reliably, both
    /// go reliably. A request to a group, or to whoever is interested, takes the first reply.
    ///
    /// By which transport it goes, and where to, the target says, or the rules, its priority, its
    /// type, its size, as for an event of its type ([`Router::explain`] tells). One for a single
    /// node stays with a single node: a rule that leads to many is refused
    /// ([`NoRoute::RequestToMany`]). What no packet to a node holds goes there by TCP unless a
    /// datagram was demanded; to a group it is refused.
    ///
    /// Within this process alone where either type is [signed](Event::SIGNED): an exchange is not.
    ///
    /// `timeout` travels as the request's deadline; the responder counts it by its own clock, from
    /// when it has the request. Costs a lock and a waking of the control thread beside the routing.
    ///
    /// # Errors
    /// [`RequestError::Refused`], [`RequestError::Exhausted`], [`RequestError::Subscribe`];
    /// [`RequestError::NoResponder`] where no member of the cluster answers the type.
    pub fn begin_request<Q: Event, R: Event>(
        &mut self,
        request: &Q,
        target: impl Borrow<Target>,
        timeout: Duration,
    ) -> Result<PendingReply<R>, RequestError> {
        let shared = Arc::clone(self.shared());
        shared.attend_replies()?;
        let event_type = event_type_id(&request_name(Q::TYPE));
        let asking = match self.asking(request, target.borrow(), event_type) {
            Err(Refused::NoRoute(NoRoute::NobodyInterested)) => {
                return Err(RequestError::NoResponder { request: Q::TYPE });
            }
            asking => asking?,
        };
        let targets = &asking.targets;
        if let Some(what) = unsignable::<Q, R>()
            && targets.iter().any(|target| !matches!(target, Target::Local))
        {
            return Err(Refused::Unsignable { what }.into());
        }
        let group = matches!(targets[..], [Target::Multicast(_) | Target::Broadcast(_)]);
        let many = group || targets.len() > 1;
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline_ns = shared.clock().now_ns().saturating_add(timeout_ns);
        let begun = shared.exchange.begin((R::TYPE_ID, many), deadline_ns);
        let (id, promise) = begun.ok_or(RequestError::Exhausted(REQUESTS_MAX))?;
        let pending = PendingReply {
            promise,
            id,
            request: Q::TYPE,
            begun: Instant::now(),
            timeout,
            settled: false,
            reply: PhantomData,
            shared,
        };
        let unix_ns = pending.shared.unix_ns().saturating_add(timeout_ns);
        let deadline_ns = self.deadline_ns().map_or(unix_ns, |own| own.min(unix_ns));
        let kind = if many { ExchangeKind::Query } else { ExchangeKind::Request };
        let asked = Asked { event_type, id, kind, reply: R::TYPE_ID, deadline_ns };
        let mut sent = Err(Refused::from(NoRoute::NoTargets));
        for target in targets {
            // Each of them is asked; one that was reached is enough.
            let by_tcp = match target {
                Target::Node(address) if asking.may_stream => Some(Target::Reliable(*address)),
                _ => None,
            };
            let one = match (self.ask(request, (target, by_tcp.is_some()), &asked), by_tcp) {
                (Err(Refused::TooLarge { .. }), Some(by_tcp)) => {
                    self.ask(request, (&by_tcp, false), &asked)
                }
                (one, _) => one,
            };
            sent = sent.or(one);
        }
        // Refused, it is dropped, and out of the table.
        sent.map(|()| pending).map_err(RequestError::Refused)
    }

    fn ask<Q: Event>(
        &mut self,
        request: &Q,
        (target, spills): (&Target, bool),
        asked: &Asked,
    ) -> Result<(), Refused> {
        let shared = Arc::clone(self.shared());
        let (way, address, port) = shared.exchange.reply_to(&shared, target);
        let (id, kind, subject) = (asked.id, asked.kind, asked.reply);
        let correlation = Correlation { id, kind, way, address, port, subject };
        let header = FrameHeader {
            length: 0,
            event_type: asked.event_type,
            fingerprint: Q::FINGERPRINT32,
            priority: Q::PRIORITY,
            encoding: Encoding::Rkyv,
            flags: FrameFlags::empty(),
            sequence: 0,
            timestamp_ns: 0,
        };
        let deadline_ns = Some(asked.deadline_ns);
        let part = Part { header, correlation: &correlation, deadline_ns };
        let payload = |into: &mut [u8], scratch: &mut _| encode_growing(request, into, scratch);
        self.route_exchange(&part, (target, spills), payload).map(drop)
    }
}

/// What of an exchange other nodes would have to believe unsigned, though its type is signed.
const fn unsignable<Q: Event, R: Event>() -> Option<&'static str> {
    match (Q::SIGNED, R::SIGNED) {
        (true, _) => Some("a request"),
        (false, true) => Some("a reply"),
        (false, false) => None,
    }
}

/// A request, whomever it goes to.
struct Asked {
    event_type: EventTypeId,
    id: u64,
    kind: ExchangeKind,
    reply: EventTypeId,
    deadline_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_codes_and_unknown_codes_are_other() {
        for failure in Failure::ALL {
            assert_eq!(Failure::of(failure.code()), failure);
        }
        assert_eq!(Failure::of(200), Failure::Other);
    }
}

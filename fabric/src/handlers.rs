//! Objects whose methods are handlers: what `#[handlers]` names, [`Node::install`] installs as one
//! subscription that owns the object, so that no two of its methods run at a time.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rkyv::Archived;
use wireloom_dataplane::dispatch::{Origin, Subscriber, SubscriptionId, Verdict, Wanted};
use wireloom_wire::{EventTypeId, Frame};

use crate::decode::DecodeError;
use crate::envelope::Envelope;
use crate::event::Event;
use crate::handler::{HandlerCounters, Panics};
use crate::node::Node;
use crate::outcome::SubscribeError;
use crate::request::exchange::lock;
use crate::request::responder::{Answer, Answering};
use crate::shared::Shared;
use crate::subscription::Subscription;

#[doc(inline)]
pub use wireloom_derive::handlers;

/// The samples of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/handlers.md")]
struct Guide;

/// An object whose methods are handlers. [`macro@handlers`] writes it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no handlers",
    note = "write #[wireloom::handlers] on its impl block, #[on] on the methods that take events"
)]
pub trait Handlers: Sized + Send + 'static {
    /// Names each handler once.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    fn methods(methods: &mut Methods<'_, Self>) -> Result<(), SubscribeError>;
}

type Call<T> = Box<dyn FnMut(&mut T, &Frame<'_>, &Origin) -> Verdict + Send>;

struct Method<T> {
    event_type: EventTypeId,
    call: Call<T>,
    panics: Panics,
}

/// The handlers of one object at one receiver, while they are named.
pub struct Methods<'a, T> {
    shared: &'a Shared,
    id: SubscriptionId,
    methods: Vec<Method<T>>,
    /// Of each `once` handler, whether it has run: the same at every receiver.
    once: &'a mut Vec<Arc<AtomicBool>>,
    once_named: usize,
}

impl<T> std::fmt::Debug for Methods<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Methods").field("named", &self.methods.len()).finish_non_exhaustive()
    }
}

impl<T: Handlers> Methods<'_, T> {
    /// A method for every event of type `E`. It says why an event could not be taken.
    ///
    /// # Errors
    /// [`SubscribeError::TypeIdCollision`].
    pub fn on<E: Event, H>(&mut self, mut method: H) -> Result<(), SubscribeError>
    where
        H: FnMut(&mut T, &Archived<E>, &Envelope<'_>) -> Result<(), DecodeError> + Send + 'static,
    {
        self.event::<E>(move |object, event, envelope| match method(object, event, envelope) {
            Ok(()) => Verdict::Delivered,
            Err(_) => Verdict::BadArchive,
        })
    }

    /// A method for the first event of type `E` alone.
    ///
    /// # Errors
    /// As [`Methods::on`].
    pub fn once<E: Event, H>(&mut self, mut method: H) -> Result<(), SubscribeError>
    where
        H: FnMut(&mut T, &Archived<E>, &Envelope<'_>) -> Result<(), DecodeError> + Send + 'static,
    {
        if self.once.len() == self.once_named {
            self.once.push(Arc::default());
        }
        let done = Arc::clone(&self.once[self.once_named]);
        self.once_named += 1;
        self.event::<E>(move |object, event, envelope| {
            // Two methods of an object never run at a time: no exchange is needed.
            if done.load(Ordering::Acquire) {
                return Verdict::Passed;
            }
            done.store(true, Ordering::Release);
            match method(object, event, envelope) {
                Ok(()) => Verdict::Delivered,
                Err(_) => Verdict::BadArchive,
            }
        })
    }

    /// A method that answers requests of type `Q`.
    ///
    /// # Errors
    /// As [`Node::respond`].
    pub fn respond<Q: Event, A: Answer>(
        &mut self,
        mut method: impl FnMut(&mut T, &Archived<Q>, &Envelope<'_>) -> Result<A, DecodeError>
        + Send
        + 'static,
    ) -> Result<(), SubscribeError> {
        let event_type = self.shared.claim_requests::<Q>(self.id)?;
        let counters = self.counters::<Q>();
        let panics = Panics::new::<Q>(&counters, &self.shared.reports);
        let mut answering = Answering::new(self.shared, counters)?;
        let call = Box::new(move |object: &mut T, frame: &Frame<'_>, origin: &Origin| {
            answering.answer::<Q, A>(frame, origin, |request, envelope| {
                method(object, request, envelope)
            })
        });
        self.methods.push(Method { event_type, call, panics });
        Ok(())
    }

    fn counters<E: Event>(&self) -> Arc<HandlerCounters> {
        let counters = Arc::new(HandlerCounters::default());
        self.shared.account(E::TYPE, Arc::clone(&counters));
        counters
    }

    fn event<E: Event>(
        &mut self,
        mut method: impl FnMut(&mut T, &Archived<E>, &Envelope<'_>) -> Verdict + Send + 'static,
    ) -> Result<(), SubscribeError> {
        self.shared.know_type(E::TYPE_ID, E::TYPE)?;
        self.shared.serve_older::<E>()?;
        let counters = self.counters::<E>();
        let panics = Panics::new::<E>(&counters, &self.shared.reports);
        let call = Box::new(move |object: &mut T, frame: &Frame<'_>, origin: &Origin| {
            counters.take::<E>((frame, origin), |event| {
                method(object, event, &Envelope::new(frame, origin))
            })
        });
        self.methods.push(Method { event_type: E::TYPE_ID, call, panics });
        Ok(())
    }
}

/// How a worker comes to the object.
trait Hold<T>: Send {
    fn with(&mut self, run: impl FnOnce(&mut T) -> Verdict) -> Verdict;
}

/// The only worker owns it.
struct Own<T>(T);

impl<T: Send> Hold<T> for Own<T> {
    #[inline]
    fn with(&mut self, run: impl FnOnce(&mut T) -> Verdict) -> Verdict {
        run(&mut self.0)
    }
}

impl<T: Send> Hold<T> for Arc<Mutex<T>> {
    fn with(&mut self, run: impl FnOnce(&mut T) -> Verdict) -> Verdict {
        run(&mut lock(self))
    }
}

/// The handlers of an object at one receiver.
struct Installed<T, O> {
    object: O,
    methods: Vec<Method<T>>,
    /// Which one runs, for the one that panics.
    running: usize,
}

impl<T: Handlers, O: Hold<T> + 'static> Subscriber for Installed<T, O> {
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        let Self { object, methods, running } = self;
        let mut outcome = Verdict::Passed;
        for (place, method) in methods.iter_mut().enumerate() {
            if method.event_type != frame.header.event_type {
                continue;
            }
            *running = place;
            let verdict = object.with(|object| (method.call)(object, frame, origin));
            // Taken by one is taken; otherwise the first reason stands.
            if outcome == Verdict::Passed || verdict == Verdict::Delivered {
                outcome = verdict;
            }
        }
        outcome
    }

    fn on_panic(&mut self, id: SubscriptionId, what: &(dyn Any + Send)) {
        if let Some(method) = self.methods.get_mut(self.running) {
            method.panics.tell(id, what);
        }
    }
}

impl Node {
    /// Installs an object whose methods are handlers; they end when the guard is dropped, and the
    /// object with them.
    ///
    /// No two of its methods run at a time. At a node of one receiver the worker owns the object
    /// and no lock is taken; with several it stands behind a mutex, taken for each event.
    ///
    /// A method that panics ends as a handler does ([`Node::on`]): its object goes on, and after 16
    /// panics of one method in a row the whole object is ended. Methods behind the one that
    /// panicked do not meet that event.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rkyv::Archived;
    /// use wireloom::{Envelope, Event, Node, Target, handlers};
    ///
    /// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    /// #[event(type = "user-interaction")]
    /// struct UserInteraction { user_id: u64, action: String }
    ///
    /// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    /// #[event(type = "click-count-request")]
    /// struct ClickCountRequest { user_id: u64 }
    ///
    /// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    /// #[event(type = "click-count")]
    /// struct ClickCount { clicks: u64 }
    ///
    /// #[derive(Default)]
    /// struct Analytics { clicks: u64 }
    ///
    /// #[handlers]
    /// impl Analytics {
    ///     #[on]
    ///     fn user_click(&mut self, event: &Archived<UserInteraction>, envelope: &Envelope<'_>) {
    ///         if event.action == "click" && envelope.timestamp_ns() > 0 {
    ///             self.clicks += 1;
    ///         }
    ///     }
    ///
    ///     #[on]
    ///     fn count(&mut self, _request: &Archived<ClickCountRequest>) -> ClickCount {
    ///         ClickCount { clicks: self.clicks }
    ///     }
    /// }
    ///
    /// let node = Node::builder("analytics").start()?;
    /// let analytics = node.install(Analytics::default())?;
    /// let mut router = node.router();
    /// router.route(&UserInteraction { user_id: 7, action: "click".into() }, Target::Local)?;
    /// let asks = ClickCountRequest { user_id: 7 };
    /// let count: ClickCount = router.request(&asks, Target::Local, Duration::from_secs(5))?;
    /// assert_eq!(count.clicks, 1);
    /// analytics.end()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`SubscribeError`]; nothing stays installed then.
    pub fn install<T: Handlers>(&self, object: T) -> Result<Subscription, SubscribeError> {
        let (shared, id) = (&self.shared, self.shared.next_subscription());
        let guard = Subscription::new(shared, vec![id]);
        let mut once = Vec::new();
        if shared.receivers() == 1 {
            shared.install(id, (0, Own(object)), &mut once)?;
            return Ok(guard);
        }
        let object = Arc::new(Mutex::new(object));
        for receiver in 0..shared.receivers() {
            shared.install::<T, _>(id, (receiver, Arc::clone(&object)), &mut once)?;
        }
        Ok(guard)
    }
}

impl Shared {
    fn install<T: Handlers, O: Hold<T> + 'static>(
        &self,
        id: SubscriptionId,
        (receiver, object): (usize, O),
        once: &mut Vec<Arc<AtomicBool>>,
    ) -> Result<(), SubscribeError> {
        let mut named = Methods { shared: self, id, methods: Vec::new(), once, once_named: 0 };
        T::methods(&mut named)?;
        let methods = named.methods;
        let mut types: Vec<EventTypeId> = methods.iter().map(|one| one.event_type).collect();
        types.sort_unstable();
        types.dedup();
        let installed = Installed { object, methods, running: 0 };
        self.subscribe(id, (receiver, Wanted::Types(types)), Box::new(installed))
    }
}

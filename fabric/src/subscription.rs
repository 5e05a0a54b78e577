//! Handlers of a node and how they end: [`Node::on`] and its kin, and the guard that ends a
//! subscription when it is dropped.

use std::sync::{Arc, Mutex, PoisonError};

use rkyv::Archived;
use wireloom_dataplane::dispatch::{Lost, SubscriptionId, Verdict, Wanted};

use crate::envelope::Envelope;
use crate::event::Event;
use crate::handler::{LostHandler, TypedHandler};
use crate::node::Node;
use crate::outcome::SubscribeError;
use crate::shared::Shared;

/// A subscription that ends when this is dropped. [`Node::listen`] and [`Node::install`] give it.
///
/// Dropping it does not wait: its handlers may still run until their worker has finished the duty
/// cycle it is in, some microseconds or as long as a handler takes. [`Subscription::end`] waits.
#[derive(Debug)]
#[must_use = "the handler ends when this is dropped at once; `forget` lets it live with its node"]
pub struct Subscription {
    shared: Arc<Shared>,
    ids: Vec<SubscriptionId>,
}

impl Subscription {
    pub(crate) fn new(shared: &Arc<Shared>, ids: Vec<SubscriptionId>) -> Self {
        Self { shared: Arc::clone(shared), ids }
    }

    /// The numbers of its handlers, as the ledger and [`Exception`](crate::events::Exception) say
    /// them.
    #[must_use]
    pub fn ids(&self) -> &[SubscriptionId] {
        &self.ids
    }

    /// Ends it and waits, as [`Node::off`]: once this has returned, its handlers have run for the
    /// last time.
    ///
    /// # Errors
    /// [`SubscribeError::Stalled`] when a worker has taken no commands for two seconds: a handler
    /// blocks it.
    pub fn end(mut self) -> Result<(), SubscribeError> {
        self.shared.end(&std::mem::take(&mut self.ids))
    }

    /// Lets the handlers live as long as their node. [`Node::off`] still ends them, by these ids.
    pub fn forget(mut self) -> Vec<SubscriptionId> {
        std::mem::take(&mut self.ids)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for id in &self.ids {
            // A node that has ended has no handlers left to end.
            let _ = self.shared.unsubscribe(*id);
        }
    }
}

impl Node {
    /// Runs `handler` for every event of type `E` that reaches this node, on the receiving worker,
    /// with the event in place, as long as the node lives or until [`Node::off`]. It must return
    /// quickly: while it runs, nothing is received.
    ///
    /// A panic in it is caught: the event is counted as `events_handler_panicked`, an
    /// [`Exception`](crate::events::Exception) is published, and the handler is called again for
    /// the next event, with whatever state the panic left. After 16 panics without an event taken
    /// in between it is ended.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn on<E: Event>(
        &self,
        handler: impl FnMut(&Archived<E>, &Envelope<'_>) + Send + 'static,
    ) -> Result<SubscriptionId, SubscribeError> {
        match self.shared.receivers() {
            1 => self.install_one::<E>(0, delivered::<E>(handler)),
            many => Err(SubscribeError::OneHandlerManyReceivers(many)),
        }
    }

    /// As [`Node::on`], for a handler that shall not outlive the guard this returns.
    ///
    /// ```
    /// use wireloom::{Event, Node, Target};
    ///
    /// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    /// #[event(type = "door-bell")]
    /// struct DoorBell { floor: u8 }
    ///
    /// let node = Node::builder("house").start()?;
    /// let answering = node.listen::<DoorBell>(|bell, _envelope| assert!(bell.floor < 3))?;
    /// node.router().route(&DoorBell { floor: 2 }, Target::Local)?;
    /// answering.end()?; // from here on the handler does not run, and is not running
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn listen<E: Event>(
        &self,
        handler: impl FnMut(&Archived<E>, &Envelope<'_>) + Send + 'static,
    ) -> Result<Subscription, SubscribeError> {
        let id = self.on::<E>(handler)?;
        Ok(Subscription::new(&self.shared, vec![id]))
    }

    /// As [`Node::on`] for a node with several receivers: makes a handler for each of them.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn on_each<E: Event, H>(
        &self,
        mut make: impl FnMut(usize) -> H,
    ) -> Result<Vec<SubscriptionId>, SubscribeError>
    where
        H: FnMut(&Archived<E>, &Envelope<'_>) + Send + 'static,
    {
        let receivers = 0..self.shared.receivers();
        receivers
            .map(|receiver| self.install_one::<E>(receiver, delivered::<E>(make(receiver))))
            .collect()
    }

    fn install_one<E: Event>(
        &self,
        receiver: usize,
        handler: impl FnMut(&Archived<E>, &Envelope<'_>) -> Verdict + Send + 'static,
    ) -> Result<SubscriptionId, SubscribeError> {
        let id = self.shared.next_subscription();
        let handler = TypedHandler::<E, _>::new(handler, &self.shared.reports);
        self.shared.subscribe_one::<E>(id, receiver, handler)?;
        Ok(id)
    }

    /// Runs `handler` for the next event of type `E` and for no other, also when several come in
    /// one packet or at several receivers; then its subscription ends by itself. If it panics, that
    /// was it. [`Node::off`] ends it before.
    ///
    /// Events that come before the subscription has ended, some microseconds to a millisecond, are
    /// counted as nobody's.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn once<E: Event>(
        &self,
        handler: impl FnOnce(&Archived<E>, &Envelope<'_>) + Send + 'static,
    ) -> Result<SubscriptionId, SubscribeError> {
        let (shared, id) = (&self.shared, self.shared.next_subscription());
        let slot = Arc::new(Mutex::new(Some(handler)));
        for receiver in 0..shared.receivers() {
            let (slot, reports) = (Arc::clone(&slot), Arc::clone(&shared.reports));
            let (mut done, mut told) = (false, false);
            let first = move |event: &Archived<E>, envelope: &Envelope<'_>| {
                let handler = if done { None } else { lock(&slot).take() };
                done = true;
                // Before it runs: should it panic, it is done as well.
                told = told || reports.tell_finished(id);
                match handler {
                    Some(handler) => handler(event, envelope),
                    None => return Verdict::Passed,
                }
                Verdict::Delivered
            };
            let made = TypedHandler::<E, _>::new(first, &shared.reports);
            if let Err(error) = shared.subscribe_one::<E>(id, receiver, made) {
                let _ = shared.unsubscribe(id);
                return Err(error);
            }
        }
        if lock(&slot).is_none() {
            // It ran before the last receiver had its part.
            let _ = shared.unsubscribe(id);
        }
        Ok(id)
    }

    /// Runs `handler` for every gap in a stream this node hears, before the stream's next event is
    /// handled, on the receiving worker.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn on_lost(
        &self,
        handler: impl FnMut(&Lost) + Send + Clone + 'static,
    ) -> Result<SubscriptionId, SubscribeError> {
        let (shared, id) = (&self.shared, self.shared.next_subscription());
        for receiver in 0..shared.receivers() {
            let handler = LostHandler::boxed(handler.clone(), &shared.reports);
            shared.subscribe(id, (receiver, Wanted::Gaps), handler)?;
        }
        Ok(id)
    }

    /// Ends a subscription and waits for its workers: once this has returned, its handler has run
    /// for the last time, and what it wrote can be seen. Ending it twice is no error.
    ///
    /// A handler that calls this, and a caller who drives the node, cannot wait: there it ends
    /// with the worker's present duty cycle, or at the start of the next.
    ///
    /// # Errors
    /// [`SubscribeError::Stalled`] when a worker has taken no commands for two seconds: a handler
    /// blocks it.
    pub fn off(&self, subscription: SubscriptionId) -> Result<(), SubscribeError> {
        self.shared.end(&[subscription])
    }
}

/// A handler that takes every event.
fn delivered<E: Event>(
    mut handler: impl FnMut(&Archived<E>, &Envelope<'_>) + Send + 'static,
) -> impl FnMut(&Archived<E>, &Envelope<'_>) -> Verdict + Send + 'static {
    move |event, envelope| {
        handler(event, envelope);
        Verdict::Delivered
    }
}

fn lock<T>(slot: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

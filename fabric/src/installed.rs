//! The subscriptions a node has: how they come into the receivers' tables, how they leave them, and
//! who may wait for that. Owned by [`Shared`]; the cold path of every kind of handler.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wireloom_dataplane::command::ReceiverCommand;
use wireloom_dataplane::dispatch::{Standing, Subscriber, Subscription, SubscriptionId, Wanted};
use wireloom_dataplane::limits::SUBSCRIPTIONS_MAX;

use crate::event::Event;
use crate::handler::HandlerCounters;
use crate::outcome::SubscribeError;
use crate::shared::{COMMAND_PATIENCE, Shared};

/// Accounts of handlers kept before those of handlers that are gone become one for each type.
const ACCOUNTS_KEPT: usize = 256;

impl Shared {
    /// The id of a subscription to be made. Its parts, one at each receiver, share it.
    pub(crate) fn next_subscription(&self) -> SubscriptionId {
        SubscriptionId(self.subscriptions.fetch_add(1, Ordering::Relaxed))
    }

    /// Installs a handler of one type on one receiver.
    pub(crate) fn subscribe_one<E: Event>(
        &self,
        id: SubscriptionId,
        receiver: usize,
        (subscriber, counters): (Box<dyn Subscriber>, Arc<HandlerCounters>),
    ) -> Result<(), SubscribeError> {
        self.know_type(E::TYPE_ID, E::TYPE)?;
        self.serve_older::<E>()?;
        self.subscribe(id, (receiver, Wanted::Types(vec![E::TYPE_ID])), subscriber)?;
        self.account(E::TYPE, counters);
        Ok(())
    }

    /// Lets the ledger ask for a handler's figures. Those of handlers that are gone become one
    /// entry a type, so that the list stays as short as they are.
    pub(crate) fn account(&self, event_type: &'static str, counters: Arc<HandlerCounters>) {
        let handlers = &mut self.books().handlers;
        if handlers.len() >= ACCOUNTS_KEPT {
            let mut folded: Vec<(&'static str, Arc<HandlerCounters>)> = Vec::new();
            handlers.retain(|(name, old)| {
                let gone = Arc::strong_count(old) == 1;
                if gone {
                    match folded.iter().find(|(known, _)| known == name) {
                        Some((_, sum)) => sum.add(old),
                        None => folded.push((*name, Arc::clone(old))),
                    }
                }
                !gone
            });
            handlers.append(&mut folded);
        }
        handlers.push((event_type, counters));
    }

    /// Installs a subscriber on one receiver, and waits until it is in its table, so that whatever
    /// the caller publishes next reaches it.
    pub(crate) fn subscribe(
        &self,
        id: SubscriptionId,
        (receiver, wanted): (usize, Wanted),
        subscriber: Box<dyn Subscriber>,
    ) -> Result<(), SubscribeError> {
        // The table of access knows its types before anybody is given their events.
        self.refresh_access().map_err(|_| SubscribeError::Stalled)?;
        let mut books = self.books();
        if books.installed.len() >= SUBSCRIPTIONS_MAX {
            return Err(SubscribeError::Exhausted(SUBSCRIPTIONS_MAX));
        }
        self.cluster.want(id, &wanted);
        let subscription = Box::new(Subscription::new(id, wanted, subscriber));
        let standing = subscription.standing().clone();
        self.to_receiver(receiver, ReceiverCommand::Subscribe(subscription))
            .map_err(|()| SubscribeError::Stalled)?;
        books.installed.entry(id).or_default().push((receiver, standing.clone()));
        drop(books);
        self.wait_for_workers(|| standing.is_installed());
        Ok(())
    }

    /// Asks the workers to end a subscription; what says when they have. Nothing when it had ended.
    pub(crate) fn unsubscribe(&self, id: SubscriptionId) -> Result<Vec<Standing>, SubscribeError> {
        let installed = self.books().installed.remove(&id).unwrap_or_default();
        if !installed.is_empty() {
            self.cluster.no_longer_want(id);
        }
        let mut ending = Vec::new();
        for (receiver, standing) in installed {
            self.to_receiver(receiver, ReceiverCommand::Unsubscribe(id))
                .map_err(|()| SubscribeError::Stalled)?;
            ending.push(standing);
        }
        Ok(ending)
    }

    /// Ends subscriptions and waits until their handlers have run for the last time. A worker
    /// cannot wait for itself, nor a caller for agents it drives: there they end with the worker's
    /// present duty cycle, or at the start of the next.
    pub(crate) fn end(&self, ids: &[SubscriptionId]) -> Result<(), SubscribeError> {
        let mut ending = Vec::new();
        for id in ids {
            ending.extend(self.unsubscribe(*id)?);
        }
        if self.wait_for_workers(|| ending.iter().all(Standing::is_ended)) {
            Ok(())
        } else {
            Err(SubscribeError::Stalled)
        }
    }

    /// Waits until the workers have done something, two seconds at most; false when they have not.
    /// True at once where waiting would never end.
    fn wait_for_workers(&self, done: impl Fn() -> bool) -> bool {
        if self.workers.is_empty() || self.workers.contains(&std::thread::current().id()) {
            return true;
        }
        let (mut patience, mut pause) = (COMMAND_PATIENCE, Duration::from_micros(20));
        while !done() {
            if patience.is_zero() {
                return false;
            }
            std::thread::sleep(pause);
            patience = patience.saturating_sub(pause);
            pause = (2 * pause).min(Duration::from_millis(1));
        }
        true
    }
}

//! What control says to an agent, and what comes back: bounded queues, never a wait on the agent's
//! side. What control allocated, control frees: an agent hands it back instead of dropping it.

use std::any::Any;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use wireloom_ring::Consumer;
use wireloom_wire::{LANES, NodeId};

use crate::control_path::ControlIntake;
use crate::counters::{Counter, Counters};
use crate::dispatch::{AccessTable, Subscription, SubscriptionId};
use crate::flow::{FlowControl, Watch};
use crate::keyring::{Demand, PeerKeys};
use crate::large::LargeEvent;
use crate::limits::COMMANDS_MAX;
use crate::link::{Link, LinkId, LinkSeal};
use crate::outbound::Outbound;
use crate::wake::Wake;

/// From control to a sender.
#[derive(Debug)]
pub enum SenderCommand {
    /// A destination events may now be routed to.
    AddLink(Box<Link>),
    /// A destination that is gone; events still marked for it are shed as unroutable.
    RemoveLink(LinkId),
    /// What a link's path takes now: what packets are filled to, and the largest one.
    SetPath(LinkId, usize, usize),
    /// What to do with a link's events when its peer takes no more.
    SetFlow(LinkId, FlowControl),
    /// The link whose datagrams leave by the direct socket, which is connected to its peer; `None`:
    /// no link's.
    SetDirect(Option<LinkId>),
    /// What a link's packets are sealed by from now on; what it had before comes back.
    SetKey(LinkId, Box<LinkSeal>),
    /// A link whose key is not to be used any more, if it sends nothing without one: its events
    /// wait for another.
    TakeKey(LinkId),
    /// A publisher's ring to drain.
    Attach(Box<Outbound>),
}

/// A ring of this process that a receiver drains.
#[derive(Debug)]
pub struct LocalRing {
    /// The ring: records with an origin, see [`crate::inbound`].
    pub consumer: Consumer,
    /// Woken when records have been taken: for a producer that waits for that.
    pub taken: Option<Arc<Wake>>,
}

/// From control to a receiver.
#[derive(Debug)]
pub enum ReceiverCommand {
    /// Somebody wants events.
    Subscribe(Box<Subscription>),
    /// Somebody no longer does.
    Unsubscribe(SubscriptionId),
    /// A ring of events routed inside this process.
    AttachLocal(Box<LocalRing>),
    /// Whether the direct socket is connected and to be looked at.
    SetDirect(bool),
    /// A link whose peer's words are to be passed on to the sender.
    Watch(Box<Watch>),
    /// Where packets for the control plane go from now on.
    AttendControl(Box<ControlIntake>),
    /// A key set shared with a peer. What it takes the place of comes back.
    SetKeys(Box<PeerKeys>),
    /// A peer whose keys open nothing any more; they come back.
    ForgetPeer(NodeId),
    /// What is asked of the packets of each lane from now on.
    RequireSealed([Demand; LANES]),
    /// What other nodes may send here from now on; `None`: everything.
    Access(Option<Box<AccessTable>>),
    /// An event too large for a ring; it goes back when the handlers have taken it.
    Large(Box<LargeEvent>),
}

/// What an agent gives back to be freed by control: a closed ring, a removed link, a subscription.
pub type Returned = Box<dyn Any + Send>;

/// A bounded queue of commands or returns. Many may push, the owner pops.
pub struct Commands<T>(Arc<ArrayQueue<T>>);

impl<T> std::fmt::Debug for Commands<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands").field("waiting", &self.0.len()).finish()
    }
}

impl<T> Clone for Commands<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Commands<T> {
    fn default() -> Self {
        Self(Arc::new(ArrayQueue::new(COMMANDS_MAX)))
    }
}

impl<T> Commands<T> {
    /// Adds a command; gives it back when the queue is full.
    ///
    /// # Errors
    /// The command itself, when [`COMMANDS_MAX`] are waiting: try again once the agent has run.
    pub fn push(&self, command: T) -> Result<(), T> {
        self.0.push(command)
    }

    /// Takes the oldest command. Costs two plain loads when there is none.
    #[inline]
    #[must_use]
    pub fn pop(&self) -> Option<T> {
        if self.0.is_empty() { None } else { self.0.pop() }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The way back for what an agent no longer needs.
#[derive(Debug, Clone, Default)]
pub struct Returns(Commands<Returned>);

impl Returns {
    /// Hands `thing` to control to be freed. When control has not looked for very long and the
    /// queue is full, the thing is leaked rather than freed on a worker, and counted.
    pub fn give_back(&self, thing: Returned, counters: &Counters) {
        if let Err(thing) = self.0.push(thing) {
            counters.add(Counter::ReturnsLeaked, 1);
            std::mem::forget(thing);
        }
    }

    /// Frees what was given back; returns how many things. Called by control.
    #[must_use]
    pub fn free(&self) -> usize {
        std::iter::from_fn(|| self.0.pop()).count()
    }
}

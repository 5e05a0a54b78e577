//! What became of a call: accepted, or refused with a name. Never silence.

use wireloom_wire::Encoding;

use crate::target::TargetError;
use crate::validation::SchemaFault;

/// The event is in this node's hands: it will be sent or dispatched, and from here on every way it
/// can end is counted in the [`Ledger`](crate::Ledger).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The publisher's own number for this event; dense per publisher or router, from 0.
    pub sequence: u64,
    /// Where a reliable event stands; a publisher's only where its number does not say it.
    pub(crate) place: Option<Place>,
}

impl Accepted {
    #[inline]
    pub(crate) const fn new(sequence: u64) -> Self {
        Self { sequence, place: None }
    }
}

/// What a call has come to, in pieces. Returned as a `Result` it goes through memory, and the
/// outcome of the short way beside the call goes with it, written in pieces and read whole: then
/// the caller waits until it is there, 6 ns for each event.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Means nothing beside a refusal.
    accepted: Accepted,
    refused: Option<Refused>,
}

impl Outcome {
    /// Of what was written or refused.
    #[inline]
    pub(crate) fn of(written: Result<(), Refused>, accepted: impl FnOnce() -> Accepted) -> Self {
        match written {
            Ok(()) => Self { accepted: accepted(), refused: None },
            Err(refused) => Self { accepted: Accepted::new(0), refused: Some(refused) },
        }
    }

    /// In one piece, where the caller takes it apart.
    #[inline(always)]
    pub(crate) fn whole(self) -> Result<Accepted, Refused> {
        match self.refused {
            None => Ok(self.accepted),
            Some(refused) => Err(refused),
        }
    }
}

/// A reliable event: which ring it is in, or beside which one if it is large, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) peer: PeerIndex,
    pub(crate) lane: usize,
    /// 1 for a large one, else 0. No `bool`: the outcome of a call would hide its own kind in the
    /// values that has not, and be put together byte by byte through memory for each event.
    pub(crate) large: u32,
    pub(crate) event: u64,
}

/// A peer of reliable events, as one node counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerIndex(pub(crate) u32);

/// Why an event was not taken. The event is still the caller's; nothing of it was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The outbound ring is full: the sender, or the node it sends to, is slower than this
    /// publisher. Try again after a moment, shed, or make the ring larger.
    #[error(
        "the outbound ring is full, the other side takes no more now: publish slower, try again \
         later, or use a larger ring"
    )]
    BackPressured,
    /// The target names no address this node can send to.
    #[error("no route: {0}")]
    NoRoute(NoRoute),
    /// The encoded event does not fit the largest packet of the path (or the ring); to a reliable
    /// target: it is larger than [`stream_bytes_max`](crate::ReliableSettings::stream_bytes_max).
    #[error(
        "the event does not fit: at most {limit} bytes with its header can go to this target; \
         reliable targets take up to tcp.stream_bytes_max"
    )]
    TooLarge {
        /// Largest frame, header and extensions included, in bytes.
        limit: usize,
    },
    /// The event could not be written: more nesting than the encoder's scratch memory holds.
    #[error("the event needs more scratch memory to encode than a publisher keeps")]
    TooComplex,
    /// The payload is not what its encoding says: malformed JSON.
    #[error("the payload is not valid {encoding:?}: {reason}")]
    Malformed {
        /// What it should have been.
        encoding: Encoding,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// The JSON nests deeper than [`JSON_DEPTH_MAX`](crate::json::JSON_DEPTH_MAX).
    #[error("the JSON nests deeper than {}: flatten the event", crate::json::JSON_DEPTH_MAX)]
    TooDeep,
    /// The JSON is not as the schema of its type says ([`Node::json_schema`](crate::Node)).
    #[error(transparent)]
    Schema(Box<SchemaFault>),
    /// Events of this type are signed, and this node cannot sign them.
    #[error(
        "events of this type are signed, and this node has no certificate to sign with: give its \
         builder credentials"
    )]
    Unsigned,
    /// Events of this type are signed, and JSON, requests and replies never are.
    #[error(
        "events of this type are signed, and {what} never is, so no other node would take it: \
         route the event itself, by its Rust type"
    )]
    Unsignable {
        /// What was to be sent.
        what: &'static str,
    },
    /// The node is closing or closed.
    #[error("the node is closed")]
    Closed,
}

impl Refused {
    /// A stable name for counters and summaries.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BackPressured => "back_pressured",
            Self::NoRoute(_) => "no_route",
            Self::TooLarge { .. } => "too_large",
            Self::TooComplex => "too_complex",
            Self::Malformed { .. } => "malformed",
            Self::TooDeep => "too_deep",
            Self::Schema(_) => "schema_validation_failed",
            Self::Unsigned => "unsigned",
            Self::Unsignable { .. } => "unsignable",
            Self::Closed => "closed",
        }
    }
}

/// Why there is no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoRoute {
    /// The target's text was no address.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A reliable event goes to one node, and this target is none.
    #[error("only one node takes events reliably: name a node, a member or a service")]
    NotReliable,
    /// A publisher has one ring, and reliable events to several members need one for each.
    #[error("a publisher cannot send to several members reliably: route such events by a router")]
    ManyReliably,
    /// One node was asked for, and this target may mean many.
    #[error("the target may mean many nodes where one is asked for")]
    NotOne,
    /// This node has no socket of the target's address family.
    #[error("this host has no {0} socket: the address family is switched off")]
    Family(&'static str),
    /// This node already sends to as many destinations as it can.
    #[error("this node already has its {0} links: close routers of targets no longer used")]
    LinksExhausted(usize),
    /// The workers do not take commands.
    #[error("the data plane takes no commands: its thread has ended or is stalled")]
    Stalled,
    /// A target by name, service or interest, and the node takes part in no cluster.
    #[error("this node takes part in no cluster: give its builder a seed or a discovery group")]
    NoCluster,
    /// No member of this name is up.
    #[error("no member called {0:?} is up: see the table of members")]
    UnknownName(Box<str>),
    /// No member that is up offers this service.
    #[error("no member that is up offers the service {0:?}: see the table of members")]
    UnknownService(Box<str>),
    /// The event's own key chooses the member of this service, and this event has none.
    #[error(
        "the event's own key chooses the member of the service {0:?}, and this event has none: \
         name the field that is its key by #[event(key = \"…\")], or write ?key=TEXT"
    )]
    NoKey(Box<str>),
    /// A publisher goes to one member, and each event's own key chooses one.
    #[error(
        "a publisher goes to one member, and each event's own key chooses another of the service \
         {0:?}: route such events by a router"
    )]
    KeyForEach(Box<str>),
    /// A request was for one node, and a rule leads events of its type to this target, which may
    /// mean many: who answers would be chance.
    #[error(
        "the request is for one node, and a rule leads its type to {0}, which may mean many: let \
         the rule name one node, or ask `auto`, which takes the first reply"
    )]
    RequestToMany(Box<str>),
    /// The member at this address is down.
    #[error("the member at {0} is down")]
    MemberDown(std::net::SocketAddr),
    /// No member that is up has subscribed to the event's type.
    #[error("no member that is up has subscribed to events of this type")]
    NobodyInterested,
    /// A list of targets without one that can be used, or with another list in it.
    #[error("the list of targets has none that names one node")]
    NoTargets,
}

impl From<NoRoute> for Refused {
    fn from(reason: NoRoute) -> Self {
        Self::NoRoute(reason)
    }
}

/// Why a handler or subscriber was not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// One closure cannot run on several receivers at once.
    #[error(
        "this node has {0} receivers, and one handler cannot run on all of them: use \
         Node::on_each, which makes a handler for each, or Node::subscribe"
    )]
    OneHandlerManyReceivers(usize),
    /// Another type of this node has a name with the same 32-bit id.
    #[error("the event types {0:?} and {1:?} have the same id: rename one of them")]
    TypeIdCollision(String, String),
    /// Another responder of this node answers the type.
    #[error("this node already answers {0} requests: end that responder first")]
    AlreadyAnswered(&'static str),
    /// The subscription table is full.
    #[error("this node already has its {0} subscriptions")]
    Exhausted(usize),
    /// A blocking subscriber may not hold its receiver up for as long as that.
    #[error(
        "a subscriber may hold its receiver up for {limit:?} at most, and {asked:?} was asked \
         for: while it does, the node hears nobody"
    )]
    Patience {
        /// What was asked for.
        asked: std::time::Duration,
        /// The longest there is.
        limit: std::time::Duration,
    },
    /// A subscriber cannot keep the newest event of so many keys.
    #[error("a subscriber keeps the newest event of 1 to {limit} keys, and {asked} were asked for")]
    Keys {
        /// What was asked for.
        asked: usize,
        /// The most there are.
        limit: usize,
    },
    /// The ring could not be made.
    #[error("the subscriber's ring could not be made: {0}")]
    Ring(String),
    /// The workers do not take commands.
    #[error("the data plane takes no commands: its thread has ended or is stalled")]
    Stalled,
}

/// Why a policy was not put in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// More peers and types than a receiver has room for.
    #[error("{0}; name fewer nodes in the policy, or give them roles")]
    TooLarge(#[from] wireloom_dataplane::dispatch::AccessTooLarge),
    /// A receiver takes no commands: a handler blocks it.
    #[error("a receiver has taken no commands for two seconds; a handler blocks it")]
    Stalled,
}

//! What the two sides of an exchange share within a node: the table of requests under way, bounded,
//! and the promise that each caller waits for. Callers put requests in; the control thread takes
//! them out when their reply, a denial or their time has come.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use rkyv::util::AlignedVec;
use wireloom_dataplane::counters::{Counter, Counters};
use wireloom_dataplane::dispatch::SubscriptionId;
use wireloom_dataplane::limits::LINKS_MAX;
use wireloom_dataplane::wake::Wake;
use wireloom_ring::Consumer;
use wireloom_wire::{Correlation, EventTypeId, Fingerprint, FrameHeader, ReplyWay, event_type_id};

use crate::cluster::route_source;
use crate::request::Failure;
use crate::shared::Shared;
use crate::target::Target;

/// What replies travel as; the extension says which event they are.
pub(crate) const REPLY: EventTypeId = event_type_id("wl.reply");
/// Word that no reply comes.
pub(crate) const DENIAL: EventTypeId = event_type_id("wl.denial");

/// Requests a node has under way at a time.
pub(crate) const REQUESTS_MAX: usize = 4096;

/// Ids of settled requests remembered, to tell duplicates from late replies.
const SETTLED_KEPT: usize = 1024;

/// The type a request travels as: no event's name ends so.
pub(crate) fn request_name(event_type: &str) -> String {
    format!("{event_type}?")
}

/// One part of an exchange, before it is numbered.
pub(crate) struct Part<'a> {
    pub(crate) header: FrameHeader,
    pub(crate) correlation: &'a Correlation,
    pub(crate) deadline_ns: Option<u64>,
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Settled {
    Reply(Fingerprint, AlignedVec<16>),
    Denied(Failure, String),
    TimedOut,
}

/// What one caller waits for.
#[derive(Debug, Default)]
pub(crate) struct Promise(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    settled: Option<Settled>,
    waker: Option<Waker>,
}

impl Promise {
    fn settle(&self, how: Settled) {
        let mut waiting = lock(&self.0);
        waiting.settled.get_or_insert(how);
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes what it became, or leaves word whom to wake.
    pub(crate) fn take(&self, waker: &Waker) -> Option<Settled> {
        let mut waiting = lock(&self.0);
        if waiting.settled.is_none() {
            waiting.waker = Some(waker.clone());
        }
        waiting.settled.take()
    }
}

#[derive(Debug)]
struct Outstanding {
    reply: EventTypeId,
    /// It went to many: what one of them denies, another may reply.
    many: bool,
    deadline_ns: u64,
    promise: Arc<Promise>,
}

/// How a request that was settled became so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Replied,
    Left,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    outstanding: HashMap<u64, Outstanding>,
    settled: VecDeque<(u64, End)>,
    /// Where this node is to be reached, by whom it speaks to.
    own: HashMap<SocketAddr, SocketAddr>,
    pub(crate) responders: HashMap<EventTypeId, SubscriptionId>,
}

impl Table {
    fn end(&mut self, id: u64, end: End) -> Option<Outstanding> {
        let outstanding = self.outstanding.remove(&id)?;
        if self.settled.len() == SETTLED_KEPT {
            self.settled.pop_front();
        }
        self.settled.push_back((id, end));
        Some(outstanding)
    }
}

/// The requests of a node, and the answers it gives.
#[derive(Debug)]
pub(crate) struct Exchange {
    next_id: AtomicU64,
    /// The earliest time a request may have, monotonic ns; `u64::MAX` for none.
    earliest_ns: AtomicU64,
    table: Mutex<Table>,
    /// Whether replies can come in.
    pub(crate) has_inbox: Mutex<bool>,
    /// Written under the table's lock, or by the control thread alone.
    pub(crate) counters: Counters,
    /// Replies that workers could not hand over.
    pub(crate) shed: AtomicU64,
    /// Rings of new responders, for the control thread.
    pub(crate) arriving: Mutex<Vec<Consumer>>,
    pub(crate) wake: Option<Arc<Wake>>,
}

impl Exchange {
    pub(crate) fn new(wake: Option<Arc<Wake>>) -> Self {
        // At a random place: replies to another life of this node are nobody's.
        let first = RandomState::new().hash_one(std::process::id());
        Self {
            next_id: AtomicU64::new(first),
            earliest_ns: AtomicU64::new(u64::MAX),
            table: Mutex::default(),
            has_inbox: Mutex::new(false),
            counters: Counters::default(),
            shed: AtomicU64::new(0),
            arriving: Mutex::default(),
            wake,
        }
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    pub(crate) fn wake(&self) {
        if let Some(wake) = &self.wake {
            wake.notify();
        }
    }

    /// A place in the table; `None` when it is full.
    pub(crate) fn begin(
        &self,
        (reply, many): (EventTypeId, bool),
        deadline_ns: u64,
    ) -> Option<(u64, Arc<Promise>)> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let promise = Arc::new(Promise::default());
        let outstanding = Outstanding { reply, many, deadline_ns, promise: Arc::clone(&promise) };
        let mut table = self.table();
        if table.outstanding.len() >= REQUESTS_MAX {
            return None;
        }
        table.outstanding.insert(id, outstanding);
        let earlier = self.earliest_ns.fetch_min(deadline_ns, Ordering::Relaxed) > deadline_ns;
        drop(table);
        if earlier {
            // It has to set its alarm anew.
            self.wake();
        }
        Some((id, promise))
    }

    /// Nobody waits for this one any more.
    pub(crate) fn leave(&self, id: u64, timed_out: bool) {
        let mut table = self.table();
        if table.end(id, End::Left).is_some() && timed_out {
            self.counters.add(Counter::RequestsTimedOut, 1);
        }
    }

    /// When the next request is out of time, monotonic ns.
    pub(crate) fn earliest_ns(&self) -> Option<u64> {
        Some(self.earliest_ns.load(Ordering::Relaxed)).filter(|at_ns| *at_ns < u64::MAX)
    }

    /// Settles what is out of time; returns how many.
    pub(crate) fn expire(&self, now_ns: u64) -> usize {
        if now_ns < self.earliest_ns.load(Ordering::Relaxed) {
            return 0;
        }
        let mut table = self.table();
        let due = table.outstanding.iter().filter(|(_, one)| one.deadline_ns <= now_ns);
        let due: Vec<u64> = due.map(|(id, _)| *id).collect();
        let ended: Vec<Outstanding> =
            due.iter().filter_map(|id| table.end(*id, End::Left)).collect();
        self.counters.add(Counter::RequestsTimedOut, ended.len() as u64);
        let earliest = table.outstanding.values().map(|one| one.deadline_ns).min();
        self.earliest_ns.store(earliest.unwrap_or(u64::MAX), Ordering::Relaxed);
        drop(table);
        for outstanding in &ended {
            outstanding.promise.settle(Settled::TimedOut);
        }
        ended.len()
    }

    /// A reply has come.
    pub(crate) fn reply(&self, to: &Correlation, fingerprint: Fingerprint, payload: &[u8]) {
        let mut table = self.table();
        let Some(outstanding) = table.end(to.id, End::Replied) else {
            let replied = table.settled.contains(&(to.id, End::Replied));
            let counter = if replied { Counter::RepliesDuplicate } else { Counter::RepliesLate };
            return self.counters.add(counter, 1);
        };
        drop(table);
        if outstanding.reply != to.subject {
            let words = format!("the reply is of type {}", to.subject);
            return outstanding.promise.settle(Settled::Denied(Failure::OtherReply, words));
        }
        let mut bytes = AlignedVec::new();
        bytes.extend_from_slice(payload);
        outstanding.promise.settle(Settled::Reply(fingerprint, bytes));
    }

    /// A denial has come.
    pub(crate) fn deny(&self, id: u64, failure: Failure, words: String) {
        let mut table = self.table();
        if table.outstanding.get(&id).is_some_and(|outstanding| outstanding.many) {
            return;
        }
        match table.end(id, End::Replied) {
            Some(outstanding) => {
                drop(table);
                outstanding.promise.settle(Settled::Denied(failure, words));
            }
            None => self.counters.add(Counter::RepliesLate, 1),
        }
    }

    /// Where and how a reply reaches this node from whoever is at `target`.
    pub(crate) fn reply_to(&self, shared: &Shared, target: &Target) -> (ReplyWay, [u8; 16], u16) {
        let way = match target {
            Target::Reliable(_) => ReplyWay::Reliable,
            _ => ReplyWay::Datagram,
        };
        let Some(peer) = target.address() else { return (ReplyWay::Local, [0; 16], 0) };
        let local = shared.address();
        let own = if local.ip().is_unspecified() {
            let mut table = self.table();
            if table.own.len() >= LINKS_MAX {
                table.own.clear();
            }
            *table.own.entry(peer).or_insert_with(|| {
                let source = route_source(peer).filter(|ip| ip.is_ipv4() == local.is_ipv4());
                SocketAddr::new(source.unwrap_or_else(|| local.ip()), local.port())
            })
        } else {
            local
        };
        let octets = match own.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        (way, octets, own.port())
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What became of the events of one reliable ring: written by the control thread, read by whoever
//! holds a receipt.
//!
//! A ring's events are settled in the order in which they were written, so one count says which;
//! those that were not delivered are kept as ranges with a reason. The lock is taken only where an
//! event was not delivered or somebody waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use wireloom_wire::Refusal;

use crate::tls::Distrust;

/// Ranges of undelivered events kept; each is the end of a row of failed attempts.
const RANGES_MAX: usize = 1_024;

/// Receipts of one ring that are waited for at a time; further ones ask again and again.
const WAKERS_MAX: usize = 16_384;

/// Why a reliable event was not delivered, as far as is known: the peer may have taken it and its
/// word may have been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Undelivered {
    /// Nobody took a link at the address in any attempt.
    #[error("nobody answers at the address: is the node running, and may TCP reach its port?")]
    Unreachable,
    /// The peer refused the link.
    #[error("the peer refused the link: {0}")]
    Refused(Refusal),
    /// This node does not trust the peer, or the peer does not trust this node.
    #[error("the link is not trusted: {0}")]
    Untrusted(Distrust),
    /// Links were opened and cut, or the peer acknowledged nothing in time.
    #[error("the peer acknowledged nothing: its handlers are stuck, or links to it are cut")]
    Unacknowledged,
    /// The peer said what it must not say.
    #[error("the peer broke the protocol: is it a Wireloom node of this version?")]
    Protocol,
    /// The peer takes no event of this size.
    #[error("the peer takes no event this large: raise its tcp.stream_bytes_max")]
    TooLarge,
    /// This node was closed first.
    #[error("this node was closed before the event was acknowledged")]
    Closed,
    /// It was undelivered events ago: the reason is no longer known.
    #[error("what became of the event is no longer known: ask for it earlier")]
    Forgotten,
}

impl Undelivered {
    /// A stable name for counters and ledgers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused(refusal) => match refusal {
                Refusal::Protocol => "refused_protocol",
                Refusal::Cluster => "refused_cluster",
                Refusal::OwnNode => "refused_own_node",
                Refusal::Name => "refused_name",
                Refusal::Malformed => "refused_malformed",
                Refusal::Busy => "refused_busy",
                Refusal::Stream => "refused_stream",
                Refusal::Identity => "refused_identity",
                Refusal::Secured => "refused_secured",
            },
            Self::Untrusted(distrust) => distrust.name(),
            Self::Unacknowledged => "unacknowledged",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Closed => "closed",
            Self::Forgotten => "forgotten",
        }
    }
}

/// What is known of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// On its way, or waiting for its turn.
    Pending,
    /// The receiving node's handlers, or their rings, took it.
    Delivered,
    /// It was given up.
    Undelivered(Undelivered),
}

#[derive(Debug, Clone, Copy)]
struct Range {
    from: u64,
    to: u64,
    reason: Undelivered,
}

#[derive(Debug, Default)]
struct Book {
    undelivered: Vec<Range>,
    /// Before this, ranges have been forgotten.
    known_from: u64,
    /// By event, then by who waits.
    wakers: BTreeMap<(u64, u64), Waker>,
}

/// The account of one ring.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally {
    settled: AtomicU64,
    undelivered: AtomicU64,
    waiting: AtomicUsize,
    book: Mutex<Book>,
}

impl Tally {
    /// The account of rings that are gone and whose events were all delivered.
    #[must_use]
    pub fn delivered_before(events: u64) -> Self {
        Self { settled: AtomicU64::new(events), ..Self::default() }
    }

    /// Events acknowledged.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        // The undelivered are counted before they are settled: read the other way round, the
        // difference is never too large.
        let undelivered = self.undelivered.load(Ordering::Acquire);
        self.settled.load(Ordering::Acquire).saturating_sub(undelivered)
    }

    /// Events given up, by reason.
    #[must_use]
    pub fn undelivered(&self) -> Vec<(Undelivered, u64)> {
        let mut sums: Vec<(Undelivered, u64)> = Vec::new();
        let book = self.book();
        for range in &book.undelivered {
            let events = range.to - range.from;
            match sums.iter_mut().find(|(reason, _)| *reason == range.reason) {
                Some((_, sum)) => *sum += events,
                None => sums.push((range.reason, events)),
            }
        }
        let known: u64 = sums.iter().map(|(_, events)| events).sum();
        let forgotten = self.undelivered.load(Ordering::Acquire).saturating_sub(known);
        if forgotten > 0 {
            sums.push((Undelivered::Forgotten, forgotten));
        }
        sums
    }

    /// What became of the event at this place of the ring, counted from 0. Two loads unless events
    /// of this ring were undelivered.
    #[must_use]
    pub fn delivery(&self, event: u64) -> Delivery {
        if self.settled.load(Ordering::Acquire) <= event {
            return Delivery::Pending;
        }
        if self.undelivered.load(Ordering::Acquire) == 0 {
            return Delivery::Delivered;
        }
        let book = self.book();
        let found = book.undelivered.iter().rfind(|range| (range.from..range.to).contains(&event));
        match found {
            Some(range) => Delivery::Undelivered(range.reason),
            None if event < book.known_from => Delivery::Undelivered(Undelivered::Forgotten),
            None => Delivery::Delivered,
        }
    }

    /// Wakes `waker` once the event is settled; `waiter` tells those who wait for one event apart.
    /// False when it is settled already, and then nobody is woken.
    pub fn wait(&self, event: u64, waiter: u64, waker: &Waker) -> bool {
        let mut book = self.book();
        if book.wakers.len() < WAKERS_MAX || book.wakers.contains_key(&(event, waiter)) {
            book.wakers.insert((event, waiter), waker.clone());
        } else {
            waker.wake_by_ref();
        }
        self.waiting.store(book.wakers.len(), Ordering::Relaxed);
        // Either this thread sees the event settled, or the control thread sees somebody waiting.
        fence(Ordering::SeqCst);
        let pending = self.settled.load(Ordering::Acquire) <= event;
        if !pending {
            self.unlist(&mut book, event, waiter);
        }
        pending
    }

    /// Takes a waiter back.
    pub fn forget(&self, event: u64, waiter: u64) {
        self.unlist(&mut self.book(), event, waiter);
    }

    fn unlist(&self, book: &mut Book, event: u64, waiter: u64) {
        book.wakers.remove(&(event, waiter));
        self.waiting.store(book.wakers.len(), Ordering::Relaxed);
    }

    /// The next `events` were delivered. Called by control alone.
    pub(crate) fn deliver(&self, events: u64) {
        self.settle(self.settled.load(Ordering::Relaxed) + events);
    }

    /// The next `events` were given up. Called by control alone.
    pub(crate) fn give_up(&self, events: u64, reason: Undelivered) {
        if events == 0 {
            return;
        }
        let from = self.settled.load(Ordering::Relaxed);
        let to = from + events;
        {
            let mut book = self.book();
            match book.undelivered.last_mut() {
                Some(last) if last.to == from && last.reason == reason => last.to = to,
                _ => book.undelivered.push(Range { from, to, reason }),
            }
            if book.undelivered.len() > RANGES_MAX {
                let forgotten = book.undelivered.remove(0);
                book.known_from = forgotten.to;
            }
        }
        self.undelivered.fetch_add(events, Ordering::Release);
        self.settle(to);
    }

    fn settle(&self, to: u64) {
        self.settled.store(to, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.wake(to);
        }
    }

    #[cold]
    fn wake(&self, settled: u64) {
        let ready = {
            let mut book = self.book();
            let later = book.wakers.split_off(&(settled, 0));
            let ready = std::mem::replace(&mut book.wakers, later);
            self.waiting.store(book.wakers.len(), Ordering::Relaxed);
            ready
        };
        ready.into_values().for_each(Waker::wake);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn events_are_settled_in_order_each_with_its_fate() {
        let tally = Tally::default();
        assert_eq!(tally.delivery(0), Delivery::Pending);
        tally.deliver(3);
        tally.give_up(2, Undelivered::Unreachable);
        tally.give_up(1, Undelivered::Unreachable);
        tally.deliver(1);
        tally.give_up(1, Undelivered::Closed);
        let fates: Vec<_> = (0..9).map(|event| tally.delivery(event)).collect();
        let unreachable = Delivery::Undelivered(Undelivered::Unreachable);
        let delivered = Delivery::Delivered;
        assert_eq!(
            fates,
            [
                delivered,
                delivered,
                delivered,
                unreachable,
                unreachable,
                unreachable,
                delivered,
                Delivery::Undelivered(Undelivered::Closed),
                Delivery::Pending
            ]
        );
        assert_eq!(tally.delivered(), 4);
        let reasons = [(Undelivered::Unreachable, 3), (Undelivered::Closed, 1)];
        assert_eq!(tally.undelivered(), reasons);
    }

    #[test]
    fn whoever_waits_is_woken_when_its_event_is_settled_and_not_before() {
        let tally = Tally::default();
        let woken: [Arc<Woken>; 3] = Default::default();
        for (event, woken) in (0..).zip(&woken) {
            assert!(tally.wait(event, 7, &Arc::clone(woken).into()));
        }
        let counts = || woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed));
        tally.deliver(1);
        assert_eq!(counts(), [1, 0, 0]);
        tally.forget(1, 7);
        tally.give_up(2, Undelivered::Closed);
        assert_eq!(counts(), [1, 0, 1]);
        assert!(!tally.wait(2, 7, &Arc::clone(&woken[2]).into()), "settled already");
        assert_eq!(tally.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn old_reasons_are_forgotten_and_said_to_be() {
        let tally = Tally::default();
        for _ in 0..=RANGES_MAX {
            tally.give_up(1, Undelivered::Closed);
            tally.deliver(1);
        }
        assert_eq!(tally.delivery(0), Delivery::Undelivered(Undelivered::Forgotten));
        assert_eq!(tally.delivery(2), Delivery::Undelivered(Undelivered::Closed));
        assert_eq!(tally.delivery(3), Delivery::Delivered);
        let kept = RANGES_MAX as u64;
        let reasons = [(Undelivered::Closed, kept), (Undelivered::Forgotten, 1)];
        assert_eq!(tally.undelivered(), reasons);
    }
}

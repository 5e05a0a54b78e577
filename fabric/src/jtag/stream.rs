//! Events taken one by one by whoever likes: a bounded queue with a filter before it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::filter::Filter;
use super::wrapper::LegacyEvent;

/// How many events wait in a stream; what comes then is shed and counted.
pub const STREAM_EVENTS_MAX: usize = 1_000;

/// How many streams there may be at a time.
pub const STREAMS_MAX: usize = 1_000;

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<LegacyEvent>,
    shed: u64,
    is_closed: bool,
}

/// The queue of one stream, between who gives events out and who takes them.
#[derive(Debug)]
pub(super) struct StreamQueue {
    filter: Filter,
    waiting: Mutex<Waiting>,
    news: Condvar,
}

impl StreamQueue {
    pub(super) fn new(filter: Filter) -> Arc<Self> {
        Arc::new(Self { filter, waiting: Mutex::default(), news: Condvar::new() })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a copy of the event into the queue if the filter takes it.
    pub(super) fn offer(&self, event: &LegacyEvent) {
        if !catch_unwind(AssertUnwindSafe(|| self.filter.takes(event))).unwrap_or(false) {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.events.len() >= STREAM_EVENTS_MAX {
            waiting.shed += 1;
        } else if !waiting.is_closed {
            waiting.events.push_back(event.clone());
            drop(waiting);
            self.news.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.news.notify_all();
    }

    /// The next event, at once if one waits; `None` when the time is over or the stream closed.
    fn next_until(&self, until: Option<Instant>) -> Option<LegacyEvent> {
        let mut waiting = self.waiting();
        loop {
            if let Some(event) = waiting.events.pop_front() {
                return Some(event);
            }
            if waiting.is_closed {
                return None;
            }
            let left = match until {
                None => Duration::MAX,
                Some(until) => until.saturating_duration_since(Instant::now()),
            };
            if left.is_zero() {
                return None;
            }
            let woken = self.news.wait_timeout(waiting, left.min(Duration::from_secs(3_600)));
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

type Keep = Box<dyn FnMut(&LegacyEvent) -> bool + Send>;

/// Events that a filter takes, one after the other. As an iterator it waits for the next one and
/// ends when it is closed, has given as many as [`LegacyStream::take`] said, or the
/// [`LegacyEvents`](super::LegacyEvents) are closed. [`STREAM_EVENTS_MAX`] events wait for a slow
/// reader, what comes then is [shed](LegacyStream::shed).
pub struct LegacyStream {
    queue: Arc<StreamQueue>,
    keeps: Vec<Keep>,
    left: Option<usize>,
}

impl std::fmt::Debug for LegacyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LegacyStream").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl LegacyStream {
    pub(super) fn new(queue: Arc<StreamQueue>) -> Self {
        Self { queue, keeps: Vec::new(), left: None }
    }

    /// Ends after `count` events.
    #[must_use]
    pub fn take(mut self, count: usize) -> Self {
        self.left = Some(self.left.map_or(count, |left| left.min(count)));
        self
    }

    /// Passes over events that `keep` says no to.
    #[must_use]
    pub fn filter(mut self, keep: impl FnMut(&LegacyEvent) -> bool + Send + 'static) -> Self {
        self.keeps.push(Box::new(keep));
        self
    }

    /// The next event within this time; `None` when there was none, or the stream has ended.
    pub fn next_within(&mut self, timeout: Duration) -> Option<LegacyEvent> {
        self.next_until(Some(Instant::now() + timeout))
    }

    fn next_until(&mut self, until: Option<Instant>) -> Option<LegacyEvent> {
        while self.left != Some(0) {
            let event = self.queue.next_until(until)?;
            if self.keeps.iter_mut().all(|keep| keep(&event)) {
                self.left = self.left.map(|left| left - 1);
                return Some(event);
            }
        }
        None
    }

    /// How many events found the queue full.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.queue.waiting().shed
    }

    /// Ends it; what waits is dropped. Dropping the stream does the same.
    pub fn close(self) {}
}

impl Iterator for LegacyStream {
    type Item = LegacyEvent;

    fn next(&mut self) -> Option<LegacyEvent> {
        self.next_until(None)
    }
}

impl Drop for LegacyStream {
    fn drop(&mut self) {
        self.queue.close();
    }
}

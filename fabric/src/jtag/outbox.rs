//! The way out of one process: a router, and behind it what the router did not take at once.
//!
//! An event that is refused for a reason that passes (no room, nobody of that name yet) waits, in
//! the order of its priority and target, and is tried again every 500 ms, three times.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use wireloom_wire::{LANES, Priority, TraceContext};

use super::mapping::{Entry, NotRouted, Unfit};
use super::wrapper::LegacyJtag;
use crate::event::Event as _;
use crate::outcome::{Accepted, NoRoute, Refused};
use crate::router::Router;
use crate::target::Target;

/// How many frames wait at most, as in the legacy system.
pub const QUEUE_MAX: usize = 1_000;

/// How many bytes of JSON wait at most.
pub const QUEUE_BYTES_MAX: usize = 32 << 20;

/// How often a frame is tried again, as in the legacy system.
pub const RETRIES_MAX: u32 = 3;

/// When waiting frames are tried again, as in the legacy system.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// One form of an event.
#[derive(Clone)]
pub(super) enum Frame {
    /// The wrapper's JSON.
    Wrapped(Arc<str>, Priority),
    /// The event of a mapped type: which entry, and the legacy data.
    Typed(Arc<Entry>, Arc<Value>),
}

impl Frame {
    pub(super) fn priority(&self) -> Priority {
        match self {
            Self::Wrapped(_, priority) => *priority,
            Self::Typed(entry, _) => entry.priority,
        }
    }

    /// What it holds while it waits, as JSON.
    fn bytes(&self) -> usize {
        match self {
            Self::Wrapped(json, _) => json.len(),
            Self::Typed(_, data) => data.to_string().len(),
        }
    }
}

struct Waiting {
    frame: Frame,
    trace: TraceContext,
    target: Target,
    bytes: usize,
    tries: u32,
}

/// What became of one frame for one target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The router refused it, for good or after every try.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The data is not that of the typed event.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// [`QUEUE_MAX`] frames wait already.
    #[error("{QUEUE_MAX} events wait already for targets that take none: emit slower")]
    QueueFull,
}

impl NotSent {
    /// A stable name for counters and answers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.name(),
            Self::Unfit(_) => "unfit",
            Self::QueueFull => "queue_full",
        }
    }
}

/// What became of a frame that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Accepted,
    Waits,
}

/// The way out.
pub(super) struct Outbox {
    router: Router,
    lanes: [VecDeque<Waiting>; LANES],
    bytes: usize,
    flush_at: Instant,
    /// How often a waiting frame was tried again.
    pub(super) retries: u64,
}

impl Outbox {
    pub(super) fn new(router: Router) -> Self {
        Self {
            router,
            lanes: std::array::from_fn(|_| VecDeque::new()),
            bytes: 0,
            flush_at: Instant::now(),
            retries: 0,
        }
    }

    /// How many frames wait.
    pub(super) fn waiting(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Drops what waits; says how many frames that were.
    pub(super) fn clear(&mut self) -> usize {
        let waiting = self.waiting();
        self.lanes = std::array::from_fn(|_| VecDeque::new());
        self.bytes = 0;
        waiting
    }

    /// Routes a frame, or lets it wait behind those of its priority and target that do.
    pub(super) fn send(
        &mut self,
        frame: Frame,
        trace: TraceContext,
        target: &Target,
    ) -> Result<Sent, NotSent> {
        let lane = frame.priority().index();
        let others_wait = self.lanes[lane].iter().any(|waiting| waiting.target == *target);
        if !others_wait {
            match self.route(&frame, trace, target) {
                Ok(_) => return Ok(Sent::Accepted),
                Err(NotRouted::Refused(refused)) if passes(&refused) => {}
                Err(NotRouted::Refused(refused)) => return Err(refused.into()),
                Err(NotRouted::Unfit(unfit)) => return Err(unfit.into()),
            }
        }
        let bytes = frame.bytes();
        if self.waiting() >= QUEUE_MAX || self.bytes + bytes > QUEUE_BYTES_MAX {
            return Err(NotSent::QueueFull);
        }
        if self.waiting() == 0 {
            self.flush_at = Instant::now() + FLUSH_INTERVAL;
        }
        self.bytes += bytes;
        let target = target.clone();
        self.lanes[lane].push_back(Waiting { frame, trace, target, bytes, tries: 0 });
        Ok(Sent::Waits)
    }

    fn route(
        &mut self,
        frame: &Frame,
        trace: TraceContext,
        target: &Target,
    ) -> Result<Accepted, NotRouted> {
        self.router.set_trace(Some(trace));
        match frame {
            Frame::Wrapped(json, priority) => self
                .router
                .route_json(LegacyJtag::TYPE, *priority, json.as_bytes(), target)
                .map_err(NotRouted::Refused),
            Frame::Typed(entry, data) => (entry.route)(&mut self.router, data, target),
        }
    }

    /// When waiting frames are tried again; `None` when none wait.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.waiting() > 0).then_some(self.flush_at)
    }

    /// Tries the waiting frames again if it is time to. What one of a priority and target is
    /// refused for, the others behind it are too: each refusal counts for all of them. Gives what
    /// is given up to `given_up`.
    pub(super) fn flush(&mut self, now: Instant, mut given_up: impl FnMut(&Frame, &NotSent)) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        self.flush_at = now + FLUSH_INTERVAL;
        for lane in 0..LANES {
            let mut refused: HashSet<Target> = HashSet::new();
            for mut waiting in std::mem::take(&mut self.lanes[lane]) {
                self.bytes -= waiting.bytes;
                let outcome = if refused.contains(&waiting.target) {
                    Err(NotRouted::Refused(Refused::BackPressured))
                } else {
                    self.retries += 1;
                    self.route(&waiting.frame, waiting.trace, &waiting.target)
                };
                let error = match outcome {
                    Ok(_) => continue,
                    Err(NotRouted::Unfit(unfit)) => NotSent::Unfit(unfit),
                    Err(NotRouted::Refused(why)) if passes(&why) => {
                        refused.insert(waiting.target.clone());
                        waiting.tries += 1;
                        if waiting.tries < RETRIES_MAX {
                            self.bytes += waiting.bytes;
                            self.lanes[lane].push_back(waiting);
                            continue;
                        }
                        NotSent::Refused(why)
                    }
                    Err(NotRouted::Refused(why)) => NotSent::Refused(why),
                };
                given_up(&waiting.frame, &error);
            }
        }
    }
}

/// Whether a refusal may pass by itself.
fn passes(refused: &Refused) -> bool {
    match refused {
        Refused::BackPressured => true,
        Refused::NoRoute(reason) => matches!(
            reason,
            NoRoute::Stalled
                | NoRoute::UnknownName(_)
                | NoRoute::UnknownService(_)
                | NoRoute::MemberDown(_)
        ),
        _ => false,
    }
}

//! A run: events of one type side by side in a packet, for one subscriber, given in one call.
//!
//! Most packets carry one type for one handler. A call through the table and a guard against
//! panics for each event cost more than reading it; for a run they are paid once.

use wireloom_wire::{EventTypeId, Frame, FrameFlags, Frames};

use super::Verdict;
use super::deadline::is_expired;
use crate::counters::{Counter, Counters};

/// Events of one type, in order; see [`super::Subscriber::on_run`].
#[derive(Debug)]
pub struct Run<'r, 'a> {
    frames: &'r mut Frames<'a>,
    event_type: EventTypeId,
    /// An event was given and its verdict has not come.
    given: bool,
    /// The event that ended the run: it must be made readable first.
    unread: Option<Frame<'a>>,
    /// The request that ended the run: whether it may be asked is looked at first.
    asked: Option<Frame<'a>>,
    taken: u16,
    /// How many may be taken.
    most: u16,
    /// The flags of those that end the run.
    asking: FrameFlags,
    delivered: u64,
    counters: &'r Counters,
    now_unix_ns: u64,
}

impl<'r, 'a> Run<'r, 'a> {
    /// The run at the front of `frames`, whose next one says it is of `event_type`, at a time.
    pub(super) const fn new(
        frames: &'r mut Frames<'a>,
        event_type: EventTypeId,
        (counters, now_unix_ns): (&'r Counters, u64),
    ) -> Self {
        Self {
            frames,
            event_type,
            given: false,
            unread: None,
            asked: None,
            taken: 0,
            most: u16::MAX,
            asking: FrameFlags::empty(),
            delivered: 0,
            counters,
            now_unix_ns,
        }
    }

    /// The same, at most so many of them; the first that `asks` ends it.
    pub(super) const fn held(mut self, most: u16, asks: bool) -> Self {
        self.most = most;
        self.asking = if asks { FrameFlags::CORRELATION } else { FrameFlags::empty() };
        self
    }

    /// Gives each event whose deadline is not over to `take`, and notes what it says.
    // Out of line, or with the frame kept in the run, its parts go through memory in other pieces
    // than they were written in: 8 ns an event.
    #[inline(always)]
    pub fn each(&mut self, mut take: impl FnMut(&Frame<'_>) -> Verdict) {
        while self.taken < self.most
            && let Some(frame) = self.frames.next_of(self.event_type)
        {
            if frame.header.flags.bits() & self.asking.bits() != 0 {
                (self.asked, self.most) = (Some(frame), self.taken);
                return;
            }
            self.taken += 1;
            if is_expired(&frame, self.now_unix_ns) {
                self.counters.add(Counter::EventsExpired, 1);
                continue;
            }
            self.given = true;
            let verdict = take(&frame);
            self.given = false;
            match counter_of(verdict) {
                Some(Counter::EventsDelivered) => self.delivered += 1,
                Some(Counter::EventsUnconverted) => {
                    self.unread = Some(frame);
                    return;
                }
                other => self.counters.add(other.unwrap_or(Counter::EventsUnsubscribed), 1),
            }
        }
    }

    /// The subscriber panicked over the event it was given last; true when that was one.
    pub(super) fn panicked(&mut self) -> bool {
        if self.given {
            self.counters.add(Counter::EventsHandlerPanicked, 1);
        }
        std::mem::take(&mut self.given)
    }

    /// Ends the run; returns the events taken, the last of them if it must be made readable first,
    /// and a request behind them. One that nobody looked at counts as passed over.
    pub(super) fn end(mut self) -> (u16, [Option<Frame<'a>>; 2]) {
        if self.taken == 0 && self.asked.is_none() && self.frames.next_of(self.event_type).is_some()
        {
            self.taken = 1;
            self.counters.add(Counter::EventsUnsubscribed, 1);
        }
        self.counters.add(Counter::EventsDelivered, self.delivered);
        (self.taken, [self.unread, self.asked])
    }
}

/// The counter of what a subscriber said; `None` when it says nothing about the event.
#[inline]
pub(super) const fn counter_of(verdict: Verdict) -> Option<Counter> {
    match verdict {
        Verdict::Delivered => Some(Counter::EventsDelivered),
        Verdict::WrongSchema => Some(Counter::EventsWrongSchema),
        Verdict::WrongEncoding => Some(Counter::EventsWrongEncoding),
        Verdict::BadArchive => Some(Counter::EventsBadArchive),
        Verdict::RingFull => Some(Counter::EventsShedRingFull),
        Verdict::TooLarge => Some(Counter::EventsShedTooLarge),
        Verdict::KeysFull => Some(Counter::EventsShedKeysFull),
        Verdict::Disconnected => Some(Counter::EventsShedDisconnected),
        Verdict::Expired => Some(Counter::EventsExpired),
        Verdict::Unconverted => Some(Counter::EventsUnconverted),
        Verdict::Passed => None,
    }
}

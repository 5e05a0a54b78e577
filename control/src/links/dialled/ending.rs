//! How an attempt, or an open link, ends, and what comes after it.

use std::io;

use wireloom_dataplane::counters::Counter;
use wireloom_wire::Refusal;

use super::{Dialled, Stage};
use crate::links::Cycle;
use crate::links::line::Line;
use crate::sockets::Sockets;
use crate::tally::Undelivered;
use crate::tls::Distrust;

/// Why an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Unreachable,
    Refused(Refusal),
    Untrusted(Distrust),
    Cut,
    Silent,
    Broken,
}

impl Ended {
    /// The socket never came to be open.
    pub(super) fn unopened(error: &io::Error) -> Self {
        Distrust::of(error).map_or(Self::Unreachable, Self::Untrusted)
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Distrust::of(&error).map_or(Self::Cut, Self::Untrusted)
    }
}

impl Dialled {
    /// An attempt, or an open link, has ended.
    pub(super) fn end<S: Sockets>(
        &mut self,
        ended: Ended,
        line: Option<&mut Line>,
        cycle: &mut Cycle<'_, S>,
    ) {
        let open = self.stage == Stage::Open;
        let counter = match ended {
            Ended::Unreachable => Counter::LinksUnreachable,
            Ended::Refused(_) => Counter::LinksRefused,
            Ended::Untrusted(_) => Counter::LinksUntrusted,
            Ended::Cut if open => Counter::LinksCut,
            Ended::Silent if open => Counter::LinksSilent,
            Ended::Cut | Ended::Silent => Counter::LinksUnreachable,
            Ended::Broken => Counter::LinksBroken,
        };
        cycle.counters.add(counter, 1);
        // A peer that does not take events by a line of its own may take them by one of ours; what
        // it sends by that line goes on.
        let is_apart = matches!(ended, Ended::Refused(_) | Ended::Silent);
        let parted = self.borrowed && is_apart && self.half_written().is_none();
        self.wants_own = parted;
        if let Some(line) = line {
            line.set_writer(None);
            if !parted {
                line.end();
            }
        }
        self.interrupt();
        if !self.wants_line() {
            return;
        }
        let (times, now_ns) = (cycle.times, cycle.now_ns);
        let pause_ns = self.backoff.fail(now_ns);
        let pause_ns = if std::mem::take(&mut self.hurried) { 0 } else { pause_ns };
        let used_up = self.backoff.is_used_up(times.attempts, times.undelivered_ns, now_ns);
        if used_up && self.is_pending() {
            self.backoff.reset();
            self.given_up = Some(match ended {
                Ended::Unreachable => Undelivered::Unreachable,
                Ended::Refused(refusal) => Undelivered::Refused(refusal),
                Ended::Untrusted(distrust) => Undelivered::Untrusted(distrust),
                Ended::Cut | Ended::Silent => Undelivered::Unacknowledged,
                Ended::Broken => Undelivered::Protocol,
            });
        } else {
            self.stage = Stage::Waiting { until_ns: now_ns.saturating_add(pause_ns) };
        }
    }
}

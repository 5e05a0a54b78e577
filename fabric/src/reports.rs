//! What handlers tell the control thread: that they panicked, that they are done. Workers put it
//! into a bounded queue; a task of the control thread publishes the exceptions and ends what is to
//! be ended, because a worker does neither.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::command::Commands;
use wireloom_dataplane::dispatch::SubscriptionId;
use wireloom_dataplane::wake::Wake;

use crate::event::Event;
use crate::events::Exception;
use crate::router::Router;
use crate::shared::Shared;
use crate::target::Target;

/// A handler that has panicked so many times in a row is not called any more: each panic costs its
/// worker some microseconds and a line on stderr, and the other handlers wait for that.
pub(crate) const PANICS_MAX: u32 = 16;

/// The service that takes exceptions of a whole cluster.
const ERROR_COLLECTOR: &str = "error-collector";

/// Exceptions published in a second.
const EXCEPTIONS_A_SECOND: u32 = 10;
const SECOND_NS: u64 = 1_000_000_000;

/// Reports taken in one cycle of the control thread.
const REPORTS_PER_CYCLE: usize = 64;

/// Kept of what a handler panicked with, in bytes.
const MESSAGE_BYTES_MAX: usize = 512;

/// One word of a handler.
#[derive(Debug)]
enum Report {
    Panicked(Panic),
    Finished(SubscriptionId),
}

#[derive(Debug)]
struct Panic {
    id: SubscriptionId,
    event_type: &'static str,
    message: String,
    in_a_row: u32,
}

/// The way to the control thread; full, it loses words of panics, which are counted.
#[derive(Debug)]
pub(crate) struct Reports {
    queue: Commands<Report>,
    wake: Option<Arc<Wake>>,
    untold: AtomicU64,
}

impl Reports {
    pub(crate) fn new(wake: Option<Arc<Wake>>) -> Self {
        Self { queue: Commands::default(), wake, untold: AtomicU64::new(0) }
    }

    fn push(&self, report: Report) -> bool {
        let taken = self.queue.push(report).is_ok();
        if let Some(wake) = &self.wake {
            wake.notify();
        }
        taken
    }

    /// A handler of `event_type` (none for gaps) has panicked, so many times in a row.
    #[cold]
    pub(crate) fn tell_panic(
        &self,
        id: SubscriptionId,
        event_type: &'static str,
        in_a_row: u32,
        what: &(dyn Any + Send),
    ) {
        let message = message_of(what);
        if !self.push(Report::Panicked(Panic { id, event_type, message, in_a_row })) {
            self.untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A subscription takes no more; false when the queue is full: say it again.
    #[cold]
    pub(crate) fn tell_finished(&self, id: SubscriptionId) -> bool {
        self.push(Report::Finished(id))
    }
}

/// What `panic!` was given, as text.
pub(crate) fn message_of(what: &(dyn Any + Send)) -> String {
    let text = match (what.downcast_ref::<&str>(), what.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "a value that is no text",
    };
    text[..text.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned()
}

/// The task that takes the reports.
struct ReportDesk {
    shared: Weak<Shared>,
    reports: Arc<Reports>,
    router: Option<Router>,
    second_ns: u64,
    told_in_second: u32,
    untold: u64,
}

impl ReportDesk {
    fn take(&mut self, shared: &Arc<Shared>, report: Report, now_ns: u64) {
        match report {
            // Workers that take no commands have no handlers left to end.
            Report::Finished(id) => drop(shared.unsubscribe(id)),
            Report::Panicked(panic) => {
                let ended = panic.in_a_row >= PANICS_MAX;
                if ended {
                    drop(shared.unsubscribe(panic.id));
                }
                // A handler of exceptions that panics would make one of its own.
                if panic.event_type != Exception::TYPE {
                    self.tell(shared, panic, (ended, now_ns));
                }
            }
        }
    }

    fn tell(&mut self, shared: &Arc<Shared>, panic: Panic, (ended, now_ns): (bool, u64)) {
        if now_ns >= self.second_ns + SECOND_NS {
            (self.second_ns, self.told_in_second) = (now_ns, 0);
        }
        self.untold += self.reports.untold.swap(0, Ordering::Relaxed);
        if self.told_in_second >= EXCEPTIONS_A_SECOND && !ended {
            self.untold += 1;
            return;
        }
        self.told_in_second += 1;
        let untold = match std::mem::take(&mut self.untold) {
            0 => String::new(),
            untold => format!(", {untold} panics before it untold"),
        };
        let ended = if ended { ", ended" } else { "" };
        let exception = Exception {
            component: if panic.event_type.is_empty() { "handler of gaps" } else { "handler" }
                .to_owned(),
            message: format!(
                "{} (handler {}, {} in a row{ended}{untold})",
                panic.message, panic.id.0, panic.in_a_row
            ),
            event_type: panic.event_type.to_owned(),
            node: shared.name().to_owned(),
            timestamp_ns: shared.unix_ns(),
        };
        let router = self.router.get_or_insert_with(|| Router::new(Arc::clone(shared)));
        // Refused here, or without a collector, it is what the counters say still.
        let _ = router.route(&exception, Target::Local);
        if shared.cluster.joined().is_some() {
            let _ = router.route(&exception, Target::reliably(Target::service(ERROR_COLLECTOR)));
        }
    }
}

impl Agent for ReportDesk {
    fn name(&self) -> &'static str {
        "reports"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        if self.reports.queue.is_empty() {
            return 0;
        }
        let Some(shared) = self.shared.upgrade() else { return 0 };
        let mut taken = 0;
        while taken < REPORTS_PER_CYCLE
            && let Some(report) = self.reports.queue.pop()
        {
            self.take(&shared, report, now_ns);
            taken += 1;
        }
        taken
    }

    fn on_close(&mut self, _now_ns: u64) {
        self.router = None;
    }
}

impl Shared {
    /// Lets the control thread take what handlers report.
    pub(crate) fn attend_reports(self: &Arc<Self>) {
        // A control thread that takes no task has ended, and its node with it.
        let _ = self.add_task(Box::new(ReportDesk {
            shared: Arc::downgrade(self),
            reports: Arc::clone(&self.reports),
            router: None,
            second_ns: 0,
            told_in_second: 0,
            untold: 0,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_says_is_text_of_bounded_length() {
        assert_eq!(message_of(&"words"), "words");
        assert_eq!(message_of(&String::from("words")), "words");
        assert_eq!(message_of(&7_u8), "a value that is no text");
        let long = "ü".repeat(400);
        assert_eq!(message_of(&long).len(), MESSAGE_BYTES_MAX);
        assert!(message_of(&format!("a{long}")).len() < MESSAGE_BYTES_MAX);
    }
}

//! Spans and errors of the crate `tracing` as ours: a layer of a `tracing_subscriber` registry.
//!
//! A span's extensions hold what we know of it; a stack of each thread holds the spans it is in.
//! What the layer itself calls, and what the tracer's thread does, it does not look at.

use std::cell::{Cell, RefCell};
use std::fmt::{Debug, Write as _};
use std::time::Instant;

use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::events::TraceOutcome;
use crate::trace::failure::cut_text;
use crate::trace::span::{Fields, Open, ns};
use crate::trace::tracer::{Report, record_report};
use crate::trace::{Entered, MESSAGE_BYTES_MAX, current};

/// A layer that makes the spans of the crate `tracing` spans of ours, and its events of level
/// `ERROR` [`error`](crate::events::ErrorReport) events for the collector. Needs the feature
/// `tracing`; does nothing while no [`Tracer`](crate::trace::Tracer) is installed.
///
/// A span is a child of what is current in its thread, be that a span of `tracing` or a traced
/// function. It is told when it closes: as failed when an `ERROR` was said in it, with its words.
/// Values are bounded as those of traced functions. What the tracer's own thread logs, and what a
/// value's `Debug` logs while the layer reads it, is left out: no line causes another.
///
/// ```
/// # #[cfg(feature = "tracing")] {
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// let subscriber = tracing_subscriber::registry().with(wireloom::trace::TraceLayer::default());
/// # let _ = subscriber;
/// # }
/// ```
#[derive(Debug, Default)]
pub struct TraceLayer(());

/// What a span of `tracing` has of ours.
struct Ours {
    open: Open,
    failed: Option<String>,
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    /// The spans this thread is in, innermost last.
    static ENTERED: RefCell<Vec<(Id, Entered, Instant)>> = const { RefCell::new(Vec::new()) };
}

/// From now on the layer looks at nothing that this thread does.
pub(crate) fn silence_this_thread() {
    IS_QUIET.set(true);
}

/// Runs `work` unless the layer is at work on this thread already.
fn once(work: impl FnOnce()) {
    struct Quiet;
    impl Drop for Quiet {
        fn drop(&mut self) {
            IS_QUIET.set(false);
        }
    }
    if !IS_QUIET.replace(true) {
        let _quiet = Quiet;
        work();
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TraceLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        once(|| {
            let Some(span) = context.span(id) else { return };
            let parent = match attributes.parent() {
                _ if attributes.is_contextual() => current(),
                None => None,
                Some(parent) => context.span(parent).and_then(|parent| {
                    parent.extensions().get::<Ours>().map(|ours| ours.open.context)
                }),
            };
            let name = attributes.metadata().name();
            let Some(mut open) = Open::begin(name, parent, None) else { return };
            if open.context.sampled {
                attributes.record(&mut Values(&mut open.fields));
            }
            span.extensions_mut().insert(Ours { open, failed: None });
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        once(|| {
            let Some(span) = context.span(id) else { return };
            if let Some(ours) = span.extensions_mut().get_mut::<Ours>()
                && ours.open.context.sampled
            {
                values.record(&mut Values(&mut ours.open.fields));
            }
        });
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let Some(ours) = span.extensions().get::<Ours>().map(|ours| ours.open.context) else {
            return;
        };
        let entered = (id.clone(), Entered::new(Some(ours)), Instant::now());
        ENTERED.with_borrow_mut(|stack| stack.push(entered));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some(since) = ENTERED.with_borrow_mut(|stack| leave(stack, id)) else { return };
        let Some(span) = context.span(id) else { return };
        if let Some(ours) = span.extensions_mut().get_mut::<Ours>() {
            ours.open.ran(ns(since.elapsed()));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            once(|| on_error(event, &context));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        once(|| {
            let Some(span) = context.span(&id) else { return };
            let ours = span.extensions_mut().remove::<Ours>();
            match ours {
                Some(Ours { open, failed: None }) => open.end(TraceOutcome::Ok, String::new()),
                Some(Ours { open, failed: Some(words) }) => open.end(TraceOutcome::Error, words),
                None => {}
            }
        });
    }
}

/// Takes a span out of the stack. Left out of order, it takes its place from those above.
fn leave(stack: &mut Vec<(Id, Entered, Instant)>, id: &Id) -> Option<Instant> {
    let index = stack.iter().rposition(|(one, ..)| one == id)?;
    let (_, entered, since) = stack.remove(index);
    if let Some((_, above, _)) = stack.get_mut(index) {
        above.skip(entered);
    }
    Some(since)
}

fn on_error<S>(event: &Event<'_>, context: &Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let mut words = Words::default();
    event.record(&mut words);
    let message = words.message();
    if let Some(span) = context.event_span(event)
        && let Some(ours) = span.extensions_mut().get_mut::<Ours>()
    {
        ours.failed.get_or_insert_with(|| message.clone());
    }
    let metadata = event.metadata();
    let place = metadata.file().zip(metadata.line());
    record_report(Report {
        component: metadata.target(),
        message,
        place: place.map(|(file, line)| format!("{file}:{line}")),
        context: current(),
        at: Instant::now(),
    });
}

/// Values of a span.
struct Values<'a>(&'a mut Fields);

impl Visit for Values<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.add(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.add(field.name(), value);
    }
}

/// The message of an event, and its other values behind it.
#[derive(Default)]
struct Words {
    message: String,
    values: String,
}

impl Words {
    fn message(self) -> String {
        cut_text(format_args!("{}{}", self.message, self.values), MESSAGE_BYTES_MAX)
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = cut_text(format_args!("{value:?}"), MESSAGE_BYTES_MAX);
        if field.name() == "message" {
            self.message = value;
        } else if self.values.len() < MESSAGE_BYTES_MAX {
            // Writing to a string does not fail.
            let _ = write!(self.values, " {}={value}", field.name());
        }
    }
}

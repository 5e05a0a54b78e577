//! The process's tracer: spans that ended lie in two bounded queues, one thread publishes them.
//!
//! Spans end on any thread, among them workers, which must neither block nor make a ring (that
//! takes a command to a worker, perhaps to themselves). So whoever ends one puts a record into a
//! queue and goes on; the tracer's thread comes round every [`TraceSettings::flush`] and owns the
//! only router.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use wireloom_wire::TraceContext;

use crate::event::Event;
#[cfg(feature = "tracing")]
use crate::events::ErrorReport;
use crate::events::{Trace, TraceOutcome};
use crate::node::Node;
use crate::outcome::{NoRoute, Refused};
use crate::router::Router;
use crate::shared::Shared;
use crate::target::Target;
use crate::trace::anchor::Anchor;
use crate::trace::failure::cut_text;
use crate::trace::span::ALL_OF_IT;
use crate::trace::traceparent::Hex;
use crate::trace::{
    KEY_BYTES_MAX, MESSAGE_BYTES_MAX, OPERATION_BYTES_MAX, PAIRS_MAX, VALUE_BYTES_MAX, ids,
};

/// How the process's spans are sampled and published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// Of the traces that begin in this process, one in so many is sampled: 1 (default) is all, 0
    /// none. By the trace's id, so that nodes agree; a trace that comes from another node is
    /// sampled as that one said. What fails is told in any case.
    pub sample_one_in: u32,
    /// Where what succeeded goes; default the debug group 224.1.1.2:9000. The node's builder says
    /// by which interface and how far ([`NodeBuilder::multicast`](crate::NodeBuilder::multicast)).
    pub group: Target,
    /// Where what failed goes; default the service `error-collector`, reliably. When nobody takes
    /// it there, it goes to the group, and is counted.
    pub collector: Target,
    /// Spans that may wait for the tracer's thread; as many failed ones beside them. Default 4,096,
    /// about 160 bytes each and what their texts have ([`Node::memory`] has the sum, at most).
    pub queue_spans: usize,
    /// How often the tracer's thread looks; default 10 ms. A look at nothing takes some µs.
    pub flush: Duration,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            sample_one_in: 1,
            group: Trace::MULTICAST.map_or(Target::Local, Target::multicast),
            collector: Target::reliably(Target::service("error-collector")),
            queue_spans: 4_096,
            flush: Duration::from_millis(10),
        }
    }
}

/// Why a tracer was not installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TracerError {
    /// A process has one tracer.
    #[error("this process has a tracer already: drop it before another is installed")]
    Installed,
    /// The system gives no more threads.
    #[error("the tracer's thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// What became of the spans that ended, since the tracer was installed.
///
/// `recorded = published + queue_full + refused (summed) + waiting`, once no span is just ending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceCounts {
    /// Spans that were to be told: sampled, or failed; and errors that were logged.
    pub recorded: u64,
    /// Told: the node took them.
    pub published: u64,
    /// Of those, failed ones that the collector's link took.
    pub collected: u64,
    /// Dropped because the queue was full: a larger [`TraceSettings::queue_spans`] or a lower rate.
    pub queue_full: u64,
    /// Failed ones that went to the group because no collector took them, by why.
    pub uncollected: BTreeMap<&'static str, u64>,
    /// Dropped because the node did not take them, by its [reason](Refused::name).
    pub refused: BTreeMap<&'static str, u64>,
    /// In the queue.
    pub waiting: u64,
}

/// A span that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) operation: &'static str,
    pub(crate) context: TraceContext,
    pub(crate) parent: [u8; 8],
    pub(crate) duration_ns: u64,
    pub(crate) busy_ns: u64,
    pub(crate) ended: Instant,
    pub(crate) outcome: TraceOutcome,
    pub(crate) message: String,
    pub(crate) metadata: Vec<(String, String)>,
}

/// What failed: a span, or what somebody logged.
#[derive(Debug)]
enum Failed {
    Span(Finished),
    #[cfg(feature = "tracing")]
    Report(Report),
}

/// An error that somebody logged.
#[cfg(feature = "tracing")]
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) component: &'static str,
    pub(crate) message: String,
    pub(crate) place: Option<String>,
    pub(crate) context: Option<TraceContext>,
    pub(crate) at: Instant,
}

/// The most a span that waits has with its texts, bytes: its place in the queue, its words, its
/// values.
const WAITING_BYTES_MAX: usize = size_of::<usize>()
    + size_of::<Failed>()
    + MESSAGE_BYTES_MAX
    + PAIRS_MAX * (size_of::<(String, String)>() + KEY_BYTES_MAX + VALUE_BYTES_MAX);

/// What those who end spans share with the tracer's thread.
#[derive(Debug)]
struct Queues {
    /// The node that tells them.
    node: Weak<Shared>,
    spans: ArrayQueue<Finished>,
    failed: ArrayQueue<Failed>,
    recorded: AtomicU64,
    queue_full: AtomicU64,
    is_closed: AtomicBool,
    told: Mutex<TraceCounts>,
}

/// How many of 2⁶⁴ trace ids are sampled; 0 while there is no tracer.
static THRESHOLD: AtomicU64 = AtomicU64::new(0);
static QUEUES: RwLock<Option<Arc<Queues>>> = RwLock::new(None);

/// The rate of new traces; `None` while there is no tracer.
#[inline]
pub(crate) fn threshold() -> Option<u64> {
    match THRESHOLD.load(Ordering::Relaxed) {
        0 => None,
        threshold => Some(threshold),
    }
}

/// Takes a span that has ended. Waits for nothing: a full queue is counted.
pub(crate) fn record(span: Finished) {
    put(|queues| match span.outcome {
        TraceOutcome::Error => queues.failed.push(Failed::Span(span)).is_ok(),
        TraceOutcome::Ok | TraceOutcome::Cancelled => queues.spans.push(span).is_ok(),
    });
}

/// Takes an error that somebody logged, as [`record`] does.
#[cfg(feature = "tracing")]
pub(crate) fn record_report(report: Report) {
    put(|queues| queues.failed.push(Failed::Report(report)).is_ok());
}

/// What the queues of the process's tracer can come to hold, bytes, if this node tells its spans.
pub(crate) fn waiting_bytes_max(node: &Shared) -> Option<usize> {
    let queues = QUEUES.read().unwrap_or_else(PoisonError::into_inner);
    let queues = queues.as_ref().filter(|queues| std::ptr::eq(queues.node.as_ptr(), node))?;
    Some((queues.spans.capacity() + queues.failed.capacity()) * WAITING_BYTES_MAX)
}

fn put(push: impl FnOnce(&Queues) -> bool) {
    let queues = QUEUES.read().unwrap_or_else(PoisonError::into_inner);
    // The tracer may have gone while the span ran.
    let Some(queues) = &*queues else { return };
    queues.recorded.fetch_add(1, Ordering::Relaxed);
    if !push(queues) {
        queues.queue_full.fetch_add(1, Ordering::Relaxed);
    }
}

/// The process's tracer. While it lives, traced functions are spans; dropping it publishes what
/// waits and ends its thread. Drop it before the node it was installed from.
#[derive(Debug)]
#[must_use = "dropping it ends tracing"]
pub struct Tracer {
    queues: Arc<Queues>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Makes this node publish the spans of the whole process: of every function with
    /// [`#[traced]`](macro@crate::traced). One thread, `wl-tracer`, and the rings of one router.
    /// [`Node::trace_settings`] gives what the configuration says.
    ///
    /// # Errors
    /// [`TracerError::Installed`] while there is another; [`TracerError::Thread`].
    pub fn install_tracer(&self, settings: TraceSettings) -> Result<Tracer, TracerError> {
        Tracer::install(&self.shared, settings)
    }

    /// What [`NodeBuilder::trace`](crate::NodeBuilder::trace) and `[trace]` of the configuration
    /// said of spans: for [`Node::install_tracer`].
    ///
    /// ```
    /// use wireloom::Node;
    /// use wireloom::config::Config;
    /// let config = Config::parse("[trace]\nsample_one_in = 100")?;
    /// let node = Node::builder("desk").config(&config).start()?;
    /// let tracer = node.install_tracer(node.trace_settings())?;
    /// assert_eq!(node.trace_settings().sample_one_in, 100);
    /// # drop(tracer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn trace_settings(&self) -> TraceSettings {
        self.shared.trace.clone()
    }
}

impl Tracer {
    fn install(shared: &Arc<Shared>, settings: TraceSettings) -> Result<Self, TracerError> {
        let mut slot = QUEUES.write().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            return Err(TracerError::Installed);
        }
        let queues = Arc::new(Queues {
            node: Arc::downgrade(shared),
            spans: ArrayQueue::new(settings.queue_spans.max(1)),
            failed: ArrayQueue::new(settings.queue_spans.max(1)),
            recorded: AtomicU64::new(0),
            queue_full: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            told: Mutex::default(),
        });
        let threshold = ids::threshold(settings.sample_one_in);
        let mut teller = Teller {
            queues: Arc::clone(&queues),
            router: Router::new(Arc::clone(shared)),
            shared: Arc::clone(shared),
            settings,
            anchor: anchor(shared),
        };
        let thread = std::thread::Builder::new().name("wl-tracer".into());
        let thread = Some(thread.spawn(move || teller.run())?);
        *slot = Some(Arc::clone(&queues));
        THRESHOLD.store(threshold, Ordering::Relaxed);
        Ok(Self { queues, thread })
    }

    /// What became of the spans so far.
    #[must_use]
    pub fn counts(&self) -> TraceCounts {
        let queues = &self.queues;
        let mut counts = queues.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        counts.queue_full = queues.queue_full.load(Ordering::Relaxed);
        counts.recorded = queues.recorded.load(Ordering::Relaxed);
        let refused: u64 = counts.refused.values().sum();
        let gone = counts.published + counts.queue_full + refused;
        counts.waiting = counts.recorded.saturating_sub(gone);
        counts
    }

    /// Publishes what waits, ends the thread, and gives the final account.
    #[must_use]
    pub fn close(mut self) -> TraceCounts {
        self.end();
        self.counts()
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        THRESHOLD.store(0, Ordering::Relaxed);
        // Whoever ends a span holds this lock while it does: none comes after.
        *QUEUES.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.queues.is_closed.store(true, Ordering::Release);
        thread.thread().unpark();
        // It ends without a panic, or has said so itself.
        let _ = thread.join();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.end();
    }
}

/// The tracer's thread.
struct Teller {
    queues: Arc<Queues>,
    shared: Arc<Shared>,
    router: Router,
    settings: TraceSettings,
    anchor: Anchor,
}

impl Teller {
    fn run(&mut self) {
        #[cfg(feature = "tracing")]
        crate::trace::layer::silence_this_thread();
        loop {
            let is_closed = self.queues.is_closed.load(Ordering::Acquire);
            self.anchor = self.anchor.follow(anchor(&self.shared));
            // Failed ones first, and at most what the queues hold: then the flag is looked at.
            for _ in 0..self.queues.failed.capacity() {
                match self.queues.failed.pop() {
                    Some(Failed::Span(span)) => self.tell_failed(&self.event(&span)),
                    #[cfg(feature = "tracing")]
                    Some(Failed::Report(report)) => {
                        let event = self.report(&report);
                        crate::trace::follow(report.context, || self.tell_failed(&event));
                    }
                    None => break,
                }
            }
            for _ in 0..self.queues.spans.capacity() {
                let Some(span) = self.queues.spans.pop() else { break };
                let told = self.router.route(&self.event(&span), &self.settings.group);
                self.count(told.map(|_| ()));
            }
            if is_closed {
                return;
            }
            park_timeout(self.settings.flush);
        }
    }

    fn tell_failed<E: Event>(&mut self, event: &E) {
        match self.router.route(event, &self.settings.collector) {
            Ok(_) => {
                self.told(|counts| counts.collected += 1);
                self.count(Ok(()));
            }
            Err(refused) => {
                self.told(|counts| *counts.uncollected.entry(why(&refused)).or_default() += 1);
                let told = self.router.route(event, &self.settings.group);
                self.count(told.map(|_| ()));
            }
        }
    }

    fn told(&self, change: impl FnOnce(&mut TraceCounts)) {
        change(&mut self.queues.told.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn count(&self, told: Result<(), Refused>) {
        self.told(|counts| match told {
            Ok(()) => counts.published += 1,
            Err(refused) => *counts.refused.entry(refused.name()).or_default() += 1,
        });
    }

    #[cfg(feature = "tracing")]
    fn report(&self, report: &Report) -> ErrorReport {
        ErrorReport {
            node: self.shared.name().to_owned(),
            component: cut_text(report.component, OPERATION_BYTES_MAX),
            message: report.message.clone(),
            recoverable: true,
            stack: report.place.clone(),
            timestamp_ns: self.anchor.unix_ns(report.at),
        }
    }

    fn event(&self, span: &Finished) -> Trace {
        let parent = (span.parent != [0; 8]).then(|| Hex(&span.parent).to_string());
        Trace {
            trace_id: Hex(&span.context.trace_id).to_string(),
            span_id: Hex(&span.context.span_id).to_string(),
            parent_span_id: parent.unwrap_or_default(),
            operation: cut_text(span.operation, OPERATION_BYTES_MAX),
            node: self.shared.name().to_owned(),
            started_ns: self.anchor.unix_ns(span.ended).saturating_sub(span.duration_ns),
            duration_ns: span.duration_ns,
            busy_ns: if span.busy_ns == ALL_OF_IT { span.duration_ns } else { span.busy_ns },
            outcome: span.outcome,
            message: span.message.clone(),
            metadata: span.metadata.clone(),
        }
    }
}

fn anchor(shared: &Shared) -> Anchor {
    Anchor { moment: Instant::now(), unix_ns: shared.unix_ns() }
}

/// Why no collector took it.
fn why(refused: &Refused) -> &'static str {
    match refused {
        Refused::NoRoute(NoRoute::NoCluster) => "no_cluster",
        Refused::NoRoute(NoRoute::UnknownService(_)) => "nobody_offers_the_service",
        other => other.name(),
    }
}

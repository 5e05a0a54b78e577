//! The layer for the crate `tracing`, on a real node: its spans become traces, its errors reports.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use tracing::{Level, error, info, span};
use tracing_subscriber::layer::SubscriberExt as _;
use wireloom::events::{ErrorReport, Trace, TraceOutcome};
use wireloom::trace::{self, TraceCounts, TraceLayer, TraceSettings};
use wireloom::{Interface, Node, Target, TraceContext, decode, traced};

const PATIENCE: Duration = Duration::from_secs(20);

struct Seen {
    _viewer: Node,
    traces: Receiver<Trace>,
    reports: Receiver<(ErrorReport, Option<TraceContext>)>,
}

impl Seen {
    fn trace(&self) -> Trace {
        self.traces.recv_timeout(PATIENCE).expect("a trace")
    }

    fn report(&self) -> (ErrorReport, Option<TraceContext>) {
        self.reports.recv_timeout(PATIENCE).expect("a report")
    }
}

/// Runs `work` under the layer, on a node with a tracer, and gives the tracer's account.
fn traced_by_the_layer(name: &str, work: impl FnOnce()) -> (Seen, TraceCounts) {
    sampled_by_the_layer((name, 1), work)
}

/// The same where one of so many traces is sampled.
fn sampled_by_the_layer(
    (name, sample_one_in): (&str, u32),
    work: impl FnOnce(),
) -> (Seen, TraceCounts) {
    let loopback = || Interface::Address(Ipv4Addr::LOCALHOST);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let group = format!("224.1.1.2:{}", socket.local_addr().expect("bound").port());
    let viewer = Node::builder("viewer").join_on(&group, loopback()).start().expect("starts");
    let ((trace, traces), (report, reports)) = (mpsc::channel(), mpsc::channel());
    viewer
        .on::<Trace>(move |event, _| {
            let _ = trace.send(decode::to_owned::<Trace>(event).expect("a trace"));
        })
        .expect("subscribes");
    viewer
        .on::<ErrorReport>(move |event, envelope| {
            let event = decode::to_owned::<ErrorReport>(event).expect("a report");
            let _ = report.send((event, envelope.trace()));
        })
        .expect("subscribes");
    let node = Node::builder(name).multicast(1, loopback(), true).start().expect("starts");
    let group = Target::multicast(&group);
    let settings = TraceSettings { group, sample_one_in, ..Default::default() };
    let tracer = node.install_tracer(settings).expect("the only one");
    let subscriber = tracing_subscriber::registry().with(TraceLayer::default());
    tracing::subscriber::with_default(subscriber, work);
    (Seen { _viewer: viewer, traces, reports }, tracer.close())
}

#[traced("middle")]
fn middle() {
    let _inner = span!(Level::INFO, "inner", rows = 3, table = "orders").entered();
    info!("no error: nobody is told");
}

/// Logs an error whenever it is shown.
struct Loud;

impl fmt::Debug for Loud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        error!(again = ?Self, "shown");
        f.write_str("loud")
    }
}

/// One test: a process has one tracer.
#[test]
fn spans_become_traces_and_errors_become_reports() {
    spans_and_functions_are_one_chain();
    an_error_fails_its_span_and_is_reported();
    an_error_is_told_though_its_span_is_not_sampled();
    a_span_has_the_parent_it_says();
    spans_left_out_of_order();
    nothing_recurs();
}

fn spans_and_functions_are_one_chain() {
    let (seen, counts) = traced_by_the_layer("a", || {
        let outer = span!(Level::INFO, "outer", later = tracing::field::Empty);
        outer.record("later", 7);
        outer.in_scope(middle);
        assert_eq!(trace::current(), None);
    });
    let traces: BTreeMap<_, _> =
        [(); 3].map(|()| seen.trace()).map(|trace| (trace.operation.clone(), trace)).into();
    let [inner, middle, outer] = ["inner", "middle", "outer"].map(|name| &traces[name]);
    assert_eq!(outer.parent_span_id, "");
    assert_eq!(middle.parent_span_id, outer.span_id);
    assert_eq!(inner.parent_span_id, middle.span_id);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(inner.metadata, [pair("rows", "3"), pair("table", "orders")]);
    assert_eq!(outer.metadata, [pair("later", "7")]);
    assert!(outer.busy_ns > 0 && outer.busy_ns <= outer.duration_ns);
    assert_eq!((counts.recorded, counts.published), (3, 3));
}

fn an_error_fails_its_span_and_is_reported() {
    let (seen, counts) = traced_by_the_layer("b", || {
        let _span = span!(Level::INFO, "query").entered();
        error!(code = 5, "no such table");
        error!("and therefore no rows");
    });
    let (report, context) = seen.report();
    assert_eq!(report.message, "no such table code=5");
    assert_eq!((report.node.as_str(), report.component.as_str()), ("b", "tracing_layer"));
    assert!(report.stack.is_some_and(|place| place.contains("tracing_layer.rs:")));
    let trace = seen.trace();
    assert_eq!((trace.operation.as_str(), trace.outcome), ("query", TraceOutcome::Error));
    assert_eq!(trace.message, "no such table code=5", "the first of them");
    let context = context.expect("it belongs to a trace");
    assert_eq!(trace.trace_id, format!("{:032x}", u128::from_be_bytes(context.trace_id)));
    assert_eq!(trace.span_id, format!("{:016x}", u64::from_be_bytes(context.span_id)));
    assert_eq!(counts.uncollected, [("no_cluster", 3)].into());
}

fn an_error_is_told_though_its_span_is_not_sampled() {
    let (seen, counts) = sampled_by_the_layer(("e", 0), || {
        span!(Level::INFO, "quiet").in_scope(|| ());
        span!(Level::INFO, "query", rows = 3).in_scope(|| error!("no such table"));
    });
    let trace = seen.trace();
    assert_eq!((trace.operation.as_str(), trace.outcome), ("query", TraceOutcome::Error));
    assert_eq!(trace.metadata, [], "values of what is not sampled are not read");
    assert_eq!(counts.recorded, 2, "the span and its report");
}

fn a_span_has_the_parent_it_says() {
    let (seen, counts) = traced_by_the_layer("f", || {
        let _outer = span!(Level::INFO, "outer").entered();
        let root = span!(parent: None, Level::INFO, "root");
        let _inner = span!(Level::INFO, "inner").entered();
        let _child = span!(parent: &root, Level::INFO, "child");
    });
    let traces: BTreeMap<_, _> =
        [(); 4].map(|()| seen.trace()).map(|trace| (trace.operation.clone(), trace)).into();
    let [outer, root, inner, child] = ["outer", "root", "inner", "child"].map(|of| &traces[of]);
    assert_eq!((outer.parent_span_id.as_str(), root.parent_span_id.as_str()), ("", ""));
    assert_ne!(root.trace_id, outer.trace_id, "a trace of its own");
    assert_eq!(inner.parent_span_id, outer.span_id);
    assert_eq!((&child.parent_span_id, &child.trace_id), (&root.span_id, &root.trace_id));
    assert_eq!(counts.recorded, 4);
}

fn spans_left_out_of_order() {
    let (_seen, counts) = traced_by_the_layer("c", || {
        let first = span!(Level::INFO, "first").entered();
        let second = span!(Level::INFO, "second").entered();
        let in_second = trace::current();
        drop(first);
        assert_eq!(trace::current(), in_second);
        drop(second);
        assert_eq!(trace::current(), None);
    });
    assert_eq!(counts.published, 2);
}

fn nothing_recurs() {
    let (seen, counts) = traced_by_the_layer("d", || error!(value = ?Loud, "once"));
    assert_eq!(seen.report().0.message, "once value=loud");
    assert_eq!(counts.recorded, 1);
}

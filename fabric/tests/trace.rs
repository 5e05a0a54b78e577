//! Traced functions on real nodes: chains across processes, errors to the collector, futures,
//! panics, sampling. A process has one tracer, so these tests run one after the other.

use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, UdpSocket};
use std::pin::{Pin, pin};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use wireloom::events::{Trace, TraceOutcome};
use wireloom::trace::{self, TraceSettings, Tracer, TracerError};
use wireloom::{
    Event, Interface, Node, NodeBuilder, Ready, Router, Target, TraceContext, decode, traced,
};

#[path = "trace/shapes.rs"]
mod shapes;

const PATIENCE: Duration = Duration::from_secs(20);
static ONE_TRACER: Mutex<()> = Mutex::new(());

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "trace-test-question")]
struct Question {
    number: u64,
}

fn alone() -> MutexGuard<'static, ()> {
    ONE_TRACER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn loopback() -> Interface {
    Interface::Address(Ipv4Addr::LOCALHOST)
}

fn builder(name: &str) -> NodeBuilder {
    Node::builder(name).multicast(1, loopback(), true)
}

/// A group of its own, and a node that shows the traces which reach it.
struct Viewer {
    _node: Node,
    sees: Receiver<Trace>,
    group: String,
}

impl Viewer {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let group = format!("224.1.1.2:{}", socket.local_addr().expect("bound").port());
        drop(socket);
        let node = Node::builder("viewer").join_on(&group, loopback()).start().expect("starts");
        let (seen, sees) = mpsc::channel();
        hear(&node, seen);
        Self { _node: node, sees, group }
    }

    fn next(&self) -> Trace {
        self.sees.recv_timeout(PATIENCE).expect("a trace")
    }

    fn settings(&self) -> TraceSettings {
        TraceSettings { group: Target::multicast(&self.group), ..TraceSettings::default() }
    }
}

fn hear(node: &Node, seen: mpsc::Sender<Trace>) {
    node.on::<Trace>(move |trace, _| {
        let _ = seen.send(decode::to_owned::<Trace>(trace).expect("a trace"));
    })
    .expect("subscribes");
}

/// A node with a tracer, and who sees its traces.
fn traced_node(name: &str, sample_one_in: u32) -> (Viewer, Tracer, Node) {
    let viewer = Viewer::new();
    let node = builder(name).start().expect("starts");
    let settings = TraceSettings { sample_one_in, ..viewer.settings() };
    let tracer = node.install_tracer(settings).expect("the only one");
    (viewer, tracer, node)
}

#[traced("a.ask")]
fn ask(router: &mut Router, target: &Target, number: u64) {
    compute(number);
    router.route(&Question { number }, target).expect("accepted");
}

#[traced("a.compute", fields(number, twice = number * 2))]
fn compute(number: u64) -> u64 {
    number
}

#[traced("b.answer")]
fn answer(number: u64) -> u64 {
    number + 1
}

/// The other process of the next test: its node answers until its input ends.
#[test]
#[ignore = "run by the test below"]
fn child_answers() {
    let Ok(group) = std::env::var("WIRELOOM_TRACE_TEST_GROUP") else { return };
    let node = builder("b").start().expect("starts");
    let settings = TraceSettings { group: Target::multicast(&group), ..Default::default() };
    let _tracer = node.install_tracer(settings).expect("the only one of this process");
    node.on::<Question>(|question, _| {
        answer(question.number.to_native());
    })
    .expect("subscribes");
    println!("\naddress {}", node.address());
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_trace_follows_its_event_to_another_process() {
    let _alone = alone();
    let (viewer, _tracer, node) = traced_node("a", 1);
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_answers", "--ignored", "--nocapture"])
        .env("WIRELOOM_TRACE_TEST_GROUP", &viewer.group)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = output.lines().map_while(Result::ok);
    let address = lines
        .find_map(|line| line.strip_prefix("address ").map(str::to_owned))
        .expect("it says where it listens");

    ask(&mut node.router(), &Target::node(&address), 20);
    let mut traces = [viewer.next(), viewer.next(), viewer.next()];
    traces.sort_by(|one, other| one.operation.cmp(&other.operation));
    let [ask, compute, answer] = traces;
    drop(child.stdin.take());
    lines.for_each(drop);
    assert!(child.wait().expect("it ends").success());

    let names = [&ask, &compute, &answer].map(|trace| trace.operation.as_str());
    assert_eq!(names, ["a.ask", "a.compute", "b.answer"]);
    assert_eq!([&ask, &compute, &answer].map(|trace| trace.node.as_str()), ["a", "a", "b"]);
    assert_eq!(ask.parent_span_id, "", "it is the first");
    assert_eq!(compute.parent_span_id, ask.span_id);
    assert_eq!(answer.parent_span_id, ask.span_id, "by the event");
    assert!(ask.trace_id == compute.trace_id && ask.trace_id == answer.trace_id);
    assert_eq!(ask.trace_id.len(), 32);
    let metadata = [("number", "20"), ("twice", "40")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(compute.metadata, metadata);
    assert!(compute.started_ns >= ask.started_ns && compute.duration_ns <= ask.duration_ns);
}

#[traced("fails", fields(secret = 7))]
fn fails(number: u8) -> Result<u8, String> {
    let checked: Result<u8, String> = if number > 3 { Err("too many".into()) } else { Ok(number) };
    let number = checked?;
    Ok(number)
}

#[traced("dies")]
fn dies(index: usize) -> u8 {
    [1, 2, 3][index]
}

#[test]
fn an_error_reaches_the_collector_reliably() {
    let _alone = alone();
    let viewer = Viewer::new();
    let cluster = format!("trace-{}", std::process::id());
    let collector = Node::builder("collector").cluster(&cluster).service("error-collector");
    let collector = collector.start().expect("starts");
    let (seen, sees) = mpsc::channel();
    hear(&collector, seen);
    let node = builder("a").cluster(&cluster).seed(&collector.address().to_string());
    let node = node.start().expect("starts");
    node.ready(&Ready::services(["error-collector"]), PATIENCE).expect("it is found");
    let tracer = node.install_tracer(viewer.settings()).expect("the only one");

    assert_eq!(fails(9), Err("too many".to_owned()));
    assert_eq!(fails(2), Ok(2));
    let failed = sees.recv_timeout(PATIENCE).expect("it arrives");
    assert_eq!((failed.operation.as_str(), failed.outcome), ("fails", TraceOutcome::Error));
    assert_eq!((failed.message.as_str(), failed.node.as_str()), ("too many", "a"));
    let good = viewer.next();
    assert_eq!((good.operation.as_str(), good.outcome), ("fails", TraceOutcome::Ok));
    assert_ne!(good.trace_id, failed.trace_id);
    let counts = tracer.close();
    assert_eq!((counts.recorded, counts.published, counts.collected), (2, 2, 1));
    assert!(counts.uncollected.is_empty() && counts.refused.is_empty());
    let ledger = node.close();
    assert_eq!((ledger.reliable.accepted, ledger.reliable.delivered), (1, 1));
}

#[test]
fn without_a_collector_an_error_goes_to_the_group_and_is_counted() {
    let _alone = alone();
    let (viewer, tracer, _node) = traced_node("a", 1);
    assert!(fails(9).is_err());
    let failed = viewer.next();
    assert_eq!((failed.outcome, failed.message.as_str()), (TraceOutcome::Error, "too many"));
    let counts = tracer.close();
    assert_eq!(counts.uncollected, [("no_cluster", 1)].into());
    assert_eq!((counts.recorded, counts.published, counts.collected), (1, 1, 0));
}

#[test]
fn a_panic_is_an_error_and_goes_on() {
    let _alone = alone();
    let (viewer, _tracer, _node) = traced_node("a", 1);
    assert!(std::panic::catch_unwind(|| dies(7)).is_err());
    let failed = viewer.next();
    assert_eq!((failed.operation.as_str(), failed.outcome), ("dies", TraceOutcome::Error));
    assert_eq!(failed.message, "panicked: index out of bounds: the len is 3 but the index is 7");
    assert_eq!(trace::current(), None, "the thread has left the span");
    assert_eq!(dies(1), 2);
    assert_eq!(viewer.next().outcome, TraceOutcome::Ok);
}

#[test]
fn what_is_sampled_out_publishes_nothing_but_errors() {
    let _alone = alone();
    let (viewer, tracer, node) = traced_node("a", 0);

    #[traced("outer")]
    fn outer() -> TraceContext {
        let outer = trace::current().expect("a context all the same");
        let inner = inner();
        assert_eq!((inner.trace_id, inner.sampled), (outer.trace_id, false));
        assert_ne!(inner.span_id, outer.span_id);
        outer
    }
    #[traced("inner", fields(never = never()))]
    fn inner() -> TraceContext {
        trace::current().expect("a context")
    }
    fn never() -> u8 {
        panic!("values of what is not sampled are not asked for")
    }
    for _ in 0..100 {
        assert!(!outer().sampled);
    }
    assert_eq!(tracer.counts().recorded, 0);
    let _ = fails(9);
    assert_eq!(viewer.next().message, "too many");

    // Who begins the trace decides: this one was sampled elsewhere.
    let context = TraceContext { trace_id: [7; 16], span_id: [8; 8], sampled: true };
    trace::follow(context, || compute(1));
    let followed = viewer.next();
    assert_eq!((followed.trace_id, followed.parent_span_id), ("07".repeat(16), "08".repeat(8)));
    assert_eq!(tracer.close().recorded, 2);

    // And the other way round.
    let tracer = node.install_tracer(viewer.settings()).expect("the only one");
    trace::follow(TraceContext { sampled: false, ..context }, || compute(2));
    assert_eq!(tracer.close().recorded, 0);
}

#[test]
fn a_rate_of_a_function_is_its_own() {
    #[traced("rare", sample_one_in = 0)]
    fn rare() {}
    let _alone = alone();
    let (viewer, tracer, _node) = traced_node("a", 1);
    rare();
    compute(1);
    assert_eq!(viewer.next().operation, "a.compute");
    assert_eq!(tracer.close().recorded, 1);
}

#[test]
fn a_process_has_one_tracer_and_without_one_nothing_is_traced() {
    let _alone = alone();
    assert_eq!((compute(3), trace::current()), (3, None));
    let (_viewer, tracer, node) = traced_node("a", 1);
    let second = node.install_tracer(TraceSettings::default());
    assert!(matches!(second, Err(TracerError::Installed)));
    drop(tracer);
    let tracer = node.install_tracer(TraceSettings::default()).expect("the first has gone");
    drop(node);
    compute(3);
    assert_eq!(tracer.close().refused, [("closed", 1)].into());
    assert_eq!(fails(1), Ok(1));
}

#[test]
fn what_waits_for_the_tracer_is_memory_of_the_node_that_tells_it() {
    let _alone = alone();
    let (node, other) = (builder("a").start().expect("starts"), builder("b").start());
    let other = other.expect("starts");
    let waiting = |node: &Node| {
        let terms = node.memory();
        terms.iter().find(|(of, _)| of.contains("tracer: spans that wait")).map(|(_, bytes)| *bytes)
    };
    assert_eq!(waiting(&node), None);
    let install = |queue_spans| {
        let settings = TraceSettings { queue_spans, ..TraceSettings::default() };
        node.install_tracer(settings).expect("there is none")
    };
    let tracer = install(1);
    let two = waiting(&node).expect("a term");
    // A span with its message and eight values, twice: failed ones have a queue of their own.
    assert!((2 * 900..2 * 2_000).contains(&two), "{two}");
    drop(tracer);
    let tracer = install(1_000);
    assert_eq!((waiting(&node), waiting(&other)), (Some(1_000 * two), None));
    drop(tracer);
    assert_eq!(waiting(&node), None);
}

#[test]
fn a_full_queue_is_counted_and_nobody_waits() {
    let _alone = alone();
    let viewer = Viewer::new();
    let node = builder("a").start().expect("starts");
    let flush = Duration::from_secs(3_600);
    let settings = TraceSettings { queue_spans: 8, flush, ..viewer.settings() };
    let tracer = node.install_tracer(settings).expect("the only one");
    for number in 0..1_000 {
        compute(number);
    }
    let counts = tracer.close();
    assert_eq!(counts.recorded, 1_000);
    // The thread may have looked once, and looks again at the end.
    assert!(counts.queue_full >= 900, "{counts:?}");
    assert_eq!(counts.published + counts.queue_full, 1_000);
    assert_eq!(counts.waiting, 0);
}

#[test]
fn a_routers_own_trace_comes_before_the_current_span() {
    let _alone = alone();
    let (_viewer, _tracer, node) = traced_node("a", 1);
    let (seen, sees) = mpsc::channel();
    node.on::<Question>(move |_, envelope| {
        let _ = seen.send((envelope.trace(), trace::current()));
    })
    .expect("subscribes");
    let mut router = node.router();
    let outside = router.route(&Question { number: 1 }, Target::Local);
    outside.expect("accepted");
    assert_eq!(sees.recv_timeout(PATIENCE), Ok((None, None)));
    ask(&mut router, &Target::Local, 1);
    let (of_event, of_handler) = sees.recv_timeout(PATIENCE).expect("handled");
    assert!(of_event.is_some_and(|context| context.sampled));
    assert_eq!(of_handler, of_event, "the handler runs in its event's trace");
    let own = TraceContext { trace_id: [1; 16], span_id: [2; 8], sampled: true };
    router.set_trace(Some(own));
    ask(&mut router, &Target::Local, 1);
    assert_eq!(sees.recv_timeout(PATIENCE), Ok((Some(own), Some(own))));
}

#[test]
fn what_a_legacy_event_is_known_by_stands_on_no_other_event() {
    use wireloom::PolledAny;
    use wireloom::jtag::{LegacyEvents, LegacyJtag};
    let _alone = alone();
    let (_viewer, _tracer, node) = traced_node("a", 1);
    let (seen, sees) = mpsc::channel();
    node.on::<Question>(move |_, envelope| {
        let _ = seen.send((envelope.trace(), trace::current()));
    })
    .expect("subscribes");
    let mut every = node.subscribe_any(&[LegacyJtag::TYPE]).expect("subscribes");
    let events = LegacyEvents::new(&node, &Target::Node(node.address())).expect("starts");
    events.emit("something:done", &serde_json::json!({})).expect("emitted");
    let begun = Instant::now();
    let mut identity = None;
    while identity.is_none() {
        assert!(begun.elapsed() < PATIENCE, "it arrives");
        every.wait(Duration::from_millis(10));
        every.poll(1, |polled| {
            if let PolledAny::Event(event) = polled {
                identity = event.envelope.trace();
            }
        });
    }
    let identity = identity.expect("it has one");
    trace::follow(identity, || assert_eq!(trace::current(), None));
    let mut router = node.router();
    router.set_trace(Some(identity));
    router.route(&Question { number: 1 }, Target::Local).expect("accepted");
    assert_eq!(sees.recv_timeout(PATIENCE), Ok((Some(identity), None)));
}

/// Pending once.
#[derive(Default)]
struct Later(bool);

impl Future for Later {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The smallest executor there is.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park_timeout(Duration::from_millis(10)),
        }
    }
}

#[traced("async.outer")]
async fn outer_future(number: u64) -> Result<TraceContext, String> {
    let before = trace::current();
    let inner = inner_future(number).await?;
    assert_eq!(trace::current(), before, "after the await as before");
    assert_ne!(inner, before);
    before.ok_or_else(|| "no context".into())
}

#[traced("async.inner")]
async fn inner_future(number: u64) -> Result<Option<TraceContext>, String> {
    let before = trace::current();
    Later::default().await;
    assert_eq!(trace::current(), before);
    if number == 0 { Err("nothing to do".into()) } else { Ok(before) }
}

#[test]
fn a_future_is_in_its_span_while_it_is_polled_on_whichever_thread() {
    let _alone = alone();
    let (viewer, _tracer, _node) = traced_node("a", 1);
    let mut future = Box::pin(outer_future(1));
    let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    assert_eq!(trace::current(), None, "between the polls the thread is in no span");
    std::thread::sleep(Duration::from_millis(300));
    let context = std::thread::spawn(move || block_on(future)).join().expect("no panic");
    let context = context.expect("good");
    let [inner, outer] = [viewer.next(), viewer.next()];
    assert_eq!(
        (inner.operation.as_str(), outer.operation.as_str()),
        ("async.inner", "async.outer")
    );
    assert_eq!(inner.parent_span_id, outer.span_id);
    assert_eq!(outer.trace_id, format!("{:032x}", u128::from_be_bytes(context.trace_id)));
    for trace in [&inner, &outer] {
        assert!(trace.duration_ns >= 300_000_000, "waiting is part of it: {trace:?}");
        assert!(trace.busy_ns < 150_000_000, "but no work: {trace:?}");
    }
    assert!(outer.busy_ns > 0 && outer.busy_ns >= inner.busy_ns);
}

#[test]
fn futures_on_two_executors_at_once_keep_their_spans_apart() {
    let _alone = alone();
    let (viewer, _tracer, _node) = traced_node("a", 1);
    let run = || std::thread::spawn(|| block_on(outer_future(1)));
    let contexts = [run(), run()].map(|one| one.join().expect("no panic").expect("good"));
    assert_ne!(contexts[0].trace_id, contexts[1].trace_id);
    let traces = [(); 4].map(|()| viewer.next());
    for outer in traces.iter().filter(|trace| trace.operation == "async.outer") {
        let children = traces.iter().filter(|trace| trace.parent_span_id == outer.span_id);
        let children: Vec<_> = children.map(|trace| trace.trace_id.as_str()).collect();
        assert_eq!(children, [outer.trace_id.as_str()]);
    }
}

#[test]
fn a_future_fails_dies_or_is_cancelled() {
    #[traced("async.dies")]
    async fn dies() {
        Later::default().await;
        panic!("in the second poll");
    }
    let _alone = alone();
    let (viewer, _tracer, _node) = traced_node("a", 1);
    assert_eq!(block_on(outer_future(0)), Err("nothing to do".to_owned()));
    for _ in 0..2 {
        assert_eq!(viewer.next().message, "nothing to do");
    }
    assert!(std::panic::catch_unwind(|| block_on(dies())).is_err());
    let dead = viewer.next();
    assert_eq!(
        (dead.outcome, dead.message.as_str()),
        (TraceOutcome::Error, "panicked: in the second poll")
    );
    assert_eq!(trace::current(), None);
    let mut dropped = Box::pin(inner_future(1));
    let _ = dropped.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    drop(dropped);
    let cancelled = viewer.next();
    assert_eq!(
        (cancelled.operation.as_str(), cancelled.outcome),
        ("async.inner", TraceOutcome::Cancelled)
    );
}

#[test]
fn a_carried_future_stays_in_its_trace() {
    let _alone = alone();
    let context = TraceContext { trace_id: [5; 16], span_id: [6; 8], sampled: false };
    let carried = trace::follow(context, || {
        trace::carry(async {
            Later::default().await;
            trace::current()
        })
    });
    assert_eq!(std::thread::spawn(|| block_on(carried)).join().expect("no panic"), Some(context));
}

#[test]
fn every_shape_of_function_can_be_traced() {
    use shapes::{Counter, Doubles};
    let _alone = alone();
    let (viewer, _tracer, _node) = traced_node("a", 1);
    let mut counter = Counter { count: 1 };
    *counter.add((1, 1), "ab") += 1;
    let named = |trace: &Trace| (trace.operation.clone(), trace.metadata.clone());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(named(&viewer.next()), ("shape.method".into(), vec![pair("label", "\"ab\"")]));
    assert_eq!((counter.count, counter.doubled()), (6, 12));
    assert_eq!(viewer.next().operation, "doubled");
    assert_eq!(block_on(counter.later("abc", 4)), 3);
    assert_eq!(named(&viewer.next()), ("shape.async".into(), vec![pair("more", "4")]));
    assert_eq!(counter.into_count(), 10);
    assert_eq!(named(&viewer.next()), ("shape.owned".into(), vec![pair("count", "10")]));
    assert_eq!(shapes::generic(&[3, 9, 4], ()), &9);
    assert_eq!(named(&viewer.next()), ("shape.generic".into(), vec![pair("values", "[3, 9, 4]")]));
    assert_eq!(shapes::iterator(4).sum::<u8>(), 6);
    assert_eq!(viewer.next().operation, "shape.iterator");
    assert!(shapes::alias("x").is_err());
    assert_eq!(viewer.next().message, "invalid digit found in string");
    assert_eq!(shapes::recursive(3), 3);
    let chain = [(); 4].map(|()| viewer.next());
    for pair in chain.windows(2) {
        assert_eq!(pair[0].parent_span_id, pair[1].span_id, "the innermost ends first");
    }
}

#[test]
fn the_largest_trace_fits_a_packet() {
    let pairs = trace::PAIRS_MAX + 1;
    let metadata =
        vec![("k".repeat(trace::KEY_BYTES_MAX), "v".repeat(trace::VALUE_BYTES_MAX)); pairs];
    let trace = Trace {
        trace_id: "1".repeat(32),
        span_id: "2".repeat(16),
        parent_span_id: "3".repeat(16),
        operation: "o".repeat(trace::OPERATION_BYTES_MAX),
        node: "n".repeat(64),
        started_ns: u64::MAX,
        duration_ns: u64::MAX,
        busy_ns: u64::MAX,
        outcome: TraceOutcome::Error,
        message: "m".repeat(trace::MESSAGE_BYTES_MAX),
        metadata,
    };
    let node = builder("a").packet_bytes(1_400).path_bytes(1_400).start().expect("starts");
    node.router().route(&trace, Target::multicast("224.1.1.2:19438")).expect("it fits");
}

//! What `#[traced]` adds to a function: without a tracer, sampled out, sampled; and what the
//! current span adds to a routed event.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a bench says what it found")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use wireloom::trace::{self, TraceSettings, Tracer};
use wireloom::{Interface, Node, Target, TraceContext, traced};
use wireloom_bench::Flat;

/// Calls between two pauses in which the tracer's thread empties its queue.
const BURST: u32 = 1_000;

#[inline(never)]
fn plain(number: u64) -> u64 {
    black_box(number)
}

#[traced("bench")]
#[inline(never)]
fn in_a_span(number: u64) -> u64 {
    black_box(number)
}

#[traced("bench.result", fields(number))]
#[inline(never)]
fn with_a_value(number: u64) -> Result<u64, String> {
    Ok(black_box(number))
}

fn node() -> Node {
    let loopback = Interface::Address([127, 0, 0, 1].into());
    Node::builder("traced").multicast(1, loopback, true).start().expect("a node on loopback")
}

fn tracer(node: &Node, sample_one_in: u32) -> Tracer {
    let settings = TraceSettings {
        sample_one_in,
        group: Target::multicast("224.1.1.2:19411"),
        flush: Duration::from_millis(1),
        ..TraceSettings::default()
    };
    node.install_tracer(settings).expect("the only one")
}

/// Times calls alone, with pauses between bursts of them.
fn in_bursts(tracer: &Tracer, calls: u64, mut call: impl FnMut(u64)) -> Duration {
    let (mut time, mut done) = (Duration::ZERO, 0);
    while done < calls {
        let end = calls.min(done + u64::from(BURST));
        let begun = Instant::now();
        (done..end).for_each(&mut call);
        time += begun.elapsed();
        done = end;
        while tracer.counts().waiting > 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    time
}

/// The best of many bursts, ns a call: what a call costs when nobody takes the core away.
fn best_ns(mut call: impl FnMut(u64)) -> f64 {
    let bursts = (0..2_000).map(|_| {
        let begun = Instant::now();
        (0..u64::from(BURST)).for_each(&mut call);
        begun.elapsed()
    });
    bursts.min().unwrap_or_default().as_nanos() as f64 / f64::from(BURST)
}

/// One table without statistics, for a machine that does other things too.
fn best(_criterion: &mut Criterion) {
    let called = best_ns(|number| {
        plain(number);
    });
    let bare = best_ns(|number| {
        in_a_span(number);
    });
    let node = node();
    let tracer = tracer(&node, 0);
    let out = best_ns(|number| {
        in_a_span(number);
    });
    let clock = best_ns(|_| {
        black_box(Instant::now());
    });
    drop(tracer);
    println!(
        "best of 2,000 bursts: not traced {called:.1} ns, without a tracer {bare:.1} ns, \
         sampled out {out:.1} ns, a reading of the clock {clock:.1} ns"
    );
}

fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("traced call");
    group.bench_function("not traced", |bencher| bencher.iter(|| plain(black_box(1))));
    group.bench_function("without a tracer", |bencher| bencher.iter(|| in_a_span(black_box(1))));
    let node = node();
    let out = tracer(&node, 0);
    group.bench_function("sampled out", |bencher| bencher.iter(|| in_a_span(black_box(1))));
    group.bench_function("sampled out, with a value and a result", |bencher| {
        bencher.iter(|| with_a_value(black_box(1)));
    });
    drop(out);
    let all = tracer(&node, 1);
    group.bench_function("sampled", |bencher| {
        bencher.iter_custom(|count| {
            in_bursts(&all, count, |number| {
                in_a_span(number);
            })
        });
    });
    group.bench_function("sampled, with a value and a result", |bencher| {
        bencher.iter_custom(|count| {
            in_bursts(&all, count, |number| {
                let _ = with_a_value(number);
            })
        });
    });
    assert_eq!(all.close().queue_full, 0, "what was measured is the whole way");
    group.finish();
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("traced route");
    let (node, mut invoker) =
        Node::builder("traced-route").start_invoker().expect("a node on loopback");
    let mut router = node.router();
    let context = TraceContext { trace_id: [1; 16], span_id: [2; 8], sampled: true };
    let mut route = |count: u64| {
        let begun = Instant::now();
        for number in 0..count {
            if router.route(&Flat::new(number), Target::Local).is_err() {
                break;
            }
        }
        begun.elapsed()
    };
    for (name, context) in [("outside a span", None), ("in a span", Some(context))] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let (mut time, mut done) = (Duration::ZERO, 0);
                while done < count {
                    let burst = u64::from(BURST).min(count - done);
                    time += trace::follow(context, || route(burst));
                    done += burst;
                    while invoker.do_work() > 0 {}
                }
                time
            });
        });
    }
    group.finish();
}

criterion_group!(benches, best, calls, routes);
criterion_main!(benches);

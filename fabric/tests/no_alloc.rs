//! After start-up the workers do not allocate: a counting allocator watches them under load.
//!
//! The allocator counts allocations of threads whose name begins with `wl-`, the workers; the
//! conductor (`wl-conductor`) may allocate and is left out.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::{
    Delivery, Event, Intake, IoBackend, Mode as Threads, Node, Polled, SlowPolicy, Target,
};
use wireloom_seal::{Cipher, Mode, Secret};

struct Counting;

static WATCHING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// 0 unknown, 1 a worker, 2 another thread.
    static KIND: Cell<u8> = const { Cell::new(0) };
}

fn watched() -> bool {
    if !WATCHING.load(Ordering::Relaxed) {
        return false;
    }
    KIND.try_with(|kind| {
        if kind.get() == 0 {
            // Asking for the name may allocate: answer "other" meanwhile.
            kind.set(2);
            let current = std::thread::current();
            let name = current.name().unwrap_or_default();
            let worker = name.starts_with("wl-") && name != "wl-conductor";
            kind.set(if worker { 1 } else { 2 });
        }
        kind.get() == 1
    })
    .unwrap_or(false)
}

// SAFETY: every call is passed on unchanged to the system allocator; counting touches no memory of
// the allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if watched() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise about `layout` is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if watched() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: `pointer` came from `alloc` above with this layout, as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "reading")]
struct Reading {
    number: u64,
    note: String,
}

/// The count is worth something: a thread named like a worker is caught.
fn prove_the_watch() {
    WATCHING.store(true, Ordering::SeqCst);
    let thread = std::thread::Builder::new().name("wl-proof".into());
    let thread = thread.spawn(|| std::hint::black_box(vec![1_u8; 64]).len()).expect("a thread");
    assert_eq!(thread.join().ok(), Some(64));
    WATCHING.store(false, Ordering::SeqCst);
    assert!(ALLOCATIONS.swap(0, Ordering::SeqCst) >= 2, "an allocation and its end are seen");
}

/// One test for both, since there is one count.
#[test]
fn workers_do_not_allocate_after_start() {
    prove_the_watch();
    for backend in [IoBackend::Mio, IoBackend::Uring] {
        for sealed in [None, Some(Mode::Full), Some(Mode::Integrity)] {
            watch_a_flow_through(backend, sealed);
        }
    }
    watch_large_events();
}

/// Events in pieces: their memory is made and freed by others than the worker that reads it.
fn watch_large_events() {
    let node = |name| Node::builder(name).mode(Threads::Dedicated).start();
    let receiver = node("receiver").expect("starts");
    let handled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&handled);
    receiver
        .on::<Reading>(move |reading, _| {
            count.fetch_add(reading.note.len() as u64, Ordering::Relaxed);
        })
        .expect("subscribes");
    let sender = node("sender").expect("starts");
    let mut router = sender.router();
    let target = Target::Reliable(receiver.address());
    let reading = Reading { number: 0, note: "x".repeat(300_000) };
    for watched in [false, true] {
        WATCHING.store(watched, Ordering::SeqCst);
        for _ in 0..20 {
            let accepted = router.route(&reading, &target).expect("accepted");
            let receipt = router.receipt(accepted).expect("reliable");
            assert_eq!(receipt.wait(Duration::from_secs(30)), Delivery::Delivered);
        }
        WATCHING.store(false, Ordering::SeqCst);
    }
    assert_eq!(handled.load(Ordering::Relaxed), 40 * 300_000);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    assert_eq!(allocations, 0, "large events: a worker allocated or freed memory");
}

fn watch_a_flow_through(backend: IoBackend, sealed: Option<Mode>) {
    let node = |name| Node::builder(name).mode(Threads::Dedicated).io(backend).start();
    let receiver = node("receiver").expect("starts");
    let handled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&handled);
    receiver
        .on::<Reading>(move |reading, _| {
            assert!(reading.note.len() < 100);
            count.fetch_add(1, Ordering::Relaxed);
        })
        .expect("subscribes");
    let mut ring = receiver.subscribe::<Reading>().expect("subscribes");
    // Nobody polls these: what their policies do with a full ring is watched too.
    let block = SlowPolicy::Block(Duration::from_millis(1));
    let frozen = [SlowPolicy::DropOldest, block, SlowPolicy::Latest { keys: 9 }].map(|policy| {
        let intake = Intake::of(policy).ring_bytes(64 << 10);
        receiver.subscribe_with::<Reading>(intake).expect("subscribes")
    });
    let number = |reading: &rkyv::Archived<Reading>| reading.number.to_native() % 100;
    let latest = receiver.subscribe_latest::<Reading>(50, number).expect("subscribes");
    let sender = node("sender").expect("starts");
    if let Some(mode) = sealed {
        let secret = || Secret::new(Cipher::of_this_processor(), &[5; 32]);
        receiver.open_from(sender.id(), secret(), mode).expect("commands");
        sender.seal_to(receiver.address(), secret(), mode).expect("a link");
    }
    let mut publisher =
        sender.publisher::<Reading>(&Target::Node(receiver.address())).expect("a route");
    let mut router = receiver.router();

    let mut publish = |from: u64, to: u64| {
        let (mut polled, begun) = (0_u64, Instant::now());
        for number in from..to {
            let reading = Reading { number, note: "x".repeat((number % 90) as usize) };
            while publisher.publish(&reading).is_err() {
                std::thread::yield_now();
            }
            if number % 10 == 0 {
                router.route(&reading, Target::Local).expect("local");
            }
            polled += ring.poll(64, |polled| assert!(!matches!(polled, Polled::Shed(_)))) as u64;
            assert!(begun.elapsed() < Duration::from_secs(60), "stuck at {number}");
            if number % 64 == 0 {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        polled
    };
    publish(0, 2_000);
    std::thread::sleep(Duration::from_millis(50));
    WATCHING.store(true, Ordering::SeqCst);
    publish(2_000, 60_000);
    WATCHING.store(false, Ordering::SeqCst);

    assert!(handled.load(Ordering::Relaxed) > 30_000, "the workers were under load");
    let counters = receiver.counters();
    let opened = counters.iter().find(|(of, _)| of.name == "packets_opened");
    assert_eq!(opened.is_some_and(|(_, packets)| *packets > 100), sealed.is_some());
    drop((frozen, latest));
    let given_up = receiver.counters();
    let given_up = |name| given_up.iter().any(|(of, events)| of.name == name && *events > 0);
    assert!(given_up("ring_events_oldest") && given_up("ring_events_superseded"));
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    assert_eq!(allocations, 0, "{backend:?}, {sealed:?}: a worker allocated or freed memory");
}

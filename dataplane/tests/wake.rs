//! No wake-up is lost: publishers and a worker race through park and notify, and the worker must
//! see every round although its park would otherwise last far longer than the test.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::poller::{ParkedBy, Poller};
use wireloom_dataplane::wake::Wake;

/// A park that lasts this long has missed its wake-up: a round takes about 100 µs.
const LOST: Duration = Duration::from_nanos(LOST_NS);
const LOST_NS: u64 = 5_000_000_000;

/// A test ends early when it takes longer; what was reached by then counts.
const PATIENCE_NS: u64 = 20_000_000_000;

/// Instead of a round: there are no more.
const OVER: u64 = u64::MAX;

/// What publisher and worker share: the number of rounds published and answered.
struct Rounds {
    published: AtomicU64,
    answered: AtomicU64,
    stop: AtomicBool,
    wake: Arc<Wake>,
}

/// The worker of the tests: looks, announces, looks again, sleeps. `sleep` says whether it was
/// woken. Returns (rounds seen, parks, lost).
fn work(
    rounds: &Rounds,
    announce: impl Fn(&Wake),
    mut sleep: impl FnMut() -> bool,
) -> (u64, u64, u64) {
    let (mut seen, mut parks, mut lost) = (0, 0, 0);
    let look = |seen: &mut u64| {
        let published = rounds.published.load(Ordering::Acquire);
        let new = published != *seen;
        *seen = published;
        if new {
            rounds.answered.store(published, Ordering::Release);
        }
        new || rounds.stop.load(Ordering::Acquire)
    };
    while !rounds.stop.load(Ordering::Acquire) {
        if look(&mut seen) {
            continue;
        }
        announce(&rounds.wake);
        if !look(&mut seen) {
            parks += 1;
            if !sleep() {
                lost += 1;
            }
        }
        rounds.wake.park_end();
    }
    (seen, parks, lost)
}

/// Publishes `count` rounds, each as soon as the last was answered and after a pause that sweeps
/// over the worker's way into its sleep.
fn publish(rounds: &Rounds, count: u64) -> u64 {
    let clock = Clock::system();
    let end_ns = clock.now_ns() + PATIENCE_NS;
    for round in 1..=count {
        rounds.published.store(round, Ordering::Release);
        rounds.wake.notify();
        while rounds.answered.load(Ordering::Acquire) != round {
            std::hint::spin_loop();
            if clock.now_ns() > end_ns {
                return round - 1;
            }
        }
        for _ in 0..(round * 7) % 257 {
            std::hint::spin_loop();
        }
    }
    count
}

fn race_worker(asymmetric: bool, count: u64) {
    let mut poller = Poller::new().unwrap();
    let wake = if asymmetric { Wake::new(poller.waker()) } else { Wake::symmetric(poller.waker()) };
    race(wake, asymmetric, count, move |rounds| {
        work(rounds, Wake::park_begin, || poller.park(LOST) != ParkedBy::Timeout)
    });
}

/// Notes that it was woken, and wakes its thread.
struct Unpark(std::thread::Thread, AtomicBool);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::Release);
        self.0.unpark();
    }
}

/// The same for a task: each sleep has a waker of its own, and is over when that was woken.
fn race_task(asymmetric: bool, count: u64) {
    let wake = if asymmetric { Wake::of_task() } else { Wake::of_task_symmetric() };
    race(wake, asymmetric, count, |rounds| {
        let woken = std::cell::RefCell::new(None);
        let announce = |wake: &Wake| {
            let unpark = Arc::new(Unpark(std::thread::current(), AtomicBool::new(false)));
            wake.sleep_task(&Arc::clone(&unpark).into());
            woken.replace(Some(unpark));
        };
        let sleep = || {
            let unpark = woken.take().unwrap();
            let clock = Clock::system();
            let end_ns = clock.now_ns() + LOST_NS;
            while !unpark.1.load(Ordering::Acquire) {
                if clock.now_ns() >= end_ns {
                    return false;
                }
                std::thread::park_timeout(LOST);
            }
            true
        };
        work(rounds, announce, sleep)
    });
}

fn race(
    wake: Arc<Wake>,
    asymmetric: bool,
    count: u64,
    work: impl FnOnce(&Rounds) -> (u64, u64, u64) + Send + 'static,
) {
    if asymmetric && !wake.asymmetric() {
        println!("SKIPPED: this kernel has no membarrier");
    }
    let rounds = Arc::new(Rounds {
        published: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        wake,
    });
    let theirs = Arc::clone(&rounds);
    let worker = std::thread::spawn(move || work(&theirs));
    let done = publish(&rounds, count);
    rounds.stop.store(true, Ordering::Release);
    rounds.wake.notify();
    let (seen, parks, lost) = worker.join().unwrap();
    println!("{done} rounds, {parks} parks, {lost} lost, asymmetric {asymmetric}");
    assert_eq!(lost, 0, "wake-ups lost in {done} rounds");
    assert_eq!(seen, done);
    assert!(done == count || done > count / 100, "only {done} rounds in time");
}

#[test]
fn no_wake_up_is_lost_with_membarrier() {
    race_worker(true, 50_000);
}

#[test]
fn no_wake_up_is_lost_with_fences() {
    race_worker(false, 20_000);
}

#[test]
fn no_wake_up_of_a_task_is_lost_with_membarrier() {
    race_task(true, 50_000);
}

#[test]
fn no_wake_up_of_a_task_is_lost_with_fences() {
    race_task(false, 20_000);
}

/// Panics when it is woken.
struct Broken;

impl std::task::Wake for Broken {
    fn wake(self: Arc<Self>) {
        panic!("a broken runtime");
    }
}

#[test]
fn a_waker_that_panics_does_not_end_who_wakes() {
    let wake = Wake::of_task();
    wake.sleep_task(&Arc::new(Broken).into());
    wake.notify();
    let unpark = Arc::new(Unpark(std::thread::current(), AtomicBool::new(false)));
    wake.sleep_task(&Arc::clone(&unpark).into());
    wake.notify();
    assert!(unpark.1.load(Ordering::Acquire), "the next one is woken as ever");
    wake.notify();
    assert_eq!(Arc::strong_count(&unpark), 1, "a waker is woken once and not kept");
}

/// Waits until `cell` holds at least `value` and returns it; gives the core away now and then, in
/// case there is only one.
fn meet(cell: &AtomicU64, value: u64) -> u64 {
    let mut spins = 0_u32;
    loop {
        let held = cell.load(Ordering::Acquire);
        if held >= value {
            return held;
        }
        spins += 1;
        if spins.is_multiple_of(256) {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
}

/// Passes a time of about `steps` ns.
fn dawdle(steps: i64) {
    for step in 0..steps {
        std::hint::black_box(step);
    }
}

/// The race itself, many times over: both sides start each round together, write one thing and read
/// the other's. Whoever came first starts a little later the next time, so that the two meet at the
/// same few nanoseconds. If the worker saw no record, the waker must have been rung.
fn collide(asymmetric: bool, count: u64) {
    let mut poller = Poller::new().unwrap();
    let wake = if asymmetric { Wake::new(poller.waker()) } else { Wake::symmetric(poller.waker()) };
    let cells: Arc<[AtomicU64; 3]> = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
    let late = Arc::new(AtomicI64::new(0));
    let theirs = (Arc::clone(&wake), Arc::clone(&cells), Arc::clone(&late));
    let publisher = std::thread::spawn(move || {
        let (wake, cells, late) = theirs;
        let [begun, published, finished] = &*cells;
        for round in 1..=count {
            if meet(begun, round) == OVER {
                return;
            }
            dawdle(late.load(Ordering::Relaxed));
            published.store(round, Ordering::Release);
            wake.notify();
            finished.store(round, Ordering::Release);
        }
    });
    let [begun, published, finished] = &*cells;
    let (mut lost, mut seen, mut shift, mut rounds) = (0_u64, 0_u64, 0_i64, 0_u64);
    let clock = Clock::system();
    let end_ns = clock.now_ns() + PATIENCE_NS;
    for round in 1..=count {
        if clock.now_ns() > end_ns {
            break;
        }
        rounds = round;
        late.store((-shift).max(0), Ordering::Relaxed);
        begun.store(round, Ordering::Release);
        dawdle(shift + i64::try_from(round % 8).unwrap());
        wake.park_begin();
        let saw = published.load(Ordering::Acquire) == round;
        meet(finished, round);
        let rung = poller.park(Duration::ZERO) == ParkedBy::Wake;
        wake.park_end();
        seen += u64::from(saw);
        lost += u64::from(!saw && !rung);
        shift = (shift + if saw { -3 } else { 3 }).clamp(-20_000, 20_000);
    }
    begun.store(OVER, Ordering::Release);
    publisher.join().unwrap();
    // On a machine too busy to run both sides at once one of them is always first: no race then.
    println!("{rounds} rounds, {seen} seen before the sleep, {lost} lost, asymmetric {asymmetric}");
    assert_eq!(lost, 0, "wake-ups lost in {rounds} rounds");
}

#[test]
fn no_wake_up_is_lost_when_both_sides_meet_with_membarrier() {
    collide(true, 200_000);
}

#[test]
fn no_wake_up_is_lost_when_both_sides_meet_with_fences() {
    collide(false, 200_000);
}

/// Many publishers, one worker: the worker must end awake and having seen the last of each.
#[test]
fn one_of_many_publishers_wakes_the_worker() {
    const PUBLISHERS: u64 = 4;
    const EACH: u64 = 2_000;
    let mut poller = Poller::new().unwrap();
    let wake = Wake::new(poller.waker());
    let total = Arc::new(AtomicU64::new(0));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let (wake, total) = (Arc::clone(&wake), Arc::clone(&total));
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    total.fetch_add(1, Ordering::Release);
                    wake.notify();
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    while total.load(Ordering::Acquire) < PUBLISHERS * EACH {
        wake.park_begin();
        if total.load(Ordering::Acquire) < PUBLISHERS * EACH {
            assert_ne!(poller.park(LOST), ParkedBy::Timeout, "a wake-up was lost");
        }
        wake.park_end();
    }
    for publisher in publishers {
        publisher.join().unwrap();
    }
}

#[test]
fn a_wake_before_the_park_ends_it_at_once_and_an_awake_worker_costs_no_call() {
    let mut poller = Poller::new().unwrap();
    let wake = Wake::new(poller.waker());
    // Awake: nothing is written, so the next park sleeps its time.
    for _ in 0..100 {
        wake.notify();
    }
    assert_eq!(poller.park(Duration::from_millis(1)), ParkedBy::Timeout);
    wake.park_begin();
    wake.notify();
    wake.notify();
    assert_eq!(poller.park(LOST), ParkedBy::Wake);
    wake.park_end();
    assert_eq!(poller.park(Duration::ZERO), ParkedBy::Timeout);
}

#[test]
fn a_dozing_worker_sleeps_through_what_may_wait_and_wakes_for_what_may_not() {
    let mut poller = Poller::new().unwrap();
    let wake = Wake::new(poller.waker());
    wake.doze_begin();
    wake.notify_soon();
    assert_eq!(poller.park(Duration::from_millis(1)), ParkedBy::Timeout);
    wake.notify();
    assert_eq!(poller.park(LOST), ParkedBy::Wake);
    wake.park_end();
    wake.park_begin();
    wake.notify_soon();
    assert_eq!(poller.park(LOST), ParkedBy::Wake, "a parked one wakes for both");
    wake.park_end();
}

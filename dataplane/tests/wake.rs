//! No wake-up is lost: publishers and a worker race through park and notify, and the worker must see
//! every round although its park would otherwise last far longer than the test.

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::poller::{ParkedBy, Poller};
use wireloom_dataplane::wake::Wake;

/// A park that lasts this long has missed its wake-up: a round takes about 100 µs.
const LOST: Duration = Duration::from_secs(5);

/// Ends the test if it takes longer; what was reached by then counts.
const PATIENCE_NS: u64 = 40_000_000_000;

/// What publisher and worker share: the number of rounds published and answered.
struct Rounds {
    published: AtomicU64,
    answered: AtomicU64,
    stop: AtomicBool,
    wake: Arc<Wake>,
}

/// The worker of the tests: looks, announces, looks again, sleeps. Returns (rounds seen, parks, lost).
fn work(rounds: &Rounds, poller: &mut Poller) -> (u64, u64, u64) {
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
        rounds.wake.park_begin();
        if !look(&mut seen) {
            parks += 1;
            if poller.park(LOST) == ParkedBy::Timeout {
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

fn race(asymmetric: bool, count: u64) {
    let mut poller = Poller::new().unwrap();
    let wake = if asymmetric { Wake::new(poller.waker()) } else { Wake::symmetric(poller.waker()) };
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
    let worker = std::thread::spawn(move || work(&theirs, &mut poller));
    let done = publish(&rounds, count);
    rounds.stop.store(true, Ordering::Release);
    rounds.wake.notify();
    let (seen, parks, lost) = worker.join().unwrap();
    println!("{done} rounds, {parks} parks, {lost} lost, asymmetric {asymmetric}");
    assert_eq!(lost, 0, "wake-ups lost in {done} rounds");
    assert_eq!(seen, done);
    assert!(done == count || done > count / 100, "only {done} rounds in 40 s");
}

#[test]
fn no_wake_up_is_lost_with_membarrier() {
    race(true, 200_000);
}

#[test]
fn no_wake_up_is_lost_with_fences() {
    race(false, 50_000);
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

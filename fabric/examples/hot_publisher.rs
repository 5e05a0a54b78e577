//! A hot loop: bursts of events encoded straight into the ring, driven on the caller's own core.
//!
//! `cargo run --release --example hot_publisher`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::{Event, Node, Refused, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "sensor-reading")]
struct SensorReading {
    number: u64,
    value: f64,
    sensor: u32,
    flags: u32,
}

const EVENTS: u64 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let sink = Node::builder("sink").start()?;
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    sink.on::<SensorReading>(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
    })?;

    // No worker thread here: this thread publishes and drives the sender.
    let (node, mut invoker) = Node::builder("source").start_invoker()?;
    let mut publisher = node.publisher::<SensorReading>(&Target::Node(sink.address()))?;
    let begun = Instant::now();
    let mut number = 0;
    while number < EVENTS {
        // A burst shares one reading of the clock and becomes visible at once.
        let mut burst = publisher.burst();
        for _ in 0..256.min(EVENTS - number) {
            let reading = SensorReading { number, value: 20.5, sensor: 7, flags: 0 };
            match burst.publish(&reading) {
                Ok(_) => number += 1,
                Err(Refused::BackPressured) => break,
                Err(other) => return Err(other.into()),
            }
        }
        drop(burst);
        invoker.do_work();
    }
    invoker.drain(10_000);
    let took = begun.elapsed();

    // UDP may lose what a full receive buffer cannot hold; the receiver knows exactly how much.
    // How long it takes is the machine's affair: flow control lets no more out than the sink takes.
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        invoker.do_work();
        let ledger = sink.ledger().received;
        if ledger.delivered + ledger.lost + ledger.before_join == EVENTS {
            println!(
                "{EVENTS} events sent in {took:.2?}: {} delivered, {} lost",
                received.load(Ordering::Relaxed),
                ledger.lost + ledger.before_join,
            );
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("events unaccounted for: {ledger:?}").into());
        }
    }
}

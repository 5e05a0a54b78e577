//! One multicast packet, three receiving nodes: the sender's cost does not grow with the receivers.
//!
//! `cargo run --example fan_out`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;

use wireloom::{Event, Interface, Node, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "price-tick")]
struct PriceTick {
    instrument: String,
    cents: u64,
}

const GROUP: &str = "224.1.1.9:19409";

fn main() -> Result<(), Box<dyn Error>> {
    // Everything stays on the loopback interface.
    let loopback = || Interface::Address([127, 0, 0, 1].into());
    let (seen, sees) = mpsc::channel();
    let mut desks = Vec::new();
    for name in ["desk-1", "desk-2", "desk-3"] {
        let desk = Node::builder(name).join_on(GROUP, loopback()).start()?;
        let seen = seen.clone();
        desk.on::<PriceTick>(move |tick, _| {
            let _ = seen.send(format!("{name}: {} at {} cents", tick.instrument, tick.cents));
        })?;
        desks.push(desk);
    }

    let feed = Node::builder("feed").multicast(1, loopback(), true).start()?;
    let mut router = feed.router();
    let tick = PriceTick { instrument: "ACME".into(), cents: 1_250 };
    router.route(&tick, Target::multicast(GROUP))?;

    for _ in &desks {
        println!("{}", sees.recv_timeout(Duration::from_secs(5))?);
    }
    let ledger = feed.close();
    assert_eq!(ledger.published.sent, 1, "one event sent, three received");
    Ok(())
}

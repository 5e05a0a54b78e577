//! A publisher faster than its sender is refused by name, never silently: it chooses what to do.
//!
//! `cargo run --example backpressure`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use wireloom::{Event, Node, Refused, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "log-line", priority = "background")]
struct LogLine {
    number: u64,
    text: [u8; 1_000],
}

fn main() -> Result<(), Box<dyn Error>> {
    // The caller drives this node's agents, so nothing leaves the ring until it says so.
    let builder = Node::builder("logger").ring_bytes(16 << 10, 16 << 10);
    let (node, mut invoker) = builder.start_invoker()?;
    let mut publisher = node.publisher::<LogLine>(&Target::node("127.0.0.1:19410"))?;

    let (mut accepted, mut refused) = (0_u64, 0_u64);
    for number in 0..100 {
        let line = LogLine { number, text: [b'.'; 1_000] };
        match publisher.publish(&line) {
            Ok(_) => accepted += 1,
            Err(Refused::BackPressured) => {
                // The ring is full. This program lets the sender run and tries once more; another
                // might shed the event, or slow down.
                refused += 1;
                invoker.do_work();
                publisher.publish(&line)?;
                accepted += 1;
            }
            Err(Refused::TooLarge { limit }) => println!("line {number}: over {limit} bytes"),
            Err(other) => return Err(other.into()),
        }
    }
    println!("{accepted} accepted, {refused} times told to wait");
    assert_eq!(accepted, 100);
    assert!(refused > 0, "a 16 KiB ring cannot hold 100 lines of 1,000 bytes");

    invoker.drain(1_000);
    let ledger = node.ledger();
    assert_eq!((ledger.published.accepted, ledger.published.sent), (100, 100));
    Ok(())
}

//! A publisher faster than its sender, or than the node it sends to, is refused by name, never
//! silently: it chooses what to do.
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
    let desk = Node::builder("desk").start()?;
    desk.on::<LogLine>(|line, _| assert_eq!(line.text.len(), 1_000))?;
    // The caller drives this node's agents, so nothing leaves the ring until it says so.
    let builder = Node::builder("logger").ring_bytes(16 << 10, 16 << 10);
    let (node, mut invoker) = builder.start_invoker()?;
    let mut publisher = node.publisher::<LogLine>(&Target::Node(desk.address()))?;

    let (mut accepted, mut refused) = (0_u64, 0_u64);
    for number in 0..100 {
        let line = LogLine { number, text: [b'.'; 1_000] };
        match publisher.publish(&line) {
            Ok(_) => accepted += 1,
            Err(Refused::BackPressured) => {
                // The ring is full. This program lets the sender run until the line fits, however
                // long the desk takes; another might shed the event, or slow down.
                refused += 1;
                while publisher.publish(&line) == Err(Refused::BackPressured) {
                    invoker.do_work();
                }
                accepted += 1;
            }
            Err(Refused::TooLarge { limit }) => println!("line {number}: over {limit} bytes"),
            Err(other) => return Err(other.into()),
        }
    }
    println!("{accepted} accepted, {refused} times told to wait");
    assert_eq!(accepted, 100);
    assert!(refused > 0, "a 16 KiB ring cannot hold 100 lines of 1,000 bytes");

    // What is left waits until the desk takes it.
    while invoker.do_work() > 0 || invoker.is_blocked() {}
    let ledger = node.ledger();
    assert_eq!((ledger.published.accepted, ledger.published.sent), (100, 100));
    Ok(())
}

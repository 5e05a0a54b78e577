//! Two nodes in one process: one publishes a typed event, the other handles it.
//!
//! `cargo run --example hello`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;

use wireloom::{Event, Node, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "greeting", priority = "high")]
struct Greeting {
    from: String,
    words: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    // A node that listens: the handler runs on its worker, with the event in place.
    let listener = Node::builder("listener").listen("127.0.0.1:0").start()?;
    let (heard, hears) = mpsc::channel();
    listener.on::<Greeting>(move |greeting, envelope| {
        let line = format!("{} says {:?}", greeting.from, greeting.words);
        let _ = heard.send((line, envelope.received_ns() - envelope.timestamp_ns()));
    })?;

    // A node that speaks, to the address the listener got.
    let speaker = Node::builder("speaker").start()?;
    let mut router = speaker.router();
    let greeting = Greeting { from: "speaker".into(), words: "hello, fabric".into() };
    router.route(&greeting, Target::Node(listener.address()))?;

    let (line, nanoseconds) = hears.recv_timeout(Duration::from_secs(5))?;
    println!("{line} ({} µs on the way)", nanoseconds / 1_000);
    assert_eq!(line, "speaker says \"hello, fabric\"");

    // Everything that was accepted has been delivered, or has a reason.
    assert!(speaker.close().balanced);
    assert!(listener.close().balanced);
    Ok(())
}

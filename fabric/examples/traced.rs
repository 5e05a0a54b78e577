//! A trace that crosses nodes: a function routes an event, its handler calls another function, and
//! a viewer of the debug group sees both, one the parent of the other.
//!
//! `cargo run --example traced`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;

use wireloom::events::Trace;
use wireloom::trace::TraceSettings;
use wireloom::{Event, Interface, Node, Refused, Router, Target, decode, traced};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "order")]
struct Order {
    items: u32,
}

const GROUP: &str = "224.1.1.2:19410";

#[traced("order.place", fields(items))]
fn place(router: &mut Router, store: &Target, items: u32) -> Result<(), Refused> {
    router.route(&Order { items }, store).map(|_| ())
}

#[traced("order.pack", fields(items))]
fn pack(items: u32) -> Result<(), String> {
    if items > 9 { Err(format!("no box holds {items} items")) } else { Ok(()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    // Everything stays on the loopback interface.
    let loopback = || Interface::Address([127, 0, 0, 1].into());
    let viewer = Node::builder("viewer").join_on(GROUP, loopback()).start()?;
    let (seen, sees) = mpsc::channel();
    viewer.on::<Trace>(move |trace, _| {
        let _ = seen.send(decode::to_owned::<Trace>(trace));
    })?;

    // Both nodes live in this process; its one tracer publishes by the shop's.
    let store = Node::builder("store").start()?;
    store.on::<Order>(|order, _| {
        let _ = pack(order.items.to_native());
    })?;
    let shop = Node::builder("shop").multicast(1, loopback(), true).start()?;
    let settings = TraceSettings { group: Target::multicast(GROUP), ..Default::default() };
    let tracer = shop.install_tracer(settings)?;

    let mut router = shop.router();
    let to_store = Target::Node(store.address());
    place(&mut router, &to_store, 3)?;
    place(&mut router, &to_store, 12)?;

    for _ in 0..4 {
        let trace = sees.recv_timeout(Duration::from_secs(5))??;
        println!(
            "{} {:16} {:12} {:?} {} {}",
            trace.trace_id,
            trace.parent_span_id,
            trace.operation,
            trace.outcome,
            trace.message,
            trace.duration_ns
        );
    }
    let counts = tracer.close();
    assert_eq!((counts.recorded, counts.published), (4, 4));
    assert_eq!(counts.uncollected.len(), 1, "nobody collects errors here: the group has it");
    Ok(())
}

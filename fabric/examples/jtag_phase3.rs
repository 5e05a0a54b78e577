//! A legacy (JTAG) program on Wireloom, phase 3: its events reach the whole mesh, and
//! what is critical reaches the nodes that must have it reliably.
//! docs/guide/migration.md shows what changes until phase 3.
//!
//! `cargo run --example jtag_phase3`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::mpsc;

use serde_json::json;
use wireloom::event::Priority;
use wireloom::events::SystemReady;
use wireloom::jtag::{LegacyEvents, MESH_GROUP, Mapping, WAIT_TIMEOUT, Ways, urgency_of_name};
use wireloom::{Interface, Node, Target};

/// Which legacy names are typed events now: the same for every process, and longer with each step.
fn mapping() -> Mapping {
    Mapping::new().map::<SystemReady>("system.ready")
}

/// The server says what it always said.
fn start_up(events: &LegacyEvents) -> Result<(), Box<dyn Error>> {
    let ready = json!({
        "version": "1.4.0",
        "context": "server",
        "timestamp": "2026-01-31T12:00:00.000Z",
        "components": ["store", "planner"],
    });
    events.emit("system.ready", &ready)?;
    events.emit("health.update", &json!({ "status": "degraded", "checks": { "store": false } }))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let (told, tells) = mpsc::channel();

    // The monitor, in a process of its own.
    let loopback = Interface::Address(Ipv4Addr::LOCALHOST);
    let monitor = Node::builder("monitor").join_on(MESH_GROUP, loopback.clone()).start()?;
    let heard = LegacyEvents::builder(&monitor).mapping(mapping()).start()?;
    let on_ready = told.clone();
    monitor.on::<SystemReady>(move |ready, _envelope| {
        let _ = on_ready.send(format!("version {:?} is ready", ready.version.as_str()));
    })?;
    let _health = heard.on("health.update", move |health| {
        let _ = told.send(format!("health is {}", health["status"]));
    })?;

    // The server, in another one.
    let server = Node::builder("server").multicast(1, loopback, true).start()?;
    let ways = Ways::mesh().and(Priority::Critical, Target::Reliable(monitor.address()))?;
    let events = LegacyEvents::builder(&server)
        .ways(ways)
        .mapping(mapping())
        .urgency(urgency_of_name)
        .start()?;
    start_up(&events)?;

    let lines = [tells.recv_timeout(WAIT_TIMEOUT)?, tells.recv_timeout(WAIT_TIMEOUT)?];
    println!("{}", lines.join("\n"));
    assert!(lines.contains(&"version \"1.4.0\" is ready".to_owned()));
    assert!(lines.contains(&"health is \"degraded\"".to_owned()));
    Ok(())
}

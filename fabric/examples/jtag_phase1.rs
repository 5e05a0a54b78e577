//! A legacy (JTAG) program on Wireloom, phase 1: its code is as it was, its events travel wrapped.
//! docs/guide/migration.md shows what changes until phase 3.
//!
//! `cargo run --example jtag_phase1`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::mpsc;

use serde_json::json;
use wireloom::jtag::{LegacyEvents, WAIT_TIMEOUT};
use wireloom::{Node, Target};

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
    let monitor = Node::builder("monitor").start()?;
    let heard = LegacyEvents::new(&monitor, &Target::Local)?;
    let on_ready = told.clone();
    let _ready = heard.on("system.ready", move |ready| {
        let _ = on_ready.send(format!("version {} is ready", ready["version"]));
    })?;
    let _health = heard.on("health.update", move |health| {
        let _ = told.send(format!("health is {}", health["status"]));
    })?;

    // The server, in another one.
    let server = Node::builder("server").start()?;
    let events = LegacyEvents::new(&server, &Target::Node(monitor.address()))?;
    start_up(&events)?;

    let lines = [tells.recv_timeout(WAIT_TIMEOUT)?, tells.recv_timeout(WAIT_TIMEOUT)?];
    println!("{}", lines.join("\n"));
    assert!(lines.contains(&"version \"1.4.0\" is ready".to_owned()));
    assert!(lines.contains(&"health is \"degraded\"".to_owned()));
    Ok(())
}

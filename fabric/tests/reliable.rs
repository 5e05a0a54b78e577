//! Reliable events over real TCP on loopback.

#[path = "reliable/support.rs"]
mod support;

#[path = "reliable/delivery.rs"]
mod delivery;

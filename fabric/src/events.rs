//! Events that Wireloom itself publishes; ordinary events, open to every subscriber.

pub mod heartbeat;

pub use heartbeat::Heartbeat;

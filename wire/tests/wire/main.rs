//! What the wire format promises, tested from outside: golden bytes, round trips, streams with
//! loss against a naive oracle, hostile bytes.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod golden;
mod hostile;
mod round_trip;
mod sample;
mod window;

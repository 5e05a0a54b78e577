//! What the wire format promises, tested from outside: golden bytes, round trips, streams with
//! loss against a naive oracle, hostile bytes.

mod golden;
mod hostile;
mod round_trip;
mod sample;
mod window;

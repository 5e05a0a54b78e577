//! What does not hold is refused by name, and [`Node::validations`] adds it up: between real nodes.

mod loopback;
#[path = "validation/reasons.rs"]
mod reasons;
mod secured;
#[path = "validation/signatures.rs"]
mod signatures;
#[path = "validation/support.rs"]
mod support;

//! What nodes say of what they refused.

use wireloom::{Node, Reason, Validation};

/// What was refused for a reason, all counters together.
pub(crate) fn refused(node: &Node, reason: Reason) -> u64 {
    let validations = node.validations();
    let of = validations.iter().filter(|of| of.result.reason == Some(reason));
    of.map(|of| of.refused).sum()
}

/// The entry of a counter.
pub(crate) fn entry(node: &Node, counter: &str) -> Option<Validation> {
    node.validations().into_iter().find(|of| of.counter == counter)
}

//! Reliable events over real TCP on loopback: what arrives, what does not and says so, and what
//! strangers can do to a node.

#[path = "reliable/support.rs"]
mod support;

#[path = "reliable/both_ways.rs"]
mod both_ways;
#[path = "reliable/compressed.rs"]
mod compressed;
#[path = "reliable/cuts.rs"]
mod cuts;
#[path = "reliable/delivery.rs"]
mod delivery;
#[path = "reliable/failure.rs"]
mod failure;
#[path = "reliable/hostile.rs"]
mod hostile;
#[path = "reliable/hostile_pieces.rs"]
mod hostile_pieces;
#[path = "reliable/large.rs"]
mod large;
#[path = "reliable/words.rs"]
mod words;

//! Who a node is: the cluster's authority, certificates of nodes, revocations, and the TLS settings
//! made of them.
//!
//! Knows files and keys, and neither sockets nor threads. Nothing here is on the way of an event.
#![forbid(unsafe_code)]

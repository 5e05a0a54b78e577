//! Sealed packets: keys from one secret, a nonce that counts, and a window against replay.
//!
//! Sans-IO: neither threads, sockets nor clocks. A sealing key has one owner, so that no two
//! packets are sealed by one nonce.
#![forbid(unsafe_code)]

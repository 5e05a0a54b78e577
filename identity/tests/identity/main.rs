//! Authorities, credentials and real handshakes between two ends in memory.

mod authority;
mod forge;
mod handshake;
mod hostile;
mod live;
mod sample;
mod signing;

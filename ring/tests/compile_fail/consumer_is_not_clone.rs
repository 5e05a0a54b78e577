//! There is one consumer.
use wireloom_ring::{RingConfig, ring};

fn main() {
    let (_producer, consumer) = ring(RingConfig { capacity_bytes: 4096, huge_pages: false }).unwrap();
    let _second = consumer.clone();
}

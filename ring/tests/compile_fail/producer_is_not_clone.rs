//! There is one producer.
use wireloom_ring::{RingConfig, ring};

fn main() {
    let (producer, _consumer) = ring(RingConfig { capacity_bytes: 4096, huge_pages: false }).unwrap();
    let _second = producer.clone();
}

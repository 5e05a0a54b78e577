//! There is one consumer.
use wireloom_ring::Consumer;

fn main() {}

pub fn second(consumer: &Consumer) -> Consumer {
    consumer.clone()
}

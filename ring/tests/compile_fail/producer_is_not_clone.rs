//! There is one producer.
use wireloom_ring::Producer;

fn main() {}

pub fn second(producer: &Producer) -> Producer {
    producer.clone()
}

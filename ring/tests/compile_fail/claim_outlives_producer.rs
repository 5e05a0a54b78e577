//! A claim cannot be finished once its producer is gone.
use wireloom_ring::Producer;

fn main() {}

pub fn outlive(mut producer: Producer) {
    let claim = producer.claim(16).unwrap();
    drop(producer);
    claim.commit(16);
}

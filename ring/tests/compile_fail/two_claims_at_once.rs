//! A claim is finished before the next one is taken.
use wireloom_ring::Producer;

fn main() {}

pub fn two_claims(producer: &mut Producer) {
    let first = producer.claim(16).unwrap();
    let second = producer.claim(16).unwrap();
    first.commit(16);
    second.commit(16);
}

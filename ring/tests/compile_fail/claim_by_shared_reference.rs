//! Two threads that share a producer cannot claim.
use wireloom_ring::Producer;

fn main() {}

pub fn claim(producer: &Producer) {
    producer.claim(16).unwrap().commit(16);
}

//! Two threads that share a consumer cannot move it.
use wireloom_ring::Consumer;

fn main() {}

pub fn read(consumer: &Consumer) {
    consumer.read();
    consumer.release(16);
}

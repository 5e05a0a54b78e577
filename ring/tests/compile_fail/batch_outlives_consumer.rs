//! A batch cannot be used once its consumer is gone.
use wireloom_ring::Consumer;

fn main() {}

pub fn outlive(mut consumer: Consumer) -> u8 {
    let batch = consumer.read();
    drop(consumer);
    batch[0]
}

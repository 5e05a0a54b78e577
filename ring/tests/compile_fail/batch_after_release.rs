//! A batch cannot be used once it has been released, whichever call gave it.
use wireloom_ring::Consumer;

fn main() {}

pub fn read_then_release(consumer: &mut Consumer) -> u8 {
    let batch = consumer.read();
    consumer.release(16);
    batch[0]
}

pub fn peek_then_release(consumer: &mut Consumer) -> u8 {
    let batch = consumer.peek();
    consumer.release(16);
    batch[0]
}

//! A record of 64 bytes through a ring, writing and reading on one thread: the instructions,
//! without the traffic between two cores (`wireloom bench ring` has that).
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wireloom_ring::{Consumer, Producer, Records, RingConfig, ring};

const RECORD_BYTES: usize = 64;
const BATCH_RECORDS: u64 = 128;

fn pair() -> (Producer, Consumer) {
    ring(RingConfig { capacity_bytes: 256 << 10, huge_pages: false }).expect("memory for a ring")
}

fn write(producer: &mut Producer, word: u64) {
    let mut claim = producer.claim(RECORD_BYTES).expect("the ring is drained each time");
    claim[4..].fill(word.to_le_bytes()[0]);
    claim.stage(RECORD_BYTES);
}

fn drain(consumer: &mut Consumer) -> u64 {
    let batch = consumer.read();
    let sum = Records::new(batch).map(|record| u64::from(record[RECORD_BYTES - 1])).sum();
    let bytes = batch.len();
    consumer.release(bytes);
    sum
}

fn ring_records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(BATCH_RECORDS));
    group.bench_function("stage 128, publish once, read", |bencher| {
        let (mut producer, mut consumer) = pair();
        bencher.iter(|| {
            (0..BATCH_RECORDS).for_each(|word| write(&mut producer, word));
            producer.publish();
            black_box(drain(&mut consumer))
        });
    });
    group.bench_function("commit and read one by one", |bencher| {
        let (mut producer, mut consumer) = pair();
        bencher.iter(|| {
            for word in 0..BATCH_RECORDS {
                write(&mut producer, word);
                producer.publish();
                black_box(drain(&mut consumer));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, ring_records);
criterion_main!(benches);

//! An event into its archive, and a frame header into a record: what a publish writes.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wireloom::encode::{Scratch, encode};
use wireloom_bench::{Aligned, Flat, Text, frame_header};
use wireloom_wire::FrameEncoder;

fn archives(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(1));
    let (mut record, mut scratch) = (Aligned::default(), Scratch::default());
    let flat = Flat::new(7);
    group.bench_function("64-byte struct of numbers", |bencher| {
        bencher.iter(|| {
            let bytes = encode(black_box(&flat), &mut record.0[32..], &mut scratch);
            black_box(&mut record);
            bytes
        });
    });
    let text = Text::sample();
    group.bench_function("five strings in a list", |bencher| {
        bencher.iter(|| {
            let bytes = encode(black_box(&text), &mut record.0[32..], &mut scratch);
            black_box(&mut record);
            bytes
        });
    });
    group.bench_function("frame header", |bencher| {
        let mut sequence = 0;
        bencher.iter(|| {
            sequence += 1;
            let encoder = FrameEncoder::new(frame_header::<Flat>(black_box(sequence)));
            let header = encoder.encode(&mut record.0);
            let length = encoder.finish(&mut record.0, 64);
            black_box(&mut record);
            (header, length)
        });
    });
    group.finish();
}

criterion_group!(benches, archives);
criterion_main!(benches);

//! A datagram of 14 events checked, followed, walked and its archives checked: what the receiver
//! does before a handler runs.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wireloom::decode::access;
use wireloom::encode::{Scratch, encode};
use wireloom_bench::{Aligned, Flat, Text, datagram};
use wireloom_wire::{Frames, PACKET_HEADER_BYTES, ReceiveWindow, decode_packet};

const EVENTS: u16 = 14;

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode packet");
    group.throughput(Throughput::Elements(u64::from(EVENTS)));
    let (datagram, length) = datagram(EVENTS, 0);
    group.bench_function("check header and checksum", |bencher| {
        bencher.iter(|| decode_packet(black_box(&datagram.0[..length]), true).is_ok());
    });
    let body = &datagram.0[PACKET_HEADER_BYTES..length];
    group.bench_function("walk the frames", |bencher| {
        bencher.iter(|| Frames::new(black_box(body)).filter(Result::is_ok).count());
    });
    group.bench_function("walk the frames and check each archive", |bencher| {
        bencher.iter(|| {
            let events = Frames::new(black_box(body)).filter_map(Result::ok);
            events.map(|frame| read(frame.payload())).fold(0, u64::wrapping_add)
        });
    });
    group.bench_function("follow the sequence", |bencher| {
        let (mut window, mut sequence) = (ReceiveWindow::new(), 0);
        bencher.iter(|| {
            sequence += 1;
            window.admit(black_box(sequence), sequence * u64::from(EVENTS), EVENTS)
        });
    });
    group.finish();
}

fn read(payload: &[u8]) -> u64 {
    access::<Flat>(payload).map_or(0, |event| event.sequence.to_native())
}

fn archives(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode archive");
    let mut record = Aligned::default();
    let flat = encode(&Flat::new(7), &mut record.0, &mut Scratch::default()).expect("it fits");
    group.bench_function("64-byte struct of numbers", |bencher| {
        bencher.iter(|| access::<Flat>(black_box(&record.0[..flat])).is_ok());
    });
    let mut record = Aligned::default();
    let text = encode(&Text::sample(), &mut record.0, &mut Scratch::default()).expect("it fits");
    group.bench_function("five strings in a list", |bencher| {
        bencher.iter(|| access::<Text>(black_box(&record.0[..text])).is_ok());
    });
    group.finish();
}

criterion_group!(benches, packets, archives);
criterion_main!(benches);

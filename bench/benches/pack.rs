//! Whole frames chosen for a packet, its checksum and its header: what the sender does for each
//! packet of 14 events.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wireloom_bench::frames;
use wireloom_wire::{
    NodeId, PACKET_HEADER_BYTES, PacketFlags, PacketHeader, SessionId, body_hash, take_frames,
};

const ROOM_BYTES: usize = 1_400 - PACKET_HEADER_BYTES;

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pack");
    let batch = frames(100);
    let (bytes, events) = take_frames(&batch, ROOM_BYTES);
    assert_eq!((bytes, events), (14 * 96, 14), "the packet the figures are about");
    group.throughput(Throughput::Elements(u64::from(events)));
    group.bench_function("take the frames of a packet", |bencher| {
        bencher.iter(|| take_frames(black_box(&batch), black_box(ROOM_BYTES)));
    });
    group.bench_function("hash the frames of a packet", |bencher| {
        bencher.iter(|| body_hash(black_box(&batch[..bytes])));
    });
    let header = PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: 2,
        frame_count: events,
        length: 1_392,
        session: SessionId(1),
        source: NodeId(2),
        sequence: 3,
        first_event: 42,
    };
    group.bench_function("encode the header of a packet", |bencher| {
        bencher.iter(|| black_box(&header).encode(black_box(Some(5))));
    });
    group.finish();
}

criterion_group!(benches, packets);
criterion_main!(benches);

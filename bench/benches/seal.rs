//! What sealing and opening a packet costs, by the forms the cipher offers: in place behind a copy,
//! or from one place to another. The product's forms are the `key` ones.

use std::hint::black_box;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use wireloom_seal::{Cipher, Direction, Mode, OpeningKey, SealingKey, Secret};
use wireloom_wire::{KeySetId, NodeId, PacketFlags, PacketHeader, SessionId, decode_sealed};

const HEAD: [u8; 48] = [1; 48];

fn raw_key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("32 bytes"))
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// The cipher alone.
fn raw(group: &mut BenchmarkGroup<'_, WallTime>, bytes: usize) {
    let (key, body) = (raw_key(), vec![5; bytes]);
    let (mut out, mut tag, mut counter) = (vec![0; bytes], [0; 16], 0);
    group.bench_function(format!("{bytes}/raw seal: copy, in place"), |bench| {
        bench.iter(|| {
            counter += 1;
            out.copy_from_slice(&body);
            let (nonce, head) = (nonce(counter), Aad::from(&HEAD));
            key.seal_in_place_scatter(nonce, head, &mut out, &[], &mut tag)
        });
    });
    group.bench_function(format!("{bytes}/raw seal: from elsewhere"), |bench| {
        bench.iter(|| {
            counter += 1;
            let (nonce, head) = (nonce(counter), Aad::from(&HEAD));
            key.seal_out_of_place_scatter(nonce, head, &body, &mut out, &[], &mut tag)
        });
    });
    let head = Aad::from(&HEAD);
    key.seal_out_of_place_scatter(nonce(1), head, &body, &mut out, &[], &mut tag).expect("room");
    let (sealed, mut plain) = (out.clone(), vec![0; bytes]);
    group.bench_function(format!("{bytes}/raw open: into elsewhere"), |bench| {
        bench.iter(|| {
            key.open_separate_gather(nonce(1), Aad::from(&HEAD), &sealed, &tag, &mut plain)
        });
    });
    // In place needs the ciphertext anew each time: the copy is a part of the figure.
    group.bench_function(format!("{bytes}/raw open: copy, in place"), |bench| {
        bench.iter(|| {
            plain.copy_from_slice(&sealed);
            key.open_in_place_separate_tag(nonce(1), Aad::from(&HEAD), &tag, &mut plain)
                .map(|plain| plain.len())
        });
    });
    group.bench_function(format!("{bytes}/raw copy"), |bench| {
        bench.iter(|| black_box(&mut plain).copy_from_slice(&sealed));
    });
}

const HEADER: PacketHeader = PacketHeader {
    flags: PacketFlags::SEQUENCED,
    lane: 1,
    frame_count: 1,
    length: 0,
    session: SessionId(3),
    source: NodeId(4),
    sequence: 5,
    first_event: 6,
};

/// The product's keys, with header, counter and window.
fn keys(group: &mut BenchmarkGroup<'_, WallTime>, cipher: Cipher, mode: Mode, bytes: usize) {
    let (body, secret) = (vec![5; bytes], Secret::new(cipher, &[9; 32]));
    let mut sealing = SealingKey::new(&secret, Direction::FromDialler, KeySetId(1), 0);
    let mut out = vec![0; bytes + 64];
    group.bench_function(format!("{bytes}/key seal {cipher:?} {mode:?}"), |bench| {
        bench.iter(|| sealing.seal((&HEADER, mode), [&body[..]], &mut out, 1));
    });
    // Packets opened by a key that has seen none of them.
    let mut sealing = SealingKey::new(&secret, Direction::FromDialler, KeySetId(1), 0);
    let packets: Vec<Vec<u8>> = (0..256)
        .map(|_| {
            sealing.seal((&HEADER, mode), [&body[..]], &mut out, 1).expect("room");
            out.clone()
        })
        .collect();
    let mut plain = vec![0; bytes];
    group.bench_function(format!("{bytes}/key open {cipher:?} {mode:?}"), |bench| {
        bench.iter_custom(|rounds| {
            let (mut elapsed, mut left) = (std::time::Duration::ZERO, rounds);
            while left > 0 {
                let mut opening = OpeningKey::new(&secret, Direction::FromDialler, 0);
                let some = usize::try_from(left).unwrap_or(usize::MAX).min(packets.len());
                let begin = std::time::Instant::now();
                for packet in packets.iter().take(some) {
                    let packet = decode_sealed(packet).expect("sealed");
                    black_box(opening.open(&packet, &mut plain, 1)).expect("it opens");
                }
                elapsed += begin.elapsed();
                left -= some as u64;
            }
            elapsed
        });
    });
    let mut opening = OpeningKey::new(&secret, Direction::FromDialler, 0);
    let mut forged = packets[0].clone();
    forged[bytes + 63] ^= 1;
    let forged = decode_sealed(&forged).expect("it looks like one");
    group.bench_function(format!("{bytes}/key refuse forged {cipher:?} {mode:?}"), |bench| {
        bench.iter(|| opening.open(&forged, &mut plain, 1).is_err());
    });
}

fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    for bytes in [64, 1_344, 65_424] {
        group.throughput(Throughput::Bytes(bytes as u64));
        raw(&mut group, bytes);
        keys(&mut group, Cipher::Aes256Gcm, Mode::Full, bytes);
        keys(&mut group, Cipher::Aes256Gcm, Mode::Integrity, bytes);
        keys(&mut group, Cipher::ChaCha20Poly1305, Mode::Full, bytes);
    }
    group.finish();
}

criterion_group!(benches, seal);
criterion_main!(benches);

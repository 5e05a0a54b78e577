//! The cases that have a name.

use std::{error::Error, panic};

use super::{CAPACITY_BYTES, RECORD_BYTES_MAX, small_ring};
use crate::{Backing, Claim, ClaimError, Consumer, Producer, RingConfig, RingError, ring};

fn commit(producer: &mut Producer, length: usize) {
    producer.claim(length).expect("room").commit(length);
}

fn take_all(consumer: &mut Consumer) -> usize {
    let bytes = consumer.read().len();
    consumer.release(bytes);
    bytes
}

#[test]
fn capacities_that_cannot_be_are_refused() {
    for capacity_bytes in [0, 1, 2048, 4095, 4097, 12_288, (1 << 33) + 1, 1 << 34, usize::MAX] {
        let error = ring(RingConfig { capacity_bytes, huge_pages: false }).expect_err("refused");
        let RingError::Capacity { asked } = error else { panic!("{error}") };
        assert_eq!(asked, capacity_bytes);
    }
}

#[test]
fn every_refusal_says_what_to_do() {
    let refusals: [&dyn Error; 5] = [
        &RingError::Capacity { asked: 3 },
        &RingError::Memory { bytes: 4096, source: std::io::ErrorKind::OutOfMemory.into() },
        &ClaimError::Full,
        &ClaimError::TooLarge { asked: 2000, limit: 1024 },
        &ClaimError::Closed,
    ];
    for refusal in refusals {
        assert!(refusal.to_string().contains(": "), "{refusal}");
    }
    assert!(refusals[0].to_string().contains("from 4096 to 8589934592"), "{}", refusals[0]);
    assert!(refusals[1].source().is_some());
    assert!(refusals[3].to_string().contains("2000"), "{}", refusals[3]);
}

#[test]
fn both_halves_may_move_to_another_thread_and_tell_the_same() {
    const fn assert_send<T: Send>() {}
    assert_send::<Producer>();
    assert_send::<Consumer>();
    let (producer, consumer) = small_ring();
    assert_eq!(producer.capacity_bytes(), CAPACITY_BYTES);
    assert_eq!(consumer.capacity_bytes(), CAPACITY_BYTES);
    assert_eq!(producer.record_bytes_max(), RECORD_BYTES_MAX);
    assert_eq!((producer.backing(), consumer.backing()), (Backing::Pages, Backing::Pages));
}

#[test]
fn the_largest_record_fits_an_empty_ring_wherever_it_stands() {
    let (mut producer, mut consumer) = small_ring();
    for _ in 0..2 * CAPACITY_BYTES / 16 {
        commit(&mut producer, RECORD_BYTES_MAX);
        assert_eq!(take_all(&mut consumer), RECORD_BYTES_MAX);
        commit(&mut producer, 16);
        assert_eq!(take_all(&mut consumer), 16);
    }
}

#[test]
fn dead_space_is_skipped_and_given_back() {
    let (mut producer, mut consumer) = small_ring();
    for _ in 0..3 {
        commit(&mut producer, 1024);
    }
    commit(&mut producer, 1008); // 16 bytes are left in this lap
    assert_eq!(consumer.read().len(), 4096 - 16);
    consumer.release(1024);
    commit(&mut producer, 512); // starts the next lap
    assert_eq!(consumer.read().len(), 2 * 1024 + 1008, "the batch ends at the watermark");
    assert_eq!(consumer.peek().len(), 2 * 1024 + 1008);
    consumer.release(2 * 1024 + 1008);
    assert_eq!(producer.position() - producer.consumed_position(), 512 + 16);
    assert!(consumer.peek().is_empty(), "the rest comes with the next read");
    assert!(!consumer.is_empty());
    assert_eq!(take_all(&mut consumer), 512);
    assert_eq!(producer.position(), producer.consumed_position());
    assert_eq!(producer.position(), 4096 + 512);
}

#[test]
fn a_lap_filled_to_its_last_byte_has_no_dead_space() {
    let (mut producer, mut consumer) = small_ring();
    // A first lap with dead space, so that an old watermark is there to be mistaken.
    for length in [1024, 1024, 1024, 512, 1024] {
        commit(&mut producer, length);
        take_all(&mut consumer);
    }
    for _ in 0..3 {
        commit(&mut producer, 1024);
    }
    assert_eq!(producer.position(), 2 * 4096, "full to the last byte");
    consumer.read();
    consumer.release(1024);
    commit(&mut producer, 1024);
    assert_eq!(take_all(&mut consumer), 2 * 1024);
    assert_eq!(take_all(&mut consumer), 1024);
    assert!(consumer.is_empty());
}

#[test]
fn an_aborted_claim_leaves_no_trace() {
    let (mut producer, mut consumer) = small_ring();
    for _ in 0..1000 {
        producer.claim(1024).expect("aborts give back").fill(7); // dropped
        let mut claim = producer.claim(1024).expect("aborts give back");
        claim.fill(7);
        claim.abort();
    }
    assert_eq!(producer.position(), 0);
    assert!(consumer.read().is_empty());
    // Not even one whose record would have gone to the next lap.
    for _ in 0..3 {
        commit(&mut producer, 1024);
        take_all(&mut consumer);
    }
    commit(&mut producer, 512);
    producer.claim(1024).expect("in the next lap").abort();
    commit(&mut producer, 512);
    assert_eq!(take_all(&mut consumer), 1024, "still in this lap, in one piece");
}

#[test]
fn staged_records_wait_for_a_publish_a_commit_a_full_ring_or_the_close() {
    let stage = |producer: &mut Producer| producer.claim(16).expect("room").stage(16);
    let (mut producer, mut consumer) = small_ring();
    stage(&mut producer);
    assert!(consumer.read().is_empty());
    producer.publish();
    assert_eq!(take_all(&mut consumer), 16);

    stage(&mut producer);
    commit(&mut producer, 16);
    assert_eq!(take_all(&mut consumer), 32);

    while let Ok(claim) = producer.claim(16) {
        claim.stage(16);
    }
    assert_eq!(take_all(&mut consumer) + take_all(&mut consumer), CAPACITY_BYTES);

    stage(&mut producer);
    drop(producer);
    assert!(consumer.is_closed());
    assert_eq!(take_all(&mut consumer), 16);
}

#[test]
fn closing_refuses_claims_and_keeps_what_is_there() {
    let (mut producer, mut consumer) = small_ring();
    commit(&mut producer, 16);
    assert!(!producer.is_closed() && !consumer.is_closed());
    producer.close();
    producer.close();
    assert_eq!(producer.claim(16).err(), Some(ClaimError::Closed));
    assert!(producer.is_closed() && consumer.is_closed());
    take_all(&mut consumer);
    assert_eq!(producer.consumed_position(), 16);
    assert_eq!(producer.claim(16).err(), Some(ClaimError::Closed), "closed with room");
    drop(producer);
    assert!(consumer.read().is_empty());
}

#[test]
fn a_producer_without_consumer_is_closed_at_once() {
    let (mut producer, mut consumer) = small_ring();
    commit(&mut producer, 32);
    take_all(&mut consumer);
    drop(consumer);
    assert!(producer.is_closed());
    assert_eq!(producer.claim(16).err(), Some(ClaimError::Closed));
    assert_eq!(producer.consumed_position(), 32);
}

#[test]
fn lengths_outside_the_claim_are_a_programming_error() {
    let finishes: [fn(Claim<'_>, usize); 2] =
        [|claim, length| claim.commit(length), |claim, length| claim.stage(length)];
    for length in [0, 15, 101, usize::MAX] {
        for finish in finishes {
            let (mut producer, mut consumer) = small_ring();
            let claim = producer.claim(100).expect("room");
            panic::catch_unwind(panic::AssertUnwindSafe(|| finish(claim, length)))
                .expect_err("a length outside the claim");
            commit(&mut producer, 16);
            assert_eq!(take_all(&mut consumer), 16, "the ring is as it was");
        }
    }
}

#[test]
fn releases_outside_the_batch_are_a_programming_error() {
    let inside_a_record: &[usize] = if cfg!(debug_assertions) { &[16, 48] } else { &[] };
    for &bytes in [1, 33, 64 + 16, usize::MAX].iter().chain(inside_a_record) {
        let (mut producer, mut consumer) = small_ring();
        commit(&mut producer, 32);
        commit(&mut producer, 32);
        consumer.read();
        commit(&mut producer, 32); // published since, but not read
        panic::catch_unwind(panic::AssertUnwindSafe(|| consumer.release(bytes)))
            .expect_err("a release outside the batch");
        assert_eq!(take_all(&mut consumer), 96, "the ring is as it was");
    }
}

#[test]
fn debug_says_where_a_half_stands_and_shows_no_bytes() {
    let (mut producer, mut consumer) = small_ring();
    commit(&mut producer, 32);
    consumer.read();
    let text = format!("{producer:?} {consumer:?}") + &format!("{:?}", producer.claim(20));
    for part in ["position: 32", "capacity_bytes: 4096", "batch_bytes: 32", "length_max: 20"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

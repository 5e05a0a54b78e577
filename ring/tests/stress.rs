//! Two threads, records of many lengths, every byte checked.
//!
//! `WIRELOOM_RING_STRESS_RECORDS` says how many records each test sends (default 200,000): fewer
//! under a sanitizer, more to look for what is rare.

use std::{
    collections::VecDeque,
    hint, thread,
    time::{Duration, Instant},
};

use wireloom_ring::{
    Claim, ClaimError, Consumer, Producer, Records, Retained, RingConfig, record_spacing, ring,
};

/// A side that has nothing to do for this long will never have: fail instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_record_arrives_as_written_through_the_smallest_ring() {
    exchange(4096, 1024, 1);
}

#[test]
fn every_record_arrives_as_written_through_a_larger_ring() {
    exchange(256 * 1024, 2000, 40);
}

#[test]
fn a_reader_that_leaves_closes_the_ring_for_its_writer() {
    let records = records_to_send();
    let (mut producer, mut consumer) = ring_of(4096);
    let writer = thread::spawn(move || {
        let mut sent = 0;
        while let Ok(()) = send(&mut producer, sent, 64, 1) {
            sent += 1;
        }
        (sent, producer)
    });
    let mut received = 0;
    while received < records / 10 {
        receive(&mut consumer, &mut received, 64, 1);
    }
    let position = consumer.position();
    drop(consumer);
    let (sent, mut producer) = writer.join().expect("the writer saw the end");
    assert!(producer.is_closed());
    assert!(sent >= received);
    assert_eq!(producer.consumed_position(), position, "the head is final");
    assert!(producer.position() - position <= 4096);
}

#[test]
fn what_is_taken_can_be_read_again_until_it_is_released() {
    let records = records_to_send();
    let (mut producer, consumer) = ring_of(64 * 1024);
    let writer = thread::spawn(move || {
        for sequence in 0..records {
            send(&mut producer, sequence, 2000, 8).expect("a reader");
        }
    });
    let mut retained = Retained::new(consumer);
    let mut taken: VecDeque<(u64, usize, usize)> = VecDeque::new();
    let (mut received, mut idle) = (0, Idle::default());
    loop {
        let closed = retained.is_closed();
        // One read: another would see what has been published since.
        let batch = retained.read();
        let bytes = batch.len();
        if bytes > 0 {
            let first = received;
            received += check(batch, first, 2000);
            taken.push_back((retained.take(bytes), bytes, first));
            idle = Idle::default();
        } else if closed && taken.is_empty() {
            break;
        } else if taken.is_empty() {
            idle.wait();
        }
        // Everything held is read again, as after a lost connection; then a part is released.
        let releases = if bytes == 0 { taken.len() } else { scramble(received) % 3 };
        for _ in 0..releases.min(taken.len()) {
            for (position, bytes, first) in taken.iter().take(4) {
                check(retained.bytes(*position, *bytes), *first, 2000);
            }
            let (position, bytes, _) = taken.pop_front().expect("counted");
            retained.release_to(position + bytes as u64);
        }
    }
    writer.join().expect("the writer has sent all");
    assert_eq!(received, records);
}

/// Checks the records of a batch, the first of which has this number; returns how many.
fn check(batch: &[u8], first: usize, length_max: usize) -> usize {
    let mut sequence = first;
    for record in Records::new(batch) {
        assert_eq!(record.len(), length_of(sequence, length_max), "length of {sequence}");
        let written = (4..record.len()).all(|place| record[place] == byte_of(sequence, place));
        assert!(written, "content of {sequence}");
        sequence += 1;
    }
    sequence - first
}

fn exchange(capacity_bytes: usize, length_max: usize, staged_max: usize) {
    let records = records_to_send();
    let (mut producer, mut consumer) = ring_of(capacity_bytes);
    let writer = thread::spawn(move || {
        for sequence in 0..records {
            send(&mut producer, sequence, length_max, staged_max).expect("a reader");
        }
        // Dropped with records staged: they are published, then the ring is closed.
    });
    let mut received = 0;
    let mut idle = Idle::default();
    loop {
        let closed = consumer.is_closed();
        if receive(&mut consumer, &mut received, length_max, staged_max) {
            idle = Idle::default();
        } else if closed {
            break;
        } else {
            idle.wait();
        }
    }
    writer.join().expect("the writer has sent all");
    assert_eq!(received, records);
    assert!(consumer.is_empty());
}

/// Sends one record, and around some of them an aborted claim full of rubbish.
fn send(
    producer: &mut Producer,
    sequence: usize,
    length_max: usize,
    staged_max: usize,
) -> Result<(), ClaimError> {
    let length = length_of(sequence, length_max);
    let choice = scramble(!sequence);
    let mut idle = Idle::default();
    loop {
        // More is claimed than is committed, as a writer does that knows its length only later.
        let claimed = (length + choice % 64).min(producer.record_bytes_max());
        match producer.claim(claimed) {
            Ok(mut claim) if choice.is_multiple_of(11) && idle.fresh() => {
                claim.fill(0xFF);
                claim.abort();
                idle.wait();
            }
            Ok(claim) => {
                write(claim, sequence, length, choice.is_multiple_of(staged_max));
                return Ok(());
            }
            Err(ClaimError::Full) => idle.wait(),
            Err(error) => return Err(error),
        }
    }
}

fn write(mut claim: Claim<'_>, sequence: usize, length: usize, commit: bool) {
    for (place, byte) in claim[..length].iter_mut().enumerate() {
        *byte = byte_of(sequence, place);
    }
    if commit { claim.commit(length) } else { claim.stage(length) }
}

/// Reads a batch, checks a part of it and releases that part. Whether there was anything.
fn receive(
    consumer: &mut Consumer,
    received: &mut usize,
    length_max: usize,
    staged_max: usize,
) -> bool {
    let records_max = 1 + scramble(*received) % (4 * staged_max);
    let batch = consumer.read();
    let mut records = Records::new(batch);
    let mut spacings = 0;
    for record in records.by_ref().take(records_max) {
        let sequence = *received;
        assert_eq!(record.len(), length_of(sequence, length_max), "length of {sequence}");
        let written = (4..record.len()).all(|place| record[place] == byte_of(sequence, place));
        assert!(written, "content of {sequence}");
        spacings += record_spacing(record.len());
        *received += 1;
    }
    assert_eq!(records.bytes_taken(), spacings);
    consumer.release(spacings);
    spacings > 0
}

fn length_of(sequence: usize, length_max: usize) -> usize {
    let choice = scramble(sequence);
    // Mostly short ones, so that there are many in a lap; now and then one of any length.
    let longest = if choice.is_multiple_of(16) { length_max } else { 100.min(length_max) };
    16 + (choice >> 8) % (longest - 15)
}

fn byte_of(sequence: usize, place: usize) -> u8 {
    sequence.wrapping_mul(31).wrapping_add(place).to_le_bytes()[0]
}

/// The finalizer of SplitMix64: far from equal for neighbours, the same on both sides.
fn scramble(number: usize) -> usize {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

fn ring_of(capacity_bytes: usize) -> (Producer, Consumer) {
    ring(RingConfig { capacity_bytes, huge_pages: false }).expect("memory for a test")
}

fn records_to_send() -> usize {
    let asked = std::env::var("WIRELOOM_RING_STRESS_RECORDS").ok();
    asked.map_or(200_000, |records| records.parse().expect("a number of records"))
}

/// Spins a little, then lets the other thread have the core.
#[derive(Default)]
struct Idle {
    waits: u32,
    since: Option<Instant>,
}

impl Idle {
    fn fresh(&self) -> bool {
        self.waits == 0
    }

    fn wait(&mut self) {
        self.waits += 1;
        if self.waits < 32 {
            return hint::spin_loop();
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        assert!(since.elapsed() < PATIENCE, "the other side has stopped");
        thread::yield_now();
    }
}

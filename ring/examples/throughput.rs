//! Records of 64 bytes from one thread to another: this ring beside two naive loops.
//!
//! `cargo run --release -p wireloom-ring --example throughput [millions of records]`
//!
//! Each record carries its sequence, and the reader checks every one. The threads are left where
//! the scheduler puts them. The naive loops move one record at a time, and a tenth as many.
#![expect(clippy::print_stdout, reason = "an example prints what it measured")]

use std::{
    collections::VecDeque,
    error::Error,
    hint,
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Instant,
};

use wireloom_ring::{ClaimError, Consumer, Producer, Records, RingConfig, ring};

const RECORD_BYTES: usize = 64;
const BATCH_RECORDS: u64 = 128;
const CAPACITY_BYTES: usize = 256 * 1024;
const CAPACITY_RECORDS: usize = CAPACITY_BYTES / RECORD_BYTES;

type Record = [u8; RECORD_BYTES];

fn main() -> Result<(), Box<dyn Error>> {
    let millions: u64 = std::env::args().nth(1).as_deref().unwrap_or("200").parse()?;
    let (many, few) = (millions * 1_000_000, millions * 100_000);
    for _ in 0..3 {
        let (producer, consumer) =
            ring(RingConfig { capacity_bytes: CAPACITY_BYTES, huge_pages: false })?;
        let batched = rate(many, |n| write_ring(producer, n), || read_ring(consumer));

        let (sender, receiver) = mpsc::sync_channel(CAPACITY_RECORDS);
        let channel = rate(
            few,
            move |n| (0..n).for_each(|sequence| sender.send(record(sequence)).expect("a reader")),
            || check(receiver.iter()),
        );

        let deque = Mutex::new(VecDeque::with_capacity(CAPACITY_RECORDS));
        let locked = rate(
            few,
            |n| (0..n).for_each(|sequence| push(&deque, record(sequence))),
            || check((0..few).map(|_| pop(&deque))),
        );
        println!(
            "million records/s: ring {batched:.1}, sync_channel {channel:.1}, mutex and deque \
             {locked:.1}"
        );
    }
    Ok(())
}

/// Millions of records a second, until the reader has seen the last.
fn rate(records: u64, write: impl FnOnce(u64) + Send, read: impl FnOnce() -> u64) -> f64 {
    let start = Instant::now();
    let seen = thread::scope(|scope| {
        scope.spawn(move || write(records));
        read()
    });
    assert_eq!(seen, records, "records were lost");
    #[expect(clippy::cast_precision_loss, reason = "a rate to print")]
    let records = records as f64;
    records / start.elapsed().as_secs_f64() / 1e6
}

fn write_ring(mut producer: Producer, records: u64) {
    for sequence in 0..records {
        write_record(&mut producer, &record(sequence));
        if sequence % BATCH_RECORDS == BATCH_RECORDS - 1 {
            producer.publish();
        }
    }
}

fn write_record(producer: &mut Producer, record: &Record) {
    loop {
        match producer.claim(RECORD_BYTES) {
            Ok(mut claim) => {
                claim.copy_from_slice(record);
                return claim.stage(RECORD_BYTES);
            }
            Err(ClaimError::Full) => hint::spin_loop(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn read_ring(mut consumer: Consumer) -> u64 {
    let mut expected = 0;
    loop {
        let closed = consumer.is_closed();
        let batch = consumer.read();
        if batch.is_empty() {
            if closed {
                return expected;
            }
            hint::spin_loop();
            continue;
        }
        for record in Records::new(batch) {
            assert_eq!(sequence_of(record), expected);
            expected += 1;
        }
        let bytes = batch.len();
        consumer.release(bytes);
    }
}

/// The first four bytes are the ring's; the sequence stands at 8, the rest is content.
fn record(sequence: u64) -> Record {
    let mut record = [0x5A; RECORD_BYTES];
    record[8..16].copy_from_slice(&sequence.to_le_bytes());
    record
}

fn sequence_of(record: &[u8]) -> u64 {
    u64::from_le_bytes(*record[8..].first_chunk().expect("64 bytes"))
}

fn check(records: impl Iterator<Item = Record>) -> u64 {
    let mut expected = 0;
    for record in records {
        assert_eq!(sequence_of(&record), expected);
        expected += 1;
    }
    expected
}

fn push(deque: &Mutex<VecDeque<Record>>, record: Record) {
    loop {
        let mut deque = lock(deque);
        if deque.len() < CAPACITY_RECORDS {
            return deque.push_back(record);
        }
        drop(deque);
        thread::yield_now();
    }
}

fn pop(deque: &Mutex<VecDeque<Record>>) -> Record {
    loop {
        if let Some(record) = lock(deque).pop_front() {
            return record;
        }
        thread::yield_now();
    }
}

fn lock(deque: &Mutex<VecDeque<Record>>) -> MutexGuard<'_, VecDeque<Record>> {
    deque.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The loops of the ring's run: a writing and a reading thread with our ring, a bounded channel or
//! a locked deque between them. All three move the same records and check all of each.
//!
//! Nothing outlives a call; each starts two threads on two cores and waits for them.

use std::collections::VecDeque;
use std::hint::spin_loop;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Result;
use wireloom::Clock;
use wireloom_ring::{ClaimError, Consumer, Producer, Records, RingConfig, ring};

use super::arrivals::{Arrivals, Counts};
use super::event::Reading;
use super::figures::per_second;
use super::flow::Flow;
use super::machine::{pin, process_cpu_ns};

pub(super) const RECORD_BYTES: usize = 64;
/// Records made visible together.
const BATCH_RECORDS: u64 = 128;
/// Capacity of the ring, and of the naive queues in records: the same memory.
const CAPACITY_BYTES: usize = 256 << 10;
const CAPACITY_RECORDS: usize = CAPACITY_BYTES / RECORD_BYTES;

/// What the content of a record is made from, beside its sequence.
const WORDS: [u64; 6] = [
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0x27d4_eb2f_1656_67c5,
];

type Record = [u8; RECORD_BYTES];

/// What one slice found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) published: u64,
    pub(super) counts: Counts,
    pub(super) elapsed_ns: u64,
    pub(super) cpu_ns: u64,
}

impl Found {
    pub(super) fn per_s(&self) -> f64 {
        per_second(self.counts.delivered, self.elapsed_ns)
    }
}

/// Runs a writing and a reading thread on their cores; the writer is told when to stop.
fn pair(
    flow: &Flow,
    for_ns: u64,
    write: impl FnOnce(&mut dyn FnMut() -> bool) -> u64 + Send,
    read: impl FnOnce(&mut Arrivals) + Send,
) -> Found {
    let (clock, cpu_ns) = (Clock::system(), process_cpu_ns());
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            pin(flow.core(1));
            let (mut arrivals, from_ns) = (Arrivals::default(), clock.now_ns());
            read(&mut arrivals);
            (arrivals.counts(), clock.now_ns() - from_ns)
        });
        let writer = scope.spawn(|| {
            pin(flow.core(0));
            let until_ns = clock.now_ns() + for_ns;
            write(&mut || clock.now_ns() < until_ns)
        });
        let published = writer.join().expect("the writer does not panic");
        let (counts, elapsed_ns) = reader.join().expect("the reader does not panic");
        Found { published, counts, elapsed_ns, cpu_ns: process_cpu_ns() - cpu_ns }
    })
}

pub(super) fn through_ring(flow: &Flow, for_ns: u64) -> Result<Found> {
    let (producer, consumer) =
        ring(RingConfig { capacity_bytes: CAPACITY_BYTES, huge_pages: false })?;
    let write = |goes_on: &mut dyn FnMut() -> bool| write_ring(producer, goes_on);
    Ok(pair(flow, for_ns, write, |arrivals| read_ring(consumer, arrivals)))
}

fn write_ring(mut producer: Producer, goes_on: &mut dyn FnMut() -> bool) -> u64 {
    let mut sequence = 0;
    while goes_on() {
        let batch_end = sequence + BATCH_RECORDS;
        while sequence < batch_end {
            match producer.claim(RECORD_BYTES) {
                Ok(mut claim) => {
                    write_record(&mut claim, sequence);
                    claim.stage(RECORD_BYTES);
                    sequence += 1;
                }
                Err(ClaimError::Full) => spin_loop(),
                Err(_) => return sequence,
            }
        }
        producer.publish();
    }
    sequence
}

fn read_ring(mut consumer: Consumer, arrivals: &mut Arrivals) {
    loop {
        let closed = consumer.is_closed();
        let batch = consumer.read();
        if batch.is_empty() {
            if closed {
                return;
            }
            spin_loop();
            continue;
        }
        for record in Records::new(batch) {
            arrivals.take(read_record(record));
        }
        let bytes = batch.len();
        consumer.release(bytes);
    }
}

pub(super) fn through_channel(flow: &Flow, for_ns: u64) -> Found {
    let (gives, takes) = sync_channel::<Record>(CAPACITY_RECORDS);
    let write = move |goes_on: &mut dyn FnMut() -> bool| {
        write_each(goes_on, |record| gives.send(record).is_ok())
    };
    pair(flow, for_ns, write, move |arrivals| {
        takes.iter().for_each(|record| arrivals.take(read_record(&record)));
    })
}

pub(super) fn through_mutex(flow: &Flow, for_ns: u64) -> Found {
    // `None` after the last record.
    let deque = Mutex::new(VecDeque::<Option<Record>>::with_capacity(CAPACITY_RECORDS));
    let push = |record| {
        loop {
            let mut deque = lock(&deque);
            if deque.len() < CAPACITY_RECORDS {
                deque.push_back(record);
                return true;
            }
            drop(deque);
            thread::yield_now();
        }
    };
    let write = |goes_on: &mut dyn FnMut() -> bool| {
        let written = write_each(goes_on, |record| push(Some(record)));
        push(None);
        written
    };
    pair(flow, for_ns, write, |arrivals| {
        loop {
            let popped = lock(&deque).pop_front();
            match popped {
                Some(Some(record)) => arrivals.take(read_record(&record)),
                Some(None) => return,
                None => thread::yield_now(),
            }
        }
    })
}

/// One record at a time; the clock is looked at as often as the ring's writer does.
fn write_each(goes_on: &mut dyn FnMut() -> bool, mut push: impl FnMut(Record) -> bool) -> u64 {
    let mut sequence = 0;
    while goes_on() {
        for _ in 0..BATCH_RECORDS {
            let mut record = [0; RECORD_BYTES];
            write_record(&mut record, sequence);
            if !push(record) {
                return sequence;
            }
            sequence += 1;
        }
    }
    sequence
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first 8 bytes are the ring's length and nothing; then the sequence and six words of content.
#[inline]
fn write_record(record: &mut [u8], sequence: u64) {
    let (words, _) = record.as_chunks_mut::<8>();
    let [first, second, content @ ..] = words else { return };
    *first = [0; 8];
    *second = sequence.to_le_bytes();
    for (place, word) in content.iter_mut().zip(WORDS) {
        *place = (sequence ^ word).to_le_bytes();
    }
}

#[inline]
fn read_record(record: &[u8]) -> Reading {
    let (words, _) = record.as_chunks::<8>();
    let [_, second, content @ ..] = words else {
        return Reading { sequence: 0, sent_ns: 0, intact: false };
    };
    let sequence = u64::from_le_bytes(*second);
    let wrong = content
        .iter()
        .zip(WORDS)
        .fold(0, |wrong, (found, word)| wrong | (u64::from_le_bytes(*found) ^ word ^ sequence));
    Reading { sequence, sent_ns: 0, intact: wrong == 0 && content.len() == WORDS.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_written_and_a_changed_bit_is_seen() {
        let mut record = [0; RECORD_BYTES];
        write_record(&mut record, 77);
        let whole = Reading { sequence: 77, sent_ns: 0, intact: true };
        assert_eq!(read_record(&record), whole);
        for bit in 64..RECORD_BYTES * 8 {
            record[bit / 8] ^= 1 << (bit % 8);
            assert!(!read_record(&record).intact, "bit {bit}");
            record[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(!read_record(&record[..56]).intact && !read_record(&[]).intact);
    }

    #[test]
    fn the_three_loops_deliver_everything_in_order() {
        let flow = Flow::for_tests();
        let for_ns = 20_000_000;
        let ring = through_ring(&flow, for_ns).unwrap();
        for found in [ring, through_channel(&flow, for_ns), through_mutex(&flow, for_ns)] {
            assert!(found.published > 0);
            let delivered = Counts { delivered: found.published, ..Counts::default() };
            assert_eq!(found.counts, delivered);
        }
    }
}

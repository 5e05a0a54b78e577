//! Every interleaving of short programs over a ring of eight 16-byte blocks, under loom.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p wireloom-ring --test loom`
//!
//! Each test takes every program of two or three steps out of its alphabet, runs it in one thread
//! against a reader in another, from several places in the lap, and lets loom try every order in
//! which the two can meet, stale loads included. Two accesses to a block that nothing orders fail
//! the model (`src/shadow.rs`); so do a record lost, made up, repeated, reordered, torn, or seen
//! before its publish.
#![cfg(loom)]

use loom::{model::Builder, thread};
use wireloom_ring::{
    Claim, ClaimError, Consumer, Producer, Records, Retained, RingConfig, record_spacing, ring,
};

const CAPACITY_BYTES: usize = 128;
const BLOCK_BYTES: usize = 16;
/// What the records are filled with that are there before the program starts.
const PRESENT_FILL: u8 = 0xEE;

/// One call of the producer, or a claim with what becomes of it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Commit(usize),
    Stage(usize),
    Abort(usize),
    Publish,
    Close,
}

/// How the ring stands when the second thread starts.
#[derive(Clone, Copy, Debug)]
struct Start {
    /// Blocks written and released: where in the lap the program begins.
    past: usize,
    /// Blocks written after those and not released: what the reader finds.
    present: usize,
}

/// A record as the test knows it: its length, and the byte that fills it.
type Mark = (usize, u8);

/// An empty ring near the end of a lap: records of two blocks fit, fill the lap exactly, or leave
/// dead space and start the next one.
const EMPTY: [Start; 4] = [
    Start { past: 4, present: 0 },
    Start { past: 5, present: 0 },
    Start { past: 6, present: 0 },
    Start { past: 7, present: 0 },
];

/// A ring so full, across the end of a lap, that a claim or two is all it takes until a release.
const CROWDED: [Start; 3] =
    [Start { past: 5, present: 6 }, Start { past: 6, present: 7 }, Start { past: 7, present: 8 }];

#[test]
fn committed_records_arrive_whole_and_in_order() {
    use Step::{Abort, Commit};
    check_programs(&[Commit(16), Commit(32), Abort(32)], 3, &EMPTY);
    check_programs(&[Commit(16), Commit(32), Abort(32)], 2, &CROWDED);
}

#[test]
fn staged_records_appear_at_their_publish_and_not_before() {
    use Step::{Commit, Publish, Stage};
    check_programs(&[Stage(16), Stage(32), Publish, Commit(32)], 3, &EMPTY);
    check_programs(&[Stage(16), Stage(32), Publish, Commit(32)], 2, &CROWDED);
}

#[test]
fn a_closed_ring_is_drained_when_closed_was_seen_before_an_empty_read() {
    use Step::{Close, Commit, Stage};
    for program in programs(&[Commit(20), Stage(32), Close], 2) {
        for start in EMPTY {
            check_close(&program, start);
        }
    }
}

#[test]
fn a_producer_learns_that_its_consumer_is_gone() {
    for start in EMPTY.into_iter().chain(CROWDED) {
        model(move || {
            let (mut producer, mut consumer) = started(start);
            let reader = thread::spawn(move || {
                let batch_bytes = consumer.read().len();
                consumer.release(batch_bytes);
                consumer.position()
            });
            let first = producer.claim(32).map(drop);
            let second = producer.claim(32).map(|claim| claim.commit(32));
            if first == Err(ClaimError::Closed) {
                assert_eq!(second, Err(ClaimError::Closed), "a closed ring opened again");
            }
            if producer.is_closed() {
                let consumed = producer.consumed_position();
                assert_eq!(
                    consumed,
                    reader.join().expect("no panic"),
                    "the head moved after the drop"
                );
            } else {
                reader.join().expect("no panic");
            }
            assert!(producer.is_closed());
            assert_eq!(producer.claim(16).map(drop), Err(ClaimError::Closed));
        });
    }
}

#[test]
fn what_is_taken_is_whole_until_it_is_released() {
    use Step::{Commit, Publish, Stage};
    for program in programs(&[Commit(16), Stage(32), Publish], 2) {
        for start in EMPTY.into_iter().chain(CROWDED) {
            check_retained(&program, start);
        }
    }
}

/// Every program of `steps` steps out of `alphabet`.
fn programs(alphabet: &[Step], steps: u32) -> Vec<Vec<Step>> {
    let count = alphabet.len();
    let step = |number: usize, place: u32| alphabet[number / count.pow(place) % count];
    (0..count.pow(steps))
        .map(|number| (0..steps).map(|place| step(number, place)).collect())
        .collect()
}

fn check_programs(alphabet: &[Step], steps: u32, starts: &[Start]) {
    for program in programs(alphabet, steps) {
        for start in starts {
            check_program(&program, *start);
        }
    }
}

/// The program against a read of which one record is released, and one that is released whole;
/// then the rest must be there.
fn check_program(program: &[Step], start: Start) {
    let program = program.to_vec();
    model(move || {
        let (mut producer, mut consumer) = started(start);
        let steps = program.clone();
        let writer = thread::spawn(move || (write(&mut producer, &steps), producer));
        let mut reader = Reader::default();
        reader.read_and_release(&mut consumer, 1);
        reader.read_and_release(&mut consumer, usize::MAX);
        let (written, mut producer) = writer.join().expect("no panic");
        producer.close();
        reader.drain(&mut consumer);
        reader.check(start, &written, &program);
    });
}

/// The program, ended by the producer's drop, against reads that each ask first whether it closed.
fn check_close(program: &[Step], start: Start) {
    let program = program.to_vec();
    model(move || {
        let (mut producer, mut consumer) = started(start);
        let steps = program.clone();
        let writer = thread::spawn(move || write(&mut producer, &steps));
        let mut reader = Reader::default();
        let mut drained = None;
        for _ in 0..2 {
            let closed = consumer.is_closed();
            if !reader.read_and_release(&mut consumer, usize::MAX) && closed {
                drained = Some(reader.seen.len());
            }
        }
        let mut written = writer.join().expect("no panic");
        written.published.push(written.taken.len()); // by the drop
        assert!(consumer.is_closed());
        reader.drain(&mut consumer);
        reader.check(start, &written, &program);
        let count = reader.seen.len();
        assert!(drained.is_none_or(|drained| drained == count), "{program:?} from {start:?}");
    });
}

/// The program against two takes, of which the first is released when both have been looked at.
fn check_retained(program: &[Step], start: Start) {
    let program = program.to_vec();
    model(move || {
        let (mut producer, consumer) = started(start);
        let mut retained = Retained::new(consumer);
        let steps = program.clone();
        let writer = thread::spawn(move || (write(&mut producer, &steps), producer));
        let (mut seen, mut runs) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            runs.extend(take(&mut retained, &mut seen));
        }
        for (position, bytes) in &runs {
            assert_eq!(retained.bytes(*position, bytes.len()), bytes);
        }
        if let Some((position, bytes)) = runs.first() {
            retained.release_to(position + bytes.len() as u64);
        }
        let (written, mut producer) = writer.join().expect("no panic");
        producer.close();
        for (position, bytes) in runs.iter().skip(1) {
            assert_eq!(retained.bytes(*position, bytes.len()), bytes, "taken, not released");
        }
        while let Some((position, bytes)) = take(&mut retained, &mut seen) {
            retained.release_to(position + bytes.len() as u64);
        }
        let present = (0..start.present).map(|_| (BLOCK_BYTES, PRESENT_FILL));
        let expected: Vec<Mark> = present.chain(written.taken).collect();
        assert_eq!(seen, expected, "{program:?} from {start:?}");
    });
}

/// Takes what there is in one piece: where, and a copy of it.
fn take(retained: &mut Retained, seen: &mut Vec<Mark>) -> Option<(u64, Vec<u8>)> {
    let bytes = retained.read().to_vec();
    if bytes.is_empty() {
        return None;
    }
    seen.extend(Records::new(&bytes).map(mark));
    Some((retained.take(bytes.len()), bytes))
}

/// What a program wrote.
#[derive(Default)]
struct Written {
    /// The records that the ring took.
    taken: Vec<Mark>,
    /// How many of them there were at each publish.
    published: Vec<usize>,
}

fn write(producer: &mut Producer, program: &[Step]) -> Written {
    let mut written = Written::default();
    for (step, fill) in program.iter().zip(1..) {
        let publishes = match *step {
            Step::Commit(length) | Step::Stage(length) | Step::Abort(length) => {
                match claim(producer, fill) {
                    Some(claim) => {
                        finish(claim, *step);
                        if !matches!(step, Step::Abort(_)) {
                            written.taken.push((length, fill));
                        }
                        matches!(step, Step::Commit(_))
                    }
                    None => true,
                }
            }
            Step::Publish => {
                producer.publish();
                true
            }
            Step::Close => {
                producer.close();
                true
            }
        };
        if publishes {
            written.published.push(written.taken.len());
        }
    }
    written
}

/// Always claims the most: the commit gives the rest back.
fn claim(producer: &mut Producer, fill: u8) -> Option<Claim<'_>> {
    let refusal = if producer.is_closed() { ClaimError::Closed } else { ClaimError::Full };
    match producer.claim(32) {
        Ok(mut claim) => {
            assert_eq!(refusal, ClaimError::Full, "a claim after the close");
            claim.fill(fill);
            Some(claim)
        }
        Err(error) => {
            assert_eq!(error, refusal);
            None
        }
    }
}

fn finish(claim: Claim<'_>, step: Step) {
    match step {
        Step::Commit(length) => claim.commit(length),
        Step::Stage(length) => claim.stage(length),
        _ => claim.abort(),
    }
}

/// What the reader saw.
#[derive(Default)]
struct Reader {
    seen: Vec<Mark>,
    /// How many records were there to see at each read that no end of a lap cut short.
    visible: Vec<usize>,
}

impl Reader {
    /// Reads what there is, and releases at most so many records of it. Whether there was any.
    fn read_and_release(&mut self, consumer: &mut Consumer, records_max: usize) -> bool {
        let batch_bytes = consumer.read().len();
        let batch_end = (consumer.position() + batch_bytes as u64) % CAPACITY_BYTES as u64;
        let mut records = Records::new(consumer.peek());
        let mut marks: Vec<Mark> = records.by_ref().map(mark).collect();
        assert_eq!(records.bytes_taken(), batch_bytes, "not all of the batch are records");
        // Within two blocks of the end the batch may go on at the front.
        if (1..=CAPACITY_BYTES as u64 - 32).contains(&batch_end) {
            self.visible.push(self.seen.len() + marks.len());
        }
        marks.truncate(records_max);
        let bytes = marks.iter().map(|(length, _)| record_spacing(*length)).sum();
        self.seen.append(&mut marks);
        if bytes > 0 {
            consumer.release(bytes);
        }
        bytes > 0
    }

    /// Reads the rest, once nobody writes any more.
    fn drain(&mut self, consumer: &mut Consumer) {
        let reads_before = self.visible.len();
        while self.read_and_release(consumer, usize::MAX) {}
        self.visible.truncate(reads_before);
        assert!(consumer.is_empty());
    }

    /// All that was written was seen, in order, and nothing staged before its publish.
    fn check(&self, start: Start, written: &Written, program: &[Step]) {
        let present = (0..start.present).map(|_| (BLOCK_BYTES, PRESENT_FILL));
        let expected: Vec<Mark> = present.chain(written.taken.iter().copied()).collect();
        assert_eq!(self.seen, expected, "{program:?} from {start:?}");
        for count in &self.visible {
            let whole =
                *count <= start.present || written.published.contains(&(count - start.present));
            assert!(whole, "{count} records of {program:?} from {start:?}, staged ones among them");
        }
    }
}

fn mark(record: &[u8]) -> Mark {
    let fill = record[4];
    assert!(record[4..].iter().all(|&byte| byte == fill), "torn record {record:?}");
    (record.len(), fill)
}

fn started(start: Start) -> (Producer, Consumer) {
    let (mut producer, mut consumer) =
        ring(RingConfig { capacity_bytes: CAPACITY_BYTES, huge_pages: false }).expect("a ring");
    let mut fill = |blocks: usize, consumer: Option<&mut Consumer>| {
        for _ in 0..blocks {
            let mut claim = producer.claim(BLOCK_BYTES).expect("room");
            claim.fill(PRESENT_FILL);
            claim.stage(BLOCK_BYTES);
        }
        producer.publish();
        if let Some(consumer) = consumer
            && blocks > 0
        {
            assert_eq!(consumer.read().len(), blocks * BLOCK_BYTES);
            consumer.release(blocks * BLOCK_BYTES);
        }
    };
    fill(start.past, Some(&mut consumer));
    fill(start.present, None);
    (producer, consumer)
}

fn model(program: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.max_branches = 10_000;
    builder.check(program);
}

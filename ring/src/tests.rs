//! The ring against a model: any sequence of calls, beside two `VecDeque`s of records.
//!
//! One thread plays both halves. `behaviour` holds the cases that have a name.

mod behaviour;
mod retained;

use std::collections::VecDeque;

use proptest::prelude::*;

use crate::{
    ClaimError, Consumer, Producer, RECORD_ALIGNMENT, Records, RingConfig, record_spacing, ring,
};

const CAPACITY_BYTES: usize = 4096;
const RECORD_BYTES_MAX: usize = CAPACITY_BYTES / 4;

fn small_ring() -> (Producer, Consumer) {
    let config = RingConfig { capacity_bytes: CAPACITY_BYTES, huge_pages: false };
    ring(config).expect("4 KiB for a test")
}

#[derive(Clone, Copy, Debug)]
enum Finish {
    Commit,
    Stage,
    Abort,
}

#[derive(Clone, Debug)]
enum Operation {
    /// Claims `length_max` and finishes with 16 bytes and this many 255ths of the rest.
    Claim {
        length_max: usize,
        part: u8,
        finish: Finish,
    },
    Publish,
    Read,
    /// Releases at most so many records of the last batch.
    Release {
        records_max: usize,
    },
    Close,
    DropConsumer,
}

fn operation() -> impl Strategy<Value = Operation> {
    let length_max = prop_oneof![
        6 => 0..200_usize,
        3 => 200..=RECORD_BYTES_MAX,
        1 => RECORD_BYTES_MAX - 20..=RECORD_BYTES_MAX + 20,
        1 => Just(usize::MAX),
    ];
    let finish = prop_oneof![
        3 => Just(Finish::Commit),
        4 => Just(Finish::Stage),
        2 => Just(Finish::Abort),
    ];
    let claim = (length_max, prop_oneof![Just(255), any::<u8>()], finish)
        .prop_map(|(length_max, part, finish)| Operation::Claim { length_max, part, finish });
    prop_oneof![
        120 => claim,
        20 => Just(Operation::Publish),
        50 => Just(Operation::Read),
        50 => prop_oneof![0..4_usize, Just(usize::MAX)]
            .prop_map(|records_max| Operation::Release { records_max }),
        1 => Just(Operation::Close),
        1 => Just(Operation::DropConsumer),
    ]
}

/// A record as it was written, and where.
#[derive(Debug)]
struct Written {
    bytes: Vec<u8>,
    address: usize,
}

impl Written {
    fn end(&self) -> usize {
        self.address + record_spacing(self.bytes.len())
    }
}

struct Model {
    producer: Producer,
    consumer: Option<Consumer>,
    published: VecDeque<Written>,
    staged: VecDeque<Written>,
    /// Records of the last batch that are not released.
    in_hand: usize,
    closed: bool,
    fill: u8,
}

impl Model {
    fn new() -> Self {
        let (producer, consumer) = small_ring();
        Self {
            producer,
            consumer: Some(consumer),
            published: VecDeque::new(),
            staged: VecDeque::new(),
            in_hand: 0,
            closed: false,
            fill: 0,
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Claim { length_max, part, finish } => self.claim(length_max, part, finish),
            Operation::Publish => {
                self.producer.publish();
                self.published.append(&mut self.staged);
            }
            Operation::Read => self.read(),
            Operation::Release { records_max } => self.release(records_max),
            Operation::Close => {
                self.producer.close();
                self.published.append(&mut self.staged);
                self.closed = true;
            }
            Operation::DropConsumer => {
                self.consumer = None;
                self.in_hand = 0;
            }
        }
        assert_eq!(self.producer.is_closed(), self.closed || self.consumer.is_none());
        if let Some(consumer) = &self.consumer {
            assert_eq!(consumer.is_closed(), self.closed);
            assert_eq!(consumer.is_empty(), self.published.is_empty());
        }
    }

    fn claim(&mut self, length_max: usize, part: u8, finish: Finish) {
        let expected = self.expected_refusal(length_max);
        let mut claim = match self.producer.claim(length_max) {
            Ok(claim) => claim,
            Err(error) => {
                assert_eq!(Some(error), expected, "for {length_max}");
                if error == ClaimError::Full {
                    self.published.append(&mut self.staged);
                }
                return;
            }
        };
        assert_eq!(expected, None, "for {length_max}");
        assert_eq!(claim.len(), length_max.max(16));

        let address = claim.as_ptr().addr();
        let end = address + record_spacing(claim.len());
        assert_eq!(address % RECORD_ALIGNMENT, 0);
        for live in self.published.iter().chain(&self.staged) {
            assert!(end <= live.address || live.end() <= address, "claimed over {live:?}");
        }

        self.fill = self.fill.wrapping_add(1);
        claim.fill(self.fill);
        let length = 16 + (claim.len() - 16) * usize::from(part) / 255;
        let mut bytes = vec![self.fill; length];
        bytes[..4].copy_from_slice(&u32::try_from(length).expect("short").to_le_bytes());
        let written = Written { bytes, address };
        match finish {
            Finish::Abort => return claim.abort(),
            Finish::Stage => claim.stage(length),
            Finish::Commit => claim.commit(length),
        }
        self.staged.push_back(written);
        if matches!(finish, Finish::Commit) {
            self.published.append(&mut self.staged);
        }
    }

    /// The rule of the placement, in plain arithmetic of positions.
    fn expected_refusal(&mut self, length_max: usize) -> Option<ClaimError> {
        if length_max > RECORD_BYTES_MAX {
            return Some(ClaimError::TooLarge { asked: length_max, limit: RECORD_BYTES_MAX });
        }
        if self.closed || self.consumer.is_none() {
            return Some(ClaimError::Closed);
        }
        let capacity = CAPACITY_BYTES as u64;
        let spacing = record_spacing(length_max.max(16)) as u64;
        let position = self.producer.position();
        let rest_of_lap = capacity - position % capacity;
        let dead = if spacing > rest_of_lap { rest_of_lap } else { 0 };
        let taken = position - self.producer.consumed_position();
        (taken + dead + spacing > capacity).then_some(ClaimError::Full)
    }

    fn read(&mut self) {
        let Some(consumer) = &mut self.consumer else { return };
        let batch = consumer.read();
        let mut records = Records::new(batch);
        self.in_hand = 0;
        for (record, written) in records.by_ref().zip(&self.published) {
            assert_eq!(record, written.bytes);
            assert_eq!(record.as_ptr().addr(), written.address, "not read in place");
            self.in_hand += 1;
        }
        assert_eq!(records.bytes_taken(), batch.len(), "more than was published");
        let mut rest = batch;
        for written in self.published.iter().take(self.in_hand) {
            let (record, after) = rest.split_at(record_spacing(written.bytes.len()));
            let padding = &record[written.bytes.len()..];
            assert!(padding.iter().all(|&byte| byte == 0), "padding is not zeroed");
            rest = after;
        }
        match (self.published.get(self.in_hand), batch.is_empty()) {
            (None, _) => {}
            (Some(left), true) => panic!("read nothing although there was {left:?}"),
            (Some(left), false) => {
                let address = batch.as_ptr().addr();
                assert!(left.address < address, "the batch ends early, before {left:?}");
            }
        }
        let batch = batch.to_vec();
        assert_eq!(consumer.peek(), batch);
    }

    fn release(&mut self, records_max: usize) {
        let Some(consumer) = &mut self.consumer else { return };
        let records = records_max.min(self.in_hand);
        let released = self.published.drain(..records);
        consumer.release(released.map(|written| record_spacing(written.bytes.len())).sum());
        self.in_hand -= records;
    }

    fn finish(mut self) {
        self.producer.close();
        self.published.append(&mut self.staged);
        while self.consumer.is_some() && !self.published.is_empty() {
            self.read();
            assert!(self.in_hand > 0);
            self.release(usize::MAX);
        }
        if let Some(consumer) = &mut self.consumer {
            assert!(consumer.read().is_empty());
            assert_eq!(consumer.position(), self.producer.position());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sequence_of_calls_agrees_with_the_model(
        operations in prop::collection::vec(operation(), 1..400),
    ) {
        let mut model = Model::new();
        for operation in &operations {
            model.apply(operation);
        }
        model.finish();
    }
}

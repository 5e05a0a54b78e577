//! The retained consumer against a model, and the refusals that have a name.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{CAPACITY_BYTES, RECORD_BYTES_MAX};
use crate::{Producer, Records, Retained, RingConfig, record_spacing, ring};

fn retained_ring() -> (Producer, Retained) {
    let config = RingConfig { capacity_bytes: CAPACITY_BYTES, huge_pages: false };
    let (producer, consumer) = ring(config).expect("4 KiB for a test");
    (producer, Retained::new(consumer))
}

fn write(producer: &mut Producer, length: usize, fill: u8) -> bool {
    let Ok(mut claim) = producer.claim(length) else { return false };
    claim.fill(fill);
    claim.commit(length);
    true
}

/// A run of records that was taken together.
#[derive(Debug)]
struct Taken {
    position: u64,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Operation {
    Write { length: usize },
    Take { records_max: usize },
    LookAtAll,
    Release { runs: usize },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (16..=RECORD_BYTES_MAX).prop_map(|length| Operation::Write { length }),
        6 => (16..200_usize).prop_map(|length| Operation::Write { length }),
        6 => (1..6_usize).prop_map(|records_max| Operation::Take { records_max }),
        2 => Just(Operation::LookAtAll),
        3 => (0..4_usize).prop_map(|runs| Operation::Release { runs }),
    ]
}

#[derive(Default)]
struct Model {
    written: VecDeque<(usize, u8)>,
    taken: VecDeque<Taken>,
    fill: u8,
}

impl Model {
    fn apply(&mut self, operation: &Operation, ring: &mut (Producer, Retained)) {
        let (producer, retained) = ring;
        match *operation {
            Operation::Write { length } => {
                self.fill = self.fill.wrapping_add(1);
                if write(producer, length, self.fill) {
                    self.written.push_back((length, self.fill));
                }
            }
            Operation::Take { records_max } => self.take(retained, records_max),
            Operation::LookAtAll => {
                for run in &self.taken {
                    assert_eq!(retained.bytes(run.position, run.bytes.len()), run.bytes);
                }
            }
            Operation::Release { runs } => {
                for _ in 0..runs.min(self.taken.len()) {
                    let run = self.taken.pop_front().expect("counted");
                    retained.release_to(run.position + run.bytes.len() as u64);
                }
            }
        }
        assert_eq!(retained.has_more(), !self.written.is_empty());
    }

    fn take(&mut self, retained: &mut Retained, records_max: usize) {
        let batch = retained.read();
        assert_eq!(batch.is_empty(), self.written.is_empty(), "all that is there is found");
        let mut records = Records::new(batch);
        let mut spacings = 0;
        for record in records.by_ref().take(records_max) {
            let (length, fill) = self.written.pop_front().expect("nothing is made up");
            assert_eq!((record.len(), record[4], record[length - 1]), (length, fill, fill));
            spacings += record_spacing(length);
        }
        let bytes = batch[..spacings].to_vec();
        let position = retained.take(spacings);
        if spacings > 0 {
            self.taken.push_back(Taken { position, bytes });
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
    fn what_is_taken_stays_as_it_was_until_released(
        operations in prop::collection::vec(operation(), 1..400),
    ) {
        let mut ring = retained_ring();
        let mut model = Model::default();
        for operation in &operations {
            model.apply(operation, &mut ring);
        }
        model.apply(&Operation::LookAtAll, &mut ring);
    }
}

#[test]
fn the_producer_is_refused_until_what_was_taken_is_released() {
    let (mut producer, mut retained) = retained_ring();
    while write(&mut producer, 1024, 7) {}
    let bytes = retained.read().len();
    let position = retained.take(bytes);
    assert!(retained.read().is_empty());
    assert!(!write(&mut producer, 16, 8), "taken is not released");
    retained.release_to(position + 1024);
    assert!(write(&mut producer, 1024, 8), "across the end of the lap");
    assert_eq!(retained.read().len(), 1024);
    assert_eq!(retained.bytes(position + 1024, 1024)[4], 7, "still there, a lap behind");
}

#[test]
#[should_panic(expected = "not held")]
fn released_bytes_are_gone() {
    let (mut producer, mut retained) = retained_ring();
    assert!(write(&mut producer, 64, 1) && write(&mut producer, 64, 2));
    let bytes = retained.read().len();
    retained.take(bytes);
    retained.release_to(64);
    let _ = retained.bytes(0, 64);
}

#[test]
#[should_panic(expected = "were not taken")]
fn bytes_that_were_only_read_are_not_given_by_position() {
    let (mut producer, mut retained) = retained_ring();
    assert!(write(&mut producer, 64, 1) && write(&mut producer, 64, 2));
    let _ = retained.read();
    retained.take(64);
    let _ = retained.bytes(64, 64);
}

#[test]
#[should_panic(expected = "not between what is released")]
fn nothing_is_released_that_was_not_taken() {
    let (mut producer, mut retained) = retained_ring();
    assert!(write(&mut producer, 64, 1));
    let _ = retained.read();
    retained.release_to(64);
}

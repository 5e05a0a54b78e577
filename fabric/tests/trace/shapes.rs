//! Every shape of function that there is to trace.

use super::*;
use std::fmt::Debug;

type Outcome = Result<u8, std::num::ParseIntError>;

pub(super) struct Counter {
    pub(super) count: u64,
}

pub(super) trait Doubles {
    fn number(&self) -> u64;

    #[traced]
    fn doubled(&self) -> u64 {
        self.number() * 2
    }
}

impl Doubles for Counter {
    fn number(&self) -> u64 {
        self.count
    }
}

impl Counter {
    #[traced("shape.method", skip())]
    pub(super) fn add(&mut self, (one, other): (u64, u64), label: &str) -> &mut u64 {
        self.count += one + other + label.len() as u64;
        &mut self.count
    }

    #[traced("shape.owned", fields(count = self.count))]
    pub(super) fn into_count(self) -> u64 {
        if self.count > 3 {
            return self.count;
        }
        0
    }

    #[traced("shape.async", skip(label))]
    pub(super) async fn later(&mut self, label: &str, more: u64) -> usize {
        Later::default().await;
        self.count += more;
        label.len()
    }
}

#[traced("shape.generic", skip(_unused))]
pub(super) fn generic<'a, T, const N: usize>(values: &'a [T; N], _unused: ()) -> &'a T
where
    T: Debug + Ord,
{
    values.iter().max().expect("not empty")
}

#[traced("shape.iterator")]
pub(super) fn iterator(end: u8) -> impl Iterator<Item = u8> {
    0..end
}

#[traced("shape.alias")]
pub(super) fn alias(text: &str) -> Outcome {
    Ok(text.parse::<u8>()? / 2)
}

#[traced]
pub(super) fn recursive(depth: u8) -> u8 {
    if depth == 0 { 0 } else { recursive(depth - 1) + 1 }
}

//! What encoding and checked access cost. A measurement, not a check; run it on a quiet machine:
//!
//! `cargo test --release -p wireloom --test derive_cost -- --ignored --nocapture`
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

mod derive_sample;

use std::hint::black_box;
use std::time::Instant;

use derive_sample::{FLAT, aligned, rich};
use wireloom::Event;
use wireloom::decode::{access, to_owned};
use wireloom::encode::{Scratch, encode};

const ROUNDS: u32 = 25;

/// The fastest and the middle round, in nanoseconds a call.
fn cost(calls: u32, mut call: impl FnMut()) -> (f64, f64) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| call());
            start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[0], rounds[rounds.len() / 2])
}

fn print(what: &str, bytes: usize, (fastest, middle): (f64, f64)) {
    println!("{what:<8} {bytes:>5} B  fastest {fastest:>7.2} ns  median {middle:>7.2} ns");
}

fn measure<E: Event>(event: &E, calls: u32) {
    let mut into = aligned(&[0; 4_096]);
    let mut scratch = Scratch::default();
    let length = encode(event, &mut into, &mut scratch).expect("fits");
    println!("{}", E::TYPE);
    print(
        "encode",
        length,
        cost(calls, || {
            black_box(encode(black_box(event), black_box(&mut into), &mut scratch)).expect("fits");
        }),
    );
    print(
        "access",
        length,
        cost(calls, || {
            black_box(access::<E>(black_box(&into[..length]))).expect("sound");
        }),
    );
    let archived = access::<E>(&into[..length]).expect("sound");
    print(
        "to_owned",
        length,
        cost(calls, || {
            black_box(to_owned::<E>(black_box(archived))).expect("owned");
        }),
    );
}

#[test]
#[ignore = "a measurement"]
fn cost_of_a_call() {
    measure(&FLAT, 1_000_000);
    measure(&rich(), 20_000);
}

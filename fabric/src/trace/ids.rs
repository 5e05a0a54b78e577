//! Ids of traces and spans, and whether a trace is sampled, which follows from its id.
//!
//! Random and not secret: a thread's ids come from a generator seeded by the system once.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
}

/// SplitMix64 (Steele, Lea and Flood 2014) once for each half.
#[inline]
fn next() -> [u64; 2] {
    let mut state = STATE.get();
    if state == [0; 2] {
        state = seed();
    }
    state = state.map(|half| half.wrapping_add(0x9E37_79B9_7F4A_7C15));
    STATE.set(state);
    state.map(|half| {
        let half = (half ^ (half >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let half = (half ^ (half >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        half ^ (half >> 31)
    })
}

#[cold]
fn seed() -> [u64; 2] {
    let random = RandomState::new();
    [random.hash_one(0_u8), random.hash_one(1_u8)]
}

/// A new trace's id; never zero.
#[inline]
pub(crate) fn trace_id() -> [u8; 16] {
    let [high, low] = next();
    (u128::from(high) << 64 | u128::from(low)).max(1).to_be_bytes()
}

/// A new span's id; never zero.
#[inline]
pub(crate) fn span_id() -> [u8; 8] {
    next()[0].max(1).to_be_bytes()
}

/// How many of 2⁶⁴ ids are sampled at one in `one_in`; at 0, none but one.
pub(crate) const fn threshold(one_in: u32) -> u64 {
    if one_in == 0 { 1 } else { u64::MAX / one_in as u64 }
}

/// Whether a trace is sampled at a threshold: by its last eight bytes, the ones that W3C Trace
/// Context (level 2) says are random. A trace sampled at one rate is at every higher one.
#[inline]
pub(crate) fn is_sampled(trace_id: &[u8; 16], threshold: u64) -> bool {
    let [.., a, b, c, d, e, f, g, h] = *trace_id;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) <= threshold
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_within_and_between_threads() {
        let draw = || (0..5_000).map(|_| trace_id()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let ids = threads.into_iter().flat_map(|one| one.join().expect("it ends"));
        assert_eq!(ids.collect::<HashSet<_>>().len(), 20_000);
        assert_ne!(span_id(), span_id());
    }

    #[test]
    fn the_rate_is_kept_and_a_lower_one_is_part_of_it() {
        let ids: Vec<_> = (0..100_000).map(|_| trace_id()).collect();
        let sampled = |one_in| {
            let threshold = threshold(one_in);
            ids.iter().filter(move |id| is_sampled(id, threshold)).collect::<HashSet<_>>()
        };
        assert_eq!((sampled(1).len(), sampled(0).len()), (100_000, 0));
        let (tenth, hundredth) = (sampled(10), sampled(100));
        assert!((9_000..11_000).contains(&tenth.len()), "{}", tenth.len());
        assert!((700..1_300).contains(&hundredth.len()), "{}", hundredth.len());
        assert!(hundredth.is_subset(&tenth));
    }
}

//! Bytes from somebody who means harm: the bounded half of the fuzz targets (`control/fuzz`).

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use wireloom_control::fuzz;
use wireloom_wire::{NodeId, PACKET_HEADER_BYTES, SessionId, Status, seal_block};

/// Rounds of each test.
const ROUNDS: usize = 3_000;

fn random_bytes(random: &mut SmallRng, bytes_max: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..bytes_max)];
    random.fill_bytes(&mut bytes);
    bytes
}

#[test]
fn streams_of_any_bytes_are_read_within_their_bounds() {
    let mut random = SmallRng::seed_from_u64(1);
    let status = Status {
        source: NodeId(1),
        session: SessionId(2),
        lane: 0,
        next_sequence: 3,
        window_bytes: 0,
    };
    let mut block = vec![7; PACKET_HEADER_BYTES + 64];
    let length = seal_block(&mut block, 50, 60_000).expect("a block");
    let good = [&status.encode()[..], &block[..length], &status.encode()].concat();
    for _ in 0..ROUNDS {
        let mut stream = good.clone();
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(0..stream.len());
            stream[at] = random.random();
        }
        fuzz::stream(&stream);
        fuzz::stream(&random_bytes(&mut random, 400));
    }
}

#[test]
fn blocks_of_any_bytes_show_nothing_of_those_before() {
    let mut random = SmallRng::seed_from_u64(2);
    for _ in 0..ROUNDS {
        let mut bytes = random_bytes(&mut random, 200);
        // Most are short, so that offsets reach before the beginning.
        if let Some(high) = bytes.get_mut(1) {
            *high &= 1;
        }
        fuzz::block(&bytes);
    }
}

#[test]
fn members_say_anything_and_bounds_hold() {
    let mut random = SmallRng::seed_from_u64(3);
    for _ in 0..ROUNDS {
        fuzz::membership(&random_bytes(&mut random, 400));
    }
}

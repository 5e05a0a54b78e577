//! Both directions on one line, and the way from it to two.

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Everything written in parts, and little of it at a time.
const IN_PARTS: StreamModel = StreamModel {
    refused_ppm: 0,
    cut_ppm: 0,
    partial_ppm: 700_000,
    full_ppm: 0,
    delay_ns_min: 50_000,
    delay_ns_max: 200_000,
    buffer_bytes: 3_000,
};

/// The same without chance: a socket that is full most of the time.
const NARROW: StreamModel = StreamModel { partial_ppm: 0, ..IN_PARTS };

const WIDE: StreamModel = StreamModel { buffer_bytes: 1 << 20, ..NARROW };

fn compressing(compression: bool) -> ReliableSettings {
    ReliableSettings { compression, ..settings() }
}

#[test]
fn conversations_stay_on_one_line() {
    let mut pair = Pair::talking(WIDE, &settings(), 64 << 10);
    for _ in 0..200 {
        pair.sides[0].publish(2, 50);
        pair.sides[1].publish(3, 40);
        pair.run(Duration::from_millis(2));
    }
    pair.until("everything", PATIENCE, |pair| {
        let [a, b] = &pair.sides;
        a.is_through(b) && b.is_through(a)
    });
    pair.assert_in_order();
    // Idle for longer than anybody may be silent.
    pair.run(Duration::from_secs(10));
    for side in &pair.sides {
        assert_eq!(side.counted(Counter::LinksOpened), 2);
        assert_eq!(side.counted(Counter::LinksParted), 0);
        assert_eq!(side.counted(Counter::PacketsResent), 0);
        for ended in [Counter::LinksCut, Counter::LinksSilent, Counter::LinksBroken] {
            assert_eq!(side.counted(ended), 0);
        }
    }
    assert_eq!(pair.network.counts().dialled, 1);
}

#[test]
fn who_has_much_to_say_dials_and_nothing_is_lost_or_doubled_on_the_way() {
    for compression in [false, true] {
        for model in [IN_PARTS, NARROW, WIDE] {
            let mut pair = Pair::talking(model, &compressing(compression), 256 << 10);
            // Both at once, so that packets are half written on the line that is left.
            let mut left = [600_u64, 600];
            pair.until("everything", PATIENCE, |pair| {
                for (side, left) in pair.sides.iter_mut().zip(&mut left) {
                    *left -= side.publish(*left, 400);
                }
                let [a, b] = &pair.sides;
                left == [0, 0] && a.is_through(b) && b.is_through(a)
            });
            pair.assert_in_order();
            let [a, b] = &pair.sides;
            assert_eq!(b.counted(Counter::LinksParted), 1);
            assert_eq!(b.counted(Counter::LinksDialled), 1);
            assert_eq!(a.counted(Counter::LinksDialled), 1, "the line of the other goes on");
            for side in &pair.sides {
                assert_eq!(side.counted(Counter::LinksBroken), 0);
                assert_eq!(side.counted(Counter::LinksCut), 0);
                assert_eq!(side.counted(Counter::BlocksSent) > 0, compression);
            }
        }
    }
}

#[test]
fn a_flood_by_a_line_that_is_always_full_lets_the_words_for_the_others_through() {
    for compression in [false, true] {
        let mut pair = Pair::talking(NARROW, &compressing(compression), 1 << 20);
        let mut answered = 0;
        let begin_ns = pair.clock.now_ns();
        while answered < 20 {
            pair.sides[0].publish(10_000, 200);
            pair.sides[1].publish(1, 20);
            pair.until("the word, in a flood", Duration::from_millis(100), |pair| {
                pair.sides[0].publish(10_000, 200);
                pair.sides[1].tally.delivered() == pair.sides[1].published
            });
            answered += 1;
        }
        let waited = pair.sides[0].published - pair.sides[0].tally.delivered();
        assert!(waited > 1_000, "it was a flood: {waited}, {}", pair.clock.now_ns() - begin_ns);
        assert_eq!(pair.sides[1].counted(Counter::LinksParted), 0, "by the same line");
    }
}

#[test]
fn stuck_handlers_do_not_hold_up_the_own_events() {
    for compression in [false, true] {
        for model in [NARROW, WIDE] {
            let mut pair = Pair::talking(model, &compressing(compression), 4 << 20);
            // The first's handlers are stuck, and the other sends more than finds room there.
            pair.sides[0].stuck = true;
            let mut left = 12_000;
            pair.until("all rings full", PATIENCE, |pair| {
                left -= pair.sides[1].publish(left, 200);
                left == 0
            });
            for _ in 0..20 {
                pair.sides[0].publish(1, 20);
                pair.until("the word on its own events", Duration::from_millis(100), |pair| {
                    pair.sides[0].tally.delivered() == pair.sides[0].published
                });
                pair.run(Duration::from_millis(300));
            }
            assert!(pair.sides[1].counted(Counter::LinksParted) >= 1);
            assert_eq!(pair.sides[0].counted(Counter::LinksDialled), 1, "its line goes on");
            pair.sides[0].stuck = false;
            pair.until("the rest", PATIENCE, |pair| pair.sides[1].is_through(&pair.sides[0]));
            pair.assert_in_order();
        }
    }
}

#[test]
fn who_is_flooded_and_stuck_gets_its_own_events_through() {
    for (model, borrows_before) in [(WIDE, true), (WIDE, false), (NARROW, true), (NARROW, false)] {
        let mut pair = Pair::new(model, &settings());
        pair.sides[0].attach(address(1), 4 << 20);
        if borrows_before {
            pair = Pair::talking(model, &settings(), 4 << 20);
        }
        pair.sides[1].stuck = true;
        let mut left = 12_000;
        pair.until("a full ring", PATIENCE, |pair| {
            left -= pair.sides[0].publish(left, 200);
            left == 0
        });
        pair.run(Duration::from_millis(1_000));
        if !borrows_before {
            pair.sides[1].attach(address(0), 64 << 10);
        }
        for _ in 0..20 {
            pair.sides[1].publish(1, 20);
            pair.until("the word on its own events", Duration::from_millis(100), |pair| {
                pair.sides[1].tally.delivered() == pair.sides[1].published
            });
            pair.run(Duration::from_millis(300));
        }
        let b = &pair.sides[1];
        assert_eq!(b.counted(Counter::LinksParted), 1, "it dialled a line of its own");
        pair.sides[1].stuck = false;
        pair.until("the rest", PATIENCE, |pair| pair.sides[0].is_through(&pair.sides[1]));
        pair.assert_in_order();
    }
}

#[test]
fn silence_about_events_on_the_peers_line_does_not_end_it() {
    let mut pair = Pair::talking(WIDE, &settings(), 64 << 10);
    pair.sides[0].stuck = true;
    pair.sides[1].publish(10, 100);
    // Longer than a word may be owed: the other side looks for a line of its own.
    for _ in 0..10 {
        pair.sides[0].publish(1, 20);
        pair.until("the word on its own events", Duration::from_millis(100), |pair| {
            pair.sides[0].tally.delivered() == pair.sides[0].published
        });
        pair.run(Duration::from_secs(1));
    }
    assert_eq!(pair.sides[0].counted(Counter::LinksDialled), 1, "its line was never cut");
    pair.sides[0].stuck = false;
    pair.until("the rest", PATIENCE, |pair| pair.sides[1].is_through(&pair.sides[0]));
    pair.assert_in_order();
}

#[test]
fn a_line_serves_the_other_direction_when_its_own_is_over() {
    let mut pair = Pair::talking(WIDE, &settings(), 64 << 10);
    pair.sides[0].publisher = None;
    pair.run(Duration::from_secs(5));
    for _ in 0..50 {
        pair.sides[1].publish(5, 40);
        pair.run(Duration::from_millis(100));
    }
    pair.until("its events", PATIENCE, |pair| pair.sides[1].is_through(&pair.sides[0]));
    let b = &pair.sides[1];
    assert_eq!((b.counted(Counter::LinksCut), b.counted(Counter::LinksDialled)), (0, 0));
    // And back: a new publisher's events come too, behind what the old one's were.
    pair.sides[1].seen.clear();
    pair.sides[0].attach(address(1), 64 << 10);
    pair.sides[0].publish(100, 40);
    pair.until("the new one's", PATIENCE, |pair| pair.sides[0].is_through(&pair.sides[1]));
    pair.assert_in_order();
    // When both are over, nothing is kept.
    for side in &mut pair.sides {
        side.publisher = None;
    }
    pair.until("the end of every line", PATIENCE, |pair| {
        pair.sides.iter().all(|side| {
            side.links.lines.is_empty()
                && side.links.accepted.is_empty()
                && side.links.dialled.is_empty()
        })
    });
}

#[test]
fn cuts_of_the_line_lose_nothing_and_double_nothing_in_either_direction() {
    for compression in [false, true] {
        let model = StreamModel { cut_ppm: 20_000, ..IN_PARTS };
        let mut pair = Pair::new(model, &compressing(compression));
        for (from, to) in [(0, 1), (1, 0)] {
            pair.sides[from].attach(address(to), 64 << 10);
        }
        for _ in 0..2_000 {
            pair.sides[0].publish(2, 50);
            pair.sides[1].publish(2, 50);
            pair.run(Duration::from_millis(1));
        }
        assert!(pair.network.counts().cut > 20, "{:?}", pair.network.counts());
        pair.network.set_model(WIDE);
        pair.until("everything", PATIENCE, |pair| {
            let [a, b] = &pair.sides;
            a.is_through(b) && b.is_through(a)
        });
        pair.assert_in_order();
        let borrowed = pair.sides.iter().map(|side| side.counted(Counter::LinksBorrowed));
        assert!(borrowed.sum::<u64>() > 5);
    }
}

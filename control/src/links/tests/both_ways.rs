//! Both directions on one line, and the way from it to two.

use super::*;
use crate::outgoing::large::{Large, LargeRoom};

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
fn handlers_that_sleep_are_woken_for_what_was_set_aside_alone() {
    let mut pair = Pair::talking(WIDE, &settings(), 16 << 20);
    pair.sides[1].stuck = true;
    pair.until("packets set aside", PATIENCE, |pair| {
        pair.sides[0].publish(10, 200);
        pair.sides[1].links.accepted.values().any(|half| half.aside_bytes() > 0)
    });
    // Nothing more comes behind them.
    pair.run(Duration::from_millis(50));
    pair.sides[1].stuck = false;
    pair.until("all of them", Duration::from_secs(2), |pair| {
        pair.sides[0].is_through(&pair.sides[1])
    });
    pair.assert_in_order();
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
    // Questions, which are answered, come later than a word is missed.
    let settings = ReliableSettings { keep_alive: Duration::from_secs(5), ..settings() };
    let mut pair = Pair::talking(WIDE, &settings, 64 << 10);
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
    assert!(pair.sides[1].counted(Counter::LinksSilent) > 0, "a word was missed");
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
}

#[test]
fn a_line_that_both_sides_have_left_is_closed_and_counts_as_nothing_bad() {
    // Who left it last heard the other's last word.
    for (first, last) in [(0, 1), (1, 0)] {
        let mut pair = Pair::talking(WIDE, &settings(), 64 << 10);
        pair.sides[first].publisher = None;
        pair.run(Duration::from_secs(5));
        assert!(pair.sides.iter().all(|side| side.links.lines.len() == 1), "the other needs it");
        pair.sides[last].publisher = None;
        pair.until("the end of every line", PATIENCE, nothing_is_kept);
        assert_eq!(pair.sides.each_ref().map(|side| side.counted(Counter::LinksSilent)), [0, 0]);
    }
}

#[test]
fn words_do_not_wait_for_the_rest_of_a_block() {
    let mut pair = Pair::talking(WIDE, &settings(), 64 << 10);
    pair.network.set_model(StreamModel { buffer_bytes: 30_000, ..WIDE });
    let links = &mut pair.sides[0].links;
    let (line, sockets) = (links.lines.values_mut().next().expect("one"), &mut links.sockets);
    line.say_apart(&vec![0; 100_000]);
    assert!(line.has_room_for_words(), "behind it");
    line.say(&[0; 5_000]);
    assert!(!line.has_room_for_words(), "those before are not read");
    assert_eq!(line.speak(sockets).ok(), Some(false));
    assert_eq!(line.said_bytes(), 75_000);
    assert!(!line.has_room_for_words(), "the rest of the block went first");
}

fn nothing_is_kept(pair: &mut Pair) -> bool {
    pair.sides.iter().all(|side| {
        let links = &side.links;
        links.lines.is_empty() && links.accepted.is_empty() && links.dialled.is_empty()
    })
}

#[test]
fn a_line_of_one_direction_is_closed_with_its_link() {
    let mut pair = Pair::new(WIDE, &settings());
    pair.sides[0].attach(address(1), 64 << 10);
    pair.sides[0].publish(1, 10);
    pair.until("the event", PATIENCE, |pair| pair.sides[0].is_through(&pair.sides[1]));
    pair.sides[0].publisher = None;
    pair.run(Duration::from_secs(1));
    pair.until("the end of the line", Duration::from_millis(1_500), nothing_is_kept);
    assert_eq!(pair.sides.each_ref().map(|side| side.counted(Counter::LinksSilent)), [0, 0]);
}

#[test]
fn who_moves_to_a_line_of_its_own_writes_nothing_twice_that_has_come() {
    let mut pair = Pair::talking(WIDE, &settings(), 1 << 20);
    // All of it finds room before the handlers, and none of it is acknowledged.
    pair.sides[0].stuck = true;
    assert_eq!(pair.sides[1].publish(400, 400), 400);
    pair.run(Duration::from_millis(500));
    assert_eq!(pair.sides[1].counted(Counter::LinksParted), 1);
    assert_eq!(pair.sides[1].counted(Counter::LinksOpened), 3, "by its own line");
    pair.sides[0].stuck = false;
    pair.until("everything", PATIENCE, |pair| pair.sides[1].is_through(&pair.sides[0]));
    assert_eq!(pair.sides[1].counted(Counter::PacketsResent), 0);
    assert_eq!(pair.sides[0].counted(Counter::PacketsDuplicate), 0);
}

/// A pair whose first node takes no events, and none but its own go by its line.
fn of_one_that_takes_nothing(settings: &ReliableSettings) -> Pair {
    let mut pair = Pair::new(WIDE, settings);
    let deaf = ReliableSettings { listens: false, ..settings.clone() };
    pair.sides[0] = Side::new(&pair.network, 0, (&pair.clock, deaf));
    for (from, to) in [(0, 1), (1, 0)] {
        pair.sides[from].attach(address(to), 64 << 10);
        pair.sides[from].publish(1, 10);
        pair.run(Duration::from_millis(50));
    }
    pair
}

#[test]
fn a_refusal_on_the_peers_line_does_not_end_it() {
    let mut pair = of_one_that_takes_nothing(&settings());
    assert!(pair.sides[1].counted(Counter::LinksBorrowed) >= 1);
    assert!(pair.sides[1].counted(Counter::LinksRefused) > 1, "there, and by its own lines");
    for _ in 0..20 {
        pair.sides[0].publish(1, 20);
        pair.run(Duration::from_millis(100));
        assert_eq!(pair.sides[0].tally.delivered(), pair.sides[0].published);
    }
    assert_eq!(pair.sides[0].counted(Counter::LinksDialled), 1);
    assert_eq!(pair.sides[0].counted(Counter::LinksCut), 0);
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

#[test]
fn a_line_that_ends_because_handlers_are_stuck_costs_the_other_direction_a_pause() {
    let settings = ReliableSettings { keep_alive: Duration::from_secs(5), ..settings() };
    let mut pair = Pair::talking(WIDE, &settings, 64 << 10);
    pair.sides[1].stuck = true;
    pair.sides[0].publish(10, 100);
    for _ in 0..50 {
        pair.sides[1].publish(1, 20);
        pair.until("the word on its own events", Duration::from_millis(100), |pair| {
            pair.sides[1].tally.delivered() == pair.sides[1].published
        });
        pair.run(Duration::from_millis(200));
    }
    assert!(pair.sides[0].counted(Counter::LinksSilent) >= 3, "its line ended again and again");
    pair.sides[1].stuck = false;
    pair.until("the rest", PATIENCE, |pair| pair.sides[0].is_through(&pair.sides[1]));
    pair.assert_in_order();
}

#[test]
fn who_loses_the_line_of_a_peer_that_is_back_goes_on_by_its_new_one_at_once() {
    let long = Duration::from_secs(1_000);
    let settings = ReliableSettings { backoff_min: long, backoff_max: long, ..settings() };
    let mut pair = Pair::talking(WIDE, &settings, 64 << 10);
    // Without a word: its new line is there before its old one is seen to be none.
    pair.network.crash(address(0), true);
    pair.sides[1].publish(5, 40);
    pair.run(Duration::from_millis(50));
    pair.sides[0] = Side::with(&pair.network, (0, 2), (&pair.clock, settings), None);
    pair.sides[0].attach(address(1), 64 << 10);
    pair.sides[0].publish(1, 10);
    pair.until("its own events", Duration::from_secs(1), |pair| {
        pair.sides[1].tally.delivered() == pair.sides[1].published
    });
    assert_eq!(pair.sides[0].seen, [1, 2, 3, 4, 5], "what the first life had not acknowledged");
}

#[test]
fn a_large_event_for_who_cannot_be_dialled_is_given_up_while_small_ones_go_by_its_line() {
    let settings = ReliableSettings {
        attempts: 5,
        undelivered_after: Duration::from_secs(2),
        connect_timeout: Duration::from_millis(300),
        ..settings()
    };
    let mut pair = Pair::talking(WIDE, &settings, 64 << 10);
    pair.network.close(address(0));
    let account = Arc::<Tally>::default();
    let large = large_event(&account);
    let command = LinksCommand::Large(address(0), LANE, Box::new(large));
    pair.sides[1].port.commands.push(command).expect("room");
    pair.sides[1].asleep = false;
    for _ in 0..100 {
        pair.sides[1].publish(1, 20);
        pair.run(Duration::from_millis(100));
    }
    assert_eq!(account.undelivered(), [(Undelivered::Unreachable, 1)]);
    // Then the small ones have the line to themselves.
    assert!(pair.sides[0].seen.len() > 50);
    let before = pair.sides[1].tally.delivered();
    pair.sides[1].publish(20, 20);
    pair.until("small ones", PATIENCE, |pair| pair.sides[1].tally.delivered() == before + 20);
    assert_eq!(pair.sides[0].counted(Counter::LinksDialled), 1, "its line was never cut");
}

fn large_event(account: &Arc<Tally>) -> Large {
    let encoder = FrameEncoder::new(FrameHeader::bare(event_type_id("large"), Priority::Normal));
    let mut frame = vec![0; (300_000 + encoder.payload_offset()).next_multiple_of(16)];
    encoder.write(&vec![7; 300_000], &mut frame).expect("it fits");
    let share = Arc::<LargeRoom>::default().take(1, 1).expect("room");
    Large::new(frame.into_boxed_slice(), Arc::clone(account), share).expect("a frame")
}

//! The window's cases one by one. Streams with loss, duplication and reordering run against a
//! naive oracle in `tests/wire/window.rs`.

use super::*;

const IN_ORDER: Admission = Admission::New { gap: None };

fn gap(from: u64, to: u64) -> Admission {
    Admission::New { gap: Some(Gap { from, to }) }
}

/// A window after packet 100 with events 1,000 to 1,009.
fn joined() -> ReceiveWindow {
    let mut window = ReceiveWindow::new();
    assert!(window.is_new());
    assert_eq!(window.admit(100, 1_000, 10), IN_ORDER);
    window
}

fn balance(window: &ReceiveWindow) {
    let accounted = window.events_before() + window.received() + window.lost();
    assert_eq!(accounted, window.next_event());
}

#[test]
fn the_first_packet_sets_the_baseline() {
    let window = joined();
    assert!(!window.is_new());
    assert_eq!((window.events_before(), window.received(), window.lost()), (1_000, 10, 0));
    assert_eq!((window.newest_sequence(), window.next_event()), (Some(100), 1_010));
    assert_eq!(ReceiveWindow::default().next_event(), 0);
}

#[test]
fn packets_in_order_are_new() {
    let mut window = joined();
    for index in 1..20_000 {
        assert_eq!(window.admit(100 + index, 1_000 + 10 * index, 10), IN_ORDER);
        assert_eq!(window.admit(100 + index, 1_000 + 10 * index, 10), Admission::Duplicate);
    }
    assert_eq!((window.received(), window.duplicates()), (200_000, 19_999));
    balance(&window);
}

#[test]
fn a_gap_names_the_missing_events_and_late_packets_fill_it() {
    let mut window = joined();
    assert_eq!(window.admit(104, 1_050, 10), gap(1_010, 1_050));
    assert_eq!(window.lost(), 40);
    assert_eq!(window.admit(102, 1_020, 5), Admission::Late);
    assert_eq!(window.admit(102, 1_020, 5), Admission::Duplicate);
    assert_eq!((window.received(), window.lost(), window.late()), (25, 35, 5));
    assert_eq!(window.admit(105, 1_060, 1), IN_ORDER, "after a gap the order goes on");
    balance(&window);
}

#[test]
fn tail_markers_show_loss_at_the_end() {
    let mut window = joined();
    assert_eq!(window.admit(103, 1_044, 0), gap(1_010, 1_044));
    assert_eq!(window.admit(104, 1_044, 0), IN_ORDER);
    assert_eq!(window.admit(106, 1_044, 0), IN_ORDER, "a lost marker is no lost event");
    assert_eq!(window.admit(105, 1_044, 0), Admission::Late);
    assert_eq!((window.lost(), window.late()), (34, 0));
    balance(&window);
}

#[test]
fn what_is_older_than_the_window_or_the_first_packet_is_stale() {
    let mut window = joined();
    assert_eq!(window.admit(99, 990, 10), Admission::Stale);
    assert_eq!(window.admit(0, 0, 10), Admission::Stale);
    let newest = 101 + WINDOW_PACKETS;
    assert_eq!(window.admit(newest, 2_000, 1), gap(1_010, 2_000));
    assert_eq!(window.admit(100, 1_000, 10), Admission::Stale);
    assert_eq!(window.admit(101, 1_010, 1), Admission::Stale, "one beyond the window");
    assert_eq!(window.admit(102, 1_010, 1), Admission::Late, "the oldest of the window");
    assert_eq!(window.stale(), 4);
    balance(&window);
}

#[test]
fn a_wide_jump_forgets_every_bit() {
    for jump in [8_190, 8_191, 8_192, 8_193, 16_384, 1 << 40] {
        let mut window = joined();
        for index in 1..300 {
            assert_eq!(window.admit(100 + index, 1_010, 0), IN_ORDER);
        }
        let newest = 399 + jump;
        assert_eq!(window.admit(newest, 1_010, 0), IN_ORDER);
        for behind in 1..WINDOW_PACKETS {
            let sequence = newest - behind;
            let expected = if sequence <= 399 { Admission::Duplicate } else { Admission::Late };
            assert_eq!(window.admit(sequence, 1_010, 0), expected, "{jump} {sequence}");
        }
    }
}

#[test]
fn impossible_counts_are_inconsistent_and_change_nothing() {
    let mut window = joined();
    assert_eq!(window.admit(104, 1_050, 10), gap(1_010, 1_050));
    let refused = [
        (105, 1_059, 1),          // events went back
        (105, 1_061, 1),          // events without a packet to carry them
        (106, 1_060 + 65_536, 1), // more than one packet carries
        (106, u64::MAX, 1),       // beyond the end of numbers
        (103, 1_009, 1),          // late, but before the first packet's end
        (103, 1_045, 6),          // late, but into the newest packet
        (101, 1_011, 1),          // late, next to the first, but not continuing it
        (103, 1_048, 1),          // late, next to the newest, but leaving a hole
    ];
    for (sequence, first_event, count) in refused {
        let refused = window.admit(sequence, first_event, count);
        assert_eq!(refused, Admission::Inconsistent, "{sequence} {first_event} {count}");
    }
    assert_eq!(window.inconsistent(), 8);
    assert_eq!((window.received(), window.lost()), (20, 40));
    assert_eq!(window.admit(106, 1_060 + 65_535, 1), gap(1_060, 1_060 + 65_535));
    assert_eq!(window.admit(101, 1_010, 10), Admission::Late);
    balance(&window);
}

#[test]
fn late_packets_never_take_back_more_than_was_lost() {
    let mut window = joined();
    assert_eq!(window.admit(110, 1_050, 10), gap(1_010, 1_050));
    assert_eq!(window.admit(105, 1_010, 30), Admission::Late);
    assert_eq!(window.admit(106, 1_010, 30), Admission::Inconsistent, "10 are missing");
    assert_eq!(window.admit(106, 1_040, 10), Admission::Late);
    assert_eq!(window.lost(), 0);
    balance(&window);
}

#[test]
fn the_ends_of_the_numbers_hold() {
    let mut window = ReceiveWindow::new();
    assert_eq!(window.admit(u64::MAX - 2, u64::MAX - 10, 11), Admission::Inconsistent);
    assert!(window.is_new(), "a refused packet is no first packet");
    assert_eq!(window.admit(u64::MAX - 2, u64::MAX - 10, 5), IN_ORDER);
    assert_eq!(window.admit(u64::MAX, u64::MAX - 3, 3), gap(u64::MAX - 5, u64::MAX - 3));
    assert_eq!(window.admit(0, 0, 1), Admission::Stale, "sequences do not wrap");
    assert_eq!(window.admit(u64::MAX - 1, u64::MAX - 5, 2), Admission::Late);
    balance(&window);
}

#[test]
fn a_window_is_as_small_as_promised() {
    assert!(size_of::<ReceiveWindow>() <= 1_152, "{}", size_of::<ReceiveWindow>());
    assert_eq!(Gap { from: 3, to: 9 }.events(), 6);
}

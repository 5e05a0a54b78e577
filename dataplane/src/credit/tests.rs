use super::*;
use crate::flow::PeerWindow;
use wireloom_wire::{NodeId, SessionId, Status};

/// A stream's account and the window its peer speaks into.
struct Stream {
    credit: Credit,
    window: PeerWindow,
    sequence: u64,
}

impl Stream {
    fn new() -> Self {
        Self { credit: Credit::default(), window: PeerWindow::default(), sequence: 0 }
    }

    fn room(&mut self, now_ns: u64) -> u64 {
        self.credit.room(self.window.lane(2), self.sequence, now_ns)
    }

    /// Sends `packets` of 584 bytes, which are charged 1,000 each, in one cycle.
    fn send(&mut self, packets: u64) {
        for _ in 0..packets {
            self.credit.charge(584);
        }
        self.sequence += packets;
        self.credit.mark(self.sequence);
    }

    fn hear(&mut self, next_sequence: u64, window_bytes: u64) -> bool {
        let (source, session) = (NodeId(1), SessionId(1));
        self.window.hear(&Status { source, session, lane: 2, next_sequence, window_bytes })
    }
}

#[test]
fn what_is_on_its_way_stays_within_the_first_window_and_then_the_peers() {
    let mut stream = Stream::new();
    assert_eq!(stream.room(0), u64::MAX, "nothing is on its way");
    stream.send(10);
    assert_eq!(stream.room(0), FIRST_WINDOW - 10_000);
    stream.send(54);
    assert_eq!(stream.room(0), FIRST_WINDOW - 64_000);
    assert!(stream.hear(10, 100_000));
    assert_eq!(stream.room(0), 100_000 - 54_000);
    assert!(stream.hear(63, 100_000));
    assert_eq!(stream.room(0), 46_000, "half a cycle's packets count when all have been taken");
    assert!(stream.hear(64, 0));
    assert_eq!(stream.room(0), u64::MAX, "nothing is on its way: one cycle may try a window of 0");
    stream.send(1);
    assert_eq!(stream.room(0), 0);
}

#[test]
fn an_old_word_and_one_of_packets_never_sent_change_nothing() {
    let mut stream = Stream::new();
    stream.send(5);
    stream.send(5);
    assert!(stream.hear(5, 20_000));
    assert_eq!(stream.room(0), 15_000);
    assert!(!stream.hear(4, 90_000), "overtaken");
    assert!(stream.hear(11, 90_000));
    assert_eq!(stream.room(0), 15_000, "the eleventh packet was never sent");
}

#[test]
fn more_cycles_than_there_are_marks_for_are_taken_back_all_the_same() {
    let mut stream = Stream::new();
    for _ in 0..200 {
        stream.send(1);
    }
    stream.hear(200, 300_000);
    assert_eq!(stream.room(0), u64::MAX);
    for _ in 0..200 {
        stream.send(1);
    }
    stream.hear(210, 300_000);
    assert_eq!(stream.room(0), 300_000 - 190_000, "the first marks are exact");
    for sequence in 211..=399 {
        stream.hear(sequence, 300_000);
        let room = stream.room(0);
        assert!((110_000..300_000).contains(&room), "never too much: {room} at {sequence}");
    }
    stream.hear(400, 300_000);
    assert_eq!(stream.room(0), u64::MAX);
}

#[test]
fn a_held_stream_asks_less_and_less_often_and_gives_a_silent_peer_up() {
    let mut stream = Stream::new();
    stream.send(132);
    assert!(stream.credit.hold(1_000));
    assert!(!stream.credit.hold(1_000), "it is held already");
    let mut asked = Vec::new();
    for now_ns in (0..UNANSWERED_NS + 30_000_000).step_by(100_000) {
        if stream.credit.asks(now_ns) {
            asked.push(now_ns);
        }
        if stream.room(now_ns) == u64::MAX {
            break;
        }
    }
    assert!(asked[0] >= ASK_NS && asked.len() > 5, "{asked:?}");
    let waits: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.is_sorted() && waits.iter().all(|wait| *wait <= ASK_NS_MAX + 100_000));
    let last = asked.last().copied().expect("it asked");
    assert!((UNANSWERED_NS..UNANSWERED_NS + ASK_NS_MAX + 200_000).contains(&last), "{last}");
    // It goes on without a window, and within one as soon as the peer speaks.
    stream.send(1_000);
    assert_eq!(stream.room(last), u64::MAX);
    stream.hear(132, 50_000);
    assert_eq!(stream.room(last), 0);
}

#[test]
fn a_peer_that_answers_is_not_given_up_however_long_it_takes_nothing() {
    let mut stream = Stream::new();
    stream.send(132);
    stream.credit.hold(0);
    for now_ns in (0..4 * UNANSWERED_NS).step_by(1_000_000) {
        stream.credit.asks(now_ns);
        stream.hear(1, 0);
        assert_eq!(stream.room(now_ns), 0);
    }
}

#[test]
fn a_word_on_what_was_never_sent_changes_nothing_and_true_ones_are_heard_after_it() {
    let mut stream = Stream::new();
    stream.send(100);
    let held = stream.room(0);
    for lie in [101, 1 << 40, u64::MAX] {
        assert!(stream.hear(lie, u64::MAX));
        assert_eq!(stream.room(1), held, "{lie}");
    }
    assert_eq!((stream.credit.take_disbelieved(), stream.credit.take_disbelieved()), (3, 0));
    assert!(stream.hear(100, 50_000), "the truth is no older than a lie");
    assert_eq!(stream.room(2), u64::MAX, "everything is taken");
    stream.send(10);
    assert_eq!(stream.room(2), 50_000 - 10_000);
}

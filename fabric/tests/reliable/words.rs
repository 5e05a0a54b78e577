//! A peer that acknowledges what was never sent, goes back, or speaks of what is not there (F32):
//! its link ends by name or its word is dropped by name.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use wireloom::{Delivery, Target, Undelivered};
use wireloom_wire::{Control, Hello, NodeId, SessionId, Status, decode_packet};

use crate::hostile::{answer, encoded, hello};
use crate::support::{Numbered, PATIENCE, counted, hasty, node};

/// What a peer says when it is dialled, and when events have come; it is told who dials and with
/// which streams.
type Says = fn(&Hello<'_>) -> (Vec<u8>, Vec<u8>);

/// A peer that says this to each of so many who dial.
fn peer(dials: usize, says: Says) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let peer = std::thread::spawn(move || {
        for _ in 0..dials {
            let (mut stream, _) = listener.accept().expect("dialled");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).expect("a hello");
            let packet = decode_packet(&bytes[..read], true).expect("a packet");
            let Some(Control::Hello(theirs)) = Control::of(&packet) else { panic!("a hello") };
            let (at_once, later) = says(&theirs);
            let _ = stream.write_all(&at_once);
            if !later.is_empty() {
                stream.read_exact(&mut [0; 48]).expect("events");
                stream.write_all(&later).expect("it listens");
            }
            let _ = answer(&mut stream);
        }
    });
    (address, peer)
}

/// A welcome to all streams from the beginning, but for what `change` does to it.
fn welcome(theirs: &Hello<'_>, change: fn(&mut Hello<'_>)) -> Vec<u8> {
    let mut welcome =
        Hello { streams: theirs.streams, stream_count: theirs.stream_count, ..hello("peer") };
    change(&mut welcome);
    encoded(&Control::Welcome(welcome))
}

/// A word on the stream of packets of normal priority, so far behind its beginning.
fn word(theirs: &Hello<'_>, next: u64) -> Vec<u8> {
    let mut streams = theirs.streams().iter().filter(|stream| !stream.pieces);
    let stream = streams.find(|stream| stream.lane == 2).expect("its event is normal");
    let next_sequence = stream.sequence.saturating_add(next);
    let (source, session) = (theirs.node, SessionId(stream.session));
    Status { source, session, lane: stream.lane, next_sequence, window_bytes: u64::MAX }
        .encode()
        .to_vec()
}

#[test]
fn words_on_what_was_never_sent_end_the_link_by_name() {
    let lies: [Says; 6] = [
        |theirs| (welcome(theirs, |_| ()), word(theirs, 1 << 40)),
        |theirs| ([welcome(theirs, |_| ()), word(theirs, u64::MAX)].concat(), Vec::new()),
        |theirs| (welcome(theirs, |welcome| welcome.streams[0].sequence = 1 << 40), Vec::new()),
        |theirs| (welcome(theirs, |welcome| welcome.streams[0].sequence = u64::MAX), Vec::new()),
        |theirs| (welcome(theirs, |welcome| welcome.streams[0].session ^= 1), Vec::new()),
        |theirs| (welcome(theirs, |welcome| welcome.stream_count = 0), Vec::new()),
    ];
    for (number, says) in lies.into_iter().enumerate() {
        let (address, peer) = peer(3, says);
        let feed = node("feed").reliable(hasty()).start().expect("starts");
        let mut publisher =
            feed.publisher::<Numbered>(&Target::Reliable(address)).expect("a route");
        let accepted = publisher.publish(&Numbered::new(1)).expect("accepted");
        let receipt = publisher.receipt(accepted).expect("reliable");
        let delivery = receipt.wait(PATIENCE);
        assert_eq!(delivery, Delivery::Undelivered(Undelivered::Protocol), "lie {number}");
        assert_eq!(counted(&feed, "links_broken"), 3, "lie {number}");
        peer.join().expect("it was dialled three times");
    }
}

/// Words that go back or are about nobody's stream, so many.
const WORDS: u64 = 50_000;

#[test]
fn words_that_go_back_or_are_about_nothing_are_dropped_by_name() {
    let (address, peer) = peer(1, |theirs| {
        let mut said = Vec::new();
        let other = Status {
            source: NodeId(1),
            session: SessionId(1),
            lane: 0,
            next_sequence: 1 << 40,
            window_bytes: 0,
        };
        for number in 0..WORDS {
            match number % 2 {
                0 => said.extend(Status { session: SessionId(9), ..other }.encode()),
                _ => said.extend(Status { source: theirs.node, ..other }.encode()),
            }
            said.extend(word(theirs, 0));
        }
        // The truth in the end.
        said.extend(word(theirs, 1));
        (welcome(theirs, |_| ()), said)
    });
    let feed = node("feed").start().expect("starts");
    let mut publisher = feed.publisher::<Numbered>(&Target::Reliable(address)).expect("a route");
    let accepted = publisher.publish(&Numbered::new(1)).expect("accepted");
    let receipt = publisher.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    assert_eq!(counted(&feed, "statuses_unknown"), WORDS);
    assert_eq!(counted(&feed, "links_broken"), 0);
    drop(feed);
    peer.join().expect("it was dialled");
}

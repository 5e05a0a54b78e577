//! A peer that lies on a line of both directions: what it can make this node do and hold.

use std::io::IoSlice;

use wireloom_wire::{
    CONTROL_PACKET_BYTES_MAX, Control, Hello, PACKET_HEADER_BYTES, PacketFlags, PacketHeader,
    SessionId, Status, StreamPoint, body_hash, decode_packet,
};

use super::*;
use crate::links::accepted::ASIDE_BYTES_MAX;

const LIAR: NodeId = NodeId(99);

/// One honest node, another one, and a liar with sockets of its own.
struct Scene {
    pair: Pair,
    liar: SimulatedSockets,
    line: SocketId,
    heard: Vec<u8>,
}

impl Scene {
    /// The first node publishes to the liar, who listens in the place of the second.
    fn dialled() -> Self {
        let model = StreamModel { buffer_bytes: 4 << 20, ..StreamModel::default() };
        let mut pair = Pair::new(model, &settings());
        let mut liar = pair.network.node(address(5));
        pair.sides[0].attach(address(5), 64 << 10);
        pair.sides[0].publish(1, 10);
        pair.run(Duration::from_millis(5));
        let line = liar.accept().expect("dialled");
        let mut scene = Self { pair, liar, line, heard: Vec::new() };
        scene.run(5);
        let hello = decode_packet(&scene.heard, true).expect("a hello");
        let Some(Control::Hello(hello)) = Control::of(&hello) else { panic!("a hello") };
        let welcome = Hello { event_bytes_max: 1 << 20, name: "liar", ..hello };
        let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
        let length = Control::Welcome(welcome).encode(LIAR, &mut packet);
        scene.say(&packet[..length]);
        scene.run(5);
        assert_eq!(scene.counted(Counter::LinksOpened), 1);
        scene
    }

    fn run(&mut self, ms: u64) {
        self.pair.run(Duration::from_millis(ms));
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = self.liar.read(self.line, &mut bytes) {
            self.heard.extend_from_slice(&bytes[..read]);
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        let written = self.liar.write(self.line, &[IoSlice::new(bytes)]);
        assert_eq!(written.expect("room"), bytes.len());
    }

    fn hello(&mut self, session: u32) {
        let packet = Self::greeting(1, session);
        self.say(&packet);
    }

    fn greeting(cluster: u64, session: u32) -> Vec<u8> {
        Self::greeting_for(cluster, session, LANE..LANE + 1)
    }

    fn greeting_for(cluster: u64, session: u32, lanes: std::ops::Range<Lane>) -> Vec<u8> {
        let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
        let mut hello = Hello { stream_count: lanes.len(), ..hello_of(LIAR, cluster) };
        for (point, lane) in hello.streams.iter_mut().zip(lanes) {
            *point = StreamPoint { lane, pieces: false, session, sequence: 0 };
        }
        let length = Control::Hello(hello).encode(LIAR, &mut packet);
        packet[..length].to_vec()
    }

    /// A packet of one event, of about so many bytes.
    fn packet(session: u32, sequence: u64, bytes: usize) -> Vec<u8> {
        let encoder = FrameEncoder::new(FrameHeader {
            sequence,
            ..FrameHeader::bare(event_type_id("numbered"), Priority::Normal)
        });
        let mut frame = vec![0; bytes + 64];
        let length = encoder.write(&content(sequence, bytes), &mut frame).expect("it fits");
        let header = PacketHeader {
            flags: PacketFlags::SEQUENCED,
            lane: LANE,
            frame_count: 1,
            length: u32::try_from(PACKET_HEADER_BYTES + length).expect("short"),
            session: SessionId(session),
            source: LIAR,
            sequence,
            first_event: sequence,
        };
        [&header.encode(Some(body_hash(&frame[..length])))[..], &frame[..length]].concat()
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.pair.sides[0].counted(counter)
    }

    /// The node's own events to another one go on.
    fn others_go_on(&mut self) {
        let side = &mut self.pair.sides[1];
        let before = side.tally.delivered();
        if side.publisher.is_none() {
            side.attach(address(0), 64 << 10);
        }
        side.publish(1, 20);
        self.run(500);
        assert!(self.pair.sides[1].tally.delivered() > before, "the honest go on");
    }
}

#[test]
fn a_second_hello_begins_other_streams_and_nobody_else_suffers() {
    let mut scene = Scene::dialled();
    scene.hello(1);
    scene.say(&Scene::packet(1, 0, 16));
    scene.run(5);
    // Two in one breath, and an event of the last: only that one's streams go on.
    scene.hello(2);
    scene.hello(3);
    scene.say(&Scene::packet(3, 0, 16));
    scene.run(5);
    assert_eq!(scene.pair.sides[0].seen, [0, 0]);
    assert_eq!(scene.counted(Counter::LinksOpened), 4);
    scene.others_go_on();
    scene.say(&Scene::packet(1, 1, 16));
    scene.run(5);
    assert_eq!(scene.counted(Counter::LinksBroken), 1, "of streams that the hello ended");
    scene.others_go_on();
}

#[test]
fn events_behind_a_refused_hello_are_dropped_and_the_line_goes_on() {
    let mut scene = Scene::dialled();
    scene.hello(1);
    scene.run(5);
    // In one breath, so that the half has ended and is still there.
    let both = [Scene::greeting(2, 2), Scene::packet(2, 0, 16)].concat();
    scene.say(&both);
    scene.run(5);
    assert_eq!(scene.counted(Counter::HellosCluster), 1);
    assert_eq!(scene.counted(Counter::PacketsDuplicate), 1, "of streams that are not open");
    assert_eq!(scene.counted(Counter::LinksBroken), 0);
    assert_eq!(scene.pair.sides[0].links.lines.len(), 1);
    assert!(scene.pair.sides[0].links.accepted.is_empty());
    assert!(scene.pair.sides[0].seen.is_empty());
}

#[test]
fn a_superseded_line_is_closed_and_nothing_more_of_it_is_taken() {
    let mut scene = Scene::dialled();
    let old = scene.liar.dial(address(0)).expect("a socket");
    scene.line = old;
    scene.run(5);
    scene.hello(7);
    scene.say(&Scene::packet(7, 0, 16));
    scene.run(5);
    scene.line = scene.liar.dial(address(0)).expect("a socket");
    scene.run(5);
    // In one cycle: the new line's hello, and events by the old.
    scene.hello(7);
    let late = Scene::packet(7, 1, 16);
    scene.liar.write(old, &[IoSlice::new(&late)]).expect("room");
    scene.run(1);
    assert_eq!(scene.counted(Counter::LinksSuperseded), 1);
    assert_eq!(scene.liar.read(old, &mut [0; 4096]).ok().map(|_| ()), Some(()), "its words");
    assert_eq!(scene.pair.sides[0].links.lines.len(), 2, "the new one, and the node's own");
    assert_eq!(scene.pair.sides[0].links.accepted.len(), 1);
    scene.others_go_on();
}

#[test]
fn who_was_refused_and_does_not_read_it_is_not_listened_to() {
    let mut scene = Scene::dialled();
    scene.line = scene.liar.dial(address(0)).expect("a socket");
    scene.run(5);
    scene.say(&Scene::greeting(2, 7));
    // The refusal finds no room.
    scene.pair.network.set_model(StreamModel { buffer_bytes: 1, ..StreamModel::default() });
    scene.pair.run(Duration::from_millis(1));
    assert_eq!(scene.counted(Counter::HellosCluster), 1);
    scene.pair.network.set_model(StreamModel { buffer_bytes: 4 << 20, ..Default::default() });
    let again = Scene::greeting(1, 7);
    scene.say(&again);
    scene.pair.network.set_model(StreamModel { buffer_bytes: 1, ..StreamModel::default() });
    scene.pair.run(Duration::from_millis(1));
    assert_eq!(scene.counted(Counter::LinksOpened), 1, "the node's own");
    scene.pair.run(Duration::from_secs(6));
    assert_eq!(scene.pair.sides[0].links.accepted.len(), 0, "for a bounded time");
}

#[test]
fn who_owes_an_answer_is_not_asked_again_by_the_same_line() {
    let patience = Duration::from_millis(300);
    let settings = ReliableSettings { connect_timeout: patience, ..settings() };
    let pair = Pair::new(StreamModel::default(), &settings);
    let mut liar = pair.network.node(address(5));
    let line = liar.dial(address(0)).expect("a socket");
    let mut scene = Scene { pair, liar, line, heard: Vec::new() };
    scene.run(5);
    let lanes = 0..Lane::try_from(LANES).expect("few");
    scene.say(&Scene::greeting_for(1, 7, lanes));
    scene.run(5);
    // It can be reached by this line only, and does not answer there.
    scene.pair.network.close(address(5));
    scene.pair.sides[0].attach(address(5), 64 << 10);
    scene.pair.sides[0].publish(1, 10);
    scene.run(2_000);
    assert!(scene.counted(Counter::LinksUnreachable) > 2);
    assert_eq!(scene.counted(Counter::LinksBorrowed), 1);
    assert_eq!(scene.pair.sides[0].links.lines.len(), 1, "its own streams go on");
}

#[test]
fn hellos_without_end_whose_answers_nobody_reads_are_bounded() {
    let mut scene = Scene::dialled();
    let most = |scene: &Scene| {
        let lines = scene.pair.sides[0].links.lines.values();
        lines.map(|line| line.said_bytes()).max().unwrap_or(0)
    };
    // Nothing more fits into what the liar does not read.
    scene.pair.network.set_model(StreamModel { buffer_bytes: 1, ..StreamModel::default() });
    for session in 1..200 {
        scene.pair.network.set_model(StreamModel { buffer_bytes: 4 << 20, ..Default::default() });
        scene.hello(session);
        scene.pair.network.set_model(StreamModel { buffer_bytes: 1, ..StreamModel::default() });
        scene.pair.run(Duration::from_micros(200));
    }
    assert!(scene.counted(Counter::LinksOpened) > 5);
    assert!(most(&scene) <= 4_096 + CONTROL_PACKET_BYTES_MAX, "{}", most(&scene));
}

#[test]
fn packets_beyond_the_limit_are_bounded_while_handlers_are_stuck() {
    let mut scene = Scene::dialled();
    scene.hello(1);
    scene.run(5);
    scene.pair.sides[0].stuck = true;
    // Three times the ring to the handlers.
    for sequence in 0..100 {
        scene.say(&Scene::packet(1, sequence, 32_000));
        scene.run(1);
    }
    let links = &scene.pair.sides[0].links;
    let aside: usize = links.accepted.values().map(|half| half.aside_bytes()).sum();
    assert!((ASIDE_BYTES_MAX - 33_000..=ASIDE_BYTES_MAX).contains(&aside), "{aside}");
    let kept: usize = links.lines.values().map(|line| line.remainder.len()).sum();
    assert!(kept <= SCRATCH_BYTES, "{kept}");
    // The own events to it are reported or come by a new line; nothing ends but its line.
    scene.pair.sides[0].publish(5, 20);
    scene.pair.until("the end of its line", Duration::from_secs(5), |pair| {
        pair.sides[0].counted(Counter::LinksSilent) > 0
    });
    let others = &mut scene.pair.sides[0];
    others.stuck = false;
    scene.others_go_on();
}

#[test]
fn words_that_nobody_asked_for_end_the_link_or_are_counted() {
    // A status of a link that is not there.
    let mut scene = Scene::dialled();
    let stranger = Status {
        source: NodeId(1),
        session: SessionId(5),
        lane: 1,
        next_sequence: 9,
        window_bytes: 0,
    };
    scene.say(&stranger.encode());
    scene.run(5);
    assert_eq!(scene.counted(Counter::StatusesUnknown), 1);
    assert_eq!(scene.counted(Counter::LinksBroken), 0);
    // A welcome again.
    let hello = decode_packet(&scene.heard[..], true).ok();
    assert!(hello.is_none(), "hello and events");
    let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
    let welcome = hello_of(LIAR, 1);
    let length = Control::Welcome(welcome).encode(LIAR, &mut packet);
    scene.say(&packet[..length]);
    scene.run(5);
    assert_eq!(scene.counted(Counter::LinksBroken), 1);
    // A word by a line that no link of the node ever wrote to.
    let mut scene = Scene::dialled();
    scene.line = scene.liar.dial(address(0)).expect("a socket");
    scene.run(5);
    scene.hello(7);
    scene.run(5);
    scene.say(&stranger.encode());
    scene.run(5);
    assert_eq!(scene.counted(Counter::LinksBroken), 1);
    scene.others_go_on();
}

//! Notes by authenticated lines: whole, in order, bounded, and in nobody's way.

use std::sync::Mutex;

use wireloom_wire::{
    Hello, NOTE_BYTES_MAX, NOTE_PACKET_BYTES_MAX, NoteCut, StreamPoint, decode_packet,
};

use super::*;
use crate::links::notes::WAITING_BYTES_MAX;
use crate::tls::tests::authority::Authority;

const PATIENCE: Duration = Duration::from_secs(5);
const LIAR: NodeId = NodeId(6);

/// What came: from whom, and what; and from whom a line was.
#[derive(Default)]
struct Book {
    notes: Vec<(u64, Box<[u8]>)>,
    known: Vec<u64>,
    /// Notes that came before their line was told of.
    early: usize,
}

type Told = Arc<Mutex<Book>>;

fn listen(side: &mut Side) -> Told {
    let told = Told::default();
    let book = Arc::clone(&told);
    let listener = Box::new(move |notice| {
        let mut book = book.lock().expect("no panic");
        match notice {
            LinksNotice::Authenticated { identity, .. } => book.known.push(identity.node.0),
            LinksNotice::Note { from, note } => {
                book.early += usize::from(!book.known.contains(&from.node.0));
                book.notes.push((from.node.0, note));
            }
            LinksNotice::Ended { .. } | LinksNotice::Distrusted { .. } => {}
        }
    });
    side.port.commands.push(LinksCommand::OnNotice(listener)).expect("room");
    side.asleep = false;
    told
}

fn note(number: usize, bytes: usize) -> Box<[u8]> {
    (0..bytes).map(|at| (at / 5 + number).to_le_bytes()[0]).collect()
}

fn tell(side: &mut Side, to: u64, note: Box<[u8]>) {
    side.port.commands.push(LinksCommand::Note { to: NodeId(to), note }).expect("room");
    side.asleep = false;
}

fn introduced(model: StreamModel) -> (Pair, [Told; 2]) {
    let authority = Authority::new("c");
    let both = [0, 1].map(|i: u64| Some(authority.node(&format!("node-{i}"), NodeId(i + 1))));
    let mut pair = Pair::with(model, &settings(), both);
    let told = [0, 1].map(|index| listen(&mut pair.sides[index]));
    pair.sides[0].port.commands.push(LinksCommand::Introduce(address(1))).expect("room");
    let known = |told: &Told| !told.lock().expect("no panic").known.is_empty();
    pair.until("a line", PATIENCE, |_| told.iter().all(known));
    (pair, told)
}

fn came(told: &Told) -> usize {
    told.lock().expect("no panic").notes.len()
}

#[test]
fn notes_of_every_length_come_whole_and_in_order_both_ways() {
    let harsh = StreamModel {
        partial_ppm: 200_000,
        full_ppm: 100_000,
        delay_ns_max: 300_000,
        buffer_bytes: 20_000,
        ..StreamModel::default()
    };
    for model in [StreamModel::default(), harsh] {
        let (mut pair, told) = introduced(model);
        let lengths = [1, 100, 16_287, 16_288, 16_289, 172_000, NOTE_BYTES_MAX, 3];
        for (number, bytes) in lengths.into_iter().enumerate() {
            for (from, to) in [(0, 2), (1, 1)] {
                tell(&mut pair.sides[from], to, note(number, bytes));
            }
            pair.until("the note", PATIENCE, |_| told.iter().all(|told| came(told) == number + 1));
            for (told, from) in told.iter().zip([2, 1]) {
                let (who, what) = told.lock().expect("no panic").notes[number].clone();
                assert!(who == from && what == note(number, bytes), "{bytes} bytes of {who}");
            }
        }
        // Several at once keep their order.
        for number in 0..16 {
            tell(&mut pair.sides[0], 2, note(number, 30_000));
        }
        pair.until("all", PATIENCE, |_| came(&told[1]) == lengths.len() + 16);
        let notes = &told[1].lock().expect("no panic").notes[lengths.len()..];
        assert!((0..16).all(|number| notes[number].1 == note(number, 30_000)));
        for side in &pair.sides {
            assert_eq!(side.counted(Counter::NotesUnsent), 0);
            assert_eq!(side.counted(Counter::LinksBroken), 0);
        }
    }
}

#[test]
fn a_note_for_nobody_and_one_beyond_the_bounds_is_counted() {
    let (mut pair, told) = introduced(StreamModel::default());
    tell(&mut pair.sides[0], 77, note(0, 10));
    tell(&mut pair.sides[0], 2, note(0, 0));
    tell(&mut pair.sides[0], 2, note(0, NOTE_BYTES_MAX + 1));
    pair.run(Duration::from_millis(5));
    assert_eq!(pair.sides[0].counted(Counter::NotesUnsent), 3);
    // The peer takes nothing: sixteen wait, and no more; nor more bytes than there is room for.
    pair.network.set_model(StreamModel { buffer_bytes: 1, ..StreamModel::default() });
    for number in 0..20 {
        tell(&mut pair.sides[0], 2, note(number, 10_000));
    }
    pair.run(Duration::from_millis(5));
    let unsent = pair.sides[0].counted(Counter::NotesUnsent);
    assert!((6..=7).contains(&unsent), "{unsent}");
    assert!(pair.sides[0].links.outbox.waiting() <= 16);
    pair.network.set_model(StreamModel::default());
    pair.until("them", PATIENCE, |_| came(&told[1]) == 23 - usize::try_from(unsent).expect("few"));
    pair.network.set_model(StreamModel { buffer_bytes: 1, ..StreamModel::default() });
    for number in 0..10 {
        tell(&mut pair.sides[0], 2, note(number, NOTE_BYTES_MAX));
    }
    pair.run(Duration::from_millis(5));
    let waiting = pair.sides[0].links.outbox.waiting();
    assert_eq!(waiting, WAITING_BYTES_MAX / NOTE_BYTES_MAX);
    // Those that wait are lost with their line, and nothing is kept for it.
    let before = pair.sides[0].counted(Counter::NotesUnsent);
    pair.network.crash(address(1), false);
    pair.run(Duration::from_millis(50));
    assert_eq!(pair.sides[0].counted(Counter::NotesUnsent), before + waiting as u64);
    assert_eq!(pair.sides[0].links.outbox.waiting(), 0);
}

#[test]
fn events_and_their_acknowledgements_wait_behind_one_cut_at_most() {
    // Little room below, so that what waits, waits here.
    let narrow = StreamModel {
        buffer_bytes: 1_000,
        delay_ns_min: 500_000,
        delay_ns_max: 500_000,
        ..StreamModel::default()
    };
    let (mut pair, told) = introduced(narrow);
    for (from, to) in [(0, 1), (1, 0)] {
        pair.sides[from].attach(address(to), 1 << 16);
        pair.sides[from].publish(1, 10);
        pair.until("the first", PATIENCE, |pair| pair.sides[from].is_through(&pair.sides[to]));
    }
    for (from, to) in [(0, 2), (1, 1)] {
        tell(&mut pair.sides[from], to, note(from, NOTE_BYTES_MAX));
    }
    pair.run(Duration::from_millis(2));
    for round in 2..6 {
        for side in &mut pair.sides {
            side.publish(1, 10);
        }
        pair.until("an event and its word", PATIENCE, |pair| {
            let held = |side: &Side| side.links.lines.values().all(|l| l.said_bytes() < 21_000);
            assert!(pair.sides.iter().all(held), "one cut at a time");
            let [a, b] = &pair.sides;
            a.is_through(b) && b.is_through(a)
        });
        assert!(told.iter().all(|told| came(told) == 0), "in round {round}");
    }
    pair.until("the notes", Duration::from_secs(20), |_| told.iter().all(|t| came(t) == 1));
    // Nor do notes wait for the end of the events.
    tell(&mut pair.sides[0], 2, note(0, 50_000));
    pair.until("a note among events", Duration::from_secs(20), |pair| {
        pair.sides[0].publish(100, 1_000);
        came(&told[1]) == 2
    });
    pair.until("all events", Duration::from_secs(20), |pair| {
        pair.sides[0].is_through(&pair.sides[1])
    });
    pair.assert_in_order();
}

/// A node, and a peer that says what it likes.
struct Scene {
    pair: Pair,
    told: Told,
    liar: AnySockets,
    line: SocketId,
}

impl Scene {
    /// The liar has dialled and was welcomed: with a certificate or without.
    fn new(proven: bool) -> Self {
        Self::saying(proven, &[])
    }

    /// In the same breath as its hello it says this.
    fn saying(proven: bool, more: &[u8]) -> Self {
        let authority = Authority::new("c");
        let own = |name, node| proven.then(|| authority.node(name, NodeId(node)));
        let model = StreamModel { buffer_bytes: 4 << 20, ..StreamModel::default() };
        let mut pair = Pair::with(model, &settings(), [own("node-0", 1), own("node-1", 2)]);
        let told = listen(&mut pair.sides[0]);
        let plain = pair.network.node(address(5));
        let mut liar: AnySockets = match own("liar", LIAR.0) {
            None => Box::new(plain),
            Some(own) => Box::new(TlsSockets::new(plain, tls_config(own, &pair.clock))),
        };
        let line = liar.dial(address(0)).expect("dials");
        let mut scene = Self { pair, told, liar, line };
        while !scene.liar.is_open(scene.line).expect("opens") {
            scene.run(1);
        }
        scene.say(&[&hello(), more].concat());
        scene.run(5);
        assert_eq!(scene.counted(Counter::LinksOpened), 1);
        scene
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.pair.run(Duration::from_millis(1));
            self.liar.poll(&mut Vec::new());
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        let written = self.liar.write(self.line, &[IoSlice::new(bytes)]);
        assert_eq!(written.expect("room"), bytes.len());
    }

    fn cut(&mut self, note: &[u8], index: usize) {
        self.say(&packet(&NoteCut::nth(note, index).expect("so many")));
        self.run(2);
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.pair.sides[0].counted(counter)
    }

    fn is_there(&self) -> bool {
        !self.pair.sides[0].links.lines.is_empty()
    }

    /// Bytes held for notes of its lines.
    fn held(&self) -> usize {
        self.pair.sides[0].links.lines.values().map(|line| line.notes.bytes()).sum()
    }
}

fn hello() -> Vec<u8> {
    let mut hello = Hello { stream_count: 5, ..hello_of(LIAR, 1) };
    for (lane, point) in (0..5).zip(&mut hello.streams) {
        *point = StreamPoint { lane, pieces: false, session: 7, sequence: 0 };
    }
    let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
    let length = Control::Hello(hello).encode(LIAR, &mut packet);
    packet[..length].to_vec()
}

fn packet(cut: &NoteCut<'_>) -> Vec<u8> {
    let mut packet = [0; NOTE_PACKET_BYTES_MAX];
    let length = cut.encode(LIAR, &mut packet);
    assert!(decode_packet(&packet[..length], true).is_ok());
    packet[..length].to_vec()
}

#[test]
fn who_has_shown_no_certificate_says_no_note() {
    for bytes in [10, 100_000] {
        let mut scene = Scene::new(false);
        scene.cut(&note(0, bytes), 0);
        assert!(!scene.is_there());
        assert_eq!(scene.counted(Counter::NotesInClear), 1);
        assert_eq!((came(&scene.told), scene.counted(Counter::NotesReceived)), (0, 0));
    }
    // And one whom the node dialled, with its answer and before it.
    for greets in [true, false] {
        let mut pair = Pair::new(StreamModel::default(), &settings());
        let mut liar = pair.network.node(address(5));
        pair.sides[0].attach(address(5), 1 << 16);
        pair.sides[0].publish(1, 10);
        pair.run(Duration::from_millis(5));
        let line = liar.accept().expect("dialled");
        pair.run(Duration::from_millis(5));
        let mut heard = [0; 4096];
        let length = liar.read(line, &mut heard).expect("a hello");
        let hello = decode_packet(&heard[..length], true).expect("a hello");
        let Some(Control::Hello(hello)) = Control::of(&hello) else { panic!("a hello") };
        let mut packets = vec![0; CONTROL_PACKET_BYTES_MAX];
        let welcome = packets.first_chunk_mut().expect("so long");
        let length = Control::Welcome(Hello { name: "liar", ..hello }).encode(LIAR, welcome);
        packets.truncate(if greets { length } else { 0 });
        packets.extend(packet(&NoteCut::nth(&note(0, 100_000), 0).expect("one")));
        liar.write(line, &[IoSlice::new(&packets)]).expect("room");
        pair.run(Duration::from_millis(1));
        assert_eq!(pair.sides[0].counted(Counter::NotesInClear), 1);
        assert!(liar.read(line, &mut heard).is_ok_and(|read| read < 4_000), "ended");
    }
}

#[test]
fn a_note_in_one_breath_with_the_hello_is_told_behind_its_line() {
    let note = note(0, 10);
    let scene = Scene::saying(true, &packet(&NoteCut::nth(&note, 0).expect("one")));
    let book = scene.told.lock().expect("no panic");
    assert_eq!((book.notes.len(), book.early), (1, 0));
}

#[test]
fn a_note_instead_of_an_answer_ends_the_line() {
    let authority = Authority::new("c");
    let [own, other, liar] = [("node-0", 1), ("node-1", 2), ("liar", LIAR.0)]
        .map(|(name, node)| authority.node(name, NodeId(node)));
    let mut pair = Pair::with(StreamModel::default(), &settings(), [Some(own), Some(other)]);
    let told = listen(&mut pair.sides[0]);
    let plain = pair.network.node(address(5));
    let mut liar = TlsSockets::new(plain, tls_config(liar, &pair.clock));
    pair.sides[0].attach(address(5), 1 << 16);
    pair.sides[0].publish(1, 10);
    let line = loop {
        pair.run(Duration::from_millis(1));
        liar.poll(&mut Vec::new());
        if let Some(line) = liar.accept() {
            break line;
        }
    };
    let early = packet(&NoteCut::nth(&note(0, 10), 0).expect("one"));
    liar.write(line, &[IoSlice::new(&early)]).expect("room");
    pair.run(Duration::from_millis(2));
    assert_eq!(pair.sides[0].counted(Counter::LinksBroken), 1);
    assert_eq!((came(&told), pair.sides[0].counted(Counter::NotesReceived)), (0, 0));
}

#[test]
fn cuts_out_of_order_or_of_another_total_end_the_line() {
    let (long, other) = (note(0, 60_000), note(0, 50_000));
    let wrong: [&[(&[u8], usize)]; 5] = [
        &[(&long, 1)],
        &[(&long, 0), (&long, 2)],
        &[(&long, 0), (&long, 0)],
        &[(&long, 0), (&long, 1), (&other, 2)],
        &[(&long, 0), (&long, 1), (&long, 1)],
    ];
    for cuts in wrong {
        let mut scene = Scene::new(true);
        let (last, first) = cuts.split_last().expect("one at least");
        for (note, index) in first {
            scene.cut(note, *index);
        }
        assert!(scene.is_there(), "so far it is right");
        scene.cut(last.0, last.1);
        assert!(!scene.is_there(), "{last:?}");
        assert_eq!((scene.counted(Counter::LinksBroken), came(&scene.told)), (1, 0));
    }
}

#[test]
fn memory_follows_what_came_and_a_longer_note_is_none() {
    let mut scene = Scene::new(true);
    let long = note(0, NOTE_BYTES_MAX);
    for index in 0..16 {
        scene.cut(&long, index);
        let held = scene.held();
        assert_eq!(held, (index + 1) * 16_288, "what came");
    }
    scene.cut(&long, 16);
    assert_eq!((came(&scene.told), scene.held()), (1, 0));
    // The first cut of one that would be longer, in every other way well-formed.
    let mut lie = packet(&NoteCut::nth(&long, 0).expect("one"));
    let too_long = u32::try_from(NOTE_BYTES_MAX + 1).expect("small");
    lie[80..84].copy_from_slice(&too_long.to_le_bytes());
    let (head, body) = lie.split_at_mut(48);
    let header = wireloom_wire::PacketHeader::peek(head.first_chunk().expect("48"));
    head.copy_from_slice(&header.encode(Some(wireloom_wire::body_hash(body))));
    scene.say(&lie);
    scene.run(2);
    assert!(!scene.is_there());
    assert_eq!(scene.counted(Counter::LinksBroken), 1);
}

#[test]
fn a_flood_of_notes_ends_the_line_by_name_and_others_go_on() {
    let mut scene = Scene::new(true);
    scene.run(1_000);
    let one = packet(&NoteCut::nth(&[7], 0).expect("one"));
    for _ in 0..60 {
        scene.say(&one);
    }
    scene.run(5);
    assert!(scene.is_there());
    for _ in 0..10 {
        scene.say(&one);
    }
    scene.run(5);
    assert!(!scene.is_there());
    assert_eq!(scene.counted(Counter::NotesFlooded), 1);
    let came = came(&scene.told);
    assert!((64..67).contains(&came), "{came}");
    let side = &mut scene.pair.sides[1];
    side.attach(address(0), 1 << 16);
    side.publish(1, 20);
    scene.pair.until("others", PATIENCE, |pair| pair.sides[1].tally.delivered() == 1);
}

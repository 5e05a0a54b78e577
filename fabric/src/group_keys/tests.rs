//! Nodes in memory that seal and open as workers would: who opens what of whom, and when.

use std::collections::VecDeque;

use wireloom_seal::Mode;
use wireloom_wire::{PacketFlags, PacketHeader, SessionId, decode_sealed};

use super::*;

const MS: u64 = 1_000_000;

/// A node, with what its workers have.
struct Node {
    keys: GroupKeys,
    sealing: Vec<SealingKey>,
    opening: BTreeMap<(NodeId, KeySetId), Vec<OpeningKey>>,
}

/// Everybody, and the notes between them.
struct Table {
    nodes: BTreeMap<NodeId, Node>,
    way: VecDeque<(NodeId, Tell)>,
    /// Notes that were not lost, so far.
    notes: usize,
    now_ns: u64,
}

fn random(seed: u64) -> Random {
    let mut count = seed << 32;
    Box::new(move || {
        count += 1;
        let mut bytes = [0; SECRET_BYTES];
        bytes[..8].copy_from_slice(&count.to_le_bytes());
        Some(Bytes(bytes))
    })
}

const fn node(number: u64) -> NodeId {
    NodeId(number)
}

impl Table {
    fn new(numbers: std::ops::Range<u64>) -> Self {
        let (nodes, way) = (BTreeMap::new(), VecDeque::new());
        let mut table = Self { nodes, way, notes: 0, now_ns: 1_000_000 * MS };
        for number in numbers.clone() {
            table.add(number, 1 << 50);
        }
        for one in numbers.clone() {
            (numbers.start..one).for_each(|other| table.meet(one, other));
        }
        table.run(2_000);
        table
    }

    fn add(&mut self, number: u64, incarnation: u64) {
        let keys = GroupKeys::new(Cipher::Aes256Gcm, incarnation, random(incarnation + number));
        let node = Node { keys, sealing: Vec::new(), opening: BTreeMap::new() };
        self.nodes.insert(NodeId(number), node);
        self.poll();
    }

    fn apply(&mut self, of: NodeId, actions: Vec<Action>) {
        let Some(node) = self.nodes.get_mut(&of) else { return };
        for action in actions {
            match action {
                Action::Tell(tell) => self.way.push_back((of, tell)),
                Action::SealGroups(keys) => node.sealing = keys,
                Action::Open(opening) => {
                    let owners = vec![Owner::default(); opening.slots()];
                    let keys = opening.keys(0, &owners);
                    assert!(keys.words.is_none() && keys.slots.len() == opening.slots());
                    node.opening.insert((keys.peer, keys.set), keys.slots.into_vec());
                    let of_peer = node.opening.keys().filter(|(peer, _)| *peer == opening.peer);
                    assert!(of_peer.count() <= HELD_MAX, "receivers keep four, two are of pairs");
                }
                Action::Forget { peer, set } => {
                    assert!(node.opening.remove(&(peer, set)).is_some(), "it had it");
                }
            }
        }
    }

    fn act(&mut self, number: u64, what: impl FnOnce(&mut GroupKeys, u64) -> Vec<Action>) {
        let now_ns = self.now_ns;
        let Some(node) = self.nodes.get_mut(&NodeId(number)) else { return };
        let actions = what(&mut node.keys, now_ns);
        self.apply(NodeId(number), actions);
    }

    fn meet(&mut self, a: u64, b: u64) {
        self.act(a, |keys, now_ns| keys.on_authenticated(node(b), now_ns));
        self.act(b, |keys, now_ns| keys.on_authenticated(node(a), now_ns));
    }

    fn poll(&mut self) {
        for number in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.act(number.0, |keys, now_ns| keys.poll(now_ns));
        }
    }

    /// Notes that are on their way come, those they are answered by too.
    fn deliver(&mut self) {
        while let Some((from, tell)) = self.way.pop_front() {
            self.notes += 1;
            self.act(tell.to.0, |keys, now_ns| {
                let said = Kind::of(&tell.note).expect("known");
                keys.on_note(from, said, now_ns).unwrap_or_default()
            });
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_ns += MS;
            self.poll();
            self.deliver();
        }
    }

    /// A packet of a node's group.
    fn seal(&mut self, number: u64, group: usize) -> Vec<u8> {
        let source = NodeId(number);
        let header = PacketHeader {
            flags: PacketFlags::SEQUENCED | PacketFlags::MULTICAST,
            lane: 2,
            frame_count: 1,
            length: 0,
            session: SessionId(1),
            source,
            sequence: 0,
            first_event: 0,
        };
        let key = &mut self.nodes.get_mut(&source).expect("there").sealing[group];
        let mut packet = vec![0; 256];
        let length = key.seal((&header, Mode::Full), [&[7; 32][..]], &mut packet, self.now_ns);
        packet.truncate(length.expect("sealed"));
        packet
    }

    fn opens(&mut self, number: u64, packet: &[u8]) -> bool {
        let sealed = decode_sealed(packet).expect("sealed");
        let node = self.nodes.get_mut(&NodeId(number)).expect("there");
        let keys = node.opening.get_mut(&(sealed.header.source, sealed.seal.set));
        let key = keys.and_then(|keys| keys.get_mut(usize::from(sealed.seal.slot)));
        key.is_some_and(|key| key.open(&sealed, &mut [0; 256], self.now_ns).is_ok())
    }

    /// Who opens a packet that is sealed now.
    fn readers(&mut self, of: u64) -> Vec<u64> {
        let packet = self.seal(of, 0);
        let others: Vec<u64> = self.nodes.keys().map(|id| id.0).filter(|id| *id != of).collect();
        others.into_iter().filter(|other| self.opens(*other, &packet)).collect()
    }

    fn set_of(&self, number: u64) -> KeySetId {
        self.nodes[&NodeId(number)].sealing[0].set()
    }
}

#[test]
fn all_who_are_there_open_each_others_packets_and_nobody_twice() {
    let mut table = Table::new(1..5);
    for number in 1..5 {
        let others: Vec<_> = (1..5).filter(|other| *other != number).collect();
        assert_eq!(table.readers(number), others);
        assert!(table.set_of(number).is_of_groups(), "no set of a pair");
        let packet = table.seal(number, 0);
        let reader = others[0];
        assert!(table.opens(reader, &packet) && !table.opens(reader, &packet));
    }
    // Without anything new nothing is told for an hour, and then there are others.
    let (notes, set) = (table.notes, table.set_of(1));
    table.run(1_000);
    assert_eq!(table.notes, notes);
    table.now_ns += LIFE_NS;
    table.run(300);
    assert_ne!(table.set_of(1), set);
    assert_eq!(table.readers(1), [2, 3, 4]);
}

#[test]
fn who_comes_later_cannot_open_what_was_sealed_before() {
    let mut table = Table::new(1..4);
    let before: Vec<_> = (1..4).map(|number| table.seal(number, 0)).collect();
    table.add(4, 1 << 50);
    (1..4).for_each(|other| table.meet(4, other));
    let at_once: Vec<_> = (1..4).map(|number| table.seal(number, 0)).collect();
    table.run(1_500);
    for packet in before.iter().chain(&at_once) {
        assert!(!table.opens(4, packet));
    }
    for number in 1..4 {
        assert!(table.readers(number).contains(&4), "from now on it does");
    }
    assert_eq!(table.readers(4), [1, 2, 3]);
}

#[test]
fn who_has_gone_opens_nothing_more_and_the_others_miss_nothing() {
    let mut table = Table::new(1..5);
    let old = table.set_of(1);
    // The last packets by the old secret are still on their way.
    let on_its_way = table.seal(1, 0);
    for number in 1..4 {
        table.act(number, |keys, now_ns| keys.on_part(node(4), now_ns));
    }
    // It still reads what it is sent, for as long as nobody has acknowledged.
    for ms in 0..1_400 {
        let readers: Vec<_> = table.readers(1).into_iter().filter(|other| *other != 4).collect();
        assert_eq!(readers, [2, 3], "after {ms} ms");
        table.run(1);
        if ms == 1_000 {
            assert!(table.opens(2, &on_its_way), "it was late");
        }
    }
    assert_ne!(table.set_of(1), old);
    assert_eq!(table.readers(1), [2, 3], "not by the one that parted");
    let theirs = table.seal(4, 0);
    assert!((1..4).all(|number| !table.opens(number, &theirs)), "nor is anything of it opened");
    assert!(!table.nodes[&node(2)].opening.contains_key(&(node(1), old)), "forgotten");
    // Used as soon as all have it: this took no quarter of a second.
    let mut table = Table::new(1..4);
    let old = table.set_of(1);
    table.act(1, |keys, now_ns| keys.on_part(node(3), now_ns));
    table.run(2);
    assert_ne!(table.set_of(1), old);
}

#[test]
fn a_secret_that_somebody_knew_who_parts_before_it_is_used_is_never_used() {
    let mut table = Table::new(1..5);
    let old = table.set_of(1);
    table.act(1, |keys, now_ns| keys.on_part(node(4), now_ns));
    let unused = table.nodes[&node(1)].keys.next.as_ref().expect("told").said.set;
    // All are told, and their words are lost.
    while let Some((from, tell)) = table.way.pop_front() {
        let said = Kind::of(&tell.note).expect("known");
        if said.0 == Kind::Keys {
            table.act(tell.to.0, |keys, now_ns| keys.on_note(from, said, now_ns).expect("good"));
            table.way.retain(|(from, _)| *from == node(1));
        }
    }
    assert!(table.nodes[&node(3)].opening.contains_key(&(node(1), unused)));
    table.act(1, |keys, now_ns| keys.on_part(node(3), now_ns));
    for _ in 0..300 {
        assert!([old, unused.next_own()].contains(&table.set_of(1)));
        assert_eq!(table.readers(1).first(), Some(&2));
        table.run(1);
    }
    assert_eq!((table.set_of(1), table.readers(1)), (unused.next_own(), vec![2]));
    assert!(!table.nodes[&node(2)].opening.contains_key(&(node(1), unused)));
}

trait NextOwn {
    fn next_own(self) -> Self;
}

impl NextOwn for KeySetId {
    fn next_own(self) -> Self {
        own_set(self.0.wrapping_add(1))
    }
}

#[test]
fn a_peer_that_does_not_acknowledge_holds_nobody_up_and_is_told_again_by_its_next_line() {
    let mut table = Table::new(1..4);
    let old = table.set_of(1);
    table.act(1, |keys, now_ns| keys.on_part(node(3), now_ns));
    table.way.clear();
    table.now_ns += TOLD_NS - MS;
    table.poll();
    assert_eq!(table.set_of(1), old);
    assert_eq!(table.nodes[&node(1)].keys.deadline_ns(), table.now_ns + MS);
    table.now_ns += MS;
    table.poll();
    assert_ne!(table.set_of(1), old);
    assert!(table.readers(1).is_empty(), "it does not know");
    table.meet(1, 2);
    table.deliver();
    assert_eq!(table.readers(1), [2]);
}

#[test]
fn notes_of_before_and_of_strangers_change_nothing() {
    let mut table = Table::new(1..3);
    let keys_of = |epoch: u64, set: u16| {
        let (cipher, secret) = (Cipher::Aes256Gcm, Bytes([3; SECRET_BYTES]));
        let (set, instead_of) = (KeySetId(set), KeySetId(0));
        Said { epoch, set, cipher, slots: 1, instead_of, secret }.tell(node(1)).note
    };
    let newest = table.nodes[&node(2)].keys.epoch;
    let now_ns = table.now_ns;
    let mut hear = |from: u64, note: &[u8]| {
        let one = &mut table.nodes.get_mut(&node(1)).expect("there").keys;
        one.on_note(node(from), Kind::of(note).expect("known"), now_ns)
    };
    for (epoch, set) in [(newest - 1, 0x8123), (newest, 0x8123), (0, 0x8123)] {
        let refused = hear(2, &keys_of(epoch, set));
        assert!(matches!(refused, Err(NoteError::Old)), "{refused:?}");
    }
    let refused = hear(9, &keys_of(newest + 1, 0x8123));
    assert!(matches!(refused, Err(NoteError::Stranger)), "{refused:?}");
    // A set that could be a pair's, and every other length.
    let good = keys_of(newest + 1, 0x8123);
    let malformed = [
        keys_of(newest + 1, 0x0123),
        good[..good.len() - 1].into(),
        [&good[..], &[0]].concat().into(),
        Kind::Had.note(&[0; 7]),
    ];
    for note in malformed {
        let refused = hear(2, &note);
        assert!(matches!(refused, Err(NoteError::Malformed)), "{refused:?}");
    }
    for (at, byte) in [(13, 0), (13, 3), (14, 0), (14, SLOTS_MAX + 1)] {
        let mut note = good.clone();
        note[at] = byte;
        let refused = hear(2, &note);
        assert!(matches!(refused, Err(NoteError::Malformed)), "{refused:?}");
    }
    assert_eq!(hear(2, &good).map(|actions| actions.len()).ok(), Some(2), "opened, acknowledged");
}

#[test]
fn a_node_that_starts_again_is_opened_by_its_new_secret() {
    let mut table = Table::new(1..3);
    let recorded = table.seal(2, 0);
    assert!(table.opens(1, &recorded));
    table.nodes.remove(&node(2));
    table.add(2, (1 << 50) + 1_000_000_000);
    table.meet(1, 2);
    table.run(1_500);
    assert_eq!((table.readers(1), table.readers(2)), (vec![2], vec![1]));
    assert!(!table.opens(1, &recorded));
}

#[test]
fn a_peer_that_was_forgotten_is_not_opened_by_what_it_sealed_before() {
    let mut table = Table::new(1..3);
    let recorded = table.seal(2, 0);
    assert!(table.opens(1, &recorded));
    // Only one of the two has seen the line end.
    table.act(1, |keys, now_ns| keys.on_part(node(2), now_ns));
    table.meet(1, 2);
    table.deliver();
    assert!(!table.opens(1, &recorded), "no fresh window for what was opened");
    table.run(1_500);
    assert!(!table.opens(1, &recorded));
    assert_eq!(table.readers(2), [1], "it has got another");
}

#[test]
fn each_group_has_a_slot_of_its_own() {
    let mut table = Table::new(1..3);
    table.act(1, |keys, now_ns| keys.set_groups(3, now_ns));
    table.run(10);
    let packets: Vec<_> = (0..3).map(|group| table.seal(1, group)).collect();
    let heads: BTreeSet<_> = packets.iter().map(|packet| (packet[3], packet[40])).collect();
    assert_eq!(heads.len(), 3, "no two count with one key");
    assert!(packets.iter().all(|packet| table.opens(2, packet)));
    table.act(1, |keys, now_ns| keys.set_groups(usize::MAX, now_ns));
    table.run(10);
    assert_eq!(table.nodes[&node(1)].sealing.len(), usize::from(SLOTS_MAX));
}

//! The table's bounds, and what each packet is refused for.

use super::*;
use wireloom_seal::{Cipher, Direction, Mode, Secret};
use wireloom_wire::{Seal, SessionId, decode_sealed};

const WAY: Direction = Direction::FromDialler;

fn secret(byte: u8) -> Secret {
    Secret::new(Cipher::Aes256Gcm, &[byte; 32])
}

fn keys(peer: u64, set: u16, secret_byte: u8) -> Box<PeerKeys> {
    let secret = secret(secret_byte);
    let slots = (0..2).map(|slot| OpeningKey::new(&secret, WAY, slot)).collect();
    Box::new(PeerKeys { peer: NodeId(peer), set: KeySetId(set), slots, words: None })
}

fn header(source: u64, flags: PacketFlags) -> PacketHeader {
    PacketHeader {
        flags,
        lane: 2,
        frame_count: 0,
        length: 48,
        session: SessionId(1),
        source: NodeId(source),
        sequence: 0,
        first_event: 0,
    }
}

struct Peer(SealingKey);

impl Peer {
    fn new(set: u16, secret_byte: u8) -> Self {
        Self(SealingKey::new(&secret(secret_byte), WAY, KeySetId(set), 1))
    }

    fn seal(&mut self, header: &PacketHeader, mode: Mode) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        assert_eq!(self.0.seal((header, mode), [], &mut bytes, 1), Ok(64));
        bytes
    }
}

fn open(ring: &mut Keyring, bytes: &[u8]) -> Result<(), Counter> {
    let packet = decode_sealed(bytes).expect("it looks like one");
    ring.open(&packet, &mut [0; 64], 1).map(|(packet, _)| assert!(packet.body.is_empty()))
}

#[test]
fn keys_open_what_their_peer_seals_in_its_own_name_and_nothing_else() {
    let (mut ring, mut peer) = (Keyring::new(), Peer::new(9, 1));
    let stream = header(5, PacketFlags::SEQUENCED);
    let first = peer.seal(&stream, Mode::Full);
    assert_eq!(open(&mut ring, &first), Err(Counter::SealedWithoutKeys));
    assert!(ring.add(keys(6, 9, 2)).is_none());
    assert_eq!(open(&mut ring, &first), Err(Counter::SealedUnknownKeys));
    assert!(ring.add(keys(5, 9, 1)).is_none(), "another pair uses the same number");
    assert_eq!(open(&mut ring, &first), Ok(()));
    assert_eq!(open(&mut ring, &first), Err(Counter::SealedReplayed));
    let another = peer.seal(&header(6, PacketFlags::SEQUENCED), Mode::Full);
    assert_eq!(open(&mut ring, &another), Err(Counter::SealedForged), "in the name of another");
    let mut forged = peer.seal(&stream, Mode::Full);
    forged[60] ^= 1;
    assert_eq!(open(&mut ring, &forged), Err(Counter::SealedForged));
    let seal = Seal { set: KeySetId(9), slot: 2, counter: 0 };
    forged[..48].copy_from_slice(&PacketHeader { length: 64, ..stream }.encode_sealed(&seal));
    assert_eq!(open(&mut ring, &forged), Err(Counter::SealedUnknownKeys), "a slot too many");
    for _ in 0..65 {
        peer.0.end_phase();
        peer.seal(&stream, Mode::Full);
    }
    let far = peer.seal(&stream, Mode::Full);
    assert_eq!(open(&mut ring, &far), Err(Counter::SealedWrongPhase));
}

#[test]
fn a_word_names_this_node_and_is_found_by_its_set() {
    let (mut ring, mut peer) = (Keyring::new(), Peer::new(9, 1));
    for (other, byte) in [(6, 2), (5, 1), (7, 3)] {
        assert!(ring.add(keys(other, 9, byte)).is_none());
    }
    let word = peer.seal(&header(1, PacketFlags::STATUS), Mode::Full);
    let packet = decode_sealed(&word).expect("a word");
    let (_, by) = ring.open(&packet, &mut [], 1).expect("it opens");
    assert!(ring.words(by).is_none(), "it has no key for words");
    assert!(ring.open(&packet, &mut [], 1).is_err());
}

#[test]
fn lanes_ask_for_seals_and_control_planes_are_left_alone() {
    let (mut ring, mut peer) = (Keyring::new(), Peer::new(9, 1));
    assert!(ring.add(keys(5, 9, 1)).is_none());
    let stream = header(5, PacketFlags::SEQUENCED);
    let clear = stream.encode(None);
    let word = header(5, PacketFlags::STATUS).encode(None);
    let control = header(5, PacketFlags::empty()).encode(None);
    assert!(!ring.refuses_clear(&clear));
    let mut demands = [Demand::Nothing; LANES];
    for (demand, weak) in [(Demand::Integrity, Ok(())), (Demand::Full, Err(Counter::SealedTooWeak))]
    {
        demands[2] = demand;
        ring.demand(demands);
        assert!(ring.refuses_clear(&clear) && ring.refuses_clear(&word));
        assert!(!ring.refuses_clear(&control) && !ring.refuses_clear(&clear[..47]));
        assert!(!ring.refuses_clear(&PacketHeader { lane: 1, ..stream }.encode(None)));
        assert!(!ring.refuses_clear(&PacketHeader { lane: 9, ..stream }.encode(None)));
        assert_eq!(open(&mut ring, &peer.seal(&stream, Mode::Integrity)), weak);
        assert_eq!(open(&mut ring, &peer.seal(&stream, Mode::Full)), Ok(()));
    }
    ring.demand([Demand::Nothing; LANES]);
    assert!(!ring.refuses_clear(&clear));
}

#[test]
fn a_peer_has_four_sets_and_the_oldest_makes_room() {
    let mut ring = Keyring::new();
    for set in 1..=4 {
        assert!(ring.add(keys(5, set, 1)).is_none());
    }
    let same = ring.add(keys(5, 2, 1)).expect("the same set anew");
    assert_eq!(same.set, KeySetId(2));
    for (set, oldest) in [(6, 1), (7, 3), (8, 4), (9, 2)] {
        assert_eq!(ring.add(keys(5, set, 1)).map(|gone| gone.set), Some(KeySetId(oldest)));
    }
    let stream = header(5, PacketFlags::SEQUENCED);
    assert!(open(&mut ring, &Peer::new(2, 1).seal(&stream, Mode::Full)).is_err());
    assert_eq!(open(&mut ring, &Peer::new(6, 1).seal(&stream, Mode::Full)), Ok(()));
    let forgotten: Vec<_> = std::iter::from_fn(|| ring.forget(NodeId(5))).collect();
    assert_eq!(forgotten.len(), 4);
    let late = Peer::new(7, 1).seal(&stream, Mode::Full);
    assert_eq!(open(&mut ring, &late), Err(Counter::SealedWithoutKeys));
    assert!(ring.add(keys(5, 7, 1)).is_none(), "it can come again");
}

#[test]
fn a_chain_of_one_number_loses_none_when_one_leaves() {
    for gone in 0..5_u8 {
        let mut ring = Keyring::new();
        for peer in 0..5 {
            assert!(ring.add(keys(peer.into(), 9, peer)).is_none());
        }
        assert!(ring.forget(NodeId(gone.into())).is_some());
        for peer in 0..5 {
            let stream = header(peer.into(), PacketFlags::SEQUENCED);
            let opened = open(&mut ring, &Peer::new(9, peer).seal(&stream, Mode::Full));
            assert_eq!(opened.is_ok(), peer != gone, "peer {peer} without {gone}");
        }
    }
}

#[test]
fn a_full_ring_takes_no_stranger_and_grows_for_nobody() {
    let mut ring = Keyring::new();
    let empty = |peer, set| {
        let slots = Box::default();
        Box::new(PeerKeys { peer: NodeId(peer), set: KeySetId(set), slots, words: None })
    };
    let capacity = ring.entries.capacity();
    for peer in 0..PEERS_MAX as u64 {
        for set in 1..=4 {
            assert!(ring.add(empty(peer, set)).is_none());
            // Those of its groups have as many places of their own.
            assert!(ring.add(empty(peer, set | KeySetId::OF_GROUPS)).is_none());
        }
    }
    let refused = ring.add(empty(1 << 40, 1)).expect("it comes back");
    assert_eq!(refused.peer, NodeId(1 << 40));
    assert_eq!(ring.add(empty(7, 5)).map(|gone| (gone.peer, gone.set.0)), Some((NodeId(7), 1)));
    let of_group = ring.add(empty(7, 5 | KeySetId::OF_GROUPS)).map(|gone| gone.set);
    assert_eq!(of_group, Some(KeySetId(1 | KeySetId::OF_GROUPS)), "neither displaces the other");
    assert!(ring.forget_set(NodeId(7), KeySetId(2)).is_some_and(|gone| gone.set.0 == 2));
    assert!(ring.forget_set(NodeId(7), KeySetId(2)).is_none(), "once");
    assert!(ring.add(empty(7, 2)).is_none(), "there is room again");
    assert_eq!((ring.entries.capacity(), ring.entries.len()), (capacity, ENTRIES_MAX));
}

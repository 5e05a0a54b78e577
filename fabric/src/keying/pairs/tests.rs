//! Two nodes and the notes between them, in memory.

use super::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const SET: KeySetId = KeySetId(7);
const AES: Offer = Offer { receivers: 2, has_aes: true };

fn address(node: NodeId) -> SocketAddr {
    ([10, 0, 0, u8::try_from(node.0).expect("small")], 9).into()
}

fn secret(byte: u8) -> Zeroizing<[u8; SECRET_BYTES]> {
    Zeroizing::new([byte; SECRET_BYTES])
}

/// One side, and what it was told to do.
struct Side {
    pairs: Pairs,
    opened: Vec<(KeySetId, Cipher, Direction, u8)>,
    sealed: Vec<(KeySetId, Cipher, Direction, SocketAddr)>,
    forgot: usize,
}

impl Side {
    fn new(own: Offer) -> Self {
        let pairs = Pairs::new(own);
        Self { pairs, opened: Vec::new(), sealed: Vec::new(), forgot: 0 }
    }

    /// Does everything and gives the notes.
    fn run(&mut self, actions: Vec<Action>) -> Vec<Vec<u8>> {
        let mut notes = Vec::new();
        for action in actions {
            match action {
                Action::Tell { note, .. } => notes.push(note),
                Action::Open { peer, set, secret, seals, slots } => {
                    self.opened.push((set, secret.cipher(), seals, slots));
                    let more = self.pairs.opens(peer, set);
                    notes.extend(self.run(more));
                }
                Action::Seal { address, set, secret, seals, .. } => {
                    self.sealed.push((set, secret.cipher(), seals, address));
                }
                Action::Forget { .. } => self.forgot += 1,
            }
        }
        notes
    }

    fn line(&mut self, to: NodeId, is_dialler: bool) -> Vec<Vec<u8>> {
        let whom = (to, address(to));
        let actions = self.pairs.on_line(whom, (SET, secret(3)), is_dialler);
        self.run(actions)
    }

    fn hear(&mut self, from: NodeId, notes: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let heard = notes.into_iter().flat_map(|note| {
            let actions = self.pairs.on_note(from, &note).expect("well formed");
            self.run(actions)
        });
        heard.collect()
    }
}

/// Lets both speak until nobody has anything to say.
fn settle(a: &mut Side, b: &mut Side, mut to_a: Vec<Vec<u8>>, mut to_b: Vec<Vec<u8>>) {
    for _ in 0..10 {
        let (from_b, from_a) = (b.hear(A, to_b), a.hear(B, to_a));
        (to_a, to_b) = (from_b, from_a);
    }
    assert!(to_a.is_empty() && to_b.is_empty(), "they come to an end");
}

#[test]
fn both_open_before_either_seals_and_each_seals_once() {
    let (mut a, mut b) = (Side::new(AES), Side::new(Offer { receivers: 5, ..AES }));
    let to_b = a.line(B, true);
    // What is said before the other's line is known to it is kept.
    let early = b.hear(A, to_b);
    assert!(early.is_empty() && b.opened.is_empty());
    let to_a = b.line(A, false);
    assert_eq!(b.opened, [(SET, Cipher::Aes256Gcm, Direction::FromAcceptor, 4)]);
    assert!(b.sealed.is_empty(), "the other does not open yet");
    settle(&mut a, &mut b, to_a, Vec::new());
    assert_eq!(a.opened, [(SET, Cipher::Aes256Gcm, Direction::FromDialler, 7)]);
    assert_eq!(a.sealed, [(SET, Cipher::Aes256Gcm, Direction::FromDialler, address(B))]);
    assert_eq!(b.sealed, [(SET, Cipher::Aes256Gcm, Direction::FromAcceptor, address(A))]);
    // Said again, nothing comes of it: keys that are made twice count twice from 0.
    let again = [vec![KEYS_NOTE, OPEN, 7, 0], vec![KEYS_NOTE, OFFER, 7, 0, 2, 0]];
    assert!(b.hear(A, again.to_vec()).is_empty());
    let line = a.line(B, true);
    assert!(line.is_empty() && b.sealed.len() == 1 && b.opened.len() == 1 && a.sealed.len() == 1);
}

#[test]
fn aes_is_for_those_who_both_have_it() {
    let slow = Offer { has_aes: false, ..AES };
    for (own, theirs, expected) in [
        (AES, AES, Cipher::Aes256Gcm),
        (AES, slow, Cipher::ChaCha20Poly1305),
        (slow, AES, Cipher::ChaCha20Poly1305),
        (slow, slow, Cipher::ChaCha20Poly1305),
    ] {
        let (mut a, mut b) = (Side::new(own), Side::new(theirs));
        let (to_b, to_a) = (a.line(B, true), b.line(A, false));
        settle(&mut a, &mut b, to_a, to_b);
        assert_eq!((a.opened[0].1, a.sealed[0].1), (expected, expected));
        assert_eq!((b.opened[0].1, b.sealed[0].1), (expected, expected));
    }
}

#[test]
fn a_peer_without_lines_is_forgotten_and_what_was_under_way_comes_to_nothing() {
    let mut a = Side::new(AES);
    let _ = a.line(B, true);
    let actions = a.pairs.on_note(B, &[KEYS_NOTE, OFFER, 7, 0, 1, 1]).expect("well formed");
    assert!(matches!(actions[..], [Action::Open { .. }]));
    let end = a.pairs.on_end(B).into_iter().collect();
    assert!(a.run(end).is_empty() && a.forgot == 1);
    assert!(a.pairs.on_end(B).is_none());
    assert!(a.pairs.opens(B, SET).is_empty(), "too late");
    assert!(a.pairs.peers.is_empty());
}

#[test]
fn notes_are_read_exactly_and_a_peer_can_begin_few_sets() {
    let mut a = Side::new(AES);
    for bad in [
        &[][..],
        &[KEYS_NOTE],
        &[KEYS_NOTE, OFFER, 7],
        &[KEYS_NOTE, OFFER, 7, 0, 1],
        &[KEYS_NOTE, OFFER, 7, 0, 1, 1, 1],
        &[KEYS_NOTE, OPEN, 7, 0, 0],
        &[KEYS_NOTE, 9, 7, 0],
        &[9, OPEN, 7, 0],
    ] {
        assert!(a.pairs.on_note(B, bad).is_none(), "{bad:?}");
    }
    for set in 0..200 {
        assert!(a.pairs.on_note(B, &[KEYS_NOTE, OPEN, set, 0]).is_some());
    }
    assert_eq!(a.pairs.peers[&B].len(), SETS_MAX);
}

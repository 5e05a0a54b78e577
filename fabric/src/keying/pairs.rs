//! What becomes of the secrets of authenticated lines: keys, agreed on by two notes.
//!
//! Sans-IO. Each line brings both nodes one secret. An *offer* says how many receivers seal words
//! here and which ciphers this processor is fast at; with both offers both know the same cipher and
//! how many keys to open by. A node that can open says so, and only then does the other seal: no
//! packet arrives before its key.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use wireloom_dataplane::keyring::{FIRST_RECEIVER_SLOT, SETS_PER_PEER_MAX};
use wireloom_seal::{Cipher, Direction, SECRET_BYTES, Secret};
use wireloom_wire::{KeySetId, NodeId};
use zeroize::Zeroizing;

/// The kind of these notes among those of links.
pub(super) const KEYS_NOTE: u8 = 3;
const OFFER: u8 = 1;
const OPEN: u8 = 2;

/// Sets of a peer that are being agreed on at a time; more are the peer's fault, and the oldest
/// gives way. A receiver keeps as many.
const SETS_MAX: usize = SETS_PER_PEER_MAX;

/// What one node says to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    /// So many receivers seal words.
    pub(super) receivers: u8,
    /// AES is in this processor.
    pub(super) has_aes: bool,
}

/// What is to be done, in order.
#[derive(Debug)]
pub(super) enum Action {
    /// Tells a peer.
    Tell { to: NodeId, note: Vec<u8> },
    /// Receivers open by these from now on; [`Pairs::opens`] is to be called when they do.
    Open { peer: NodeId, set: KeySetId, secret: Secret, seals: Direction, slots: u8 },
    /// Senders seal by these what goes to an address.
    Seal { peer: NodeId, address: SocketAddr, set: KeySetId, secret: Secret, seals: Direction },
    /// Nothing of this peer is opened, and nothing sealed for it, any more.
    Forget { peer: NodeId },
}

/// One secret on its way to keys.
#[derive(Debug)]
struct Pair {
    set: KeySetId,
    /// What its line said, once it has.
    line: Option<LineSecret>,
    theirs: Option<Offer>,
    /// This node opens by it, the peer does.
    opens: bool,
    is_opened: bool,
    seals: bool,
}

#[derive(Debug)]
struct LineSecret {
    address: SocketAddr,
    bytes: Zeroizing<[u8; SECRET_BYTES]>,
    /// How this node seals.
    seals: Direction,
}

impl Pair {
    const fn new(set: KeySetId) -> Self {
        Self { set, line: None, theirs: None, opens: false, is_opened: false, seals: false }
    }
}

/// The secrets this node shares with its peers.
#[derive(Debug)]
pub(super) struct Pairs {
    own: Offer,
    /// The oldest first.
    peers: BTreeMap<NodeId, VecDeque<Pair>>,
}

impl Pairs {
    pub(super) const fn new(own: Offer) -> Self {
        Self { own, peers: BTreeMap::new() }
    }

    fn pair(&mut self, peer: NodeId, set: KeySetId) -> &mut Pair {
        let pairs = self.peers.entry(peer).or_default();
        let at = match pairs.iter().position(|pair| pair.set == set) {
            Some(at) => at,
            None => {
                if pairs.len() == SETS_MAX {
                    pairs.pop_front();
                }
                pairs.push_back(Pair::new(set));
                pairs.len() - 1
            }
        };
        &mut pairs[at]
    }

    /// A line has been authenticated, with a secret of its own.
    pub(super) fn on_line(
        &mut self,
        (peer, address): (NodeId, SocketAddr),
        (set, bytes): (KeySetId, Zeroizing<[u8; SECRET_BYTES]>),
        is_dialler: bool,
    ) -> Vec<Action> {
        let own = self.own;
        let seals = if is_dialler { Direction::FromDialler } else { Direction::FromAcceptor };
        let pair = self.pair(peer, set);
        if pair.line.is_some() {
            return Vec::new();
        }
        pair.line = Some(LineSecret { address, bytes, seals });
        let [low, high] = set.0.to_le_bytes();
        let note = vec![KEYS_NOTE, OFFER, low, high, own.receivers, u8::from(own.has_aes)];
        let mut actions = vec![Action::Tell { to: peer, note }];
        actions.extend(self.agree(peer, set));
        actions
    }

    /// The last line of a peer has ended.
    pub(super) fn on_end(&mut self, peer: NodeId) -> Option<Action> {
        self.peers.remove(&peer).map(|_| Action::Forget { peer })
    }

    /// A peer says something; `None` when it cannot be read.
    pub(super) fn on_note(&mut self, peer: NodeId, note: &[u8]) -> Option<Vec<Action>> {
        let (kind, set) = match note {
            [KEYS_NOTE, kind, low, high, ..] => (*kind, u16::from_le_bytes([*low, *high])),
            _ => return None,
        };
        let (set, rest) = (KeySetId(set), &note[4..]);
        match (kind, rest) {
            (OFFER, [receivers, aes]) => {
                let offer = Offer { receivers: *receivers, has_aes: *aes != 0 };
                self.pair(peer, set).theirs.get_or_insert(offer);
                Some(self.agree(peer, set).into_iter().collect())
            }
            (OPEN, []) => {
                self.pair(peer, set).is_opened = true;
                Some(self.seal(peer, set).into_iter().collect())
            }
            _ => None,
        }
    }

    /// Both offers are there: there are keys to open by.
    fn agree(&mut self, peer: NodeId, set: KeySetId) -> Option<Action> {
        let cipher = self.cipher(peer, set)?;
        let pair = self.pair(peer, set);
        let (line, theirs) = (pair.line.as_ref()?, pair.theirs?);
        if std::mem::replace(&mut pair.opens, true) {
            return None;
        }
        let secret = Secret::new(cipher, &line.bytes);
        let slots = FIRST_RECEIVER_SLOT.saturating_add(theirs.receivers);
        Some(Action::Open { peer, set, secret, seals: line.seals, slots })
    }

    /// AES where both are fast at it.
    fn cipher(&mut self, peer: NodeId, set: KeySetId) -> Option<Cipher> {
        let own = self.own;
        let theirs = self.pair(peer, set).theirs?;
        let aes = own.has_aes && theirs.has_aes;
        Some(if aes { Cipher::Aes256Gcm } else { Cipher::ChaCha20Poly1305 })
    }

    /// This node's receivers open by a set now.
    pub(super) fn opens(&mut self, peer: NodeId, set: KeySetId) -> Vec<Action> {
        // Its line may have ended in between.
        let known = self.peers.get(&peer).is_some_and(|of| of.iter().any(|pair| pair.set == set));
        if !known {
            return Vec::new();
        }
        let [low, high] = set.0.to_le_bytes();
        let tell = Action::Tell { to: peer, note: vec![KEYS_NOTE, OPEN, low, high] };
        [tell].into_iter().chain(self.seal(peer, set)).collect()
    }

    /// Both open: this node seals, once.
    fn seal(&mut self, peer: NodeId, set: KeySetId) -> Option<Action> {
        let cipher = self.cipher(peer, set)?;
        let pair = self.pair(peer, set);
        let line = pair.line.as_ref()?;
        if !pair.is_opened || !pair.opens || std::mem::replace(&mut pair.seals, true) {
            return None;
        }
        let secret = Secret::new(cipher, &line.bytes);
        Some(Action::Seal { peer, address: line.address, set, secret, seals: line.seals })
    }
}

#[cfg(test)]
#[path = "pairs/tests.rs"]
mod tests;

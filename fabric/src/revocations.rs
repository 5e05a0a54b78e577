//! Lists of revocations travel: who has a newer one than its peer gives it to it.
//!
//! Sans-IO: knows neither links nor clocks. A list is believed for its signature, whoever brings
//! it; so that what is said of epochs needs no proof. A node that hears of a newer list asks one
//! peer at a time, by saying its own epoch, and after a while the next that claims to have it.
//!
//! A node has a list of each authority that it trusts. How far its lists have come is one number,
//! the sum of their epochs, and a digest tells lists apart that have come equally far.
//!
//! ```text
//!  has 7                                   has 5
//!    ── epoch 7 ──▶                                     when a line is authenticated, and when
//!                          ◀── epoch 5 ──               the list in effect has changed
//!    ── list 7  ──▶  offered, in effect, told on ──▶
//! ```

use std::collections::BTreeMap;

use wireloom_identity::{Credentials, IdentityError, LIST_BYTES_MAX};
use wireloom_wire::{NOTE_BYTES_MAX, NodeId, body_hash};

use crate::note::{Kind, NoteError, Tell};

const _: () = assert!(LIST_BYTES_MAX < NOTE_BYTES_MAX);

/// How long a peer that was asked has time, before another is.
const PATIENCE_NS: u64 = 250_000_000;

/// A peer is given the same list again after this, if it asks.
const AGAIN_NS: u64 = 1_000_000_000;

/// A peer with an authenticated line.
#[derive(Debug, Default)]
struct Peer {
    /// Of its list, as it says.
    epoch: u64,
    asked_ns: u64,
    /// Which list it was given, and when.
    given: Option<(u64, u64)>,
}

/// What is known of the peers' lists.
#[derive(Debug)]
pub(crate) struct Revocations {
    credentials: Credentials,
    /// The credentials' epoch when they were last looked at.
    looked: u64,
    /// Of the lists in effect.
    state: State,
    peers: BTreeMap<NodeId, Peer>,
    /// Who was asked for its list, and until when it has time.
    asked: Option<(NodeId, u64)>,
    /// Why a list that came is not in its file.
    unsaved: Option<IdentityError>,
}

impl Revocations {
    /// Nobody is known.
    pub(crate) fn new(credentials: Credentials) -> Self {
        let (looked, state) = (credentials.epoch(), State::of(&credentials));
        Self { credentials, looked, state, peers: BTreeMap::new(), asked: None, unsaved: None }
    }

    /// There is a line to a peer, the first or another: what is to be told.
    pub(crate) fn on_authenticated(&mut self, peer: NodeId) -> Vec<Tell> {
        self.peers.insert(peer, Peer::default());
        vec![self.says_epoch(peer)]
    }

    /// The last line to a peer has ended.
    pub(crate) fn on_part(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
        self.asked.take_if(|(asked, _)| *asked == peer);
    }

    /// A peer has said this, [`Kind::Epoch`] or [`Kind::List`]: what is to be told.
    ///
    /// # Errors
    /// Why it changes nothing; a list that is not newer is none.
    pub(crate) fn on_note(
        &mut self,
        peer: NodeId,
        (kind, said): (Kind, &[u8]),
        now_ns: u64,
    ) -> Result<Vec<Tell>, NoteError> {
        match kind {
            Kind::Epoch => {
                let said = State::read(said).ok_or(NoteError::Malformed)?;
                Ok(self.hear_state(peer, said, now_ns))
            }
            Kind::List => self.hear_list(peer, said, now_ns),
            _ => Err(NoteError::Malformed),
        }
    }

    /// Now and then: whether the list in effect has changed, and who is to be asked next. One load
    /// where there is nothing to do.
    pub(crate) fn poll(&mut self, now_ns: u64) -> Vec<Tell> {
        let mut tells = self.look(None);
        tells.extend(self.ask(now_ns));
        tells
    }

    /// Why a list that came, and is in effect, is not in its file, once.
    pub(crate) const fn unsaved(&mut self) -> Option<IdentityError> {
        self.unsaved.take()
    }

    fn hear_state(&mut self, peer: NodeId, said: State, now_ns: u64) -> Vec<Tell> {
        let (own, Some(known)) = (self.state, self.peers.get_mut(&peer)) else { return Vec::new() };
        known.epoch = said.epoch;
        // Of lists that differ and have come equally far, each has what the other has not.
        if said.epoch > own.epoch || said == own {
            return self.ask(now_ns).into_iter().collect();
        }
        let again = |(given, at_ns)| given < own.epoch || now_ns.saturating_sub(at_ns) >= AGAIN_NS;
        if !known.given.is_none_or(again) {
            return Vec::new();
        }
        known.given = Some((own.epoch, now_ns));
        let lists = self.credentials.revocations().into_iter();
        lists.map(|list| Tell { to: peer, note: Kind::List.note(list.as_bytes()) }).collect()
    }

    fn hear_list(
        &mut self,
        peer: NodeId,
        list: &[u8],
        now_ns: u64,
    ) -> Result<Vec<Tell>, NoteError> {
        self.asked.take_if(|(asked, _)| *asked == peer);
        match self.credentials.offer_revocations(list) {
            Ok(swapped) => {
                self.unsaved = swapped.not_saved.or_else(|| self.unsaved.take());
                let mut tells = self.look(Some(peer));
                tells.extend(self.ask(now_ns));
                Ok(tells)
            }
            Err(IdentityError::ListNotNewer { .. }) => Ok(Vec::new()),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Tells the peers of a list that has come into effect, but for the one it came from, unless
    /// that one is behind now: it had one list that is newer, and not another.
    fn look(&mut self, from: Option<NodeId>) -> Vec<Tell> {
        let looked = self.credentials.epoch();
        if std::mem::replace(&mut self.looked, looked) == looked {
            return Vec::new();
        }
        let state = State::of(&self.credentials);
        if std::mem::replace(&mut self.state, state) == state {
            return Vec::new();
        }
        let is_told =
            |(peer, known): &(&NodeId, &Peer)| Some(**peer) != from || known.epoch < state.epoch;
        let others = self.peers.iter().filter(is_told);
        others.map(|(peer, _)| self.says_epoch(*peer)).collect()
    }

    /// Asks the peer that has waited longest, of those that claim a newer list.
    fn ask(&mut self, now_ns: u64) -> Option<Tell> {
        if self.asked.is_some_and(|(_, until_ns)| now_ns < until_ns) {
            return None;
        }
        let ahead = self.peers.iter_mut().filter(|(_, peer)| peer.epoch > self.state.epoch);
        let (to, peer) = ahead.min_by_key(|(_, peer)| peer.asked_ns)?;
        peer.asked_ns = now_ns;
        let to = *to;
        self.asked = Some((to, now_ns.saturating_add(PATIENCE_NS)));
        Some(self.says_epoch(to))
    }

    fn says_epoch(&self, to: NodeId) -> Tell {
        Tell { to, note: Kind::Epoch.note(&self.state.bytes()) }
    }
}

/// How far a node's lists have come, and which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// The sum of the epochs, one list for each authority: it grows with each of them.
    epoch: u64,
    /// The same for the same lists, in whatever order a node trusts their authorities. Nothing is
    /// believed for it: lists have their signatures.
    digest: u64,
}

impl State {
    fn of(credentials: &Credentials) -> Self {
        credentials.revocations().iter().fold(Self::default(), |sum, list| Self {
            epoch: sum.epoch.saturating_add(list.epoch()),
            digest: sum.digest.wrapping_add(body_hash(list.as_bytes())),
        })
    }

    fn bytes(self) -> [u8; 16] {
        (u128::from(self.digest) << 64 | u128::from(self.epoch)).to_le_bytes()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (epoch, digest) = bytes.split_first_chunk()?;
        let digest = digest.try_into().ok()?;
        Some(Self { epoch: u64::from_le_bytes(*epoch), digest: u64::from_le_bytes(digest) })
    }
}

#[cfg(test)]
#[path = "revocations/tests.rs"]
mod tests;

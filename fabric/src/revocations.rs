//! Lists of revocations travel: who has a newer one than its peer gives it to it.
//!
//! Sans-IO: knows neither links nor clocks. A list is believed for its signature, whoever brings
//! it; so that what is said of epochs needs no proof. A node that hears of a newer list asks one
//! peer at a time, by saying its own epoch, and after a while the next that claims to have it.
//!
//! ```text
//!  has 7                                   has 5
//!    ── epoch 7 ──▶                                     when a line is authenticated, and when
//!                          ◀── epoch 5 ──               the list in effect has changed
//!    ── list 7  ──▶  offered, in effect, told on ──▶
//! ```

use std::collections::BTreeMap;

use wireloom_identity::{Credentials, IdentityError, LIST_BYTES_MAX};
use wireloom_wire::{NOTE_BYTES_MAX, NodeId};

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
    /// Of the lists in effect; 0 without one.
    epoch: u64,
    peers: BTreeMap<NodeId, Peer>,
    /// Who was asked for its list, and until when it has time.
    asked: Option<(NodeId, u64)>,
    /// Why a list that came is not in its file.
    unsaved: Option<IdentityError>,
}

impl Revocations {
    /// Nobody is known.
    pub(crate) fn new(credentials: Credentials) -> Self {
        let (looked, epoch) = (credentials.epoch(), epoch_of(&credentials));
        Self { credentials, looked, epoch, peers: BTreeMap::new(), asked: None, unsaved: None }
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
                let epoch = said.try_into().map_err(|_| NoteError::Malformed)?;
                Ok(self.hear_epoch(peer, u64::from_le_bytes(epoch), now_ns))
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

    fn hear_epoch(&mut self, peer: NodeId, epoch: u64, now_ns: u64) -> Vec<Tell> {
        let Some(known) = self.peers.get_mut(&peer) else { return Vec::new() };
        known.epoch = epoch;
        if epoch >= self.epoch {
            return self.ask(now_ns).into_iter().collect();
        }
        let again = |(given, at_ns)| given < self.epoch || now_ns.saturating_sub(at_ns) >= AGAIN_NS;
        if !known.given.is_none_or(again) {
            return Vec::new();
        }
        known.given = Some((self.epoch, now_ns));
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

    /// Tells the peers of a list that has come into effect, but for the one it came from.
    fn look(&mut self, from: Option<NodeId>) -> Vec<Tell> {
        let looked = self.credentials.epoch();
        if std::mem::replace(&mut self.looked, looked) == looked {
            return Vec::new();
        }
        let epoch = epoch_of(&self.credentials);
        if std::mem::replace(&mut self.epoch, epoch) == epoch {
            return Vec::new();
        }
        let others = self.peers.keys().filter(|peer| Some(**peer) != from);
        others.map(|peer| self.says_epoch(*peer)).collect()
    }

    /// Asks the peer that has waited longest, of those that claim a newer list.
    fn ask(&mut self, now_ns: u64) -> Option<Tell> {
        if self.asked.is_some_and(|(_, until_ns)| now_ns < until_ns) {
            return None;
        }
        let ahead = self.peers.iter_mut().filter(|(_, peer)| peer.epoch > self.epoch);
        let (to, peer) = ahead.min_by_key(|(_, peer)| peer.asked_ns)?;
        peer.asked_ns = now_ns;
        let to = *to;
        self.asked = Some((to, now_ns.saturating_add(PATIENCE_NS)));
        Some(self.says_epoch(to))
    }

    fn says_epoch(&self, to: NodeId) -> Tell {
        Tell { to, note: Kind::Epoch.note(&self.epoch.to_le_bytes()) }
    }
}

/// How far a node's lists have come: the sum of their epochs, one list for each authority. It grows
/// with each of them, and while one authority takes the other's place two nodes may have the same
/// sum of unlike lists, until either has another.
fn epoch_of(credentials: &Credentials) -> u64 {
    credentials.revocations().iter().fold(0, |sum, list| sum.saturating_add(list.epoch()))
}

#[cfg(test)]
#[path = "revocations/tests.rs"]
mod tests;

//! Keys of groups: what a node seals its multicast packets by, and by what it opens the others'.
//!
//! Sans-IO: knows neither links, workers nor clocks, and gives [`Action`]s to whoever has them. A
//! node has one secret for all its groups and a slot of it for each, so that no two count with one
//! key. It is told to every authenticated peer, and exchanged when one comes, parts or is revoked:
//! who comes later cannot open what was sealed before, who has gone not what is sealed after.
//!
//! ```text
//!  due ──▶ told to all who are there ──▶ acknowledged by all, or 250 ms ──▶ sealed by
//!  they:   open by both ───────────────────────────────── 1.25 s ──▶ the older one is forgotten
//! ```

use std::collections::{BTreeMap, BTreeSet};

use wireloom_control::Secret as Bytes;
use wireloom_dataplane::keyring::PeerKeys;
use wireloom_seal::{Cipher, Direction, OpeningKey, Owner, SECRET_BYTES, SealingKey, Secret};
use wireloom_wire::{KeySetId, NodeId};

use crate::note::{Kind, NoteError, Tell};

/// Groups of a node that are sealed, at most. A receiver has 4 KiB for each of each peer.
pub(crate) const SLOTS_MAX: u8 = 8;

/// How long a secret waits for peers that do not acknowledge it.
const TOLD_NS: u64 = 250_000_000;

/// How long receivers open by the secret before: as long as packets may be on their way.
const GRACE_NS: u64 = TOLD_NS + 1_000_000_000;

/// Peers that come one after the other share an exchange; the next follows after this.
const GATHER_NS: u64 = 1_000_000_000;

/// A secret is used no longer.
const LIFE_NS: u64 = 3_600_000_000_000;

/// Secrets of a peer that are opened by at a time: the one in use and the one after it.
const HELD_MAX: usize = 2;

/// Peers that have parted and are remembered.
const FORGOTTEN_MAX: usize = 4_096;

/// Acknowledged by who needs another secret, because it has none of this node's.
const NONE: u64 = 0;

const SAID_BYTES: usize = 14 + SECRET_BYTES;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    /// A node is to be told this.
    Tell(Tell),
    /// The groups are sealed by these from now on, the first one by the first.
    SealGroups(Vec<SealingKey>),
    /// Packets of a peer's groups are opened by this, too.
    Open(Opening),
    /// And no longer by this.
    Forget {
        /// Whose.
        peer: NodeId,
        /// Which.
        set: KeySetId,
    },
}

/// What packets of a peer's groups are opened by.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Whose.
    pub(crate) peer: NodeId,
    /// Which.
    pub(crate) set: KeySetId,
    slots: u8,
    secret: Secret,
}

impl Opening {
    /// How many of its groups are sealed.
    pub(crate) const fn slots(&self) -> usize {
        self.slots as usize
    }

    /// The keys of one receiver. The receivers of a node share `owners`, one for each slot. 6 µs
    /// a slot.
    pub(crate) fn keys(&self, receiver: u32, owners: &[Owner]) -> PeerKeys {
        let slots = (0..self.slots).zip(owners);
        let key = |slot| OpeningKey::new(&self.secret, Direction::FromDialler, slot);
        let slots = slots.map(|(slot, owner)| key(slot).at(receiver, owner)).collect();
        PeerKeys { peer: self.peer, set: self.set, slots, words: None }
    }
}

/// A secret of this node.
#[derive(Debug)]
struct Own {
    said: Said,
    /// Who was told of it.
    told: BTreeSet<NodeId>,
    /// Who has not acknowledged it; and when it is used in any case.
    awaited: BTreeSet<NodeId>,
    use_at_ns: u64,
}

/// What a note says.
#[derive(Debug, Clone)]
struct Said {
    epoch: u64,
    set: KeySetId,
    cipher: Cipher,
    slots: u8,
    /// A set that was told and is never sealed by; 0 for none.
    instead_of: KeySetId,
    secret: Bytes,
}

/// A secret of a peer.
#[derive(Debug, Clone, Copy)]
struct Held {
    set: KeySetId,
    epoch: u64,
    forget_at_ns: u64,
}

/// Where random bytes come from: 32 of them, or `None` when there are none.
pub(crate) type Random = Box<dyn FnMut() -> Option<Bytes> + Send>;

/// The keys of a node's groups, and what it knows of its peers'.
pub(crate) struct GroupKeys {
    cipher: Cipher,
    random: Random,
    slots: u8,
    /// Of the newest secret; grows through all lives of the node.
    epoch: u64,
    set: KeySetId,
    /// What is sealed by, and what will be.
    current: Option<Own>,
    next: Option<Own>,
    /// When the secret in use was made, and when another is to be.
    made_ns: u64,
    due_ns: u64,
    /// The peers there are, and what they said, the newest last.
    peers: BTreeMap<NodeId, Vec<Held>>,
    /// The newest epoch of those that have parted: what they were sealing by is not opened again,
    /// since what it had opened is forgotten.
    forgotten: BTreeMap<NodeId, u64>,
}

impl std::fmt::Debug for GroupKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupKeys")
            .field("epoch", &self.epoch)
            .field("set", &self.set)
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}

impl GroupKeys {
    /// Of a node that began its life at `incarnation`, ns since the Unix epoch, later than any of
    /// its lives before. Nothing is sealed before the first [`GroupKeys::poll`].
    pub(crate) fn new(cipher: Cipher, incarnation: u64, random: Random) -> Self {
        let set = own_set(u16::try_from(incarnation >> 10 & 0x7fff).unwrap_or(0));
        let (epoch, peers) = (incarnation, BTreeMap::new());
        Self {
            cipher,
            random,
            slots: 1,
            epoch,
            set,
            current: None,
            next: None,
            made_ns: 0,
            due_ns: 0,
            peers,
            forgotten: BTreeMap::new(),
        }
    }

    /// So many groups are to be sealed, at most [`SLOTS_MAX`]: others get keys when there are more.
    pub(crate) fn set_groups(&mut self, groups: usize, now_ns: u64) -> Vec<Action> {
        let slots = u8::try_from(groups).unwrap_or(SLOTS_MAX).clamp(1, SLOTS_MAX);
        if slots <= self.slots {
            return Vec::new();
        }
        self.slots = slots;
        self.exchange(now_ns)
    }

    /// There is a line to a peer, the first or another.
    pub(crate) fn on_authenticated(&mut self, peer: NodeId, now_ns: u64) -> Vec<Action> {
        self.peers.entry(peer).or_default();
        let mut actions = Vec::new();
        let told_before = self.current.as_ref().filter(|own| own.told.contains(&peer));
        if let Some(current) = told_before {
            // Its line may have ended before it was read.
            actions.push(Action::Tell(current.said.tell(peer)));
        }
        if let Some(next) = &mut self.next {
            // What is not sealed by yet is good for whoever comes now.
            next.told.insert(peer);
            next.awaited.insert(peer);
            actions.push(Action::Tell(next.said.tell(peer)));
        } else if told_before.is_none() {
            let gathers_ns = if self.peers.len() > 1 { GATHER_NS } else { 0 };
            self.due_ns = self.due_ns.min(self.made_ns.saturating_add(gathers_ns));
        }
        actions.extend(self.poll(now_ns));
        actions
    }

    /// A peer has parted, died or is not trusted any more: nothing that is sealed from now on is
    /// for it, and nothing of it is opened.
    pub(crate) fn on_part(&mut self, peer: NodeId, now_ns: u64) -> Vec<Action> {
        let Some(held) = self.peers.remove(&peer) else { return Vec::new() };
        if let Some(current) = &mut self.current {
            current.told.remove(&peer);
        }
        if let Some(newest) = held.last() {
            self.forgotten.insert(peer, newest.epoch);
            if self.forgotten.len() > FORGOTTEN_MAX {
                self.forgotten.pop_first();
            }
        }
        let mut actions: Vec<_> =
            held.into_iter().map(|of| Action::Forget { peer, set: of.set }).collect();
        actions.extend(self.exchange(now_ns));
        actions
    }

    /// A peer has said this, [`Kind::Keys`] or [`Kind::Had`].
    ///
    /// # Errors
    /// Why it changes nothing.
    pub(crate) fn on_note(
        &mut self,
        peer: NodeId,
        (kind, said): (Kind, &[u8]),
        now_ns: u64,
    ) -> Result<Vec<Action>, NoteError> {
        match kind {
            Kind::Keys => self.hear_keys(peer, Said::of(said).ok_or(NoteError::Malformed)?, now_ns),
            Kind::Had => {
                let epoch = said.try_into().map_err(|_| NoteError::Malformed)?;
                self.hear_had(peer, u64::from_le_bytes(epoch));
                Ok(self.poll(now_ns))
            }
            _ => Err(NoteError::Malformed),
        }
    }

    /// What time brings: another secret, one that is used, ones that are forgotten.
    pub(crate) fn poll(&mut self, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for (peer, held) in &mut self.peers {
            held.retain(|of| {
                let stays = now_ns < of.forget_at_ns;
                if !stays {
                    actions.push(Action::Forget { peer: *peer, set: of.set });
                }
                stays
            });
        }
        let is_told = |next: &mut Own| next.awaited.is_empty() || now_ns >= next.use_at_ns;
        if let Some(next) = self.next.take_if(|next| is_told(next)) {
            actions.push(self.seal(next, now_ns));
        }
        if self.next.is_none() && now_ns >= self.due_ns {
            actions.extend(self.exchange(now_ns));
        }
        actions
    }

    /// When [`GroupKeys::poll`] has something to do.
    pub(crate) fn deadline_ns(&self) -> u64 {
        let forget = self.peers.values().flatten().map(|held| held.forget_at_ns);
        let next = self.next.as_ref().map_or(self.due_ns, |next| next.use_at_ns);
        forget.chain([next]).min().unwrap_or(u64::MAX)
    }

    /// Begins to exchange the secret: tells another to all who are there. One that was told and is
    /// not sealed by yet never will be. Without random bytes it stays due.
    fn exchange(&mut self, now_ns: u64) -> Vec<Action> {
        self.due_ns = now_ns.saturating_add(TOLD_NS);
        let Some(secret) = (self.random)() else { return Vec::new() };
        self.due_ns = now_ns.saturating_add(LIFE_NS);
        let instead_of = self.next.take().map_or(KeySetId(0), |next| next.said.set);
        (self.epoch, self.set) = (self.epoch + 1, own_set(self.set.0.wrapping_add(1)));
        let said = Said {
            epoch: self.epoch,
            set: self.set,
            cipher: self.cipher,
            slots: self.slots,
            instead_of,
            secret,
        };
        let told: BTreeSet<_> = self.peers.keys().copied().collect();
        let tells = told.iter().map(|peer| Action::Tell(said.tell(*peer))).collect();
        let (awaited, use_at_ns) = (told.clone(), now_ns.saturating_add(TOLD_NS));
        let own = Own { said, told, awaited, use_at_ns };
        if own.told.is_empty() {
            return vec![self.seal(own, now_ns)];
        }
        self.next = Some(own);
        tells
    }

    fn seal(&mut self, own: Own, now_ns: u64) -> Action {
        self.made_ns = now_ns;
        let said = &self.current.insert(own).said;
        let secret = Secret::new(said.cipher, &said.secret.0);
        let key = |slot| SealingKey::new(&secret, Direction::FromDialler, said.set, slot);
        Action::SealGroups((0..said.slots).map(key).collect())
    }

    fn hear_had(&mut self, peer: NodeId, epoch: u64) {
        if let Some(next) = &mut self.next
            && next.said.epoch == epoch
        {
            next.awaited.remove(&peer);
        }
        if epoch == NONE && self.peers.contains_key(&peer) {
            self.due_ns = self.due_ns.min(self.made_ns.saturating_add(GATHER_NS));
        }
    }

    fn hear_keys(
        &mut self,
        peer: NodeId,
        said: Said,
        now_ns: u64,
    ) -> Result<Vec<Action>, NoteError> {
        let Some(held) = self.peers.get_mut(&peer) else { return Err(NoteError::Stranger) };
        let had = |epoch: u64| {
            Action::Tell(Tell { to: peer, note: Kind::Had.note(&epoch.to_le_bytes()) })
        };
        let is_forgotten = self.forgotten.get(&peer).is_some_and(|epoch| said.epoch <= *epoch);
        if held.is_empty() && is_forgotten {
            return Ok(vec![had(NONE)]);
        }
        if let Some(newest) = held.last().filter(|newest| said.epoch <= newest.epoch) {
            // Told again by another line.
            let again = (said.epoch, said.set) == (newest.epoch, newest.set);
            return if again { Ok(vec![had(said.epoch)]) } else { Err(NoteError::Old) };
        }
        let mut actions = Vec::new();
        let mut forget = |set| actions.push(Action::Forget { peer, set });
        let gone = held.extract_if(.., |of| of.set == said.instead_of || of.set == said.set);
        gone.for_each(|of| forget(of.set));
        while held.len() >= HELD_MAX {
            forget(held.remove(0).set);
        }
        for before in held.iter_mut() {
            before.forget_at_ns = before.forget_at_ns.min(now_ns.saturating_add(GRACE_NS));
        }
        held.push(Held { set: said.set, epoch: said.epoch, forget_at_ns: u64::MAX });
        let secret = Secret::new(said.cipher, &said.secret.0);
        actions.push(Action::Open(Opening { peer, set: said.set, slots: said.slots, secret }));
        actions.push(had(said.epoch));
        Ok(actions)
    }
}

/// A number of a set of a group: those of pairs have the top bit clear.
const fn own_set(number: u16) -> KeySetId {
    KeySetId(number | KeySetId::OF_GROUPS)
}

impl Said {
    fn tell(&self, to: NodeId) -> Tell {
        let mut said = [0; SAID_BYTES];
        said[..8].copy_from_slice(&self.epoch.to_le_bytes());
        said[8..10].copy_from_slice(&self.set.0.to_le_bytes());
        said[10..12].copy_from_slice(&self.instead_of.0.to_le_bytes());
        (said[12], said[13]) = (self.cipher as u8, self.slots);
        said[14..].copy_from_slice(&self.secret.0);
        Tell { to, note: Kind::Keys.note(&said) }
    }

    fn of(said: &[u8]) -> Option<Self> {
        let said: &[u8; SAID_BYTES] = said.try_into().ok()?;
        let u16_at = |at: usize| u16::from_le_bytes([said[at], said[at + 1]]);
        let (set, instead_of) = (KeySetId(u16_at(8)), KeySetId(u16_at(10)));
        let cipher = match said[12] {
            1 => Cipher::Aes256Gcm,
            2 => Cipher::ChaCha20Poly1305,
            _ => return None,
        };
        let sets_are_good = set.is_of_groups() && (instead_of.0 == 0 || instead_of.is_of_groups());
        let slots = said[13];
        (sets_are_good && (1..=SLOTS_MAX).contains(&slots)).then_some(Self {
            epoch: u64::from_le_bytes(*said.first_chunk()?),
            set,
            cipher,
            slots,
            instead_of,
            secret: Bytes(*said.last_chunk()?),
        })
    }
}

#[cfg(test)]
#[path = "group_keys/tests.rs"]
mod tests;

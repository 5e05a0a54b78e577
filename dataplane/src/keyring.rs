//! The keys a receiver opens packets by, and what it refuses without them.
//!
//! Owned by one receiver; control makes the keys and frees them, commands bring them. A packet's
//! key set is looked up directly by its number, together with its source, so that a stranger costs
//! one look-up. Everything has a bound: [`PEERS_MAX`] peers, [`SETS_PER_PEER_MAX`] sets each.

use wireloom_seal::{OpenError, OpeningKey, SealingKey};
use wireloom_wire::{
    KeySetId, LANES, NodeId, Packet, PacketFlags, PacketHeader, SealedPacket, VERSION,
};

use crate::counters::Counter;

/// Peers a receiver can have keys of: as many as a cluster has members at most.
pub const PEERS_MAX: usize = 2_048;

/// Key sets of one peer at a time: the newest, and those whose packets are still on the way. One
/// more takes the place of the oldest. As many again are for the groups it sends to.
pub const SETS_PER_PEER_MAX: usize = 4;

const ENTRIES_MAX: usize = 2 * PEERS_MAX * SETS_PER_PEER_MAX;

/// No entry: the end of a chain.
const NONE: u16 = u16::MAX;
const _: () = assert!(ENTRIES_MAX < NONE as usize);

/// Slots of a node by convention: the sender's is 0, the control thread's 1, and receiver `n`,
/// which seals its words to senders, has `2 + n`.
pub const SENDER_SLOT: u8 = 0;
/// See [`SENDER_SLOT`].
pub const CONTROL_SLOT: u8 = 1;
/// See [`SENDER_SLOT`].
pub const FIRST_RECEIVER_SLOT: u8 = 2;

/// One key set that this receiver shares with a peer.
#[derive(Debug)]
pub struct PeerKeys {
    /// The peer: what it seals names it as its source, or is refused.
    pub peer: NodeId,
    /// The number of the set.
    pub set: KeySetId,
    /// What the peer's workers seal by, by slot.
    pub slots: Box<[OpeningKey]>,
    /// What this receiver's words to the peer are sealed by; `None` for a group, which gets none.
    pub words: Option<SealingKey>,
}

/// What a receiver asks of the packets of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demand {
    /// Sealed ones are opened, others taken as they are.
    #[default]
    Nothing,
    /// Sealed, whether encrypted or not.
    Integrity,
    /// Sealed and encrypted.
    Full,
}

#[derive(Debug)]
struct Entry {
    keys: Option<Box<PeerKeys>>,
    /// When it came, as a count.
    age: u64,
    /// The next entry of the same set number.
    next: u16,
}

/// What the table of a receiver takes, without the keys in it.
pub const KEYRING_BYTES: usize =
    (1 << 16) * size_of::<u16>() + ENTRIES_MAX * (size_of::<Entry>() + size_of::<u16>());

/// Which keys opened a packet; holds until the next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct By(u16);

/// The table.
#[derive(Debug)]
pub(crate) struct Keyring {
    /// The first entry of each set number.
    heads: Box<[u16]>,
    entries: Vec<Entry>,
    free: Vec<u16>,
    ages: u64,
    demands: [Demand; LANES],
    is_demanding: bool,
}

impl Keyring {
    /// An empty ring with room for everything it will ever hold: 0.6 MiB, touched as it fills.
    pub(crate) fn new() -> Self {
        Self {
            heads: vec![NONE; 1 << 16].into_boxed_slice(),
            entries: Vec::with_capacity(ENTRIES_MAX),
            free: Vec::with_capacity(ENTRIES_MAX),
            ages: 0,
            demands: [Demand::Nothing; LANES],
            is_demanding: false,
        }
    }

    pub(crate) fn demand(&mut self, demands: [Demand; LANES]) {
        self.demands = demands;
        self.is_demanding = demands.iter().any(|demand| *demand != Demand::Nothing);
    }

    /// Takes a set. Gives back what it takes the place of: the same set of the peer, or the peer's
    /// oldest when it has as many as it may; the set itself when the ring is full of other peers'.
    pub(crate) fn add(&mut self, keys: Box<PeerKeys>) -> Option<Box<PeerKeys>> {
        let of_peer = |keys: &PeerKeys, entry: &Entry| {
            let like = |held: &PeerKeys| {
                held.peer == keys.peer && held.set.is_of_groups() == keys.set.is_of_groups()
            };
            entry.keys.as_ref().is_some_and(|held| like(held))
        };
        let (mut count, mut oldest, mut same) = (0, None::<(u64, u16)>, None);
        for (index, entry) in (0_u16..).zip(&self.entries) {
            if of_peer(&keys, entry) {
                count += 1;
                oldest = Some(oldest.map_or((entry.age, index), |old| old.min((entry.age, index))));
                if entry.keys.as_ref().is_some_and(|held| held.set == keys.set) {
                    same = Some(index);
                }
            }
        }
        let leaves =
            same.or_else(|| oldest.filter(|_| count >= SETS_PER_PEER_MAX).map(|old| old.1));
        let gone = leaves.and_then(|index| self.remove(index));
        let head = usize::from(keys.set.0);
        self.ages += 1;
        let entry = Entry { age: self.ages, next: self.heads[head], keys: Some(keys) };
        let index = if let Some(index) = self.free.pop() {
            self.entries[usize::from(index)] = entry;
            index
        } else if let Some(index) =
            u16::try_from(self.entries.len()).ok().filter(|index| usize::from(*index) < ENTRIES_MAX)
        {
            self.entries.push(entry);
            index
        } else {
            return entry.keys;
        };
        self.heads[head] = index;
        gone
    }

    /// Takes one set of a peer out; `None` when there is none left.
    pub(crate) fn forget(&mut self, peer: NodeId) -> Option<Box<PeerKeys>> {
        let of_peer = |entry: &Entry| entry.keys.as_ref().is_some_and(|held| held.peer == peer);
        let index = self.entries.iter().position(of_peer)?;
        self.remove(u16::try_from(index).ok()?)
    }

    /// Takes this set of a peer out, if it is there.
    pub(crate) fn forget_set(&mut self, peer: NodeId, set: KeySetId) -> Option<Box<PeerKeys>> {
        let is_it = |entry: &Entry| {
            entry.keys.as_ref().is_some_and(|held| (held.peer, held.set) == (peer, set))
        };
        let index = self.entries.iter().position(is_it)?;
        self.remove(u16::try_from(index).ok()?)
    }

    fn remove(&mut self, index: u16) -> Option<Box<PeerKeys>> {
        let entry = &mut self.entries[usize::from(index)];
        let (keys, after) = (entry.keys.take()?, entry.next);
        let head = &mut self.heads[usize::from(keys.set.0)];
        if *head == index {
            *head = after;
        } else {
            let mut before = *head;
            while let Some(entry) = self.entries.get_mut(usize::from(before)) {
                if entry.next == index {
                    entry.next = after;
                    break;
                }
                before = entry.next;
            }
        }
        self.free.push(index);
        Some(keys)
    }

    /// Whether this clear datagram is refused for being clear, before anything in it costs: it is
    /// of a stream, or a word about one, whose lane is to be sealed. What is no packet at all, and
    /// what control planes say before they have keys, is not for this to judge.
    #[inline]
    pub(crate) fn refuses_clear(&self, datagram: &[u8]) -> bool {
        self.is_demanding && self.refuses(datagram)
    }

    fn refuses(&self, datagram: &[u8]) -> bool {
        let Some(head) = datagram.first_chunk() else { return false };
        let PacketHeader { flags, lane, .. } = PacketHeader::peek(head);
        let of_stream =
            flags.contains(PacketFlags::SEQUENCED) || flags.contains(PacketFlags::STATUS);
        let demand = self.demands.get(usize::from(lane));
        datagram[0] == VERSION && of_stream && demand.is_some_and(|d| *d != Demand::Nothing)
    }

    /// Opens a packet into `plain`. Cheapest check first: keys at all, set and source, slot, mode,
    /// then what [`OpeningKey::open`] looks at.
    ///
    /// # Errors
    /// What to count.
    pub(crate) fn open<'a>(
        &mut self,
        packet: &SealedPacket<'a>,
        plain: &'a mut [u8],
        now_ns: u64,
    ) -> Result<(Packet<'a>, By), Counter> {
        if self.entries.len() == self.free.len() {
            return Err(Counter::SealedWithoutKeys);
        }
        let lane = usize::from(packet.header.lane);
        if packet.is_clear() && self.demands.get(lane) == Some(&Demand::Full) {
            return Err(Counter::SealedTooWeak);
        }
        // A status names the stream's sender, which is this node, and not who says it.
        let is_word = packet.header.flags.contains(PacketFlags::STATUS);
        let mut refused = Counter::SealedUnknownKeys;
        let mut index = self.heads[usize::from(packet.seal.set.0)];
        while let Some(Entry { keys, next, .. }) = self.entries.get_mut(usize::from(index)) {
            let by = By(std::mem::replace(&mut index, *next));
            let Some(keys) = keys.as_mut().filter(|k| is_word || k.peer == packet.header.source)
            else {
                continue;
            };
            let Some(key) = keys.slots.get_mut(usize::from(packet.seal.slot)) else { continue };
            // Borrowed again below: what opens is returned.
            match key.verify(packet, plain, now_ns) {
                Ok(bytes) => {
                    let body = if packet.is_clear() { packet.body() } else { &plain[..bytes] };
                    return Ok((packet.opened(body), by));
                }
                Err(error) => refused = reason(error),
            }
        }
        Err(refused)
    }

    /// What words to the peer of these keys are sealed by.
    pub(crate) fn words(&mut self, by: By) -> Option<&mut SealingKey> {
        self.entries.get_mut(usize::from(by.0))?.keys.as_mut()?.words.as_mut()
    }
}

const fn reason(error: OpenError) -> Counter {
    match error {
        OpenError::Forged | OpenError::NoRoom => Counter::SealedForged,
        OpenError::Replayed => Counter::SealedReplayed,
        OpenError::Phase => Counter::SealedWrongPhase,
        OpenError::ForeignOwner => Counter::SealedForeignReceiver,
        OpenError::GivenUp => Counter::SealedGivenUp,
    }
}

#[cfg(test)]
#[path = "keyring/tests.rs"]
mod tests;

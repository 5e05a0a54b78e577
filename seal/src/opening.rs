//! The opening key: three phases, a window in each, how missed ones are caught up with, and what is
//! refused.
//!
//! Owned by one receiver. Cheapest check first: owner, phase, window, tag. Before the tag has been
//! verified nothing changes but the count of failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use wireloom_wire::{Packet, SealedPacket};

use crate::lane_key::LaneKey;
use crate::replay::Replay;
use crate::secret::{Direction, Secret};
use crate::{PHASE_BITS, PHASES};

/// How long packets of a phase are taken after the next one has begun.
pub const PREVIOUS_PHASE_NS: u64 = 1_000_000_000;

/// A phase that ends sooner than this is not believed: each costs a derivation, and no link seals
/// 2^22 packets in the time.
const PHASE_NS_MIN: u64 = 100_000_000;

/// Phases that a receiver catches up with at once when it has missed them: 270 million packets.
const CATCH_UP_PHASES_MAX: u64 = 64;

/// How often it tries to: 64 derivations take 23 µs, and anybody can name a phase.
const CATCH_UP_EVERY_NS: u64 = 10_000_000;

/// Packets that do not open before a key is given up: the bound of DTLS 1.3 (RFC 9147, 4.5.3).
pub const FAILED_OPENS_MAX: u64 = 1 << 36;

/// Why a packet was not opened. Nothing of it is to be believed, and nothing is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OpenError {
    /// The tag does not fit: changed on the way, or made by somebody without the key.
    #[error("sealed packet does not open: it was changed, or made by somebody without the key")]
    Forged,
    /// Taken before, or so old that nobody knows.
    #[error("sealed packet has been taken before, or is older than the window")]
    Replayed,
    /// Of a phase that is over, or further on than one catches up with.
    #[error("sealed packet is of a phase of its keys that is over, or too far on to follow")]
    Phase,
    /// Another receiver of this node has the key.
    #[error("sealed packet came to another receiver than those before it")]
    ForeignOwner,
    /// Too many packets have failed; only new keys help.
    #[error("too many packets did not open by this key: it is given up")]
    GivenUp,
    /// More frames than the memory for them holds.
    #[error("sealed packet's frames do not fit into the memory given for them")]
    NoRoom,
}

/// Which of several receivers has a slot: the first that opens a packet of it. Clones are the same
/// word; the opening keys of one slot share one, so that a packet replayed to another socket finds
/// no fresh window there.
#[derive(Clone, Debug, Default)]
pub struct Owner(Arc<AtomicU32>);

impl Owner {
    /// Whether the slot belongs to nobody, or to `receiver`.
    #[inline]
    fn admits(&self, receiver: u32) -> bool {
        let owner = self.0.load(Ordering::Relaxed);
        owner == 0 || owner == receiver
    }

    /// Makes the slot `receiver`'s; false when it is another's.
    fn claim(&self, receiver: u32) -> bool {
        let claimed = self.0.compare_exchange(0, receiver, Ordering::Relaxed, Ordering::Relaxed);
        claimed.is_ok() || claimed == Err(receiver)
    }
}

/// One phase as the receiver has it.
#[derive(Debug)]
struct Phase {
    key: LaneKey,
    window: Replay,
}

impl Phase {
    fn new(secret: &Secret, direction: Direction, slot: u8) -> Self {
        Self { key: secret.lane_key(direction, slot), window: Replay::new() }
    }

    /// How many bytes of `plain` the frames of the packet take, if it is one of this phase that has
    /// not been taken.
    #[inline]
    fn verify(&self, packet: &SealedPacket<'_>, plain: &mut [u8]) -> Result<usize, OpenError> {
        let counter = packet.seal.counter;
        if !self.window.is_fresh(counter) {
            return Err(OpenError::Replayed);
        }
        let hidden = if packet.is_clear() { &[] } else { packet.body() };
        let covered = if packet.is_clear() { packet.covered() } else { packet.head() };
        let plain = plain.get_mut(..hidden.len()).ok_or(OpenError::NoRoom)?;
        let opened = self.key.open((counter, covered), hidden, packet.tag(), plain);
        opened.map_or(Err(OpenError::Forged), |()| Ok(hidden.len()))
    }
}

/// The key of one sending worker of a peer, as one receiver has it. About 4 KiB and three contexts
/// of the cipher.
#[derive(Debug)]
pub struct OpeningKey {
    direction: Direction,
    slot: u8,
    owner: Owner,
    /// Which receiver this one is, as `owner` counts; 0: the only one.
    receiver: u32,
    /// A packet has been opened here.
    owned: bool,
    failed: u64,
    /// The number of the current phase, and when it began here.
    number: u64,
    began_ns: u64,
    /// Before this nobody tries to catch up again.
    catch_up_ns: u64,
    previous: Option<Phase>,
    current: Phase,
    next: Phase,
    /// Of the next phase.
    secret: Secret,
}

impl OpeningKey {
    /// The key of the peer's worker `slot` for packets in this direction. `secret` is the one that
    /// the peer seals by, at its beginning. About 6 µs.
    #[must_use]
    pub fn new(secret: &Secret, direction: Direction, slot: u8) -> Self {
        let next = secret.next();
        Self {
            direction,
            slot,
            owner: Owner::default(),
            receiver: 0,
            owned: false,
            failed: 0,
            number: 0,
            began_ns: 0,
            catch_up_ns: 0,
            previous: None,
            current: Phase::new(secret, direction, slot),
            next: Phase::new(&next, direction, slot),
            secret: next,
        }
    }

    /// The same key at receiver `receiver` (from 0) of several that share `owner`.
    #[must_use]
    pub fn at(mut self, receiver: u32, owner: &Owner) -> Self {
        self.receiver = receiver.saturating_add(1);
        self.owner = owner.clone();
        self
    }

    /// Packets that failed to open.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failed
    }

    /// The packet, opened: its frames are in `plain`, or where they came when they were in clear.
    /// `now_ns` is any clock that does not go back.
    ///
    /// Its cost is the cipher's, see `docs/performance.md`; refusals before the tag take some 3 ns.
    /// In the first packet of a phase 3 µs more, and a context of the cipher allocated and freed.
    /// Who has missed phases catches up with 64 of them in 23 µs, and tries each 10 ms at most.
    ///
    /// # Errors
    /// [`OpenError`]; `plain` may then have been written to, and is not to be looked at.
    #[inline]
    pub fn open<'a>(
        &mut self,
        packet: &SealedPacket<'a>,
        plain: &'a mut [u8],
        now_ns: u64,
    ) -> Result<Packet<'a>, OpenError> {
        let bytes = self.verify(packet, plain, now_ns)?;
        let body = if packet.is_clear() { packet.body() } else { &plain[..bytes] };
        Ok(packet.opened(body))
    }

    /// As [`open`](Self::open), for who tries one key after the other: returns how many bytes of
    /// `plain` the frames take, 0 when they were in clear.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[inline]
    pub fn verify(
        &mut self,
        packet: &SealedPacket<'_>,
        plain: &mut [u8],
        now_ns: u64,
    ) -> Result<usize, OpenError> {
        if !self.owned && !self.owner.admits(self.receiver) {
            return Err(OpenError::ForeignOwner);
        }
        if self.failed >= FAILED_OPENS_MAX {
            return Err(OpenError::GivenUp);
        }
        let counter = packet.seal.counter;
        let number = counter >> PHASE_BITS;
        let opened = if number == self.number {
            self.current.verify(packet, plain)
        } else {
            self.verify_other(packet, plain, now_ns)
        };
        let bytes = opened.inspect_err(|error| {
            self.failed += u64::from(*error == OpenError::Forged);
        })?;
        self.commit(counter, now_ns)?;
        Ok(bytes)
    }

    /// A packet of another phase than the current one: of a neighbour, or of one further on.
    #[cold]
    fn verify_other(
        &mut self,
        packet: &SealedPacket<'_>,
        plain: &mut [u8],
        now_ns: u64,
    ) -> Result<usize, OpenError> {
        let number = packet.seal.counter >> PHASE_BITS;
        if let Some(phase) = self.neighbour(number, now_ns) {
            return phase.verify(packet, plain);
        }
        let ahead = number.saturating_sub(self.number);
        let is_due = now_ns >= self.catch_up_ns;
        if !(2..=CATCH_UP_PHASES_MAX).contains(&ahead) || number >= PHASES || !is_due {
            return Err(OpenError::Phase);
        }
        self.catch_up_ns = now_ns + CATCH_UP_EVERY_NS;
        // That of the next phase, one `ahead`.
        let mut secret = self.secret.copy();
        (1..ahead).for_each(|_| secret = secret.next());
        let phase = Phase::new(&secret, self.direction, self.slot);
        let bytes = phase.verify(packet, plain)?;
        // As if all between had come and gone: what is late of them is not taken.
        (self.number, self.secret, self.next) = (number - 1, secret, phase);
        self.begin_next(now_ns);
        self.previous = None;
        Ok(bytes)
    }

    /// The phase before the current one while it is taken, or the one after it.
    fn neighbour(&self, number: u64, now_ns: u64) -> Option<&Phase> {
        let lasted_ns = now_ns.saturating_sub(self.began_ns);
        if number == self.number + 1 && number < PHASES {
            // The first phase is as old as the key.
            let early = self.number > 0 && lasted_ns < PHASE_NS_MIN;
            return (!early).then_some(&self.next);
        }
        let taken = number + 1 == self.number && lasted_ns <= PREVIOUS_PHASE_NS;
        self.previous.as_ref().filter(|_| taken)
    }

    /// Remembers a counter whose tag has been verified.
    #[inline]
    fn commit(&mut self, counter: u64, now_ns: u64) -> Result<(), OpenError> {
        if !self.owned {
            if self.receiver != 0 && !self.owner.claim(self.receiver) {
                return Err(OpenError::ForeignOwner);
            }
            self.owned = true;
        }
        let number = counter >> PHASE_BITS;
        if number == self.number + 1 {
            self.begin_next(now_ns);
        }
        let phase =
            if number == self.number { Some(&mut self.current) } else { self.previous.as_mut() };
        if let Some(phase) = phase {
            phase.window.take(counter);
        }
        Ok(())
    }

    #[cold]
    fn begin_next(&mut self, now_ns: u64) {
        self.secret = self.secret.next();
        let after = Phase::new(&self.secret, self.direction, self.slot);
        let next = std::mem::replace(&mut self.next, after);
        self.previous = Some(std::mem::replace(&mut self.current, next));
        self.number += 1;
        self.began_ns = now_ns;
    }
}

#[cfg(test)]
#[path = "opening/tests.rs"]
mod tests;

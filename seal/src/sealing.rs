//! The sealing key: one owner, one counter, and the phases it goes through.

use wireloom_wire::{KeySetId, PACKET_HEADER_BYTES, PacketFlags, PacketHeader, Seal, TAG_BYTES};

use crate::lane_key::LaneKey;
use crate::secret::{Direction, Secret};
use crate::{PHASE_BITS, PHASES};

/// How long a sender stays in a phase, from its first packet in it.
pub const PHASE_NS: u64 = 120_000_000_000;

/// Packets of a phase before time alone ends it. A receiver that loses a whole phase cannot follow,
/// so a phase is not to be a handful of packets that one outage takes.
const PHASE_PACKETS_MIN: u64 = 1_024;

/// How much a seal hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// The tag covers header and frames, which stay in clear.
    Integrity,
    /// The frames are encrypted as well.
    Full,
}

/// Why a packet was not sealed. It must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// All phases have been used.
    #[error("the keys of this link are used up: a new handshake brings new ones")]
    UsedUp,
    /// The packet does not fit into the memory given, or is longer than a packet can be.
    #[error("a sealed packet does not fit into the memory it is to stand in")]
    NoRoom,
}

/// The key of one sending worker for one peer (or group), with the count of what it sealed.
///
/// Neither `Clone` nor shared: whoever holds it is the only one who seals by it, and the count only
/// grows. A process that starts anew has new secrets.
#[derive(Debug)]
pub struct SealingKey {
    set: KeySetId,
    slot: u8,
    direction: Direction,
    /// Of the phase that `key` is of.
    secret: Secret,
    key: LaneKey,
    /// What the next packet is sealed with.
    counter: u64,
    /// The first counter of the next phase.
    phase_end: u64,
    /// When time ends the phase; 0 before its first packet.
    due_ns: u64,
}

const PHASE_PACKETS: u64 = 1 << PHASE_BITS;

impl SealingKey {
    /// The key of worker `slot` for packets in this direction, before its first packet. About 2 µs;
    /// allocates half a kilobyte.
    #[must_use]
    pub fn new(secret: &Secret, direction: Direction, set: KeySetId, slot: u8) -> Self {
        Self {
            set,
            slot,
            direction,
            secret: secret.copy(),
            key: secret.lane_key(direction, slot),
            counter: 0,
            phase_end: PHASE_PACKETS,
            due_ns: 0,
        }
    }

    /// Which set it belongs to.
    #[must_use]
    pub const fn set(&self) -> KeySetId {
        self.set
    }

    /// What the next packet is sealed with, if the phase goes on: packets so far, jumps included.
    #[must_use]
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// Goes to the next phase now, as it does by itself after [`PHASE_NS`] or 2^22 packets. Nothing
    /// happens before the first packet of a phase.
    pub const fn end_phase(&mut self) {
        if self.phase_end - self.counter < PHASE_PACKETS {
            self.counter = self.phase_end;
        }
    }

    /// Seals a packet into the front of `out`: header, frames, tag. `body` are its frames in the
    /// pieces they lie in; the header's `length`, and its flags of seal and checksum, are set here.
    /// Returns the packet's bytes. Frames that lie in one piece are not copied but encrypted from
    /// where they are.
    ///
    /// Its cost is the cipher's, see `docs/performance.md`; once in a phase 3 µs more and a context
    /// of the cipher allocated and freed.
    ///
    /// # Errors
    /// [`SealError`]: the packet is not to be sent, and `out` holds nothing.
    #[inline]
    pub fn seal<'a>(
        &mut self,
        (header, mode): (&PacketHeader, Mode),
        body: impl IntoIterator<Item = &'a [u8]>,
        out: &mut [u8],
        now_ns: u64,
    ) -> Result<usize, SealError> {
        let mut pieces = body.into_iter();
        let first = pieces.next().unwrap_or_default();
        let second = pieces.next();
        let in_place = second.is_some() || mode == Mode::Integrity;
        let body_bytes = if in_place {
            copy([first].into_iter().chain(second).chain(pieces), out)?
        } else {
            first.len()
        };
        let packet_bytes = PACKET_HEADER_BYTES + body_bytes + TAG_BYTES;
        let packet = out.get_mut(..packet_bytes).ok_or(SealError::NoRoom)?;
        let length = u32::try_from(packet_bytes).map_err(|_| SealError::NoRoom)?;
        let counter = self.count(now_ns)?;
        let clear = if mode == Mode::Full { PacketFlags::empty() } else { PacketFlags::CLEAR };
        let header = PacketHeader { length, flags: header.flags | clear, ..*header };
        let head = header.encode_sealed(&Seal { set: self.set, slot: self.slot, counter });
        let (covered, tag) = packet.split_at_mut(packet_bytes - TAG_BYTES);
        covered[..PACKET_HEADER_BYTES].copy_from_slice(&head);
        let sealed = match mode {
            Mode::Integrity => self.key.seal_in_place((counter, covered), &mut [], tag),
            Mode::Full => {
                let frames = &mut covered[PACKET_HEADER_BYTES..];
                if in_place {
                    self.key.seal_in_place((counter, &head), frames, tag)
                } else {
                    self.key.seal_from((counter, &head), first, frames, tag)
                }
            }
        };
        // The cipher refuses lengths beyond those of a packet, and no others.
        sealed.map(|()| packet_bytes).map_err(|_| SealError::NoRoom)
    }

    /// The counter of the next packet; nobody gets it a second time.
    #[inline]
    fn count(&mut self, now_ns: u64) -> Result<u64, SealError> {
        if self.counter >= self.phase_end || now_ns >= self.due_ns {
            self.turn(now_ns)?;
        }
        let counter = self.counter;
        self.counter += 1;
        Ok(counter)
    }

    /// Begins a phase, or goes on to the next.
    #[cold]
    fn turn(&mut self, now_ns: u64) -> Result<(), SealError> {
        let due_ns = now_ns.saturating_add(PHASE_NS);
        if self.due_ns == 0 {
            self.due_ns = due_ns;
        } else if now_ns >= self.due_ns
            && self.phase_end - self.counter <= PHASE_PACKETS - PHASE_PACKETS_MIN
        {
            self.end_phase();
        }
        if self.counter < self.phase_end {
            return Ok(());
        }
        if self.phase_end >> PHASE_BITS >= PHASES {
            return Err(SealError::UsedUp);
        }
        self.secret = self.secret.next();
        self.key = self.secret.lane_key(self.direction, self.slot);
        self.phase_end += PHASE_PACKETS;
        self.due_ns = due_ns;
        Ok(())
    }
}

/// Copies the frames to where they will stand in the packet; returns their bytes.
fn copy<'a>(pieces: impl Iterator<Item = &'a [u8]>, out: &mut [u8]) -> Result<usize, SealError> {
    let mut end = PACKET_HEADER_BYTES;
    for piece in pieces {
        let place = out.get_mut(end..end + piece.len()).ok_or(SealError::NoRoom)?;
        place.copy_from_slice(piece);
        end += piece.len();
    }
    Ok(end - PACKET_HEADER_BYTES)
}

#[cfg(test)]
#[path = "sealing/tests.rs"]
mod tests;

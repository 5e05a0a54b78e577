//! Signs what a router or publisher sends of signed types: the frames of a batch are made aside,
//! hashed into a tree, and its root is signed once.
//!
//! Owned by the router or publisher; it hands back proofs and payloads, who writes them is others'
//! business.

use wireloom_identity::{Tree, leaf_hash};
use wireloom_wire::{Frame, FrameEncoder, NodeId, Proof, SIGNED_EVENTS_MAX};

use super::book::ValidationBook;
use crate::encode::{EncodeError, Scratch, encode_growing};
use crate::event::Event;
use crate::outcome::Refused;
use crate::shared::Shared;

/// Room first tried for a frame.
const FIRST_BYTES: usize = 1 << 10;

/// One event of a batch.
#[derive(Debug)]
struct Signed {
    frame: Vec<u8>,
    payload: Vec<u8>,
    proof: Proof,
}

/// A batch of at most [`SIGNED_EVENTS_MAX`] events; its memory is kept for the next one.
#[derive(Debug, Default)]
pub(crate) struct Signing {
    events: Vec<Signed>,
    taken: usize,
    leaves: usize,
}

impl Signing {
    /// Begins a batch of so many events.
    pub(crate) fn begin(&mut self, events: usize) {
        (self.taken, self.leaves) = (0, events.min(SIGNED_EVENTS_MAX));
    }

    /// Takes the next event of the batch: what will stand before its payload, and the event.
    pub(crate) fn push<E: Event>(
        &mut self,
        head: &FrameEncoder<'_>,
        (event, scratch): (&E, &mut Scratch),
        bytes_max: usize,
    ) -> Result<(), Refused> {
        let limit = bytes_max;
        let proof = Proof::new(self.taken, self.leaves).ok_or(Refused::TooLarge { limit })?;
        if self.events.len() == self.taken {
            self.events.push(Signed { frame: Vec::new(), payload: Vec::new(), proof });
        }
        let signed = &mut self.events[self.taken];
        signed.proof = proof;
        encode_aside(event, &mut signed.payload, scratch, bytes_max)?;
        let head = head.with_proof(&proof);
        signed.frame.clear();
        signed
            .frame
            .resize(head.payload_offset() + signed.payload.len() + wireloom_wire::ALIGNMENT, 0);
        let written = head.write(&signed.payload, &mut signed.frame);
        let length = written.map_err(|_| Refused::TooLarge { limit })?;
        signed.frame.truncate(length);
        self.taken += 1;
        Ok(())
    }

    /// Signs the batch as a node's.
    pub(crate) fn sign(&mut self, source: NodeId, book: &ValidationBook) -> Result<(), Refused> {
        let signer = book.signer.get().ok_or(Refused::Unsigned)?;
        let events = &mut self.events[..self.taken];
        let leaf_of = |signed: &Signed| {
            // It was written a moment ago.
            Frame::parse(&signed.frame).map_or([0; 32], |frame| leaf_hash(source, frame.proven()))
        };
        let tree = Tree::of(events.iter().map(leaf_of).collect());
        let signature = signer.sign_root(&tree.root());
        for (place, signed) in events.iter_mut().enumerate() {
            signed.proof.signature = signature;
            for (step, beside) in signed.proof.path_mut().iter_mut().zip(tree.path(place)) {
                *step = *beside;
            }
        }
        Ok(())
    }

    /// One event, signed alone.
    pub(crate) fn alone<E: Event>(
        &mut self,
        (head, event): (&FrameEncoder<'_>, &E),
        (scratch, bytes_max): (&mut Scratch, usize),
        shared: &Shared,
    ) -> Result<(&Proof, &[u8]), Refused> {
        self.begin(1);
        self.push(head, (event, scratch), bytes_max)?;
        self.sign(shared.id(), &shared.validation)?;
        self.signed(0).ok_or(Refused::Unsigned)
    }

    /// What goes with an event of the batch, and its payload.
    pub(crate) fn signed(&self, place: usize) -> Option<(&Proof, &[u8])> {
        let signed = self.events[..self.taken].get(place)?;
        Some((&signed.proof, &signed.payload))
    }
}

/// A payload that is made already, written where it is sent from.
pub(crate) fn put(payload: &[u8], into: &mut [u8]) -> Result<usize, EncodeError> {
    into.get_mut(..payload.len()).ok_or(EncodeError::DoesNotFit)?.copy_from_slice(payload);
    Ok(payload.len())
}

/// Writes the archive of an event into memory that grows to what it needs.
fn encode_aside<E: Event>(
    event: &E,
    into: &mut Vec<u8>,
    scratch: &mut Scratch,
    bytes_max: usize,
) -> Result<(), Refused> {
    let mut room = into.capacity().max(FIRST_BYTES).min(bytes_max.max(FIRST_BYTES));
    loop {
        into.clear();
        into.resize(room, 0);
        match encode_growing(event, into, scratch) {
            Ok(bytes) => {
                into.truncate(bytes);
                return Ok(());
            }
            Err(EncodeError::DoesNotFit) if room < bytes_max => {
                room = room.saturating_mul(4).min(bytes_max);
            }
            Err(EncodeError::DoesNotFit) => return Err(Refused::TooLarge { limit: bytes_max }),
            Err(_) => return Err(Refused::TooComplex),
        }
    }
}

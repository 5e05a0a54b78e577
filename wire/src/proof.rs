//! Who published an event, provable without the link it came by: the `SIGNED` extension.
//!
//! Events are signed in batches: their hashes are the leaves of a Merkle tree (RFC 6962), its root
//! is signed, and each event carries the signature and the way from its leaf to the root. Plain
//! values without state: this crate hashes and verifies nothing.
//!
//! ```text
//!  0 ├ leaf, u8 ┼ leaves, u8 ┼─ 14 × 0 ─────────────────┤
//! 16 ├─ signature of the root, 64 B ─────────────────────┤
//! 80 ├─ audit path: 32 B for each step, 0 to 6 of them ──┤
//! ```

use crate::bytes::all_zero;

/// Bytes before the audit path.
const FIXED_BYTES: usize = 80;

/// Bytes of a leaf, a node, a root.
pub const HASH_BYTES: usize = 32;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// So many events are signed together at most.
pub const SIGNED_EVENTS_MAX: usize = 64;

/// Steps of the longest audit path.
pub const AUDIT_STEPS_MAX: usize = 6;

/// The longest extension.
pub(crate) const PROOF_BYTES_MAX: usize = FIXED_BYTES + AUDIT_STEPS_MAX * HASH_BYTES;

/// The `SIGNED` extension of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    leaf: u8,
    leaves: u8,
    /// The signature of the root.
    pub signature: [u8; SIGNATURE_BYTES],
    path: [[u8; HASH_BYTES]; AUDIT_STEPS_MAX],
}

impl Proof {
    /// Of one event of a batch, all zeros yet; `None` unless `leaf` is below `leaves`, and those
    /// are at most [`SIGNED_EVENTS_MAX`].
    #[must_use]
    pub fn new(leaf: usize, leaves: usize) -> Option<Self> {
        if leaf >= leaves || leaves > SIGNED_EVENTS_MAX {
            return None;
        }
        let path = [[0; HASH_BYTES]; AUDIT_STEPS_MAX];
        let (leaf, leaves) = (u8::try_from(leaf).ok()?, u8::try_from(leaves).ok()?);
        Some(Self { leaf, leaves, signature: [0; SIGNATURE_BYTES], path })
    }

    /// Which leaf of the batch the event is, from 0.
    #[must_use]
    pub const fn leaf(&self) -> usize {
        self.leaf as usize
    }

    /// How many events the batch has.
    #[must_use]
    pub const fn leaves(&self) -> usize {
        self.leaves as usize
    }

    /// The nodes beside the way from the leaf to the root, the lowest first.
    #[must_use]
    pub fn path(&self) -> &[[u8; HASH_BYTES]] {
        &self.path[..self.steps()]
    }

    /// The same to be written.
    pub fn path_mut(&mut self) -> &mut [[u8; HASH_BYTES]] {
        let steps = self.steps();
        &mut self.path[..steps]
    }

    fn steps(&self) -> usize {
        audit_steps(self.leaf(), self.leaves()).min(AUDIT_STEPS_MAX)
    }

    /// Bytes of the extension: a multiple of 16.
    #[must_use]
    pub fn bytes(&self) -> usize {
        FIXED_BYTES + self.steps() * HASH_BYTES
    }

    /// The extension's bytes; those behind [`Proof::bytes`] are zero.
    pub(crate) fn encode(&self) -> [u8; PROOF_BYTES_MAX] {
        let mut bytes = [0; PROOF_BYTES_MAX];
        (bytes[0], bytes[1]) = (self.leaf, self.leaves);
        bytes[16..FIXED_BYTES].copy_from_slice(&self.signature);
        bytes[FIXED_BYTES..self.bytes()].copy_from_slice(self.path().as_flattened());
        bytes
    }

    /// What the front of `bytes` says; `None` where it is cut or no extension.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<16>()?;
        let mut proof = Self::new(usize::from(head[0]), usize::from(head[1]))?;
        let (signature, rest) = rest.split_first_chunk()?;
        if !all_zero(&head[2..]) {
            return None;
        }
        proof.signature = *signature;
        let path = rest.get(..proof.steps() * HASH_BYTES)?;
        proof.path_mut().as_flattened_mut().copy_from_slice(path);
        Some(proof)
    }

    /// Bytes of the extension at the front of `bytes`, from a frame that was checked.
    pub(crate) fn bytes_of(bytes: &[u8]) -> Option<usize> {
        let (leaf, leaves) = (*bytes.first()?, *bytes.get(1)?);
        Some(Self::new(usize::from(leaf), usize::from(leaves))?.bytes())
    }
}

/// Steps from a leaf to the root of a tree of `leaves` (RFC 6962, 2.1.1).
fn audit_steps(leaf: usize, leaves: usize) -> usize {
    let (mut leaf, mut leaves, mut steps) = (leaf, leaves, 0);
    while leaves > 1 {
        // The largest power of two below the number of leaves.
        let left = leaves.next_power_of_two() / 2;
        if leaf < left {
            leaves = left;
        } else {
            (leaf, leaves) = (leaf - left, leaves - left);
        }
        steps += 1;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_long_as_their_trees_are_high() {
        let steps = |leaf, leaves| audit_steps(leaf, leaves);
        assert_eq!((steps(0, 1), steps(0, 2), steps(1, 2), steps(2, 3)), (0, 1, 1, 1));
        assert_eq!((steps(0, 3), steps(4, 5), steps(6, 7), steps(63, 64)), (2, 1, 2, 6));
        for leaves in 1..=SIGNED_EVENTS_MAX {
            for leaf in 0..leaves {
                assert!(steps(leaf, leaves) <= AUDIT_STEPS_MAX, "{leaf} of {leaves}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read_and_what_cannot_be_is_refused() {
        for leaves in 1..=SIGNED_EVENTS_MAX {
            for leaf in 0..leaves {
                let mut proof = Proof::new(leaf, leaves).expect("in range");
                proof.signature = [7; SIGNATURE_BYTES];
                for (step, node) in proof.path_mut().iter_mut().zip(1..) {
                    *step = [node; HASH_BYTES];
                }
                let bytes = &proof.encode()[..proof.bytes()];
                assert_eq!(Proof::decode(bytes), Some(proof));
                assert_eq!(Proof::bytes_of(bytes), Some(bytes.len()));
                assert_eq!(bytes.len() % 16, 0);
                assert_eq!(Proof::decode(&bytes[..bytes.len() - 1]), None, "cut");
                let mut reserved = [0; PROOF_BYTES_MAX];
                reserved[..bytes.len()].copy_from_slice(bytes);
                reserved[15] = 1;
                assert_eq!(Proof::decode(&reserved), None, "reserved bytes");
            }
        }
        for (leaf, leaves) in [(0, 0), (1, 1), (64, 65), (0, 65), (300, 301)] {
            assert_eq!(Proof::new(leaf, leaves), None, "{leaf} of {leaves}");
        }
    }
}

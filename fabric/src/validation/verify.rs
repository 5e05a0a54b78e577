//! Whether a node has published what comes under its name: on the control thread, before the event
//! goes to its handlers.
//!
//! A signature is of a whole batch, so a root that was found good once is remembered, and the other
//! events of the batch cost hashes alone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use wireloom_identity::{Hash, PublicKey, leaf_hash, root_of_path};
use wireloom_wire::{Frame, NodeId};

use super::book::ValidationBook;
use crate::node::Node;

/// Signatures verified in a cycle of the control thread, for each type and receiver: under a
/// millisecond, whatever somebody sends.
const VERIFICATIONS_A_CYCLE: usize = 16;

/// Batches that are remembered for each type and receiver.
const ROOTS_MAX: usize = 64;

/// Who knows by which keys nodes sign: certificates, or a table in a test.
pub trait SignerKeys: Send + Sync {
    /// The key of a node; `None` of one that nothing is known of, or nothing any more. It is asked
    /// for each event of a signed type, by the control thread.
    fn key_of(&self, node: NodeId) -> Option<PublicKey>;
}

impl SignerKeys for BTreeMap<NodeId, PublicKey> {
    fn key_of(&self, node: NodeId) -> Option<PublicKey> {
        self.get(&node).copied()
    }
}

/// Whom a node asks for keys; nobody, as long as it was not told.
#[derive(Default)]
pub(crate) struct Signers(RwLock<Option<Arc<dyn SignerKeys>>>);

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signers").finish_non_exhaustive()
    }
}

impl Signers {
    pub(super) fn know(&self, source: Arc<dyn SignerKeys>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    fn key_of(&self, node: NodeId) -> Option<PublicKey> {
        let source = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        source?.key_of(node)
    }
}

/// Why an event is not taken for its source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unverified {
    #[error(
        "an event of node {:016x} came without a signature: its publisher is to route it by its \
         Rust type, for JSON is never signed", .0.0
    )]
    Unsigned(NodeId),
    #[error("no key of node {:016x} is known here", .0.0)]
    UnknownSigner(NodeId),
    #[error("the signature of an event of node {:016x} is not its own, or not of this event", .0.0)]
    Forged(NodeId),
    /// Enough was verified in this cycle.
    #[error("not yet")]
    Later,
}

/// Verifies the events of one type from one receiver.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// Roots with the keys that have signed them, the newest over the oldest.
    roots: Vec<(PublicKey, Hash)>,
    next: usize,
    left: usize,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { roots: Vec::with_capacity(ROOTS_MAX), next: 0, left: VERIFICATIONS_A_CYCLE }
    }
}

impl Verifier {
    pub(crate) const fn begin_cycle(&mut self) {
        self.left = VERIFICATIONS_A_CYCLE;
    }

    /// Whether the event is its source's. A known root costs a hash of the event and one for each
    /// step to the root, another one a signature.
    pub(crate) fn verify(
        &mut self,
        frame: &Frame<'_>,
        source: NodeId,
        book: &ValidationBook,
    ) -> Result<(), Unverified> {
        let proof = frame.proof().ok_or(Unverified::Unsigned(source))?;
        // Asked for each event: a key that was taken back is good for none.
        let key = book.keys.key_of(source).ok_or(Unverified::UnknownSigner(source))?;
        let leaf = leaf_hash(source, frame.proven());
        let root = root_of_path(leaf, (proof.leaf(), proof.leaves()), proof.path());
        let root = root.ok_or(Unverified::Forged(source))?;
        if self.roots.contains(&(key, root)) {
            return Ok(());
        }
        self.left = self.left.checked_sub(1).ok_or(Unverified::Later)?;
        if !key.has_signed(&root, &proof.signature) {
            return Err(Unverified::Forged(source));
        }
        if self.roots.len() < ROOTS_MAX {
            self.roots.push((key, root));
        } else {
            self.roots[self.next % ROOTS_MAX] = (key, root);
        }
        self.next = self.next.wrapping_add(1);
        Ok(())
    }
}

impl Node {
    /// Says who knows by which keys other nodes sign: on a node with credentials the certificates
    /// of those that have a link to it, unless told otherwise. Events of [signed
    /// types](crate::Event::SIGNED) from nodes it does not know are refused, and without it those
    /// of all other nodes. Events of this process are not asked for a signature.
    pub fn signers_from(&self, source: Arc<dyn SignerKeys>) {
        self.shared.validation.signers_from(source);
    }
}

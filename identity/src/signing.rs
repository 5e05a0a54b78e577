//! What a node's key signs beside its handshakes: roots of trees of events. Nothing else, so that
//! nobody can have it sign something that means another thing elsewhere.

use crate::Credentials;
use crate::key::is_signed;
use crate::tree::Hash;

/// What every signed text begins with: TLS and certificates sign nothing that does.
const CONTEXT: &[u8; 24] = b"wireloom signed events 1";

/// A signature of Ed25519.
pub type Signature = [u8; 64];

/// The public half of a node's key: who has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Whether the holder of this key has signed the root. About 31 µs, for whatever bytes. By a
    /// key under which anybody can sign (a point of small order) nobody has.
    #[must_use]
    pub fn has_signed(&self, root: &Hash, signature: &Signature) -> bool {
        !self.is_weak() && is_signed(&self.0, &text_of(root), signature)
    }

    /// Whether it is a point of small order, in whatever encoding: AWS-LC does not look.
    fn is_weak(&self) -> bool {
        let mut y = self.0;
        y[31] &= 0x7f;
        let [mut small, mut large] = [[0; 32], [0xff; 32]];
        large[31] = 0x7f;
        // 0 and 1; the prime less one, the prime, and one above it.
        let small = [0, 1].map(|first| {
            small[0] = first;
            small
        });
        let large = [0xec, 0xed, 0xee].map(|first| {
            large[0] = first;
            large
        });
        small.contains(&y) || large.contains(&y) || OF_ORDER_EIGHT.contains(&y)
    }
}

/// The two y of order eight, little-endian.
const OF_ORDER_EIGHT: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

impl Credentials {
    /// Signs the root of a tree of events with the node's key. About 8 µs.
    #[must_use]
    pub fn sign_root(&self, root: &Hash) -> Signature {
        let signature = self.with_key(|key| key.sign(&text_of(root)));
        // Ed25519 signatures have 64 bytes; of any other length none is good.
        signature.try_into().unwrap_or([0; 64])
    }

    /// By what others know who has signed: the key of the node's certificate now.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.with_key(|key| key.public().try_into().unwrap_or([0; 32])))
    }
}

fn text_of(root: &Hash) -> [u8; CONTEXT.len() + 32] {
    let mut text = [0; CONTEXT.len() + 32];
    text[..CONTEXT.len()].copy_from_slice(CONTEXT);
    text[CONTEXT.len()..].copy_from_slice(root);
    text
}

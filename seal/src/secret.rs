//! What two nodes share, and what is derived from it. Owns the secret of one phase; the bytes are
//! wiped when it is dropped, and those of the phase before when it moves on.

use aws_lc_rs::aead::{AES_256_GCM, Algorithm, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use zeroize::Zeroizing;

use crate::lane_key::{IV_BYTES, LaneKey};

/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;

const KEY_BYTES: usize = 32;
const LANE_LABEL: &[u8] = b"wireloom lane";
const PHASE_LABEL: &[u8] = b"wireloom phase";

/// By what packets are sealed. Both nodes must mean the same: it is agreed on with the secret, and
/// each derives other keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// AES-256-GCM: the faster one where both processors have instructions for AES.
    Aes256Gcm = 1,
    /// ChaCha20-Poly1305: as safe without them, and three to five times slower than AES with them.
    ChaCha20Poly1305 = 2,
}

impl Cipher {
    /// The faster one on this processor. Asks the processor once (some 100 ns, then a load).
    #[must_use]
    pub fn of_this_processor() -> Self {
        if has_aes() { Self::Aes256Gcm } else { Self::ChaCha20Poly1305 }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes256Gcm => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const fn has_aes() -> bool {
    false
}

/// Which way packets go between the two nodes of a secret: each way has keys of its own, so that
/// none can be sent back to who sealed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the node that dialled the connection that the secret comes from.
    FromDialler = 0,
    /// From the node that accepted it.
    FromAcceptor = 1,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub const fn back(self) -> Self {
        match self {
            Self::FromDialler => Self::FromAcceptor,
            Self::FromAcceptor => Self::FromDialler,
        }
    }
}

/// A secret that two nodes share, in one phase of its life.
///
/// Never the same one in two lives of a process: keys begin to count at 0.
pub struct Secret {
    cipher: Cipher,
    bytes: Zeroizing<[u8; SECRET_BYTES]>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

/// The length of what is derived, for `aws-lc-rs`.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl Secret {
    /// A secret of random bytes, those of a TLS exporter for example, in its first phase.
    #[must_use]
    pub fn new(cipher: Cipher, bytes: &[u8; SECRET_BYTES]) -> Self {
        Self { cipher, bytes: Zeroizing::new(*bytes) }
    }

    /// One that nobody else has.
    ///
    /// # Panics
    /// When the system has no randomness to give, as no key could be made then.
    #[must_use]
    pub fn random(cipher: Cipher) -> Self {
        let mut secret = Self::new(cipher, &[0; SECRET_BYTES]);
        aws_lc_rs::rand::fill(&mut secret.bytes[..]).expect("the system has randomness");
        secret
    }

    /// What it is for.
    #[must_use]
    pub const fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// The secret of the next phase; this one cannot be found from it. About 1 µs.
    pub(crate) fn next(&self) -> Self {
        let mut next = Self::new(self.cipher, &[0; SECRET_BYTES]);
        self.expand(&[PHASE_LABEL], &mut next.bytes[..]);
        next
    }

    /// A second one of the same, for a second key. Not public: secrets are not passed around.
    pub(crate) fn copy(&self) -> Self {
        Self::new(self.cipher, &self.bytes)
    }

    /// The key and IV of a slot in this phase. About 2 µs.
    pub(crate) fn lane_key(&self, direction: Direction, slot: u8) -> LaneKey {
        let mut derived = Zeroizing::new([0; KEY_BYTES + IV_BYTES]);
        let names = [self.cipher as u8, direction as u8, slot];
        self.expand(&[LANE_LABEL, &names], &mut derived[..]);
        let (key, rest) = derived.split_at(KEY_BYTES);
        let mut iv = [0; IV_BYTES];
        iv.copy_from_slice(rest);
        let key = UnboundKey::new(self.cipher.algorithm(), key);
        LaneKey::new(LessSafeKey::new(key.expect("both ciphers take 32 bytes")), iv)
    }

    /// HKDF-Expand (RFC 5869, section 2.3) by SHA-256.
    fn expand(&self, info: &[&[u8]], out: &mut [u8]) {
        let key = Prk::new_less_safe(HKDF_SHA256, &self.bytes[..]);
        let derived = key.expand(info, Bytes(out.len())).and_then(|okm| okm.fill(out));
        derived.expect("at most 44 of the 8,160 bytes that there are");
    }
}

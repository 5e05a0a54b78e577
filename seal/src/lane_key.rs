//! The key and IV of one slot in one phase: the only place that calls the cipher.
//!
//! Owned by a sealing or an opening key. Knows no counter: whoever calls sees to it that none is
//! sealed with twice.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::error::Unspecified;

pub(crate) const IV_BYTES: usize = NONCE_LEN;

pub(crate) struct LaneKey {
    key: LessSafeKey,
    iv: [u8; IV_BYTES],
}

impl std::fmt::Debug for LaneKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneKey").finish_non_exhaustive()
    }
}

impl LaneKey {
    pub(crate) const fn new(key: LessSafeKey, iv: [u8; IV_BYTES]) -> Self {
        Self { key, iv }
    }

    /// The IV, exclusive-or four zeros and the counter, big-endian.
    #[inline]
    fn nonce(&self, counter: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(counter.to_be_bytes()) {
            *byte ^= count;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts `body` into `out`, of the same length, and writes the tag.
    #[inline]
    pub(crate) fn seal_from(
        &self,
        (counter, head): (u64, &[u8]),
        body: &[u8],
        out: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), Unspecified> {
        let nonce = self.nonce(counter);
        self.key.seal_out_of_place_scatter(nonce, Aad::from(head), body, out, &[], tag)
    }

    /// Encrypts `body` where it is and writes the tag. Of an empty body: a tag over `head` alone.
    #[inline]
    pub(crate) fn seal_in_place(
        &self,
        (counter, head): (u64, &[u8]),
        body: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), Unspecified> {
        let nonce = self.nonce(counter);
        self.key.seal_in_place_scatter(nonce, Aad::from(head), body, &[], tag)
    }

    /// Verifies the tag and decrypts `body` into `plain`, of the same length.
    #[inline]
    pub(crate) fn open(
        &self,
        (counter, head): (u64, &[u8]),
        body: &[u8],
        tag: &[u8],
        plain: &mut [u8],
    ) -> Result<(), Unspecified> {
        let nonce = self.nonce(counter);
        self.key.open_separate_gather(nonce, Aad::from(head), body, tag, plain)
    }
}

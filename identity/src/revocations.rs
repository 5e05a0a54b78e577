//! The list of certificates that were taken back: one canonical text, signed by the authority.
//!
//! ```text
//! wireloom revocations 1
//! cluster NAME
//! epoch 3
//! revoked 4f0c…
//! signature 9d31…
//! ```
//! The name is percent-encoded as in certificates, numbers are in ascending order, and the
//! signature (Ed25519) is over every byte before its own line. There is one text for one list: a
//! reader that would write other bytes refuses them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::certificate::PublicKey;
use crate::error::IdentityError;
use crate::key::{self, Key};
use crate::name::{self, encoded};
use crate::serial::{Serial, read_hex};

/// Numbers of a list.
pub const SERIALS_MAX: usize = 4_096;
/// Bytes of a list: its head, its numbers of 41 bytes, its signature. Nothing longer is parsed.
pub const LIST_BYTES_MAX: usize = 1_024 + 41 * SERIALS_MAX;

/// Lists of a file: one of each authority that a node can trust.
pub(crate) const LISTS_MAX: usize = 4;

const FIRST_LINE: &str = "wireloom revocations 1\n";
const SIGNATURE: &str = "signature ";
const SIGNATURE_BYTES: usize = 64;

/// Certificates that were taken back, at an epoch that grows with each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    cluster: String,
    epoch: u64,
    serials: BTreeSet<Serial>,
    text: Vec<u8>,
    /// Where the signature's line begins: what is signed ends there.
    signed: usize,
    signature: [u8; SIGNATURE_BYTES],
}

impl RevocationList {
    /// Reads a list, whatever the bytes are, and does not ask who signed it.
    ///
    /// # Errors
    /// [`IdentityError::ListMalformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        let wrong = IdentityError::ListMalformed;
        if bytes.len() > LIST_BYTES_MAX {
            return Err(wrong("it is longer than any list"));
        }
        let text = str::from_utf8(bytes).map_err(|_| wrong("it is no text"))?;
        let body =
            text.strip_prefix(FIRST_LINE).ok_or_else(|| wrong("its first line is another"))?;
        let mut lines = body.split_inclusive('\n');
        let mut line = |word: &str| lines.next().and_then(|line| value(line, word));
        let cluster =
            line("cluster ").and_then(name::decoded).ok_or_else(|| wrong("no cluster"))?;
        name::check("cluster", &cluster)?;
        let epoch =
            line("epoch ").and_then(|epoch| epoch.parse().ok()).ok_or_else(|| wrong("no epoch"))?;
        let (mut serials, mut signature) = (BTreeSet::new(), None);
        for line in lines {
            if signature.is_some() {
                return Err(wrong("something stands behind its signature"));
            }
            if let Some(serial) = value(line, "revoked ") {
                let serial = serial.parse().map_err(|_| wrong("a number is none"))?;
                if serials.len() == SERIALS_MAX {
                    return Err(wrong("it has more than 4,096 numbers"));
                }
                serials.insert(serial);
            } else {
                let digits = value(line, SIGNATURE).ok_or_else(|| wrong("a line is unknown"))?;
                let mut read = [0; SIGNATURE_BYTES];
                read_hex(digits, &mut read).ok_or_else(|| wrong("its signature is none"))?;
                signature = Some(read);
            }
        }
        let signature = signature.ok_or_else(|| wrong("it has no signature"))?;
        let list = Self::assemble(cluster, epoch, serials, |_| signature);
        if list.text == bytes { Ok(list) } else { Err(wrong("it is not in its one form")) }
    }

    /// A list signed with a key.
    pub(crate) fn sign(cluster: &str, epoch: u64, serials: BTreeSet<Serial>, key: &Key) -> Self {
        Self::assemble(cluster.to_owned(), epoch, serials, |text| {
            let mut signature = [0; SIGNATURE_BYTES];
            // Ed25519 signatures have 64 bytes (RFC 8032).
            signature.copy_from_slice(&key.sign(text));
            signature
        })
    }

    fn assemble(
        cluster: String,
        epoch: u64,
        serials: BTreeSet<Serial>,
        sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES],
    ) -> Self {
        let mut text = format!("{FIRST_LINE}cluster {}\nepoch {epoch}\n", encoded(&cluster));
        text.reserve_exact(41 * serials.len() + 2 * SIGNATURE_BYTES + 16);
        for serial in &serials {
            let _ = writeln!(text, "revoked {serial}");
        }
        let signed = text.len();
        let signature = sign(text.as_bytes());
        text.push_str(SIGNATURE);
        signature.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
        text.push('\n');
        Self { cluster, epoch, serials, text: text.into_bytes(), signed, signature }
    }

    /// Reads the lists of several authorities, one behind the other, as a node's file has them.
    ///
    /// # Errors
    /// As [`RevocationList::parse`]; more than four are none.
    pub(crate) fn parse_all(bytes: &[u8]) -> Result<Vec<Self>, IdentityError> {
        let starts = bytes.windows(FIRST_LINE.len()).enumerate();
        let starts = starts.filter(|(_, line)| *line == FIRST_LINE.as_bytes()).map(|(at, _)| at);
        let mut starts: Vec<usize> = starts.skip(1).take(LISTS_MAX).collect();
        if starts.len() == LISTS_MAX {
            return Err(IdentityError::ListMalformed("the file has more than four lists"));
        }
        starts.push(bytes.len());
        let mut from = 0;
        let lists = starts.into_iter().map(|to| {
            let list = Self::parse(&bytes[from..to]);
            from = to;
            list
        });
        lists.collect()
    }

    /// Which of these authorities has signed it, for this cluster.
    pub(crate) fn verify<'a>(
        &self,
        cluster: &str,
        mut authorities: impl Iterator<Item = &'a PublicKey>,
    ) -> Result<PublicKey, IdentityError> {
        let signed = &self.text[..self.signed];
        let signer = authorities.find(|public| key::is_signed(*public, signed, &self.signature));
        let signer = signer.ok_or(IdentityError::ListSignature)?;
        if self.cluster != cluster {
            return Err(IdentityError::ListOfOtherCluster(self.cluster.clone()));
        }
        Ok(*signer)
    }

    /// The cluster whose authority says so.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Which of the authority's lists this is; a later one has a greater epoch.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether this certificate was taken back. A search in a tree of at most 4,096.
    #[must_use]
    pub fn is_revoked(&self, serial: Serial) -> bool {
        self.serials.contains(&serial)
    }

    /// The numbers, ascending.
    pub fn serials(&self) -> impl ExactSizeIterator<Item = Serial> {
        self.serials.iter().copied()
    }

    /// The text: what a file holds and what is told to others.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }
}

/// What stands behind a line's first word.
fn value<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix(word)?.strip_suffix('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(count: usize, key: &Key) -> RevocationList {
        let serials = (0..count).map(|_| Serial::random().expect("random bytes")).collect();
        RevocationList::sign("größe", 7, serials, key)
    }

    fn public(key: &Key) -> PublicKey {
        key.public().try_into().expect("32 bytes")
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let key = Key::generate().expect("a key");
        for count in [0, 1, SERIALS_MAX] {
            let list = list(count, &key);
            let read = RevocationList::parse(list.as_bytes()).expect("ours");
            assert_eq!(read, list);
            assert!(read.verify("größe", [public(&key)].iter()).is_ok());
            let other = read.verify("other", [public(&key)].iter());
            assert!(matches!(other, Err(IdentityError::ListOfOtherCluster(_))));
            assert!(list.serials().all(|serial| read.is_revoked(serial)));
        }
    }

    #[test]
    fn a_changed_byte_is_refused_wherever_it_stands() {
        let key = Key::generate().expect("a key");
        let good = list(3, &key);
        for at in 0..good.as_bytes().len() {
            for change in [1_u8, 0x20, 0x80] {
                let mut bytes = good.as_bytes().to_vec();
                bytes[at] ^= change;
                let read = RevocationList::parse(&bytes)
                    .and_then(|list| list.verify("größe", [public(&key)].iter()));
                assert!(read.is_err(), "byte {at} changed by {change:#x}");
            }
            assert!(RevocationList::parse(&good.as_bytes()[..at]).is_err(), "cut at {at}");
        }
        let longer = [good.as_bytes(), b"\n"].concat();
        assert!(RevocationList::parse(&longer).is_err());
    }

    #[test]
    fn one_number_too_many_is_refused() {
        let key = Key::generate().expect("a key");
        let told = RevocationList::parse(list(SERIALS_MAX + 1, &key).as_bytes()).unwrap_err();
        assert!(told.to_string().contains("4,096"), "{told}");
        let long = vec![b'a'; LIST_BYTES_MAX + 1];
        assert!(RevocationList::parse(&long).unwrap_err().to_string().contains("longer"));
    }

    #[test]
    fn another_key_is_refused() {
        let (key, other) = (Key::generate().expect("a key"), Key::generate().expect("a key"));
        let told = list(1, &key).verify("größe", [public(&other)].iter());
        assert!(matches!(told, Err(IdentityError::ListSignature)));
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_or_not(text in "(?s:.{0,400})", tail in "\\PC{0,80}") {
            let _ = RevocationList::parse(text.as_bytes());
            let begun = format!("{FIRST_LINE}cluster a\nepoch {tail}");
            let _ = RevocationList::parse(begun.as_bytes());
        }
    }
}

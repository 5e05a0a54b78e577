//! Base64 between two lines (RFC 7468): what `openssl` and people read. Reading is rustls'.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// Letters of a line.
const LINE: usize = 64;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` under a label such as `CERTIFICATE`. In one piece of memory, wiped when it is dropped,
/// because it may be a key.
pub(crate) fn encode(label: &str, bytes: &[u8]) -> Zeroizing<String> {
    let letters = bytes.len().div_ceil(3) * 4;
    let capacity = letters + letters / LINE + 2 * label.len() + 40;
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for (index, three) in bytes.chunks(3).enumerate() {
        if index > 0 && (index * 4).is_multiple_of(LINE) {
            text.push('\n');
        }
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4_u32 {
            let letter = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            let padding = at as usize > three.len();
            text.push(if padding { '=' } else { char::from(letter) });
        }
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    debug_assert!(text.len() <= capacity, "a buffer that grows leaves copies behind");
    text
}

/// The certificates of a text, at most so many.
pub(crate) fn certificates(
    text: &[u8],
    count_max: usize,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text) {
        if found.len() == count_max {
            return Err(format!("it holds more than {count_max} certificates"));
        }
        found.push(certificate.map_err(|error| error.to_string())?);
    }
    if found.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(found) }
}

/// The one key of a text.
pub(crate) fn key(text: &[u8]) -> Result<PrivatePkcs8KeyDer<'static>, String> {
    PrivatePkcs8KeyDer::from_pem_slice(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
            let text = encode("CERTIFICATE", &bytes);
            prop_assert!(text.lines().all(|line| line.len() <= LINE));
            let read = certificates(text.as_bytes(), 1).expect("one");
            prop_assert_eq!(read[0].as_ref(), &bytes[..]);
        }

        #[test]
        fn whatever_stands_there_is_read_or_not(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = certificates(&bytes, 4);
            let _ = key(&bytes);
        }
    }
}

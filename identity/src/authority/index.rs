//! What an authority has issued: a line a certificate in `issued.wl`, only ever appended to.
//!
//! `issued SERIAL NODE FROM UNTIL`, the name percent-encoded, times in seconds since 1970.

use std::path::Path;

use crate::error::IdentityError;
use crate::files;
use crate::name::{decoded, encoded};
use crate::serial::Serial;

/// Bytes of the index: a hundred thousand certificates of nodes with long names.
const INDEX_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its number.
    pub serial: Serial,
    /// The node's name.
    pub node: String,
    /// When it was made, seconds since 1970.
    pub issued_unix_s: u64,
    /// Until when it is good, seconds since 1970.
    pub expires_unix_s: u64,
}

pub(super) fn append(folder: &Path, issued: &Issued) -> Result<(), IdentityError> {
    let Issued { serial, node, issued_unix_s, expires_unix_s } = issued;
    let node = encoded(node);
    let line = format!("issued {serial} {node} {issued_unix_s} {expires_unix_s}\n");
    files::append(&folder.join("issued.wl"), &line)
}

pub(super) fn read(folder: &Path) -> Result<Vec<Issued>, IdentityError> {
    let path = folder.join("issued.wl");
    let bytes = files::read_if_there(&path, INDEX_BYTES_MAX)?.unwrap_or_default();
    let wrong = |why: String| IdentityError::Content {
        path: path.clone(),
        what: "index of issued certificates",
        why,
    };
    let text = str::from_utf8(&bytes).map_err(|error| wrong(error.to_string()))?;
    let lines = text.lines().zip(1..);
    lines.map(|(line, at)| parse(line).ok_or_else(|| wrong(format!("line {at}")))).collect()
}

fn parse(line: &str) -> Option<Issued> {
    let mut words = line.strip_prefix("issued ")?.split(' ');
    let issued = Issued {
        serial: words.next()?.parse().ok()?,
        node: decoded(words.next()?)?,
        issued_unix_s: words.next()?.parse().ok()?,
        expires_unix_s: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(issued)
}

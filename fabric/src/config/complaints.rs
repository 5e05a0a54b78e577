//! What is wrong with a TOML text, gathered while it is read: each fault with its place.
//!
//! Hostile text costs at most a fixed amount: its length is bounded here, the depth of its tables
//! by the parser, the faults that are told by [`super::fault`].

use std::collections::HashSet;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::fault::{FAULTS_MAX, Fault, Source};

/// A longer file is refused unread: twenty times one that says and explains everything.
pub const FILE_BYTES_MAX: usize = 256 << 10;

/// The faults of one text.
pub(crate) struct Complaints<'a> {
    name: Arc<str>,
    text: &'a str,
    /// Lines whose syntax is broken: what follows from that is not told again as a wrong value.
    broken: HashSet<usize>,
    faults: Vec<Fault>,
}

impl<'a> Complaints<'a> {
    /// Of the text called `name`.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), text: "", broken: HashSet::new(), faults: Vec::new() }
    }

    /// What of the text is TOML; none when it is no text of ours at all.
    pub(crate) fn table(&mut self, bytes: &'a [u8]) -> Option<Spanned<DeTable<'a>>> {
        if bytes.len() > FILE_BYTES_MAX {
            let problem = || format!("longer than {FILE_BYTES_MAX} bytes, so no configuration");
            self.fault(None, None, problem);
            return None;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text = text,
            Err(error) => {
                let good = &bytes[..error.valid_up_to()];
                self.text = std::str::from_utf8(good).unwrap_or_default();
                let at = self.text.len();
                self.fault(Some(at), None, || "not UTF-8 from here on".to_owned());
                return None;
            }
        }
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let at = error.span().map(|span| span.start);
            if self.tells()
                && let Some(at) = at
            {
                self.broken.insert(self.position(at).0);
            }
            self.fault(at, None, || format!("not TOML: {}", error.message()));
        }
        Some(table)
    }

    /// A fault of a line whose syntax is whole.
    pub(crate) fn unless_broken(
        &mut self,
        at: usize,
        key: Option<String>,
        problem: impl FnOnce() -> String,
    ) {
        if !self.tells() || !self.broken.contains(&self.position(at).0) {
            self.fault(Some(at), key, problem);
        }
    }

    /// Whether one more fault is told. Beyond, only their number counts: finding the line and the
    /// nearest word of each of a hundred thousand would take its time.
    fn tells(&self) -> bool {
        self.faults.len() < FAULTS_MAX
    }

    /// A fault, of the text as a whole when it has no place.
    pub(crate) fn fault(
        &mut self,
        at: Option<usize>,
        key: Option<String>,
        problem: impl FnOnce() -> String,
    ) {
        let fault = if self.tells() {
            Fault { place: self.place(at), key, problem: problem() }
        } else {
            Fault { place: self.place(None), key: None, problem: String::new() }
        };
        self.faults.push(fault);
    }

    pub(crate) fn place(&self, at: Option<usize>) -> Source {
        let (line, column) = at.map_or((0, 0), |at| self.position(at));
        Source::File { name: Arc::clone(&self.name), line, column }
    }

    pub(crate) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    /// Line and column, from 1, of a place in the text.
    fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

//! From the text of a TOML file to values with places, and to everything that is wrong with it.
//!
//! Hostile text costs at most a fixed amount: its length is bounded here, the depth of its tables
//! by the parser, the faults that are told by [`super::fault`].

use std::collections::HashSet;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::fault::{FAULTS_MAX, Fault, Source};
use super::key::Key;
use super::keys::{KEYS, find, sections};
use super::layers::Said;
use super::nearest::nearest;
use super::value::quoted;

/// A longer file is refused unread: twenty times one that says and explains everything.
pub const FILE_BYTES_MAX: usize = 256 << 10;

/// Reads `bytes`, the content of the file called `name`.
pub(super) fn read(name: &str, bytes: &[u8]) -> (Vec<Said>, Vec<Fault>) {
    let mut reading = Reading { name: name.into(), text: "", said: Vec::new(), faults: Vec::new() };
    if bytes.len() > FILE_BYTES_MAX {
        let problem = || format!("longer than {FILE_BYTES_MAX} bytes, so no configuration");
        reading.fault(None, None, problem);
        return (reading.said, reading.faults);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            reading.text = text;
            reading.document(text);
        }
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            reading.text = std::str::from_utf8(good).unwrap_or_default();
            let at = reading.text.len();
            reading.fault(Some(at), None, || "not UTF-8 from here on".to_owned());
        }
    }
    (reading.said, reading.faults)
}

struct Reading<'a> {
    name: Arc<str>,
    text: &'a str,
    said: Vec<Said>,
    faults: Vec<Fault>,
}

impl Reading<'_> {
    fn document(&mut self, text: &str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        // What follows from broken syntax is not told again as a wrong value of the same line.
        let mut broken = HashSet::new();
        for error in &errors {
            let at = error.span().map(|span| span.start);
            if self.tells() {
                broken.extend(at.map(|at| self.position(at).0));
            }
            self.fault(at, None, || format!("not TOML: {}", error.message()));
        }
        for (name, value) in table.get_ref() {
            match value.get_ref() {
                DeValue::Table(keys) if sections().any(|section| section == name.get_ref()) => {
                    self.section(name.get_ref(), keys, &broken);
                }
                other => {
                    let problem = || stray(name.get_ref(), other);
                    self.fault_unless(&broken, name.span().start, None, problem);
                }
            }
        }
    }

    fn section(&mut self, section: &str, keys: &DeTable<'_>, broken: &HashSet<usize>) {
        for (name, value) in keys {
            let Some(key) = find(section, name.get_ref()) else {
                let problem = || unknown(section, name.get_ref());
                self.fault_unless(broken, name.span().start, None, problem);
                continue;
            };
            let at = value.span().start;
            match key.value_in(value.get_ref()) {
                Ok(value) => self.said.push(Said { key, value, source: self.place(Some(at)) }),
                Err(problem) => self.fault_unless(broken, at, Some(key), || problem),
            }
        }
    }

    /// A fault of a line whose syntax is whole.
    fn fault_unless(
        &mut self,
        broken: &HashSet<usize>,
        at: usize,
        key: Option<&Key>,
        problem: impl FnOnce() -> String,
    ) {
        if !self.tells() || !broken.contains(&self.position(at).0) {
            self.fault(Some(at), key, problem);
        }
    }

    /// Whether one more fault is told. Beyond, only their number counts: finding the line and the
    /// nearest word of each of a hundred thousand would take its time.
    fn tells(&self) -> bool {
        self.faults.len() < FAULTS_MAX
    }

    fn fault(&mut self, at: Option<usize>, key: Option<&Key>, problem: impl FnOnce() -> String) {
        let fault = if self.tells() {
            Fault { place: self.place(at), key: key.map(Key::path), problem: problem() }
        } else {
            Fault { place: self.place(None), key: None, problem: String::new() }
        };
        self.faults.push(fault);
    }

    fn place(&self, at: Option<usize>) -> Source {
        let (line, column) = at.map_or((0, 0), |at| self.position(at));
        Source::File { name: Arc::clone(&self.name), line, column }
    }

    /// Line and column, from 1, of a place in the text.
    fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// What to say of something at the top of the file that is no section of ours.
fn stray(name: &str, value: &DeValue<'_>) -> String {
    let said = quoted(name);
    if sections().any(|section| section == name) {
        return format!("{said} is a section: write [{name}] and its keys below it");
    }
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        return format!("the key {said} stands in a section: write it below [{}]", key.section);
    }
    let what = if matches!(value, DeValue::Table(_)) { "section" } else { "key" };
    match nearest(name, sections()) {
        Some(near) => format!("no {what} {said}; did you mean [{near}]?"),
        None => {
            let known: Vec<&str> = sections().collect();
            format!("no {what} {said}; sections are {}", known.join(", "))
        }
    }
}

/// What to say of a key that its section does not have.
pub(super) fn unknown(section: &str, name: &str) -> String {
    let said = quoted(name);
    let known = || KEYS.iter().filter(|key| key.section == section).map(Key::name);
    if let Some(near) = nearest(name, known()) {
        return format!("no key {said} in [{section}]; did you mean {near}?");
    }
    match KEYS.iter().find(|key| key.name == name) {
        Some(key) => format!("no key {said} in [{section}]; it stands in [{}]", key.section),
        None => {
            let known: Vec<&str> = known().collect();
            format!("no key {said} in [{section}]; its keys are {}", known.join(", "))
        }
    }
}

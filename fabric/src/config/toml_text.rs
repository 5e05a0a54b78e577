//! From the text of a TOML file to values with places, and to everything that is wrong with it.
//!
//! Hostile text costs at most a fixed amount: its length is bounded here, the depth of its tables
//! by the parser, the faults that are told by [`super::fault`].

use std::collections::HashSet;
use std::sync::Arc;

use toml::de::{DeArray, DeTable, DeValue};

use super::fault::{FAULTS_MAX, Fault, Source};
use super::key::Key;
use super::keys::{KEYS, find, sections};
use super::layers::Said;
use super::nearest::nearest;
use super::value::quoted;
use crate::rules::{RULES_MAX, Rule, rule_of};

/// Tables of rules, which are no section: there may be many.
const RULE: &str = "rule";

/// A longer file is refused unread: twenty times one that says and explains everything.
pub const FILE_BYTES_MAX: usize = 256 << 10;

/// What a file says, and everything that is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) said: Vec<Said>,
    pub(super) rules: Vec<Rule>,
    pub(super) faults: Vec<Fault>,
}

/// Reads `bytes`, the content of the file called `name`.
pub(super) fn read(name: &str, bytes: &[u8]) -> Read {
    read_as(name, bytes, false)
}

/// Reads the content of a file that holds rules of routing and nothing else.
pub(crate) fn read_rules(name: &str, bytes: &[u8]) -> (Vec<Rule>, Vec<Fault>) {
    let Read { rules, faults, .. } = read_as(name, bytes, true);
    (rules, faults)
}

fn read_as(name: &str, bytes: &[u8], only_rules: bool) -> Read {
    let mut reading = Reading {
        name: name.into(),
        text: "",
        only_rules,
        said: Vec::new(),
        rules: Vec::new(),
        faults: Vec::new(),
    };
    reading.bytes(bytes);
    let Reading { said, rules, faults, .. } = reading;
    Read { said, rules, faults }
}

struct Reading<'a> {
    name: Arc<str>,
    text: &'a str,
    only_rules: bool,
    said: Vec<Said>,
    rules: Vec<Rule>,
    faults: Vec<Fault>,
}

impl<'a> Reading<'a> {
    fn bytes(&mut self, bytes: &'a [u8]) {
        if bytes.len() > FILE_BYTES_MAX {
            let problem = || format!("longer than {FILE_BYTES_MAX} bytes, so no configuration");
            return self.fault(None, None, problem);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                self.text = text;
                self.document(text);
            }
            Err(error) => {
                let good = &bytes[..error.valid_up_to()];
                self.text = std::str::from_utf8(good).unwrap_or_default();
                let at = self.text.len();
                self.fault(Some(at), None, || "not UTF-8 from here on".to_owned());
            }
        }
    }

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
                DeValue::Array(rules) if name.get_ref() == RULE => self.rules(rules, &broken),
                _ if self.only_rules || name.get_ref() == RULE => {
                    let problem = || {
                        "rules stand in [[rule]] with two brackets, and a file of rules has \
                         nothing else"
                            .to_owned()
                    };
                    self.fault_unless(&broken, name.span().start, None, problem);
                }
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
                Err(problem) => self.fault_unless(broken, at, Some(key.path()), || problem),
            }
        }
    }

    /// The tables of `[[rule]]`, in their order.
    fn rules(&mut self, rules: &DeArray<'_>, broken: &HashSet<usize>) {
        for rule in rules {
            let at = rule.span().start;
            if self.rules.len() == RULES_MAX {
                return self.fault(Some(at), None, || format!("more than {RULES_MAX} rules"));
            }
            let DeValue::Table(table) = rule.get_ref() else {
                let problem = || "a rule is a table: write [[rule]] and its keys below".to_owned();
                self.fault_unless(broken, at, None, problem);
                continue;
            };
            let mut wrong = Vec::new();
            let read = rule_of(table, (at, self.place(Some(at))), &mut |at, key, problem| {
                let key = key.map_or_else(|| RULE.to_owned(), |key| format!("{RULE}.{key}"));
                wrong.push((at, key, problem));
            });
            self.rules.extend(read);
            for (at, key, problem) in wrong {
                self.fault_unless(broken, at, Some(key), || problem);
            }
        }
    }

    /// A fault of a line whose syntax is whole.
    fn fault_unless(
        &mut self,
        broken: &HashSet<usize>,
        at: usize,
        key: Option<String>,
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

    fn fault(&mut self, at: Option<usize>, key: Option<String>, problem: impl FnOnce() -> String) {
        let fault = if self.tells() {
            Fault { place: self.place(at), key, problem: problem() }
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

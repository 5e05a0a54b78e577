//! From the text of a TOML file to values with places, and to everything that is wrong with it.
//!
//! Hostile text costs at most a fixed amount: see [`super::complaints`].

use toml::de::{DeArray, DeTable, DeValue};

use super::complaints::Complaints;
use super::fault::Fault;
use super::key::Key;
use super::keys::{KEYS, find, sections};
use super::layers::Said;
use super::nearest::nearest;
use super::value::quoted;
use crate::rules::{RULES_MAX, Rule, rule_of};

/// Tables of rules, which are no section: there may be many.
const RULE: &str = "rule";

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
    let told = Complaints::new(name);
    let mut reading = Reading { told, only_rules, said: Vec::new(), rules: Vec::new() };
    if let Some(table) = reading.told.table(bytes) {
        reading.document(table.get_ref());
    }
    let Reading { told, said, rules, .. } = reading;
    Read { said, rules, faults: told.into_faults() }
}

struct Reading<'a> {
    told: Complaints<'a>,
    only_rules: bool,
    said: Vec<Said>,
    rules: Vec<Rule>,
}

impl Reading<'_> {
    fn document(&mut self, table: &DeTable<'_>) {
        for (name, value) in table {
            match value.get_ref() {
                DeValue::Array(rules) if name.get_ref() == RULE => self.rules(rules),
                _ if self.only_rules || name.get_ref() == RULE => {
                    let problem = || {
                        "rules stand in [[rule]] with two brackets, and a file of rules has \
                         nothing else"
                            .to_owned()
                    };
                    self.told.unless_broken(name.span().start, None, problem);
                }
                DeValue::Table(keys) if sections().any(|section| section == name.get_ref()) => {
                    self.section(name.get_ref(), keys);
                }
                other => {
                    let problem = || stray(name.get_ref(), other);
                    self.told.unless_broken(name.span().start, None, problem);
                }
            }
        }
    }

    fn section(&mut self, section: &str, keys: &DeTable<'_>) {
        for (name, value) in keys {
            let Some(key) = find(section, name.get_ref()) else {
                let problem = || unknown(section, name.get_ref());
                self.told.unless_broken(name.span().start, None, problem);
                continue;
            };
            let at = value.span().start;
            match key.value_in(value.get_ref()) {
                Ok(value) => {
                    self.said.push(Said { key, value, source: self.told.place(Some(at)) });
                }
                Err(problem) => self.told.unless_broken(at, Some(key.path()), || problem),
            }
        }
    }

    /// The tables of `[[rule]]`, in their order.
    fn rules(&mut self, rules: &DeArray<'_>) {
        for rule in rules {
            let at = rule.span().start;
            if self.rules.len() == RULES_MAX {
                return self.told.fault(Some(at), None, || format!("more than {RULES_MAX} rules"));
            }
            let DeValue::Table(table) = rule.get_ref() else {
                let problem = || "a rule is a table: write [[rule]] and its keys below".to_owned();
                self.told.unless_broken(at, None, problem);
                continue;
            };
            let told = &mut self.told;
            let place = told.place(Some(at));
            let read = rule_of(table, (at, place), &mut |at, key, problem| {
                let key = key.map_or_else(|| RULE.to_owned(), |key| format!("{RULE}.{key}"));
                told.unless_broken(at, Some(key), || problem);
            });
            self.rules.extend(read);
        }
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

//! From the TOML text of a policy to its parts, and to everything that is wrong with each.

use toml::de::{DeTable, DeValue};
use wireloom_wire::NodeId;

use super::{Effect, Limit, Named, Parts, PolicyLine, PolicyMode, Role, Verb, Who};
use super::{POLICY_LINES_MAX, POLICY_WORDS_MAX, ROLES_MAX};
use crate::config::{Complaints, Fault, Source, is_name, named, nearest, quoted};
use crate::pattern::TypePattern;

/// The longest name of a role.
const ROLE_BYTES_MAX: usize = 64;

/// The greatest rate, events a second: more than a receiver takes.
const RATE_MAX: u32 = 10_000_000;

const TABLES: [&str; 5] = ["mode", "role", "allow", "deny", "limit"];
const OF_ROLE: &[&str] = &["name", "nodes"];
const OF_LINE: &[&str] = &["role", "node", "verb", "types"];
const OF_LIMIT: &[&str] = &["role", "node", "types", "rate", "burst"];

/// What a text says, and everything that is wrong with it line by line.
pub(super) fn parts_of(name: &str, bytes: &[u8]) -> (Parts, Vec<Fault>) {
    let mut reading =
        Reading { told: Complaints::new(name), parts: Parts::default(), entries: 0, words: 0 };
    if let Some(table) = reading.told.table(bytes) {
        reading.document(table.get_ref());
    }
    let Reading { told, mut parts, .. } = reading;
    // The table of the parser is in the order of names; a policy is in that of lines.
    parts.lines.sort_by_key(|line| line_of(&line.place));
    (parts, told.into_faults())
}

const fn line_of(place: &Source) -> (usize, usize) {
    match place {
        Source::File { line, column, .. } => (*line, *column),
        _ => (0, 0),
    }
}

struct Reading<'a> {
    told: Complaints<'a>,
    parts: Parts,
    /// Tables looked at so far, wrong ones too: the place of each is counted out in the text.
    entries: usize,
    /// Names, verbs and patterns read so far.
    words: usize,
}

impl Reading<'_> {
    fn document(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let table = name.get_ref().as_ref();
            let at = value.span().start;
            match value.get_ref() {
                DeValue::String(mode) if table == "mode" => match mode.as_ref() {
                    "enforce" => self.parts.mode = PolicyMode::Enforce,
                    "shadow" => self.parts.mode = PolicyMode::Shadow,
                    other => self.told.unless_broken(at, Some("mode".to_owned()), || {
                        format!("no mode {}; it is \"enforce\" or \"shadow\"", quoted(other))
                    }),
                },
                DeValue::Array(entries) if table != "mode" && TABLES.contains(&table) => {
                    for entry in entries {
                        self.entry(table, entry);
                    }
                }
                _ => {
                    let at = name.span().start;
                    self.told.unless_broken(at, None, || stray(table));
                }
            }
        }
    }

    fn entry(&mut self, table: &str, entry: &toml::Spanned<DeValue<'_>>) {
        let at = entry.span().start;
        let Parts { roles, lines, limits, .. } = &self.parts;
        self.entries += 1;
        let full = self.entries > ROLES_MAX + POLICY_LINES_MAX
            || (table == "role" && roles.len() == ROLES_MAX)
            || lines.len() + limits.len() == POLICY_LINES_MAX;
        if full {
            let problem =
                || format!("more than {ROLES_MAX} roles or {POLICY_LINES_MAX} other lines");
            return self.told.fault(Some(at), None, problem);
        }
        let DeValue::Table(keys) = entry.get_ref() else {
            let problem = || format!("write [[{table}]] and its keys below");
            return self.told.unless_broken(at, None, problem);
        };
        let place = self.told.place(Some(at));
        let Self { told, words, .. } = self;
        let mut said = Said { table, keys, at, told, words, is_whole: true };
        match table {
            "role" => {
                let role = said.role(place);
                self.parts.roles.extend(role);
            }
            "limit" => {
                let limit = said.limit(place);
                self.parts.limits.extend(limit);
            }
            _ => {
                let effect = if table == "deny" { Effect::Deny } else { Effect::Allow };
                let line = said.line(effect, place);
                self.parts.lines.extend(line);
            }
        }
    }
}

/// The keys of one table.
struct Said<'r, 'a, 't> {
    table: &'r str,
    keys: &'r DeTable<'t>,
    at: usize,
    told: &'r mut Complaints<'a>,
    words: &'r mut usize,
    is_whole: bool,
}

impl Said<'_, '_, '_> {
    fn role(&mut self, place: Source) -> Option<Role> {
        self.known(OF_ROLE);
        let name = self.needed("name", role_name)?;
        let nodes = self.texts("nodes", node_name).unwrap_or_default();
        let name = name.into_iter().next()?;
        self.is_whole.then_some(Role { name, nodes, place })
    }

    fn line(&mut self, effect: Effect, place: Source) -> Option<PolicyLine> {
        self.known(OF_LINE);
        let (who, verbs) = (self.who(), self.needed("verb", verbs));
        let types = self.types();
        let verbs = verbs?.into_iter().fold(0, |all, some| all | some);
        let line = PolicyLine { effect, who: who?, verbs, types: types?, place };
        self.is_whole.then_some(line)
    }

    fn limit(&mut self, place: Source) -> Option<Limit> {
        self.known(OF_LIMIT);
        let (who, types) = (self.who(), self.types());
        let per_second = self.count("rate");
        if per_second.is_none() && !self.keys.contains_key("rate") {
            self.wrong(self.at, "rate", "a limit says its rate: events a second".to_owned());
        }
        let tenth = per_second.map_or(1, |rate| (rate / 10).max(1));
        let burst = self.count("burst").unwrap_or(tenth);
        let limit = Limit { who: who?, types: types?, per_second: per_second?, burst, place };
        self.is_whole.then_some(limit)
    }

    fn known(&mut self, keys: &[&'static str]) {
        for (name, _) in self.keys {
            let key: &str = name.get_ref();
            if keys.contains(&key) {
                continue;
            }
            let near = nearest(key, keys.iter().copied());
            let near = near.map_or_else(
                || format!("its keys are {}", keys.join(", ")),
                |near| format!("did you mean {near}?"),
            );
            self.is_whole = false;
            let table = self.table;
            self.told.unless_broken(name.span().start, None, || {
                format!("no key {} in [[{table}]]; {near}", quoted(key))
            });
        }
    }

    fn who(&mut self) -> Option<Who> {
        let roles = self.texts("role", role_name);
        let nodes = self.texts("node", node_name);
        if !self.keys.contains_key("role") && !self.keys.contains_key("node") {
            let problem = "says nobody: name a role or a node, or node = \"*\" for every node";
            self.wrong(self.at, "role", problem.to_owned());
            return None;
        }
        let mut nodes = nodes.unwrap_or_default();
        let every = nodes.iter().any(|node| *node.name == *"*");
        nodes.retain(|node| *node.name != *"*");
        Some(Who { every, roles: roles.unwrap_or_default(), nodes })
    }

    fn types(&mut self) -> Option<Vec<TypePattern>> {
        self.needed("types", |text| {
            let types: TypePattern = text.parse().map_err(|error| format!("{error}"))?;
            if types.intersects(&TypePattern::every()) {
                Ok(types)
            } else {
                Err(format!("no type can have a name like {}", quoted(text)))
            }
        })
    }

    fn needed<T>(
        &mut self,
        key: &str,
        read: impl FnMut(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        if !self.keys.contains_key(key) {
            let problem = format!("[[{}]] says its {key}", self.table);
            self.wrong(self.at, key, problem);
            return None;
        }
        let read = self.texts(key, read)?;
        if read.is_empty() && self.is_whole {
            self.wrong(self.at, key, "an empty list says nothing".to_owned());
        }
        Some(read)
    }

    /// A text or a list of texts.
    fn texts<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.keys.get(key)?;
        let one = std::slice::from_ref(value);
        let texts: Box<dyn Iterator<Item = &toml::Spanned<DeValue<'_>>>> = match value.get_ref() {
            DeValue::Array(texts) => Box::new(texts.iter()),
            _ => Box::new(one.iter()),
        };
        let mut all = Vec::new();
        for text in texts {
            *self.words += 1;
            if *self.words > POLICY_WORDS_MAX {
                let problem =
                    "a policy says no more than 4096 names, verbs and patterns".to_owned();
                self.wrong(text.span().start, key, problem);
                break;
            }
            let read = match text.get_ref() {
                DeValue::String(text) => read(text),
                other => {
                    Err(format!("{} cannot be: it is a text or a list of texts", named(other)))
                }
            };
            match read {
                Ok(read) => all.push(read),
                Err(problem) => self.wrong(text.span().start, key, problem),
            }
        }
        Some(all)
    }

    fn count(&mut self, key: &str) -> Option<u32> {
        let value = self.keys.get(key)?;
        let count = match value.get_ref() {
            DeValue::Integer(number) => number.to_string().parse::<u32>().ok(),
            _ => None,
        };
        let count = count.filter(|count| (1..=RATE_MAX).contains(count));
        if count.is_none() {
            let problem = format!(
                "{} cannot be: it is a whole number from 1 to {RATE_MAX}",
                named(value.get_ref())
            );
            self.wrong(value.span().start, key, problem);
        }
        count
    }

    fn wrong(&mut self, at: usize, key: &str, problem: String) {
        self.is_whole = false;
        self.told.unless_broken(at, Some(format!("{}.{key}", self.table)), || problem);
    }
}

fn role_name(text: &str) -> Result<Box<str>, String> {
    let known = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter);
    if (1..=ROLE_BYTES_MAX).contains(&text.len()) && text.bytes().all(known) {
        return Ok(text.into());
    }
    Err(format!(
        "{} names no role: 1 to {ROLE_BYTES_MAX} of a-z, A-Z, 0-9, '-', '_' and '.'",
        quoted(text)
    ))
}

fn node_name(text: &str) -> Result<Named, String> {
    if is_name(text) {
        return Ok(Named { name: text.into(), id: NodeId::of_name(text) });
    }
    Err(format!("{} names no node: 1 to 255 bytes without control characters", quoted(text)))
}

fn verbs(text: &str) -> Result<u8, String> {
    if text == "*" {
        return Ok(Verb::ALL.into_iter().fold(0, |all, verb| all | verb.bit()));
    }
    text.parse::<Verb>().map(Verb::bit)
}

pub(super) fn no_verb(text: &str) -> String {
    let names = Verb::ALL.map(Verb::name);
    let near = nearest(text, names.into_iter());
    let near = near.map_or_else(
        || format!("verbs are {}", names.join(", ")),
        |near| format!("did you mean {near}?"),
    );
    format!("no verb {}; {near}", quoted(text))
}

fn stray(name: &str) -> String {
    if name == "mode" {
        return "mode is \"enforce\" or \"shadow\"".to_owned();
    }
    if TABLES.contains(&name) {
        return format!("there may be many: write [[{name}]] with two brackets");
    }
    match nearest(name, TABLES.into_iter()) {
        Some(near) => format!("a policy has no {}; did you mean {near}?", quoted(name)),
        None => format!("a policy has no {}; it has {}", quoted(name), TABLES.join(", ")),
    }
}

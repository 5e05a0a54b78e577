//! From one `[[rule]]` of a TOML text to a rule, and to everything that is wrong with it alone.

use toml::de::{DeTable, DeValue};
use wireloom_wire::Priority;

use super::{PRIORITIES, Rule, RuleTransport, SIZES};
use crate::config::{Source, bytes_of, named, nearest, quoted};
use crate::pattern::TypePattern;
use crate::target::Target;

const KEYS: [&str; 6] = ["type", "priority", "size", "to", "target", "transport"];

/// Hears what is wrong: where in the text, with which key, and what.
pub(crate) type Wrong<'a> = &'a mut dyn FnMut(usize, Option<&str>, String);

/// The rule of a table that begins `at`; none when something is wrong with it.
pub(crate) fn rule_of(
    table: &DeTable<'_>,
    (at, place): (usize, Source),
    wrong: Wrong<'_>,
) -> Option<Rule> {
    let mut rule = Rule {
        types: TypePattern::every(),
        priorities: PRIORITIES,
        size: SIZES,
        to: None,
        target: None,
        transport: None,
        place,
    };
    let mut is_whole = true;
    for (name, value) in table {
        let key = name.get_ref().as_ref();
        let (at, problem) = match value.get_ref() {
            _ if !KEYS.contains(&key) => (name.span().start, Err(unknown(key))),
            DeValue::String(text) => (value.span().start, rule.say(key, text.trim())),
            other => {
                (value.span().start, Err(format!("{} cannot be: {}", named(other), form(key))))
            }
        };
        if let Err(problem) = problem {
            is_whole = false;
            wrong(at, KEYS.contains(&key).then_some(key), problem);
        }
    }
    if is_whole && let Err(problem) = rule.agrees() {
        is_whole = false;
        wrong(at, None, problem);
    }
    is_whole.then_some(rule)
}

fn unknown(key: &str) -> String {
    let near = nearest(key, KEYS.into_iter());
    let near = near.map_or_else(
        || format!("its keys are {}", KEYS.join(", ")),
        |near| format!("did you mean {near}?"),
    );
    format!("no key {} in [[rule]]; {near}", quoted(key))
}

/// What stands at a key.
fn form(key: &str) -> &'static str {
    match key {
        "type" => "it is a pattern of types in quotes, \"metric.*\"",
        "priority" => "it is a comparison in quotes, \">= high\"",
        "size" => "it is a comparison in quotes, \"> 1400\" or \">= 1 KiB, < 64 KiB\"",
        "transport" => "it is \"udp\", \"tcp\", \"multicast\", \"broadcast\" or \"local\"",
        _ => "it is a target in quotes, \"service:metrics\"",
    }
}

impl Rule {
    fn say(&mut self, key: &str, text: &str) -> Result<(), String> {
        match key {
            "type" => self.types = text.parse().map_err(|error| format!("{error}"))?,
            "priority" => self.priorities = priorities(text)?,
            "size" => self.size = sizes(text)?,
            "to" => self.to = Some(asked(text)?),
            "target" => {
                self.target = Some(text.parse::<Target>().map_err(|error| error.to_string())?);
            }
            _ => self.transport = Some(transport(text)?),
        }
        Ok(())
    }

    /// Whether its parts can be together.
    fn agrees(&self) -> Result<(), String> {
        let Some(transport) = self.transport else {
            return match self.target {
                Some(_) => Ok(()),
                None => {
                    Err("the rule does nothing: it has neither target nor transport".to_owned())
                }
            };
        };
        let Some(target) = &self.target else { return Ok(()) };
        let name = transport.name();
        let many = matches!(transport, RuleTransport::Multicast | RuleTransport::Broadcast);
        let agrees = match target {
            Target::Local => transport == RuleTransport::Local,
            Target::Node(_) | Target::Fast(_) => transport == RuleTransport::Udp,
            Target::Reliable(_) | Target::Reliably(_) => transport == RuleTransport::Tcp,
            Target::Multicast(_) => transport == RuleTransport::Multicast,
            Target::Broadcast(_) => transport == RuleTransport::Broadcast,
            _ => true,
        };
        if !agrees {
            return Err(format!("{target} cannot go by {name}: it says its transport itself"));
        }
        if many && target.is_single() {
            return Err(format!("{target} is one node and cannot be reached by {name}"));
        }
        Ok(())
    }
}

/// A word that compares, and what it compares with.
fn comparison(text: &str) -> (&str, &str) {
    let text = text.trim();
    let signs = [">=", "<=", ">", "<", "="];
    let sign = signs.into_iter().find(|sign| text.starts_with(sign)).unwrap_or("");
    (sign, text[sign.len()..].trim())
}

/// The bits of the priorities that a text means. More urgent is greater.
fn priorities(text: &str) -> Result<u8, String> {
    let mut bits = PRIORITIES;
    for part in text.split(',') {
        let (sign, word) = comparison(part);
        let named: Priority = word.parse().map_err(|_| unknown_priority(word))?;
        for priority in Priority::ALL {
            // The enum counts from the most urgent.
            let order = named.cmp(&priority);
            if !compares(sign, order) {
                bits &= !(1 << priority.lane());
            }
        }
    }
    if bits == 0 {
        return Err(format!("no priority is {}: the rule can never apply", quoted(text)));
    }
    Ok(bits)
}

fn compares(sign: &str, order: std::cmp::Ordering) -> bool {
    match sign {
        ">=" => order.is_ge(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        "<" => order.is_lt(),
        _ => order.is_eq(),
    }
}

fn unknown_priority(word: &str) -> String {
    let names = Priority::ALL.map(Priority::name);
    let near = nearest(word, names.into_iter());
    let near = near.map_or_else(
        || format!("priorities are {}", names.join(", ")),
        |near| format!("did you mean {near}?"),
    );
    format!("no priority {}; {near}", quoted(word))
}

/// The range of sizes that a text means.
fn sizes(text: &str) -> Result<(u64, u64), String> {
    let never = || format!("no size is {}: the rule can never apply", quoted(text));
    let (mut least, mut greatest) = SIZES;
    for part in text.split(',') {
        let (sign, number) = comparison(part);
        let bytes = bytes_of(number)
            .ok_or_else(|| format!("{} is no size: {}", quoted(part.trim()), form("size")))?;
        let (from, to) = match sign {
            ">=" => (bytes, u64::MAX),
            "<=" => (0, bytes),
            ">" => (bytes.checked_add(1).ok_or_else(never)?, u64::MAX),
            "<" => (0, bytes.checked_sub(1).ok_or_else(never)?),
            _ => (bytes, bytes),
        };
        (least, greatest) = (least.max(from), greatest.min(to));
    }
    if least > greatest {
        return Err(never());
    }
    Ok((least, greatest))
}

fn transport(text: &str) -> Result<RuleTransport, String> {
    let found = RuleTransport::ALL.iter().find(|(name, _)| *name == text);
    found.map(|(_, transport)| *transport).ok_or_else(|| {
        let near = nearest(text, RuleTransport::ALL.iter().map(|(name, _)| *name));
        let near = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
        format!("no transport {}: {}{near}", quoted(text), form("transport"))
    })
}

/// The target asked for as its canonical text; with `*` as it stands.
fn asked(text: &str) -> Result<Box<str>, String> {
    let never = |what: &str| {
        format!(
            "{what} says its transport itself, and rules are not asked of it: the rule can never \
             apply"
        )
    };
    if text.contains('*') {
        let said = ["udp:", "tcp:", "broadcast:", "reliable:", "fast:", "local"];
        let is_said = said.iter().any(|scheme| text.starts_with(scheme));
        return if is_said { Err(never(&quoted(text))) } else { Ok(text.into()) };
    }
    let target: Target = text.parse().map_err(|error| format!("{error}"))?;
    if target.demands_transport() {
        return Err(never(&target.to_string()));
    }
    Ok(target.to_string().into())
}

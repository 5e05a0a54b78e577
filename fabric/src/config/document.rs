//! A profile written out: a TOML file in which every key stands with its meaning, what is allowed
//! and what it is without a word. What the profile says is said, what it leaves stands behind `#`.

use std::fmt::Write as _;

use super::key::{Effect, Key};
use super::keys::{KEYS, sections};
use super::profile::Profile;
use super::value::Value;

/// Widest line.
const COLUMNS: usize = 100;

/// The commented file of a profile, ready to be changed. `tuning/profiles/` of the source has each.
#[must_use]
pub fn document(profile: Profile) -> String {
    let mut text = String::new();
    comment(
        &mut text,
        &format!(
            "The node profile {profile}: every key of a node's configuration. A line without # is \
             what the profile says; a line behind # is the default, which it leaves. Written by \
             `wireloom config show {profile}`; `wireloom config check FILE` shows what is in \
             effect and who said it."
        ),
    );
    comment(
        &mut text,
        "The later word counts: default, profile, file, environment (WIRELOOM_TCP_POOL for pool \
         in [tcp]), command line. Sizes are written as whole bytes or \"64 KiB\" (B, KiB, MiB, \
         GiB), times as \"100 ms\" (ns, us, ms, s, min, h).",
    );
    for section in sections() {
        let _ = writeln!(text, "\n[{section}]");
        for (index, key) in KEYS.iter().filter(|key| key.section == section).enumerate() {
            text.push_str(if index == 0 { "" } else { "\n" });
            entry(&mut text, key, profile);
        }
    }
    text.push('\n');
    comment(
        &mut text,
        "Rules of routing stand behind the sections, each a [[rule]]; the first that fits an event \
         counts. type, priority, size and to say which events it is for, target and transport \
         where they go. docs/guide/rules.md has them all; `wireloom rules check FILE` reads them.",
    );
    text.push_str(RULE);
    text
}

/// A rule as an example, to be uncommented.
const RULE: &str = "#[[rule]]\n#type = \"metric.*\"\n#priority = \">= high\"\n\
    #target = \"service:metrics\"\n#transport = \"tcp\"\n";

fn entry(text: &mut String, key: &Key, profile: Profile) {
    comment(text, key.meaning);
    let default = literal(key, key.default_text());
    comment(text, &format!("Allowed: {}. Default: {default}.", key.allowed()));
    match key.effect {
        Effect::Applied => {}
        Effect::Always(value, reason) => {
            let value = literal(key, value);
            comment(text, &format!("Other than {value} without effect: {reason}."));
        }
        Effect::None(reason) => comment(text, &format!("Without effect: {reason}.")),
    }
    let _ = match key.profile_text(profile) {
        Some(says) => writeln!(text, "{} = {}", key.name, literal(key, says)),
        None => writeln!(text, "#{} = {default}", key.name),
    };
}

/// A value of the table as TOML writes it.
fn literal(key: &Key, text: &str) -> String {
    match key.value_of(text) {
        Ok(Value::Flag(_) | Value::Count(_)) => text.to_owned(),
        Ok(Value::Counts(_) | Value::Texts(_)) if text.is_empty() => "[]".to_owned(),
        // No word of the table needs escaping; a test reads what is written here.
        _ => format!("\"{text}\""),
    }
}

/// Lines that begin with `#`, broken between words.
fn comment(text: &mut String, words: &str) {
    let mut line = "#".to_owned();
    for word in words.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            let _ = writeln!(text, "{line}");
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

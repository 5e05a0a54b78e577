//! What new rules would change: the events that old or new rules speak of, and how each would go
//! before and after.

use std::fmt;

use anyhow::Result;
use serde::Serialize;
use wireloom::config::Config;
use wireloom::{Explanation, RuleSet};

use crate::explain::alone;

/// An event that would go another way.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    event_type: String,
    priority: &'static str,
    bytes: Option<u64>,
    to: String,
    before: Way,
    after: Way,
}

/// How it goes.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Way {
    transport: &'static str,
    /// Another target than was asked for.
    instead: Option<String>,
    decided_by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

impl Way {
    fn of(explained: &Explanation) -> Self {
        Self {
            transport: explained.transport,
            instead: explained.instead.clone(),
            decided_by: explained.decided_by,
            rule: explained.rule.clone(),
        }
    }

    /// Whether the event goes the same way, whoever decided it.
    fn leads_as(&self, other: &Self) -> bool {
        self.transport == other.transport && self.instead == other.instead
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.transport)?;
        if let Some(instead) = &self.instead {
            write!(f, " to {instead}")?;
        }
        match &self.rule {
            Some(rule) => write!(f, " ({rule})"),
            None => write!(f, " ({})", self.decided_by),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event_type, priority, bytes, to, before, after } = self;
        let bytes = bytes.map_or_else(String::new, |bytes| format!(" of {bytes} bytes"));
        write!(f, "{event_type}{bytes}, {priority}, to {to}: {before} → {after}")
    }
}

/// The events of both sets that would go another way by the second, each once.
pub(super) fn changes(config: &Config, before: &RuleSet, after: &RuleSet) -> Result<Vec<Change>> {
    let node = alone(config)?;
    let mut questions = before.questions();
    for question in after.questions() {
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    let mut changes = Vec::new();
    for question in questions {
        let explained = node.explain_by(&question, before);
        let (old, new) = (Way::of(&explained), Way::of(&node.explain_by(&question, after)));
        if !old.leads_as(&new) {
            changes.push(Change {
                event_type: question.event_type.clone(),
                priority: explained.priority,
                bytes: question.bytes,
                to: question.target.to_string(),
                before: old,
                after: new,
            });
        }
    }
    Ok(changes)
}

//! The audit log: who was refused what, by which line, as records that are JSON lines.
//!
//! Receivers count refusals in a bounded table; here the differences between two looks become
//! records. So a flood of refusals is one record a look, with a count, and workers write nothing.
//! JSON escapes what a terminal would obey. `log` looks once a second and writes them, and what
//! else was decided, into a bounded `file`.

mod file;
mod log;

pub use self::file::{AUDIT_BYTES_MAX, AUDIT_LINES_PER_SECOND};
pub(crate) use self::log::{AuditBook, AuditLog};

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use wireloom_dataplane::dispatch::{Refusal, Refusals, Refused};
use wireloom_wire::{EventTypeId, NodeId};

use crate::access::{Policy, Subject, Verb};

/// What was refused since the last look, of one node, type and reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRecord {
    /// When the last of these events came, ns since the Unix epoch.
    pub unix_ns: u64,
    /// The node: its name where the policy has it, otherwise its id in hex.
    pub node: String,
    /// What it wanted.
    pub verb: &'static str,
    /// The type's name, where it is known here; otherwise its id in hex.
    pub event_type: String,
    /// `denied`, `limited`, `would_deny` or `would_limit`.
    pub decision: &'static str,
    /// Where the line stands that decided; none when no line allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// How many events since the last look.
    pub events: u64,
}

impl AuditRecord {
    pub(crate) fn of(
        (refused, events): (Refused, u64),
        policy: Option<&Policy>,
        (subject, name): (&Subject, Option<String>),
    ) -> Self {
        let Refusal { request, limited, shadow } = refused.refusal;
        let verb = if request { Verb::Request } else { Verb::Publish };
        let line = policy.and_then(|policy| match &name {
            _ if limited => {
                policy.limit(subject, name.as_deref()).map(|limit| limit.place().to_string())
            }
            Some(name) => match policy.authorise(subject, verb, name) {
                crate::access::Decision::Denied(line) => Some(line.place().to_string()),
                _ => None,
            },
            None => None,
        });
        let known = policy.iter().flat_map(|policy| policy.nodes());
        let mut known = known.filter(|name| NodeId::of_name(name) == refused.source);
        let node = known.next().map_or_else(|| format!("{:016x}", refused.source.0), str::to_owned);
        Self {
            unix_ns: refused.last_unix_ns,
            node,
            verb: verb.name(),
            event_type: name.unwrap_or_else(|| format!("{:08x}", refused.event_type.0)),
            decision: match (limited, shadow) {
                (false, false) => "denied",
                (true, false) => "limited",
                (false, true) => "would_deny",
                (true, true) => "would_limit",
            },
            line,
            events,
        }
    }
}

/// What was told before.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    told: HashMap<(usize, NodeId, EventTypeId, Refusal), u64>,
}

impl Audit {
    /// The entries that have grown since the last look, and by how much.
    pub(crate) fn news(&mut self, refusals: &[Arc<Refusals>]) -> Vec<(Refused, u64)> {
        let mut news = Vec::new();
        for (receiver, table) in refusals.iter().enumerate() {
            for refused in table.list() {
                let key = (receiver, refused.source, refused.event_type, refused.refusal);
                let told = self.told.entry(key).or_default();
                let events = refused.events - *told;
                *told = refused.events;
                if events > 0 {
                    news.push((refused, events));
                }
            }
        }
        news
    }
}

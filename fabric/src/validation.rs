//! Whether an event holds, and why not: one result and six reasons for every refusal that is about
//! what an event is or who sent it, wherever it is made.
//!
//! Plain values, and the sum of a node's refusals by reason. Who refuses counts for itself; here
//! the counters are only read.

mod book;
mod schemas;
mod signing;
mod verify;

use std::fmt;

use serde::{Deserialize, Serialize};
use wireloom_dataplane::counters::{Counter, CounterMeaning};

use crate::audit::AuditRecord;
use crate::convert::CONVERSIONS_REFUSED;
use crate::node::Node;

pub(crate) use book::{Checks, Validations};
pub use schemas::{PayloadSchema, SCHEMAS_MAX, SchemaFault, SchemasExhausted};
pub(crate) use signing::{Signing, put};
pub use verify::SignerKeys;
pub(crate) use verify::{Unverified, Verifier};

/// Why an event does not hold. Printed and serialised it is its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// Its type is signed, and it carries no signature of the node it comes from.
    #[serde(rename = "Invalid signature")]
    InvalidSignature,
    /// It is not as its schema says: another shape of its type, an archive that is none, JSON that
    /// its JSON Schema or its Rust type does not allow.
    #[serde(rename = "Schema validation failed")]
    SchemaValidationFailed,
    /// Its source sends more than a policy lets it.
    #[serde(rename = "Rate limit exceeded")]
    RateLimitExceeded,
    /// Its source may not send it here.
    #[serde(rename = "Unauthorized")]
    Unauthorized,
    /// It has come before, or so late that nobody knows.
    #[serde(rename = "Replay")]
    Replay,
    /// Its deadline is over.
    #[serde(rename = "Expired")]
    Expired,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::InvalidSignature,
        Self::SchemaValidationFailed,
        Self::RateLimitExceeded,
        Self::Unauthorized,
        Self::Replay,
        Self::Expired,
    ];

    /// Its text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::InvalidSignature => "Invalid signature",
            Self::SchemaValidationFailed => "Schema validation failed",
            Self::RateLimitExceeded => "Rate limit exceeded",
            Self::Unauthorized => "Unauthorized",
            Self::Replay => "Replay",
            Self::Expired => "Expired",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// Whether an event holds, and why not.
///
/// ```
/// use wireloom::{Reason, ValidationResult};
/// let refused = ValidationResult::from(Reason::RateLimitExceeded);
/// assert_eq!(refused.to_string(), "Rate limit exceeded");
/// assert!(!refused.valid);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationResult {
    /// Whether it holds.
    pub valid: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl ValidationResult {
    /// It holds.
    pub const VALID: Self = Self { valid: true, reason: None };
}

impl From<Reason> for ValidationResult {
    fn from(reason: Reason) -> Self {
        Self { valid: false, reason: Some(reason) }
    }
}

/// What a record of the audit log says of its events; in shadow mode they were let through.
impl From<&AuditRecord> for ValidationResult {
    fn from(record: &AuditRecord) -> Self {
        match record.decision {
            "denied" => Reason::Unauthorized.into(),
            "limited" => Reason::RateLimitExceeded.into(),
            _ => Self::VALID,
        }
    }
}

impl fmt::Display for ValidationResult {
    /// `valid`, or the reason's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.reason.map_or("valid", Reason::text))
    }
}

/// What a node has refused since it started, by one counter; see [`Node::validations`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Validation {
    /// What is said of each of them.
    #[serde(flatten)]
    pub result: ValidationResult,
    /// The counter, as [`Node::counters`] has it.
    pub counter: &'static str,
    /// What was refused: `events`, or `packets` and `datagrams` whose events nobody has seen.
    pub unit: &'static str,
    /// How many.
    pub refused: u64,
    /// Of the last one, where it is known: what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// What workers refuse for one of the reasons.
const REFUSALS: [(Counter, Reason); 8] = [
    (Counter::EventsWrongSchema, Reason::SchemaValidationFailed),
    (Counter::EventsBadArchive, Reason::SchemaValidationFailed),
    (Counter::EventsRateLimited, Reason::RateLimitExceeded),
    (Counter::EventsUnauthorized, Reason::Unauthorized),
    (Counter::SealedReplayed, Reason::Replay),
    (Counter::PacketsDuplicate, Reason::Replay),
    (Counter::PacketsStale, Reason::Replay),
    (Counter::EventsExpired, Reason::Expired),
];

/// What is refused away from the workers.
const ELSEWHERE: [(&CounterMeaning, Reason); 3] = [
    (&book::SIGNATURE_REFUSED, Reason::InvalidSignature),
    (&CONVERSIONS_REFUSED, Reason::SchemaValidationFailed),
    (&book::SCHEMA_REFUSED, Reason::SchemaValidationFailed),
];

/// The reason for which a counter counts, if it counts what does not hold.
fn reason_of(meaning: &CounterMeaning) -> Option<Reason> {
    let workers = REFUSALS.iter().map(|(counter, reason)| (counter.meaning(), *reason));
    let mut all = workers.chain(ELSEWHERE);
    all.find(|(of, _)| of.name == meaning.name).map(|(_, reason)| reason)
}

impl Node {
    /// What this node has refused because it does not hold, by counter: those of its
    /// [counters](Node::counters) that stand for one of the six [reasons](Reason), none that is 0.
    /// Who was refused what by a policy, [`Node::audit`] tells.
    ///
    /// ```
    /// use wireloom::Node;
    /// let node = Node::builder("careful").start()?;
    /// for refused in node.validations() {
    ///     println!("{}: {} {}", refused.result, refused.refused, refused.unit);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn validations(&self) -> Vec<Validation> {
        let counters = self.counters().into_iter();
        let refused = counters.filter_map(|(meaning, refused)| {
            let result = reason_of(meaning)?.into();
            let last = self.last_of(meaning);
            Some(Validation { result, counter: meaning.name, unit: meaning.unit, refused, last })
        });
        refused.collect()
    }

    fn last_of(&self, meaning: &CounterMeaning) -> Option<String> {
        if meaning.name == CONVERSIONS_REFUSED.name {
            return self.shared.books().schemas.last_refusal();
        }
        let mut accounts = self.shared.validation.accounts().into_iter();
        accounts.find(|(of, _)| of.name == meaning.name)?.1.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_the_text_that_is_printed_written_and_read() {
        let texts = [
            "Invalid signature",
            "Schema validation failed",
            "Rate limit exceeded",
            "Unauthorized",
            "Replay",
            "Expired",
        ];
        for (reason, text) in Reason::ALL.into_iter().zip(texts) {
            let result = ValidationResult::from(reason);
            assert_eq!(
                (reason.to_string(), result.to_string()),
                (text.to_owned(), text.to_owned())
            );
            let json = serde_json::to_string(&result).expect("plain");
            assert_eq!(json, format!(r#"{{"valid":false,"reason":"{text}"}}"#));
            assert_eq!(serde_json::from_str::<ValidationResult>(&json).expect("read"), result);
        }
        assert_eq!(ValidationResult::VALID.to_string(), "valid");
        let json = serde_json::to_string(&ValidationResult::VALID).expect("plain");
        assert_eq!(json, r#"{"valid":true}"#);
        assert_eq!(
            serde_json::from_str::<ValidationResult>(r#"{"valid":true,"reason":null}"#)
                .expect("read"),
            ValidationResult::VALID
        );
    }
}

//! The user's rules of routing: which events they mean, and where or by what these go instead.
//!
//! A set of rules is read once (`read`), looked over as a whole (`check`) and never changed; a node
//! holds one and exchanges it for another (`book`). Routers ask it when they meet a type, priority
//! and target for the first time, and remember the answer (`plan`).

mod book;
mod check;
mod question;
mod read;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use wireloom_wire::Priority;

pub(crate) use self::book::RuleBook;
pub(crate) use self::check::faults_of;
pub use self::question::Question;
pub(crate) use self::read::rule_of;
use crate::config::{self, ConfigError, Source};
use crate::pattern::{TypePattern, glob};
use crate::select::Asked;
use crate::target::Target;

/// A set has so many rules at most: looking for those that never apply compares each two.
pub const RULES_MAX: usize = 2_048;

/// Rules in their order: the first that applies to an event decides.
///
/// They stand in the configuration of a node or in a file of their own, as `[[rule]]`:
///
/// | key | meaning | without it |
/// |---|---|---|
/// | `type` | a [`TypePattern`] of the event's type | every type |
/// | `priority` | `">= high"`, `"low"`: more urgent is greater | every priority |
/// | `size` | `"> 1400"`, `">= 1 KiB, < 64 KiB"`: bytes of the payload | every size |
/// | `to` | the target that was asked for; `*` stands for any letters | every target |
/// | `target` | where the event goes instead | where it was asked to go |
/// | `transport` | `udp`, `tcp`, `multicast`, `broadcast` or `local` | by the other steps |
///
/// Rules are asked once: where a rule sends an event, no rule is asked again. They are not asked of
/// targets that say their transport themselves ([`Target::demands_transport`]). `multicast` and
/// `broadcast` without a `target` apply to `interested` and `auto`, which may mean many.
///
/// ```
/// use wireloom::RuleSet;
/// let rules = RuleSet::parse("rules.toml", r#"
///     [[rule]]
///     type = "metric.**"
///     priority = ">= high"
///     size = "> 1400"
///     target = "service:metrics"
///     transport = "tcp"
/// "#)?;
/// assert_eq!(rules.len(), 1);
/// # Ok::<(), wireloom::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleSet(Arc<[Rule]>);

/// The samples of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/rules.md")]
struct Guide;

impl RuleSet {
    /// Reads rules; `name` is what messages call the text. Hosts of targets are looked up, which
    /// may block.
    ///
    /// # Errors
    /// Everything that is wrong, each with line and column: a key that does not exist (with the
    /// nearest that does), a value that cannot be, a rule that can never apply, a cycle.
    pub fn parse(name: &str, text: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let (rules, mut faults) = config::read_rules(name, text.as_ref());
        faults.extend(faults_of(&rules));
        ConfigError::unless_none(faults)?;
        Ok(Self::of(rules))
    }

    /// As [`RuleSet::parse`] for a file.
    ///
    /// # Errors
    /// As [`RuleSet::parse`], and that the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let (name, bytes) = config::read_file(path)?;
        Self::parse(&name, bytes)
    }

    pub(crate) fn of(rules: Vec<Rule>) -> Self {
        Self(rules.into())
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// The rule at a place.
    pub(crate) fn rule(&self, index: usize) -> Option<&Rule> {
        self.0.get(index)
    }

    /// The sizes between which the answer to `asked` may change: the greatest of each range, in
    /// order, the last of them without an end.
    pub(crate) fn cuts(&self, asked: &Asked<'_>) -> Vec<u64> {
        let to = if self.is_empty() { String::new() } else { asked.target.to_string() };
        let mut cuts = vec![u64::MAX];
        for rule in self.0.iter().filter(|rule| !asked.target.demands_transport() && rule.sized()) {
            let refuses = rule.refuses(asked, Some(rule.size.0), &to);
            if refuses.is_none() {
                cuts.extend(rule.size.0.checked_sub(1));
                cuts.push(rule.size.1);
            }
        }
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }
}

/// What a rule says of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleTransport {
    Udp,
    Tcp,
    Multicast,
    Broadcast,
    Local,
}

impl RuleTransport {
    pub(crate) const ALL: [(&'static str, Self); 5] = [
        ("udp", Self::Udp),
        ("tcp", Self::Tcp),
        ("multicast", Self::Multicast),
        ("broadcast", Self::Broadcast),
        ("local", Self::Local),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

/// What of an event a rule does not apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Type,
    Priority,
    Size,
    To,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type => "the type",
            Self::Priority => "the priority",
            Self::Size => "the size",
            Self::To => "the target asked for",
        })
    }
}

/// One rule of a [`RuleSet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub(crate) types: TypePattern,
    /// A bit for each priority, by its lane.
    pub(crate) priorities: u8,
    /// Least and greatest size of the payload, bytes.
    pub(crate) size: (u64, u64),
    /// The text of the target asked for, with `*`.
    pub(crate) to: Option<Box<str>>,
    pub(crate) target: Option<Target>,
    pub(crate) transport: Option<RuleTransport>,
    pub(crate) place: Source,
}

/// The bits of every priority.
pub(crate) const PRIORITIES: u8 = 0b1_1111;

/// Every size.
pub(crate) const SIZES: (u64, u64) = (0, u64::MAX);

impl Rule {
    /// The types it is for.
    #[must_use]
    pub const fn types(&self) -> &TypePattern {
        &self.types
    }

    /// Where it sends events instead of where they were asked to go.
    #[must_use]
    pub const fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// Where it was said.
    #[must_use]
    pub const fn place(&self) -> &Source {
        &self.place
    }

    /// What it does, in words: `to service:metrics, by tcp`.
    #[must_use]
    pub fn action(&self) -> String {
        let target = self.target.as_ref().map(|target| format!("to {target}"));
        let transport = self.transport.map(|transport| format!("by {}", transport.name()));
        let parts: Vec<String> = target.into_iter().chain(transport).collect();
        parts.join(", ")
    }

    /// Whether it asks for a size.
    pub(crate) fn sized(&self) -> bool {
        self.size != SIZES
    }

    /// Whether it sends to many what may have been asked for one.
    pub(crate) const fn is_for_many(&self) -> bool {
        let many =
            matches!(self.transport, Some(RuleTransport::Multicast | RuleTransport::Broadcast));
        many && self.target.is_none()
    }

    pub(crate) fn transport_name(&self) -> &'static str {
        self.transport.map_or("", RuleTransport::name)
    }

    pub(crate) const fn is_of_priority(&self, priority: Priority) -> bool {
        self.priorities & 1 << priority.lane() != 0
    }

    /// What of an event it does not apply to, if anything; `to` is the text of the target asked.
    pub(crate) fn refuses(&self, asked: &Asked<'_>, bytes: Option<u64>, to: &str) -> Option<Field> {
        if !self.types.matches(asked.event_type) {
            return Some(Field::Type);
        }
        if !self.is_of_priority(asked.priority) {
            return Some(Field::Priority);
        }
        let (least, greatest) = self.size;
        if self.sized() && bytes.is_none_or(|bytes| bytes < least || bytes > greatest) {
            return Some(Field::Size);
        }
        let is_asked = self.to.as_ref().is_none_or(|pattern| glob(pattern, to));
        (!is_asked).then_some(Field::To)
    }
}

impl fmt::Display for Rule {
    /// `rule at rules.toml:7`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule at {}", self.place)
    }
}

#[cfg(test)]
mod tests;

//! Who may do what: a policy, and the one function that decides by it.
//!
//! A policy is read once (`read`), looked over as a whole (`check`) and never changed.
//! [`Policy::authorise`] is the only place that decides: what receivers test for each event is
//! compiled from its answers. Pure; who a peer is comes from elsewhere.

mod book;
mod change;
mod check;
mod read;

pub(crate) use self::book::AccessBook;
pub use self::book::RoleSource;
pub use self::change::PolicyChange;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use wireloom_wire::NodeId;

use crate::config::{self, ConfigError, Source};
use crate::event::is_type_name;
use crate::pattern::TypePattern;

/// A policy has so many allows, denies and limits together at most: each allow is compared with
/// each deny.
pub const POLICY_LINES_MAX: usize = 1_024;

/// A policy has so many words at most: names, verbs and patterns of all its lines together.
pub const POLICY_WORDS_MAX: usize = 4_096;

/// A policy has so many roles at most.
pub const ROLES_MAX: usize = 256;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Send events of a type to a node.
    Publish,
    /// Be sent events of a type.
    Subscribe,
    /// Ask a node by a type's event; the reply is published.
    Request,
    /// Change how a node runs; the types are names of what is done.
    Admin,
    /// Ask for events of a type that are over.
    Replay,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] =
        [Self::Publish, Self::Subscribe, Self::Request, Self::Admin, Self::Replay];

    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Request => "request",
            Self::Admin => "admin",
            Self::Replay => "replay",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|verb| verb.name() == text).ok_or_else(|| read::no_verb(text))
    }
}

/// Whether a policy is put in force or only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PolicyMode {
    /// What it does not allow is refused.
    #[default]
    Enforce,
    /// What it does not allow is counted and written down, and let through.
    Shadow,
}

/// What a line of a policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Allows, where no line denies.
    Allow,
    /// Denies, whatever else is allowed.
    Deny,
}

/// Whom a line means: any of these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Who {
    every: bool,
    roles: Vec<Box<str>>,
    nodes: Vec<Named>,
}

/// A node by its name, and what events have of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    name: Box<str>,
    id: NodeId,
}

/// A role, and the nodes that have it by the policy's own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    name: Box<str>,
    nodes: Vec<Named>,
    place: Source,
}

/// An allow or a deny of a [`Policy`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLine {
    effect: Effect,
    who: Who,
    /// A bit for each verb.
    verbs: u8,
    types: Vec<TypePattern>,
    place: Source,
}

/// A limit of a [`Policy`]: of each node it means, for each type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    who: Who,
    types: Vec<TypePattern>,
    per_second: u32,
    burst: u32,
    place: Source,
}

/// The roles of a node, compared exactly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles(Arc<[Box<str>]>);

impl<S: AsRef<str>> FromIterator<S> for Roles {
    fn from_iter<I: IntoIterator<Item = S>>(roles: I) -> Self {
        Self(roles.into_iter().map(|role| role.as_ref().into()).collect())
    }
}

impl Roles {
    /// Whether this role is among them.
    #[must_use]
    pub fn has(&self, role: &str) -> bool {
        self.0.iter().any(|own| **own == *role)
    }
}

/// Somebody who wants to do something: a node, the roles it has, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The node, where it is one.
    pub node: Option<NodeId>,
    /// Roles it was given elsewhere than in the policy: by its certificate.
    pub roles: Roles,
}

impl Subject {
    /// The node of this name, without further roles.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self { node: Some(NodeId::of_name(name)), roles: Roles::default() }
    }

    /// Whoever has this role and is no node that the policy names.
    #[must_use]
    pub fn role(name: &str) -> Self {
        Self { node: None, roles: [name].into_iter().collect() }
    }
}

/// What a policy says to a subject, a verb and a type, and by which line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'p> {
    /// Allowed: by the first line that does.
    Allowed(&'p PolicyLine),
    /// Denied: by the first line that does.
    Denied(&'p PolicyLine),
    /// Denied, because no line allows it.
    DeniedByDefault,
}

impl Decision<'_> {
    /// Whether it may be done.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

impl fmt::Display for Decision<'_> {
    /// `allowed by the allow at policy.toml:7`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed(line) => write!(f, "allowed by the {line}"),
            Self::Denied(line) => write!(f, "denied by the {line}"),
            Self::DeniedByDefault => f.write_str("denied: no line allows it"),
        }
    }
}

/// A policy: which roles and nodes may do what with which types, and how often.
///
/// A TOML file of its own. What no line allows is denied; a deny wins over every allow, wherever it
/// stands. Names of nodes and roles are compared exactly, upper and lower case are different.
///
/// | table | keys |
/// |---|---|
/// | at the top | `mode`: `"enforce"` (without it) or `"shadow"`, which counts and lets through |
/// | `[[role]]` | `name`; `nodes`: those that have it without a certificate that says so |
/// | `[[allow]]`, `[[deny]]` | `role`, `node` or both, `verb`, `types` |
/// | `[[limit]]` | `role`, `node` or both, `types`, `rate` (events a second), `burst` |
///
/// `role`, `node`, `verb`, `types` and `nodes` are a text or a list of them. `node = "*"` means
/// every node, `verb = "*"` every verb; types are [`TypePattern`]s. A limit is of each node and
/// type by itself; of several the lowest rate counts; `burst` is a tenth of a second unless said.
///
/// ```
/// use wireloom::{Policy, Subject, Verb};
/// let policy = Policy::parse("policy.toml", r#"
///     [[role]]
///     name = "sensor"
///     nodes = ["greenhouse-1", "greenhouse-2"]
///
///     [[allow]]
///     role = "sensor"
///     verb = ["publish", "subscribe"]
///     types = "metric.**"
///
///     [[deny]]
///     node = "greenhouse-2"
///     verb = "publish"
///     types = "metric.power.*"
///
///     [[limit]]
///     role = "sensor"
///     types = "metric.**"
///     rate = 1000
/// "#)?;
/// let may = |node, name| policy.authorise(&Subject::node(node), Verb::Publish, name).is_allowed();
/// assert!(may("greenhouse-1", "metric.power.fan"));
/// assert!(!may("greenhouse-2", "metric.power.fan"));
/// assert!(!may("Greenhouse-1", "metric.power.fan"));
/// # Ok::<(), wireloom::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy(Arc<Parts>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    mode: PolicyMode,
    roles: Vec<Role>,
    lines: Vec<PolicyLine>,
    limits: Vec<Limit>,
}

impl Policy {
    /// Reads a policy; `name` is what messages call the text.
    ///
    /// # Errors
    /// Everything that is wrong, each with line and column: a key that does not exist (with the
    /// nearest that does), a value that cannot be, a role nobody defines, an allow to which denies
    /// leave nothing.
    pub fn parse(name: &str, text: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let (parts, mut faults) = read::parts_of(name, text.as_ref());
        faults.extend(check::faults_of(&parts));
        ConfigError::unless_none(faults)?;
        Ok(Self(Arc::new(parts)))
    }

    /// As [`Policy::parse`] for a file.
    ///
    /// # Errors
    /// As [`Policy::parse`], and that the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let (name, bytes) = config::read_file(path)?;
        Self::parse(&name, bytes)
    }

    /// What the policy says, whatever its [`Policy::mode`]. Costs a look at every line: a hundred
    /// nanoseconds for ten of them. Never asked for each event.
    #[must_use]
    pub fn authorise(&self, subject: &Subject, verb: Verb, type_name: &str) -> Decision<'_> {
        let line_of = |effect: Effect| {
            self.0.lines.iter().find(|line| {
                line.effect == effect
                    && line.verbs & verb.bit() != 0
                    && self.means(&line.who, subject)
                    && line.types.iter().any(|types| types.matches(type_name))
            })
        };
        if !is_type_name(type_name) {
            // Whatever it is, no line can have meant it.
            return Decision::DeniedByDefault;
        }
        match (line_of(Effect::Deny), line_of(Effect::Allow)) {
            (Some(line), _) => Decision::Denied(line),
            (None, Some(line)) => Decision::Allowed(line),
            (None, None) => Decision::DeniedByDefault,
        }
    }

    /// Whether a subject may do this with every type there can be.
    #[must_use]
    pub(crate) fn authorises_every_type(&self, subject: &Subject, verb: Verb) -> bool {
        let mut lines = self
            .0
            .lines
            .iter()
            .filter(|line| line.verbs & verb.bit() != 0 && self.means(&line.who, subject));
        let every = TypePattern::every();
        let is_denied = lines.clone().any(|line| line.effect == Effect::Deny);
        !is_denied && lines.any(|line| line.types.iter().any(|types| types.covers(&every)))
    }

    /// The strictest limit on what a subject publishes of a type; of a type without a name here
    /// (`None`) the strictest of all limits it has.
    #[must_use]
    pub fn limit(&self, subject: &Subject, type_name: Option<&str>) -> Option<&Limit> {
        let limits = self.0.limits.iter().filter(|limit| {
            let is_of = |name| limit.types.iter().any(|types| types.matches(name));
            self.means(&limit.who, subject) && type_name.is_none_or(is_of)
        });
        limits.min_by_key(|limit| (limit.per_second, limit.burst))
    }

    fn means(&self, who: &Who, subject: &Subject) -> bool {
        let named = |nodes: &[Named]| {
            subject.node.is_some_and(|node| nodes.iter().any(|named| named.id == node))
        };
        let has = |role: &str| {
            let given = self.0.roles.iter().find(|known| *known.name == *role);
            subject.roles.has(role) || given.is_some_and(|role| named(&role.nodes))
        };
        (who.every && subject.node.is_some())
            || named(&who.nodes)
            || who.roles.iter().any(|role| has(role))
    }

    /// Whether it is in force or only tried.
    #[must_use]
    pub fn mode(&self) -> PolicyMode {
        self.0.mode
    }

    /// Allows and denies, in the order of the file.
    pub fn lines(&self) -> impl Iterator<Item = &PolicyLine> {
        self.0.lines.iter()
    }

    /// Limits, in the order of the file.
    pub fn limits(&self) -> impl Iterator<Item = &Limit> {
        self.0.limits.iter()
    }

    /// The names of the roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.0.roles.iter().map(|role| &*role.name)
    }

    /// The names of the nodes that the policy speaks of, each once, in order.
    #[must_use]
    pub fn nodes(&self) -> Vec<&str> {
        let parts = &*self.0;
        let by_lines = parts.lines.iter().map(|line| &line.who);
        let who = by_lines.chain(parts.limits.iter().map(|limit| &limit.who));
        let named = who.flat_map(|who| &who.nodes);
        let given = parts.roles.iter().flat_map(|role| &role.nodes);
        let mut nodes: Vec<&str> = named.chain(given).map(|named| &*named.name).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}

impl PolicyLine {
    /// What it does.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// The types it is for.
    #[must_use]
    pub fn types(&self) -> &[TypePattern] {
        &self.types
    }

    /// The verbs it is for.
    pub fn verbs(&self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(|verb| self.verbs & verb.bit() != 0)
    }

    /// Where it was said.
    #[must_use]
    pub const fn place(&self) -> &Source {
        &self.place
    }

    /// Whom it means, what and which types: `role sensor: publish, subscribe metric.**`.
    #[must_use]
    pub fn meaning(&self) -> String {
        let verbs: Vec<&str> = self.verbs().map(Verb::name).collect();
        format!("{}: {} {}", self.who, verbs.join(", "), listed(&self.types))
    }
}

impl Limit {
    /// Events a second of each node and type.
    #[must_use]
    pub const fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Events that may come at once after a pause.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Where it was said.
    #[must_use]
    pub const fn place(&self) -> &Source {
        &self.place
    }

    /// Whom it means, which types and how many: `role sensor: metric.** 1000/s, 100 at once`.
    #[must_use]
    pub fn meaning(&self) -> String {
        let Self { who, types, per_second, burst, .. } = self;
        format!("{who}: {} {per_second}/s, {burst} at once", listed(types))
    }
}

fn listed<T: ToString>(parts: &[T]) -> String {
    let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
    parts.join(", ")
}

impl fmt::Display for PolicyLine {
    /// `deny at policy.toml:7`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        };
        write!(f, "{effect} at {}", self.place)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every = self.every.then(|| "every node".to_owned());
        let roles = self.roles.iter().map(|role| format!("role {role}"));
        let nodes = self.nodes.iter().map(|node| format!("node {}", node.name));
        let parts: Vec<String> = every.into_iter().chain(roles).chain(nodes).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests;

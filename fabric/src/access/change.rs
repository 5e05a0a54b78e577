//! What another policy would change: everybody that either of two policies speaks of, each verb and
//! the patterns of types that stand in their lines. Pure, for tools; nothing here decides.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use wireloom_wire::NodeId;

use super::{Effect, Policy, PolicyLine, PolicyMode, Subject, Verb};
use crate::pattern::TypePattern;

/// Something that another policy would change; see [`Policy::changes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyChange {
    /// `node NAME`, `role NAME` (a node with this role that no line names), or `other nodes`.
    pub who: String,
    /// A verb, `rate` for a limit, or `mode`.
    pub what: &'static str,
    /// The pattern of the types.
    pub types: String,
    /// `denied`, `partly` or `allowed`; a rate; a mode.
    pub before: String,
    /// The same afterwards; `partly otherwise` where it is a part by other lines than it was.
    pub after: String,
    /// Where the line stands that decides afterwards, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

impl fmt::Display for PolicyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, what, types, before, after, line } = self;
        write!(f, "{who}: {what} {types}: {before} → {after}")?;
        line.iter().try_for_each(|line| write!(f, " ({line})"))
    }
}

/// How much of a pattern somebody may, and the line that says so where one does.
struct Extent<'p> {
    word: &'static str,
    line: Option<&'p PolicyLine>,
    /// What a part comes from: effects and patterns.
    parts: BTreeSet<(bool, &'p str)>,
}

/// The lines of a policy that mean somebody, with the verb.
struct Row<'p>(Vec<&'p PolicyLine>);

impl<'p> Row<'p> {
    fn of(policy: &'p Policy, subject: &Subject, verb: Verb) -> Self {
        let means =
            |line: &&PolicyLine| line.verbs & verb.bit() != 0 && policy.means(&line.who, subject);
        Self(policy.lines().filter(means).collect())
    }

    fn patterns(&self) -> impl Iterator<Item = &'p TypePattern> {
        self.0.iter().flat_map(|line| &line.types)
    }

    fn extent(&self, of: &TypePattern) -> Extent<'p> {
        let touches = |line: &&&PolicyLine| line.types.iter().any(|types| types.intersects(of));
        let covers = |line: &&PolicyLine| line.types.iter().any(|types| types.covers(of));
        let by = |effect: Effect| {
            let of_effect = self.0.iter().filter(move |line| line.effect == effect);
            of_effect.filter(touches).copied().collect::<Vec<_>>()
        };
        let (denies, allows) = (by(Effect::Deny), by(Effect::Allow));
        let whole = |word, line| Extent { word, line, parts: BTreeSet::new() };
        if let Some(deny) = denies.iter().copied().find(covers) {
            return whole("denied", Some(deny));
        }
        if allows.is_empty() {
            return whole("denied", None);
        }
        if let (true, Some(allow)) = (denies.is_empty(), allows.iter().copied().find(covers)) {
            return whole("allowed", Some(allow));
        }
        let parts = allows.into_iter().chain(denies).flat_map(|line| {
            let types = line.types.iter().filter(|types| types.intersects(of));
            types.map(|types| (line.effect == Effect::Deny, types.as_str()))
        });
        Extent { word: "partly", line: None, parts: parts.collect() }
    }
}

impl Policy {
    /// What would change if `after` were in force instead: for each role and node that either
    /// speaks of and for all other nodes, which types somebody may and then may not, and the other
    /// way round, pattern by pattern as they stand in the lines; then rates, then the mode.
    ///
    /// A node that several roles are given elsewhere, by its certificate, has no row of its own.
    /// Costs a comparison of each line with each other for each of them: milliseconds for a hundred
    /// lines.
    #[must_use]
    pub fn changes(&self, after: &Self) -> Vec<PolicyChange> {
        let mut changes = Vec::new();
        for (who, subject) in everybody(self, after) {
            for verb in Verb::ALL {
                let (old, new) = (Row::of(self, &subject, verb), Row::of(after, &subject, verb));
                for types in each_once(old.patterns().chain(new.patterns())) {
                    changes.extend(changed((&who, verb, types), &old, &new));
                }
            }
            let patterns = [self, after].map(|policy| limited(policy, &subject));
            for types in each_once(patterns.into_iter().flatten()) {
                let rate = |policy: &Self| strictest(policy, &subject, types);
                let ((old, _), (new, line)) = (rate(self), rate(after));
                changes.extend((old != new).then(|| PolicyChange {
                    who: who.clone(),
                    what: "rate",
                    types: types.to_string(),
                    before: old,
                    after: new,
                    line,
                }));
            }
        }
        changes.extend((self.mode() != after.mode()).then(|| PolicyChange {
            who: "everybody".to_owned(),
            what: "mode",
            types: TypePattern::every().to_string(),
            before: word(self.mode()).to_owned(),
            after: word(after.mode()).to_owned(),
            line: None,
        }));
        changes
    }
}

const fn word(mode: PolicyMode) -> &'static str {
    match mode {
        PolicyMode::Enforce => "enforce",
        PolicyMode::Shadow => "shadow",
    }
}

/// Everybody that either policy speaks of, and a node of which neither says anything.
fn everybody(before: &Policy, after: &Policy) -> Vec<(String, Subject)> {
    let both = [before, after];
    let roles: BTreeSet<&str> = both.iter().flat_map(|policy| policy.roles()).collect();
    let nodes: BTreeSet<&str> = both.iter().flat_map(|policy| policy.nodes()).collect();
    let other = || Subject { node: Some(NodeId(0)), ..Subject::default() };
    let roles = roles.into_iter().map(|role| {
        let roles = [role].into_iter().collect();
        (format!("role {role}"), Subject { roles, ..other() })
    });
    let nodes = nodes.into_iter().map(|name| (format!("node {name}"), Subject::node(name)));
    roles.chain(nodes).chain([("other nodes".to_owned(), other())]).collect()
}

fn each_once<'p>(patterns: impl Iterator<Item = &'p TypePattern>) -> Vec<&'p TypePattern> {
    let mut seen = BTreeSet::new();
    patterns.filter(|types| seen.insert(types.as_str())).collect()
}

fn changed(
    (who, verb, types): (&str, Verb, &TypePattern),
    old: &Row<'_>,
    new: &Row<'_>,
) -> Option<PolicyChange> {
    let (before, after) = (old.extent(types), new.extent(types));
    let word = match (before.word == after.word, before.parts == after.parts) {
        (true, true) => return None,
        (true, false) => "partly otherwise",
        (false, _) => after.word,
    };
    Some(PolicyChange {
        who: who.to_owned(),
        what: verb.name(),
        types: types.to_string(),
        before: before.word.to_owned(),
        after: word.to_owned(),
        line: after.line.map(|line| line.place().to_string()),
    })
}

fn limited<'p>(
    policy: &'p Policy,
    subject: &Subject,
) -> impl Iterator<Item = &'p TypePattern> + use<'p> {
    let limits: Vec<_> = policy.limits().filter(|of| policy.means(&of.who, subject)).collect();
    limits.into_iter().flat_map(|limit| &limit.types)
}

/// The strictest limit on any type of a pattern, and where it stands.
fn strictest(policy: &Policy, subject: &Subject, of: &TypePattern) -> (String, Option<String>) {
    let limits = policy.limits().filter(|limit| {
        policy.means(&limit.who, subject) && limit.types.iter().any(|types| types.intersects(of))
    });
    let strictest = limits.min_by_key(|limit| (limit.per_second, limit.burst));
    match strictest {
        Some(limit) => (
            format!("{}/s, {} at once", limit.per_second, limit.burst),
            Some(limit.place().to_string()),
        ),
        None => ("no limit".to_owned(), None),
    }
}

//! What is wrong with a policy as a whole: roles nobody defines, and allows to which denies leave
//! nothing.

use super::{Effect, Parts, PolicyLine, Verb, Who};
use crate::config::{Fault, Source, nearest, quoted};

pub(super) fn faults_of(parts: &Parts) -> Vec<Fault> {
    let fault = |place: &Source, key: &str, problem: String| Fault {
        place: place.clone(),
        key: Some(key.to_owned()),
        problem,
    };
    let mut faults = Vec::new();
    for (index, role) in parts.roles.iter().enumerate() {
        if let Some(before) = parts.roles[..index].iter().find(|other| other.name == role.name) {
            let problem = format!("{} is defined at {} already", role.name, before.place);
            faults.push(fault(&role.place, "role.name", problem));
        }
    }
    let lines = parts.lines.iter().map(|line| (&line.who, &line.place));
    let limits = parts.limits.iter().map(|limit| (&limit.who, &limit.place));
    for (who, place) in lines.chain(limits) {
        let known = || parts.roles.iter().map(|role| &*role.name);
        for role in who.roles.iter().filter(|role| !known().any(|known| *known == ***role)) {
            let near = nearest(role, known());
            let near = near.map_or_else(
                || "define it by [[role]]".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            faults.push(fault(place, "role", format!("no role {}; {near}", quoted(role))));
        }
    }
    for allow in parts.lines.iter().filter(|line| line.effect == Effect::Allow) {
        if let Some(deny) = emptied_by(parts, allow) {
            let problem = format!("can never allow anything: the {deny} takes all of it");
            faults.push(fault(&allow.place, "allow", problem));
        }
    }
    faults
}

/// One of the denies that leave nothing of an allow, if they do: the last that was needed.
fn emptied_by<'p>(parts: &'p Parts, allow: &PolicyLine) -> Option<&'p PolicyLine> {
    let mut last = None;
    for verb in Verb::ALL.into_iter().filter(|verb| allow.verbs & verb.bit() != 0) {
        for types in &allow.types {
            let deny = parts.lines.iter().find(|line| {
                line.effect == Effect::Deny
                    && line.verbs & verb.bit() != 0
                    && line.types.iter().any(|denied| denied.covers(types))
                    && covers(parts, &line.who, &allow.who)
            });
            last = Some(deny?);
        }
    }
    last
}

/// Whether everybody the second means is meant by the first.
fn covers(parts: &Parts, one: &Who, other: &Who) -> bool {
    let has_role = |node: &str, role: &str| {
        let role = parts.roles.iter().find(|known| *known.name == *role);
        role.is_some_and(|role| role.nodes.iter().any(|name| **name == *node))
    };
    let is_named = |node: &str| one.nodes.iter().any(|name| **name == *node);
    one.every
        || (!other.every
            && other.roles.iter().all(|role| one.roles.contains(role))
            && other
                .nodes
                .iter()
                .all(|node| is_named(node) || one.roles.iter().any(|role| has_role(node, role))))
}

//! What is wrong with a policy as a whole: roles nobody defines, and allows to which denies leave
//! nothing.

use std::collections::{HashMap, HashSet};

use super::{Effect, Named, Parts, PolicyLine, Who};
use crate::config::{Fault, Source, nearest, quoted};

/// Faults for which the nearest name is looked for.
const NEAR_MAX: usize = 64;

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
            // Beyond those that are told nobody reads what was meant.
            let near = if faults.len() < NEAR_MAX { nearest(role, known()) } else { None };
            let near = near.map_or_else(
                || "define it by [[role]]".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            faults.push(fault(place, "role", format!("no role {}; {near}", quoted(role))));
        }
    }
    let given = given(parts);
    for allow in parts.lines.iter().filter(|line| line.effect == Effect::Allow) {
        if let Some(deny) = emptied_by((parts, &given), allow) {
            let problem = format!("can never allow anything: the {deny} takes all of it");
            faults.push(fault(&allow.place, "allow", problem));
        }
    }
    faults
}

/// The nodes that a policy gives each role.
type Given<'p> = HashMap<&'p str, HashSet<&'p str>>;

fn given(parts: &Parts) -> Given<'_> {
    let mut given = Given::new();
    for role in &parts.roles {
        given.insert(&role.name, role.nodes.iter().map(|node| &*node.name).collect());
    }
    given
}

/// One of the denies that leave nothing of an allow, if they do: the last that was needed.
fn emptied_by<'p>(
    (parts, given): (&'p Parts, &Given<'_>),
    allow: &PolicyLine,
) -> Option<&'p PolicyLine> {
    let denies = parts.lines.iter().filter(|line| {
        line.effect == Effect::Deny
            && line.verbs & allow.verbs != 0
            && covers(given, &line.who, &allow.who)
    });
    let denies: Vec<&PolicyLine> = denies.collect();
    let mut last = None;
    for types in &allow.types {
        let mut verbs = allow.verbs;
        for deny in &denies {
            if verbs & deny.verbs != 0 && deny.types.iter().any(|denied| denied.covers(types)) {
                (verbs, last) = (verbs & !deny.verbs, Some(*deny));
            }
        }
        if verbs != 0 {
            return None;
        }
    }
    last
}

/// Whether everybody the second means is meant by the first.
fn covers(given: &Given<'_>, one: &Who, other: &Who) -> bool {
    let has_role = |node: &str, role: &str| given.get(role).is_some_and(|of| of.contains(node));
    let is_meant = |node: &Named| {
        one.nodes.contains(node) || one.roles.iter().any(|role| has_role(&node.name, role))
    };
    one.every
        || (!other.every
            && other.roles.iter().all(|role| one.roles.contains(role))
            && other.nodes.iter().all(is_meant))
}

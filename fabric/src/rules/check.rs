//! What is wrong with rules together: one that others leave nothing to, and rules that send events
//! round in a circle.

use wireloom_wire::Priority;

use super::Rule;
use crate::config::Fault;
use crate::pattern::glob;

/// A circle of more rules than this is not looked for.
const CYCLE_MAX: usize = 64;

/// Everything that is wrong with the rules as a set.
pub(crate) fn faults_of(rules: &[Rule]) -> Vec<Fault> {
    let fault = |rule: &Rule, problem: String| Fault {
        place: rule.place.clone(),
        key: Some("rule".to_owned()),
        problem,
    };
    let mut faults = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        if let Some(before) = shadow(&rules[..index], rule) {
            faults.push(fault(
                rule,
                format!("can never apply: {before} takes every event it is for"),
            ));
        }
    }
    let routes = routes(rules);
    for start in 0..rules.len() {
        if let Some(circle) = circle(&routes, start) {
            let places: Vec<String> =
                circle.iter().map(|of| rules[*of].place.to_string()).collect();
            faults.push(fault(
                &rules[start],
                format!(
                    "rule cycle: {} send events to each other's targets; rules are asked once, so \
                     let one of them name where they are to end",
                    places.join(" and ")
                ),
            ));
        }
    }
    faults
}

/// The rules before one that leave nothing to it, in words.
fn shadow(before: &[Rule], rule: &Rule) -> Option<String> {
    let takes: Vec<&Rule> = before
        .iter()
        .filter(|before| !before.is_for_many())
        .filter(|before| before.types.covers(&rule.types) && covers_to(before, rule))
        .collect();
    if takes.is_empty() {
        return None;
    }
    let is_taken =
        Priority::ALL.into_iter().filter(|of| rule.is_of_priority(*of)).all(|priority| {
            let of_priority = takes.iter().filter(|before| before.is_of_priority(priority));
            covers_sizes(of_priority.map(|before| before.size).collect(), rule.size)
        });
    let alone = takes.iter().find(|before| shadow_alone(before, rule));
    is_taken.then(|| match alone {
        Some(before) => format!("the {before}"),
        None => format!("the {} and others before it", takes[0]),
    })
}

fn shadow_alone(before: &Rule, rule: &Rule) -> bool {
    before.priorities & rule.priorities == rule.priorities
        && before.size.0 <= rule.size.0
        && before.size.1 >= rule.size.1
}

/// Whether the targets that `rule` asks for are among those of `before`.
fn covers_to(before: &Rule, rule: &Rule) -> bool {
    match (&before.to, &rule.to) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(before), Some(to)) => glob(before, to),
    }
}

/// Whether ranges together leave nothing of one.
fn covers_sizes(mut ranges: Vec<(u64, u64)>, (least, greatest): (u64, u64)) -> bool {
    ranges.sort_unstable();
    let mut next = least;
    for (from, to) in ranges {
        if from > next {
            return false;
        }
        if to >= greatest {
            return true;
        }
        next = next.max(to.saturating_add(1));
    }
    false
}

/// For each rule those that ask for the target it sends to, by its text. A rule for every target
/// asks for none in particular.
fn routes(rules: &[Rule]) -> Vec<Vec<usize>> {
    let asking: Vec<(usize, &Rule, &str)> = rules
        .iter()
        .enumerate()
        .filter_map(|(index, rule)| Some((index, rule, rule.to.as_deref()?)))
        .collect();
    let next = |index: usize, rule: &Rule| {
        let Some(target) = &rule.target else { return Vec::new() };
        let target = target.to_string();
        let asks = asking.iter().filter(|(other, then, to)| {
            *other != index && glob(to, &target) && share_events(rule, then)
        });
        asks.map(|(other, ..)| *other).collect()
    };
    rules.iter().enumerate().map(|(index, rule)| next(index, rule)).collect()
}

/// Whether an event may be both rules'.
fn share_events(one: &Rule, two: &Rule) -> bool {
    let sizes = one.size.0.max(two.size.0) <= one.size.1.min(two.size.1);
    sizes && one.priorities & two.priorities != 0 && one.types.intersects(&two.types)
}

/// The circle through a rule that is its first by place, if there is one: told once for all of it.
fn circle(routes: &[Vec<usize>], start: usize) -> Option<Vec<usize>> {
    let mut reached_from = vec![None; routes.len()];
    let mut waiting = vec![start];
    while let Some(at) = waiting.pop() {
        for next in &routes[at] {
            if *next == start {
                let mut way = vec![at];
                while let Some(before) = way.last().and_then(|of: &usize| reached_from[*of]) {
                    way.push(before);
                }
                way.truncate(CYCLE_MAX);
                way.reverse();
                return Some(way);
            }
            // Only rules behind the first: one before it tells of the circle itself.
            if *next > start && reached_from[*next].is_none() {
                reached_from[*next] = Some(at);
                waiting.push(*next);
            }
        }
    }
    None
}

//! The tuning profiles: each is read by `tuning/inspect`, key for key, on any machine; what
//! `tuning/apply` changes comes back.
#![forbid(unsafe_code)]

#[path = "tuning/apply.rs"]
mod apply;
#[path = "tuning/tree.rs"]
mod tree;

use std::process::{Command, Output};
use std::str;

use tree::{keys, profiles, repository};

fn inspect(arguments: &[&str]) -> Output {
    let script = repository().join("tuning/inspect");
    Command::new(script).args(arguments).output().expect("tuning/inspect is executable")
}

#[test]
fn every_key_of_every_profile_is_judged() {
    for name in profiles() {
        let output = inspect(&[&name]);
        let said = str::from_utf8(&output.stdout).expect("the output is text");
        assert!(output.status.success(), "{name}: {said}");
        let verdicts = ["ok ", "absent ", "differs "];
        let judged = |line: &&str| verdicts.iter().any(|verdict| line.starts_with(verdict));
        assert_eq!(said.lines().filter(judged).count(), keys(&name).len(), "{name}:\n{said}");
        assert!(!keys(&name).is_empty(), "{name} states nothing");
        for (key, _) in keys(&name) {
            let place = said.find(&format!(" {key} = ")).expect("every key is judged by name");
            let next = said[place..].lines().nth(1).unwrap_or_default();
            let reason = next.trim_start().strip_prefix("why: ").expect("the reason comes next");
            assert!(reason.len() > 10 && !reason.contains("the profile asks"), "{key}: {reason}");
        }
        let count = |start: &str| said.lines().filter(|line| line.starts_with(start)).count();
        assert!(count("         mend: ") >= count("differs "), "{name}:\n{said}");
    }
}

#[test]
fn facts_are_one_json_object_if_asked() {
    let facts: serde_json::Value =
        serde_json::from_slice(&inspect(&["--json"]).stdout).expect("an object");
    let lines = inspect(&[]).stdout;
    let lines = str::from_utf8(&lines).expect("the output is text").lines().count();
    assert_eq!(facts.as_object().map(serde_json::Map::len), Some(lines), "{facts}");
    assert!(facts["kernel"].as_str().is_some_and(|kernel| kernel.contains('.')), "{facts}");
}

#[test]
fn facts_are_printed_one_a_line() {
    let output = inspect(&[]);
    let said = str::from_utf8(&output.stdout).expect("the output is text");
    assert!(output.status.success() && said.lines().count() > 10, "{said}");
    assert!(said.lines().all(|line| line.contains(" = ")), "{said}");
    assert!(said.lines().any(|line| line.starts_with("cores = ")), "{said}");
}

#[test]
fn an_unknown_profile_names_the_known_ones() {
    let output = inspect(&["throughputt"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("low-latency throughput"));
}

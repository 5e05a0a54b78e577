//! The tuning profiles: each is read by `tuning/inspect`, key for key, on any machine.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, str};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn inspect(arguments: &[&str]) -> Output {
    let script = root().join("tuning/inspect");
    Command::new(script).args(arguments).output().expect("tuning/inspect is executable")
}

/// The lines of a profile that state a value.
fn keys(profile: &str) -> usize {
    profile.lines().filter(|line| !line.starts_with('#') && line.contains(" = ")).count()
}

#[test]
fn every_key_of_every_profile_is_judged() {
    let mut profiles = 0;
    for entry in fs::read_dir(root().join("tuning/profiles")).expect("profiles exist").flatten() {
        let path = entry.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("names are plain");
        let expected = keys(&fs::read_to_string(&path).expect("profiles are text"));
        let output = inspect(&[name]);
        let said = str::from_utf8(&output.stdout).expect("the output is text");
        assert!(output.status.success(), "{name}: {said}");
        let verdicts = ["ok ", "absent ", "differs "];
        let judged = |line: &&str| verdicts.iter().any(|verdict| line.starts_with(verdict));
        assert_eq!(said.lines().filter(judged).count(), expected, "{name}:\n{said}");
        assert!(expected > 0, "{name} states nothing");
        profiles += 1;
    }
    assert!(profiles > 0, "no profile found");
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

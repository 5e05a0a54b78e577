//! `wireloom demo`: it balances, and leaves nothing behind.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::program::{Scratch, run, run_with, text, wireloom};

/// The processes whose parent is `parent`, by /proc.
fn children_of(parent: u32) -> Vec<String> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}

/// Whether a process of ours runs under this id.
fn runs(id: &str) -> bool {
    fs::read(format!("/proc/{id}/cmdline"))
        .is_ok_and(|words| words.windows(9).any(|part| part == b"demo-node"))
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn three_processes_and_a_ledger_that_balances() {
    let file = Scratch::new("demo.txt", "one\n\ntwo größe\n\x1b[2Jthree\n".as_bytes());
    let words = ["demo", "--seconds", "2", "--rate", "2000", "--file", file.path()];
    let shown = run(&words);
    let output = text(&shown.stdout);
    assert_eq!(shown.status.code(), Some(0), "{output}{}", text(&shown.stderr));
    for part in ["   1 s  lines ", "loom-1", "loom-2", "loom-3", "heartbeat of loom-1", "ledger"] {
        assert!(output.contains(part), "{part} in {output}");
    }
    assert_eq!(output.matches("  ✓ ").count(), 6, "{output}");
    assert!(output.ends_with("balanced: every event is accounted for, across three processes\n"));
    assert!(!output.contains('✗') && !output.contains('\x1b'), "{output}");
}

#[test]
fn standard_input_is_published_once_and_bad_lines_are_in_the_ledger() {
    let mut input = "line\n".repeat(300).into_bytes();
    input.extend_from_slice(b"\xff\n");
    input.extend_from_slice("x".repeat(70_000).as_bytes());
    let shown = run_with(&["demo", "--seconds", "30", "--file", "-"], &input);
    let output = text(&shown.stdout);
    assert_eq!(shown.status.code(), Some(0), "{output}{}", text(&shown.stderr));
    let line = "loom-1  302 lines read = 300 accepted + 1 invalid utf8 + 1 too large";
    assert!(output.contains(line), "{output}");
    assert!(output.contains("300 lines sent to it = 300 delivered + 0 lost"), "{output}");
}

#[test]
fn nodes_end_with_their_parent_however_it_ends() {
    let mut command = wireloom(&["demo", "--seconds", "60"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut parent = command.spawn().expect("it starts");
    let mut nodes = Vec::new();
    wait_until("three nodes run", || {
        nodes = children_of(parent.id());
        nodes.len() == 3 && nodes.iter().all(|node| runs(node))
    });
    parent.kill().expect("it runs");
    parent.wait().expect("it has ended");
    wait_until("no node runs", || !nodes.iter().any(|node| runs(node)));
}

#[test]
fn a_node_ends_with_its_account_when_its_standard_input_closes() {
    let ended = run_with(&["demo-node", "lines", "--name", "loom-2"], b"");
    assert!(ended.status.success());
    let reports = text(&ended.stdout);
    let (first, last) = (reports.lines().next(), reports.lines().last());
    assert!(first.is_some_and(|first| first.starts_with("{\"ready\":")), "{reports}");
    assert_eq!(last, Some("\"done\""), "{reports}");
}

#[test]
fn a_node_that_dies_ends_the_demonstration_with_its_name() {
    let mut command = wireloom(&["demo", "--seconds", "60"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let parent = command.spawn().expect("it starts");
    let mut nodes = Vec::new();
    wait_until("three nodes run", || {
        nodes = children_of(parent.id());
        nodes.len() == 3 && nodes.iter().all(|node| runs(node))
    });
    let id = nodes[1].parse().ok().and_then(rustix::process::Pid::from_raw).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::KILL).expect("it runs");
    let output = parent.wait_with_output().expect("it ends");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.starts_with("error: loom-3 ended (signal: 9"), "{told}");
    wait_until("no node runs", || !nodes.iter().any(|node| runs(node)));
}

#[test]
fn a_text_that_is_not_there_is_told_before_anything_starts() {
    let empty = Scratch::new("empty.txt", b"");
    for (file, part) in [("/nonexistent", "cannot read /nonexistent"), (empty.path(), "is empty")] {
        let refused = run(&["demo", "--file", file]);
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(told.starts_with("error: ") && told.contains(part), "{told}");
        assert!(refused.stdout.is_empty() && told.lines().count() == 1, "{told}");
    }
}

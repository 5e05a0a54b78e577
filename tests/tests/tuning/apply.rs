//! `tuning/apply` and `tuning/revert` on a tree of files: what was there is there again.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::tree::{LATENCY, NODE_PROFILES, Tree, files, keys, profiles};

const RECEIVE_BUFFER: &str = "proc/sys/net/core/rmem_max";
const BUSY_POLL: &str = "proc/sys/net/core/busy_poll";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Waits for something another process does.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The process that the state names as the holder of the latency.
fn holder(tree: &Tree) -> u32 {
    let state = fs::read_to_string(tree.state()).expect("there is a state");
    let line = state.lines().find(|line| line.starts_with("holder\t")).expect("there is a holder");
    line.split('\t').nth(1).expect("it has a number").parse().expect("it is a number")
}

/// A process that is killed when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn revert_restores_every_file_of_every_profile() {
    for profile in profiles() {
        let tree = Tree::new("every", &profile);
        let before = tree.settings();
        let output = tree.run("apply", &[&profile]);
        let log = said(&output);
        assert!(output.status.success(), "{profile}: {log}");

        let paths: Vec<String> = keys(&profile).iter().flat_map(|(key, _)| files(key)).collect();
        let changed = log.lines().filter(|line| line.starts_with("changed ")).count();
        assert_eq!(changed, paths.len(), "{profile}: {log}");
        for path in paths {
            assert!(log.contains(&format!("changed  /{path}: ")), "{path}: {log}");
            let full = tree.root.join(&path);
            assert_ne!(tree.settings()[&full], before[&full], "{path} is as it was");
        }
        let judged = said(&tree.run("inspect", &[&profile]));
        for (key, _) in keys(&profile).iter().filter(|(key, _)| !files(key).is_empty()) {
            assert!(judged.contains(&format!("ok       {key} = ")), "{key}: {judged}");
        }

        let output = tree.run("revert", &[]);
        assert!(output.status.success(), "{profile}: {}", said(&output));
        assert_eq!(tree.settings(), before, "{profile}: {}", said(&output));
        assert!(!tree.state().exists(), "{profile} leaves its state");
    }
}

#[test]
fn what_is_good_enough_stays() {
    let tree = Tree::new("stays", "low-latency");
    tree.write(RECEIVE_BUFFER, "99999999\n");
    let log = said(&tree.run("apply", &["low-latency"]));
    assert!(log.contains("stays    /proc/sys/net/core/rmem_max: 99999999"), "{log}");
    assert_eq!(tree.read(RECEIVE_BUFFER), "99999999\n");
}

#[test]
fn a_second_apply_is_refused() {
    let tree = Tree::new("second", "low-latency");
    assert!(tree.run("apply", &["low-latency"]).status.success());
    let (settings, state) = (tree.settings(), fs::read(tree.state()).expect("there is a state"));
    let output = tree.run("apply", &["throughput"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("tuning/revert first"), "{}", said(&output));
    assert_eq!(tree.settings(), settings);
    assert_eq!(fs::read(tree.state()).expect("the state is there still"), state);
}

#[test]
fn a_dry_run_changes_nothing() {
    let tree = Tree::new("dry", "low-latency");
    let before = tree.settings();
    let log = said(&tree.run("apply", &["--dry-run", "low-latency"]));
    assert!(log.contains("would    /proc/sys/net/core/rmem_max: 1 -> 4194304"), "{log}");
    assert!(log.contains("would    hold /dev/cpu_dma_latency at 0"), "{log}");
    assert_eq!(tree.settings(), before);
    assert!(!tree.state().exists());

    assert!(tree.run("apply", &["low-latency"]).status.success());
    let applied = tree.settings();
    let log = said(&tree.run("revert", &["--dry-run"]));
    assert!(log.contains("would    /proc/sys/net/core/rmem_max: 4194304 -> 1"), "{log}");
    assert_eq!(tree.settings(), applied);
    assert!(tree.state().exists());
}

/// One of the files is a pipe here: apply reads it, and then waits in the middle of its changes for
/// somebody to take what it writes.
#[test]
fn an_apply_killed_half_way_is_taken_back() {
    let tree = Tree::new("killed", "low-latency");
    let before = tree.settings();
    let pipe = tree.root.join(BUSY_POLL);
    fs::remove_file(&pipe).expect("the file was there");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let mut apply = tree.command("apply", &["low-latency"]);
    let apply = apply.stdout(Stdio::null()).spawn().expect("apply is executable");
    let apply = Killed(apply);
    let value = pipe.clone();
    thread::spawn(move || fs::write(value, "1\n")); // waits until apply reads it
    until("the first change is made", || tree.read(RECEIVE_BUFFER) == "4194304\n");
    drop(apply);
    // Whoever waits at the pipe goes on, and this open waits for nobody.
    drop(OpenOptions::new().read(true).write(true).open(&pipe).expect("a pipe opens both ways"));
    fs::remove_file(&pipe).expect("the pipe is there");
    tree.write(BUSY_POLL, "50\n");

    assert_ne!(tree.settings(), before);
    let governor = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    assert_eq!(tree.read(governor), "userspace\n", "the kill came after the last change");
    let output = tree.run("revert", &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(tree.settings(), before);
    assert!(!tree.state().exists());
}

#[test]
fn the_latency_is_held_until_revert() {
    let tree = Tree::new("held", "low-latency");
    assert!(tree.run("apply", &["low-latency"]).status.success());
    let process = format!("/proc/{}", holder(&tree));
    assert_eq!(tree.read(LATENCY), "\0\0\0\0");
    let open = fs::read_link(Path::new(&process).join("fd/3")).expect("the holder holds it");
    assert!(open.ends_with(LATENCY), "{}", open.display());
    assert!(tree.run("revert", &[]).status.success());
    until("the holder lets go", || fs::read_link(Path::new(&process).join("fd/3")).is_err());
}

#[test]
fn a_process_that_only_has_the_number_is_left_alone() {
    let tree = Tree::new("number", "low-latency");
    let mut sleep = Killed(Command::new("sleep").arg("60").spawn().expect("sleep runs"));
    let state = format!("profile\tlow-latency\nholder\t{}\t1\n", sleep.0.id());
    tree.write("run/wireloom-tuning/state", &state);
    let log = said(&tree.run("revert", &[]));
    assert!(log.contains("gone "), "{log}");
    thread::sleep(Duration::from_millis(50));
    assert!(sleep.0.try_wait().expect("it can be asked").is_none(), "it was ended: {log}");
}

#[test]
fn revert_writes_nothing_but_settings() {
    let tree = Tree::new("foreign", "laptop");
    tree.write("etc/passwd", "root\n");
    tree.write("run/wireloom-tuning/state", "saved\t/etc/passwd\tnobody\n");
    let output = tree.run("revert", &[]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert_eq!(tree.read("etc/passwd"), "root\n");
}

#[test]
fn without_a_state_there_is_nothing_to_revert() {
    let tree = Tree::new("nothing", "laptop");
    let output = tree.run("revert", &[]);
    assert!(output.status.success() && said(&output).contains("nothing to revert"));
}

#[test]
fn apply_names_the_profiles_it_knows() {
    let tree = Tree::new("unknown", "laptop");
    for arguments in [&["laptopp"][..], &[]] {
        let output = tree.run("apply", arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains("laptop low-latency throughput"), "{}", said(&output));
    }
}

#[test]
fn a_profile_of_a_node_is_neither_listed_nor_applied_nor_judged() {
    let tree = Tree::new("node", "laptop");
    let before = tree.settings();
    for profile in NODE_PROFILES {
        let path = crate::tree::repository().join(format!("tuning/profiles/{profile}.toml"));
        let path = path.to_str().expect("UTF-8");
        for (script, name) in [("apply", profile), ("apply", path), ("inspect", profile)] {
            let output = tree.run(script, &[name]);
            let log = said(&output);
            assert_eq!(output.status.code(), Some(2), "{script} {name}: {log}");
            assert!(log.contains("is a profile of a node"), "{log}");
            let listed = log.trim_end().ends_with("there are: laptop low-latency throughput");
            assert!(listed, "only those of hosts: {log}");
            assert_eq!(tree.settings(), before);
            assert!(!tree.state().exists());
        }
    }
}

/// The real thing, on values that a fresh network namespace has of its own; one that belongs to the
/// host is refused there by the kernel. Where it can be, the real latency is held.
#[test]
fn the_kernels_own_values_come_back() {
    let tree = Tree::new("kernel", "laptop"); // a folder for profile and state, nothing else
    let profile = "\"net.core.optmem_max\" = 262144\n\"net.ipv4.igmp_max_memberships\" = 77\n\
                   \"net.core.rmem_max\" = 2000000000\ndma_latency_us = \"<= 0\"\n";
    tree.write("real.toml", profile);
    let steps = "values() { echo \"$1\" $(cat /proc/sys/net/core/optmem_max \
                 /proc/sys/net/ipv4/igmp_max_memberships); }
                 values before
                 tuning/apply --state \"$0/state\" \"$0/real.toml\"
                 values applied
                 tuning/inspect \"$0/real.toml\"
                 tuning/revert --state \"$0/state\"
                 values after";
    let writable = ["-n", "test", "-w", "/proc/sys/net/core/optmem_max"];
    let possible = Command::new("unshare").args(writable).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("skipped: no network namespace with settings of its own (needs root)");
        return;
    }
    let host = || fs::read_to_string(format!("/{RECEIVE_BUFFER}")).expect("Linux has it");
    let hosts_own = host();
    let output = Command::new("unshare")
        .args(["-n", "bash", "-c", steps])
        .arg(&tree.root)
        .current_dir(crate::tree::repository())
        .output()
        .expect("unshare runs");
    let log = said(&output);
    let values = |when: &str| {
        let line = log.lines().find_map(|line| line.strip_prefix(when)).expect("values are said");
        line.split_whitespace().map(|word| word.parse().expect("a number")).collect::<Vec<u64>>()
    };
    let (before, applied) = (values("before "), values("applied "));
    assert_eq!(applied, [before[0].max(262_144), before[1].max(77)], "{log}");
    assert_eq!(host(), hosts_own, "{log}");
    let refused = ["refused  ", "absent   "].map(|verdict| format!("{verdict}/{RECEIVE_BUFFER}"));
    assert!(refused.iter().any(|line| log.contains(line)), "{log}");
    if log.contains("held     /dev/cpu_dma_latency") {
        assert!(log.contains("ok       dma_latency_us = 0"), "{log}");
        assert!(log.contains("ended    process"), "{log}");
    } else {
        println!("the latency was not held: no device to hold here");
    }
    assert_eq!(values("after "), before, "{log}");
}

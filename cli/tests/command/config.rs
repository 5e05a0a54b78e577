//! `wireloom config`, and the configuration of the commands that run a node.

use std::process::Stdio;

use serde_json::Value;

use crate::program::{Scratch, Subscriber, run, run_with, text, wireloom};

const PROFILES: [&str; 3] = ["browser", "server", "cluster"];

/// The row of a key in the table.
fn row<'a>(table: &'a str, key: &str) -> &'a str {
    let is_row = |line: &&str| line.split_whitespace().next() == Some(key);
    table.lines().find(is_row).unwrap_or_else(|| panic!("{key} in {table}"))
}

#[test]
fn the_table_tells_each_value_and_who_said_it() {
    let file = Scratch::new("check.toml", b"[node]\nprofile = \"server\"\n[udp]\nwindow = 65536\n");
    let words = ["config", "check", file.path(), "--set", "udp.flow=shed"];
    let mut command = wireloom(&words);
    let checked =
        command.env("WIRELOOM_TCP_COMPRESSION", "true").output().expect("the command starts");
    let table = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    let place = format!("{}:4", file.path());
    for (key, parts) in [
        ("udp.window", &["64 KiB", place.as_str()][..]),
        ("udp.multicast_ttl", &["64", "profile server"]),
        ("udp.flow", &["shed", "flag --set"]),
        ("tcp.compression", &["true", "env WIRELOOM_TCP_COMPRESSION"]),
        ("node.mode", &["shared", "default"]),
        ("node.cores", &["[]", "default"]),
        ("udp.path_bytes", &["auto", "default"]),
    ] {
        for part in parts {
            assert!(row(&table, key).contains(part), "{key}: {part}: {table}");
        }
    }
    assert!(!row(&table, "udp.window").contains("no effect"), "{table}");
    let without = "cluster.replication: events of this version are kept by their publisher alone";
    assert!(table.contains(&format!("\n  {without}")), "{table}");
    assert!(!table.contains('\x1b') && table.lines().all(|line| line == line.trim_end()));
}

#[test]
fn a_profile_on_the_command_line_comes_before_the_files() {
    let file = Scratch::new("profile.toml", b"[node]\nprofile = \"server\"\n[tcp]\npool = 7\n");
    let words = ["config", "check", file.path(), "--profile", "cluster", "--json"];
    let checked = run(&words);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    let account: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let rows = account["config"].as_array().expect("rows");
    let row = |key: &str| rows.iter().find(|row| row["key"] == key).expect("a row");
    assert_eq!(row("node.profile")["source"], "flag --profile");
    assert_eq!(row("cluster.replication")["value"], 3);
    assert_eq!(row("cluster.replication")["source"], "profile cluster");
    assert!(row("cluster.replication")["no_effect"].is_string());
    assert!(row("udp.packet_bytes").get("no_effect").is_none());
    assert_eq!(row("tcp.pool")["value"], 7);
    let timeout = row("tcp.connect_timeout");
    assert_eq!(timeout["value"], 30_000_000_000_u64);
    assert_eq!((&timeout["unit"], &timeout["text"]), (&"ns".into(), &"30 s".into()));
    assert_eq!(row("udp.path_bytes")["value"], Value::Null);
}

#[test]
fn every_fault_is_told_with_its_place_and_the_nearest_word() {
    let file = Scratch::new(
        "faults.toml",
        b"[udp]\nmulticast_tll = 4\nflow = \"hodl\"\n[tcp]\nack_timeout = 10\n[tpc]\n",
    );
    let path = file.path();
    for words in [
        &["config", "check", path][..],
        &["sub", "--config", path],
        &["pub", "--to", "udp://127.0.0.1:9", "--type", "a", "--config", path],
    ] {
        let refused = run(words);
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{words:?}: {told}");
        assert!(refused.stdout.is_empty());
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 5, "{words:?}: {told}");
        for (line, part) in lines.iter().zip([
            format!("{path}:2:1: no key \"multicast_tll\" in [udp]; did you mean multicast_ttl?"),
            format!("{path}:3:8: udp.flow: \"hodl\" cannot be"),
            format!("{path}:5:15: tcp.ack_timeout: 10 cannot be"),
            format!("{path}:6:2: no section \"tpc\"; did you mean [tcp]?"),
            "error: the configuration has 4 faults".to_owned(),
        ]) {
            assert!(line.starts_with(&part), "{line}: {part}");
        }
        assert!(lines[1].ends_with("did you mean \"hold\"?"), "{told}");
        assert!(lines[2].ends_with("did you mean \"10 s\"?"), "{told}");
    }
}

#[test]
fn mistakes_of_the_command_line_are_told_like_others() {
    let file = Scratch::new("good.toml", b"[tcp]\npool = 1\n");
    for (words, part) in [
        (&["config"][..], "Usage:"),
        (&["config", "chek", "x"], "'check'"),
        (&["config", "check"], "<FILE>"),
        (&["config", "check", "no-such-file.toml"], "no-such-file.toml: cannot be read"),
        (&["config", "check", file.path(), "--profile", "sever"], "did you mean server?"),
        (&["config", "check", file.path(), "--set", "pool"], "SECTION.NAME=VALUE"),
        (&["config", "check", file.path(), "--set", "tcp.pol=1"], "did you mean pool?"),
        (&["config", "check", file.path(), "--set", "tcp.pool=0"], "flag --set: tcp.pool: \"0\""),
        (&["config", "show", "clster"], "did you mean cluster?"),
        (&["sub", "--config", file.path()], "nothing says where to receive"),
        (&["sub", "--listen", "udp://127.0.0.1:0", "--profile", "x"], "browser, server and"),
    ] {
        let refused = run(words);
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{words:?}: {told}");
        assert!(told.contains(part), "{words:?}: {part:?} in {told}");
    }
}

#[test]
fn a_file_cannot_move_the_cursor_of_who_checks_it() {
    let file = Scratch::new("escape.toml", b"\"\\u001b[2J\" = 1\n[node]\nname = \"\\u009b\"\n");
    let told = text(&run(&["config", "check", file.path()]).stderr);
    assert!(told.contains("\\u{1b}[2J") && !told.contains(['\x1b', '\u{9b}']), "{told:?}");
}

#[test]
fn what_is_shown_of_a_profile_is_a_file_that_says_the_same() {
    for profile in PROFILES {
        let shown = run(&["config", "show", profile]);
        assert_eq!(shown.status.code(), Some(0));
        let kept = format!("{}/../tuning/profiles/{profile}.toml", env!("CARGO_MANIFEST_DIR"));
        assert!(shown.stdout == std::fs::read(&kept).expect("a file"), "{kept} is another");
        let checked = run(&["config", "check", &kept]);
        assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
        assert!(row(&text(&checked.stdout), "node.profile").contains(profile));
    }
}

#[test]
fn a_subscriber_and_a_publisher_take_their_figures_from_a_file() {
    let file = Scratch::new(
        "node.toml",
        b"[node]\nname = \"from-a-file\"\nlisten = \"127.0.0.1:0\"\n[events]\nqueue = 100000\n",
    );
    // Nothing but the file says where to listen.
    let subscriber = Subscriber::start_with(&["sub"], &["--config", file.path(), "--count", "1"]);
    let words = ["pub", "--to", &subscriber.target(), "--type", "a", "--profile", "server"];
    let published = run_with(&words, b"1\n");
    assert!(published.status.success(), "{}", text(&published.stderr));
    let ended = subscriber.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    // What stands on the command line comes before the file.
    let words = ["sub", "--config", file.path(), "--listen", "udp://192.0.2.1:9"];
    let refused = run(&words);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("192.0.2.1"), "{}", text(&refused.stderr));

    let mut command = wireloom(&["sub", "--listen", "udp://127.0.0.1:0", "--timeout", "1ms"]);
    command.env("WIRELOOM_NODE_RECEIVERS", "0").stdin(Stdio::null());
    let refused = command.output().expect("the command starts");
    assert_eq!(refused.status.code(), Some(2), "the environment speaks too");
    assert!(text(&refused.stderr).contains("env WIRELOOM_NODE_RECEIVERS"));
}

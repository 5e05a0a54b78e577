//! Words: help, completions, mistakes, colours.

use std::process::{Command, Stdio};

use crate::program::{run, text};

#[test]
fn help_teaches_and_goes_to_standard_output() {
    for (words, parts) in [
        (&["--help"][..], &["wireloom demo", "Exit status:", "pub", "sub", "bench"][..]),
        (&["pub", "--help"], &["Examples:", "--rate", "--priority", "Exit status:"]),
        (&["sub", "--help"], &["Examples:", "--join", "--timeout", "Exit status:"]),
        (&["demo", "--help"], &["Examples:", "--seconds", "Exit status:"]),
        (&["bench", "--help"], &["Examples:", "udp", "pingpong", "frontier"]),
        (&["bench", "pingpong", "--help"], &["Examples:", "--idle", "Exit status:"]),
        (&["bench", "priority", "--help"], &["Examples:", "--duration", "Exit status:"]),
        (&["bench", "isolation", "--help"], &["--only", "--neighbours", "Exit status:"]),
        (&["bench", "frontier", "--help"], &["Examples:", "--svg", "Exit status:"]),
        (&["bench", "fanout", "--help"], &["Examples:", "--subscribers", "Exit status:"]),
        (&["bench", "scale", "--help"], &["Examples:", "--cores", "Exit status:"]),
        (&["config", "--help"], &["Examples:", "WIRELOOM_TCP_POOL", "Exit status:"]),
        (&["config", "check", "--help"], &["Examples:", "--profile", "--set", "Exit status:"]),
        (&["config", "show", "--help"], &["Examples:", "cluster", "Exit status:"]),
        (&["ca", "--help"], &["Examples:", "init", "revoke", "Exit status:"]),
        (&["ca", "issue", "--help"], &["--role", "--replace", "Exit status:"]),
        (&["schema", "--help"], &["Examples:", "--fields", "Exit status:"]),
        (&["completions", "--help"], &["Examples:", "bash"]),
    ] {
        let helped = run(words);
        let help = text(&helped.stdout);
        assert_eq!(helped.status.code(), Some(0), "{words:?}");
        for part in parts {
            assert!(help.contains(part), "{words:?}: {part} in {help}");
        }
        assert!(!help.contains("demo-node"), "the hidden command is hidden");
        assert!(!help.contains('\x1b'), "no colours for a pipe");
    }
    assert!(text(&run(&["--version"]).stdout).starts_with("wireloom "));
}

#[test]
fn a_mistake_is_answered_with_what_would_be_right() {
    let good = ["--to", "udp://127.0.0.1:9", "--type", "a"];
    let with = |more: &[&'static str]| [&["pub"], &good[..], more].concat();
    for (words, part) in [
        (vec![], "Usage:"),
        (vec!["publsh"], "publish"),
        (vec!["sub"], "--listen"),
        (vec!["pub", "--type", "a"], "--to"),
        (
            vec!["pub", "--to", "upd://127.0.0.1:9", "--type", "a"],
            "did you mean udp://127.0.0.1:9?",
        ),
        (vec!["pub", "--to", "udp://127.0.0.1", "--type", "a"], "HOST:PORT"),
        (vec!["pub", "--to", "udp://127.0.0.1:9", "--type", "A b"], "try a-b"),
        (with(&["--priority", "hig"]), "'high'"),
        (vec!["schema", "hearbeat\u{1b}[2J"], "hearbeat\\u{1b}[2J"),
        (vec!["schema", "hearbeat"], "there are debug, discovery, error, exception, heartbeat"),
        (vec!["schema", "--fields"], "<TYPE>"),
        (with(&["--priorty", "high"]), "'--priority'"),
        (with(&["--rate", "0"]), "above 0"),
        (with(&["--ttl", "0"]), "1..=255"),
        (with(&["--interface", "a/b"]), "ip address"),
        (vec!["sub", "--listen", "udp://224.1.1.1:9000"], "--join 224.1.1.1:9000"),
        (vec!["sub", "--join", "10.0.0.1:9000"], "not a multicast group"),
        (vec!["sub", "--listen", "udp://127.0.0.1:0", "--timeout", "5"], "5s"),
        (vec!["sub", "--listen", "udp://127.0.0.1:0", "--ring-bytes", "4k"], "4KiB"),
        (vec!["demo", "--seconds", "0"], "1..=86400"),
        (vec!["demo", "--group", "10.0.0.1"], "no multicast group"),
        (vec!["completions", "bsh"], "'bash'"),
    ] {
        let refused = run(&words);
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{words:?}: {told}");
        assert!(told.contains(part), "{words:?}: {part:?} in {told}");
        assert!(refused.stdout.is_empty() && !told.contains('\x1b'), "{words:?}");
    }
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completed = run(&["completions", shell]);
        assert!(completed.status.success(), "{shell}");
        let script = text(&completed.stdout);
        for word in ["wireloom", "sub", "listen", "payload"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

/// Runs the command on a terminal of its own, made by script(1), and returns what it wrote there.
fn on_a_terminal(environment: &str) -> String {
    let words = "sub --listen udp://192.0.2.1:9";
    let line = format!("env {environment} {} {words}", env!("CARGO_BIN_EXE_wireloom"));
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .expect("script(1), of the package bsdutils, is there");
    assert_eq!(output.status.code(), Some(2));
    text(&output.stdout)
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    assert!(on_a_terminal("A=1").contains("\x1b[1;31merror:\x1b[0m"));
    assert!(on_a_terminal("NO_COLOR=").contains('\x1b'), "an empty value wishes nothing");
    for environment in ["NO_COLOR=1", "TERM=dumb"] {
        let told = on_a_terminal(environment);
        assert!(told.contains("error:") && !told.contains('\x1b'), "{environment}: {told:?}");
    }
    let told = text(&run(&["sub", "--listen", "udp://192.0.2.1:9"]).stderr);
    assert!(told.starts_with("error: ") && told.contains("192.0.2.1"), "{told}");
}

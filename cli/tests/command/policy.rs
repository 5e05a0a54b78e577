//! `wireloom policy`: what it says of a file and of somebody.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Running, Scratch, run, run_with, text};

const POLICY: &[u8] = b"[[allow]]\nnode = \"desk\"\nverb = \"publish\"\ntypes = \"metric.**\"\n\
    [[limit]]\nnode = \"*\"\ntypes = \"**\"\nrate = 5\n";

#[test]
fn a_policy_is_checked_and_says_by_which_line() {
    let file = Scratch::new("policy.toml", POLICY);
    let checked = run(&["policy", "check", file.path()]);
    let told = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    assert!(told.contains("node desk: publish metric.**"), "{told}");
    assert!(told.contains("2 lines, nothing wrong"), "{told}");
    let ask = |node: &str, verb: &str| {
        let words = ["policy", "explain", file.path(), "--node", node, "--verb", verb];
        run(&[&words[..], &["--type", "metric.cpu"]].concat())
    };
    let allowed = ask("desk", "publish");
    assert_eq!(allowed.status.code(), Some(0));
    assert!(text(&allowed.stdout).contains("policy.toml:1"), "{}", text(&allowed.stdout));
    assert_eq!(ask("Desk", "publish").status.code(), Some(1), "case counts");
    assert_eq!(ask("desk", "request").status.code(), Some(1));
    assert_eq!(ask("desk", "publsh").status.code(), Some(2));
    let wrong = Scratch::new("wrong-policy.toml", b"[[alow]]\nx = \"\x1b[2J\"\n");
    let refused = run(&["policy", "check", wrong.path()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(!text(&refused.stderr).contains('\x1b'));
}

const NEW: &[u8] = b"mode = \"shadow\"\n[[role]]\nname = \"sensor\"\n\
    [[allow]]\nrole = \"sensor\"\nverb = \"publish\"\ntypes = \"metric.**\"\n\
    [[deny]]\nnode = \"desk\"\nverb = \"publish\"\ntypes = \"metric.secret\"\n";

#[test]
fn what_a_policy_would_change_is_shown_and_nothing_is_changed() {
    let (old, new) =
        (Scratch::new("old-policy.toml", POLICY), Scratch::new("new-policy.toml", NEW));
    let words = ["policy", "apply", new.path(), "--to", old.path(), "--dry-run"];
    let compared = run(&words);
    let told = text(&compared.stdout);
    assert_eq!(compared.status.code(), Some(0), "{}", text(&compared.stderr));
    for line in [
        &format!("role sensor: publish metric.**: denied → allowed ({}:4)", new.path()),
        "node desk: publish metric.**: allowed → denied\n",
        "node desk: rate **: 5/s, 1 at once → no limit\n",
        "other nodes: rate **: 5/s, 1 at once → no limit\n",
        "everybody: mode **: enforce → shadow\n",
        "7 changes; nothing was changed",
    ] {
        assert!(told.contains(line), "without {line}: {told}");
    }
    assert_eq!(std::fs::read(old.path()).expect("it is there"), POLICY);
    let json = run(&[&words[..], &["--json"]].concat());
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["changes"].as_array().map(Vec::len), Some(7));
    let wrong = Scratch::new("odd-policy.toml", b"[[alow]]\n");
    for more in [&[][..], &["--dry-run"]] {
        let words = ["policy", "apply", wrong.path(), "--to", old.path()];
        let refused = run(&[&words[..], more].concat());
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains("did you mean allow?"), "{}", text(&refused.stderr));
    }
    assert_eq!(std::fs::read(old.path()).expect("it is there"), POLICY, "the wrong one is not put");
}

#[test]
fn a_running_node_is_held_to_its_policy_and_takes_the_next() {
    let every = b"[[allow]]\nnode = \"*\"\nverb = \"*\"\ntypes = \"**\"\n";
    let live = Scratch::new("live-policy.toml", every);
    let new = Scratch::new("next-policy.toml", POLICY);
    let log = Scratch::new("live-audit.jsonl", b"");
    let private = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(new.path(), private).expect("its owner");
    let node = Running::node(&["--policy", live.path(), "--audit", log.path()]);
    let applied = run(&["policy", "apply", new.path(), "--to", live.path()]);
    assert_eq!(applied.status.code(), Some(0), "{}", text(&applied.stderr));
    assert!(text(&applied.stdout).contains("applied: 2 lines in"));
    let mode = std::fs::metadata(live.path()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "as the new one is");
    node.tells("2 lines from now on");
    // It is what others are held to, not only what is told.
    let words = ["pub", "--to", &node.target(), "--type", "metric.cpu", "--name", "a", "--raw"];
    assert_eq!(run_with(&words, b"1\n").status.code(), Some(0));
    let begun = Instant::now();
    let denied =
        || std::fs::read_to_string(log.path()).expect("it is there").contains("\"denied\"");
    while !denied() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody was denied anything");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::write(live.path(), "[[allow]]\nnode = \"a\"\nverb = \"shout\"\n").expect("written");
    node.tells("live-policy.toml:1:1: allow.types");
    node.tells("live-policy.toml:3:8: allow.verb: no verb \"shout\"");
    node.tells("the policy before this one stays in effect");
    std::fs::remove_file(live.path()).expect("it was there");
    node.tells("live-policy.toml: cannot be read");
    node.tells("the policy before this one stays in effect");
    std::fs::write(live.path(), NEW).expect("written");
    node.tells("2 lines from now on");
}

#[test]
fn a_node_whose_policy_is_wrong_does_not_start() {
    let wrong = Scratch::new("first-policy.toml", b"[[alow]]\n");
    for (file, told) in [(wrong.path(), "did you mean allow?"), ("/none.toml", "cannot be read")] {
        let words = ["node", "--no-group", "--seed", "127.0.0.1:9", "--policy", file];
        let refused = run(&words);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains(told), "{}", text(&refused.stderr));
    }
}

#[test]
fn what_a_running_node_refuses_and_decides_stands_in_its_audit_log() {
    // Of a type that nobody asked for its name is not known: what is said of every type counts.
    let text = b"[[allow]]\nnode = \"desk\"\nverb = \"publish\"\ntypes = \"**\"\n";
    let policy = Scratch::new("audited-policy.toml", text);
    let log = Scratch::new("audit.jsonl", b"");
    // The command line is above the configuration.
    let set = "security.policy=/none.toml";
    let words = ["--name", "held", "--set", set, "--policy", policy.path(), "--audit", log.path()];
    let node = Running::node(&words);
    let publish = |name: &str| {
        let words =
            ["pub", "--to", &node.target(), "--type", "metric.cpu", "--name", name, "--raw"];
        assert_eq!(run_with(&words, b"1\n2\n").status.code(), Some(0));
    };
    publish("desk");
    publish("str\u{430}nger\u{202e}");
    std::fs::write(policy.path(), "[[alow]]\nx = \"\x1b[2J\"\n").expect("written");
    let begun = Instant::now();
    let lines = loop {
        let text = std::fs::read_to_string(log.path()).expect("it is there");
        let lines: Vec<Value> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let has = |decision: &str| lines.iter().any(|line| line["decision"] == decision);
        if has("policy_not_taken") && has("denied") {
            assert!(
                text.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte)),
                "{text}"
            );
            break lines;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{text}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let denied: Vec<&Value> = lines.iter().filter(|line| line["decision"] == "denied").collect();
    assert!(denied.iter().all(|line| line["node"] != "desk"), "{denied:?}");
    assert_eq!(lines[0]["what"], "held");
    let mode = std::fs::metadata(log.path()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

//! `wireloom explain` and `wireloom rules`: what they say, what they refuse, and a running node
//! that comes to new rules.

use std::process::Stdio;

use serde_json::Value;

use crate::program::{Running, Scratch, run, text, wireloom};

const RULES: &[u8] = b"[[rule]]\ntype = \"metric.*\"\npriority = \">= high\"\nsize = \"> 1400\"\n\
    target = \"service:metrics\"\ntransport = \"tcp\"\n\n[[rule]]\ntype = \"note\"\n\
    to = \"node:desk\"\ntransport = \"tcp\"\n";

#[test]
fn an_event_is_explained_with_the_rule_that_decides() {
    let file = Scratch::new("explain.toml", RULES);
    let words = ["explain", "--type", "metric.cpu", "--to", "node:127.0.0.1:9", "--priority"];
    let with = |rest: &[&str]| run(&[&words[..], rest].concat());
    let explained = with(&["high", "--bytes", "2KiB", "--rules", file.path()]);
    let told = text(&explained.stdout);
    assert_eq!(explained.status.code(), Some(0), "{told}{}", text(&explained.stderr));
    for part in [
        "metric.cpu of 2048 bytes, high, to node:127.0.0.1:9, and by a rule to service:metrics",
        &format!("goes by tcp reliable, decided by the rule at {}:1", file.path()),
        "a cluster says: --seed or --group",
    ] {
        assert!(told.contains(part), "without {part}: {told}");
    }
    let json = with(&["low", "--bytes", "100000", "--rules", file.path(), "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["decided_by"], "size");
    assert_eq!(json["transport"], "tcp streaming");
    assert_eq!(json["addresses"][0], "127.0.0.1:9");
    for (words, told) in [
        // What a ready-made type says of itself is known, of another what the words say.
        (&["system-ready", "--to", "auto"][..], "high, to auto\ngoes by multicast"),
        (&["system-ready", "--to", "auto"], "\nto 224.1.1.1:9000;"),
        (&["heartbeat", "--to", "auto"], "\nto 239.255.87.76:9076;"),
        (&["server-crash", "--to", "node:127.0.0.1:9"], "decided by the step priority"),
        (&["server-crash", "--to", "auto", "--priority", "low"], "server-crash, low, to auto"),
        (&["mine", "--to", "auto", "--multicast", "239.1.2.3:9"], "\nto 239.1.2.3:9;"),
        (&["mine", "--to", "auto"], "goes by udp fast"),
    ] {
        let explained = text(&run(&[&["explain", "--type"], words].concat()).stdout);
        assert!(explained.contains(told), "{words:?}: without {told}: {explained}");
    }
    // Without a cluster: what its own key would do, and that it is missing.
    let keyed = |rest: &[&str]| {
        run(&[&["explain", "--type", "mine", "--to", "service:place?key"], rest].concat())
    };
    let told = text(&keyed(&["--key", "tram 7"]).stdout);
    assert!(told.contains("to the member that its own key ") && told.contains("--seed"), "{told}");
    let missing = keyed(&[]);
    assert_eq!(missing.status.code(), Some(1), "no member is chosen without it");
    assert!(text(&missing.stdout).contains("say it by --key"), "{}", text(&missing.stdout));
    let missing: Value = serde_json::from_slice(&keyed(&["--json"]).stdout).expect("JSON");
    assert_eq!((&missing["key"], &missing["own_key"]), (&"missing".into(), &Value::Null));
    let refused = run(&["explain", "--type", "a", "--to", "udp://127.0.0.1:9", "--bytes", "1MiB"]);
    assert_eq!(refused.status.code(), Some(1), "no packet holds it, and a packet was demanded");
    assert!(text(&refused.stdout).contains("refused: the event does not fit"));
    for (words, told) in [
        (&["explain", "--type", "A", "--to", "auto"][..], "try a"),
        (&["explain", "--type", "a", "--to", "nowhere"], "is not a target"),
        (&["explain", "--type", "a", "--to", "service:s?key", "--key", "007"], "text:007, or 7"),
        (&["explain", "--type", "a", "--to", "auto", "--rules", "/none.toml"], "cannot be read"),
    ] {
        let refused = run(words);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains(told), "{words:?}: {}", text(&refused.stderr));
    }
}

#[test]
fn rules_are_checked_and_compared() {
    let (old, new) = (Scratch::new("old.toml", RULES), Scratch::new("new.toml", b""));
    let checked = run(&["rules", "check", old.path()]);
    let told = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    assert!(told.contains("metric.* goes to service:metrics, by tcp"), "{told}");
    assert!(told.contains("2 rules, nothing wrong"), "{told}");

    let wrong = Scratch::new("wrong.toml", b"[[rule]]\ntransprot = \"\x1b[2Judp\"\n");
    let refused = run(&["rules", "check", wrong.path()]);
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2));
    assert!(told.contains("wrong.toml:2:1: rule: no key") || told.contains("not TOML"), "{told}");
    assert!(!told.contains('\x1b'), "{told:?}");

    let words = ["rules", "apply", "--dry-run", new.path(), "--into", old.path()];
    let compared = run(&words);
    let told = text(&compared.stdout);
    assert_eq!(compared.status.code(), Some(0), "{}", text(&compared.stderr));
    let line = "note of 64 bytes, normal, to node:desk: tcp reliable (";
    assert!(told.contains(line) && told.contains("→ udp fast (default)"), "{told}");
    assert!(told.contains("2 events of those the rules speak of"), "{told}");
    assert_eq!(std::fs::read(old.path()).expect("it is there"), RULES, "nothing was changed");
    let json = run(&[&words[..], &["--json"]].concat());
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["changes"].as_array().map(Vec::len), Some(2));

    let nobody = run(&["rules", "apply", new.path()]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(text(&nobody.stderr).contains("no running node can be told from outside"));
}

/// A port that nobody has at this moment.
fn a_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

#[test]
fn a_running_node_takes_new_rules_and_keeps_the_old_ones_when_they_are_wrong() {
    let (live, new) = (Scratch::new("live.toml", b""), Scratch::new("next.toml", RULES));
    // Whoever looks at traces sees which nodes came to new rules.
    let group = format!("224.1.1.2:{}", a_port());
    let join = ["--join", &group, "--interface", "127.0.0.1", "--count", "3", "--timeout", "60s"];
    let viewer = wireloom(&[&["sub", "--type", "trace"], &join[..]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let (to, config) = (format!("trace.group={group}"), "udp.multicast_interface=127.0.0.1");
    let node = Running::node(&["--rules", live.path(), "--set", &to, "--set", config]);
    let applied = run(&["rules", "apply", new.path(), "--into", live.path()]);
    assert_eq!(applied.status.code(), Some(0), "{}", text(&applied.stderr));
    node.tells("2 rules from now on");
    std::fs::write(live.path(), "[[rule]]\ntransport = \"pigeon\"\n").expect("it is written");
    node.tells("live.toml:2:13: rule.transport: no transport \"pigeon\"");
    node.tells("the rules before these stay in effect");
    std::fs::write(live.path(), "[[rule]]\ntransport = \"udp\"\n").expect("it is written");
    node.tells("1 rule from now on");
    let seen = viewer.wait_with_output().expect("it ends");
    let traces: Vec<Value> =
        text(&seen.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told = |trace: &Value| {
        (trace["payload"]["operation"] == "rules.renew", trace["payload"]["outcome"] == "ok")
    };
    let told: Vec<(bool, bool)> = traces.iter().map(told).collect();
    assert_eq!(told, [(true, true), (true, false), (true, true)], "{traces:?}");
}

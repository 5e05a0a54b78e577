//! `wireloom policy`: what it says of a file and of somebody.

use crate::program::{Scratch, run, text};

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

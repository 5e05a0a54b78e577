//! `wireloom ca`: an authority from its beginning to a node taken back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use wireloom_identity::{CredentialPaths, Credentials, IdentityError, Refusal};

use crate::cluster::greeting;
use crate::program::{Running, run, text};

/// A folder of a test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wireloom-ca-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("a temporary folder");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// `wireloom ca` with these words, in the folder's `ca`.
    fn ca(&self, words: &[&str]) -> Output {
        run(&[&["ca"], words, &["--dir", &self.file("ca")]].concat())
    }

    fn good(&self, words: &[&str]) -> String {
        let done = self.ca(words);
        assert_eq!(done.status.code(), Some(0), "{words:?}: {}", text(&done.stderr));
        text(&done.stdout)
    }

    fn refused(&self, words: &[&str]) -> String {
        let done = self.ca(words);
        assert_eq!(done.status.code(), Some(2), "{words:?}: {}", text(&done.stdout));
        text(&done.stderr)
    }

    fn shown(&self) -> Value {
        serde_json::from_str(&self.good(&["show", "--json"])).expect("JSON")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_authority_issues_renews_and_revokes() {
    let folder = Folder::new("life");
    let none = folder.refused(&["issue", "desk"]);
    assert!(none.contains("wireloom ca init"), "{none}");
    let begun = folder.good(&["init", "--cluster", "plant"]);
    assert!(begun.contains("cluster plant") && begun.contains("ca.key"), "{begun}");
    let key = fs::read(folder.file("ca/ca.key")).expect("a key");
    assert!(folder.refused(&["init"]).contains("is there already"));
    assert_eq!(fs::read(folder.file("ca/ca.key")).expect("a key"), key);

    let out = folder.file("out");
    let issue = ["issue", "desk", "--role", "sensor", "--service", "sum", "--out", &out];
    let issued = folder.good(&issue);
    assert!(issued.contains("desk.key") && issued.contains("30 days"), "{issued}");
    let paths = CredentialPaths::of_node(&folder.0.join("out"), "desk");
    let mode = fs::metadata(&paths.key).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = Credentials::load(paths.clone()).expect("a node's files").identity();
    assert_eq!((first.roles, first.services), (vec!["sensor".into()], vec!["sum".into()]));

    assert!(folder.refused(&issue).contains("--replace renews it"));
    folder.good(&["issue", "desk", "--replace", "--days", "3", "--out", &out]);
    let renewed = Credentials::load(paths.clone()).expect("a node's files").identity();
    assert_ne!(renewed.serial, first.serial);
    assert_eq!(renewed.roles, ["sensor"], "they stay");

    let shown = folder.shown();
    let states = |shown: &Value| -> Vec<String> {
        let rows = shown["certificates"].as_array().expect("rows");
        rows.iter().map(|row| row["state"].as_str().expect("a state").to_owned()).collect()
    };
    assert_eq!(shown["authority"]["cluster"], "plant");
    assert_eq!(states(&shown), ["renewed", "good"].map(str::to_owned));
    let warned = text(&folder.ca(&["show"]).stderr);
    assert!(warned.contains(" left: renew it with `wireloom ca issue desk"), "{warned}");

    assert!(folder.refused(&["revoke", "dsek"]).contains("was not issued"));
    let revoked = folder.good(&["revoke", "desk"]);
    assert!(revoked.contains(&renewed.serial.to_string()), "{revoked}");
    assert!(revoked.contains("epoch 2, 2 certificates"), "{revoked}");
    assert!(folder.good(&["revoke", "desk"]).contains("nothing to do"));
    assert_eq!(states(&folder.shown()), ["revoked", "revoked"].map(str::to_owned));
    fs::copy(folder.file("ca/revoked.wl"), folder.file("out/revoked.wl")).expect("copied");
    let refused = Credentials::load(paths).expect_err("revoked");
    assert_eq!(refused.refusal(), Some(Refusal::Revoked));
}

#[test]
fn an_open_key_is_refused_and_what_is_no_certificate_is_told() {
    let folder = Folder::new("open");
    folder.good(&["init"]);
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(folder.file("ca/ca.key"), open).expect("allowed");
    assert!(folder.refused(&["issue", "desk"]).contains("chmod 600"));
    let none = folder.file("none.pem");
    fs::write(&none, "\u{1b}[2J").expect("written");
    let told = folder.refused(&["show", &none]);
    assert!(told.contains("holds no certificate") && !told.contains('\u{1b}'), "{told:?}");
    for words in [&["issue", "a\nb"][..], &["issue", "desk", "--days", "0"], &["isue"]] {
        folder.refused(words);
    }
}

#[test]
fn text_of_a_certificate_commands_no_terminal() {
    let folder = Folder::new("escape");
    folder.good(&["init"]);
    // Right-to-left marks and the like are no control characters; escapes are refused at issuing,
    // and would be escaped if a certificate of somebody else had them.
    let told = folder.refused(&["issue", "desk", "--role", "a\u{1b}[2Jb"]);
    assert!(told.contains("a role has a name") && !told.contains('\u{1b}'), "{told:?}");
    let told = folder.refused(&["revoke", "\u{1b}[2J"]);
    assert!(!told.contains('\u{1b}'), "{told:?}");
    let path = folder.file("ca/issued.wl");
    fs::write(&path, format!("issued {} a%1B%5B2Jb 1 99999999999\n", "4".repeat(32))).expect("it");
    let shown = folder.good(&["show"]);
    assert!(shown.contains("a\\u{1b}[2Jb") && !shown.contains('\u{1b}'), "{shown:?}");
    assert!(matches!(
        Credentials::load(CredentialPaths::of_node(&folder.0, "nobody")),
        Err(IdentityError::File { .. })
    ));
}

#[test]
fn a_node_runs_by_what_was_issued_to_it() {
    let folder = Folder::new("runs");
    folder.good(&["init", "--cluster", "plant"]);
    folder.good(&["issue", "desk"]);
    let nodes = folder.file("ca/nodes");
    let words = ["--credentials", &nodes, "--no-group", "--seed", "127.0.0.1:9"];
    let said = greeting(&[&["--name", "desk"], &words[..]].concat());
    assert!(said.contains("proves who it is by its certificate in"), "{said}");
    let other = run(&[&["node", "--name", "other"], &words[..]].concat());
    let told = text(&other.stderr);
    assert_eq!(other.status.code(), Some(2), "{told}");
    assert!(told.contains("other.pem"), "{told}");
}

#[test]
fn certificates_that_a_running_node_does_not_take_stand_in_its_audit_log() {
    let folder = Folder::new("kept");
    folder.good(&["init", "--cluster", "plant"]);
    let (nodes, log) = (folder.file("ca/nodes"), folder.file("audit.jsonl"));
    folder.good(&["issue", "desk"]);
    let node = Running::node(&["--name", "desk", "--credentials", &nodes, "--audit", log.as_str()]);
    fs::write(folder.0.join("ca/nodes/desk.pem"), "no certificate").expect("its owner");
    node.tells("the credentials stay as they were");
    let begun = Instant::now();
    let is_told =
        || fs::read_to_string(&log).expect("it is there").contains("credentials_not_taken");
    while !is_told() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is not told");
        std::thread::sleep(Duration::from_millis(20));
    }
}

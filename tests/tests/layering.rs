//! Which crate may use which: dependencies run one way, and this table says which way.
//!
//! Reads `cargo metadata` (no network) and the crate roots. Policy depends on mechanism, never the
//! reverse; `wire` knows neither threads, sockets nor clocks; nothing uses `bench` or `tests`.
#![forbid(unsafe_code)]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Printed when an edge is missing from the table.
const DRAWING: &str = "
        cli      bench      tests        use any of ours; nothing uses bench or tests
         ├─ schema ┼──────────┘              JSON Schemas, for who checks JSON
      identity ─ fabric ──── derive      certificates │ typed events, router, node
                   │
                control                  policy: one thread
                   │
               dataplane                 mechanism: pinned workers, sockets
               ┌───┴───┐
       seal ─ wire    ring               sealed packets │ headers, windows │ memory
";

/// The allowed edges between our crates, as `user: what it may use`.
const EDGES: &[(&str, &[&str])] = &[
    ("wireloom-ring", &[]),
    ("wireloom-wire", &[]),
    ("wireloom-derive", &[]),
    ("wireloom-seal", &["wireloom-wire"]),
    ("wireloom-identity", &["wireloom-wire"]),
    ("wireloom-dataplane", &["wireloom-ring", "wireloom-seal", "wireloom-wire"]),
    ("wireloom-control", &["wireloom-dataplane", "wireloom-ring", "wireloom-wire"]),
    (
        "wireloom",
        &[
            "wireloom-control",
            "wireloom-dataplane",
            "wireloom-derive",
            "wireloom-identity",
            "wireloom-ring",
            "wireloom-seal",
            "wireloom-wire",
        ],
    ),
    ("wireloom-schema", &["wireloom"]),
    ("wireloom-cli", ANY),
    ("wireloom-bench", ANY),
    ("wireloom-tests", ANY),
];

/// Everything of ours that may be used at all.
const ANY: &[&str] = &[
    "wireloom",
    "wireloom-control",
    "wireloom-dataplane",
    "wireloom-derive",
    "wireloom-identity",
    "wireloom-ring",
    "wireloom-schema",
    "wireloom-seal",
    "wireloom-wire",
];

/// Edges that exist for tests alone: a derive cannot be tested without what it derives.
const TEST_EDGES: &[(&str, &str)] = &[("wireloom-derive", "wireloom")];

/// What the core crates may use from outside (tests and benches apart): short, so that each is a
/// decision. `wire` hashes and names its errors, and that is all.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("wireloom-wire", &["thiserror", "twox-hash", "xxhash-rust"]),
    ("wireloom-ring", &["crossbeam-utils", "libc", "loom", "thiserror"]),
    ("wireloom-schema", &["jsonschema", "serde_json", "thiserror"]),
    ("wireloom-seal", &["aws-lc-rs", "thiserror", "zeroize"]),
    ("wireloom-identity", &["aws-lc-rs", "rcgen", "rustls", "thiserror", "x509-parser", "zeroize"]),
    // Readiness of TCP sockets, and the options a listener needs before it is bound; SWIM with the
    // buffers and the randomness its interface asks for; TLS, and memory that is wiped.
    (
        "wireloom-control",
        &["bytes", "foca", "lz4_flex", "mio", "rand", "rustls", "socket2", "thiserror", "zeroize"],
    ),
    (
        "wireloom-dataplane",
        &[
            "core_affinity",
            "crossbeam-queue",
            "crossbeam-utils",
            "io-uring",
            "libc",
            "mio",
            "socket2",
            "thiserror",
        ],
    ),
];

/// Untyped errors are for programs, not for libraries.
const PROGRAMS: &[&str] = &["wireloom-cli", "wireloom-bench", "wireloom-tests"];

/// The two crates with listed files of unsafe code; the list is `UNSAFE_FILES` of the tidy test.
const UNSAFE_CRATES: &[&str] = &["wireloom-ring", "wireloom-dataplane"];

/// What `wire` must not name: the operating system and time.
const NOT_IN_WIRE: &[&str] =
    &["std::net", "std::thread", "std::time", "std::fs", "std::io", "std::process", "std::env"];

/// One dependency as a manifest states it.
#[derive(Clone, Debug)]
struct Edge {
    user: String,
    used: String,
    only_tests: bool,
    ours: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The packages of the workspace, as cargo sees them.
fn packages() -> Vec<Value> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo started this test, so it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("metadata lists the packages").clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn edges(packages: &[Value]) -> Vec<Edge> {
    let ours: BTreeSet<String> = packages.iter().map(|package| text(&package["name"])).collect();
    let mut found = Vec::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = text(&dependency["name"]);
            found.push(Edge {
                user: text(&package["name"]),
                only_tests: dependency["kind"] == "dev",
                ours: ours.contains(&used),
                used,
            });
        }
    }
    found
}

/// The edges between our crates that the table does not have.
fn forbidden(edges: &[Edge], table: &[(&str, &[&str])]) -> Vec<String> {
    let allowed = |edge: &Edge| {
        let listed = table
            .iter()
            .any(|(user, used)| *user == edge.user && used.contains(&edge.used.as_str()));
        let for_tests = TEST_EDGES.contains(&(edge.user.as_str(), edge.used.as_str()));
        listed || edge.only_tests && for_tests
    };
    let edges = edges.iter().filter(|edge| edge.ours && !allowed(edge));
    edges.map(|edge| format!("{} → {} is not in the table", edge.user, edge.used)).collect()
}

/// What the core crates use from outside without being allowed to, and untyped errors in libraries.
fn foreign(edges: &[Edge]) -> Vec<String> {
    let mut complaints = Vec::new();
    for edge in edges.iter().filter(|edge| !edge.ours && !edge.only_tests) {
        let Edge { user, used, .. } = edge;
        let list = OUTSIDE.iter().find(|(name, _)| name == user);
        if list.is_some_and(|(_, list)| !list.contains(&used.as_str())) {
            complaints.push(format!("{user} → {used}: not on its list of outside crates"));
        }
        if used == "anyhow" && !PROGRAMS.contains(&user.as_str()) {
            complaints.push(format!("{user} → anyhow: libraries have an enum per operation"));
        }
    }
    complaints
}

/// The root files of a package's library and commands with their text.
fn crate_roots(package: &Value) -> Vec<(String, String)> {
    let targets = package["targets"].as_array().into_iter().flatten();
    let roots = targets.filter(|target| {
        let kinds = target["kind"].as_array().into_iter().flatten();
        kinds.filter_map(Value::as_str).any(|kind| matches!(kind, "lib" | "bin" | "proc-macro"))
    });
    roots
        .map(|target| {
            let path = text(&target["src_path"]);
            let source = fs::read_to_string(&path).expect("cargo names files that exist");
            (path, source)
        })
        .collect()
}

/// The fence line a crate root must have.
fn fence(package: &str) -> &'static str {
    if UNSAFE_CRATES.contains(&package) {
        "#![deny(unsafe_code)]"
    } else {
        "#![forbid(unsafe_code)]"
    }
}

#[test]
fn our_crates_use_each_other_one_way() {
    let packages = packages();
    let names: BTreeSet<String> = packages.iter().map(|package| text(&package["name"])).collect();
    let table: BTreeSet<String> = EDGES.iter().map(|(user, _)| (*user).to_owned()).collect();
    assert_eq!(names, table, "left: the workspace, right: the table of this test; both change");
    let complaints = forbidden(&edges(&packages), EDGES);
    assert!(complaints.is_empty(), "\n{}\n{DRAWING}", complaints.join("\n"));
}

#[test]
fn the_core_uses_few_crates_from_outside() {
    let complaints = foreign(&edges(&packages()));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn crate_roots_fence_unsafe_code() {
    for package in packages() {
        let name = text(&package["name"]);
        for (path, source) in crate_roots(&package) {
            let line = fence(&name);
            assert!(source.lines().any(|have| have.trim() == line), "{path}: begin with {line}");
        }
    }
}

#[test]
fn wire_knows_no_operating_system() {
    let mut folders = vec![root().join("wire/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("wire/src can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).expect("sources are text");
            let word = NOT_IN_WIRE.iter().find(|word| source.contains(**word));
            assert!(word.is_none(), "{}: {word:?} in a sans-IO crate", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(user: &str, used: &str, only_tests: bool) -> Edge {
        let ours = used.starts_with("wireloom");
        Edge { user: user.to_owned(), used: used.to_owned(), only_tests, ours }
    }

    #[test]
    fn an_edge_against_the_direction_is_refused() {
        let count = |edge| forbidden(&[edge], EDGES).len();
        assert_eq!(count(edge("wireloom-dataplane", "wireloom-control", false)), 1);
        assert_eq!(count(edge("wireloom-ring", "wireloom-wire", true)), 1);
        assert_eq!(count(edge("wireloom-cli", "wireloom-tests", false)), 1);
        assert_eq!(count(edge("wireloom-control", "wireloom-dataplane", false)), 0);
        assert_eq!(count(edge("wireloom-derive", "wireloom", true)), 0);
        assert_eq!(count(edge("wireloom-derive", "wireloom", false)), 1);
    }

    #[test]
    fn an_outside_crate_must_be_on_the_list() {
        let count = |edge| foreign(&[edge]).len();
        assert_eq!(count(edge("wireloom-wire", "mio", false)), 1);
        assert_eq!(count(edge("wireloom-wire", "proptest", true)), 0);
        assert_eq!(count(edge("wireloom", "anyhow", false)), 1);
        assert_eq!(count(edge("wireloom", "serde", false)), 0);
    }
}

//! A cluster with an authority of its own, for tests of nodes with credentials.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wireloom::identity::{Authority, CredentialPaths, Credentials, IssueRequest, OutDir};
use wireloom::{Node, NodeBuilder};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// An authority in a folder of its own, gone with the test.
pub(crate) struct Cluster {
    pub(crate) folder: PathBuf,
    pub(crate) authority: Authority,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("wireloom-secured-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let authority = Authority::create(&folder, "plant", now_unix_s()).expect("created");
        Self { folder, authority }
    }

    pub(crate) fn credentials(&self, name: &str) -> Credentials {
        let out = self.folder.join(name);
        let request = IssueRequest::new(name);
        self.authority
            .issue(&request, &OutDir { folder: out.clone(), replace: true }, now_unix_s())
            .expect("issued");
        Credentials::load(CredentialPaths::of_node(&out, name)).expect("loaded")
    }

    pub(crate) fn node(&self, name: &str) -> NodeBuilder {
        Node::builder(name).credentials(&self.credentials(name))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn counted(node: &Node, name: &str) -> u64 {
    let counters = node.counters();
    let found = counters.into_iter().filter(|(known, _)| known.name == name);
    found.map(|(_, count)| count).sum()
}

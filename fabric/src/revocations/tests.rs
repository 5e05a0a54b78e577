//! Nodes in memory whose lists are an authority's: who hears of one, who is given it, who is not.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::time_provider::DefaultTimeProvider;
use wireloom_identity::{Authority, IssueRequest};

use super::*;

struct Cluster {
    folder: PathBuf,
    authority: Authority,
    nodes: Vec<Revocations>,
    /// Who says what to whom.
    way: VecDeque<(NodeId, Tell)>,
    now_ns: u64,
    lists: usize,
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

const fn id(index: usize) -> NodeId {
    NodeId(index as u64)
}

impl Cluster {
    fn new(nodes: usize) -> Self {
        Self::trusting(nodes, &[])
    }

    /// Whose nodes trust others' authority too.
    fn trusting(nodes: usize, others: &[u8]) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("wireloom-revocations-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let authority = Authority::create(&folder, "plant", now_unix_s()).expect("created");
        let (way, now_ns) = (VecDeque::new(), 1 << 40);
        let mut cluster = Self { folder, authority, nodes: Vec::new(), way, now_ns, lists: 0 };
        for index in 0..nodes {
            let request = IssueRequest::new(&format!("node-{index}"));
            let issued = cluster.authority.issue_texts(&request, now_unix_s());
            let (certificate, key) = issued.expect("issued");
            let certificate = [&certificate[..], others].concat();
            let clock = Arc::new(DefaultTimeProvider);
            let credentials = Credentials::from_texts(&certificate, key.as_bytes(), None, clock);
            cluster.nodes.push(Revocations::new(credentials.expect("fits")));
        }
        cluster
    }

    /// The authority's list after one more certificate was taken back.
    fn revoke(&self) -> Vec<u8> {
        let request = IssueRequest::new("thief");
        let out = wireloom_identity::OutDir { folder: self.folder.join("out"), replace: true };
        self.authority.issue(&request, &out, now_unix_s()).expect("issued");
        self.authority.revoke("thief", now_unix_s()).expect("revoked");
        std::fs::read(self.authority.revocations_path()).expect("a list")
    }

    fn offer(&self, node: usize, list: &[u8]) {
        self.nodes[node].credentials.offer_revocations(list).expect("the authority's");
    }

    fn say(&mut self, from: usize, tells: impl IntoIterator<Item = Tell>) {
        self.way.extend(tells.into_iter().map(|tell| (id(from), tell)));
    }

    fn meet(&mut self, a: usize, b: usize) {
        for (one, other) in [(a, b), (b, a)] {
            let tells = self.nodes[one].on_authenticated(id(other));
            self.say(one, tells);
        }
    }

    /// Everything that is on its way comes, and what follows from it.
    fn settle(&mut self) {
        for index in 0..self.nodes.len() {
            let tells = self.nodes[index].poll(self.now_ns);
            self.say(index, tells);
        }
        while let Some((from, Tell { to, note })) = self.way.pop_front() {
            let to = usize::try_from(to.0).expect("small");
            let (kind, said) = Kind::of(&note).expect("known");
            self.lists += usize::from(kind == Kind::List);
            let heard = self.nodes[to].on_note(from, (kind, said), self.now_ns).expect("good");
            self.say(to, heard);
        }
    }

    fn epochs(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| State::of(&node.credentials).epoch).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_list_offered_at_one_reaches_all_in_a_row_each_once() {
    let mut cluster = Cluster::new(5);
    for index in 1..5 {
        cluster.meet(index - 1, index);
    }
    cluster.settle();
    assert_eq!((cluster.epochs(), cluster.lists), (vec![0; 5], 0));
    let list = cluster.revoke();
    cluster.offer(0, &list);
    cluster.settle();
    let epochs = cluster.epochs();
    assert!(epochs[0] > 0 && epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
    assert_eq!(cluster.lists, 4, "who has it is not given it");
    // Where everybody knows everybody too, though several claim to have it.
    for (a, b) in [(0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 4)] {
        cluster.meet(a, b);
    }
    cluster.settle();
    cluster.lists = 0;
    let list = cluster.revoke();
    cluster.offer(2, &list);
    cluster.settle();
    assert!(cluster.epochs().iter().all(|epoch| *epoch == epochs[0] + 1));
    assert_eq!(cluster.lists, 4);
}

#[test]
fn who_is_behind_when_it_comes_is_given_the_list_once() {
    let mut cluster = Cluster::new(2);
    let list = cluster.revoke();
    cluster.offer(1, &list);
    cluster.settle();
    cluster.meet(0, 1);
    cluster.settle();
    assert_eq!((cluster.epochs()[0], cluster.lists), (cluster.epochs()[1], 1));
}

/// While one authority takes the other's place, each node may know of what the other does not.
#[test]
fn of_two_authorities_both_lists_reach_whoever_has_the_other() {
    let next = Cluster::new(0);
    let (first, second) = (next.revoke(), next.revoke());
    // Ahead of one by one list and behind by the other: in all as far as the other, or not as far.
    for of_next in [&first, &second] {
        let mut cluster = Cluster::trusting(3, &next.authority.certificate_pem());
        let own = cluster.revoke();
        cluster.offer(0, &own);
        cluster.offer(1, of_next);
        cluster.settle();
        let apart = cluster.epochs();
        cluster.meet(0, 1);
        cluster.settle();
        let states: Vec<State> =
            cluster.nodes.iter().map(|node| State::of(&node.credentials)).collect();
        assert_eq!(states[0], states[1], "{apart:?}");
        assert_eq!(states[0].epoch, apart[0] + apart[1], "each has both");
        // Who has neither is given both.
        let lists = cluster.lists;
        cluster.meet(1, 2);
        cluster.settle();
        assert_eq!(State::of(&cluster.nodes[2].credentials), states[0]);
        assert_eq!(cluster.lists, lists + 2);
        let lists = cluster.lists;
        cluster.now_ns += AGAIN_NS;
        cluster.settle();
        assert_eq!(cluster.lists, lists, "and nothing more is said");
    }
}

#[test]
fn a_peer_that_claims_a_list_and_has_none_keeps_nobody_from_it() {
    let mut cluster = Cluster::new(2);
    let now_ns = cluster.now_ns;
    for liar in [77, 78] {
        cluster.nodes[0].on_authenticated(NodeId(liar));
        let claim = Kind::Epoch.note(&State { epoch: u64::MAX, digest: 0 }.bytes());
        let said = Kind::of(&claim).expect("known");
        cluster.nodes[0].on_note(NodeId(liar), said, now_ns).expect("good");
    }
    cluster.meet(0, 1);
    cluster.settle_but_liars();
    let list = cluster.revoke();
    cluster.offer(1, &list);
    for _ in 0..3 {
        cluster.now_ns += PATIENCE_NS;
        cluster.settle_but_liars();
    }
    assert_eq!(cluster.epochs()[0], cluster.epochs()[1]);
}

impl Cluster {
    /// What is said to liars is not heard.
    fn settle_but_liars(&mut self) {
        for index in 0..self.nodes.len() {
            let tells = self.nodes[index].poll(self.now_ns);
            self.say(index, tells);
        }
        let nodes = self.nodes.len() as u64;
        while let Some((from, Tell { to, note })) = self.way.pop_front() {
            if to.0 < nodes {
                let said = Kind::of(&note).expect("known");
                let to = usize::try_from(to.0).expect("small");
                let heard = self.nodes[to].on_note(from, said, self.now_ns).expect("good");
                self.say(to, heard);
            }
        }
    }
}

#[test]
fn who_was_asked_and_goes_is_not_waited_for() {
    let mut cluster = Cluster::new(1);
    let (now_ns, node) = (cluster.now_ns, &mut cluster.nodes[0]);
    let claim = Kind::Epoch.note(&State { epoch: 7, digest: 7 }.bytes());
    let said = Kind::of(&claim).expect("known");
    let mut asked = Vec::new();
    for peer in [NodeId(77), NodeId(78)] {
        node.on_authenticated(peer);
        let tells = node.on_note(peer, said, now_ns).expect("good");
        asked.extend(tells.into_iter().map(|tell| tell.to));
    }
    assert_eq!(asked, [NodeId(77)], "one at a time");
    node.on_part(NodeId(77));
    let tells: Vec<NodeId> = node.poll(now_ns).into_iter().map(|tell| tell.to).collect();
    assert_eq!(tells, [NodeId(78)], "at once");
}

#[test]
fn who_asks_again_and_again_is_given_a_list_once_a_second() {
    let mut cluster = Cluster::new(1);
    let list = cluster.revoke();
    cluster.offer(0, &list);
    let node = &mut cluster.nodes[0];
    node.poll(0);
    node.on_authenticated(NodeId(9));
    let ask = Kind::Epoch.note(&State::default().bytes());
    let said = Kind::of(&ask).expect("known");
    let mut lists = 0;
    for tenth in 0..30 {
        let tells = node.on_note(NodeId(9), said, tenth * AGAIN_NS / 10).expect("good");
        lists += tells.len();
    }
    assert_eq!(lists, 3);
}

#[test]
fn lists_of_others_and_malformed_notes_change_nothing() {
    let (mut cluster, other) = (Cluster::new(1), Cluster::new(0));
    let node = &mut cluster.nodes[0];
    node.on_authenticated(NodeId(9));
    let list = other.revoke();
    let refused = node.on_note(NodeId(9), (Kind::List, &list), 0);
    assert!(matches!(refused, Err(NoteError::List(IdentityError::ListSignature))), "{refused:?}");
    for note in [&[][..], &[0; 8], &[0; 15], &[0; 17]] {
        let refused = node.on_note(NodeId(9), (Kind::Epoch, note), 0);
        assert!(matches!(refused, Err(NoteError::Malformed)), "{refused:?}");
    }
    let refused = node.on_note(NodeId(9), (Kind::List, b"wireloom revocations 1\n"), 0);
    assert!(matches!(refused, Err(NoteError::List(_))), "{refused:?}");
    assert_eq!(State::of(&node.credentials), State::default());
}

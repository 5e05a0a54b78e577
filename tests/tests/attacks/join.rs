//! Those who must not join (F38): by links with certificates that are none, by datagrams as
//! members; and words of strangers that would make members leave.

use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use wireloom::identity::{Authority, CredentialPaths, Credentials, IssueRequest, OutDir};
use wireloom::{MemberState, Node, Ready};
use wireloom_wire::{SessionId, event_type_id};

use crate::packets::Parties;
use crate::rig::{
    Cluster, PATIENCE, alone, connect, counted, dial, eventually, hello, host, now_unix_s, tls,
};

const DAY: u64 = 86_400;

/// A clock that says what the attacker's certificate needs.
#[derive(Debug)]
struct Set(u64);

impl TimeProvider for Set {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

/// A certificate issued at one time, loaded at another.
fn credentials(authority: &Authority, name: &str, (issued, at): (u64, u64)) -> Credentials {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = authority.revocations_path().with_file_name(format!("of{number}"));
    let out = OutDir { folder: folder.clone(), replace: true };
    authority.issue(&IssueRequest::new(name), &out, issued).unwrap();
    Credentials::load_at(CredentialPaths::of_node(&folder, name), Arc::new(Set(at))).unwrap()
}

/// Whether a node welcomes who says this hello with these credentials.
fn is_let_in(desk: &Node, credentials: &Credentials, name: &str) -> bool {
    let Ok(mut tls) = tls(credentials, host(1), desk.address()) else { return false };
    if tls.write_all(&hello(name, 1)).and_then(|()| tls.flush()).is_err() {
        return false;
    }
    let mut answer = [0; 48 + 32 + 8];
    tls.read_exact(&mut answer).is_ok() && answer[4..6] == [1, 0] && {
        // A refusal has a shorter frame than a welcome.
        let mut more = [0; 40];
        tls.read_exact(&mut more).is_ok()
    }
}

#[test]
fn f38_nobody_joins_by_a_link_without_a_good_certificate_of_its_own() {
    let _alone = alone();
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let (ours, now) = (&cluster.authority, now_unix_s());
    let own = credentials(ours, "desk", (now - 2 * DAY, now));
    let desk = Node::builder("desk").credentials(&own).start().unwrap();
    assert!(is_let_in(&desk, &credentials(ours, "good", (now, now)), "good"));
    let refused = |what: &str, counter: &str, credentials: &Credentials, name: &str| {
        let before = counted(&desk, counter);
        assert!(!is_let_in(&desk, credentials, name), "{what} was let in");
        eventually(what, || counted(&desk, counter) > before);
    };
    let expired = credentials(ours, "late", (now - 31 * DAY, now - DAY - 3_600));
    refused("expired", "tls_refused_expired", &expired, "late");
    let early = credentials(ours, "early", (now + DAY, now + DAY + 3_600));
    refused("not yet valid", "tls_refused_expired", &early, "early");
    let clone = credentials(ours, "clone", (now, now));
    refused("another's id", "hellos_refused_identity", &clone, "good");
    let revoked = credentials(ours, "revoked", (now, now));
    ours.revoke("revoked", now).unwrap();
    own.offer_revocations(&std::fs::read(ours.revocations_path()).unwrap()).unwrap();
    refused("revoked", "tls_refused_revoked", &revoked, "revoked");
    // Of another authority: it does not trust the node either, and says so.
    refused("wrong authority", "tls_certificate_refused", &other.credentials("x"), "x");
    let mut plain = dial(host(2), desk.address()).unwrap();
    plain.write_all(&hello("plain", 1)).unwrap();
    let mut told = Vec::new();
    let _ = plain.read_to_end(&mut told);
    eventually("no certificate", || counted(&desk, "tls_refused_plain") == 1);
    assert!(told.len() < 200, "a refusal in words of its own");
    let good = credentials(ours, "again", (now, now));
    connect((&good, "again"), host(3), desk.address(), 1).unwrap();
}

/// Two nodes that know each other as members.
fn members(cluster: &Cluster) -> (Node, Node) {
    let desk = cluster.node("desk").cluster("plant").start().unwrap();
    let seed = desk.address().to_string();
    let honest = cluster.node("honest").cluster("plant").seed(&seed).start().unwrap();
    for node in [&desk, &honest] {
        node.ready(&Ready::peers(1), PATIENCE).unwrap();
    }
    (desk, honest)
}

#[test]
fn f38_no_stranger_joins_members_with_certificates_and_makes_none_leave() {
    let _alone = alone();
    let cluster = Cluster::new();
    let (desk, honest) = members(&cluster);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let of = |node: &Node, name: &str| {
        let members = node.members();
        let found = members.iter().find(|member| member.name() == name);
        found.map(|member| (member.state, member.record.identity))
    };
    let (_, desk_is) = of(&desk, "desk").unwrap();
    let (_, honest_is) = of(&desk, "honest").unwrap();
    for number in 1..200 {
        let parties = Parties {
            desk: desk_is,
            cluster: SessionId(event_type_id("plant").0),
            victim: stranger.local_addr().unwrap(),
            number,
        };
        for (_, packet) in parties.kinds() {
            stranger.send_to(&packet, desk.address()).unwrap();
        }
        stranger.send_to(&parties.leave_of(honest_is), desk.address()).unwrap();
        std::thread::sleep(Duration::from_millis(25));
        assert_eq!(desk.members().len(), 2, "somebody joined");
        assert_eq!(of(&desk, "honest").map(|(state, _)| state), Some(MemberState::Alive));
    }
    assert_eq!(of(&desk, "honest").map(|(_, identity)| identity), Some(honest_is));
    assert_eq!(of(&honest, "desk").map(|(state, _)| state), Some(MemberState::Alive));
}

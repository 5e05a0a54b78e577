//! Nodes with certificates: what follows from them beside seals. Roles go to the policy, keys to
//! whoever verifies signatures.

mod secured;

use std::sync::mpsc;
use std::time::Duration;

use wireloom::identity::{CredentialPaths, Credentials, IssueRequest, OutDir};
use wireloom::{Event, Node, Policy, Target};

use secured::{Cluster, PATIENCE, counted, now_unix_s, until};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "order", signed)]
struct Order {
    number: u64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "metric.heat")]
struct Heat {
    number: u64,
}

const POLICY: &[u8] = b"[[role]]\nname = \"sensor\"\n\n[[allow]]\nrole = \"sensor\"\n\
    verb = \"publish\"\ntypes = \"metric.**\"\n";

/// Credentials of a node with a role that its certificate says.
fn credentials_of(cluster: &Cluster, name: &str, role: &str) -> Credentials {
    let folder = cluster.folder.join(name);
    let request = IssueRequest { roles: vec![role.to_owned()], ..IssueRequest::new(name) };
    let out = OutDir { folder: folder.clone(), replace: true };
    cluster.authority.issue(&request, &out, now_unix_s()).expect("issued");
    Credentials::load(CredentialPaths::of_node(&folder, name)).expect("loaded")
}

#[test]
fn a_role_of_a_certificate_is_a_role_of_the_policy() {
    let cluster = Cluster::new();
    let policy = Policy::parse("policy", POLICY).expect("a policy");
    let desk = cluster.node("desk").policy(policy).start().expect("starts");
    let (heard, hears) = mpsc::channel();
    desk.on::<Heat>(move |heat, _| {
        let _ = heard.send(heat.number.to_native());
    })
    .expect("subscribes");
    let start = |name, role| {
        let credentials = credentials_of(&cluster, name, role);
        Node::builder(name).credentials(&credentials).start().expect("starts")
    };
    let (probe, lamp) = (start("probe", "sensor"), start("lamp", "actor"));
    let target = Target::Node(desk.address());
    let (mut from_probe, mut from_lamp) = (probe.router(), lamp.router());
    until("the lamp is refused", || {
        let _ = from_lamp.route(&Heat { number: 1 }, &target);
        counted(&desk, "events_unauthorized") > 0
    });
    let first = (0..1_000).find_map(|_| {
        let _ = from_probe.route(&Heat { number: 2 }, &target);
        hears.recv_timeout(Duration::from_millis(20)).ok()
    });
    assert_eq!(first, Some(2), "the probe may");
    assert!(hears.try_iter().all(|number| number == 2));
}

#[test]
fn a_signed_event_is_verified_by_the_certificate_of_its_link() {
    let cluster = Cluster::new();
    let (desk, feed) = (cluster.node("desk"), cluster.node("feed"));
    let (desk, feed) = (desk.start().expect("starts"), feed.start().expect("starts"));
    let (heard, hears) = mpsc::channel();
    desk.on::<Order>(move |order, _| {
        let _ = heard.send(order.number.to_native());
    })
    .expect("subscribes");
    let mut router = feed.router();
    let target = Target::Node(desk.address());
    for number in 0..100 {
        until("room", || router.route(&Order { number }, &target).is_ok());
    }
    for number in 0..100 {
        assert_eq!(hears.recv_timeout(PATIENCE), Ok(number));
    }
    assert_eq!(counted(&desk, "events_refused_signature"), 0);
}

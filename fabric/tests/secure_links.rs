//! Nodes with certificates: reliable links are TLS, peers are who their certificates say, and who
//! is not of the cluster gets no event and takes none.

mod secured;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wireloom::identity::{CredentialPaths, Credentials};
use wireloom::{Delivery, Event, Node, ReliableSettings, Target};

use secured::{Cluster, PATIENCE, counted, now_unix_s, until};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "parcel")]
struct Parcel {
    number: u64,
    filler: Vec<u8>,
}

/// Gives up soon.
fn hasty() -> ReliableSettings {
    ReliableSettings {
        attempts: 3,
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(20),
        undelivered_after: Duration::from_millis(300),
        ..ReliableSettings::default()
    }
}

fn numbers_at(node: &Node) -> Arc<Mutex<Vec<u64>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&seen);
    node.on::<Parcel>(move |parcel, _| {
        let length = u64::try_from(parcel.filler.len()).expect("small");
        assert!(parcel.filler.iter().all(|byte| u64::from(*byte) == parcel.number % 251));
        assert!(length < 4 << 20);
        book.lock().expect("no panic").push(parcel.number.to_native());
    })
    .expect("subscribes");
    seen
}

fn parcel(number: u64, length: usize) -> Parcel {
    Parcel { number, filler: vec![u8::try_from(number % 251).expect("small"); length] }
}

#[test]
fn events_small_and_large_go_both_ways_over_tls() {
    let cluster = Cluster::new();
    let desk = cluster.node("desk").start().expect("starts");
    let feed = cluster.node("feed").start().expect("starts");
    let (at_desk, at_feed) = (numbers_at(&desk), numbers_at(&feed));
    for (from, to, seen) in [(&feed, &desk, &at_desk), (&desk, &feed, &at_feed)] {
        let target = Target::Reliable(to.address());
        let mut publisher = from.publisher::<Parcel>(&target).expect("a route");
        let mut last = None;
        for number in 0..200 {
            // A large one among them, in a stream of its own.
            let length = if number == 100 { 3 << 20 } else { 100 };
            until("room", || match publisher.publish(&parcel(number, length)) {
                Ok(accepted) => {
                    last = Some(accepted);
                    true
                }
                Err(_) => false,
            });
        }
        let receipt = publisher.receipt(last.expect("accepted")).expect("reliable");
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
        until("all of them", || seen.lock().expect("no panic").len() == 200);
        let mut small = seen.lock().expect("no panic").clone();
        small.retain(|number| *number != 100);
        assert_eq!(small, (0..200).filter(|number| *number != 100).collect::<Vec<_>>());
    }
    let handshakes = counted(&desk, "tls_handshakes") + counted(&feed, "tls_handshakes");
    assert!(handshakes >= 2, "{handshakes}: both ends of a line count one");
    let plain = Node::builder("plain").start().expect("starts");
    for (reason, least) in [("TLS: handshakes", 64 * (64 << 10)), ("what TLS holds", 64 << 10)] {
        let bytes = |node: &Node| {
            let terms = node.memory();
            terms
                .iter()
                .filter(|(of, _)| of.contains(reason))
                .map(|(_, bytes)| bytes)
                .sum::<usize>()
        };
        assert!(bytes(&desk) >= least && bytes(&feed) >= least, "{reason}: {:?}", desk.memory());
        assert_eq!(bytes(&plain), 0, "{reason}");
    }
}

#[test]
fn who_is_not_of_the_cluster_reaches_nobody_and_is_reached_by_nobody() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let desk = cluster.node("desk").start().expect("starts");
    let seen = numbers_at(&desk);
    let stranger = other.node("stranger").reliable(hasty()).start().expect("starts");
    let plain = Node::builder("plain").reliable(hasty()).start().expect("starts");
    let at_strangers = [numbers_at(&stranger), numbers_at(&plain)];
    // Its certificate is good, and of another node.
    let thief = Node::builder("feed").credentials(&cluster.credentials("thief"));
    let thief = thief.reliable(hasty()).start().expect("starts");
    for node in [&stranger, &plain, &thief] {
        let target = Target::Reliable(desk.address());
        let mut publisher = node.publisher::<Parcel>(&target).expect("a route");
        let accepted = publisher.publish(&parcel(7, 10)).expect("accepted");
        let receipt = publisher.receipt(accepted).expect("reliable");
        let delivery = receipt.wait(PATIENCE);
        assert!(matches!(delivery, Delivery::Undelivered(_)), "{}: {delivery:?}", node.name());
    }
    let feed = cluster.node("feed").reliable(hasty()).start().expect("starts");
    for node in [&stranger, &plain] {
        let target = Target::Reliable(node.address());
        let mut publisher = feed.publisher::<Parcel>(&target).expect("a route");
        let accepted = publisher.publish(&parcel(8, 10)).expect("accepted");
        let receipt = publisher.receipt(accepted).expect("reliable");
        let delivery = receipt.wait(PATIENCE);
        assert!(matches!(delivery, Delivery::Undelivered(_)), "{}: {delivery:?}", node.name());
    }
    assert!(seen.lock().expect("no panic").is_empty());
    assert!(at_strangers.iter().all(|seen| seen.lock().expect("no panic").is_empty()));
    assert!(counted(&desk, "tls_refused_plain") > 0, "{:?}", desk.counters());
}

#[test]
fn a_certificate_that_is_taken_back_ends_its_links() {
    let cluster = Cluster::new();
    let credentials = cluster.credentials("desk");
    let desk = Node::builder("desk").credentials(&credentials).start().expect("starts");
    let seen = numbers_at(&desk);
    let feed = cluster.node("feed").reliable(hasty()).start().expect("starts");
    let target = Target::Reliable(desk.address());
    let mut publisher = feed.publisher::<Parcel>(&target).expect("a route");
    let accepted = publisher.publish(&parcel(1, 10)).expect("accepted");
    let receipt = publisher.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    cluster.authority.revoke("feed", now_unix_s()).expect("revoked");
    let list = std::fs::read(cluster.authority.revocations_path()).expect("a list");
    let begun = Instant::now();
    credentials.offer_revocations(&list).expect("it is the authority's");
    until("the end of the link", || {
        let accepted = publisher.publish(&parcel(2, 10)).expect("accepted");
        let receipt = publisher.receipt(accepted).expect("reliable");
        matches!(receipt.wait(PATIENCE), Delivery::Undelivered(_))
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(seen.lock().expect("no panic")[0], 1);
    assert!(counted(&desk, "tls_refused_revoked") > 0, "{:?}", desk.counters());
}

/// Gives reliable events from one node to another, so that there is a line.
fn talk(from: &Node, to: &Node) -> Delivery {
    let mut publisher = from.publisher::<Parcel>(&Target::Reliable(to.address())).expect("a route");
    let accepted = publisher.publish(&parcel(1, 10)).expect("accepted");
    publisher.receipt(accepted).expect("reliable").wait(PATIENCE)
}

#[test]
fn a_list_of_revocations_offered_at_one_node_reaches_all_and_ends_the_links_everywhere() {
    let cluster = Cluster::new();
    let names = ["desk", "feed", "gate", "thief"];
    let credentials = names.map(|name| cluster.credentials(name));
    let nodes: Vec<Node> = names
        .iter()
        .zip(&credentials)
        .map(|(name, own)| Node::builder(name).credentials(own).reliable(hasty()).start())
        .map(|node| node.expect("starts"))
        .collect();
    // In a row, so that the list is passed on; the thief talks to both ends.
    let mut publishers: Vec<_> = [(0, 1), (1, 2), (3, 0), (3, 2)]
        .map(|(from, to): (usize, usize)| {
            let target = Target::Reliable(nodes[to].address());
            nodes[from].publisher::<Parcel>(&target).expect("a route")
        })
        .into();
    for publisher in &mut publishers {
        let accepted = publisher.publish(&parcel(1, 10)).expect("accepted");
        let receipt = publisher.receipt(accepted).expect("reliable");
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    }
    cluster.authority.revoke("thief", now_unix_s()).expect("revoked");
    let list = std::fs::read(cluster.authority.revocations_path()).expect("a list");
    let epoch = |own: &Credentials| own.revocations().iter().map(|list| list.epoch()).sum::<u64>();
    let before = epoch(&credentials[0]);
    let begun = Instant::now();
    credentials[0].offer_revocations(&list).expect("it is the authority's");
    until("the list", || credentials[..3].iter().all(|own| epoch(own) == before + 1));
    let known = begun.elapsed();
    assert!(known < Duration::from_secs(1), "{known:?}");
    until("the end of its links", || {
        [0, 2].iter().all(|node| counted(&nodes[*node], "tls_refused_revoked") > 0)
    });
    let ended = begun.elapsed();
    assert!(ended < Duration::from_secs(2), "{ended:?}");
    // It is in the file of each, and what the others have of each other goes on.
    for name in &names[..3] {
        assert_eq!(
            std::fs::read(cluster.folder.join(name).join("revoked.wl")).ok(),
            Some(list.clone())
        );
    }
    assert_eq!(talk(&nodes[0], &nodes[1]), Delivery::Delivered);
    assert!(matches!(talk(&nodes[3], &nodes[2]), Delivery::Undelivered(_)));
    // Who comes later is told by the first it meets.
    let late = cluster.credentials("late");
    std::fs::remove_file(cluster.folder.join("late").join("revoked.wl")).expect("there");
    let late = Credentials::load(CredentialPaths::of_node(&cluster.folder.join("late"), "late"))
        .unwrap_or(late);
    assert_eq!(epoch(&late), 0);
    let node = Node::builder("late").credentials(&late).start().expect("starts");
    assert_eq!(talk(&node, &nodes[1]), Delivery::Delivered);
    until("the list at the late one", || epoch(&late) == before + 1);
}

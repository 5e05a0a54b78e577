//! Nodes with certificates: their datagrams are sealed by keys of their links, and strangers
//! neither read, nor say, nor are told anything.

mod secured;

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wireloom::config::Config;
use wireloom::event::Priority;
use wireloom::{Event, Interface, Node, NodeError, Protection, Target};

use secured::{Cluster, counted, now_unix_s, until};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "postcard")]
struct Postcard {
    number: u64,
    words: [u8; 32],
}

const WORDS: [u8; 32] = *b"nobody on the way may read this.";

fn postcard(number: u64) -> Postcard {
    Postcard { number, words: WORDS }
}

fn numbers_at(node: &Node) -> Arc<Mutex<Vec<u64>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&seen);
    node.on_each::<Postcard, _>(|_| {
        let book = Arc::clone(&book);
        move |card: &rkyv::Archived<Postcard>, _: &_| {
            assert_eq!(card.words, WORDS);
            book.lock().expect("no panic").push(card.number.to_native());
        }
    })
    .expect("subscribes");
    seen
}

/// Routes cards until one arrives.
fn until_heard(from: &Node, to: &Node, seen: &Mutex<Vec<u64>>, numbers: std::ops::Range<u64>) {
    let mut router = from.router();
    for number in numbers.clone() {
        until("room", || router.route(&postcard(number), Target::Node(to.address())).is_ok());
    }
    until("all of them", || {
        let seen = seen.lock().expect("no panic");
        numbers.clone().all(|number| seen.contains(&number))
    });
}

#[test]
fn the_first_datagram_waits_for_its_key_and_all_arrive_both_ways() {
    let cluster = Cluster::new();
    let desk = cluster.node("desk").receivers(2).start().expect("starts");
    let feed = cluster.node("feed").start().expect("starts");
    let (at_desk, at_feed) = (numbers_at(&desk), numbers_at(&feed));
    until_heard(&feed, &desk, &at_desk, 0..2_000);
    until_heard(&desk, &feed, &at_feed, 5_000..7_000);
    assert_eq!(*at_desk.lock().expect("no panic"), (0..2_000).collect::<Vec<_>>(), "in order");
    assert_eq!(at_feed.lock().expect("no panic").len(), 2_000);
    for node in [&desk, &feed] {
        let opened = counted(node, "packets_opened");
        assert!(opened > 0 && counted(node, "packets_sealed") > 0, "{:?}", node.counters());
        assert!(counted(node, "packets_received") <= opened, "nothing in clear");
        assert_eq!(
            counted(node, "datagrams_sealed_unknown_keys"),
            0,
            "nobody seals before the other opens"
        );
    }
}

#[test]
fn a_node_reaches_itself() {
    let cluster = Cluster::new();
    let desk = cluster.node("desk").start().expect("starts");
    let seen = numbers_at(&desk);
    until_heard(&desk, &desk, &seen, 0..10);
}

#[test]
fn a_node_without_a_certificate_says_and_hears_nothing() {
    let cluster = Cluster::new();
    let desk = cluster.node("desk").start().expect("starts");
    let plain = Node::builder("plain").start().expect("starts");
    let seen = [numbers_at(&desk), numbers_at(&plain)];
    let mut router = plain.router();
    router.route(&postcard(1), Target::Node(desk.address())).expect("nobody asked yet");
    until("a refusal", || counted(&desk, "datagrams_clear_refused") > 0);
    let mut router = desk.router();
    router.route(&postcard(2), Target::Node(plain.address())).expect("accepted into a ring");
    until("the end of its patience", || counted(&desk, "events_shed_unsealed") == 1);
    assert!(seen.iter().all(|seen| seen.lock().expect("no panic").is_empty()));
}

#[test]
fn keys_end_with_the_certificate_of_the_peer() {
    let cluster = Cluster::new();
    let credentials = cluster.credentials("desk");
    let desk = Node::builder("desk").credentials(&credentials).start().expect("starts");
    let feed = cluster.node("feed").start().expect("starts");
    let (at_desk, at_feed) = (numbers_at(&desk), numbers_at(&feed));
    until_heard(&feed, &desk, &at_desk, 0..10);
    until_heard(&desk, &feed, &at_feed, 0..10);
    cluster.authority.revoke("feed", now_unix_s()).expect("revoked");
    let list = std::fs::read(cluster.authority.revocations_path()).expect("a list");
    credentials.offer_revocations(&list).expect("it is the authority's");
    // Neither node says a word more to the other.
    let (mut from, mut to) = (feed.router(), desk.router());
    until("keys are taken away", || {
        let _ = from.route(&postcard(100), Target::Node(desk.address()));
        let _ = to.route(&postcard(100), Target::Node(feed.address()));
        [&desk, &feed].iter().all(|node| counted(node, "events_shed_unsealed") > 0)
    });
    let heard = at_desk.lock().expect("no panic").len();
    for _ in 0..20 {
        let _ = from.route(&postcard(200), Target::Node(desk.address()));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(at_desk.lock().expect("no panic").len(), heard, "nothing more of it");
}

#[test]
fn each_priority_is_protected_as_it_was_told_and_no_less_is_taken() {
    let cluster = Cluster::new();
    let open = |name| cluster.node(name).protect(Priority::Normal, Protection::Off);
    let desk = open("desk").start().expect("starts");
    let feed = open("feed").start().expect("starts");
    let seen = numbers_at(&desk);
    until_heard(&feed, &desk, &seen, 0..10);
    assert_eq!(
        (counted(&feed, "packets_sealed"), counted(&desk, "datagrams_clear_refused")),
        (0, 0)
    );
    // One that asks for more than it is given refuses that by name.
    let strict = cluster.node("strict").start().expect("starts");
    let at_strict = numbers_at(&strict);
    let mut router = feed.router();
    until("a refusal", || {
        let _ = router.route(&postcard(1), Target::Node(strict.address()));
        counted(&strict, "datagrams_clear_refused") > 0
    });
    let weak = cluster.node("weak").protect(Priority::Normal, Protection::Integrity);
    let weak = weak.start().expect("starts");
    let mut router = weak.router();
    until("a refusal", || {
        let _ = router.route(&postcard(1), Target::Node(strict.address()));
        counted(&strict, "datagrams_sealed_integrity_only") > 0
    });
    assert!(at_strict.lock().expect("no panic").is_empty());
    // And one that has no certificate at all still is not let in, where nothing is sealed, but by
    // its packets: that is what the word means.
    let plain = Node::builder("plain").start().expect("starts");
    until_heard(&plain, &desk, &seen, 50..51);
}

/// The same by a configuration, which names the credentials too.
#[test]
fn a_configuration_says_how_each_priority_is_protected() {
    let cluster = Cluster::new();
    let configured = |name: &str, protect: &str| {
        cluster.credentials(name);
        let folder = cluster.folder.join(name);
        let folder = folder.display();
        let text = format!("[security]\ncredentials = \"{folder}\"\nprotect = {protect}");
        Node::builder(name).config(&Config::parse(&text).expect("a configuration"))
    };
    let desk = configured("desk", "[\"normal:off\"]").start().expect("starts");
    let feed = configured("feed", "[\"normal:off\", \"low:full\"]").start().expect("starts");
    let seen = numbers_at(&desk);
    until_heard(&feed, &desk, &seen, 0..10);
    assert_eq!(counted(&feed, "packets_sealed"), 0, "of a priority that is said to be in clear");
    let weak = configured("weak", "[\"normal:integrity\"]").start().expect("starts");
    let strict = configured("strict", "[\"critical:off\"]").start().expect("starts");
    let at_strict = numbers_at(&strict);
    let mut router = weak.router();
    until("a refusal", || {
        let _ = router.route(&postcard(1), Target::Node(strict.address()));
        counted(&strict, "datagrams_sealed_integrity_only") > 0
    });
    assert!(at_strict.lock().expect("no panic").is_empty(), "of others nothing was said");
    // In clear is for loopback, unless somebody says the word.
    let open = configured("open", "[\"background:off\"]").listen("0.0.0.0:0");
    assert!(matches!(open.clone().start(), Err(NodeError::Insecure { .. })));
    assert!(open.insecure().start().expect("starts").is_insecure());
}

#[test]
fn members_find_each_other_by_a_seed_and_strangers_are_neither_heard_nor_answered() {
    let cluster = Cluster::new();
    let desk = cluster.node("desk").cluster("plant").start().expect("starts");
    let seed = desk.address().to_string();
    let feed = cluster.node("feed").cluster("plant").seed(&seed).start().expect("starts");
    let lamp = cluster.node("lamp").cluster("plant").seed(&seed).start().expect("starts");
    // One without a certificate, and one with another authority's.
    let others = Cluster::new();
    let plain = Node::builder("plain").cluster("plant").seed(&seed).start().expect("starts");
    let stranger = others.node("stranger").cluster("plant").seed(&seed).start().expect("starts");
    for node in [&desk, &feed, &lamp] {
        until("three members", || node.members().iter().filter(|of| of.is_up()).count() == 3);
    }
    let seen = numbers_at(&lamp);
    let mut router = feed.router();
    let to_lamp: Target = "node:lamp".parse().expect("a target");
    until("room", || router.route(&postcard(1), &to_lamp).is_ok());
    until("it arrives", || seen.lock().expect("no panic").contains(&1));
    // A socket that says what it likes, and listens whether anybody answers.
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    std::thread::sleep(Duration::from_millis(1_500));
    let mut bytes = [0; 2_048];
    socket.send_to(&[1; 1_400], desk.address()).expect("sent");
    assert!(socket.recv_from(&mut bytes).is_err(), "nobody answers");
    for node in [&plain, &stranger] {
        assert_eq!(node.members().iter().filter(|of| of.is_up() && !of.is_self).count(), 0);
    }
    for node in [&desk, &feed, &lamp] {
        assert_eq!(node.members().iter().filter(|of| of.is_up()).count(), 3, "and no more");
    }
}

#[test]
fn members_find_each_other_by_beacons_in_a_group() {
    let cluster = Cluster::new();
    let node = |name| {
        let node = cluster.node(name).cluster("beacons").listen("127.0.0.1:0");
        node.discover("239.255.87.91:19076").start().expect("starts")
    };
    let (desk, feed) = (node("desk"), node("feed"));
    if desk.notes().iter().any(|note| note.contains("no discovery")) {
        return;
    }
    let begun = std::time::Instant::now();
    for node in [&desk, &feed] {
        until("both", || node.members().iter().filter(|of| of.is_up()).count() == 2);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_group_is_sealed_for_those_who_have_met_and_exchanged_when_one_goes() {
    let cluster = Cluster::new();
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let group = format!("224.1.1.79:{}", port.expect("a free port").port());
    let loopback = || Interface::Address(Ipv4Addr::LOCALHOST);
    let seat = |name: &str| {
        let node = cluster.node(name).cluster("plant").join_on(&group, loopback());
        node.multicast(1, loopback(), true)
    };
    let desk = seat("desk").start().expect("starts");
    let seed = desk.address().to_string();
    let feed = seat("feed").seed(&seed).start().expect("starts");
    let lamp = seat("lamp").seed(&seed).start().expect("starts");
    let plain = Node::builder("plain").join_on(&group, loopback()).start().expect("starts");
    let nodes = [&desk, &feed, &lamp];
    for node in nodes {
        until("three members", || node.members().iter().filter(|of| of.is_up()).count() == 3);
    }
    let seen = nodes.map(numbers_at);
    let at_plain = numbers_at(&plain);
    let mut router = desk.router();
    let target = Target::multicast(&group);
    let hears = |at: usize, number: u64| seen[at].lock().expect("no panic").contains(&number);
    let mut said = 0;
    until("a word that all have heard", || {
        said += 1;
        let _ = router.route(&postcard(said), &target);
        std::thread::sleep(Duration::from_millis(20));
        (0..3).all(|at| hears(at, said))
    });
    // One goes: what is said from then on is sealed by other keys, and those who stay hear it.
    let before = counted(&desk, "notes_refused");
    drop(lamp);
    until("two members", || desk.members().iter().filter(|of| of.is_up()).count() == 2);
    std::thread::sleep(Duration::from_millis(600));
    for _ in 0..20 {
        said += 1;
        until("room", || router.route(&postcard(said), &target).is_ok());
        until("those who stay", || hears(0, said) && hears(1, said));
    }
    assert_eq!(counted(&desk, "notes_refused"), before);
    assert!(at_plain.lock().expect("no panic").is_empty(), "it cannot read them");
    assert!(counted(&plain, "datagrams_sealed_without_keys") > 0);
}

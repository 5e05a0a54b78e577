//! What a node sends for what a stranger sends (F37): for every kind of packet, from a source that
//! is not who it says, the bytes that come back to it and to the victim that it names.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use wireloom::identity::Credentials;
use wireloom::{Event, Node};
use wireloom_wire::{SessionId, event_type_id};

use crate::packets::Parties;
use crate::rig::{Cluster, alone};

/// Packets of each kind.
const PACKETS: u64 = 10;

/// How long answers are waited for: longer than markers are repeated and the dead suspected.
const TIME: Duration = Duration::from_secs(8);

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "sum")]
struct Sum {
    numbers: u64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "parcel")]
struct Parcel {
    number: u64,
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Bytes that have come to a socket.
fn heard(socket: &UdpSocket) -> usize {
    let mut bytes = [0; 2_048];
    std::iter::from_fn(|| socket.recv(&mut bytes).ok()).sum()
}

/// A node with a handler, a responder and a cluster.
fn desk(credentials: Option<&Credentials>) -> Node {
    let builder = Node::builder("desk");
    let builder = match credentials {
        Some(credentials) => builder.credentials(credentials),
        None => builder,
    };
    let node = builder.cluster("plant").start().unwrap();
    node.on::<Parcel>(|_, _| {}).unwrap();
    node.respond::<Sum, _>(|_, _| Sum { numbers: 7 }).unwrap();
    node
}

/// A kind of packet: bytes sent, bytes that came back, bytes that went to the victim.
struct Row {
    name: &'static str,
    sent: usize,
    back: usize,
    astray: usize,
}

impl Row {
    /// Bytes out by bytes in.
    #[expect(clippy::cast_precision_loss, reason = "small")]
    fn ratio(&self) -> f64 {
        (self.back + self.astray) as f64 / self.sent.max(1) as f64
    }
}

/// Sends one kind to a node of its own.
fn measure(credentials: Option<&Credentials>, kind: usize) -> Row {
    let (desk, stranger, victim) = (desk(credentials), socket(), socket());
    let own = desk.members().into_iter().find(|member| member.is_self).unwrap();
    let mut row = Row { name: "", sent: 0, back: 0, astray: 0 };
    for number in 1..=PACKETS {
        let parties = Parties {
            desk: own.record.identity,
            cluster: SessionId(event_type_id("plant").0),
            victim: victim.local_addr().unwrap(),
            number,
        };
        let (name, packet) = parties.kinds().swap_remove(kind);
        row.name = name;
        row.sent += stranger.send_to(&packet, desk.address()).unwrap();
    }
    let until = Instant::now() + TIME;
    while Instant::now() < until {
        row.back += heard(&stranger);
        row.astray += heard(&victim);
        std::thread::sleep(Duration::from_millis(20));
    }
    row
}

fn table(credentials: Option<&Credentials>) -> Vec<Row> {
    let kinds = 27;
    std::thread::scope(|scope| {
        let each: Vec<_> =
            (0..kinds).map(|kind| scope.spawn(move || measure(credentials, kind))).collect();
        each.into_iter().map(|row| row.join().unwrap()).collect()
    })
}

/// Prints the table as `docs/security.md` has it.
fn print(what: &str, rows: &[Row]) {
    println!("| packet, node {what} certificate | bytes in | back | to the victim | ratio |");
    println!("|---|---|---|---|---|");
    for row in rows {
        let (name, sent, back, astray) = (row.name, row.sent, row.back, row.astray);
        println!("| {name} | {sent} | {back} | {astray} | {:.2} |", row.ratio());
    }
}

/// What a cluster without certificates believes: somebody is a member, at the victim's address,
/// and is probed there until it is found dead.
const BELIEVED: [&str; 8] = [
    "record",
    "ping",
    "acknowledgement",
    "request for a ping",
    "indirect ping",
    "announcement",
    "gossip",
    "you are dead",
];

/// What all probes and news of a node come to at most, whatever it believes, in [`TIME`].
const PROBES_BYTES_MAX: usize = 40_000;

#[test]
fn f37_without_certificates_what_exceeds_its_question_is_named_and_bounded() {
    let _alone = alone();
    let rows = table(None);
    print("without", &rows);
    for row in &rows {
        if BELIEVED.contains(&row.name) {
            assert!(row.back + row.astray <= PROBES_BYTES_MAX, "{}: {}", row.name, row.astray);
            assert_eq!(row.back, 0, "{}", row.name);
        } else if row.name.starts_with("request") {
            // A status to who sent it, and a reply as long as the responder's answer is.
            assert!(row.ratio() <= 1.5, "{}: {:.2}", row.name, row.ratio());
        } else {
            assert!(row.ratio() <= 1.0, "{}: {:.2}", row.name, row.ratio());
        }
    }
    assert!(rows.iter().any(|row| row.back > 0) && rows.iter().any(|row| row.astray > 0));
}

#[test]
fn f37_with_certificates_no_stranger_is_answered_by_more_bytes_than_it_sent() {
    let _alone = alone();
    let cluster = Cluster::new();
    let rows = table(Some(&cluster.credentials("desk")));
    print("with", &rows);
    for row in &rows {
        assert!(row.ratio() <= 1.0, "{}: {:.2}", row.name, row.ratio());
    }
}

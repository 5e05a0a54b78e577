//! Multicast and broadcast between nodes, on the loopback interface only. (IPv6 groups and the
//! loopback option need a namespace with routes of its own: `dataplane/tests/socket/groups.rs`.)

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use wireloom::{Event, Interface, Node, NodeBuilder, Target};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "notice")]
struct Notice {
    number: u64,
}

fn hears_notices(builder: NodeBuilder) -> (Node, Receiver<u64>) {
    let node = builder.start().expect("starts");
    let (heard, hears) = mpsc::channel();
    node.on::<Notice>(move |notice, _| {
        let _ = heard.send(notice.number.to_native());
    })
    .expect("subscribes");
    (node, hears)
}

fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("bound").port()
}

fn loopback() -> Interface {
    Interface::Address(Ipv4Addr::LOCALHOST)
}

#[test]
fn one_multicast_packet_reaches_every_member_and_nobody_else() {
    let group = format!("224.1.1.77:{}", free_port());
    let members: Vec<_> = ["a", "b", "c"]
        .map(|name| hears_notices(Node::builder(name).join_on(&group, loopback())))
        .into();
    let (_outsider, outside) = hears_notices(Node::builder("outsider"));
    let speaker = Node::builder("speaker").multicast(1, loopback(), true).start().expect("starts");
    let mut router = speaker.router();
    for number in 0..100 {
        router.route(&Notice { number }, Target::multicast(&group)).expect("accepted");
    }
    for (member, hears) in &members {
        for expected in 0..100 {
            assert_eq!(hears.recv_timeout(PATIENCE), Ok(expected), "{}", member.name());
        }
    }
    assert!(outside.try_recv().is_err());
    let ledger = speaker.close();
    assert_eq!(ledger.published.sent, 100, "once for all members");
}

#[test]
fn broadcast_reaches_every_listener_of_the_port() {
    let port = free_port();
    let (_listener, hears) =
        hears_notices(Node::builder("listener").listen(&format!("0.0.0.0:{port}")).insecure());
    let speaker = Node::builder("speaker").start().expect("starts");
    // The loopback network's own broadcast address: nothing leaves this host.
    let everybody = Target::Broadcast(SocketAddr::from(([127, 255, 255, 255], port)));
    speaker.router().route(&Notice { number: 9 }, &everybody).expect("accepted");
    assert_eq!(hears.recv_timeout(PATIENCE), Ok(9));
}

//! What the attacks share: a cluster with an authority, honest and dishonest ends of connections,
//! and looks at this process.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};
use wireloom::Node;
use wireloom::identity::{Credentials, server_name};
use wireloom_wire::{
    CONTROL_PACKET_BYTES_MAX, Control, HELLO_STREAMS_MAX, Hello, LINK_PROTOCOL, NodeId, StreamPoint,
};

#[path = "../../../fabric/tests/secured/mod.rs"]
mod secured;

pub(crate) use self::secured::{Cluster, PATIENCE, now_unix_s};

/// Attacks go one after the other: each wants the processors and the ports for itself.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loopback addresses, as those of as many hosts.
pub(crate) fn host(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits((127 << 24) + (1 << 16) + number)
}

/// A connection from an address of one's own choice.
pub(crate) fn dial(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection that was proved at both ends, as far as the client can know.
pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A handshake with a certificate, and nothing said yet.
pub(crate) fn tls(credentials: &Credentials, from: Ipv4Addr, to: SocketAddr) -> io::Result<Tls> {
    let connection = ClientConnection::new(credentials.client_config(), server_name());
    let mut tls = StreamOwned::new(connection.map_err(io::Error::other)?, dial(from, to)?);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    tls.flush()?;
    Ok(tls)
}

/// What a node of this name says first: with a stream of events and one of pieces.
pub(crate) fn hello(name: &str, incarnation: u64) -> Vec<u8> {
    let mut streams = [StreamPoint::default(); HELLO_STREAMS_MAX];
    streams[0] = StreamPoint { lane: 2, pieces: false, session: 77, sequence: 0 };
    streams[1] = StreamPoint { lane: 2, pieces: true, session: 78, sequence: 0 };
    let node = NodeId::of_name(name);
    let hello = Hello {
        protocol: LINK_PROTOCOL,
        cluster: cluster_id(),
        node,
        incarnation,
        listens: ([127, 0, 0, 1], 9).into(),
        event_bytes_max: 1 << 30,
        compresses: false,
        streams,
        stream_count: 2,
        name,
    };
    let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
    let length = Control::Hello(hello).encode(node, &mut packet);
    packet[..length].to_vec()
}

/// The cluster of nodes that were told none.
pub(crate) fn cluster_id() -> u64 {
    NodeId::of_name("default").0
}

/// An honest peer's connect: handshake, hello, the first bytes of the welcome.
pub(crate) fn connect(
    (credentials, name): (&Credentials, &str),
    from: Ipv4Addr,
    to: SocketAddr,
    incarnation: u64,
) -> io::Result<Duration> {
    let begun = Instant::now();
    let mut tls = tls(credentials, from, to)?;
    tls.write_all(&hello(name, incarnation))?;
    tls.flush()?;
    let mut welcome = [0; 48];
    tls.read_exact(&mut welcome)?;
    Ok(begun.elapsed())
}

/// What a node has counted under a name.
pub(crate) fn counted(node: &Node, name: &str) -> u64 {
    let counters = node.counters();
    counters.into_iter().filter(|(known, _)| known.name == name).map(|(_, count)| count).sum()
}

/// Waits until something holds; how long that took.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed()
}

/// The memory of this process that is in use, bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

/// The open descriptors of this process.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

//! The direct socket: a second socket on the node's port, connected to the peer that most datagrams
//! go to and come from.
//!
//! A connected socket spares the kernel the look for a route with each send (`udp(7)`), 0.45 µs of
//! a hop, and it receives what that peer sends, so a worker that looks at it first finds an arrival
//! by one call. It is opened with the others, unbound, so that agents have it before they run;
//! control binds and connects it when a peer dominates ([`DirectPort::connect`]), and connects it
//! to another when that has changed. Owned by control; the sender writes which link uses it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::link::LinkId;
use crate::socket::{share_port, source_towards};

/// No link.
const NONE: u32 = u32::MAX;

/// Which link's datagrams leave by the direct socket. Written by the sender alone.
#[derive(Debug)]
pub struct DirectUse(AtomicU32);

impl Default for DirectUse {
    fn default() -> Self {
        Self(AtomicU32::new(NONE))
    }
}

impl DirectUse {
    /// The link, if any.
    #[must_use]
    pub fn link(&self) -> Option<LinkId> {
        let link = self.0.load(Ordering::Acquire);
        (link != NONE).then_some(LinkId(link))
    }

    pub(crate) fn set(&self, link: Option<LinkId>) {
        // Partner: the load above. What was sent before is with the kernel when control sees it.
        self.0.store(link.map_or(NONE, |link| link.0), Ordering::Release);
    }
}

/// Control's end of the direct socket.
#[derive(Debug)]
pub struct DirectPort {
    in_use: Arc<DirectUse>,
    /// The node's own socket, and the one to connect: duplicates of what the agents have.
    first: UdpSocket,
    direct: UdpSocket,
    bound: bool,
}

impl DirectPort {
    pub(crate) const fn new(in_use: Arc<DirectUse>, first: UdpSocket, direct: UdpSocket) -> Self {
        Self { in_use, first, direct, bound: false }
    }

    /// Which link uses it.
    #[must_use]
    pub const fn in_use(&self) -> &Arc<DirectUse> {
        &self.in_use
    }

    /// Connects the socket to `peer`: what it sends to this node's port arrives there from now on.
    /// No link may be using it ([`DirectUse::link`]). What has arrived before stays where it is.
    /// Costs a few system calls.
    ///
    /// # Errors
    /// The kernel's; `AddrNotAvailable` when this node reaches `peer` from another of its addresses
    /// than the one the socket has been bound to by its first use.
    pub fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        if !self.bound {
            share_port(&self.first, &self.direct)?;
            self.bound = true;
        } else if source_towards(peer)? != self.direct.local_addr()?.ip() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        self.direct.connect(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    fn unbound() -> UdpSocket {
        use socket2::{Domain, Socket, Type};
        Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap().into()
    }

    #[test]
    fn each_peers_datagrams_arrive_where_they_should() {
        let (first, direct, peers) = (socket(), unbound(), [socket(), socket()]);
        direct.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let here = first.local_addr().unwrap();
        let duplicates = (first.try_clone().unwrap(), direct.try_clone().unwrap());
        let mut port = DirectPort::new(Arc::default(), duplicates.0, duplicates.1);
        let mut byte = [0];
        for (number, favoured) in [(1, 0), (2, 1), (3, 0)] {
            port.connect(peers[favoured].local_addr().unwrap()).unwrap();
            assert_eq!(direct.local_addr().unwrap(), here);
            peers[favoured].send_to(&[number], here).unwrap();
            peers[1 - favoured].send_to(&[number + 10], here).unwrap();
            direct.recv_from(&mut byte).unwrap();
            assert_eq!(byte, [number]);
            first.recv_from(&mut byte).unwrap();
            assert_eq!(byte, [number + 10]);
            direct.send(&[number]).unwrap();
            assert_eq!(peers[favoured].recv_from(&mut byte).unwrap().1, here);
        }
        assert!(UdpSocket::bind(here).is_err(), "the port is not shared with anybody else");
    }

    #[test]
    fn the_link_in_use_is_told() {
        let in_use = DirectUse::default();
        assert_eq!(in_use.link(), None);
        in_use.set(Some(LinkId(0)));
        assert_eq!(in_use.link(), Some(LinkId(0)));
        in_use.set(None);
        assert_eq!(in_use.link(), None);
    }
}

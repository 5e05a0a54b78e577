//! A second socket on a port that is already bound, and where datagrams to a peer come from.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::SockRef;

/// Binds `second`, which is not bound yet, to the address and port of `first`.
///
/// socket(7): SO_REUSEPORT "permits multiple sockets to be bound to an identical socket address",
/// if "all of the sockets" had it set; it is switched on for this bind and off again at once, so
/// that no other process shares the port. Until `second` is connected (microseconds) the kernel may
/// give it datagrams of any peer; they are read like the others.
pub(crate) fn share_port(first: &UdpSocket, second: &UdpSocket) -> io::Result<()> {
    let local = first.local_addr()?;
    let (first, second) = (SockRef::from(first), SockRef::from(second));
    first.set_reuse_port(true)?;
    let bound = second.set_reuse_port(true).and_then(|()| second.bind(&local.into()));
    first.set_reuse_port(false)?;
    second.set_reuse_port(false)?;
    bound
}

/// The address this host sends from when it sends to `peer`. Costs a scratch socket; sends nothing.
pub(crate) fn source_towards(peer: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let scratch = UdpSocket::bind((any, 0))?;
    scratch.connect(peer)?;
    scratch.local_addr().map(|local| local.ip())
}

//! How large a datagram the way to a destination takes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use crate::io::DATAGRAM_BYTES_MAX;
use crate::sys;

/// IP and UDP headers: 20 + 8 bytes (RFC 791, RFC 768).
const HEADERS_V4: usize = 28;
/// IPv6 and UDP headers: 40 + 8 bytes (RFC 8200, RFC 768).
const HEADERS_V6: usize = 48;

/// The largest UDP payload the kernel believes the path to `destination` takes whole: the path MTU
/// it has learned, or the interface's. `None` when there is no route. Costs a scratch socket
/// (three system calls, nothing is sent): for the control thread, when a link is made.
#[must_use]
pub fn path_packet_bytes(destination: SocketAddr) -> Option<usize> {
    let any: SocketAddr = if destination.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let scratch = UdpSocket::bind(any).ok()?;
    // A broadcast address can be connected to only with permission; without it there is no answer.
    let _ = scratch.set_broadcast(true);
    scratch.connect(destination).ok()?;
    let (level, name, headers) = if destination.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU, HEADERS_V4)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU, HEADERS_V6)
    };
    // ip(7): IP_MTU "can be employed only when the socket has been connected".
    let mtu = sys::option(scratch.as_fd(), level, name).ok()?;
    let payload = usize::try_from(mtu).ok()?.checked_sub(headers)?;
    Some(payload.min(DATAGRAM_BYTES_MAX))
}

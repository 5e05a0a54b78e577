//! Why a socket did not open, each reason with what to do about it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::Interface;

/// Why a socket did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another socket has the port.
    #[error(
        "UDP port {} on {} is in use: choose another port, or find its owner with \
         `ss -ulpn 'sport = :{}'`",
        .0.port(), .0.ip(), .0.port()
    )]
    PortInUse(SocketAddr),
    /// The process may not have this port or option.
    #[error(
        "no permission for {step} on {address}: ports below {} need CAP_NET_BIND_SERVICE; choose a \
         higher port, or `setcap cap_net_bind_service+ep` the program",
        first_free_port()
    )]
    NoPermission {
        /// The address to bind.
        address: SocketAddr,
        /// The call that was refused.
        step: &'static str,
    },
    /// No interface of this host has the address.
    #[error(
        "no interface of this host has the address {}: choose one that `ip -brief address` shows, \
         or {} for all of them",
        .0.ip(), if .0.is_ipv4() { "0.0.0.0" } else { "[::]" }
    )]
    NoAddress(SocketAddr),
    /// The host has no IPv6 (or no IPv4).
    #[error(
        "this host has no {} sockets: use an address of the other family, or enable it \
         (sysctl net.ipv6.conf.all.disable_ipv6)",
        if .0.is_ipv4() { "IPv4" } else { "IPv6" }
    )]
    NoFamily(SocketAddr),
    /// A group cannot be joined or sent to because no route or interface leads to it.
    #[error(
        "no interface leads to the multicast group {group} (asked for: {interface}): name one that \
         `ip -brief link` shows as UP, or add a route: {}",
        route_to(*.group)
    )]
    NoMulticastRoute {
        /// The group.
        group: IpAddr,
        /// The interface asked for.
        interface: Interface,
    },
    /// An interface that does not exist, or named in a way this family cannot use.
    #[error("interface {interface}: {reason}; choose one that `ip -brief address` shows")]
    NoInterface {
        /// The interface asked for.
        interface: Interface,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The address is no group.
    #[error("{0} is no multicast group: groups are 224.0.0.0/4 and ff00::/8")]
    NotMulticast(IpAddr),
    /// Group and socket are of different families.
    #[error("the group {group} cannot be joined by a socket bound to {bind}: bind to {}",
        if .group.is_ipv4() { "0.0.0.0 or the group" } else { "[::] or the group" })]
    FamilyMismatch {
        /// The group.
        group: IpAddr,
        /// The address to bind.
        bind: SocketAddr,
    },
    /// The kernel's limit of memberships.
    #[error(
        "the group {0} is one membership too many for this socket: raise the limit with \
         `sysctl -w net.ipv4.igmp_max_memberships=1000`"
    )]
    TooManyGroups(IpAddr),
    /// The process has too many open files.
    #[error("no free file descriptor for a socket: raise `ulimit -n`")]
    TooManyFiles,
    /// Anything else the kernel says.
    #[error("{step} on {address}: {error}; see socket(7), ip(7) and ipv6(7)")]
    Other {
        /// The call that failed.
        step: &'static str,
        /// The address to bind.
        address: SocketAddr,
        /// The kernel's error.
        error: io::Error,
    },
}

impl OpenError {
    /// What an error of `step` means for a socket to be bound to `address`.
    pub(super) fn from_io(step: &'static str, address: SocketAddr, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EADDRINUSE) => Self::PortInUse(address),
            Some(libc::EACCES | libc::EPERM) => Self::NoPermission { address, step },
            // ENODEV: a link-local address without (or with another) interface.
            Some(libc::EADDRNOTAVAIL | libc::ENODEV) => Self::NoAddress(address),
            Some(libc::EAFNOSUPPORT | libc::EPFNOSUPPORT) => Self::NoFamily(address),
            Some(libc::EMFILE | libc::ENFILE) => Self::TooManyFiles,
            _ => Self::Other { step, address, error },
        }
    }

    /// What an error of joining `group` means.
    pub(super) fn from_join(
        group: IpAddr,
        interface: &Interface,
        address: SocketAddr,
        error: io::Error,
    ) -> Self {
        match error.raw_os_error() {
            Some(libc::ENODEV | libc::EADDRNOTAVAIL | libc::ENETUNREACH | libc::EHOSTUNREACH) => {
                Self::NoMulticastRoute { group, interface: interface.clone() }
            }
            Some(libc::ENOBUFS | libc::ENOMEM) => Self::TooManyGroups(group),
            _ => Self::Other { step: "joining the group", address, error },
        }
    }
}

/// The first port an unprivileged process may bind (`ip_unprivileged_port_start`, Linux 4.11).
fn first_free_port() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

const fn route_to(group: IpAddr) -> &'static str {
    if group.is_ipv4() {
        "`ip route add 224.0.0.0/4 dev IFACE`"
    } else {
        "`ip -6 route add multicast ff00::/8 dev IFACE table local`"
    }
}

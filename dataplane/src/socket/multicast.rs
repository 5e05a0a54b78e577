//! Multicast: which groups a socket hears, and how it sends to groups.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;

use socket2::{InterfaceIndexOrAddress, Socket};

use super::{OpenError, SocketConfig};
use crate::sys;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Interface {
    /// The one the routing table says.
    #[default]
    Default,
    /// The one with this address; IPv4 groups only.
    Address(Ipv4Addr),
    /// By its index (`ip link`).
    Index(u32),
    /// By its name, `eth0`.
    Name(String),
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Address(address) => address.fmt(f),
            Self::Index(index) => write!(f, "#{index}"),
            Self::Name(name) => name.escape_debug().fmt(f),
        }
    }
}

impl Interface {
    /// The index; `None` for [`Interface::Default`] and for one given by address.
    fn index(&self) -> Result<Option<u32>, OpenError> {
        let missing = |reason| OpenError::NoInterface { interface: self.clone(), reason };
        match self {
            Self::Default | Self::Address(_) => Ok(None),
            Self::Index(0) => Err(missing("index 0 is no interface")),
            Self::Index(index) => Ok(Some(*index)),
            Self::Name(name) => {
                let name = CString::new(name.as_str()).map_err(|_| missing("no such name"))?;
                let index = sys::interface_index(&name);
                index.map(Some).map_err(|_| missing("no interface of this host has that name"))
            }
        }
    }

    /// The index for IPv6, which knows interfaces by nothing else; 0 is the default one.
    fn index_v6(&self) -> Result<u32, OpenError> {
        if matches!(self, Self::Address(_)) {
            let reason = "IPv6 multicast needs an interface by name or index";
            return Err(OpenError::NoInterface { interface: self.clone(), reason });
        }
        Ok(self.index()?.unwrap_or(0))
    }
}

/// A group and the interface to join it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupJoin {
    /// The group: 224.0.0.0/4 or ff00::/8.
    pub group: IpAddr,
    /// Where its datagrams arrive.
    pub interface: Interface,
}

/// How a socket sends to groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MulticastOptions {
    /// Routers a datagram may pass: 0 stays in this host, 1 in this network.
    pub ttl: u8,
    /// Where datagrams leave. For IPv6 groups over `lo` the host needs a route first:
    /// `ip -6 route add local ff00::/8 dev lo table local`.
    pub interface: Interface,
    /// Whether members on this host hear what it sends. (Over `lo` they always do.)
    pub loopback: bool,
}

impl Default for MulticastOptions {
    fn default() -> Self {
        Self { ttl: 1, interface: Interface::Default, loopback: true }
    }
}

/// The address to bind: link-local IPv6 addresses and groups get the interface they need from the
/// group joined, else from the interface to send by, if they name none.
pub(super) fn scoped(config: &SocketConfig) -> Result<SocketAddr, OpenError> {
    let SocketAddr::V6(bind) = config.bind else { return Ok(config.bind) };
    let ip = bind.ip();
    // ff01::/16 and ff02::/16: the scope is the interface and the link (RFC 4291, section 2.7).
    let of_link =
        ip.is_unicast_link_local() || (ip.is_multicast() && matches!(ip.octets()[1] & 15, 1 | 2));
    if !of_link || bind.scope_id() != 0 {
        return Ok(config.bind);
    }
    let joined = config.groups.first().map(|join| &join.interface);
    let index = joined.unwrap_or(&config.multicast.interface).index_v6()?;
    Ok(SocketAddrV6::new(*ip, bind.port(), bind.flowinfo(), index).into())
}

/// Sets how the socket sends to groups, and that it hears only groups it joined itself.
pub(super) fn prepare(
    socket: &Socket,
    bind: SocketAddr,
    config: &SocketConfig,
) -> Result<(), OpenError> {
    let options = &config.multicast;
    let failed = |step: &'static str| move |error| OpenError::from_io(step, bind, error);
    let unreachable = |error: io::Error| match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL | libc::ENODEV | libc::EINVAL) => OpenError::NoInterface {
            interface: options.interface.clone(),
            reason: "no such interface to send multicast by",
        },
        _ => OpenError::from_io("IP_MULTICAST_IF", bind, error),
    };
    if bind.is_ipv6() {
        socket.set_multicast_hops_v6(options.ttl.into()).map_err(failed("IPV6_MULTICAST_HOPS"))?;
        socket.set_multicast_loop_v6(options.loopback).map_err(failed("IPV6_MULTICAST_LOOP"))?;
        // Linux 4.20; older kernels let a wildcard socket hear every joined group of the host.
        let _ = socket.set_multicast_all_v6(false);
        return match options.interface.index_v6()? {
            0 => Ok(()),
            index => socket.set_multicast_if_v6(index).map_err(unreachable),
        };
    }
    socket.set_multicast_ttl_v4(options.ttl.into()).map_err(failed("IP_MULTICAST_TTL"))?;
    socket.set_multicast_loop_v4(options.loopback).map_err(failed("IP_MULTICAST_LOOP"))?;
    socket.set_multicast_all_v4(false).map_err(failed("IP_MULTICAST_ALL"))?;
    if let Interface::Address(address) = &options.interface {
        return socket.set_multicast_if_v4(address).map_err(unreachable);
    }
    match options.interface.index()? {
        None => Ok(()),
        Some(index) => sys::set_multicast_interface(socket.as_fd(), index).map_err(unreachable),
    }
}

/// Joins the groups.
pub(super) fn join(socket: &Socket, config: &SocketConfig) -> Result<(), OpenError> {
    for GroupJoin { group, interface } in &config.groups {
        if !group.is_multicast() {
            return Err(OpenError::NotMulticast(*group));
        }
        let joined = match group {
            _ if group.is_ipv4() != config.bind.is_ipv4() => {
                return Err(OpenError::FamilyMismatch { group: *group, bind: config.bind });
            }
            IpAddr::V4(group) => {
                let chosen = match (interface, interface.index()?) {
                    (Interface::Address(address), _) => InterfaceIndexOrAddress::Address(*address),
                    (_, Some(index)) => InterfaceIndexOrAddress::Index(index),
                    _ => InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED),
                };
                socket.join_multicast_v4_n(group, &chosen)
            }
            IpAddr::V6(group) => socket.join_multicast_v6(group, interface.index_v6()?),
        };
        joined.map_err(|error| OpenError::from_join(*group, interface, config.bind, error))?;
    }
    Ok(())
}

//! Whether the system knows a way to the target, asked before anything is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::{Context as _, Result, bail};
use wireloom::Target;

/// Asks the system for a route before anything is read: a datagram without one would only be
/// counted as refused.
pub(super) fn check_route(target: &Target) -> Result<()> {
    let Some(address) = target.address() else { return Ok(()) };
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let scratch = UdpSocket::bind((any, 0))
        .with_context(|| format!("this host has no {family} socket for {target}"))?;
    // Without permission to broadcast, connect(2) would refuse such an address.
    let _ = scratch.set_broadcast(true);
    let Err(error) = scratch.connect(address) else { return Ok(()) };
    bail!("no route to {target} ({error}): {}", way_out(target))
}

/// What to do when the system knows no way to a target.
pub(super) fn way_out(target: &Target) -> String {
    match target {
        Target::Multicast(SocketAddr::V4(_)) => "name an interface with --interface, or add a \
            route: `ip route add 224.0.0.0/4 dev IFACE`"
            .to_owned(),
        Target::Multicast(SocketAddr::V6(_)) => "name an interface with --interface, or add a \
            route: `ip -6 route add multicast ff00::/8 dev IFACE table local`"
            .to_owned(),
        other => {
            let address = other.address().map_or_else(|| "ADDRESS".into(), |a| a.ip().to_string());
            format!("`ip route get {address}` shows the route, `nft list ruleset` what is filtered")
        }
    }
}

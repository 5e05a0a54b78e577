//! Whether there is a way to the target, asked before anything is read: a route of the system, or
//! a member of the cluster.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use wireloom::{Interface, Node, Ready, Target};
use wireloom_wire::event_type_id;

use super::TELL_WAITING;
use crate::args::PublishArgs;
use crate::output::Output;
use crate::stop::Stop;

/// How long a look at the members lasts before the signals are looked at again.
const LOOK: Duration = Duration::from_millis(50);

/// Whether the target is a member, or several, of a cluster.
pub(super) fn is_in_cluster(target: &Target) -> bool {
    match target {
        Target::Named(_) | Target::Service(..) | Target::Interested | Target::Auto => true,
        Target::Reliably(target) | Target::Fast(target) => is_in_cluster(target),
        Target::AnyOf(targets) => targets.iter().any(is_in_cluster),
        _ => false,
    }
}

/// The address to send from: loopback for loopback targets and for groups on the loopback
/// interface, else every address, because a socket bound to 127.0.0.1 reaches no other machine.
pub(super) fn source(to: Option<SocketAddr>, interface: Option<&Interface>) -> IpAddr {
    let stays_here = matches!(interface, Some(Interface::Address(on)) if on.is_loopback());
    match to.map(|address| address.ip()) {
        Some(IpAddr::V4(ip)) if ip.is_multicast() && stays_here => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V4(ip)) if !ip.is_loopback() => Ipv4Addr::UNSPECIFIED.into(),
        Some(IpAddr::V6(ip)) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        Some(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::LOCALHOST.into(),
    }
}

/// Waits until the cluster knows whom the events are for, `--wait` at most.
pub(super) fn wait_for_way(
    args: &PublishArgs,
    node: &Node,
    (stop, output): (&Stop, &Output),
) -> Result<()> {
    let needs = Ready::to(&args.to, event_type_id(&args.event_type));
    if needs.is_nothing() {
        return Ok(());
    }
    let until = Instant::now() + args.wait;
    let mut told = Instant::now();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let Err(missing) = node.ready(&needs, LOOK.min(left)) else { return Ok(()) };
        if stop.is_wished() || left.is_zero() {
            bail!("nothing was published to {}: {missing}", args.to);
        }
        if told.elapsed() > TELL_WAITING {
            output.hint(format_args!("waiting for {}: {missing}", args.to));
            told = Instant::now();
        }
    }
}

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

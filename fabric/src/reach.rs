//! How far a node can be reached, and whether it may be.
//!
//! Asked once, before a node's sockets are opened. A node that proves to nobody who it is, and asks
//! nobody who they are, stays on its host unless it is told that it may be reached from elsewhere.

use std::net::IpAddr;

use wireloom_dataplane::config::PlaneConfig;
use wireloom_dataplane::socket::Interface;

/// The places at which other hosts reach a node of this plan, for a person: `0.0.0.0:9000`,
/// `group 239.1.1.1:7000 on eth0`.
pub(crate) fn beyond_this_host(plane: &PlaneConfig) -> Vec<String> {
    let listen = (!plane.listen.ip().is_loopback()).then(|| plane.listen.to_string());
    let groups = plane.groups.iter().filter(|group| !is_loopback(&group.join.interface));
    let groups = groups.map(|group| {
        let (ip, port, on) = (group.join.group, group.port, &group.join.interface);
        match ip {
            IpAddr::V4(ip) => format!("group {ip}:{port} on interface {on}"),
            IpAddr::V6(ip) => format!("group [{ip}]:{port} on interface {on}"),
        }
    });
    listen.into_iter().chain(groups).collect()
}

/// Whether no other host sends to it.
fn is_loopback(interface: &Interface) -> bool {
    match interface {
        Interface::Address(address) => address.is_loopback(),
        Interface::Name(name) => name == "lo",
        // The loopback interface is the first that a kernel makes.
        Interface::Index(index) => *index == 1,
        Interface::Default => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use wireloom_dataplane::config::GroupMembership;
    use wireloom_dataplane::socket::GroupJoin;

    #[test]
    fn what_other_hosts_reach_is_named() {
        let beyond = |listen: &str, interface| {
            let mut plane = PlaneConfig::new(listen.parse().expect("an address"));
            plane.groups = vec![GroupMembership {
                join: GroupJoin { group: [239, 1, 1, 1].into(), interface },
                port: 7,
            }];
            beyond_this_host(&plane)
        };
        let here = || Interface::Address(Ipv4Addr::LOCALHOST);
        for listen in ["127.0.0.1:0", "127.8.0.1:9", "[::1]:0"] {
            assert_eq!(beyond(listen, here()), [] as [&str; 0], "{listen}");
        }
        for listen in ["0.0.0.0:9", "[::]:9", "10.0.0.1:9", "[fe80::1]:9"] {
            assert_eq!(beyond(listen, here()), [listen]);
        }
        for interface in [Interface::Name("lo".into()), Interface::Index(1)] {
            assert_eq!(beyond("127.0.0.1:0", interface), [] as [&str; 0]);
        }
        for interface in [
            Interface::Default,
            Interface::Index(2),
            Interface::Name("eth0".into()),
            Interface::Address([10, 0, 0, 1].into()),
        ] {
            let expected = format!("group 239.1.1.1:7 on interface {interface}");
            assert_eq!(beyond("127.0.0.1:0", interface), [expected]);
        }
    }
}

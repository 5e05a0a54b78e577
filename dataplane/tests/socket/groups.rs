//! Multicast and broadcast over the loopback interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wireloom_dataplane::io::mio::{MioReceive, MioTransmit};
use wireloom_dataplane::io::{Destination, Message, Receive, Transmit};
use wireloom_dataplane::socket::{GroupJoin, Interface, MulticastOptions, SocketConfig};

use super::{heard, loopback, opened};
use crate::support::inside_namespace;

const LO: u32 = 1;

fn member(bind: SocketAddr, group: IpAddr, interface: Interface) -> SocketConfig {
    let groups = vec![GroupJoin { group, interface }];
    SocketConfig { groups, reuse_address: true, ..SocketConfig::new(bind) }
}

fn sending(bind: SocketAddr, interface: Interface) -> SocketConfig {
    let multicast = MulticastOptions { interface, ..MulticastOptions::default() };
    SocketConfig { multicast, ..SocketConfig::new(bind) }
}

/// All ways to name the loopback interface.
fn names() -> [Interface; 3] {
    [Interface::Address(Ipv4Addr::LOCALHOST), Interface::Index(LO), Interface::Name("lo".into())]
}

#[test]
fn a_group_is_heard_by_its_members_only() {
    let any: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
    for (number, interface) in (1..).zip(names()) {
        let group: IpAddr = Ipv4Addr::new(239, 9, 9, number).into();
        let first = opened(&member(any, group, interface.clone()));
        let port = first.report.local.port();
        let at_group = SocketAddr::new(group, port);
        // Bound to the group itself, or to everything and another group.
        let second = opened(&member(at_group, group, interface.clone()));
        let other: IpAddr = Ipv4Addr::new(239, 9, 8, number).into();
        let stranger = opened(&member(SocketAddr::new(any.ip(), port), other, interface.clone()));
        let sender = opened(&sending(any, interface.clone())).socket;
        sender.send_to(b"to the group", at_group).unwrap();
        assert_eq!(heard(&first.socket).as_deref(), Some(&b"to the group"[..]), "{interface}");
        assert_eq!(heard(&second.socket).as_deref(), Some(&b"to the group"[..]), "{interface}");
        assert_eq!(heard(&stranger.socket), None, "{interface}");
    }
}

/// The loopback interface gives back what it is sent whatever the option says, so this needs a pair
/// of others.
#[test]
fn the_loopback_option_off_keeps_datagrams_from_this_host() {
    let name = "groups::the_loopback_option_off_keeps_datagrams_from_this_host";
    let script = "ip link add d0 type veth peer name d1 && ip addr add 10.77.0.1/24 dev d0 && \
                  ip -6 addr add fd00:77::1/64 dev d0 nodad && ip link set d0 up && \
                  ip link set d1 up";
    if !inside_namespace(name, script) {
        return;
    }
    for (any, group) in [("0.0.0.0:0", "239.9.7.1"), ("[::]:0", "ff15::71")] {
        let (any, group): (SocketAddr, IpAddr) = (any.parse().unwrap(), group.parse().unwrap());
        let d0 = || Interface::Name("d0".into());
        let listener = opened(&member(any, group, d0()));
        let at_group = SocketAddr::new(group, listener.report.local.port());
        let mut config = sending(any, d0());
        config.multicast.loopback = false;
        opened(&config).socket.send_to(b"not for us", at_group).unwrap();
        assert_eq!(heard(&listener.socket), None);
        config.multicast.loopback = true;
        opened(&config).socket.send_to(b"for us", at_group).unwrap();
        assert_eq!(heard(&listener.socket).as_deref(), Some(&b"for us"[..]));
    }
}

#[test]
fn the_time_to_live_is_as_configured() {
    for ttl in [0, 1, 64, 255] {
        let mut config = loopback();
        config.multicast.ttl = ttl;
        assert_eq!(opened(&config).socket.multicast_ttl_v4().unwrap(), u32::from(ttl));
        config.bind = (Ipv6Addr::LOCALHOST, 0).into();
        let socket = socket2::Socket::from(opened(&config).socket);
        assert_eq!(socket.multicast_hops_v6().unwrap(), u32::from(ttl));
    }
}

/// The loopback interface has no route for IPv6 groups of its own, so this runs where it gets one.
#[test]
fn an_ipv6_group_is_heard_by_its_members_only() {
    let name = "groups::an_ipv6_group_is_heard_by_its_members_only";
    let script = "ip link set lo up && ip -6 route add local ff00::/8 dev lo table local";
    if !inside_namespace(name, script) {
        return;
    }
    let any: SocketAddr = (Ipv6Addr::UNSPECIFIED, 0).into();
    for group in ["ff15::77", "ff02::77", "ff01::77"] {
        for interface in [Interface::Index(LO), Interface::Name("lo".into())] {
            let group: IpAddr = group.parse().unwrap();
            let first = opened(&member(any, group, interface.clone()));
            let port = first.report.local.port();
            // Groups of the link get their scope from the interface.
            let second = opened(&member(SocketAddr::new(group, port), group, interface.clone()));
            let other: IpAddr = "ff15::78".parse().unwrap();
            let elsewhere = SocketAddr::new(any.ip(), port);
            let stranger = opened(&member(elsewhere, other, interface.clone()));
            let sender = opened(&sending(any, interface.clone())).socket;
            sender.send_to(b"six", SocketAddr::new(group, port)).unwrap();
            assert_eq!(heard(&first.socket).as_deref(), Some(&b"six"[..]), "{group} {interface}");
            assert_eq!(heard(&second.socket).as_deref(), Some(&b"six"[..]), "{group} {interface}");
            assert_eq!(heard(&stranger.socket), None, "{group} {interface}");
        }
    }
}

/// A run goes to a group as to anybody: one segmented send, every member gets every datagram.
#[test]
fn a_segmented_run_reaches_every_member() {
    let any: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
    let group: IpAddr = Ipv4Addr::new(239, 9, 6, 1).into();
    let lo = Interface::Index(LO);
    let first = opened(&member(any, group, lo.clone()));
    let at_group = SocketAddr::new(group, first.report.local.port());
    let second = opened(&member(at_group, group, lo.clone()));
    let mut transmit = MioTransmit::new(vec![opened(&sending(any, lo)).socket]).unwrap();
    let destination = Destination::new(0, at_group);
    let run: Vec<u8> = (0..230).collect();
    let slices = [std::io::IoSlice::new(&run)];
    let sent = transmit.send(&[Message::segmented(&destination, &slices, 50)]);
    assert_eq!((sent.messages, sent.failed_datagrams), (1, 0));
    assert_eq!(transmit.counters().calls, 1);
    for socket in [first.socket, second.socket] {
        let mut receive = MioReceive::new(vec![socket]).unwrap();
        let mut datagrams = Vec::new();
        let received = receive.receive(&mut |arrival| {
            datagrams.extend(arrival.datagrams().map(<[u8]>::to_vec));
        });
        assert_eq!(received.datagrams, 5);
        assert!(datagrams.iter().map(Vec::as_slice).eq(run.chunks(50)));
    }
}

#[test]
fn a_broadcast_needs_permission_and_reaches_the_host() {
    let listener = opened(&SocketConfig::new((Ipv4Addr::UNSPECIFIED, 0).into()));
    let port = listener.report.local.port();
    let everybody = Destination::new(0, (Ipv4Addr::new(127, 255, 255, 255), port).into());
    let slices = [std::io::IoSlice::new(b"everybody")];
    let message = [Message::single(&everybody, &slices)];
    for (broadcast, refused) in [(true, 0), (false, 1)] {
        let socket = opened(&SocketConfig { broadcast, ..loopback() }).socket;
        let mut transmit = MioTransmit::new(vec![socket]).unwrap();
        let sent = transmit.send(&message);
        assert_eq!((sent.messages, sent.failed_datagrams), (1, refused));
    }
    assert_eq!(heard(&listener.socket).as_deref(), Some(&b"everybody"[..]));
    assert_eq!(heard(&listener.socket), None);
}

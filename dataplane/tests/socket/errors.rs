//! Each failure has its own variant, and its line names what failed and what to do.

use std::net::{Ipv4Addr, SocketAddr};

use wireloom_dataplane::socket::{
    GroupJoin, Interface, MulticastOptions, OpenError, SocketConfig, open,
};

use super::{loopback, opened};
use crate::support::{inside_namespace, inside_unprivileged};

/// The error of `config`, whose line must be one line and hold all of `words`.
fn refused(config: &SocketConfig, words: &[&str]) -> OpenError {
    let error = open(config).expect_err("must not open");
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    for word in words {
        assert!(line.contains(word), "no {word:?} in: {line}");
    }
    println!("{line}");
    error
}

fn joining(bind: &str, group: &str, interface: Interface) -> SocketConfig {
    let group = group.parse().unwrap();
    let groups = vec![GroupJoin { group, interface }];
    SocketConfig { groups, ..SocketConfig::new(bind.parse().unwrap()) }
}

#[test]
fn a_port_in_use() {
    let local = opened(&loopback());
    let port = local.report.local.port().to_string();
    let config = SocketConfig::new(local.report.local);
    let error = refused(&config, &[&port, "127.0.0.1", "in use", "ss -ulpn"]);
    assert!(matches!(error, OpenError::PortInUse(_)));
    // Sharing needs both sides.
    let error = refused(&SocketConfig { reuse_port: true, ..config }, &["in use"]);
    assert!(matches!(error, OpenError::PortInUse(_)));
}

#[test]
fn a_port_below_the_limit_without_permission() {
    if !inside_unprivileged("errors::a_port_below_the_limit_without_permission") {
        return;
    }
    let config = SocketConfig::new((Ipv4Addr::LOCALHOST, 7).into());
    let error = refused(&config, &["no permission", "127.0.0.1:7", "1024", "setcap"]);
    assert!(matches!(error, OpenError::NoPermission { .. }));
}

#[test]
fn an_address_of_somebody_else() {
    let config = SocketConfig::new("203.0.113.7:0".parse().unwrap());
    let error = refused(&config, &["203.0.113.7", "ip -brief address", "0.0.0.0"]);
    assert!(matches!(error, OpenError::NoAddress(_)));
    let config = SocketConfig::new("[2001:db8::7]:0".parse().unwrap());
    assert!(matches!(refused(&config, &["2001:db8::7", "[::]"]), OpenError::NoAddress(_)));
}

#[test]
fn groups_that_are_none_or_of_the_other_family() {
    let error = refused(&joining("0.0.0.0:0", "10.1.1.1", Interface::Default), &["10.1.1.1"]);
    assert!(matches!(error, OpenError::NotMulticast(_)));
    let error = refused(&joining("0.0.0.0:0", "ff02::9", Interface::Default), &["ff02::9", "[::]"]);
    assert!(matches!(error, OpenError::FamilyMismatch { .. }));
    let error = refused(&joining("[::]:0", "224.1.1.1", Interface::Default), &["0.0.0.0"]);
    assert!(matches!(error, OpenError::FamilyMismatch { .. }));
}

#[test]
fn interfaces_that_do_not_exist() {
    let named = || Interface::Name("nosuch0".into());
    for bind in ["0.0.0.0:0", "[::]:0"] {
        let group = if bind.starts_with('[') { "ff15::9" } else { "224.1.1.1" };
        let error = refused(&joining(bind, group, named()), &["nosuch0", "ip -brief"]);
        assert!(matches!(error, OpenError::NoInterface { .. }));
        let error = refused(&joining(bind, group, Interface::Index(9_999)), &["#9999"]);
        assert!(matches!(error, OpenError::NoMulticastRoute { .. }));
        for interface in [named(), Interface::Index(9_999), Interface::Index(0)] {
            let multicast = MulticastOptions { interface, ..MulticastOptions::default() };
            let config = SocketConfig { multicast, ..SocketConfig::new(bind.parse().unwrap()) };
            assert!(matches!(refused(&config, &[]), OpenError::NoInterface { .. }));
        }
    }
    let by_address = Interface::Address(Ipv4Addr::LOCALHOST);
    let error = refused(&joining("[::]:0", "ff15::9", by_address), &["127.0.0.1", "name or index"]);
    assert!(matches!(error, OpenError::NoInterface { .. }));
    let multicast = MulticastOptions {
        interface: Interface::Address(Ipv4Addr::new(203, 0, 113, 7)),
        ..MulticastOptions::default()
    };
    let error = refused(&SocketConfig { multicast, ..loopback() }, &["203.0.113.7"]);
    assert!(matches!(error, OpenError::NoInterface { .. }));
    let nul = Interface::Name("a\0b".into());
    let error = refused(&joining("0.0.0.0:0", "224.1.1.1", nul), &[]);
    assert!(matches!(error, OpenError::NoInterface { .. }));
}

#[test]
fn no_route_to_a_group() {
    if !inside_namespace("errors::no_route_to_a_group", "ip link set lo up") {
        return;
    }
    let words = ["224.1.1.1", "default", "ip route add 224.0.0.0/4"];
    let error = refused(&joining("0.0.0.0:0", "224.1.1.1", Interface::Default), &words);
    assert!(matches!(error, OpenError::NoMulticastRoute { .. }));
}

#[test]
fn one_membership_too_many() {
    let mut config = loopback();
    config.bind = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let limit: u8 = std::fs::read_to_string("/proc/sys/net/ipv4/igmp_max_memberships")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(u8::MAX);
    if limit > 100 {
        println!("SKIPPED: this host allows more than 100 memberships");
        return;
    }
    config.groups = (0..=limit)
        .map(|number| GroupJoin {
            group: Ipv4Addr::new(239, 1, 1, number).into(),
            interface: Interface::Name("lo".into()),
        })
        .collect();
    let error = refused(&config, &["239.1.1", "igmp_max_memberships"]);
    assert!(matches!(error, OpenError::TooManyGroups(_)));
}

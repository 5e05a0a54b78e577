//! Opening sockets: what the report says is what the kernel does, and each failure says what to do.
//! Multicast and broadcast go over the loopback interface only.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

#[path = "socket/errors.rs"]
mod errors;
#[path = "socket/groups.rs"]
mod groups;
#[path = "support/mod.rs"]
mod support;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use wireloom_dataplane::socket::{OpenSocket, SocketConfig, open, path_packet_bytes};

use crate::support::{inside_namespace, inside_unprivileged};

/// A socket on loopback, on a free port.
fn loopback() -> SocketConfig {
    SocketConfig::new((Ipv4Addr::LOCALHOST, 0).into())
}

fn opened(config: &SocketConfig) -> OpenSocket {
    open(config).unwrap_or_else(|error| panic!("{error}"))
}

/// What arrives within 100 ms, if anything.
fn heard(socket: &UdpSocket) -> Option<Vec<u8>> {
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    let mut bytes = [0; 100];
    socket.recv(&mut bytes).ok().map(|length| bytes[..length].to_vec())
}

#[test]
fn the_report_says_what_the_kernel_gave() {
    let OpenSocket { socket, report } = opened(&SocketConfig {
        receive_buffer_bytes: 100_000,
        send_buffer_bytes: 50_000,
        ..loopback()
    });
    assert_eq!(report.local, socket.local_addr().unwrap());
    assert!(report.local.port() != 0);
    let (receive, send) = (report.receive_buffer, report.send_buffer);
    assert_eq!((receive.asked, receive.granted, receive.clamped), (100_000, 100_000, false));
    assert_eq!((send.asked, send.granted, send.clamped), (50_000, 50_000, false));
    assert!(report.gso && report.gro && report.overflow_counting);
    assert!(report.notes.is_empty(), "{:?}", report.notes);
    let error = socket.recv(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_default_buffers_are_reported_too() {
    let report = opened(&loopback()).report;
    assert_eq!(report.receive_buffer.asked, 0);
    assert!(report.receive_buffer.granted > 10_000 && !report.receive_buffer.clamped);
}

#[test]
fn a_clamped_buffer_is_reported_with_the_line_to_run() {
    if !inside_unprivileged("a_clamped_buffer_is_reported_with_the_line_to_run") {
        return;
    }
    let limit: usize =
        std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    let asked = 2 * limit + 2;
    let report = opened(&SocketConfig { receive_buffer_bytes: asked, ..loopback() }).report;
    let receive = report.receive_buffer;
    assert_eq!((receive.asked, receive.granted, receive.clamped), (asked, limit, true));
    assert_eq!(report.notes.len(), 1);
    let note = &report.notes[0];
    assert!(note.contains(&format!("sysctl -w net.core.rmem_max={asked}")), "{note}");
    let report = opened(&SocketConfig { receive_buffer_bytes: limit, ..loopback() }).report;
    assert!(!report.receive_buffer.clamped && report.notes.is_empty());
}

#[test]
fn a_shared_port_takes_each_source_to_one_socket() {
    let first = opened(&SocketConfig { reuse_port: true, ..loopback() });
    let local = first.report.local;
    let second = opened(&SocketConfig { reuse_port: true, ..SocketConfig::new(local) });
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for _ in 0..3 {
        sender.send_to(b"mine", local).unwrap();
    }
    let counts = [&first, &second]
        .map(|open| (0..3).take_while(|_| open.socket.recv(&mut [0; 10]).is_ok()).count());
    assert!(counts == [3, 0] || counts == [0, 3], "{counts:?}");
}

#[test]
fn an_ipv6_socket_leaves_the_port_of_ipv4_alone() {
    let any = opened(&SocketConfig::new((Ipv6Addr::UNSPECIFIED, 0).into()));
    let port = any.report.local.port();
    opened(&SocketConfig::new((Ipv4Addr::UNSPECIFIED, port).into()));
}

#[test]
fn nothing_is_fragmented_and_the_path_is_known() {
    let name = "nothing_is_fragmented_and_the_path_is_known";
    if !inside_namespace(name, "ip link set lo up mtu 1500") {
        return;
    }
    let v4: SocketAddr = (Ipv4Addr::LOCALHOST, 9).into();
    let v6: SocketAddr = (Ipv6Addr::LOCALHOST, 9).into();
    for (destination, payload) in [(v4, 1_472), (v6, 1_452)] {
        assert_eq!(path_packet_bytes(destination), Some(payload));
        let bind = SocketAddr::new(destination.ip(), 0);
        let socket = opened(&SocketConfig::new(bind)).socket;
        let bytes = vec![0; payload + 1];
        assert_eq!(socket.send_to(&bytes[..payload], destination).unwrap(), payload);
        let error = socket.send_to(&bytes, destination).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE), "{error}");
    }
    // No other route in here.
    assert_eq!(path_packet_bytes("192.0.2.1:9".parse().unwrap()), None);
}

#[test]
fn the_path_over_loopback_takes_the_largest_datagram() {
    assert_eq!(path_packet_bytes((Ipv4Addr::LOCALHOST, 9).into()), Some(65_507));
    assert_eq!(path_packet_bytes((Ipv6Addr::LOCALHOST, 9).into()), Some(65_536 - 48));
}

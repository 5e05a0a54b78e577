//! Opens UDP sockets and says what the kernel really gave. Used when the node starts, never by a
//! worker; nothing here sends.

mod direct;
mod error;
mod multicast;
mod path;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};

pub(crate) use self::direct::{share_port, source_towards};
pub use self::error::OpenError;
pub use self::multicast::{GroupJoin, Interface, MulticastOptions};
pub use self::path::path_packet_bytes;

use crate::sys;

/// What a socket should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketConfig {
    /// Address and port; port 0 lets the system choose. A group address receives only that group.
    pub bind: SocketAddr,
    /// Groups to join, of the family of `bind`. The socket hears no group it did not join itself.
    pub groups: Vec<GroupJoin>,
    /// How multicast is sent.
    pub multicast: MulticastOptions,
    /// Whether broadcast may be sent (`SO_BROADCAST`).
    pub broadcast: bool,
    /// Bytes of payload and bookkeeping that may wait for a reader; the kernel charges 832 bytes
    /// for a 64-byte datagram. 0 keeps the system's default.
    pub receive_buffer_bytes: usize,
    /// Bytes that may wait for the device; 0 keeps the system's default.
    pub send_buffer_bytes: usize,
    /// Let a reader that finds nothing poll the network card this long, µs, instead of waiting for
    /// its interrupt (`SO_BUSY_POLL`), and hold interrupts back meanwhile (`SO_PREFER_BUSY_POLL`).
    /// 0 leaves it to the system. No effect on loopback.
    pub busy_poll_us: u32,
    /// Share the port with other sockets of this user; each source stays with one of them
    /// (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Share a group's port with other programs; each gets every datagram (`SO_REUSEADDR`).
    pub reuse_address: bool,
}

impl SocketConfig {
    /// A socket bound to `bind` with the system's defaults.
    #[must_use]
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            groups: Vec::new(),
            multicast: MulticastOptions::default(),
            broadcast: false,
            receive_buffer_bytes: 0,
            send_buffer_bytes: 0,
            busy_poll_us: 0,
            reuse_port: false,
            reuse_address: false,
        }
    }
}

/// What was asked of a buffer and what the kernel granted, in the kernel's figure (twice what
/// `SO_RCVBUF` is set to, `socket(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferReport {
    /// Bytes asked for; 0 is the system's default.
    pub asked: usize,
    /// Bytes usable: half of what the kernel reports, since it doubles what it is asked.
    pub granted: usize,
    /// The kernel granted less than was asked, without an error.
    pub clamped: bool,
}

/// What the kernel gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketReport {
    /// The address and port bound.
    pub local: SocketAddr,
    /// The receive buffer.
    pub receive_buffer: BufferReport,
    /// The send buffer.
    pub send_buffer: BufferReport,
    /// Segmented sends are available (`UDP_SEGMENT`).
    pub gso: bool,
    /// Joined arrivals are available (`UDP_GRO`).
    pub gro: bool,
    /// The kernel counts what it drops (`SO_RXQ_OVFL`).
    pub overflow_counting: bool,
    /// What an operator should know, each with the command that changes it.
    pub notes: Vec<String>,
}

/// An open socket, non-blocking, and what the kernel gave.
#[derive(Debug)]
pub struct OpenSocket {
    /// The socket.
    pub socket: UdpSocket,
    /// What the kernel gave.
    pub report: SocketReport,
}

/// A socket that is set up but has no address yet.
struct Prepared {
    socket: Socket,
    receive_buffer: BufferReport,
    send_buffer: BufferReport,
    notes: Vec<String>,
}

/// Opens a UDP socket: never fragmented on the way (DF set), IPv6 sockets for IPv6 only.
///
/// # Errors
/// [`OpenError`]; each says in one line what to do. Nothing stays open.
pub fn open(config: &SocketConfig) -> Result<OpenSocket, OpenError> {
    let bind = multicast::scoped(config)?;
    let failed = |step: &'static str| move |error| OpenError::from_io(step, bind, error);
    let Prepared { socket, receive_buffer, send_buffer, mut notes } = prepare(config, bind)?;
    multicast::prepare(&socket, bind, config)?;
    socket.bind(&bind.into()).map_err(failed("bind"))?;
    multicast::join(&socket, config)?;
    let socket = UdpSocket::from(socket);
    let local = socket.local_addr().map_err(failed("getsockname"))?;
    let probe = probe(&socket, &mut notes);
    let [gso, gro, overflow_counting] = probe;
    let report =
        SocketReport { local, receive_buffer, send_buffer, gso, gro, overflow_counting, notes };
    Ok(OpenSocket { socket, report })
}

/// Opens a UDP socket like [`open`] would, without an address: `config.bind` says which family.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_unbound(config: &SocketConfig) -> Result<UdpSocket, OpenError> {
    prepare(config, config.bind).map(|prepared| prepared.socket.into())
}

fn prepare(config: &SocketConfig, bind: SocketAddr) -> Result<Prepared, OpenError> {
    let failed = |step: &'static str| move |error| OpenError::from_io(step, bind, error);
    let socket = Socket::new(
        Domain::for_address(bind),
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )
    .map_err(failed("socket"))?;
    if config.reuse_address {
        socket.set_reuse_address(true).map_err(failed("SO_REUSEADDR"))?;
    }
    if config.reuse_port {
        socket.set_reuse_port(true).map_err(failed("SO_REUSEPORT"))?;
    }
    if bind.is_ipv6() {
        socket.set_only_v6(true).map_err(failed("IPV6_V6ONLY"))?;
    }
    if config.broadcast && bind.is_ipv4() {
        socket.set_broadcast(true).map_err(failed("SO_BROADCAST"))?;
    }
    never_fragment(&socket, bind).map_err(failed("IP_MTU_DISCOVER"))?;
    let mut notes = Vec::new();
    let receive_buffer = Buffer::RECEIVE
        .size(&socket, config.receive_buffer_bytes, &mut notes)
        .map_err(failed("SO_RCVBUF"))?;
    let send_buffer = Buffer::SEND
        .size(&socket, config.send_buffer_bytes, &mut notes)
        .map_err(failed("SO_SNDBUF"))?;
    busy_poll(&socket, config.busy_poll_us, &mut notes);
    Ok(Prepared { socket, receive_buffer, send_buffer, notes })
}

/// ip(7): `IP_PMTUDISC_DO` "forces the don't-fragment flag to be set on all outgoing packets. […]
/// The kernel will reject (with EMSGSIZE) datagrams that are bigger than the known path MTU."
fn never_fragment(socket: &Socket, bind: SocketAddr) -> io::Result<()> {
    let (level, name, value) = if bind.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO)
    };
    sys::set_option(socket.as_fd(), level, name, value)
}

/// socket(7), SO_BUSY_POLL: "sets the approximate time in microseconds to busy poll on a blocking
/// receive when there is no data. Increasing this value requires CAP_NET_ADMIN." An optimisation:
/// what is refused is a note.
fn busy_poll(socket: &Socket, busy_poll_us: u32, notes: &mut Vec<String>) {
    if busy_poll_us == 0 {
        return;
    }
    let descriptor = socket.as_fd();
    let value = libc::c_int::try_from(busy_poll_us).unwrap_or(libc::c_int::MAX);
    if let Err(error) = sys::set_option(descriptor, libc::SOL_SOCKET, libc::SO_BUSY_POLL, value) {
        notes.push(format!(
            "busy polling for {busy_poll_us} µs was refused ({error}): run with CAP_NET_ADMIN, or \
             for every socket: sysctl -w net.core.busy_read={busy_poll_us}"
        ));
        return;
    }
    if sys::set_option(descriptor, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, 1).is_err() {
        notes.push("no SO_PREFER_BUSY_POLL (Linux 5.11): interrupts come while polling".into());
    }
}

/// What this kernel has of GSO, GRO and drop counting. The socket is left without GRO: whoever
/// receives switches it on, since it changes what a receive returns.
fn probe(socket: &UdpSocket, notes: &mut Vec<String>) -> [bool; 3] {
    let descriptor = socket.as_fd();
    let gso = sys::option(descriptor, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
    let gro = sys::set_option(descriptor, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok()
        && sys::set_option(descriptor, libc::SOL_UDP, libc::UDP_GRO, 0).is_ok();
    let counting = sys::set_option(descriptor, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1).is_ok();
    if !gso {
        notes.push("no UDP_SEGMENT (Linux 4.18): each datagram costs a full send".into());
    }
    if !gro {
        notes.push("no UDP_GRO (Linux 5.0): each datagram costs a full receive".into());
    }
    if !counting {
        notes.push("no SO_RXQ_OVFL: drops by the kernel show only as lost events".into());
    }
    [gso, gro, counting]
}

/// One of a socket's two buffers.
struct Buffer {
    name: libc::c_int,
    forced: libc::c_int,
    sysctl: &'static str,
    side: &'static str,
}

impl Buffer {
    const RECEIVE: Self = Self {
        name: libc::SO_RCVBUF,
        forced: libc::SO_RCVBUFFORCE,
        sysctl: "net.core.rmem_max",
        side: "receive",
    };
    const SEND: Self = Self {
        name: libc::SO_SNDBUF,
        forced: libc::SO_SNDBUFFORCE,
        sysctl: "net.core.wmem_max",
        side: "send",
    };

    /// Asks for `asked` bytes: first as a privileged process may, beyond the sysctl; then as
    /// anyone, and the kernel silently stops at the sysctl. Reads back what came of it.
    fn size(
        &self,
        socket: &Socket,
        asked: usize,
        notes: &mut Vec<String>,
    ) -> io::Result<BufferReport> {
        let descriptor = socket.as_fd();
        if asked > 0 {
            // The kernel doubles the value; half of c_int's range is what it can take.
            let value = libc::c_int::try_from(asked).unwrap_or(libc::c_int::MAX) / 2 * 2;
            let value = value.min(libc::c_int::MAX / 2);
            if sys::set_option(descriptor, libc::SOL_SOCKET, self.forced, value).is_err() {
                sys::set_option(descriptor, libc::SOL_SOCKET, self.name, value)?;
            }
        }
        let reported = sys::option(descriptor, libc::SOL_SOCKET, self.name)?;
        let granted = usize::try_from(reported).unwrap_or(0) / 2;
        let clamped = granted + 1 < asked;
        if clamped {
            notes.push(format!(
                "{} buffer: asked for {asked} bytes, the kernel granted {granted}; \
                 raise the limit: sysctl -w {}={asked}",
                self.side, self.sysctl,
            ));
        }
        Ok(BufferReport { asked, granted, clamped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn busy_poll_of(busy_poll_us: u32) -> (libc::c_int, Vec<String>) {
        let config = SocketConfig::new((Ipv4Addr::LOCALHOST, 0).into());
        let opened = open(&SocketConfig { busy_poll_us, ..config }).unwrap();
        let socket = opened.socket.as_fd();
        let granted = sys::option(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL).unwrap();
        (granted, opened.report.notes)
    }

    #[test]
    fn busy_polling_is_set_or_its_refusal_noted() {
        let (usual, notes) = busy_poll_of(0);
        assert!(notes.is_empty(), "{notes:?}");
        let asked = usual + 50;
        let (granted, notes) = busy_poll_of(asked.unsigned_abs());
        let refused = notes.iter().any(|note| note.contains("net.core.busy_read="));
        assert_eq!(granted, if refused { usual } else { asked }, "{notes:?}");
    }
}

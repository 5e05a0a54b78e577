//! The sockets' way out and way in: `sendmmsg` and `recvmmsg`, with GSO and GRO where the kernel
//! has them. Owned by one agent each; a spinning worker calls straight into the kernel, a parked
//! one sleeps in the [`Poller`], which is where mio comes in.
//!
//! Why GSO and GRO: a datagram costs 1–2 µs of kernel time however many go in one call; a segment
//! of a run costs 20–90 ns. `sendmmsg` is for several destinations and for kernels without GSO.

mod receive;
mod transmit;

use std::io::IoSlice;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::OnceLock;

pub use self::receive::MioReceive;
pub use self::transmit::MioTransmit;
#[cfg(feature = "io-uring")]
pub(super) use self::transmit::SendCalls;

use super::address::KernelAddress;
use super::{DATAGRAM_BYTES_MAX, Segmentation};
use crate::poller::Poller;
use crate::sys;

/// What to use of what the kernel has. The default is everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MioOptions {
    /// Segmented sends (GSO, `UDP_SEGMENT`, Linux 4.18).
    pub segmentation: bool,
    /// Joined arrivals (GRO, `UDP_GRO`, Linux 5.0).
    pub coalescing: bool,
    /// Length of a receive slot. Anything longer is dropped and counted, and 65,536 holds every
    /// datagram and every joined run.
    pub slot_bytes: usize,
}

impl Default for MioOptions {
    fn default() -> Self {
        Self { segmentation: true, coalescing: true, slot_bytes: 65_536 }
    }
}

/// What this kernel's GSO takes, found out once by sending to a socket of our own on loopback.
pub(super) fn kernel_segmentation() -> Segmentation {
    static FOUND: OnceLock<Segmentation> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // UDP_MAX_SEGMENTS: 128 since Linux 6.9, 64 before.
        let max_segments = [128, 64].into_iter().find(|segments| takes(*segments));
        max_segments.map_or(Segmentation::NONE, |max_segments| Segmentation {
            max_segments,
            max_bytes: DATAGRAM_BYTES_MAX,
        })
    })
}

/// Whether the kernel takes a run of `segments` one-byte datagrams.
fn takes(segments: usize) -> bool {
    let scratch = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        Some((KernelAddress::from(socket.local_addr().ok()?), socket))
    };
    let Some((address, socket)) = scratch() else {
        // No IPv4 loopback to try on: ask whether the option exists and assume the older limit.
        return segments == 64 && knows_segmentation();
    };
    let bytes = [0; 128];
    let slices = [IoSlice::new(&bytes[..segments.min(bytes.len())])];
    let run = sys::Outgoing { address: &address, slices: &slices, segment_bytes: 1 };
    sys::send_message(socket.as_fd(), run).is_ok()
}

/// Whether the kernel knows the option at all.
fn knows_segmentation() -> bool {
    UdpSocket::bind((std::net::Ipv6Addr::LOCALHOST, 0))
        .is_ok_and(|socket| sys::option(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT).is_ok())
}

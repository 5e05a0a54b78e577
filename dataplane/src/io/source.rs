//! One receiving socket: what is switched on for it, what it has dropped, and how a filled slot of
//! it becomes an arrival. For every backend with real sockets; each owns its own.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::batch::read_control;
use super::{Arrival, ReceiveCounters};
use crate::sys::{self, Arrived};

/// Empty calls in a row after which a socket is asked once what it dropped: `SO_RXQ_OVFL` speaks
/// only with a later arrival. A ping-pong at full speed never gets here, a parking worker does.
const QUIET_CALLS: u32 = 32;

/// A socket and what is known of its drops.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) socket: UdpSocket,
    /// What the kernel last said it had dropped, mod 2^32.
    dropped: u32,
    /// Empty calls since the last arrival, up to [`QUIET_CALLS`].
    quiet: u32,
}

/// Switches GRO (if wanted) and the counting of drops on where the kernel has them. Returns the
/// sockets as sources and whether at least one joins arrivals.
///
/// # Errors
/// When there is no socket.
pub(super) fn sources(
    sockets: Vec<UdpSocket>,
    wants_coalescing: bool,
) -> io::Result<(Vec<Source>, bool)> {
    if sockets.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no socket to receive from"));
    }
    let mut coalescing = false;
    for socket in &sockets {
        let wanted = libc::c_int::from(wants_coalescing);
        let set = sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, wanted);
        coalescing |= set.is_ok() && wants_coalescing;
        // Without it (Linux before 2.6.33) drops are still read when a socket falls quiet.
        let _ = sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
    }
    Ok((sockets.into_iter().map(Source::new).collect(), coalescing))
}

impl Source {
    const fn new(socket: UdpSocket) -> Self {
        Self { socket, dropped: 0, quiet: 0 }
    }

    /// Shows the sink what a slot holds, if it can be handed on; returns its datagrams. `index` is
    /// this socket's.
    #[inline]
    pub(super) fn show(
        &mut self,
        index: usize,
        arrived: &Arrived<'_>,
        counters: &mut ReceiveCounters,
        sink: &mut dyn FnMut(&Arrival<'_>),
    ) -> usize {
        self.quiet = 0;
        let notes = read_control(arrived.control);
        if let Some(dropped) = notes.dropped {
            counters.kernel_drops += self.newly_dropped(dropped);
        }
        if arrived.truncated {
            counters.truncated += 1;
            return 1;
        }
        let Some(address) = arrived.source.read() else {
            counters.errors += 1;
            return 1;
        };
        let arrival = Arrival {
            socket: index,
            source: address,
            bytes: arrived.bytes,
            segment_bytes: notes.segment_bytes.unwrap_or(arrived.bytes.len()),
        };
        sink(&arrival);
        arrival.datagram_count()
    }

    /// Whether the last call found nothing.
    #[inline]
    pub(super) const fn is_quiet(&self) -> bool {
        self.quiet > 0
    }

    /// Counts an empty call; at the last of [`QUIET_CALLS`] asks the socket what it has dropped.
    #[inline]
    pub(super) fn was_empty(&mut self, counters: &mut ReceiveCounters) {
        if self.quiet >= QUIET_CALLS {
            return;
        }
        self.quiet += 1;
        if self.quiet == QUIET_CALLS
            && let Ok(dropped) = sys::dropped(self.socket.as_fd())
        {
            counters.kernel_drops += self.newly_dropped(dropped);
        }
    }

    /// Takes a reading of the kernel's count; returns how many are new. Readings may come out of
    /// order: a run that is queued just before the socket is asked carries the older count. An
    /// older one (by less than half the range) adds nothing.
    #[inline]
    const fn newly_dropped(&mut self, dropped: u32) -> u64 {
        let new = dropped.wrapping_sub(self.dropped);
        if new > u32::MAX / 2 {
            return 0;
        }
        self.dropped = dropped;
        new as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_of_the_drop_count_may_be_late_and_may_wrap() {
        let mut source = Source::new(UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap());
        assert_eq!(source.newly_dropped(5), 5);
        assert_eq!(source.newly_dropped(5), 0);
        assert_eq!(source.newly_dropped(3), 0, "queued before the last reading");
        assert_eq!(source.newly_dropped(9), 4);
        source.dropped = u32::MAX - 1;
        assert_eq!(source.newly_dropped(2), 4);
        assert_eq!(source.newly_dropped(u32::MAX), 0);
        assert_eq!(source.newly_dropped(3), 1);
    }
}

//! What a plain socket pays for one datagram to a group of so many plain sockets of this host: the
//! bare side of one event to a group. One thread sends and, when that is timed, reads.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result};
use wireloom::Clock;

use super::figures::{median, real};
use super::machine::thread_cpu_ns;
use super::raw::{ANY_PORT, socket};
use super::udp::group;

/// Longer than any datagram.
const ROOM_BYTES: usize = 64 << 10;

/// The sending socket and the members.
pub(super) struct Members {
    sender: UdpSocket,
    group: SocketAddr,
    members: Vec<UdpSocket>,
    datagram: Vec<u8>,
    room: Vec<u8>,
}

impl Members {
    /// A group of so many; datagrams have so many bytes.
    pub(super) fn start(members: usize, datagram_bytes: usize) -> Result<Self> {
        let group = group(5)?;
        let (sender, _) = socket(ANY_PORT, None)?;
        let member = |_| socket(group, Some(group)).map(|(socket, _)| socket);
        Ok(Self {
            sender,
            group,
            members: (0..members).map(member).collect::<Result<_>>()?,
            datagram: vec![7; datagram_bytes],
            room: vec![0; ROOM_BYTES],
        })
    }

    /// CPU time of this thread for one send, in ns: the median of as many as fit into `for_ns`.
    pub(super) fn slice(&mut self, for_ns: u64) -> Result<f64> {
        let (clock, mut times) = (Clock::system(), Vec::new());
        let until_ns = clock.now_ns() + for_ns;
        while clock.now_ns() < until_ns {
            // One that is not timed, as the product has it: reading has cooled the caches.
            self.send()?;
            let from_ns = thread_cpu_ns();
            self.send()?;
            times.push(real(thread_cpu_ns() - from_ns));
            self.drain();
        }
        Ok(median(&times).unwrap_or(0.0))
    }

    fn send(&self) -> Result<()> {
        let sent = self.sender.send_to(&self.datagram, self.group);
        sent.map(|_| ()).context("the bare sender of the group")
    }

    fn drain(&mut self) {
        for member in &self.members {
            while member.recv(&mut self.room).is_ok() {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_gets_each_datagram() {
        let mut members = Members::start(3, 100).unwrap();
        members.send().unwrap();
        for member in &members.members {
            member.set_nonblocking(false).unwrap();
            assert_eq!(member.recv(&mut members.room).unwrap(), 100);
            member.set_nonblocking(true).unwrap();
        }
        assert!(members.slice(1_000_000).unwrap() > 0.0);
    }
}

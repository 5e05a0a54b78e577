//! UDP: `send` and `recv`, one system call and one datagram for each message.

use std::io::ErrorKind;
use std::net::UdpSocket;

use anyhow::{Context, Result};
use peer_measure::{MESSAGE_BYTES, Plan, WAIT, Work};
use socket2::SockRef;

/// Asked of the kernel, as `wireloom` does; it may give less.
const BUFFER_BYTES: usize = 4 << 20;
/// Messages taken in one turn of a flood at most.
const TURN_MESSAGES_MAX: usize = 256;

/// A socket bound to one port of the plan and connected to the other.
#[derive(Debug)]
pub(crate) struct End {
    socket: UdpSocket,
    turn_messages_max: usize,
}

impl End {
    pub(crate) fn bind(plan: &Plan, index: usize, spins: bool) -> Result<Self> {
        let socket = UdpSocket::bind(plan.address(index)).context("cannot bind a UDP socket")?;
        socket.connect(plan.address(1 - index))?;
        SockRef::from(&socket).set_recv_buffer_size(BUFFER_BYTES)?;
        SockRef::from(&socket).set_send_buffer_size(BUFFER_BYTES)?;
        socket.set_nonblocking(spins)?;
        socket.set_read_timeout(Some(WAIT))?;
        // In a ping-pong one message is under way at a time: another wait would be in vain.
        let is_flood = plan.work == Work::Throughput;
        Ok(Self { socket, turn_messages_max: if is_flood { TURN_MESSAGES_MAX } else { 1 } })
    }

    /// False when the kernel had no room.
    #[inline]
    pub(crate) fn send(&self, message: &[u8; MESSAGE_BYTES]) -> Result<bool> {
        match self.socket.send(message) {
            Ok(_) => Ok(true),
            // A port that is not open yet answers the send before this one.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what has come, up to the bound of a turn.
    #[inline]
    pub(crate) fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut room = [0; 2 * MESSAGE_BYTES];
        for _ in 0..self.turn_messages_max {
            match self.socket.recv(&mut room) {
                Ok(length) => each(&room[..length]),
                Err(error) if is_quiet(error.kind()) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn is_quiet(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
    )
}

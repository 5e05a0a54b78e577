//! The raw round trip that `pingpong` is compared with: one datagram, or as many bytes of a stream,
//! there and back between two plain sockets, with nothing around it.
//!
//! Busy: both sides receive again and again on a socket that does not block. Waiting: both sleep in
//! the call that receives.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use wireloom::Clock;

use super::arrivals::Counts;
use super::peer::{Account, Answer, PeerPlan, Receiving, say, serve};
use super::raw::{ANY_PORT, socket};
use super::stream::{connect, write_whole};
use super::times::{Counted, Times};

/// An answer that takes longer than this counts as lost.
pub(super) const LOST_NS: u64 = 100_000_000;
/// Looks at an empty socket before the clock, or whoever asks, is looked at.
pub(super) const POLLS: u32 = 32;
/// How long the answering side sleeps at most, so that it sees the next question.
pub(super) const SLEEP: Duration = Duration::from_millis(20);

/// A plain socket that blocks for a time, or not at all.
fn plain(busy: bool, longest: Duration) -> Result<(UdpSocket, SocketAddr)> {
    let (socket, report) = socket(ANY_PORT, None)?;
    socket.set_nonblocking(busy).context("the raw socket")?;
    socket.set_read_timeout(Some(longest)).context("the raw socket")?;
    Ok((socket, report.local))
}

/// What carries the message of a round trip.
pub(super) enum Wire {
    Datagrams(UdpSocket, SocketAddr),
    /// A stream, and the bytes of the next message that have come.
    Stream(TcpStream, usize),
}

impl Wire {
    /// A wire to the side that answers.
    pub(super) fn to(to: SocketAddr, busy: bool, reliable: bool) -> Result<Self> {
        let longest = Duration::from_nanos(LOST_NS);
        Ok(if reliable {
            Self::Stream(connect(to, busy, longest)?, 0)
        } else {
            Self::Datagrams(plain(busy, longest)?.0, to)
        })
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams(socket, to) => socket.send_to(message, *to).map(|_| ()),
            Self::Stream(stream, _) => write_whole(stream, message),
        }
    }

    /// Receives; true when a message fills the room.
    fn receive(&mut self, room: &mut [u8]) -> io::Result<bool> {
        match self {
            Self::Datagrams(socket, _) => Ok(socket.recv_from(room)?.0 == room.len()),
            Self::Stream(stream, filled) => {
                *filled += match stream.read(&mut room[*filled..])? {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    bytes => bytes,
                };
                let whole = *filled == room.len();
                *filled = if whole { 0 } else { *filled };
                Ok(whole)
            }
        }
    }
}

/// The side that measures.
pub(super) struct RawPing {
    wire: Wire,
    busy: bool,
    datagram: Vec<u8>,
    room: Vec<u8>,
    sequence: u64,
    times: Times,
    clock: Clock,
    pub(super) lost: u64,
}

impl RawPing {
    pub(super) fn new(wire: Wire, datagram_bytes: usize, busy: bool) -> Self {
        Self {
            wire,
            busy,
            datagram: vec![0; datagram_bytes],
            room: vec![0; datagram_bytes],
            sequence: 0,
            times: Times::new(),
            clock: Clock::system(),
            lost: 0,
        }
    }

    /// Goes back and forth for `for_ns`; gives the times.
    pub(super) fn slice(&mut self, for_ns: u64) -> Result<Counted> {
        let mut now_ns = self.clock.now_ns();
        let until_ns = now_ns.saturating_add(for_ns);
        while now_ns < until_ns {
            let sent_ns = now_ns;
            let came_back = self.once(sent_ns)?;
            now_ns = self.clock.now_ns();
            if came_back {
                self.times.record(now_ns - sent_ns);
            } else {
                self.lost += 1;
            }
        }
        Ok(self.times.take())
    }

    /// One message there and back; false when it did not come in time.
    fn once(&mut self, sent_ns: u64) -> Result<bool> {
        self.sequence += 1;
        let number = self.sequence.to_le_bytes();
        self.datagram[..number.len()].copy_from_slice(&number);
        self.wire.send(&self.datagram).context("the raw socket")?;
        let mut polls = 0;
        loop {
            match self.wire.receive(&mut self.room) {
                // What came too late has an older number.
                Ok(true) if self.room.starts_with(&number) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    polls += 1;
                    let looks = polls % POLLS == 0 || !self.busy;
                    if looks && self.clock.now_ns() - sent_ns >= LOST_NS {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error).context("the raw socket"),
            }
        }
    }
}

/// The side that answers.
struct Echo {
    socket: UdpSocket,
    room: Vec<u8>,
    busy: bool,
    counts: Counts,
}

impl Receiving for Echo {
    fn drive(&mut self) -> usize {
        for _ in 0..if self.busy { POLLS } else { 1 } {
            let Ok((bytes, from)) = self.socket.recv_from(&mut self.room) else { continue };
            // Not sent: the other side counts it as lost.
            let _ = self.socket.send_to(&self.room[..bytes], from);
            self.counts.delivered += 1;
        }
        0
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn finish(self) -> Account {
        Account { counts: self.counts, ..Account::default() }
    }
}

/// The child process that answers.
pub(super) fn serve_echo(plan: &PeerPlan) -> Result<()> {
    let (socket, address) = plain(plan.driven, SLEEP)?;
    let room = vec![0; wireloom_dataplane::io::DATAGRAM_BYTES_MAX];
    say(&Answer::Ready { addresses: vec![address], notes: Vec::new() })?;
    serve(Echo { socket, room, busy: plan.driven, counts: Counts::default() }, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_without_an_answer_is_lost_and_the_next_one_goes() {
        for busy in [true, false] {
            let (deaf, address) = plain(true, SLEEP).unwrap();
            let mut ping = RawPing::new(Wire::to(address, busy, false).unwrap(), 144, busy);
            assert!(ping.slice(1).unwrap().is_empty());
            assert_eq!(ping.lost, 1);
            // Late answers to the lost one are taken for what they are.
            let mut room = [0; 144];
            let (bytes, from) = deaf.recv_from(&mut room).unwrap();
            deaf.send_to(&room[..bytes], from).unwrap();
            assert!(ping.slice(1).unwrap().is_empty());
            assert_eq!((bytes, ping.lost), (144, 2));
        }
    }
}

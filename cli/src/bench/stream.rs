//! The raw streams that reliable events are compared with: plain TCP connections between two
//! processes, with nothing around them.
//!
//! The bare sender writes the same packet again and again; its receiver counts the events of whole
//! packets and says a few bytes for each read, as anything must that tells how far it has come. The
//! echo writes back what it reads. Each side owns its socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use wireloom::Clock;

use super::arrivals::Counts;
use super::bare::filled_packet_bytes;
use super::echo::{POLLS, SLEEP};
use super::machine::peak_rss_bytes;
use super::peer::{Account, Answer, PeerPlan, Receiving, say, serve};
use super::raw::{ANY_PORT, Reader};

/// Packets a receiver has room for.
const ROOM_PACKETS: usize = 2;
/// Words of the receiver that the sender takes at a time.
const WORDS_BYTES: usize = 4 << 10;

/// A connection that sends at once and blocks for a time, or not at all.
fn plain(stream: TcpStream, busy: bool, longest: Duration) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(busy)?;
    stream.set_read_timeout(Some(longest))?;
    Ok(stream)
}

/// Connects to a [`Listening`] end.
pub(super) fn connect(to: SocketAddr, busy: bool, longest: Duration) -> Result<TcpStream> {
    TcpStream::connect(to)
        .and_then(|stream| plain(stream, busy, longest))
        .with_context(|| format!("the raw connection to {to}"))
}

/// Writes all of it, again and again where the connection does not block.
pub(super) fn write_whole(stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if is_pause(&error) => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The end that is connected to: takes one connection when it comes.
struct Listening {
    listener: TcpListener,
    stream: Option<TcpStream>,
    busy: bool,
}

impl Listening {
    fn start(busy: bool) -> Result<Self> {
        let listener = TcpListener::bind(ANY_PORT).context("the raw listener")?;
        listener.set_nonblocking(true).context("the raw listener")?;
        let addresses = vec![listener.local_addr().context("the raw listener")?];
        say(&Answer::Ready { addresses, notes: Vec::new() })?;
        Ok(Self { listener, stream: None, busy })
    }

    #[inline]
    fn stream(&mut self) -> Option<&mut TcpStream> {
        if self.stream.is_none() {
            let (stream, _) = self.listener.accept().ok()?;
            self.stream = Some(plain(stream, self.busy, SLEEP).ok()?);
        }
        self.stream.as_mut()
    }
}

/// Writes packets.
pub(super) struct StreamSender {
    stream: TcpStream,
    packet: Vec<u8>,
    clock: Clock,
}

impl StreamSender {
    /// Prepares a packet filled with frames of `frame_bytes`.
    pub(super) fn new(to: SocketAddr, frame_bytes: usize, packet_bytes: usize) -> Result<Self> {
        let length = filled_packet_bytes(frame_bytes, packet_bytes);
        Ok(Self {
            stream: connect(to, true, SLEEP)?,
            packet: (0..length).map(|byte| byte.to_le_bytes()[0]).collect(),
            clock: Clock::system(),
        })
    }

    /// Writes the prepared packet for `for_ns`, whole each time, and takes the receiver's words.
    pub(super) fn flood(&mut self, for_ns: u64) -> Result<()> {
        let until_ns = self.clock.now_ns().saturating_add(for_ns);
        let mut words = [0; WORDS_BYTES];
        while self.clock.now_ns() < until_ns {
            write_whole(&mut self.stream, &self.packet).context("the raw connection")?;
            match self.stream.read(&mut words) {
                Ok(_) => {}
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error).context("the raw connection"),
            }
        }
        Ok(())
    }
}

/// Counts the events of whole packets.
struct StreamReceiver {
    listening: Listening,
    reader: Reader,
    room: Vec<u8>,
    filled: usize,
    packet_bytes: usize,
}

impl StreamReceiver {
    /// Takes the whole packets of the room, and moves what is left to its front.
    fn take_packets(&mut self) {
        let whole = self.filled - self.filled % self.packet_bytes;
        for packet in self.room[..whole].chunks_exact(self.packet_bytes) {
            self.reader.take(packet);
        }
        self.room.copy_within(whole..self.filled, 0);
        self.filled -= whole;
    }
}

impl Receiving for StreamReceiver {
    fn drive(&mut self) -> usize {
        let Some(stream) = self.listening.stream() else { return 0 };
        let Ok(bytes) = stream.read(&mut self.room[self.filled..]) else { return 0 };
        if bytes > 0 {
            // No room for it: the sender has words enough.
            let _ = stream.write(&self.reader.counts().delivered.to_le_bytes());
            self.filled += bytes;
            self.take_packets();
        }
        bytes
    }

    fn counts(&self) -> Counts {
        self.reader.counts()
    }

    fn finish(self) -> Account {
        let peak_rss_bytes = peak_rss_bytes();
        Account { counts: self.reader.end(), peak_rss_bytes, ..Account::default() }
    }
}

/// The child process of a raw run over a stream.
pub(super) fn serve_stream(plan: &PeerPlan) -> Result<()> {
    let packet_bytes = filled_packet_bytes(plan.frame_bytes, super::flow::LINK_PACKET_BYTES);
    let receiver = StreamReceiver {
        listening: Listening::start(plan.driven)?,
        reader: Reader::new(plan.frame_bytes),
        room: vec![0; ROOM_PACKETS * packet_bytes],
        filled: 0,
        packet_bytes,
    };
    serve(receiver, true)
}

/// Writes back what it reads.
struct StreamEcho {
    listening: Listening,
    room: Vec<u8>,
    counts: Counts,
}

impl Receiving for StreamEcho {
    fn drive(&mut self) -> usize {
        let polls = if self.listening.busy { POLLS } else { 1 };
        let Some(stream) = self.listening.stream() else { return 0 };
        for _ in 0..polls {
            let Ok(bytes) = stream.read(&mut self.room) else { continue };
            // Not sent: the other side counts it as lost.
            let _ = write_whole(stream, &self.room[..bytes]);
            self.counts.delivered += u64::from(bytes > 0);
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

/// The child process that answers over a stream.
pub(super) fn serve_stream_echo(plan: &PeerPlan) -> Result<()> {
    let listening = Listening::start(plan.driven)?;
    let room = vec![0; super::flow::LINK_PACKET_BYTES];
    serve(StreamEcho { listening, room, counts: Counts::default() }, true)
}

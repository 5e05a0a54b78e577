//! One client: its handshake, its WebSocket, and what waits to be sent to it.
//!
//! The socket never blocks; [`Client::turn`] does what can be done now and says what became of it.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response, ServerHandshake};
use tungstenite::handshake::{HandshakeError, MidHandshake};
use tungstenite::http::StatusCode;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, WebSocket};
use wireloom::jtag::{ClientId, MESSAGE_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_MAX};

/// How long a client may take to say what it wants.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// A client that says nothing is asked for a sign of life this often; it is gone after three.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Longest message that is read so that it can be refused by name; a longer one ends the socket.
const READ_BYTES_MAX: usize = MESSAGE_BYTES_MAX + (2 << 20);

/// How long a client that is sent away may take to see why.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Bytes thrown away at a time.
const DRAIN_BYTES: usize = 64 << 10;

/// Bytes read from one client before the others have their turn.
const BYTES_A_TURN: usize = 64 << 10;

/// Messages taken from one client before the others have their turn.
const MESSAGES_A_TURN: usize = 64;

/// Which pages may connect: those of this host, and those that the user named.
#[derive(Debug, Clone)]
pub(super) struct Origins(pub(super) Arc<[String]>);

impl Origins {
    /// A program that is no page has no origin.
    fn admits(&self, origin: Option<&[u8]>) -> bool {
        let Some(origin) = origin else { return true };
        let Ok(origin) = str::from_utf8(origin) else { return false };
        if self.0.iter().any(|allowed| allowed.trim_end_matches('/') == origin) {
            return true;
        }
        let Some((_, authority)) = origin.split_once("://") else { return false };
        let host = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => authority.split(':').next(),
        };
        let host = host.unwrap_or_default();
        host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl Callback for Origins {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        let origin = request.headers().get("origin").map(tungstenite::http::HeaderValue::as_bytes);
        if self.admits(origin) {
            return Ok(response);
        }
        let words = "this origin may not connect: start the bridge with --allow-origin\n";
        let mut refusal = ErrorResponse::new(Some(words.to_owned()));
        *refusal.status_mut() = StatusCode::FORBIDDEN;
        Err(refusal)
    }
}

type Socket = WebSocket<Rationed>;

/// A socket of which so much is read in a turn: a message of pieces without an end would keep its
/// reader from everybody else.
#[derive(Debug)]
struct Rationed {
    stream: TcpStream,
    left_bytes: usize,
}

impl std::io::Read for Rationed {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let most = into.len().min(self.left_bytes);
        if most == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = self.stream.read(&mut into[..most])?;
        self.left_bytes -= read;
        Ok(read)
    }
}

impl std::io::Write for Rationed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

enum State {
    Handshake(Box<MidHandshake<ServerHandshake<Rationed, Origins>>>),
    Open(Box<Socket>),
    /// It was told goodbye for a fault of its own; what it still sends is thrown away, so that the
    /// kernel does not reset the socket before it has read why.
    Draining(&'static str),
    /// It has gone, and why.
    Ended(&'static str),
}

/// See the module.
pub(super) struct Client {
    /// Known to the bridge once the handshake is over.
    pub(super) id: Option<ClientId>,
    /// The same socket: to wait for, and to tell why there was no handshake.
    stream: TcpStream,
    state: State,
    waiting: VecDeque<Arc<str>>,
    waiting_bytes: usize,
    /// The socket took less than there was.
    is_full: bool,
    /// There may be more to read although the socket is not readable: it was read already.
    has_more: bool,
    came: Instant,
    heard: Instant,
    pinged: Instant,
}

/// What a turn brought.
pub(super) enum Heard {
    /// A message.
    Text(Bytes),
    /// Something that is refused by this name.
    Refused(&'static str),
}

impl Client {
    pub(super) fn new(stream: TcpStream, origins: Origins, now: Instant) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .write_buffer_size(16 << 10)
            .max_write_buffer_size(2 * READ_BYTES_MAX)
            .max_message_size(Some(READ_BYTES_MAX))
            .max_frame_size(Some(READ_BYTES_MAX));
        let rationed = Rationed { stream: stream.try_clone()?, left_bytes: BYTES_A_TURN };
        let handshake = ServerHandshake::start(rationed, origins, Some(config));
        Ok(Self {
            id: None,
            stream,
            state: State::Handshake(Box::new(handshake)),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            is_full: false,
            has_more: true,
            came: now,
            heard: now,
            pinged: now,
        })
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether it waits for room in the socket.
    pub(super) fn wants_to_write(&self) -> bool {
        self.is_full
    }

    /// Whether it needs a turn at once.
    pub(super) fn is_ready(&self) -> bool {
        self.has_more || !self.is_full && !self.waiting.is_empty()
    }

    /// Why it has gone, when it has.
    pub(super) fn ended(&self) -> Option<&'static str> {
        match self.state {
            State::Ended(why) => Some(why),
            _ => None,
        }
    }

    /// Why it is about to go, when it is.
    pub(super) fn sent_away(&self) -> Option<&'static str> {
        match self.state {
            State::Draining(why) => Some(why),
            _ => None,
        }
    }

    /// Whether the handshake is over.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_) | State::Draining(_))
    }

    /// Lets `text` wait for its turn; false when the client is too slow for it.
    pub(super) fn tell(&mut self, text: Arc<str>) -> bool {
        let fits =
            self.waiting.len() < QUEUE_MAX && self.waiting_bytes + text.len() <= QUEUE_BYTES_MAX;
        if fits {
            self.waiting_bytes += text.len();
            self.waiting.push_back(text);
        }
        fits
    }

    /// Goes on with the handshake; true when it is over now.
    pub(super) fn shake(&mut self, now: Instant) -> bool {
        self.has_more = false;
        let State::Handshake(handshake) =
            std::mem::replace(&mut self.state, State::Ended("handshake"))
        else {
            return false;
        };
        match handshake.handshake() {
            Ok(socket) => {
                self.state = State::Open(Box::new(socket));
                self.has_more = true;
                self.heard = now;
                true
            }
            Err(HandshakeError::Interrupted(handshake)) => {
                if now.duration_since(self.came) < HANDSHAKE_TIME {
                    self.state = State::Handshake(Box::new(handshake));
                } else {
                    self.state = State::Ended("handshake_late");
                }
                false
            }
            Err(HandshakeError::Failure(Error::Http(_))) => {
                self.state = State::Ended("origin");
                false
            }
            Err(HandshakeError::Failure(_)) => {
                // Best effort: whoever spoke no HTTP may not read it either.
                let _ = self.stream.write_all(
                    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 26\r\n\r\n\
                      this is a WebSocket server",
                );
                false
            }
        }
    }

    /// Reads what has come, up to a number of messages, and writes what waits.
    pub(super) fn turn(&mut self, now: Instant, mut take: impl FnMut(Heard)) {
        self.has_more = false;
        self.drain(now);
        let State::Open(socket) = &mut self.state else { return };
        socket.get_mut().left_bytes = BYTES_A_TURN;
        for turn in 0.. {
            if turn == MESSAGES_A_TURN {
                self.has_more = true;
                break;
            }
            match socket.read() {
                Ok(Message::Text(text)) => take(Heard::Text(text.into())),
                // Node's `ws` sends a Buffer as a binary message; the legacy server took both.
                Ok(Message::Binary(bytes)) => take(Heard::Text(bytes)),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    self.has_more = socket.get_ref().left_bytes == 0;
                    break;
                }
                Err(error) => {
                    let (name, code) = why(&error);
                    self.state = match code {
                        Some(code) => {
                            take(Heard::Refused(name));
                            goodbye(socket, code, name);
                            let _ = self.stream.shutdown(Shutdown::Write);
                            self.heard = now;
                            State::Draining(name)
                        }
                        None => State::Ended(name),
                    };
                    return;
                }
            }
            self.heard = now;
        }
        self.write(now);
    }

    /// Throws away what a client sends that was told goodbye.
    fn drain(&mut self, now: Instant) {
        let State::Draining(name) = self.state else { return };
        let mut thrown = vec![0; DRAIN_BYTES];
        let is_over = match self.stream.read(&mut thrown) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        if is_over || now.duration_since(self.heard) >= DRAIN_TIME {
            self.state = State::Ended(name);
        }
    }

    /// Writes what waits, as far as the socket takes it, and asks for a sign of life.
    fn write(&mut self, now: Instant) {
        let State::Open(socket) = &mut self.state else { return };
        self.is_full = false;
        let silent = now.duration_since(self.heard);
        if silent >= 3 * PING_EVERY {
            self.state = State::Ended("silent");
            return;
        }
        let mut wrote = Ok(());
        if silent >= PING_EVERY && now.duration_since(self.pinged) >= PING_EVERY {
            self.pinged = now;
            wrote = socket.write(Message::Ping(Bytes::new()));
        }
        while let (Ok(()), Some(text)) = (&wrote, self.waiting.front()) {
            wrote = socket.write(Message::text(&**text));
            // A message is in the socket's own buffer unless that had no room for it.
            if !matches!(wrote, Err(Error::WriteBufferFull(_))) {
                self.waiting_bytes -= text.len();
                self.waiting.pop_front();
            }
        }
        match wrote.and_then(|()| socket.flush()) {
            Ok(()) => {}
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => self.is_full = true,
            Err(Error::WriteBufferFull(_)) => self.is_full = true,
            Err(error) => self.state = State::Ended(why(&error).0),
        }
    }

    /// Says goodbye; the rest is up to the other side.
    pub(super) fn close(&mut self) {
        if let State::Open(socket) = &mut self.state {
            goodbye(socket, CloseCode::Away, "the bridge ends");
        }
    }
}

/// The name of an end, and the code to tell the client if the end is its fault.
fn why(error: &Error) -> (&'static str, Option<CloseCode>) {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => ("closed", None),
        Error::Io(_) => ("cut", None),
        Error::Capacity(_) => ("too_long", Some(CloseCode::Size)),
        Error::Utf8(_) => ("invalid_utf8", Some(CloseCode::Invalid)),
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            ("cut", None)
        }
        _ => ("protocol", Some(CloseCode::Protocol)),
    }
}

fn goodbye(socket: &mut Socket, code: CloseCode, reason: &'static str) {
    // Whoever does not take it sees the socket end.
    let _ = socket.close(Some(CloseFrame { code, reason: reason.into() }));
    let _ = socket.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_host_and_named_ones_may_connect() {
        let origins = Origins(Arc::new(["https://desk.example/".to_owned()]));
        for (origin, admitted) in [
            ("http://localhost:9000", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:80", true),
            ("https://desk.example", true),
            ("https://desk.example.evil", false),
            ("http://localhost.evil:9000", false),
            ("http://evil/localhost", false),
            ("null", false),
            ("file://", false),
        ] {
            assert_eq!(origins.admits(Some(origin.as_bytes())), admitted, "{origin}");
        }
        assert!(origins.admits(None));
        assert!(!origins.admits(Some(b"http://\xff")));
    }
}

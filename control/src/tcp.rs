//! TCP of the kernel: the one file of this crate that knows sockets.
//!
//! Owned by the links' agent. The sockets are in an epoll set of their own (mio's), and this set
//! is in the one the control thread parks in: a cycle asks once which of all its sockets are ready,
//! and other agents of the thread know nothing of them.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};
use wireloom_dataplane::poller::Poller;

use crate::sockets::{Ready, SocketId, Sockets};

const LISTENER: Token = Token(0);

/// Sockets that the kernel holds for this node to accept.
const BACKLOG: i32 = 1_024;

/// Readiness notices taken in one call of the kernel.
const NOTICES: usize = 256;

/// Sockets of one node, in the order in which they were made.
#[derive(Debug)]
pub struct TcpSockets {
    poll: Poll,
    events: Events,
    listener: Option<TcpListener>,
    /// Somebody may be waiting to be accepted.
    accepts: bool,
    open: BTreeMap<SocketId, TcpStream>,
    next: u64,
}

impl TcpSockets {
    /// Sockets without a listener.
    ///
    /// # Errors
    /// The kernel's, of `epoll_create1(2)`.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(NOTICES),
            listener: None,
            accepts: false,
            open: BTreeMap::new(),
            next: 1,
        })
    }

    /// Listens at `address`; with port 0 at a port of the kernel's choice. Gives where.
    ///
    /// # Errors
    /// The kernel's: the port is taken, the address is not of this host, or the port is privileged.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // A node that starts again need not wait for what is left of its last life's sockets.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?; // as the datagram socket beside it
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        let local = listener.local_addr()?;
        self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        self.listener = Some(listener);
        Ok(local)
    }

    fn add(&mut self, mut stream: TcpStream) -> io::Result<SocketId> {
        // Events leave when they are written; what can be together, is written together.
        stream.set_nodelay(true)?;
        let socket = SocketId(self.next);
        let token = Token(usize::try_from(self.next).unwrap_or(usize::MAX));
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, token, interest)?;
        self.next += 1;
        self.open.insert(socket, stream);
        Ok(socket)
    }

    fn stream(&mut self, socket: SocketId) -> io::Result<&mut TcpStream> {
        self.open.get_mut(&socket).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Sockets for TcpSockets {
    fn dial(&mut self, peer: SocketAddr) -> io::Result<SocketId> {
        self.add(TcpStream::connect(peer)?)
    }

    fn accept(&mut self) -> Option<SocketId> {
        while self.accepts {
            match self.listener.as_ref()?.accept() {
                Ok((stream, _)) => {
                    // One that cannot be set up has gone already: the next.
                    if let Ok(socket) = self.add(stream) {
                        return Some(socket);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.accepts = false,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // No descriptor or memory left: asked again in the next cycle.
                Err(_) => return None,
            }
        }
        None
    }

    fn poll(&mut self, ready: &mut Vec<Ready>) {
        loop {
            // Interrupted by a signal is as good as nothing: asked again in the next cycle.
            if self.poll.poll(&mut self.events, Some(Duration::ZERO)).is_err() {
                return;
            }
            let mut notices = 0;
            for event in &self.events {
                notices += 1;
                if event.token() == LISTENER {
                    self.accepts = true;
                    continue;
                }
                let ended = event.is_error() || event.is_read_closed() || event.is_write_closed();
                ready.push(Ready {
                    socket: SocketId(event.token().0 as u64),
                    readable: event.is_readable() || ended,
                    writable: event.is_writable() || ended,
                    ends: ended,
                });
            }
            if notices < NOTICES {
                return;
            }
        }
    }

    fn is_open(&mut self, socket: SocketId) -> io::Result<bool> {
        let stream = self.stream(socket)?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            // connect(2), EINPROGRESS: not yet.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn peer(&self, socket: SocketId) -> Option<SocketAddr> {
        self.open.get(&socket)?.peer_addr().ok()
    }

    fn read(&mut self, socket: SocketId, into: &mut [u8]) -> io::Result<usize> {
        self.stream(socket)?.read(into)
    }

    fn write(&mut self, socket: SocketId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream(socket)?.write_vectored(slices)
    }

    fn close(&mut self, socket: SocketId) {
        // Closing the descriptor takes it out of the epoll set.
        self.open.remove(&socket);
    }

    fn register(&mut self, poller: &mut Poller) -> io::Result<()> {
        poller.register(&self.poll)
    }
}

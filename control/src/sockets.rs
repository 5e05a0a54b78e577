//! What carries byte streams: TCP of the kernel, or a network in memory.
//!
//! One owner, one thread; nothing here blocks. Readiness is told once (edge-triggered): whoever was
//! told goes on until it would block.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use crate::tls::PeerIdentity;
use wireloom_dataplane::poller::Poller;
use zeroize::Zeroize;

use crate::tls::Distrust;

/// Which socket; never used again within a life, a later one is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// What a socket may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// Which one.
    pub socket: SocketId,
    /// There is something to read, or its end.
    pub readable: bool,
    /// It takes bytes again, or its dialling has come to an end.
    pub writable: bool,
    /// The other side has ended the stream: behind what can still be read comes its end.
    pub ends: bool,
}

/// Key material of a line; wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Sockets that carry byte streams. Errors other than "would block" end a socket; its owner then
/// closes it.
pub trait Sockets {
    /// Begins to dial; its end is told as writable, and asked by [`Sockets::is_open`].
    ///
    /// # Errors
    /// The kernel's: no route, no descriptors left.
    fn dial(&mut self, peer: SocketAddr) -> io::Result<SocketId>;

    /// The next socket that somebody dialled; `None` when there is none now.
    fn accept(&mut self) -> Option<SocketId>;

    /// Adds what has become ready since the last call.
    fn poll(&mut self, ready: &mut Vec<Ready>);

    /// Whether a dialled socket is open by now.
    ///
    /// # Errors
    /// Why it will never be: refused, unreachable.
    fn is_open(&mut self, socket: SocketId) -> io::Result<bool>;

    /// The address of the other side; `None` when the socket has ended.
    fn peer(&self, socket: SocketId) -> Option<SocketAddr>;

    /// Reads what there is, at most `into` holds; 0 is the end of the stream.
    ///
    /// # Errors
    /// Would block, or why the socket has ended.
    fn read(&mut self, socket: SocketId, into: &mut [u8]) -> io::Result<usize>;

    /// Writes as much of the slices as there is room for.
    ///
    /// # Errors
    /// Would block, or why the socket has ended.
    fn write(&mut self, socket: SocketId, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ends a socket. What was written goes out all the same, if the peer takes it.
    fn close(&mut self, socket: SocketId);

    /// Who is at the other side, as its certificate says; `None` where sockets are not
    /// authenticated, and before they are.
    fn peer_identity(&self, socket: SocketId) -> Option<&PeerIdentity> {
        let _ = socket;
        None
    }

    /// Key material that both sides of a socket have, and nobody else: equal for equal labels.
    fn export(&self, socket: SocketId, label: &str) -> Option<Secret> {
        let _ = (socket, label);
        None
    }

    /// Why a socket is not, or no longer, authenticated: [`Distrust::Deadline`] while it is about
    /// to be. `None` where nothing is wrong, or nothing is authenticated.
    fn distrust(&self, socket: SocketId) -> Option<Distrust> {
        let _ = socket;
        None
    }

    /// When [`Sockets::poll`] has something to do by itself.
    fn deadline_ns(&self) -> Option<u64> {
        None
    }

    /// Whether [`Sockets::accept`] will be asked: what is done for strangers beforehand waits while
    /// it will not.
    fn set_accepting(&mut self, accepts: bool) {
        let _ = accepts;
    }

    /// Lets readiness end a park.
    ///
    /// # Errors
    /// The kernel's, of `epoll_ctl(2)`.
    fn register(&mut self, poller: &mut Poller) -> io::Result<()> {
        let _ = poller;
        Ok(())
    }
}

//! Where a worker sleeps: an epoll set with its sockets and a waker for everybody else.
//!
//! Owned by one worker. mio owns the epoll descriptor, the registrations and the waker; the wait
//! itself is `epoll_pwait2(2)`, because mio rounds every timeout up to a millisecond and an agent's
//! deadline may be nearer. Registrations are edge-triggered: an agent receives until its sockets
//! are empty before its worker parks (rule 10 of [`crate::io`]).

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::sys;

/// Token of the waker; sockets count from 1.
const WAKER: Token = Token(0);

/// Readiness notices taken in one wait. More sockets than this are fine: their notices stay.
const NOTICES: usize = 64;

/// What ended a park.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedBy {
    /// Somebody woke the worker ([`crate::wake::Wake`]).
    Wake,
    /// A datagram arrived at a registered socket.
    Socket,
    /// The time was over (or a signal came).
    Timeout,
}

/// An epoll set and its waker.
#[derive(Debug)]
pub struct Poller {
    poll: Poll,
    waker: Arc<Waker>,
    notices: sys::Notices,
    /// For kernels before 5.11, which have no `epoll_pwait2`.
    coarse: Option<Events>,
    next_token: usize,
}

impl Poller {
    /// Creates the set and its waker. Allocates everything it will need.
    ///
    /// # Errors
    /// The kernel's, of `epoll_create1(2)` and `eventfd(2)`: too many open files.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut notices = sys::Notices::new(NOTICES);
        let coarse = match sys::epoll_wait(&poll, &mut notices, Duration::ZERO) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                Some(Events::with_capacity(NOTICES))
            }
            _ => None,
        };
        Ok(Self { poll, waker, notices, coarse, next_token: 1 })
    }

    /// Wakes this poller's worker from any thread.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Lets arrivals at `socket` (or notices of a further epoll set) end a park. It leaves this set
    /// when it is closed.
    ///
    /// # Errors
    /// The kernel's, of `epoll_ctl(2)`: already registered, or no memory.
    pub fn register(&mut self, socket: &impl AsRawFd) -> io::Result<()> {
        let token = Token(self.next_token);
        let descriptor = socket.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
        self.next_token += 1;
        Ok(())
    }

    /// Sleeps until woken, until a datagram arrives, or for `timeout`. Ends early when a signal
    /// comes. The caller has announced its sleep ([`crate::wake::Wake::park_begin`]) and looked for
    /// work once more.
    pub fn park(&mut self, timeout: Duration) -> ParkedBy {
        if let Some(events) = &mut self.coarse {
            if self.poll.poll(events, Some(timeout)).is_err() {
                return ParkedBy::Timeout;
            }
            return parked_by(events.iter().map(|event| event.token().0));
        }
        // The only error a valid set can give is EINTR, and after it there is nothing to read.
        match sys::epoll_wait(&self.poll, &mut self.notices, timeout) {
            Ok(()) => parked_by(self.notices.tokens()),
            Err(_) => ParkedBy::Timeout,
        }
    }
}

/// A wake outranks a socket: the socket is looked at in any case.
fn parked_by(tokens: impl Iterator<Item = usize>) -> ParkedBy {
    let mut by = ParkedBy::Timeout;
    for token in tokens {
        if token == WAKER.0 {
            return ParkedBy::Wake;
        }
        by = ParkedBy::Socket;
    }
    by
}

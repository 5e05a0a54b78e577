//! One side of a stream: what comes to it, and what its owner is to be told.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::sockets::{Ready, SocketId};

/// How a stream ended for one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The other side closed it: what it wrote can be read first.
    Finished,
    /// It was cut.
    Reset,
}

/// A side, owned by a life of a node.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) life: u64,
    pub(super) address: SocketAddr,
    pub(super) peer: SocketAddr,
    /// The other side; `None` before it exists and after it has gone.
    pub(super) other: Option<SocketId>,
    /// When dialling comes to an end.
    pub(super) dialled_until_ns: Option<u64>,
    pub(super) refused: bool,
    pub(super) unaccepted: bool,
    /// Pieces on their way to this side, with their times.
    coming: VecDeque<(u64, Vec<u8>)>,
    coming_end: Option<(u64, End)>,
    pub(super) readable: VecDeque<u8>,
    pub(super) ended: Option<End>,
    /// Its writer found the buffer full.
    pub(super) waits: bool,
    pub(super) readable_news: bool,
    pub(super) writable_news: bool,
}

impl Side {
    pub(super) const fn dialled(
        life: u64,
        (address, peer): (SocketAddr, SocketAddr),
        until_ns: u64,
    ) -> Self {
        Self {
            life,
            address,
            peer,
            other: None,
            dialled_until_ns: Some(until_ns),
            refused: false,
            unaccepted: false,
            coming: VecDeque::new(),
            coming_end: None,
            readable: VecDeque::new(),
            ended: None,
            waits: false,
            readable_news: false,
            writable_news: false,
        }
    }

    pub(super) const fn accepted(
        life: u64,
        (address, peer): (SocketAddr, SocketAddr),
        other: SocketId,
    ) -> Self {
        let mut side = Self::dialled(life, (address, peer), 0);
        side.dialled_until_ns = None;
        side.other = Some(other);
        side.unaccepted = true;
        side.writable_news = true;
        side
    }

    /// A piece is on its way to this side; it does not overtake the one before.
    pub(super) fn send(&mut self, bytes: Vec<u8>, due_ns: u64) {
        let after_ns = self.coming.back().map_or(0, |(due_ns, _)| *due_ns);
        self.coming.push_back((due_ns.max(after_ns), bytes));
    }

    /// The other side has gone, and this one learns of it at `due_ns` or behind what is coming.
    pub(super) fn end(&mut self, end: End, due_ns: u64) {
        if end == End::Reset {
            self.coming.clear();
        }
        let after_ns = self.coming.back().map_or(0, |(due_ns, _)| *due_ns);
        self.coming_end.get_or_insert_with(|| (due_ns.max(after_ns), end));
    }

    /// The stream is cut: what is coming is gone.
    pub(super) fn cut(&mut self, due_ns: u64) {
        self.coming.clear();
        self.coming_end = Some((due_ns, End::Reset));
        self.other = None;
    }

    pub(super) fn arrive(&mut self, now_ns: u64) {
        while let Some((_, bytes)) = self.coming.pop_front_if(|(due_ns, _)| *due_ns <= now_ns) {
            self.readable.extend(bytes);
            self.readable_news = true;
        }
        if let Some((due_ns, end)) = self.coming_end
            && due_ns <= now_ns
            && self.coming.is_empty()
            && self.ended.is_none()
        {
            self.ended = Some(end);
            self.readable_news = true;
            self.writable_news = true;
        }
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.readable.len() + self.coming.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }

    /// What its owner has not been told.
    pub(super) const fn news(&mut self, socket: SocketId) -> Option<Ready> {
        let (readable, writable) = (self.readable_news, self.writable_news);
        (self.readable_news, self.writable_news) = (false, false);
        if readable || writable {
            Some(Ready { socket, readable, writable, ends: self.ended.is_some() })
        } else {
            None
        }
    }
}

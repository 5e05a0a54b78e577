//! How a node with credentials keeps its membership among its own: what it says is sealed for each
//! peer, and of what comes in clear it heeds beacons alone.
//!
//! Owned by the mesh. Packets for peers whose keys are on their way wait here, a bounded number for
//! a bounded time.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// Packets that wait for keys, of all peers together.
const WAITING_MAX: usize = 512;
/// How long one waits: as long as a handshake may take. What is older, the protocol has given up.
const WAITING_NS: u64 = 5_000_000_000;

/// Keys for control packets, as the mesh uses them. Called on the control thread; must not wait.
pub trait Secrecy: Send {
    /// The packet sealed for the node at an address; `None` while there is no key, which has been
    /// asked for then.
    fn seal(&mut self, to: SocketAddr, packet: &[u8], now_ns: u64) -> Option<&[u8]>;

    /// Somebody who proves nothing says that a node is there. Whether there is a key already; else
    /// it is asked for, within bounds.
    fn hint(&mut self, at: SocketAddr, now_ns: u64) -> bool;

    /// An address that has got a key since the last call.
    fn next_keyed(&mut self) -> Option<SocketAddr>;
}

#[derive(Debug)]
struct Waiting {
    to: SocketAddr,
    packet: Vec<u8>,
    since_ns: u64,
}

/// What the mesh keeps of it.
pub(super) struct Veil {
    pub(super) secrecy: Box<dyn Secrecy>,
    waiting: VecDeque<Waiting>,
}

impl Veil {
    pub(super) fn new(secrecy: Box<dyn Secrecy>) -> Self {
        Self { secrecy, waiting: VecDeque::new() }
    }

    /// The packet as it may leave now. One without a key waits, and the oldest gives way.
    pub(super) fn seal(&mut self, to: SocketAddr, packet: Vec<u8>, now_ns: u64) -> Option<&[u8]> {
        let Self { secrecy, waiting } = self;
        let sealed = secrecy.seal(to, &packet, now_ns);
        if sealed.is_none() {
            if waiting.len() == WAITING_MAX {
                waiting.pop_front();
            }
            waiting.push_back(Waiting { to, packet, since_ns: now_ns });
        }
        sealed
    }

    /// What waited for this peer's key.
    pub(super) fn released(&mut self, to: SocketAddr, now_ns: u64) -> Vec<Vec<u8>> {
        let (mut released, mut others) = (Vec::new(), VecDeque::new());
        for waiting in self.waiting.drain(..) {
            if now_ns.saturating_sub(waiting.since_ns) > WAITING_NS {
                continue;
            }
            if waiting.to == to {
                released.push(waiting.packet);
            } else {
                others.push_back(waiting);
            }
        }
        self.waiting = others;
        released
    }
}

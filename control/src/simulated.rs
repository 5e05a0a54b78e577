//! Byte streams in memory with faults of our choosing, the same for the same seed.
//!
//! The counterpart of [`wireloom_dataplane::io::simulated`] for TCP: one thread, one loop, virtual
//! time. Owned by whoever builds the simulation; the sockets of all nodes share it. Streams keep
//! their order and lose nothing while they are whole, as TCP does; they are slow, they are read and
//! written in pieces, they are cut, refused, silent behind a partition, and gone with a node.

mod pipe;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;

use crate::backoff::Random;
use crate::sockets::{Ready, SocketId, Sockets};
use pipe::{End, Side};

/// What streams suffer. Probabilities are per million, each tried for each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamModel {
    /// That a dialled stream is refused.
    pub refused_ppm: u64,
    /// That a write ends the stream: what was on its way is gone.
    pub cut_ppm: u64,
    /// That a read or write takes a part only.
    pub partial_ppm: u64,
    /// That a write takes nothing though the stream was writable, as a kernel's does when the last
    /// one filled its buffer to the brim.
    pub full_ppm: u64,
    /// The shortest delay of a piece, ns.
    pub delay_ns_min: u64,
    /// The longest; each piece's is chosen evenly between the two, but none overtakes another.
    pub delay_ns_max: u64,
    /// Bytes a stream holds in one direction before its writer has to wait; 0: 64 KiB.
    pub buffer_bytes: usize,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamCounts {
    /// Streams dialled.
    pub dialled: u64,
    /// Those that came to be.
    pub opened: u64,
    /// Those that were refused, or dialled where nobody listens.
    pub refused: u64,
    /// Those cut by chance.
    pub cut: u64,
    /// Reads and writes that took a part.
    pub partial: u64,
}

/// What a stream holds unless told otherwise.
const BUFFER_BYTES: usize = 64 << 10;

#[derive(Debug)]
struct State {
    random: Random,
    model: StreamModel,
    now_ns: u64,
    next: u64,
    sides: BTreeMap<SocketId, Side>,
    /// Who listens where: a life of a node.
    listeners: BTreeMap<SocketAddr, u64>,
    lives: u64,
    /// What does not get through, by sender and receiver.
    partitions: BTreeSet<(SocketAddr, SocketAddr)>,
    counts: StreamCounts,
}

/// The network; clones are the same one.
#[derive(Debug, Clone)]
pub struct SimulatedStreams(Rc<RefCell<State>>);

impl SimulatedStreams {
    /// A network without nodes at time 0. The same `seed` and the same calls give the same faults.
    #[must_use]
    pub fn new(seed: u64, model: StreamModel) -> Self {
        Self(Rc::new(RefCell::new(State {
            random: Random::new(seed),
            model,
            now_ns: 0,
            next: 1,
            sides: BTreeMap::new(),
            listeners: BTreeMap::new(),
            lives: 0,
            partitions: BTreeSet::new(),
            counts: StreamCounts::default(),
        })))
    }

    /// The sockets of a new life of the node at `address`, which listens there.
    #[must_use]
    pub fn node(&self, address: SocketAddr) -> SimulatedSockets {
        let mut state = self.0.borrow_mut();
        state.lives += 1;
        let life = state.lives;
        state.listeners.insert(address, life);
        SimulatedSockets { network: self.clone(), address, life }
    }

    /// Ends the life of the node at `address`, as a crash does. Its peers are told (a reset) unless
    /// it is `silent`, as a machine without power is.
    pub fn crash(&self, address: SocketAddr, silent: bool) {
        let mut state = self.0.borrow_mut();
        let Some(life) = state.listeners.remove(&address) else { return };
        let sides = state.sides.iter().filter(|(_, side)| side.life == life);
        let gone: Vec<SocketId> = sides.map(|(socket, _)| *socket).collect();
        for socket in gone {
            state.leave(socket, (!silent).then_some(End::Reset));
        }
    }

    /// The node at `address` goes on, and refuses from now on whoever dials it.
    #[cfg(test)]
    pub(crate) fn close(&self, address: SocketAddr) {
        self.0.borrow_mut().listeners.remove(&address);
    }

    /// Lets nothing through from one address to another until [`SimulatedStreams::heal`]: what is
    /// on its way waits, as TCP sends it again and again.
    pub fn partition(&self, from: SocketAddr, to: SocketAddr) {
        self.0.borrow_mut().partitions.insert((from, to));
    }

    /// Ends all partitions.
    pub fn heal(&self) {
        self.0.borrow_mut().partitions.clear();
    }

    /// Changes what streams suffer from now on.
    pub fn set_model(&self, model: StreamModel) {
        self.0.borrow_mut().model = model;
    }

    /// Moves time on, never back: what is due arrives.
    pub fn advance_to(&self, now_ns: u64) {
        let mut state = self.0.borrow_mut();
        state.now_ns = state.now_ns.max(now_ns);
        state.arrive();
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> StreamCounts {
        self.0.borrow().counts
    }

    /// Whether the sockets of the node at `address` would have something to say.
    #[cfg(test)]
    pub(crate) fn has_news(&self, address: SocketAddr) -> bool {
        let mut state = self.0.borrow_mut();
        state.arrive();
        let mut of_node = state.sides.values().filter(|side| side.address == address);
        of_node.any(|side| side.unaccepted || side.readable_news || side.writable_news)
    }

    /// Bytes written and not read.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.0.borrow().sides.values().map(Side::bytes_held).sum()
    }
}

impl State {
    fn chance(&mut self, ppm: u64) -> bool {
        ppm > 0 && self.random.up_to(999_999) < ppm
    }

    fn delay_ns(&mut self) -> u64 {
        let span_ns = self.model.delay_ns_max.saturating_sub(self.model.delay_ns_min);
        self.model.delay_ns_min + self.random.up_to(span_ns)
    }

    /// Part of `bytes`, at least one.
    fn part(&mut self, bytes: usize) -> usize {
        if bytes < 2 || !self.chance(self.model.partial_ppm) {
            return bytes;
        }
        self.counts.partial += 1;
        let most = u64::try_from(bytes - 1).unwrap_or(u64::MAX);
        1 + usize::try_from(self.random.up_to(most - 1)).unwrap_or(0)
    }

    /// Takes a side away; the other one learns of it by `end`, or never.
    fn leave(&mut self, socket: SocketId, end: Option<End>) {
        let Some(side) = self.sides.remove(&socket) else { return };
        let due_ns = self.now_ns.saturating_add(self.delay_ns());
        if let (Some(end), Some(other)) = (end, side.other.and_then(|o| self.sides.get_mut(&o))) {
            other.end(end, due_ns);
        }
        if let Some(other) = side.other.and_then(|other| self.sides.get_mut(&other)) {
            other.other = None;
        }
    }

    /// Everything that is due and not behind a partition.
    fn arrive(&mut self) {
        let sockets: Vec<SocketId> = self.sides.keys().copied().collect();
        for socket in sockets {
            self.come_to_be(socket);
            let partitions = &self.partitions;
            if let Some(side) = self.sides.get_mut(&socket)
                && !partitions.contains(&(side.peer, side.address))
            {
                side.arrive(self.now_ns);
            }
        }
    }

    /// A dialled stream is taken or refused, once its first packet got there and back.
    fn come_to_be(&mut self, socket: SocketId) {
        let Some(side) = self.sides.get(&socket) else { return };
        let (address, peer) = (side.address, side.peer);
        let lost = |from, to| self.partitions.contains(&(from, to));
        let Some(due_ns) = side.dialled_until_ns else { return };
        if due_ns > self.now_ns || lost(address, peer) || lost(peer, address) {
            return;
        }
        let refused = self.chance(self.model.refused_ppm);
        let listener = self.listeners.get(&peer).copied().filter(|_| !refused);
        let far = SocketId(self.next);
        let opened = listener.map(|life| Side::accepted(life, (peer, address), socket));
        let Some(side) = self.sides.get_mut(&socket) else { return };
        side.dialled_until_ns = None;
        side.writable_news = true;
        if let Some(opened) = opened {
            side.other = Some(far);
            self.next += 1;
            self.sides.insert(far, opened);
            self.counts.opened += 1;
        } else {
            side.refused = true;
            self.counts.refused += 1;
        }
    }
}

/// The sockets of one life of a node.
#[derive(Debug)]
pub struct SimulatedSockets {
    network: SimulatedStreams,
    address: SocketAddr,
    life: u64,
}

fn would_block<T>() -> io::Result<T> {
    Err(io::ErrorKind::WouldBlock.into())
}

impl Sockets for SimulatedSockets {
    fn dial(&mut self, peer: SocketAddr) -> io::Result<SocketId> {
        let mut state = self.network.0.borrow_mut();
        let socket = SocketId(state.next);
        state.next += 1;
        state.counts.dialled += 1;
        let due_ns = state.now_ns + 2 * state.delay_ns();
        state.sides.insert(socket, Side::dialled(self.life, (self.address, peer), due_ns));
        Ok(socket)
    }

    fn accept(&mut self) -> Option<SocketId> {
        let mut state = self.network.0.borrow_mut();
        let mine = |side: &Side| side.life == self.life && side.unaccepted;
        let (socket, side) = state.sides.iter_mut().find(|(_, side)| mine(side))?;
        side.unaccepted = false;
        Some(*socket)
    }

    fn poll(&mut self, ready: &mut Vec<Ready>) {
        let mut state = self.network.0.borrow_mut();
        state.arrive();
        for (socket, side) in &mut state.sides {
            if side.life == self.life && !side.unaccepted {
                ready.extend(side.news(*socket));
            }
        }
    }

    fn is_open(&mut self, socket: SocketId) -> io::Result<bool> {
        let state = self.network.0.borrow();
        match state.sides.get(&socket) {
            Some(side) if side.refused => Err(io::ErrorKind::ConnectionRefused.into()),
            Some(side) => Ok(side.dialled_until_ns.is_none()),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn peer(&self, socket: SocketId) -> Option<SocketAddr> {
        self.network.0.borrow().sides.get(&socket).map(|side| side.peer)
    }

    fn read(&mut self, socket: SocketId, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.network.0.borrow_mut();
        let Some(side) = state.sides.get(&socket) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let most = side.readable.len().min(into.len());
        if most == 0 {
            return match side.ended {
                Some(End::Finished) => Ok(0),
                Some(End::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
                None => would_block(),
            };
        }
        let bytes = state.part(most);
        let Some(side) = state.sides.get_mut(&socket) else { return would_block() };
        for (byte, taken) in into.iter_mut().zip(side.readable.drain(..bytes)) {
            *byte = taken;
        }
        // The kernel would have given all; that there is more is told again.
        side.readable_news |= bytes < most || side.ended.is_some();
        let other = side.other;
        if let Some(other) = other.and_then(|other| state.sides.get_mut(&other)) {
            other.writable_news |= std::mem::take(&mut other.waits);
        }
        Ok(bytes)
    }

    fn write(&mut self, socket: SocketId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.network.0.borrow_mut();
        let cut_ppm = state.model.cut_ppm;
        if state.chance(cut_ppm) {
            state.counts.cut += 1;
            let other = state.sides.get(&socket).and_then(|side| side.other);
            let due_ns = state.now_ns + state.delay_ns();
            for cut in [Some(socket), other].into_iter().flatten() {
                if let Some(side) = state.sides.get_mut(&cut) {
                    side.cut(due_ns);
                }
            }
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let Some(side) = state.sides.get(&socket) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if side.ended == Some(End::Reset) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if side.dialled_until_ns.is_some() {
            return would_block();
        }
        let other = side.other;
        let held = other.and_then(|other| state.sides.get(&other)).map_or(0, Side::bytes_held);
        let buffer_bytes = match state.model.buffer_bytes {
            0 => BUFFER_BYTES,
            bytes => bytes,
        };
        let asked: usize = slices.iter().map(|slice| slice.len()).sum();
        let most = asked.min(buffer_bytes.saturating_sub(held));
        let full_ppm = state.model.full_ppm;
        if most == 0 || state.chance(full_ppm) {
            if let Some(side) = state.sides.get_mut(&socket) {
                side.waits = most == 0;
                side.writable_news |= most > 0;
            }
            return would_block();
        }
        let bytes = state.part(most);
        let piece: Vec<u8> =
            slices.iter().flat_map(|slice| slice.iter().copied()).take(bytes).collect();
        let due_ns = state.now_ns + state.delay_ns();
        // To a side that has gone without a word, bytes go into the void.
        if let Some(other) = other.and_then(|other| state.sides.get_mut(&other)) {
            other.send(piece, due_ns);
        }
        if let Some(side) = state.sides.get_mut(&socket) {
            side.waits = most < asked;
            side.writable_news |= bytes < most;
        }
        Ok(bytes)
    }

    fn close(&mut self, socket: SocketId) {
        self.network.0.borrow_mut().leave(socket, Some(End::Finished));
    }
}

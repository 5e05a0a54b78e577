//! TLS over any [`Sockets`]: what carries bytes, carries them between nodes that have proved who
//! they are.
//!
//! ```text
//!   Links ── plaintext ──▶ TlsSockets ── records ──▶ TcpSockets, SimulatedSockets
//!                            │ session.rs   one connection
//!                            │ gate.rs      who may begin, how many at a time
//!                            │ records.rs   peers that change keys again and again
//!                            │ distrust.rs  why not
//! ```
//!
//! Owned by the links' agent, on whose thread handshakes are computed: a few in each cycle. Sockets
//! are handed out when both sides have proved who they are; until then a stranger costs a bounded
//! number of bytes, for a bounded time, among a bounded number of strangers.

mod credentials;
mod distrust;
mod gate;
mod records;
mod session;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::counters::{Counter, Counters};
use wireloom_dataplane::poller::Poller;
use wireloom_wire::VERSION;

use crate::settings::ns;
use crate::sockets::{Ready, Secret, SocketId, Sockets};
pub use credentials::{Credentials, IdentityError, PeerIdentity, Trust};
pub use distrust::Distrust;
use gate::Gate;
pub use gate::HandshakeLimits;
pub(crate) use session::SESSION_BYTES_MAX;
use session::{Fault, Session, Stage, Way};

/// Bytes read from a socket at a time: four records.
const SCRATCH_BYTES: usize = 64 << 10;

/// Handshakes that go on in one cycle, so that what is computed for strangers leaves room for
/// events: 2 ms.
const HANDSHAKES_PER_CYCLE: usize = 4;

/// Sockets accepted in one cycle.
const ACCEPTS_PER_CYCLE: usize = 32;

/// Sockets that are closed and still written to, or read until the peer has read why.
const LEAVING_MAX: usize = 64;

/// For how long.
const LEAVING_NS: u64 = 1_000_000_000;

/// Reads of a socket that is being left, in one cycle; whoever sends more is cut off.
const LEAVING_READS: usize = 8;

/// How soon it is seen that certificates were exchanged, revoked, or have expired.
const LOOK_NS: u64 = 250_000_000;

/// What TLS is done with.
#[derive(Debug)]
pub struct TlsConfig {
    /// Who this node is, and whom it trusts.
    pub credentials: Credentials,
    /// What strangers may ask of it.
    pub limits: HandshakeLimits,
    /// Its time.
    pub clock: Clock,
    /// Where it counts.
    pub counters: Arc<Counters>,
    /// What is said to a node that speaks without TLS, before its socket is closed.
    pub plain_answer: Vec<u8>,
}

/// A socket that nobody owns any more.
#[derive(Debug)]
struct Leaving {
    /// What was written and waits for room; `None` where the peer is only given time to read.
    session: Option<Session>,
    until_ns: u64,
}

/// Authenticated sockets over others.
pub struct TlsSockets<S: Sockets> {
    inner: S,
    config: TlsConfig,
    gate: Gate,
    sessions: BTreeMap<SocketId, Session>,
    /// Accepted ones whose handshakes are not done, each with its deadline; the oldest first.
    strangers: BTreeMap<SocketId, u64>,
    /// Handshakes that may be able to go on.
    turns: BTreeSet<SocketId>,
    /// Who had the last one: whoever comes behind it in order is next, or all that are old would
    /// come before all that are new.
    served: SocketId,
    /// Accepted ones whose handshakes are done.
    done: VecDeque<SocketId>,
    /// Whether strangers may begin.
    accepts: bool,
    leaving: BTreeMap<SocketId, Leaving>,
    notices: Vec<Ready>,
    told: Vec<Ready>,
    scratch: Vec<u8>,
    epoch: u64,
    look_at_ns: u64,
    now_ns: u64,
}

impl<S: Sockets> std::fmt::Debug for TlsSockets<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSockets")
            .field("sessions", &self.sessions.len())
            .field("strangers", &self.strangers.len())
            .finish_non_exhaustive()
    }
}

impl<S: Sockets> TlsSockets<S> {
    /// TLS over `inner`.
    #[must_use]
    pub fn new(inner: S, config: TlsConfig) -> Self {
        Self {
            inner,
            gate: Gate::new(&config.limits),
            sessions: BTreeMap::new(),
            strangers: BTreeMap::new(),
            turns: BTreeSet::new(),
            served: SocketId(0),
            done: VecDeque::new(),
            accepts: true,
            leaving: BTreeMap::new(),
            notices: Vec::new(),
            told: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            epoch: config.credentials.epoch(),
            look_at_ns: 0,
            now_ns: config.clock.now_ns(),
            config,
        }
    }

    fn count(&self, counter: Counter) {
        self.config.counters.add(counter, 1);
    }

    /// A session and what it is driven with.
    fn driven(&mut self, socket: SocketId) -> Option<(&mut Session, Way<'_, S>)> {
        let session = self.sessions.get_mut(&socket)?;
        let Self { inner, scratch, now_ns, .. } = self;
        Some((session, Way { sockets: inner, socket, scratch, now_ns: *now_ns }))
    }

    fn tell(&mut self, socket: SocketId, (readable, writable, ends): (bool, bool, bool)) {
        self.told.push(Ready { socket, readable, writable, ends });
    }

    fn on_ready(&mut self, ready: Ready) {
        let socket = ready.socket;
        if self.leaving.contains_key(&socket) {
            self.leave(socket);
            return;
        }
        let Some((session, mut way)) = self.driven(socket) else { return };
        session.ends |= ready.ends;
        match session.stage {
            Stage::Dialling | Stage::Handshaking => {
                self.turns.insert(socket);
            }
            Stage::Failed(_) => {}
            Stage::Open => {
                let again = if ready.writable { session.on_writable(&mut way) } else { Ok(false) };
                match again {
                    Ok(writable) => self.tell(socket, (ready.readable, writable, ready.ends)),
                    Err(error) => self.fail(socket, Fault::Socket(error.kind())),
                }
            }
        }
    }

    /// Lets strangers begin.
    fn take_strangers(&mut self) {
        if !self.accepts {
            return; // they wait below
        }
        for _ in 0..ACCEPTS_PER_CYCLE {
            let Some(socket) = self.inner.accept() else { return };
            let Some(address) = self.inner.peer(socket) else {
                self.inner.close(socket);
                continue;
            };
            if !self.gate.admit(address.ip(), self.now_ns) {
                self.count(Counter::TlsLimited);
                self.inner.close(socket);
                continue;
            }
            let Ok(connection) = ServerConnection::new(self.config.credentials.server_config())
            else {
                self.count(Counter::TlsBroken);
                self.inner.close(socket);
                continue;
            };
            self.shed_stranger();
            let until_ns = self.now_ns.saturating_add(ns(self.config.limits.deadline));
            self.strangers.insert(socket, until_ns);
            let session = Session::new(Connection::Server(connection), Stage::Handshaking);
            self.sessions.insert(socket, session);
            self.turns.insert(socket);
        }
    }

    /// Makes room for a newcomer: the one who has had the most time goes.
    fn shed_stranger(&mut self) {
        if self.strangers.len() >= self.config.limits.at_a_time
            && let Some((socket, _)) = self.strangers.pop_first()
        {
            self.count(Counter::TlsShed);
            self.sessions.remove(&socket);
            self.turns.remove(&socket);
            self.inner.close(socket);
        }
    }

    fn next_turn(&mut self) -> Option<SocketId> {
        let behind = self.turns.range((Bound::Excluded(self.served), Bound::Unbounded)).next();
        self.served = *behind.or_else(|| self.turns.first())?;
        self.turns.take(&self.served)
    }

    fn shake_hands(&mut self) {
        for _ in 0..HANDSHAKES_PER_CYCLE {
            let Some(socket) = self.next_turn() else { return };
            let Some((session, mut way)) = self.driven(socket) else { continue };
            match session.shake_hands(&mut way) {
                Ok(false) => {}
                Ok(true) => self.greet(socket),
                Err(fault) => self.fail(socket, fault),
            }
        }
    }

    /// A handshake is done: who is it?
    fn greet(&mut self, socket: SocketId) {
        let Some(session) = self.sessions.get_mut(&socket) else { return };
        if let Err(distrust) = session.identify(&self.config.credentials) {
            self.fail(socket, distrust.into());
            return;
        }
        session.stage = Stage::Open;
        let ends = session.ends;
        self.count(Counter::TlsHandshakes);
        if self.strangers.remove(&socket).is_some() {
            if let Some(address) = self.inner.peer(socket) {
                self.gate.prove(address.ip());
            }
            self.done.push_back(socket);
        }
        self.tell(socket, (true, true, ends));
    }

    /// A connection is of no use any more. Its owner is told; a stranger has none.
    fn fail(&mut self, socket: SocketId, fault: Fault) {
        match fault {
            Fault::Distrust(distrust) => self.count(distrust.counter()),
            Fault::Socket(_) if self.strangers.contains_key(&socket) => {
                self.count(Counter::TlsBroken);
            }
            Fault::Socket(_) => {}
        }
        let spoke_plainly = self.scratch[0] == VERSION;
        if self.strangers.remove(&socket).is_none() {
            if let Some((session, mut way)) = self.driven(socket) {
                // The peer reads why, if it reads.
                session.part(&mut way);
                session.stage = Stage::Failed(fault);
                self.tell(socket, (true, true, true));
            }
            return;
        }
        match fault {
            Fault::Distrust(Distrust::Plain) if spoke_plainly => {
                let answer = [IoSlice::new(&self.config.plain_answer)];
                let _ = self.inner.write(socket, &answer);
            }
            Fault::Distrust(Distrust::Plain | Distrust::Deadline) | Fault::Socket(_) => {
                self.sessions.remove(&socket);
                self.inner.close(socket);
                return;
            }
            Fault::Distrust(_) => {
                if let Some((session, mut way)) = self.driven(socket) {
                    session.part(&mut way);
                }
            }
        }
        self.sessions.remove(&socket);
        self.linger(socket, None);
    }

    /// Leaves a socket when the peer has had time: one that is closed while bytes of the peer are
    /// unread is reset, and the peer would not read why.
    fn linger(&mut self, socket: SocketId, session: Option<Session>) {
        if self.leaving.len() >= LEAVING_MAX {
            self.inner.close(socket);
            return;
        }
        let until_ns = self.now_ns.saturating_add(LEAVING_NS);
        self.leaving.insert(socket, Leaving { session, until_ns });
        self.leave(socket);
    }

    /// Goes on leaving a socket, and closes it when that is done.
    fn leave(&mut self, socket: SocketId) {
        let Some(leaving) = self.leaving.get_mut(&socket) else { return };
        let Self { inner, scratch, now_ns, .. } = self;
        let mut way = Way { sockets: inner, socket, scratch, now_ns: *now_ns };
        let has_left = match &mut leaving.session {
            Some(session) => session.part(&mut way),
            None => !(0..LEAVING_READS).any(|_| {
                let read = way.sockets.read(socket, way.scratch);
                read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }),
        };
        if has_left {
            self.leaving.remove(&socket);
            self.inner.close(socket);
        }
    }

    fn watch_time(&mut self) {
        let now_ns = self.now_ns;
        let late = self.strangers.iter().filter(|(_, until_ns)| **until_ns <= now_ns);
        for socket in late.map(|(socket, _)| *socket).collect::<Vec<_>>() {
            self.fail(socket, Distrust::Deadline.into());
        }
        let inner = &mut self.inner;
        self.leaving.retain(|socket, leaving| {
            let stays = leaving.until_ns > now_ns;
            if !stays {
                inner.close(*socket);
            }
            stays
        });
    }

    /// After certificates were exchanged or revoked: whether peers are still who they were. Now and
    /// then also those whose certificates have ended; how much clocks may differ, they say there.
    fn look_again(&mut self) {
        let epoch = self.config.credentials.epoch();
        let moved = std::mem::replace(&mut self.epoch, epoch) != epoch;
        if !moved && self.now_ns < self.look_at_ns {
            return;
        }
        self.look_at_ns = self.now_ns.saturating_add(LOOK_NS);
        let unix_s = self.config.clock.unix_ns(self.now_ns) / 1_000_000_000;
        let has_ended = |peer: &PeerIdentity| peer.expires_unix_s <= unix_s;
        let open: Vec<SocketId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.stage == Stage::Open)
            .filter(|(_, session)| moved || session.identity().is_some_and(has_ended))
            .map(|(socket, _)| *socket)
            .collect();
        for socket in open {
            let Some(session) = self.sessions.get_mut(&socket) else { continue };
            if let Err(distrust) = session.identify(&self.config.credentials) {
                self.fail(socket, distrust.into());
            }
        }
    }
}

impl<S: Sockets> Sockets for TlsSockets<S> {
    fn dial(&mut self, peer: SocketAddr) -> io::Result<SocketId> {
        // Only the certificate says who it is; an address is no name that could be asked for.
        let name = ServerName::IpAddress(peer.ip().into());
        let connection = ClientConnection::new(self.config.credentials.client_config(), name)
            .map_err(|_| Distrust::Broken)?;
        let socket = self.inner.dial(peer)?;
        let session = Session::new(Connection::Client(connection), Stage::Dialling);
        self.sessions.insert(socket, session);
        Ok(socket)
    }

    fn set_accepting(&mut self, accepts: bool) {
        self.accepts = accepts;
    }

    fn accept(&mut self) -> Option<SocketId> {
        self.done.pop_front()
    }

    fn poll(&mut self, ready: &mut Vec<Ready>) {
        self.now_ns = self.config.clock.now_ns();
        let mut notices = std::mem::take(&mut self.notices);
        self.inner.poll(&mut notices);
        notices.drain(..).for_each(|notice| self.on_ready(notice));
        self.notices = notices;
        self.take_strangers();
        self.shake_hands();
        self.watch_time();
        self.look_again();
        ready.append(&mut self.told);
    }

    fn is_open(&mut self, socket: SocketId) -> io::Result<bool> {
        match self.sessions.get(&socket).map(|session| session.stage) {
            Some(Stage::Dialling | Stage::Handshaking) => Ok(false),
            Some(Stage::Open) => Ok(true),
            Some(Stage::Failed(fault)) => Err(fault.into()),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn peer(&self, socket: SocketId) -> Option<SocketAddr> {
        self.inner.peer(socket)
    }

    fn read(&mut self, socket: SocketId, into: &mut [u8]) -> io::Result<usize> {
        let Some((session, mut way)) = self.driven(socket) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        match session.stage {
            Stage::Open => {}
            Stage::Failed(fault) => return Err(fault.into()),
            Stage::Dialling | Stage::Handshaking => return Err(io::ErrorKind::WouldBlock.into()),
        }
        let read = session.read(&mut way, into);
        let (tells_end, stage) = (session.tells_end(), session.stage);
        if tells_end {
            self.tell(socket, (true, false, true));
        }
        if let Stage::Failed(Fault::Distrust(distrust)) = stage {
            self.count(distrust.counter());
        }
        read
    }

    fn write(&mut self, socket: SocketId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some((session, mut way)) = self.driven(socket) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        match session.stage {
            Stage::Open => session.write(&mut way, slices),
            Stage::Failed(fault) => Err(fault.into()),
            Stage::Dialling | Stage::Handshaking => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn close(&mut self, socket: SocketId) {
        let Some((session, mut way)) = self.driven(socket) else { return };
        let has_left = session.part(&mut way);
        let session = self.sessions.remove(&socket);
        self.turns.remove(&socket);
        self.strangers.remove(&socket);
        if has_left {
            self.inner.close(socket);
        } else {
            self.linger(socket, session);
        }
    }

    fn peer_identity(&self, socket: SocketId) -> Option<&PeerIdentity> {
        self.sessions.get(&socket)?.identity()
    }

    fn export(&self, socket: SocketId, label: &str) -> Option<Secret> {
        self.sessions.get(&socket).filter(|session| session.stage == Stage::Open)?.export(label)
    }

    fn distrust(&self, socket: SocketId) -> Option<Distrust> {
        match self.sessions.get(&socket)?.stage {
            Stage::Handshaking => Some(Distrust::Deadline),
            Stage::Failed(Fault::Distrust(distrust)) => Some(distrust),
            Stage::Dialling | Stage::Open | Stage::Failed(Fault::Socket(_)) => None,
        }
    }

    fn deadline_ns(&self) -> Option<u64> {
        if !(self.turns.is_empty() && self.done.is_empty() && self.told.is_empty()) {
            return Some(self.now_ns);
        }
        let strangers = self.strangers.values().copied();
        let leaving = self.leaving.values().map(|leaving| leaving.until_ns);
        let look = (!self.sessions.is_empty()).then(|| self.now_ns.saturating_add(LOOK_NS));
        strangers.chain(leaving).chain(look).min()
    }

    fn register(&mut self, poller: &mut Poller) -> io::Result<()> {
        self.inner.register(poller)
    }
}

impl<S: Sockets> Drop for TlsSockets<S> {
    fn drop(&mut self) {
        // What was written goes out, as far as the kernel takes it.
        let Self { inner, scratch, sessions, now_ns, .. } = self;
        for (socket, session) in sessions {
            let mut way = Way { sockets: inner, socket: *socket, scratch, now_ns: *now_ns };
            session.part(&mut way);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! The links' agent: reliable streams over sockets that carry bytes.
//!
//! It owns the sockets, the links this node dialled ([`dialled`]) and accepted ([`accepted`]),
//! and the local ring through which packets reach the handlers. It runs on the control thread or in
//! the caller's loop, over TCP or a network in memory: everything below the sockets is the same.
//!
//! ```text
//!  publishers' rings ═▶ Outgoing ═▶ Dialled ══ packets ══▶ Accepted ═▶ Inbox ═▶ receiver, handlers
//!                                          ◀═ statuses ══              taken ◀═
//! ```

mod accepted;
mod dialled;
mod memory;
mod speech;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::command::{Commands, LocalRing, ReceiverCommand};
use wireloom_dataplane::counters::{Counter, Counters};
use wireloom_dataplane::launch::ReceiverPort;
use wireloom_dataplane::poller::Poller;
use wireloom_dataplane::wake::Wake;
use wireloom_ring::{RingConfig, ring};
use wireloom_wire::{
    Encoding, EventTypeId, Frame, Hello, LANES, LINK_PROTOCOL, Lane, NodeId, SessionId,
};

use crate::backoff::Random;
use crate::incoming::reassembly::{Moment, Outlet, Reassembly};
use crate::incoming::{Inbox, Streams};
use crate::outgoing::Feed;
use crate::outgoing::large::Large;
use crate::settings::{ReliableSettings, ns};
use crate::sockets::{Ready, SocketId, Sockets};
use crate::tally::Undelivered;
use accepted::Accepted;
use dialled::Dialled;
pub use memory::AcceptedMost;

/// Accepted sockets whose hello has not come; one more is closed at once.
const HANDSHAKES_MAX: usize = 64;

/// Accepted sockets; a hello beyond them is refused as busy.
const ACCEPTED_MAX: usize = 2_048;

/// Sockets accepted in one duty cycle, so that a flood of them leaves room for events.
const ACCEPTS_PER_CYCLE: usize = 32;

/// Sockets that had something to say are asked in each cycle for this long.
const LIVELY_NS: u64 = 1_000_000;

/// How long sockets that have nothing to say are left alone.
const QUIET_NS: u64 = 20_000;

/// Bytes read from one socket at a time.
const SCRATCH_BYTES: usize = 256 << 10;

/// The local ring through which packets of all peers reach the handlers.
const INBOX_BYTES: usize = 1 << 20;

/// Commands taken in one duty cycle.
const COMMANDS_PER_CYCLE: usize = 64;

/// An event that was given up, as the dead-letter handler sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeadLetter<'a> {
    /// Where it should have gone.
    pub target: SocketAddr,
    /// Why it did not.
    pub reason: Undelivered,
    pub(crate) frame: Frame<'a>,
}

impl DeadLetter<'_> {
    /// The type of the event.
    #[must_use]
    pub const fn event_type(&self) -> EventTypeId {
        self.frame.header.event_type
    }

    /// The name of its type, where it travels with the event: dynamic events have one.
    #[must_use]
    pub fn type_name(&self) -> Option<&str> {
        self.frame.name()
    }

    /// How the payload is to be read.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.frame.header.encoding
    }

    /// The payload, as it would have been sent.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.frame.payload()
    }

    /// The number its publisher or router gave it: that of its `Accepted`.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.frame.header.sequence
    }
}

/// Who is told of undelivered events.
pub type DeadLetters = Box<dyn FnMut(&DeadLetter<'_>) + Send>;

/// From the node to the links.
pub enum LinksCommand {
    /// A ring whose events go to this address in this lane.
    Attach(SocketAddr, Lane, Feed),
    /// An event too large for a ring, for this address in this lane.
    Large(SocketAddr, Lane, Box<Large>),
    /// Who is told of undelivered events.
    OnUndelivered(DeadLetters),
}

impl std::fmt::Debug for LinksCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Attach(peer, lane, _) => write!(f, "Attach({peer}, {lane})"),
            Self::Large(peer, lane, _) => write!(f, "Large({peer}, {lane})"),
            Self::OnUndelivered(_) => f.write_str("OnUndelivered"),
        }
    }
}

/// How the node reaches its links.
#[derive(Debug, Clone)]
pub struct LinksPort {
    /// Their commands.
    pub commands: Commands<LinksCommand>,
    /// What they count.
    pub counters: Arc<Counters>,
    /// What they can come to hold follows from it.
    pub accepted_most: Arc<AcceptedMost>,
    /// Wakes their thread; `None` when the caller drives it.
    pub wake: Option<Arc<Wake>>,
}

/// Who this node is to its peers.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// Which life of it: later ones have larger numbers.
    pub incarnation: u64,
    /// Its name.
    pub name: String,
    /// Its cluster; 0 for none.
    pub cluster: u64,
    /// Where it listens.
    pub listens: SocketAddr,
    /// The largest event it takes.
    pub event_bytes_max: u32,
}

impl Identity {
    /// What it says of itself, without streams.
    fn hello(&self) -> Hello<'_> {
        Hello {
            protocol: LINK_PROTOCOL,
            cluster: self.cluster,
            node: self.node,
            incarnation: self.incarnation,
            listens: self.listens,
            event_bytes_max: self.event_bytes_max,
            streams: Default::default(),
            stream_count: 0,
            name: &self.name,
        }
    }
}

/// The settings in the units of the machines.
#[derive(Debug, Clone, Copy)]
struct Times {
    connect_ns: u64,
    ack_ns: u64,
    keep_alive_ns: u64,
    attempts: u32,
}

/// What a node gives its links.
#[derive(Debug)]
pub struct LinksConfig {
    /// Who it is.
    pub identity: Identity,
    /// How its links behave.
    pub settings: ReliableSettings,
    /// Its time.
    pub clock: Clock,
    /// The receiver that drains the local ring.
    pub receiver: ReceiverPort,
    /// How the links are reached; its wake is given to the receiver as well.
    pub port: LinksPort,
}

/// What a duty cycle hands down to the links.
struct Cycle<'a, S> {
    sockets: &'a mut S,
    scratch: &'a mut [u8],
    counters: &'a Counters,
    identity: &'a Identity,
    times: Times,
    now_ns: u64,
}

/// The sessions of a link: of its streams of small events, and of its streams of large ones.
type Sessions = (SessionId, SessionId);

/// One of the links to a peer: the peer and the place in its pool.
type LinkKey = (SocketAddr, usize);

/// The agent.
pub struct Links<S> {
    config: LinksConfig,
    times: Times,
    sockets: S,
    scratch: Vec<u8>,
    ready: Vec<Ready>,
    dialled: BTreeMap<LinkKey, Dialled>,
    dialled_by_socket: BTreeMap<SocketId, LinkKey>,
    accepted: BTreeMap<SocketId, Accepted>,
    streams: Streams,
    inbox: Option<Inbox>,
    dead_letters: Option<DeadLetters>,
    random: Random,
    sessions: u32,
    deadline_ns: u64,
    /// When the sockets are asked again, and until when they are asked in each cycle.
    ask_at_ns: u64,
    lively_until_ns: u64,
}

impl<S> std::fmt::Debug for Links<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links")
            .field("dialled", &self.dialled.len())
            .field("accepted", &self.accepted.len())
            .finish_non_exhaustive()
    }
}

impl<S: Sockets> Links<S> {
    /// Links over `sockets`. `seed` makes pauses and session numbers.
    #[must_use]
    pub fn new(sockets: S, config: LinksConfig, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let settings = &config.settings;
        let times = Times {
            connect_ns: ns(settings.connect_timeout),
            ack_ns: ns(settings.ack_timeout),
            keep_alive_ns: ns(settings.keep_alive).max(1),
            attempts: settings.attempts.max(1),
        };
        Self {
            times,
            sockets,
            scratch: vec![0; SCRATCH_BYTES],
            ready: Vec::new(),
            dialled: BTreeMap::new(),
            dialled_by_socket: BTreeMap::new(),
            accepted: BTreeMap::new(),
            streams: Streams::default(),
            inbox: None,
            dead_letters: None,
            // The upper half: datagram links have the lower one.
            sessions: u32::try_from(random.up_to(0x3fff_ffff)).unwrap_or(0) | 0x8000_0000,
            random,
            deadline_ns: u64::MAX,
            ask_at_ns: 0,
            lively_until_ns: 0,
            config,
        }
    }

    fn take_commands(&mut self) -> usize {
        for taken in 0..COMMANDS_PER_CYCLE {
            let Some(command) = self.config.port.commands.pop() else { return taken };
            match command {
                LinksCommand::Attach(peer, lane, feed) => self.link(peer, lane).attach(lane, feed),
                LinksCommand::Large(peer, lane, large) => {
                    self.link(peer, lane).push_large(lane, *large);
                }
                LinksCommand::OnUndelivered(handler) => self.dead_letters = Some(handler),
            }
        }
        COMMANDS_PER_CYCLE
    }

    /// The link to a peer that carries a lane.
    fn link(&mut self, peer: SocketAddr, lane: Lane) -> &mut Dialled {
        let pool = self.config.settings.pool.clamp(1, LANES);
        let index = usize::from(lane).min(pool - 1);
        let node = self.config.identity.node;
        let settings = &self.config.settings;
        let (sessions, random) = (&mut self.sessions, &mut self.random);
        self.dialled.entry((peer, index)).or_insert_with(|| {
            let last = index + 1 == pool;
            let lanes = index..if last { LANES } else { index + 1 };
            let mut link = Dialled::new(peer, (settings, random.next()));
            link.add_lanes(node, lanes, next_sessions(sessions));
            link
        })
    }

    /// Takes in what the sockets have to say. While they have nothing to say they are asked seldom:
    /// in a loop that spins, a question costs the events of others a system call.
    fn take_readiness(&mut self, now_ns: u64) -> usize {
        if now_ns < self.ask_at_ns {
            return 0;
        }
        self.ready.clear();
        self.sockets.poll(&mut self.ready);
        for ready in &self.ready {
            if let Some(key) = self.dialled_by_socket.get(&ready.socket) {
                if let Some(link) = self.dialled.get_mut(key) {
                    link.on_ready(*ready);
                }
            } else if let Some(link) = self.accepted.get_mut(&ready.socket) {
                link.on_ready(*ready);
            }
        }
        let heard = self.accept(now_ns) + self.ready.len();
        if heard > 0 || self.dialled.values().any(Dialled::is_pending) {
            self.lively_until_ns = now_ns.saturating_add(LIVELY_NS);
        }
        let pause_ns = if now_ns < self.lively_until_ns { 0 } else { QUIET_NS };
        self.ask_at_ns = now_ns.saturating_add(pause_ns);
        heard
    }

    fn accept(&mut self, now_ns: u64) -> usize {
        for accepted in 0..ACCEPTS_PER_CYCLE {
            let Some(socket) = self.sockets.accept() else { return accepted };
            let strangers = self.accepted.values().filter(|link| link.is_stranger()).count();
            if strangers >= HANDSHAKES_MAX {
                self.config.port.counters.add(Counter::HandshakesShed, 1);
                self.sockets.close(socket);
                continue;
            }
            let until_ns = now_ns.saturating_add(self.times.connect_ns);
            self.accepted.insert(socket, Accepted::new(socket, until_ns));
            self.config.port.accepted_most.note(self.accepted.len());
        }
        ACCEPTS_PER_CYCLE
    }

    /// The links this node dialled: words of the peers, timers, events.
    fn tend_dialled(&mut self, now_ns: u64) -> usize {
        let mut cycle = Cycle {
            sockets: &mut self.sockets,
            scratch: &mut self.scratch,
            counters: &self.config.port.counters,
            identity: &self.config.identity,
            times: self.times,
            now_ns,
        };
        let mut work = 0;
        for (key, link) in &mut self.dialled {
            let socket = link.socket();
            work += link.tend(&mut cycle);
            if socket != link.socket() {
                if let Some(old) = socket {
                    self.dialled_by_socket.remove(&old);
                }
                if let Some(new) = link.socket() {
                    self.dialled_by_socket.insert(new, *key);
                }
            }
            let letters = &mut self.dead_letters;
            let target = key.0;
            let mut letter = |reason, frame: &Frame<'_>| {
                tell(letters.as_mut(), &DeadLetter { target, reason, frame: *frame });
            };
            work += link.give_up_oversized(|frame| letter(Undelivered::TooLarge, frame));
            if link.outgrew() {
                link.renew_large(next_sessions(&mut self.sessions).1);
            }
            if let Some(reason) = link.gave_up() {
                let sessions = next_sessions(&mut self.sessions);
                link.give_up(reason, sessions, |frame| letter(reason, frame));
                work += 1;
            }
        }
        let sockets = &mut self.sockets;
        let by_socket = &mut self.dialled_by_socket;
        self.dialled.retain(|_, link| {
            let ended = link.is_over();
            if ended && let Some(socket) = link.socket() {
                sockets.close(socket);
                by_socket.remove(&socket);
            }
            !ended
        });
        work
    }

    /// The links that peers dialled: their packets, and what they are to be told.
    fn tend_accepted(&mut self, now_ns: u64) -> usize {
        let moment = self.moment(now_ns);
        let settle = |inbox: &mut Inbox| inbox.settle(&mut self.streams, moment);
        let mut work = self.inbox.as_mut().map_or(0, settle);
        let open: Vec<SocketId> =
            self.accepted.iter().filter(|(_, link)| link.wants_tending()).map(|e| *e.0).collect();
        let mut handed = 0;
        for socket in open {
            handed += self.read_accepted(socket, now_ns);
        }
        if handed > 0
            && let Some(wake) = &self.config.receiver.wake
        {
            wake.notify();
        }
        work += handed;
        if let Some(inbox) = &mut self.inbox {
            for socket in inbox.abandon(&mut self.streams, moment) {
                if let Some(link) = self.accepted.get_mut(&socket) {
                    link.give_up_silent(&self.config.port.counters);
                }
            }
        }
        let mut cycle = Cycle {
            sockets: &mut self.sockets,
            scratch: &mut self.scratch,
            counters: &self.config.port.counters,
            identity: &self.config.identity,
            times: self.times,
            now_ns,
        };
        let streams = &mut self.streams;
        self.accepted.retain(|_, link| {
            work += link.speak(&mut cycle, streams);
            link.watch_time(&mut cycle);
            let ended = link.has_ended();
            if ended {
                link.leave(streams);
                cycle.sockets.close(link.socket());
            }
            !ended
        });
        work
    }

    fn moment(&self, now_ns: u64) -> Moment {
        let unix_ns = self.config.clock.unix_ns(now_ns);
        Moment { now_ns, unix_ns, ack_ns: self.times.ack_ns }
    }

    fn read_accepted(&mut self, socket: SocketId, now_ns: u64) -> usize {
        let Some(mut link) = self.accepted.remove(&socket) else { return 0 };
        if link.is_stranger() {
            let mut cycle = Cycle {
                sockets: &mut self.sockets,
                scratch: &mut self.scratch,
                counters: &self.config.port.counters,
                identity: &self.config.identity,
                times: self.times,
                now_ns,
            };
            let counters = &self.config.port.counters;
            link.read_hello(&mut cycle, |hello, link| {
                if self.inbox.is_none() {
                    self.inbox = make_inbox(&self.config);
                }
                let crowded = self.accepted.len() >= ACCEPTED_MAX || self.inbox.is_none();
                link.meet(hello, (&self.config.identity, crowded), &mut self.accepted)?;
                link.open_streams((hello, counters), &mut self.streams, &mut self.accepted)
            });
        }
        let mut handed = 0;
        let moment = self.moment(now_ns);
        if !link.is_stranger()
            && let Some(inbox) = &mut self.inbox
        {
            let mut cycle = Cycle {
                sockets: &mut self.sockets,
                scratch: &mut self.scratch,
                counters: &self.config.port.counters,
                identity: &self.config.identity,
                times: self.times,
                now_ns,
            };
            let into = (inbox, &mut self.streams, moment);
            handed = link.read_packets(&mut cycle, into);
        }
        self.accepted.insert(socket, link);
        handed
    }

    fn next_deadline_ns(&self) -> u64 {
        let dialled = self.dialled.values().map(|link| link.deadline_ns(self.times));
        let accepted = self.accepted.values().map(|link| link.deadline_ns(self.times));
        let inbox =
            self.inbox.as_ref().map(|inbox| inbox.deadline_ns(&self.streams, self.times.ack_ns));
        dialled.chain(accepted).chain(inbox).min().unwrap_or(u64::MAX)
    }
}

/// The next session of this life: each life begins at a random one, none is used twice.
const fn next_session(sessions: &mut u32) -> SessionId {
    *sessions = sessions.wrapping_add(1) | 0x8000_0000;
    SessionId(*sessions)
}

/// Two of them: for the small events of a link, and for its large ones.
const fn next_sessions(sessions: &mut u32) -> Sessions {
    (next_session(sessions), next_session(sessions))
}

/// The ring to the receiver, made when the first peer comes.
fn make_inbox(config: &LinksConfig) -> Option<Inbox> {
    let (producer, consumer) =
        ring(RingConfig { capacity_bytes: INBOX_BYTES, huge_pages: false }).ok()?;
    let local = Box::new(LocalRing { consumer, taken: config.port.wake.clone() });
    config.receiver.commands.push(ReceiverCommand::AttachLocal(local)).ok()?;
    if let Some(wake) = &config.receiver.wake {
        wake.notify();
    }
    let outlet = Outlet {
        receiver: config.receiver.clone(),
        wake: config.port.wake.clone(),
        counters: Arc::clone(&config.port.counters),
    };
    Some(Inbox::new(producer, Reassembly::new(outlet, config.settings.event_bytes_max())))
}

/// Tells the handler of undelivered events, if there is one. A panic of it is its own; the links go
/// on.
fn tell(handler: Option<&mut DeadLetters>, letter: &DeadLetter<'_>) {
    if let Some(handler) = handler {
        let _ = catch_unwind(AssertUnwindSafe(|| handler(letter)));
    }
}

impl<S: Sockets> Agent for Links<S> {
    fn name(&self) -> &'static str {
        "links"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        let mut work = self.take_commands();
        work += self.take_readiness(now_ns);
        work += self.tend_accepted(now_ns);
        work += self.tend_dialled(now_ns);
        self.deadline_ns = self.next_deadline_ns();
        work
    }

    fn deadline_ns(&self) -> Option<u64> {
        (self.deadline_ns < u64::MAX).then_some(self.deadline_ns)
    }

    fn is_blocked(&self) -> bool {
        self.dialled.values().any(Dialled::is_pending)
    }

    fn before_sleep(&mut self) {
        self.ask_at_ns = 0;
    }

    fn register(&mut self, poller: &mut Poller) -> io::Result<()> {
        self.sockets.register(poller)
    }

    fn on_close(&mut self, _now_ns: u64) {
        let sessions = next_sessions(&mut self.sessions);
        for ((target, _), link) in &mut self.dialled {
            let letters = &mut self.dead_letters;
            let (target, reason) = (*target, Undelivered::Closed);
            link.give_up(reason, sessions, |frame| {
                tell(letters.as_mut(), &DeadLetter { target, reason, frame: *frame });
            });
        }
    }
}

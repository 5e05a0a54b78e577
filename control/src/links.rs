//! The links' agent: reliable streams over sockets that carry bytes.
//!
//! It owns the sockets ([`line`]s), the links that write this node's events to them ([`dialled`]),
//! the halves that take the peers' events from them ([`accepted`]), and the local ring through
//! which packets reach the handlers. It runs on the control thread or in the caller's loop, over
//! TCP or a network in memory: everything below the sockets is the same.
//!
//! ```text
//!  publishers' rings ═▶ Outgoing ═▶ Dialled ══ packets ══▶ Accepted ═▶ Inbox ═▶ receiver, handlers
//!                                          ◀═ statuses ══              taken ◀═
//! ```
//!
//! Two nodes that talk to each other do so by one line: who has events for a peer that has dialled
//! writes them to the peer's line. Words, events and TCP's own acknowledgements of both directions
//! then travel together.

mod accepted;
mod borrowing;
mod cycle;
mod dialled;
mod letter;
mod line;
mod memory;
mod notes;
mod notices;
mod port;
mod reading;
mod sessions;
mod speech;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::command::{LocalRing, ReceiverCommand};
use wireloom_dataplane::counters::Counter;
use wireloom_dataplane::poller::Poller;
use wireloom_ring::{RingConfig, ring};
use wireloom_wire::{Frame, LANES, Lane};

use crate::backoff::Random;
use crate::compression::Compression;
use crate::incoming::reassembly::{Moment, Outlet, Reassembly};
use crate::incoming::{Inbox, Streams};
use crate::sockets::{Ready, SocketId, Sockets};
use crate::tally::Undelivered;
use accepted::Accepted;
use borrowing::{borrowable, dialled_from};
use cycle::{Cycle, Times};
use dialled::Dialled;
use letter::tell;
pub use letter::{DeadLetter, DeadLetters};
use line::Line;
pub use memory::AcceptedMost;
use notes::Outbox;
use notices::Announced;
pub use notices::{LinksNotice, LinksNotices};
pub use port::{Identity, LinksCommand, LinksConfig, LinksPort};
use reading::{Halves, Heard, read_line};
use sessions::{Sessions, next_sessions};

/// Accepted sockets whose hello has not come; one more takes the place of the oldest.
const HANDSHAKES_MAX: usize = 64;

/// Accepted sockets; a hello beyond them is refused as busy.
const ACCEPTED_MAX: usize = 2_048;

/// Sockets accepted in one duty cycle, so that a flood of them leaves room for events.
const ACCEPTS_PER_CYCLE: usize = 32;

/// Sockets that had something to say are asked in each cycle for this long.
const LIVELY_NS: u64 = 1_000_000;

/// Accepted links that brought something lately are read in each cycle without being asked for, if
/// they are no more than these, and the others are asked for seldom: one system call, not two.
const HOT_MAX: usize = 4;

/// How much longer an acknowledgement waits while there are packets to be handed over.
const ACK_PATIENCE_NS: u64 = 200_000;

/// How long sockets that have nothing to say, or others than the hot ones, are left alone.
const QUIET_NS: u64 = 20_000;

/// Bytes read from one socket at a time.
const SCRATCH_BYTES: usize = 256 << 10;

/// The local ring through which packets of all peers reach the handlers.
const INBOX_BYTES: usize = 1 << 20;

/// What may be on its way by a line that the peer dialled: enough for a conversation, and little
/// enough that the peer can always set it aside and read on.
const BORROWED_BYTES_MAX: usize = 64 << 10;

/// Of the lines of a pair of nodes, the one that carries this lane is told of, and kept open where
/// a node is introduced.
const LOWEST_LANE: Lane = 4;

/// Commands taken in one duty cycle.
const COMMANDS_PER_CYCLE: usize = 64;

/// One of the links to a peer: the peer and the place in its pool.
type LinkKey = (SocketAddr, usize);

/// The agent.
pub struct Links<S> {
    config: LinksConfig,
    times: Times,
    sockets: S,
    scratch: Vec<u8>,
    compression: Compression,
    ready: Vec<Ready>,
    lines: BTreeMap<SocketId, Line>,
    dialled: BTreeMap<LinkKey, Dialled>,
    accepted: BTreeMap<SocketId, Accepted>,
    streams: Streams,
    inbox: Option<Inbox>,
    dead_letters: Option<DeadLetters>,
    announced: Announced,
    outbox: Outbox,
    random: Random,
    sessions: u32,
    deadline_ns: u64,
    /// When the sockets are asked again, and until when they are asked in each cycle.
    ask_at_ns: u64,
    lively_until_ns: u64,
    /// Accepted links that brought something lately.
    hot: usize,
    /// The thread is about to sleep: everybody is told everything.
    says_all: bool,
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
    pub fn new(mut sockets: S, config: LinksConfig, seed: u64) -> Self {
        let mut random = Random::new(seed);
        sockets.set_accepting(config.accepts);
        Self {
            times: Times::of(&config.settings),
            sockets,
            scratch: vec![0; SCRATCH_BYTES],
            compression: Compression::default(),
            ready: Vec::new(),
            lines: BTreeMap::new(),
            dialled: BTreeMap::new(),
            accepted: BTreeMap::new(),
            streams: Streams::default(),
            inbox: None,
            dead_letters: None,
            announced: Announced::default(),
            outbox: Outbox::default(),
            // The upper half: datagram links have the lower one.
            sessions: u32::try_from(random.up_to(0x3fff_ffff)).unwrap_or(0) | 0x8000_0000,
            random,
            deadline_ns: u64::MAX,
            ask_at_ns: 0,
            lively_until_ns: 0,
            hot: 0,
            says_all: false,
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
                LinksCommand::OnNotice(listener) => {
                    self.announced.listen(listener, &self.sockets);
                }
                LinksCommand::Introduce(peer) => self.link(peer, LOWEST_LANE).introduce(true),
                LinksCommand::Part(peer) => self.link(peer, LOWEST_LANE).introduce(false),
                LinksCommand::Note { to, note } => {
                    self.outbox.push(self.announced.line_of(to), note, &self.config.port.counters);
                }
                LinksCommand::Accept => {
                    self.sockets.set_accepting(true);
                    (self.config.accepts, self.ask_at_ns) = (true, 0);
                }
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
            if let Some(line) = self.lines.get_mut(&ready.socket) {
                line.on_ready(*ready);
                if ready.ends
                    && let Some(distrust) = self.sockets.distrust(ready.socket)
                {
                    line.end_untrusted(distrust);
                }
            }
        }
        let heard = self.accept(now_ns) + self.ready.len();
        if heard > 0 || self.dialled.values().any(Dialled::is_pending) {
            self.lively_until_ns = now_ns.saturating_add(LIVELY_NS);
        }
        let hot = (1..=HOT_MAX).contains(&self.hot);
        let pause_ns = if now_ns < self.lively_until_ns && !hot { 0 } else { QUIET_NS };
        self.ask_at_ns = now_ns.saturating_add(pause_ns);
        heard
    }

    fn accept(&mut self, now_ns: u64) -> usize {
        if !self.config.accepts {
            return 0; // they wait in the kernel
        }
        for accepted in 0..ACCEPTS_PER_CYCLE {
            let Some(socket) = self.sockets.accept() else { return accepted };
            self.shed_stranger();
            let until_ns = now_ns.saturating_add(self.times.connect_ns);
            self.lines.insert(socket, Line::accepted(socket));
            self.accepted.insert(socket, Accepted::new(socket, until_ns));
            self.config.port.accepted_most.note(self.accepted.len());
        }
        ACCEPTS_PER_CYCLE
    }

    /// Makes room for a newcomer: among so many whose hello has not come whole, the one who has had
    /// the most time goes. Who says hello at once gets in, whoever else says nothing.
    fn shed_stranger(&mut self) {
        let mut strangers = self.accepted.iter().filter(|(_, link)| link.is_stranger());
        let oldest = strangers.next().map(|(socket, _)| *socket);
        if let Some(oldest) = oldest
            && 1 + strangers.count() >= HANDSHAKES_MAX
        {
            self.config.port.counters.add(Counter::HandshakesShed, 1);
            self.accepted.remove(&oldest);
            self.lines.remove(&oldest);
            self.sockets.close(oldest);
        }
    }

    /// The links to peers: events, timers. What the peer is to be told by the same line goes along.
    fn tend_dialled(&mut self, now_ns: u64) -> usize {
        let mut cycle = Cycle::new(
            (&mut self.sockets, &mut self.scratch, &mut self.compression),
            &self.config,
            self.times,
            (now_ns, true),
        );
        let mut work = 0;
        for (key, link) in &mut self.dialled {
            if link.would_borrow(now_ns)
                && let Some(line) = borrowable(link, *key, (&mut self.lines, &self.accepted))
                && dialled_from(cycle.sockets, line.socket(), key.0)
            {
                line.set_writer(Some(*key));
                link.borrow(line, &cycle);
            }
            let socket = link.socket();
            let mut line = socket.and_then(|socket| self.lines.get_mut(&socket));
            if let Some(line) = &mut line
                && link.has_more()
                && let Some(half) = self.accepted.get(&line.socket())
            {
                half.tell(line, &mut cycle, &mut self.streams);
            }
            work += link.tend(line, &mut cycle);
            if let Some(new) = link.socket().filter(|_| link.socket() != socket) {
                self.lines.insert(new, Line::dialled(new, *key));
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
        let (lines, accepted) = (&mut self.lines, &self.accepted);
        self.dialled.retain(|_, link| {
            let ended = link.is_over();
            if ended && let Some(line) = link.socket().and_then(|socket| lines.get_mut(&socket)) {
                line.set_writer(None);
                let taken = accepted.get(&line.socket()).is_some_and(Accepted::is_open);
                if !taken || !link.is_open() {
                    line.end();
                }
            }
            !ended
        });
        work
    }

    /// What came by the lines, the peers' packets and their words; and how much the handlers have
    /// taken meanwhile.
    fn hear_lines(&mut self, now_ns: u64) -> (Heard, usize) {
        let moment = self.moment(now_ns);
        let settle = |inbox: &mut Inbox| inbox.settle(&mut self.streams, moment);
        let settled = self.inbox.as_mut().map_or(0, settle);
        let looks = (1..=HOT_MAX).contains(&self.hot);
        let (mut greeting, mut heard) = (Vec::new(), Heard::default());
        let mut cycle = Cycle::new(
            (&mut self.sockets, &mut self.scratch, &mut self.compression),
            &self.config,
            self.times,
            (now_ns, self.says_all),
        );
        let accepts = self.config.accepts;
        for (socket, line) in &mut self.lines {
            let mut half = self.accepted.get_mut(socket);
            if looks && line.is_hot(now_ns) && half.as_ref().is_some_and(|half| half.is_open()) {
                line.look();
            }
            if line.greets {
                greeting.extend((accepts && line.answers()).then_some(*socket));
                continue;
            }
            let waits = line.blocked || half.as_ref().is_some_and(|half| half.has_aside());
            if !line.is_readable() && !waits {
                continue;
            }
            match &mut half {
                Some(half) if half.is_stranger() => greeting.push(*socket),
                Some(half) if !half.is_open() => {}
                half => {
                    let accepted = half.as_deref_mut();
                    let writer = line.writer().and_then(|key| self.dialled.get_mut(&key));
                    let into = self.inbox.as_mut().map(|inbox| (inbox, &mut self.streams, moment));
                    let of_line =
                        read_line(line, &mut Halves { accepted, writer }, &mut cycle, into);
                    heard += of_line;
                    greeting.extend((accepts && line.answers()).then_some(*socket));
                }
            }
        }
        for socket in greeting {
            heard += self.hear_hello(socket, now_ns);
        }
        if heard.handed > 0
            && let Some(wake) = &self.config.receiver.wake
        {
            wake.notify();
        }
        if let Some(inbox) = &mut self.inbox {
            for socket in inbox.abandon(&mut self.streams, moment) {
                if let Some(half) = self.accepted.get_mut(&socket) {
                    half.give_up_silent(&self.config.port.counters);
                }
            }
        }
        (heard, settled)
    }

    fn moment(&self, now_ns: u64) -> Moment {
        let unix_ns = self.config.clock.unix_ns(now_ns);
        Moment { now_ns, unix_ns, ack_ns: self.times.ack_ns }
    }

    /// A hello is answered; packets may have come with it.
    fn hear_hello(&mut self, socket: SocketId, now_ns: u64) -> Heard {
        let Some(mut line) = self.lines.remove(&socket) else { return Heard::default() };
        let moment = self.moment(now_ns);
        let proven = self.sockets.peer_identity(socket).cloned();
        let mut cycle = Cycle::new(
            (&mut self.sockets, &mut self.scratch, &mut self.compression),
            &self.config,
            self.times,
            (now_ns, self.says_all),
        );
        // Who says hello again begins again.
        let mut half = self.accepted.remove(&socket);
        if let Some(before) = half.take_if(|half| !half.is_stranger()) {
            before.leave(&mut self.streams);
        }
        let mut half = half.unwrap_or_else(|| Accepted::new(socket, now_ns));
        let mut came = None;
        half.read_hello(&mut line, &mut cycle, |hello, half| {
            // Who does not listen takes no events by the lines it dialled either.
            if self.inbox.is_none() && self.config.settings.listens {
                self.inbox = make_inbox(&self.config);
            }
            let crowded = self.accepted.len() >= ACCEPTED_MAX || self.inbox.is_none();
            let known = (&self.config.identity, proven.as_ref(), crowded);
            half.meet(hello, known, &mut self.accepted)?;
            let counters = &self.config.port.counters;
            came = Some(hello.listens);
            half.open_streams((hello, counters), &mut self.streams, &mut self.accepted)
        });
        // It is there again, and so is the way to it.
        self.dialled.iter_mut().filter(|(key, _)| Some(key.0) == came).for_each(|(_, link)| {
            link.hurry(now_ns);
        });
        let mut heard = Heard { others: 1, ..Heard::default() };
        // Where the hello is refused, words on this node's events may follow.
        if half.is_open() || line.is_ours() {
            let into = self.inbox.as_mut().map(|inbox| (inbox, &mut self.streams, moment));
            let writer = line.writer().and_then(|key| self.dialled.get_mut(&key));
            let mut halves = Halves { accepted: Some(&mut half), writer };
            heard += read_line(&mut line, &mut halves, &mut cycle, into);
        }
        self.lines.insert(socket, line);
        self.accepted.insert(socket, half);
        self.config.port.accepted_most.note(self.accepted.len());
        heard
    }

    /// What the peers are to be told of their streams. With packets just handed to the handlers,
    /// only what cannot wait: an answer to them may follow at once.
    fn speak_accepted(&mut self, now_ns: u64, heard: bool) -> usize {
        let mut cycle = Cycle::new(
            (&mut self.sockets, &mut self.scratch, &mut self.compression),
            &self.config,
            self.times,
            (now_ns, std::mem::take(&mut self.says_all)),
        );
        cycle.patience_ns = if heard { ACK_PATIENCE_NS } else { 0 };
        let (lines, streams) = (&mut self.lines, &mut self.streams);
        let (mut said, mut hot) = (0, 0);
        self.accepted.retain(|socket, half| {
            let Some(line) = lines.get_mut(socket) else { return false };
            said += half.speak(line, &mut cycle, streams);
            half.watch_time(line, &mut cycle);
            hot += usize::from(half.is_open() && line.is_hot(now_ns));
            if half.has_ended() && !line.goes_on_without_peer() {
                line.end();
            }
            let ended = half.has_ended() || line.has_ended();
            if ended {
                half.leave(streams);
            }
            !ended
        });
        let (due_ns, before) = (cycle.due_ns, self.lines.len());
        self.lines.retain(|socket, line| {
            let ended = line.has_ended();
            if ended {
                if let (Some(distrust), Some(key)) = (line.distrust(), line.writer())
                    && let Some(link) = self.dialled.get_mut(&key)
                {
                    link.on_distrust(distrust);
                }
                self.sockets.close(*socket);
                self.announced.end(*socket);
                self.outbox.end(*socket, &self.config.port.counters);
            }
            !ended
        });
        self.deadline_ns = due_ns;
        self.hot = hot;
        // Links whose lines have ended have something to do.
        said + before - self.lines.len()
    }

    /// Notes go last: words and events of this cycle are before them.
    fn say_notes(&mut self, now_ns: u64) -> usize {
        let mut cycle = Cycle::new(
            (&mut self.sockets, &mut self.scratch, &mut self.compression),
            &self.config,
            self.times,
            (now_ns, false),
        );
        self.outbox.speak(&mut self.lines, &mut cycle)
    }

    fn next_deadline_ns(&self) -> u64 {
        let dialled = self.dialled.values().map(|link| link.deadline_ns(self.times));
        let accepted = self.accepted.iter().filter_map(|(socket, half)| {
            Some(half.deadline_ns(self.lines.get(socket)?, self.times))
        });
        let inbox =
            self.inbox.as_ref().map(|inbox| inbox.deadline_ns(&self.streams, self.times.ack_ns));
        let sockets = self.sockets.deadline_ns();
        dialled.chain(accepted).chain(inbox).chain(sockets).min().unwrap_or(u64::MAX)
    }
}

/// The bit of a lane in a set of them.
const fn lane_bit(lane: Lane) -> u8 {
    1 << (lane & 7)
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

impl<S: Sockets> Agent for Links<S> {
    fn name(&self) -> &'static str {
        "links"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        let mut work = self.take_commands();
        // Events first: what the handlers have just published waits for no look at a socket.
        work += self.tend_dialled(now_ns);
        work += self.take_readiness(now_ns);
        let (heard, settled) = self.hear_lines(now_ns);
        let opened = self.config.port.counters.read(Counter::LinksOpened);
        let parts = (&self.lines, &self.dialled, &self.accepted);
        self.announced.look(opened, parts, (&self.sockets, &self.config.port.accepted_most));
        if heard.notes > 0 {
            self.announced.tell_notes(&mut self.lines, &self.sockets);
        }
        let news = heard.handed + settled;
        work += heard.others + news;
        work += self.speak_accepted(now_ns, news > 0) + self.say_notes(now_ns);
        self.deadline_ns = self.deadline_ns.min(self.next_deadline_ns());
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
        self.says_all = true;
    }

    fn register(&mut self, poller: &mut Poller) -> io::Result<()> {
        self.sockets.register(poller)
    }

    fn on_close(&mut self, now_ns: u64) {
        // What the handlers have taken is acknowledged: their last event may be why the node ends.
        self.says_all = true;
        let moment = self.moment(now_ns);
        if let Some(inbox) = &mut self.inbox {
            inbox.settle(&mut self.streams, moment);
        }
        self.speak_accepted(now_ns, false);
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

#[cfg(test)]
mod tests;

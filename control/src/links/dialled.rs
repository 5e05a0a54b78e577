//! A link to a peer: it carries the streams of one peer (or some of their lanes) there, and the
//! peer's word on how far they have come back. It dials a line of its own, or borrows the one that
//! the peer dialled for the same lanes.
//!
//! ```text
//!           events                    open            welcome
//!  Idle ───────────▶ Dialling ───────────▶ Greeting ───────────▶ Open
//!    ▲ ╲                │ fails           ▲   │ fails              │ cut, silent, broken
//!    │  ╲ a line to borrow ───────────────┘   │                    │
//!    │  no events       ▼                     ▼                    ▼
//!    └───────────── Waiting (a pause with jitter), or given up after so many attempts, and so long
//! ```
//!
//! On a borrowed line little is on its way at a time, so that the peer can always set it aside and
//! read on to the word it waits for. Who has more to say dials a line of its own.

mod blocks;
mod ending;
mod plan;

use std::net::SocketAddr;
use std::ops::Range;

use wireloom_dataplane::counters::Counter;
use wireloom_wire::{
    CONTROL_PACKET_BYTES_MAX, Control, Frame, Hello, NodeId, PACKET_HEADER_BYTES, Packet, Refusal,
    SessionId, Status, StreamPoint,
};

use super::line::Line;
use super::{BORROWED_BYTES_MAX, Cycle, LOWEST_LANE, Sessions, lane_bit};
use crate::backoff::Backoff;
use crate::outgoing::{Feed, Outgoing, Pieces};
use crate::settings::{ReliableSettings, ns};
use crate::sockets::{SocketId, Sockets};
use crate::tally::Undelivered;
use crate::tls::Distrust;
use ending::Ended;

/// The lane whose line is told of.
const LOWEST_LANE_BIT: u8 = lane_bit(LOWEST_LANE);

/// Writes of one link in a duty cycle, so that others come round.
const WRITES_PER_CYCLE: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Waiting { until_ns: u64 },
    Dialling { until_ns: u64 },
    Greeting { until_ns: u64 },
    Open,
}

/// The link.
#[derive(Debug)]
pub(super) struct Dialled {
    peer: SocketAddr,
    streams: Vec<Outgoing>,
    /// Large events, by lane as `streams`.
    large: Vec<Pieces>,
    /// Which of those goes first next time.
    turn: usize,
    stage: Stage,
    socket: Option<SocketId>,
    /// The peer dialled the line.
    borrowed: bool,
    /// The next line is to be its own.
    wants_own: bool,
    /// The peer dialled anew, while this link went by its old line.
    hurried: bool,
    /// It has a line though there are no events.
    introduced: bool,
    /// When its line was opened, and whether another is to take its place.
    opened_ns: u64,
    renews: bool,
    /// What the peer said ends the attempt.
    failed: Option<Ended>,
    backoff: Backoff,
    wrote_ns: u64,
    /// Since when the peer owes a word; `None` when it owes none.
    owed_since_ns: Option<u64>,
    given_up: Option<Undelivered>,
    /// The two sides agreed on blocks; how many writes go without, where nothing was to be saved.
    compresses: bool,
    plain_writes: u32,
    /// The peer takes less than what was begun: streams of large events begin anew.
    outgrown: bool,
}

impl Dialled {
    pub(super) fn new(peer: SocketAddr, (settings, seed): (&ReliableSettings, u64)) -> Self {
        let backoff = Backoff::new(ns(settings.backoff_min), ns(settings.backoff_max), seed);
        Self {
            peer,
            streams: Vec::new(),
            large: Vec::new(),
            turn: 0,
            stage: Stage::Idle,
            socket: None,
            borrowed: false,
            wants_own: false,
            hurried: false,
            introduced: false,
            opened_ns: 0,
            renews: false,
            failed: None,
            backoff,
            wrote_ns: 0,
            owed_since_ns: None,
            given_up: None,
            compresses: false,
            plain_writes: 0,
            outgrown: false,
        }
    }

    /// Lets the link carry these lanes: small events in one session, large ones in the other.
    pub(super) fn add_lanes(&mut self, node: NodeId, lanes: Range<usize>, sessions: Sessions) {
        for lane in lanes.filter_map(|lane| u8::try_from(lane).ok()) {
            self.streams.push(Outgoing::new(node, lane, sessions.0));
            self.large.push(Pieces::new(node, lane, sessions.1));
        }
    }

    pub(super) fn attach(&mut self, lane: u8, feed: Feed) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.lane() == lane) {
            stream.attach(feed);
        }
    }

    pub(super) const fn socket(&self) -> Option<SocketId> {
        self.socket
    }

    /// Whether events are on their way or wait.
    pub(super) fn is_pending(&self) -> bool {
        self.streams.iter().any(Outgoing::is_pending) || self.large.iter().any(Pieces::is_pending)
    }

    /// Whether it has, or will have, a line.
    fn wants_line(&self) -> bool {
        self.introduced || self.is_pending()
    }

    /// Keeps a line open though there are no events, or no longer does.
    pub(super) const fn introduce(&mut self, introduced: bool) {
        self.introduced = introduced;
    }

    /// Whether its line is open, and is the one of the pair's that is told of.
    pub(super) fn speaks(&self) -> bool {
        self.stage == Stage::Open && self.lanes() & LOWEST_LANE_BIT != 0
    }

    /// Whether the peer owes a word for something that was written.
    fn awaits_word(&self) -> bool {
        self.streams.iter().any(Outgoing::awaits_word) || self.large.iter().any(Pieces::awaits_word)
    }

    /// Whether the link has no publishers and nothing left to do.
    pub(super) fn is_over(&mut self) -> bool {
        self.streams.iter_mut().for_each(Outgoing::drop_ended);
        !self.introduced
            && !self.streams.iter().any(Outgoing::is_fed)
            && !self.large.iter().any(Pieces::is_pending)
    }

    /// The lanes it carries, a bit each.
    pub(super) fn lanes(&self) -> u8 {
        self.streams.iter().fold(0, |lanes, stream| lanes | lane_bit(stream.lane()))
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open && self.half_written().is_none()
    }

    /// Whether events wait that were not made packets yet.
    pub(super) fn has_more(&self) -> bool {
        self.stage == Stage::Open && self.streams.iter().any(Outgoing::has_more)
    }

    /// Whether it is about to dial, and would as well use a line of the peer's.
    pub(super) fn would_borrow(&self, now_ns: u64) -> bool {
        let dials = match self.stage {
            Stage::Idle => self.wants_line(),
            Stage::Waiting { until_ns } => now_ns >= until_ns,
            _ => false,
        };
        dials && !self.wants_own
    }

    /// Leaves a borrowed line as soon as it can, for one of its own.
    pub(super) const fn want_own(&mut self) {
        self.wants_own |= self.borrowed;
    }

    /// The peer has just shown that it is there: the next attempt is made now, as the first.
    pub(super) const fn hurry(&mut self, now_ns: u64) {
        if let Stage::Waiting { .. } = self.stage {
            self.stage = Stage::Waiting { until_ns: now_ns };
            self.backoff.reset();
        }
        // Its old line may be seen to end later than its new one began.
        self.hurried = self.borrowed;
    }

    /// Whether what is pending is to be given up now.
    pub(super) const fn gave_up(&mut self) -> Option<Undelivered> {
        self.given_up.take()
    }

    pub(super) fn give_up(
        &mut self,
        reason: Undelivered,
        sessions: Sessions,
        mut letter: impl FnMut(&Frame<'_>),
    ) {
        for stream in &mut self.streams {
            stream.give_up(reason, sessions.0, &mut letter);
        }
        for stream in &mut self.large {
            stream.give_up(reason, sessions.1, &mut letter);
        }
    }

    /// When the link next has something to do by itself.
    pub(super) fn deadline_ns(&self, times: super::Times) -> u64 {
        match self.stage {
            Stage::Idle => u64::MAX,
            Stage::Waiting { until_ns }
            | Stage::Dialling { until_ns }
            | Stage::Greeting { until_ns } => until_ns,
            Stage::Open => {
                let keep_alive_ns = self.wrote_ns.saturating_add(times.keep_alive_ns);
                let owed_ns = self.owed_since_ns.map(|since| since.saturating_add(times.ack_ns));
                let renew_ns = self.renew_at_ns(times).unwrap_or(u64::MAX);
                owed_ns.unwrap_or(u64::MAX).min(keep_alive_ns).min(renew_ns)
            }
        }
    }

    /// One duty cycle, with its line where it has one.
    pub(super) fn tend<S: Sockets>(
        &mut self,
        mut line: Option<&mut Line>,
        cycle: &mut Cycle<'_, S>,
    ) -> usize {
        match self.advance(line.as_deref_mut(), cycle) {
            Ok(work) => {
                if let Some(line) = line {
                    // Some went, or there was room for all.
                    line.events_had_turn |= work > 0 || line.is_writable();
                }
                work
            }
            Err(ended) => {
                self.end(ended, line, cycle);
                1
            }
        }
    }

    fn advance<S: Sockets>(
        &mut self,
        line: Option<&mut Line>,
        cycle: &mut Cycle<'_, S>,
    ) -> Result<usize, Ended> {
        if let Some(ended) = self.failed.take() {
            return Err(ended);
        }
        let now_ns = cycle.now_ns;
        match (self.stage, line.filter(|line| !line.has_ended())) {
            (Stage::Idle, _) if self.wants_line() => self.dial(cycle),
            (Stage::Waiting { until_ns }, _) if now_ns >= until_ns => self.dial(cycle),
            (Stage::Idle | Stage::Waiting { .. }, _) => Ok(0),
            (Stage::Dialling { .. }, None) => Err(Ended::Unreachable),
            (_, None) => Err(Ended::Cut),
            (Stage::Dialling { until_ns }, Some(line)) => {
                self.watch_dialling(until_ns, line, cycle)
            }
            (Stage::Greeting { .. } | Stage::Open, Some(line)) if self.may_leave() => {
                let renews = std::mem::take(&mut self.renews);
                let counter = if renews { Counter::LinksRenewed } else { Counter::LinksParted };
                cycle.counters.add(counter, 1);
                line.set_writer(None);
                self.interrupt();
                Ok(1)
            }
            (Stage::Greeting { until_ns }, Some(line)) => {
                line.speak(cycle.sockets)?;
                if now_ns >= until_ns { Err(Ended::Silent) } else { Ok(0) }
            }
            (Stage::Open, Some(line)) => {
                let work = self.write(line, cycle)?;
                self.watch_time(line, cycle)?;
                Ok(work + usize::from(self.may_leave()))
            }
        }
    }

    /// Dials a line of its own.
    fn dial<S: Sockets>(&mut self, cycle: &mut Cycle<'_, S>) -> Result<usize, Ended> {
        cycle.counters.add(Counter::LinksDialled, 1);
        let socket = cycle.sockets.dial(self.peer).map_err(|error| Ended::unopened(&error))?;
        self.socket = Some(socket);
        self.wants_own = false;
        let until_ns = cycle.now_ns.saturating_add(cycle.times.connect_ns);
        self.stage = Stage::Dialling { until_ns };
        Ok(1)
    }

    /// Goes by the line that the peer dialled for the same lanes.
    pub(super) fn borrow<S: Sockets>(&mut self, line: &mut Line, cycle: &Cycle<'_, S>) {
        cycle.counters.add(Counter::LinksBorrowed, 1);
        self.socket = Some(line.socket());
        (self.borrowed, self.hurried) = (true, false);
        line.look_behind();
        let until_ns = cycle.now_ns.saturating_add(cycle.times.connect_ns);
        self.stage = Stage::Greeting { until_ns };
        self.say_hello(line, cycle);
    }

    /// Whether large events wait for a line of its own: that small ones get through by the borrowed
    /// one says nothing about them.
    fn waits_for_own(&self) -> bool {
        self.borrowed && self.large.iter().any(Pieces::is_pending)
    }

    /// Whether it leaves the borrowed line now, with which others go on, to dial one of its own.
    /// What was written and is not acknowledged is written again, from where the peer wants it.
    fn may_leave(&self) -> bool {
        let leaves = self.renews || (self.borrowed && self.wants_own);
        leaves && self.half_written().is_none()
    }

    /// When another line, with other keys, takes the place of this one. Who dialled goes first.
    fn renew_at_ns(&self, times: super::Times) -> Option<u64> {
        let patience_ns = if self.borrowed { times.renew_ns / 16 } else { 0 };
        let at_ns = self.opened_ns.saturating_add(times.renew_ns).saturating_add(patience_ns);
        self.introduced.then_some(at_ns)
    }

    fn interrupt(&mut self) {
        (self.socket, self.borrowed, self.renews) = (None, false, false);
        self.owed_since_ns = None;
        self.streams.iter_mut().for_each(Outgoing::interrupt);
        self.large.iter_mut().for_each(Pieces::interrupt);
        self.stage = Stage::Idle;
    }

    fn watch_dialling<S: Sockets>(
        &mut self,
        until_ns: u64,
        line: &mut Line,
        cycle: &mut Cycle<'_, S>,
    ) -> Result<usize, Ended> {
        let open = line.is_writable()
            && cycle.sockets.is_open(line.socket()).map_err(|error| Ended::unopened(&error))?;
        if !open && cycle.now_ns >= until_ns {
            let distrust = cycle.sockets.distrust(line.socket());
            return Err(distrust.map_or(Ended::Unreachable, Ended::Untrusted));
        }
        if !open {
            return Ok(0);
        }
        self.stage = Stage::Greeting { until_ns };
        self.say_hello(line, cycle);
        line.speak(cycle.sockets)?;
        Ok(1)
    }

    fn say_hello<S: Sockets>(&mut self, line: &mut Line, cycle: &Cycle<'_, S>) {
        let mut hello = cycle.identity.hello();
        let small = self.streams.iter().map(|stream| StreamPoint {
            lane: stream.lane(),
            pieces: false,
            session: stream.session().0,
            sequence: stream.first(),
        });
        let large = self.large.iter().map(|stream| StreamPoint {
            lane: stream.lane(),
            pieces: true,
            session: stream.session().0,
            sequence: stream.first(),
        });
        for (point, stream) in hello.streams.iter_mut().zip(small.chain(large)) {
            *point = stream;
            hello.stream_count += 1;
        }
        let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
        let length = Control::Hello(hello).encode(cycle.identity.node, &mut packet);
        line.say(&packet[..length]);
        line.owes_answer = true;
        self.wrote_ns = cycle.now_ns;
    }

    /// The peer's word came by the line.
    pub(super) fn on_word<S: Sockets>(&mut self, packet: &Packet<'_>, cycle: &mut Cycle<'_, S>) {
        let heard = match self.stage {
            Stage::Open => self.on_status(packet, cycle),
            _ => self.on_answer(packet, cycle),
        };
        if let Err(ended) = heard {
            self.failed.get_or_insert(ended);
        }
    }

    /// What came by the line can be nobody's word.
    pub(super) fn on_broken(&mut self) {
        self.failed.get_or_insert(Ended::Broken);
    }

    /// Its line has ended because the other side is not trusted.
    pub(super) fn on_distrust(&mut self, distrust: Distrust) {
        self.failed.get_or_insert(Ended::Untrusted(distrust));
    }

    fn on_answer<S: Sockets>(
        &mut self,
        packet: &Packet<'_>,
        cycle: &mut Cycle<'_, S>,
    ) -> Result<(), Ended> {
        match Control::of(packet) {
            Some(Control::Welcome(welcome)) => self.resume(&welcome, cycle),
            Some(Control::Refusal(refusal)) => Err(Ended::Refused(refusal)),
            // On what went by this line before the link left it and came back.
            None if self.borrowed => {
                cycle.counters.add(Counter::StatusesUnknown, 1);
                Ok(())
            }
            _ => Err(Ended::Broken),
        }
    }

    /// The peer says from where it wants each stream.
    fn resume<S: Sockets>(
        &mut self,
        welcome: &Hello<'_>,
        cycle: &mut Cycle<'_, S>,
    ) -> Result<(), Ended> {
        if welcome.protocol != cycle.identity.hello().protocol {
            return Err(Ended::Refused(Refusal::Protocol));
        }
        if welcome.cluster != cycle.identity.cluster {
            return Err(Ended::Refused(Refusal::Cluster));
        }
        let peer = self.socket.and_then(|socket| cycle.sockets.peer_identity(socket));
        if peer.is_some_and(|peer| (peer.node, &*peer.name) != (welcome.node, welcome.name)) {
            return Err(Ended::Untrusted(Distrust::Node));
        }
        let wanted = |lane: u8, session: SessionId| {
            let mut points = welcome.streams().iter();
            let point = points.find(|point| point.lane == lane && point.session == session.0);
            point.map(|point| point.sequence).ok_or(Ended::Broken)
        };
        for stream in &mut self.streams {
            let wanted = wanted(stream.lane(), stream.session())?;
            let resent = stream.resume(wanted).map_err(|_| Ended::Broken)?;
            cycle.counters.add(Counter::PacketsResent, resent);
        }
        let event_bytes_max = usize::try_from(welcome.event_bytes_max).unwrap_or(usize::MAX);
        for stream in &mut self.large {
            if stream.outgrows(event_bytes_max) {
                self.outgrown = true;
                return Err(Ended::Cut);
            }
            let wanted = wanted(stream.lane(), stream.session())?;
            let resent = stream.resume(wanted, event_bytes_max).map_err(|_| Ended::Broken)?;
            cycle.counters.add(Counter::PacketsResent, resent);
        }
        cycle.counters.add(Counter::LinksOpened, 1);
        self.stage = Stage::Open;
        self.opened_ns = cycle.now_ns;
        self.compresses = welcome.compresses && cycle.identity.compresses;
        self.plain_writes = 0;
        self.owed_since_ns = self.awaits_word().then_some(cycle.now_ns);
        Ok(())
    }

    fn on_status<S: Sockets>(
        &mut self,
        packet: &Packet<'_>,
        cycle: &mut Cycle<'_, S>,
    ) -> Result<(), Ended> {
        let Some(status) = Status::of(packet) else { return Err(Ended::Broken) };
        let mine = cycle.identity.node == status.source;
        let is_meant = |lane, session| mine && (lane, session) == (status.lane, status.session);
        let mut streams = self.streams.iter_mut();
        let mut large = self.large.iter_mut();
        let heard = if let Some(stream) =
            streams.find(|stream| is_meant(stream.lane(), stream.session()))
        {
            stream.acknowledge(status.next_sequence)
        } else if let Some(stream) = large.find(|stream| is_meant(stream.lane(), stream.session()))
        {
            stream.acknowledge(status.next_sequence, status.window_bytes)
        } else {
            cycle.counters.add(Counter::StatusesUnknown, 1);
            return Ok(());
        };
        cycle.counters.add(Counter::StatusesHeard, 1);
        if heard.map_err(|_| Ended::Broken)? && !self.waits_for_own() {
            self.backoff.reset();
        }
        self.owed_since_ns = self.awaits_word().then_some(cycle.now_ns);
        Ok(())
    }

    /// Writes events until there are none, the socket takes no more, or it is the others' turn.
    /// What is said goes before them.
    fn write<S: Sockets>(
        &mut self,
        line: &mut Line,
        cycle: &mut Cycle<'_, S>,
    ) -> Result<usize, Ended> {
        let mut work = 0;
        for _ in 0..WRITES_PER_CYCLE {
            if !line.is_writable() {
                break;
            }
            let mut plan = self.plan();
            if self.borrowed {
                self.keep_small(&mut plan);
            }
            if self.half_written().is_some() && line.said_bytes() > 0 {
                // A socket that is always full takes packets in parts: words come between them.
                plan.truncate(1);
            }
            if plan.is_empty() {
                line.speak(cycle.sockets)?;
                break;
            }
            let packed = self.write_block(&plan, line, cycle)?;
            work += packed;
            if packed > 0 || !line.is_writable() {
                continue;
            }
            let parts = plan.iter().flat_map(|(stream, ahead)| self.unwritten(*stream, *ahead));
            let written = line.write(cycle.sockets, 2 * plan.len(), parts)?;
            work += written;
            cycle.counters.add(Counter::BytesSent, written as u64);
            self.wrote(&plan, written, cycle);
            line.set_half_written(self.half_written().is_some());
        }
        Ok(work)
    }

    /// Takes out of a plan what would be too much on a borrowed line; the rest waits for another.
    fn keep_small(&mut self, plan: &mut Vec<(usize, usize)>) {
        let mut bytes: usize = self.streams.iter().map(Outgoing::unacknowledged_bytes).sum();
        let small = self.streams.len();
        let begun = usize::from(self.half_written().is_some());
        let mut fits = |(stream, ahead): &(usize, usize)| {
            bytes += self.unwritten(*stream, *ahead).iter().map(|part| part.len()).sum::<usize>();
            *stream < small && bytes <= BORROWED_BYTES_MAX
        };
        // The rest of what was begun goes in any case, and nothing else by a line that is left.
        let kept = if self.wants_own { 0 } else { plan.iter().take_while(|p| fits(p)).count() };
        self.wants_own |= kept.max(begun) < plan.len();
        plan.truncate(kept.max(begun));
    }

    /// The peer owes a word for too long; or nothing was said for so long that it is asked.
    fn watch_time<S: Sockets>(
        &mut self,
        line: &mut Line,
        cycle: &mut Cycle<'_, S>,
    ) -> Result<(), Ended> {
        let (now_ns, times) = (cycle.now_ns, cycle.times);
        let is_late = |since_ns: u64| now_ns.saturating_sub(since_ns) >= times.ack_ns;
        if self.owed_since_ns.is_some_and(is_late) {
            return Err(Ended::Silent);
        }
        if self.renew_at_ns(times).is_some_and(|at_ns| now_ns >= at_ns) {
            (self.renews, self.wants_own) = (true, true);
        }
        let is_idle = now_ns.saturating_sub(self.wrote_ns) >= times.keep_alive_ns;
        let is_whole = self.half_written().is_none();
        if is_idle && is_whole && line.said_bytes() == 0 {
            let question = self.streams.first().map(Outgoing::question);
            line.say(&question.unwrap_or([0; PACKET_HEADER_BYTES]));
            self.wrote_ns = now_ns;
            self.owed_since_ns.get_or_insert(now_ns);
            line.speak(cycle.sockets)?;
        }
        Ok(())
    }
}

//! The machine: the failure detector's timers, the records and what is sent. What it does with
//! packets stands in `hear.rs`, what it shows of the cluster in `view.rs`.

use std::collections::{BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use foca::{Foca, Member as Update, NoCustomBroadcast, OwnedNotification, Timer};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use wireloom_wire::SessionId;
use wireloom_wire::gossip::{
    CONTROL_OVERHEAD_BYTES, CONTROL_PACKET_BYTES_MAX, ControlPacket, HELLO, PULL, RECORD, SUSPECT,
    SWIM,
};

use super::clock::RunningClock;
use super::codec::{Codec, cut};
use super::health::Health;
use super::identity::Identity;
use super::member::Change;
use super::outbox::{Due, Outbox};
use super::probing::{Probe, Relays};
use super::record::{GOSSIP_VERSION, Record, RecordError};
use super::settings::{
    Counts, GOSSIP_FANOUT, MembershipConfig, SWIM_HEAD_BYTES, Timing, foca_config, suspicion,
};
use super::speech::{self, Pull, SUSPICION_FRAME_BYTES_MAX};
use super::spread::Spread;
use super::suspicion::Suspicions;
use super::table::Entries;
use super::verdicts::Verdicts;
use crate::quota::Quota;

/// How soon news are passed on, so that those that come together go together, ns.
const NEWS_NS: u64 = 20_000_000;
/// How often news are passed on while there are any, ns.
const GOSSIP_NS: u64 = 200_000_000;
/// Records waiting to be passed on from which on each goes with fewer packets.
const MANY_NEWS: usize = 64;
/// How often a node reads another's whole table without a reason, ns.
pub(super) const PULL_NS: u64 = 300_000_000_000;
/// How long tables may differ before one node reads the other's, ns.
pub(super) const DIFFER_NS: u64 = 2_000_000_000;
/// How long a page may take before somebody else is asked, ns.
pub(super) const PAGE_NS: u64 = 300_000_000;
/// How long two members may share a name before it is an alarm: a restart at another port looks
/// like it until the old life is found dead, ns.
pub(super) const SHARED_NAME_NS: u64 = 15_000_000_000;
/// How often names are looked at, at most, ns.
pub(super) const NAMES_NS: u64 = 1_000_000_000;
/// Answers to strangers in a second.
const ANSWERS_PER_SECOND: u64 = 500;
/// Records asked for in a second.
const ASKS_PER_SECOND: u64 = 50;

/// A page asked for, or the time to ask for the first.
#[derive(Debug)]
pub(super) struct Pulling {
    pub(super) from: Option<SocketAddr>,
    pub(super) due_ns: u64,
    pub(super) tries: u32,
}

/// One node's view of the cluster.
pub struct Membership {
    pub(super) foca: Foca<Identity, Codec, SmallRng, NoCustomBroadcast>,
    pub(super) outbox: Outbox,
    pub(super) timers: BinaryHeap<Due>,
    pub(super) order: u64,
    pub(super) clock: RunningClock,
    pub(super) health: Health,
    pub(super) own: Arc<Record>,
    pub(super) own_since_ns: u64,
    pub(super) refutations: u16,
    pub(super) cluster: SessionId,
    pub(super) timing: Timing,
    pub(super) entries: Entries,
    pub(super) verdicts: Verdicts,
    pub(super) suspicions: Suspicions,
    pub(super) probe: Option<Probe>,
    pub(super) relays: Relays,
    pub(super) spread: Spread<SocketAddr>,
    /// Suspicions, by the suspect and who suspects it.
    pub(super) spread_suspicions: Spread<(SocketAddr, SocketAddr)>,
    pub(super) answers: Quota,
    pub(super) asks: Quota,
    pub(super) random: SmallRng,
    pub(super) counts: Counts,
    pub(super) packets: Vec<(SocketAddr, Vec<u8>)>,
    pub(super) gossip_at_ns: Option<u64>,
    pub(super) pulling: Pulling,
    pub(super) hello_at_ns: Option<u64>,
    pub(super) names_at_ns: Option<u64>,
    pub(super) names_shared: BTreeSet<String>,
    pub(super) joined: bool,
    /// A whole table of another has been read.
    pub(super) read_whole: bool,
    pub(super) scale: u32,
    /// Since when every table heard of has been another than ours.
    pub(super) differs_at_ns: Option<u64>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership")
            .field("own", &self.own.identity)
            .field("up", &self.entries.up())
            .finish_non_exhaustive()
    }
}

pub(super) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Membership {
    /// A machine that knows nobody yet.
    ///
    /// # Errors
    /// The record breaks a bound.
    pub fn new(config: MembershipConfig) -> Result<Self, RecordError> {
        config.record.check()?;
        let mut random = SmallRng::seed_from_u64(config.seed);
        let for_foca = SmallRng::seed_from_u64(random.random());
        let identity = config.record.identity;
        Ok(Self {
            foca: Foca::new(identity, foca_config(&config.timing, 1), for_foca, Codec),
            outbox: Outbox::default(),
            timers: BinaryHeap::new(),
            order: 0,
            clock: RunningClock::default(),
            health: Health::default(),
            own: Arc::new(config.record),
            own_since_ns: 0,
            refutations: 0,
            cluster: config.cluster,
            timing: config.timing,
            entries: Entries::default(),
            verdicts: Verdicts::default(),
            suspicions: Suspicions::default(),
            probe: None,
            relays: Relays::default(),
            spread: Spread::new(RECORD),
            spread_suspicions: Spread::new(SUSPECT),
            answers: Quota::new(ANSWERS_PER_SECOND, ANSWERS_PER_SECOND),
            asks: Quota::new(ASKS_PER_SECOND, ASKS_PER_SECOND),
            random,
            counts: Counts::default(),
            packets: Vec::new(),
            gossip_at_ns: None,
            pulling: Pulling { from: None, due_ns: u64::MAX, tries: 0 },
            hello_at_ns: None,
            names_at_ns: None,
            names_shared: BTreeSet::new(),
            joined: false,
            read_whole: false,
            scale: 1,
            differs_at_ns: None,
        })
    }

    /// This node's record as it is now.
    #[must_use]
    pub fn own(&self) -> &Record {
        &self.own
    }

    /// What has been counted.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How well this node keeps up.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Other members that are up.
    #[must_use]
    pub const fn up(&self) -> usize {
        self.entries.up()
    }

    /// Whether the member at this address is up.
    #[must_use]
    pub fn is_up(&self, address: SocketAddr) -> bool {
        self.entries.by_address.get(&address).is_some_and(|entry| entry.up)
    }

    /// Takes the packets to be sent now: each with where it goes.
    pub fn take_packets(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.packets)
    }

    /// Takes what has changed since the last time.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.entries.changes)
    }

    /// When [`Membership::on_time`] is to be called at the latest, in the caller's time.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        self.due_ns().map(|due_ns| self.clock.outside_ns(due_ns))
    }

    fn due_ns(&self) -> Option<u64> {
        let pull_ns = (self.pulling.due_ns != u64::MAX).then_some(self.pulling.due_ns);
        let timer_ns = self.timers.peek().map(|due| due.at_ns);
        let other = [self.gossip_at_ns, pull_ns, self.names_at_ns, self.suspicions.due_ns()];
        other.into_iter().chain([timer_ns, self.relays.due_ns()]).flatten().min()
    }

    /// Sets the machine's time; what time brings about is [`Membership::on_time`]'s.
    pub(super) fn run_clock(&mut self, now_ns: u64) -> u64 {
        if self.clock.at(now_ns, self.due_ns()) {
            self.counts.pauses += 1;
            self.health.late();
        }
        if self.own_since_ns == 0 {
            self.own_since_ns = now_ns;
        }
        self.clock.now_ns()
    }

    /// Does what is due. Packets that have arrived are to be given first.
    pub fn on_time(&mut self, now_ns: u64) {
        let now_ns = self.run_clock(now_ns);
        while self.timers.peek().is_some_and(|due| due.at_ns <= now_ns) {
            let Some(due) = self.timers.pop() else { break };
            self.fire(due.timer);
        }
        for timer in self.suspicions.take_due(now_ns, &self.verdicts) {
            self.fire(timer);
        }
        self.deny(now_ns);
        if self.gossip_at_ns.is_some_and(|at_ns| at_ns <= now_ns) {
            self.gossip();
        }
        if self.pulling.due_ns <= now_ns {
            self.pull_table();
        }
        if self.names_at_ns.is_some_and(|at_ns| at_ns <= now_ns) {
            self.names_at_ns = None;
            self.look_at_names();
        }
    }

    fn fire(&mut self, timer: Timer<Identity>) {
        if matches!(timer, Timer::ProbeRandomMember(_)) {
            self.end_probe();
        }
        if let Timer::RemoveDown(identity) = &timer {
            self.entries.forget(*identity);
            self.verdicts.forget(*identity);
        }
        let refused = self.foca.handle_timer(timer, &mut self.outbox).is_err();
        self.counts.refused_malformed += u64::from(refused);
        self.watch_probe();
        self.absorb(CONTROL_PACKET_BYTES_MAX);
    }

    /// Does what `foca` has asked for; no packet gets longer than `bytes_max`.
    pub(super) fn absorb(&mut self, bytes_max: usize) {
        let now_ns = self.clock.now_ns();
        let Outbox { datagrams, timers, news } = std::mem::take(&mut self.outbox);
        for (timer, after) in timers {
            if matches!(timer, Timer::ChangeSuspectToDown { .. }) {
                self.suspect(timer, after);
                continue;
            }
            let patient =
                matches!(timer, Timer::SendIndirectProbe { .. } | Timer::ProbeRandomMember(_));
            let times = if patient { self.health.multiplier() } else { 1 };
            self.order += 1;
            let at_ns = now_ns.saturating_add(ns(after * times));
            self.timers.push(Due { at_ns, order: self.order, timer });
        }
        for one in &news {
            self.take_news(one);
        }
        for (to, datagram) in datagrams {
            self.send_datagram(to.address, &datagram, bytes_max);
        }
        // With a new life `foca` forgets its timers and probes nobody until it hears from somebody:
        // who is suspected and cannot be heard would be suspected for ever.
        if news.iter().any(|one| matches!(one, OwnedNotification::Rejoin(_))) {
            self.go_on_probing();
            self.absorb(bytes_max);
        }
    }

    /// After a change of identity.
    pub(super) fn go_on_probing(&mut self) {
        let connected = self.foca.apply_many(std::iter::empty(), false, &mut self.outbox);
        self.counts.refused_malformed += u64::from(connected.is_err());
    }

    fn take_news(&mut self, news: &OwnedNotification<Identity>) {
        let now_ns = self.clock.now_ns();
        match news {
            OwnedNotification::MemberUp(identity) => {
                self.entries.rise(*identity, now_ns);
                self.names_at_ns.get_or_insert(now_ns + SHARED_NAME_NS);
            }
            OwnedNotification::MemberDown(identity) => {
                self.verdicts.note(&Update::down(*identity));
                self.entries.fall(*identity, now_ns);
            }
            OwnedNotification::Rename(_, identity) => self.entries.live(*identity),
            OwnedNotification::Rejoin(identity) => self.begin_life(*identity),
            _ => {}
        }
        self.rescale();
        self.news_soon();
    }

    /// The cluster's size has its say in patience and in how often news are passed on.
    fn rescale(&mut self) {
        let scale = 1 + (self.entries.up() + 1).ilog10();
        if scale != self.scale {
            self.scale = scale;
            // Only what may change while it runs is changed.
            let _ = self.foca.set_config(foca_config(&self.timing, scale));
        }
    }

    /// How long a suspected member has while nobody else suspects it.
    pub(super) fn suspicion_most(&self) -> Duration {
        suspicion(&self.timing, self.scale)
    }

    /// The same for all who have the same members up.
    pub(super) fn digest(&self) -> u64 {
        self.entries.digest ^ self.own.identity.digest()
    }

    pub(super) fn news_soon(&mut self) {
        let soon_ns = self.clock.now_ns() + NEWS_NS;
        self.gossip_at_ns = Some(self.gossip_at_ns.map_or(soon_ns, |at_ns| at_ns.min(soon_ns)));
    }

    /// The record goes with this life from now on.
    pub(super) fn begin_life(&mut self, identity: Identity) {
        self.counts.renewals += 1;
        self.refutations = 0;
        self.say(Record { identity, ..(*self.own).clone() });
    }

    fn say(&mut self, record: Record) {
        self.own = Arc::new(record);
        self.entries.changes.push(Change::Changed(self.own.identity));
        let own = Arc::clone(&self.own);
        self.pass_on(&own);
    }

    pub(super) fn pass_on(&mut self, record: &Arc<Record>) {
        // When many join at once, whole tables are the cheaper way, and are read anyhow.
        let times = if self.spread.len() > MANY_NEWS { 1 } else { 3 };
        let mut bytes = vec![GOSSIP_VERSION];
        bytes.extend(record.encode());
        self.spread.add(record.identity.address, bytes, times * self.scale);
        self.news_soon();
    }

    /// Changes what this node says of itself and passes it on.
    ///
    /// # Errors
    /// The change breaks a bound; nothing is changed.
    pub fn update(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), RecordError> {
        let mut record = (*self.own).clone();
        change(&mut record);
        record.check()?;
        record.identity = self.own.identity;
        if record != *self.own {
            record.version = self.own.version.wrapping_add(1);
            self.say(record);
        }
        Ok(())
    }

    pub(super) fn packet(
        &mut self,
        to: SocketAddr,
        fill: impl FnOnce(&mut Self, &mut ControlPacket<'_>),
    ) {
        let mut bytes = [0; CONTROL_PACKET_BYTES_MAX];
        let mut packet = ControlPacket::new(&mut bytes);
        fill(self, &mut packet);
        let sent = packet.finish(self.own.identity.node, self.cluster);
        self.counts.packets_sent += 1;
        self.counts.bytes_sent += sent.len() as u64;
        self.packets.push((to, sent.to_vec()));
    }

    fn send_datagram(&mut self, to: SocketAddr, datagram: &[u8], bytes_max: usize) {
        if let Some(&[low, high]) = datagram.get(1..3) {
            let refutations = u16::from_le_bytes([low, high]);
            if refutations > self.refutations {
                self.health.suspected();
                self.refutations = refutations;
                self.entries.changes.push(Change::Changed(self.own.identity));
            }
        }
        let room = bytes_max.saturating_sub(CONTROL_OVERHEAD_BYTES + SWIM_HEAD_BYTES);
        let Ok(datagram) = cut(datagram, room, |_| true) else { return };
        let mut payload = vec![GOSSIP_VERSION];
        payload.extend_from_slice(&self.own.version.to_le_bytes());
        payload.extend_from_slice(&self.digest().to_le_bytes());
        payload.extend_from_slice(&datagram);
        self.packet(to, |machine, packet| {
            let used = CONTROL_OVERHEAD_BYTES + wireloom_wire::align_up(payload.len());
            let mut room = bytes_max.saturating_sub(used);
            // Before the datagram, so that the answer to a probe refutes it.
            if payload.len() + 2 * SUSPICION_FRAME_BYTES_MAX <= packet.room()
                && machine.tell_suspect(packet, to, room)
            {
                room -= SUSPICION_FRAME_BYTES_MAX;
            }
            packet.push(SWIM, &payload);
            machine.fill(packet, to, room);
        });
    }

    /// Adds what is passed on: suspicions first.
    fn fill(&mut self, packet: &mut ControlPacket<'_>, to: SocketAddr, room: usize) {
        let before = packet.room();
        self.spread_suspicions.fill(packet, |_| false, room);
        let room = room.saturating_sub(before - packet.room());
        self.spread.fill(packet, |of| *of == to, room);
    }

    fn has_news(&self) -> bool {
        !self.spread.is_empty() || !self.spread_suspicions.is_empty()
    }

    /// Says hello: to a seed, a group, or an address a member may have.
    pub fn hello(&mut self, to: SocketAddr, now_ns: u64) {
        self.hello_at_ns = Some(self.run_clock(now_ns));
        let payload = speech::hello(&self.own);
        self.packet(to, |_, packet| {
            packet.push(HELLO, &payload);
        });
    }

    fn gossip(&mut self) {
        if self.foca.updates_backlog() > 0 {
            let refused = self.foca.gossip(&mut self.outbox).is_err();
            self.counts.refused_malformed += u64::from(refused);
            self.absorb(CONTROL_PACKET_BYTES_MAX);
        } else if self.has_news() {
            for to in self.some_members(GOSSIP_FANOUT) {
                self.packet(to, |machine, packet| {
                    machine.fill(packet, to, CONTROL_PACKET_BYTES_MAX);
                });
            }
        }
        let more = self.foca.updates_backlog() > 0 || self.has_news();
        let alone = self.entries.up() == 0;
        self.gossip_at_ns = (more && !alone).then(|| self.clock.now_ns() + GOSSIP_NS);
    }

    fn some_members(&mut self, count: usize) -> Vec<SocketAddr> {
        self.entries.some_up(count, &mut self.random).to_vec()
    }

    /// Asks somebody for the first page of its table.
    fn pull_table(&mut self) {
        let now_ns = self.clock.now_ns();
        let tries = self.pulling.tries + 1;
        let asked = self.some_members(1).first().copied().filter(|_| tries < 6);
        let due_ns = now_ns + if asked.is_some() { PAGE_NS } else { PULL_NS };
        self.pulling = Pulling { from: asked, due_ns, tries: asked.map_or(0, |_| tries) };
        if let Some(to) = asked {
            self.send_pull(to, Pull::First);
        }
    }

    pub(super) fn send_pull(&mut self, to: SocketAddr, what: Pull) {
        let payload = speech::pull(what);
        self.packet(to, |_, packet| {
            packet.push(PULL, &payload);
        });
    }

    /// Says goodbye: some members are told, who tell the others.
    pub fn leave(&mut self, now_ns: u64) {
        self.run_clock(now_ns);
        let refused = self.foca.leave_cluster(&mut self.outbox).is_err();
        self.counts.refused_malformed += u64::from(refused);
        self.absorb(CONTROL_PACKET_BYTES_MAX);
    }
}

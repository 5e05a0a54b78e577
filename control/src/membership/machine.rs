//! The machine: the failure detector's timers, the records and what is sent. `hear.rs` holds what
//! it does with packets.

use std::collections::{BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use foca::{Config, Foca, NoCustomBroadcast, OwnedNotification, PeriodicParams, Timer};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use wireloom_wire::SessionId;
use wireloom_wire::gossip::{
    CONTROL_OVERHEAD_BYTES, CONTROL_PACKET_BYTES_MAX, ControlPacket, HELLO, PULL, SWIM,
};

use super::clock::RunningClock;
use super::codec::{Codec, PING_REQUEST, cut};
use super::health::Health;
use super::identity::Identity;
use super::member::{Change, Member, MemberState};
use super::outbox::{Due, Outbox};
use super::quota::Quota;
use super::record::{GOSSIP_VERSION, Record, RecordError};
use super::speech::{self, Pull};
use super::spread::Spread;
use super::table::Entries;

#[path = "hear.rs"]
mod hear;

/// Members a node remembers, tombstones included; further ones are refused and counted. 2,048 with
/// records of 200 bytes are under 1 MB.
pub const MEMBERS_MAX: usize = 2_048;

/// How soon news are passed on, so that those that come together go together, ns.
const NEWS_NS: u64 = 20_000_000;
/// How often news are passed on while there are any, ns.
const GOSSIP_NS: u64 = 200_000_000;
/// Members told at a time.
const GOSSIP_FANOUT: usize = 3;
/// How often a node reads another's whole table without a reason, ns.
const PULL_NS: u64 = 300_000_000_000;
/// How long tables may differ before one node reads the other's, ns.
const DIFFER_NS: u64 = 2_000_000_000;
/// How long a page may take before somebody else is asked, ns.
const PAGE_NS: u64 = 300_000_000;
/// How long two members may share a name before it is an alarm: a restart at another port looks
/// like it until the old life is found dead, ns.
const SHARED_NAME_NS: u64 = 15_000_000_000;
/// Answers to strangers in a second.
const ANSWERS_PER_SECOND: u64 = 500;
/// Records asked for in a second.
const ASKS_PER_SECOND: u64 = 50;
/// Bytes before the failure detector's datagram: version, the version of the sender's record, and
/// the digest of the members it has up.
const SWIM_HEAD_BYTES: usize = 13;

/// How fast the failure detector works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A member is probed this often.
    pub probe_period: Duration,
    /// How long its answer may take before others are asked to probe it.
    pub probe_rtt: Duration,
    /// How long a suspected member has to speak up among ten; twice as long among a hundred, three
    /// times among a thousand.
    pub suspicion: Duration,
    /// How long the dead are remembered.
    pub tombstone: Duration,
}

impl Default for Timing {
    /// For a local network: that a member is dead is known to all after 3.5 to 6 s among ten, after
    /// 6.5 to 10 s among a hundred.
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(500),
            probe_rtt: Duration::from_millis(200),
            suspicion: Duration::from_secs(3),
            tombstone: Duration::from_secs(120),
        }
    }
}

/// What a machine begins with.
#[derive(Clone, Debug)]
pub struct MembershipConfig {
    /// This node's word on itself.
    pub record: Record,
    /// Which cluster; packets of others are refused and counted.
    pub cluster: SessionId,
    /// For random choices.
    pub seed: u64,
    /// How fast.
    pub timing: Timing,
}

macro_rules! counts {
    ($($field:ident $meaning:literal;)+) => {
        /// What the machine has counted.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $(#[doc = $meaning] pub $field: u64,)+ }

        impl Counts {
            /// Every count with its name and its sentence.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64, &'static str)> {
                vec![$((stringify!($field), self.$field, $meaning),)+]
            }
        }
    };
}

counts! {
    packets_heard "Control packets that arrived.";
    bytes_heard "Their bytes.";
    packets_sent "Control packets sent.";
    bytes_sent "Their bytes.";
    refused_cluster "Packets of another cluster; dropped.";
    refused_version "Messages of another version of the protocol; dropped.";
    refused_malformed "Messages that are malformed, or that the failure detector refused; dropped.";
    refused_type "Control frames of a type this machine does not know; dropped.";
    refused_address "Hellos of addresses that their sender does not send from; dropped.";
    refused_unasked "Welcomes and pages nobody asked for; dropped.";
    refused_full "Members refused because the table is full.";
    refused_life "Lives that lie too far ahead to be true; dropped.";
    answers_shed "Hellos and pulls not answered because too many came in a second.";
    pauses "Times this machine found that it had not run.";
    renewals "Times this node began a new life because its old one was declared dead.";
}

/// A page asked for, or the time to ask for the first.
#[derive(Debug)]
struct Pulling {
    from: Option<SocketAddr>,
    due_ns: u64,
    tries: u32,
}

/// One node's view of the cluster.
pub struct Membership {
    foca: Foca<Identity, Codec, SmallRng, NoCustomBroadcast>,
    outbox: Outbox,
    timers: BinaryHeap<Due>,
    order: u64,
    clock: RunningClock,
    health: Health,
    own: Arc<Record>,
    own_since_ns: u64,
    refutations: u16,
    cluster: SessionId,
    timing: Timing,
    entries: Entries,
    spread: Spread,
    answers: Quota,
    asks: Quota,
    random: SmallRng,
    counts: Counts,
    packets: Vec<(SocketAddr, Vec<u8>)>,
    gossip_at_ns: Option<u64>,
    pulling: Pulling,
    hello_at_ns: Option<u64>,
    names_at_ns: Option<u64>,
    names_shared: BTreeSet<String>,
    joined: bool,
    scale: u32,
    /// Since when every table heard of has been another than ours.
    differs_at_ns: Option<u64>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership")
            .field("own", &self.own.identity)
            .field("up", &self.entries.up)
            .finish_non_exhaustive()
    }
}

/// The figures that follow from the cluster's size: `scale` is the number of its decimal digits.
fn foca_config(timing: &Timing, scale: u32) -> Config {
    // More often than others do (4): answers that are cut use up a part of them.
    let sends = u8::try_from(10 * scale).unwrap_or(u8::MAX).max(1);
    Config {
        probe_period: timing.probe_period,
        probe_rtt: timing.probe_rtt,
        num_indirect_probes: NonZeroUsize::new(GOSSIP_FANOUT).unwrap_or(NonZeroUsize::MIN),
        max_transmissions: NonZeroU8::new(sends).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: timing.suspicion * (scale - 1).max(1),
        remove_down_after: Some(timing.tombstone),
        max_packet_size: NonZeroUsize::new(
            CONTROL_PACKET_BYTES_MAX - 16 - CONTROL_OVERHEAD_BYTES - SWIM_HEAD_BYTES,
        )
        .unwrap_or(NonZeroUsize::MIN),
        notify_down_members: true,
        periodic_announce: None,
        // So that a partition heals without the discovery's doing.
        periodic_announce_to_down_members: Some(PeriodicParams {
            frequency: Duration::from_secs(5),
            num_members: NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN),
        }),
        periodic_gossip: None,
    }
}

fn ns(duration: Duration) -> u64 {
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
            spread: Spread::default(),
            answers: Quota::new(ANSWERS_PER_SECOND),
            asks: Quota::new(ASKS_PER_SECOND),
            random,
            counts: Counts::default(),
            packets: Vec::new(),
            gossip_at_ns: None,
            pulling: Pulling { from: None, due_ns: u64::MAX, tries: 0 },
            hello_at_ns: None,
            names_at_ns: None,
            names_shared: BTreeSet::new(),
            joined: false,
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
        self.entries.up
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
        [timer_ns, self.gossip_at_ns, pull_ns, self.names_at_ns].into_iter().flatten().min()
    }

    /// Sets the machine's time; what time brings about is [`Membership::on_time`]'s.
    fn run_clock(&mut self, now_ns: u64) -> u64 {
        if self.clock.at(now_ns, self.due_ns()) {
            self.counts.pauses += 1;
            self.health.late();
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
        let probed = match &timer {
            Timer::SendIndirectProbe { probed_id, .. } => Some(*probed_id),
            _ => None,
        };
        if let Timer::RemoveDown(identity) = &timer {
            self.entries.forget(*identity);
        }
        let refused = self.foca.handle_timer(timer, &mut self.outbox).is_err();
        self.counts.refused_malformed += u64::from(refused);
        let asks = |(_, datagram): &(Identity, Vec<u8>)| datagram.first() == Some(&PING_REQUEST);
        if let Some(probed) = probed
            && self.outbox.datagrams.iter().any(asks)
        {
            self.health.missed(probed);
        }
        self.absorb(CONTROL_PACKET_BYTES_MAX);
    }

    /// Does what `foca` has asked for; no packet gets longer than `bytes_max`.
    fn absorb(&mut self, bytes_max: usize) {
        let now_ns = self.clock.now_ns();
        let Outbox { datagrams, timers, news } = std::mem::take(&mut self.outbox);
        for (timer, after) in timers {
            let patient = matches!(
                timer,
                Timer::SendIndirectProbe { .. }
                    | Timer::ProbeRandomMember(_)
                    | Timer::ChangeSuspectToDown { .. }
            );
            let times = if patient { self.health.multiplier() } else { 1 };
            self.order += 1;
            let at_ns = now_ns.saturating_add(ns(after * times));
            self.timers.push(Due { at_ns, order: self.order, timer });
        }
        for one in news {
            self.take_news(&one);
        }
        for (to, datagram) in datagrams {
            self.send_datagram(to.address, &datagram, bytes_max);
        }
    }

    fn take_news(&mut self, news: &OwnedNotification<Identity>) {
        let now_ns = self.clock.now_ns();
        match news {
            OwnedNotification::MemberUp(identity) => {
                self.entries.rise(*identity, now_ns);
                self.names_at_ns.get_or_insert(now_ns + SHARED_NAME_NS);
            }
            OwnedNotification::MemberDown(identity) => self.entries.fall(*identity, now_ns),
            OwnedNotification::Rename(_, identity) => self.entries.live(*identity),
            OwnedNotification::Rejoin(identity) => self.begin_life(*identity),
            _ => {}
        }
        self.rescale();
        self.news_soon();
    }

    /// The cluster's size has its say in patience and in how often news are passed on.
    fn rescale(&mut self) {
        let scale = 1 + (self.entries.up + 1).ilog10();
        if scale != self.scale {
            self.scale = scale;
            // Only what may change while it runs is changed.
            let _ = self.foca.set_config(foca_config(&self.timing, scale));
        }
    }

    /// The same for all who have the same members up.
    fn digest(&self) -> u64 {
        self.entries.digest ^ self.own.identity.digest()
    }

    fn news_soon(&mut self) {
        let soon_ns = self.clock.now_ns() + NEWS_NS;
        self.gossip_at_ns = Some(self.gossip_at_ns.map_or(soon_ns, |at_ns| at_ns.min(soon_ns)));
    }

    /// The record goes with this life from now on.
    fn begin_life(&mut self, identity: Identity) {
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

    fn pass_on(&mut self, record: &Arc<Record>) {
        self.spread.add(record, 3 * self.scale);
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

    fn packet(&mut self, to: SocketAddr, fill: impl FnOnce(&mut Self, &mut ControlPacket<'_>)) {
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
            packet.push(SWIM, &payload);
            let used = CONTROL_OVERHEAD_BYTES + wireloom_wire::align_up(payload.len());
            machine.spread.fill(packet, to, bytes_max.saturating_sub(used));
        });
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
        } else if !self.spread.is_empty() {
            for to in self.some_members(GOSSIP_FANOUT) {
                self.packet(to, |machine, packet| {
                    machine.spread.fill(packet, to, CONTROL_PACKET_BYTES_MAX);
                });
            }
        }
        let more = self.foca.updates_backlog() > 0 || !self.spread.is_empty();
        let alone = self.entries.up == 0;
        self.gossip_at_ns = (more && !alone).then(|| self.clock.now_ns() + GOSSIP_NS);
    }

    fn some_members(&mut self, count: usize) -> Vec<SocketAddr> {
        let mut up: Vec<SocketAddr> = self.entries.up_addresses().collect();
        let count = count.min(up.len());
        for at in 0..count {
            let other = self.random.random_range(at..up.len());
            up.swap(at, other);
        }
        up.truncate(count);
        up
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

    fn send_pull(&mut self, to: SocketAddr, what: Pull) {
        let payload = speech::pull(what);
        self.packet(to, |_, packet| {
            packet.push(PULL, &payload);
        });
    }

    /// Alarms about names that several members have had for a while.
    fn look_at_names(&mut self) {
        let members = self.members();
        let shared: BTreeSet<String> =
            members.iter().filter(|of| of.shares_name).map(|of| of.name().to_owned()).collect();
        let outside_ns = self.clock.outside_ns(0);
        let due = members.iter().filter(|member| !member.is_self && member.is_up());
        let due = due.map(|member| member.since_ns.saturating_sub(outside_ns) + SHARED_NAME_NS);
        self.names_at_ns = due.filter(|due_ns| *due_ns > self.clock.now_ns()).min();
        for name in shared.difference(&self.names_shared) {
            self.entries.changes.push(Change::SharedName(name.clone()));
        }
        self.names_shared = shared;
    }

    /// Says goodbye: some members are told, who tell the others.
    pub fn leave(&mut self, now_ns: u64) {
        self.run_clock(now_ns);
        let refused = self.foca.leave_cluster(&mut self.outbox).is_err();
        self.counts.refused_malformed += u64::from(refused);
        self.absorb(CONTROL_PACKET_BYTES_MAX);
    }

    /// All members, this node among them, by address.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let mut members = vec![Member {
            record: (*self.own).clone(),
            state: MemberState::Alive,
            refutations: self.refutations,
            since_ns: self.own_since_ns,
            is_self: true,
            shares_name: false,
        }];
        for known in self.foca.iter_membership_state() {
            let Some(entry) = self.entries.by_address.get(&known.id().address) else { continue };
            let Some(record) = &entry.record else { continue };
            let mut record = (**record).clone();
            record.identity = *known.id();
            let state = match known.state() {
                foca::State::Alive => MemberState::Alive,
                foca::State::Suspect => MemberState::Suspect,
                foca::State::Down => MemberState::Down,
            };
            members.push(Member {
                record,
                state,
                refutations: known.incarnation(),
                since_ns: self.clock.outside_ns(entry.since_ns),
                is_self: false,
                shares_name: false,
            });
        }
        members.sort_by_key(Member::address);
        self.mark_shared_names(&mut members);
        members
    }

    fn mark_shared_names(&self, members: &mut [Member]) {
        let now_ns = self.clock.outside_ns(self.clock.now_ns());
        let old = |member: &Member| {
            member.is_self || now_ns.saturating_sub(member.since_ns) >= SHARED_NAME_NS
        };
        let mut counts = std::collections::BTreeMap::<String, u32>::new();
        for member in members.iter().filter(|member| member.is_up() && old(member)) {
            *counts.entry(member.name().to_owned()).or_default() += 1;
        }
        for member in members.iter_mut().filter(|member| member.is_up()) {
            member.shares_name = counts.get(member.name()).is_some_and(|count| *count > 1);
        }
    }
}

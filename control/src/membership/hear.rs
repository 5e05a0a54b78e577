//! What the machine does with packets. Everything here treats its input as hostile: a packet is
//! answered at most once by as many bytes as it has, and changes a bounded part of the table.

use std::net::SocketAddr;
use std::sync::Arc;

use foca::{Member as Update, Message};
use wireloom_wire::gossip::{
    CONTROL_PACKET_BYTES_MAX, HELLO, NACK, PAGE, PULL, RECORD, SUSPECT, SWIM, WELCOME, is_control,
};
use wireloom_wire::{EventTypeId, NodeId, decode_packet};

use super::codec::{Reader, cut, read_header};
use super::identity::Identity;
use super::machine::{DIFFER_NS, Membership, PAGE_NS, PULL_NS, Pulling};
use super::record::Record;
use super::settings::MEMBERS_MAX;
use super::speech::{self, Pull, Refusal};

/// How long a welcome may take, ns.
const WELCOME_NS: u64 = 5_000_000_000;

/// A life farther ahead of ours than ten years is a lie: it would be the last.
const LIFE_AHEAD_MS: u64 = 315_360_000_000;

/// The record of a member is asked for this often at most, ns.
const ASK_NS: u64 = 1_000_000_000;

impl Membership {
    /// A control packet from `from`.
    pub fn on_packet(&mut self, from: SocketAddr, packet: &[u8], now_ns: u64) {
        self.run_clock(now_ns);
        self.counts.packets_heard += 1;
        self.counts.bytes_heard += packet.len() as u64;
        let checked = decode_packet(packet, true).ok().filter(|packet| is_control(&packet.header));
        let Some(checked) = checked.filter(|_| packet.len() <= CONTROL_PACKET_BYTES_MAX) else {
            self.counts.refused_malformed += 1;
            return;
        };
        if checked.header.session != self.cluster {
            self.counts.refused_cluster += 1;
            return;
        }
        for frame in checked.frames() {
            let heard = match &frame {
                Ok(frame) => {
                    let event_type = frame.header.event_type;
                    let source = checked.header.source;
                    self.hear(event_type, frame.payload(), (from, source), packet.len())
                }
                Err(_) => Err(Refusal::Malformed),
            };
            match heard {
                Ok(()) => {}
                Err(Refusal::Version) => self.counts.refused_version += 1,
                Err(Refusal::Malformed) => {
                    self.counts.refused_malformed += 1;
                    // What follows a lie is not read.
                    return;
                }
            }
        }
    }

    fn hear(
        &mut self,
        event_type: EventTypeId,
        payload: &[u8],
        (from, source): (SocketAddr, NodeId),
        packet_bytes: usize,
    ) -> Result<(), Refusal> {
        match event_type {
            SWIM => self.hear_swim(payload, source, packet_bytes),
            RECORD => {
                let mut rest = speech::versioned(payload)?;
                let bytes = rest.take(rest.0.len())?;
                // Most are known already: these are not read to the end.
                if !self.knows(Record::decode_version(bytes)?) {
                    self.learn(Record::decode(bytes)?, true);
                }
                Ok(())
            }
            SUSPECT => self.hear_suspect(payload, packet_bytes),
            NACK => self.hear_nack(payload),
            HELLO => self.hear_hello(payload, (from, source)),
            WELCOME => self.hear_welcome(payload, (from, source)),
            PULL => self.hear_pull(payload, from),
            PAGE => self.hear_page(payload, from),
            _ => {
                self.counts.refused_type += 1;
                Ok(())
            }
        }
    }

    /// Whether what a node says of itself came in a packet of its own: who seals as one node cannot
    /// speak as another.
    fn is_its_own(&mut self, identity: Identity, source: NodeId) -> bool {
        let is_its_own = identity.node == source;
        self.counts.refused_source += u64::from(!is_its_own);
        is_its_own
    }

    fn hear_swim(
        &mut self,
        payload: &[u8],
        source: NodeId,
        packet_bytes: usize,
    ) -> Result<(), Refusal> {
        let mut rest = speech::versioned(payload)?;
        let (version, digest) = (rest.u32()?, rest.u64()?);
        let header = read_header(&mut Reader(rest.0))?;
        if header.src == self.own.identity || !self.is_its_own(header.src, source) {
            return Ok(());
        }
        let full = self.is_full();
        let known = self.entries.by_address.contains_key(&header.src.address);
        if full && !known {
            self.counts.refused_full += 1;
            return Ok(());
        }
        let mut taken = Vec::new();
        let datagram = cut(rest.0, usize::MAX, |update| {
            let address = update.id().address;
            let ours = address == self.own.identity.address;
            let room = !full || ours || self.entries.by_address.contains_key(&address);
            let keep = room && (ours || !self.verdicts.is_old(update));
            if keep && !ours {
                taken.push(update.clone());
            }
            keep
        })?;
        let refused = self.foca.handle_data(&datagram, &mut self.outbox).is_err();
        self.absorb(packet_bytes);
        // Who is up now was so when its updates were looked at, and they were taken.
        if !refused && header.dst == self.own.identity && self.entries.lives(&header.src) {
            taken.push(Update::new(header.src, header.src_incarnation, foca::State::Alive));
            taken.iter().for_each(|update| self.verdicts.note(update));
            let src = header.src;
            match header.message {
                Message::Ack(_) => self.answered(src),
                Message::ForwardedAck { origin, .. } => self.answered(origin),
                Message::PingReq { target, probe_number } => self.relay(src, target, probe_number),
                Message::IndirectAck { target, probe_number } => {
                    self.relays.answer(src, target, probe_number);
                }
                _ => {}
            }
        }
        self.ask_for_news(header.src, version);
        self.compare(header.src.address, digest);
        if refused { Err(Refusal::Malformed) } else { Ok(()) }
    }

    /// Reads the other's table when tables have differed, or records have been missing, for longer
    /// than news take.
    fn compare(&mut self, from: SocketAddr, digest: u64) {
        let now_ns = self.clock.now_ns();
        if digest == self.digest() && self.entries.told == self.entries.up() {
            self.differs_at_ns = None;
            return;
        }
        let since_ns = *self.differs_at_ns.get_or_insert(now_ns);
        let long = now_ns.saturating_sub(since_ns) >= DIFFER_NS;
        if long && self.pulling.from.is_none() && self.asks.take(now_ns) {
            self.differs_at_ns = None;
            self.pulling = Pulling { from: Some(from), due_ns: now_ns + PAGE_NS, tries: 0 };
            self.send_pull(from, Pull::First);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        // One packet can bring no more than this.
        self.foca.iter_membership_state().len() + 64 > MEMBERS_MAX
    }

    /// Asks a member for its record when ours is older than what it says it has.
    fn ask_for_news(&mut self, of: Identity, version: u32) {
        if self.knows((of, version)) {
            return;
        }
        let now_ns = self.clock.now_ns();
        let Some(entry) = self.entries.by_address.get_mut(&of.address) else { return };
        let lately = entry.asked_ns > 0 && now_ns < entry.asked_ns + ASK_NS;
        if entry.identity == of && entry.up && !lately && self.asks.take(now_ns) {
            entry.asked_ns = now_ns;
            self.send_pull(of.address, Pull::Own);
        }
    }

    /// Whether a record as new as this is known already.
    fn knows(&self, (identity, version): (Identity, u32)) -> bool {
        let known = self.entries.version_of(identity.address);
        known.is_some_and(|known| known >= (identity, version))
    }

    /// Learns of a member by its record, and passes on what is news to others too.
    fn learn(&mut self, record: Record, pass_on: bool) {
        let (identity, own) = (record.identity, self.own.identity);
        if identity.address == own.address {
            // An earlier life of ours, or somebody who had our address: we are the later one.
            if identity > own {
                self.live_after(identity.life);
            }
            return;
        }
        let entry = self.entries.by_address.get(&identity.address);
        if entry.is_none() && self.is_full() {
            self.counts.refused_full += 1;
            return;
        }
        if entry.is_none_or(|entry| identity > entry.identity) {
            // The record itself tells the others.
            let alive = std::iter::once(Update::alive(identity));
            let refused = self.foca.apply_many(alive, false, &mut self.outbox).is_err();
            self.counts.refused_malformed += u64::from(refused);
            self.absorb(CONTROL_PACKET_BYTES_MAX);
        }
        let record = Arc::new(record);
        if self.entries.keep(&record) && pass_on {
            self.pass_on(&record);
        }
    }

    /// Begins a life after one that is known of this address.
    fn live_after(&mut self, life: u64) {
        let own = self.own.identity;
        if life > own.life.saturating_add(LIFE_AHEAD_MS) {
            self.counts.refused_life += 1;
            return;
        }
        let identity = Identity { life: life + 1, ..own };
        let changed = self.foca.change_identity(identity, &mut self.outbox);
        self.counts.refused_malformed += u64::from(changed.is_err());
        self.go_on_probing();
        self.begin_life(identity);
        self.absorb(CONTROL_PACKET_BYTES_MAX);
    }

    fn hear_hello(
        &mut self,
        payload: &[u8],
        (from, source): (SocketAddr, NodeId),
    ) -> Result<(), Refusal> {
        let record = speech::read_hello(payload)?;
        let identity = record.identity;
        if identity == self.own.identity || !self.is_its_own(identity, source) {
            return Ok(());
        }
        if !record.addresses.iter().any(|address| address.ip() == from.ip()) {
            self.counts.refused_address += 1;
            return Ok(());
        }
        if !self.answers.take(self.clock.now_ns()) {
            self.counts.answers_shed += 1;
            return Ok(());
        }
        let known = self.entries.by_address.get(&identity.address);
        let outlived = known
            .filter(|known| known.identity > identity || known.identity == identity && !known.up);
        let known_life = outlived.map_or(0, |known| known.identity.life);
        self.learn(record, true);
        let answer = speech::welcome(&self.own, known_life);
        self.packet(from, |_, packet| {
            packet.push(WELCOME, &answer);
        });
        Ok(())
    }

    fn hear_welcome(
        &mut self,
        payload: &[u8],
        (from, source): (SocketAddr, NodeId),
    ) -> Result<(), Refusal> {
        let (known_life, record) = speech::read_welcome(payload)?;
        if !self.is_its_own(record.identity, source) {
            return Ok(());
        }
        let now_ns = self.clock.now_ns();
        if self.hello_at_ns.is_none_or(|at_ns| now_ns > at_ns + WELCOME_NS) {
            self.counts.refused_unasked += 1;
            return Ok(());
        }
        if known_life >= self.own.identity.life {
            self.live_after(known_life);
        }
        self.learn(record, true);
        if !std::mem::replace(&mut self.joined, true) {
            self.pulling = Pulling { from: Some(from), due_ns: now_ns + PAGE_NS, tries: 0 };
            self.send_pull(from, Pull::First);
        }
        Ok(())
    }

    fn hear_pull(&mut self, payload: &[u8], from: SocketAddr) -> Result<(), Refusal> {
        let what = speech::read_pull(payload)?;
        if !self.answers.take(self.clock.now_ns()) {
            self.counts.answers_shed += 1;
            return Ok(());
        }
        let answer = match what {
            Pull::Own => speech::page(std::iter::once(&*self.own)),
            Pull::First => speech::page(self.records_after(None)),
            Pull::After(address) => speech::page(self.records_after(Some(address))),
        };
        self.packet(from, |_, packet| {
            packet.push(PAGE, &answer);
        });
        Ok(())
    }

    /// The records of members that are up, by address.
    fn records_after(&self, address: Option<SocketAddr>) -> impl Iterator<Item = &Record> {
        use std::ops::Bound;
        let start = address.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.by_address.range((start, Bound::Unbounded));
        entries.filter(|(_, entry)| entry.told).filter_map(|(_, entry)| entry.record.as_deref())
    }

    fn hear_page(&mut self, payload: &[u8], from: SocketAddr) -> Result<(), Refusal> {
        let (more, records) = speech::read_page(payload)?;
        let now_ns = self.clock.now_ns();
        let asked = self
            .entries
            .by_address
            .get(&from)
            .is_some_and(|entry| entry.asked_ns > 0 && now_ns < entry.asked_ns + ASK_NS);
        let table = self.pulling.from == Some(from);
        if !table && !asked {
            self.counts.refused_unasked += 1;
            return Ok(());
        }
        let last = records.last().map(|record| record.identity.address);
        // A newcomer's first table is news to nobody else.
        let news = self.read_whole;
        for record in records {
            if !self.knows((record.identity, record.version)) {
                self.learn(record, news);
            }
        }
        // A page of the answering node itself is no part of its table.
        if !table || last == Some(from) {
            return Ok(());
        }
        if let Some(last) = last.filter(|_| more) {
            self.pulling = Pulling { from: Some(from), due_ns: now_ns + PAGE_NS, tries: 0 };
            self.send_pull(from, Pull::After(last));
        } else {
            self.read_whole = true;
            self.pulling = Pulling { from: None, due_ns: now_ns + PULL_NS, tries: 0 };
        }
        Ok(())
    }
}

//! The half of a line by which a peer's events come: first a stranger who must say hello, then the
//! streams of a peer.
//!
//! What a stranger can make this node hold is one hello, for a bounded time, among a bounded number
//! of strangers. A packet is taken only when it can be handed over: when the local ring is full,
//! the socket is left alone, and TCP tells the peer. Where the line carries this node's events too,
//! the peer's word on them may stand behind, so that packets are set aside up to a bound.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use wireloom_dataplane::counters::{Counter, Counters};
use wireloom_wire::{
    Block, CONTROL_PACKET_BYTES_MAX, Control, HELLO_STREAMS_MAX, Hello, LINK_PROTOCOL, NodeId,
    Packet, PacketFlags, Refusal, Status, StreamPoint,
};

use super::line::Line;
use super::{BORROWED_BYTES_MAX, Cycle, Identity, LOWEST_LANE, Times, lane_bit};
use crate::framing::{Unit, next_packet, next_unit};
use crate::incoming::reassembly::Moment;
use crate::incoming::{Admission, Inbox, Streams, Unopened};
use crate::outgoing::PACKET_BYTES_MAX;
use crate::sockets::{SocketId, Sockets};
use crate::tls::PeerIdentity;

/// Bytes taken from a stranger at a time.
const STRANGER_BYTES: usize = 4 << 10;

/// Bytes that wait to be written to a peer before its news wait too: it does not read them.
pub(super) const SPEECH_BYTES_MAX: usize = 4 << 10;

/// Packets set aside of one line while the local ring is full.
pub(super) const ASIDE_BYTES_MAX: usize = 2 * BORROWED_BYTES_MAX;

/// The first byte of TLS: somebody with a certificate has dialled a node without one.
const TLS_HANDSHAKE: u8 = 22;

/// Keep-alive intervals after which a silent peer is taken to be gone.
const SILENT_INTERVALS: u64 = 3;

/// Who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Peer {
    node: NodeId,
    incarnation: u64,
    listens: SocketAddr,
    /// The lanes of its streams of small events, a bit each.
    lanes: u8,
    streams: [Option<usize>; HELLO_STREAMS_MAX],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Stranger,
    Open,
    /// What was said is written, then the socket is closed.
    Leaving,
    Ended,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It was handed over.
    News,
    /// It is taken, and was none for the handlers.
    Nothing,
    /// It stays: there is no room for it.
    Stays,
    /// The half has ended.
    Ended,
}

/// The half.
#[derive(Debug)]
pub(super) struct Accepted {
    socket: SocketId,
    stage: Stage,
    peer: Option<Peer>,
    /// The two sides agreed on blocks; how much was handed over of the block that stays.
    compresses: bool,
    block_taken: usize,
    /// Packets and blocks set aside, for which the local ring has no room.
    aside: Vec<u8>,
    until_ns: u64,
}

/// The streams of a hello, each with the first packet wanted.
pub(super) type Wanted = [StreamPoint; HELLO_STREAMS_MAX];

/// Where packets go: the local ring and the memory beside it, the streams; and when.
pub(super) type Into<'a> = (&'a mut Inbox, &'a mut Streams, Moment);

impl Accepted {
    pub(super) const fn new(socket: SocketId, until_ns: u64) -> Self {
        Self {
            socket,
            stage: Stage::Stranger,
            peer: None,
            compresses: false,
            block_taken: 0,
            aside: Vec::new(),
            until_ns,
        }
    }

    pub(super) fn is_stranger(&self) -> bool {
        self.stage == Stage::Stranger
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Where the peer listens, if this is the line of the pair's that is told of.
    pub(super) fn speaks_for(&self) -> Option<SocketAddr> {
        let peer = self.peer.filter(|peer| peer.lanes & lane_bit(LOWEST_LANE) != 0);
        peer.filter(|_| self.is_open()).map(|peer| peer.listens)
    }

    /// Whether packets wait for room.
    pub(super) const fn has_aside(&self) -> bool {
        !self.aside.is_empty()
    }

    /// Whether this is the peer that listens there, and its streams have these lanes.
    pub(super) fn is_of(&self, listens: SocketAddr, lanes: u8) -> bool {
        let same = |peer: Peer| (peer.listens, peer.lanes) == (listens, lanes);
        self.is_open() && self.peer.is_some_and(same)
    }

    pub(super) fn deadline_ns(&self, line: &Line, times: Times) -> u64 {
        match self.stage {
            Stage::Stranger | Stage::Leaving => self.until_ns,
            Stage::Open => {
                // A line that was used in both directions is closed by who dialled it.
                let waits = !line.is_ours() && line.is_left();
                let intervals = SILENT_INTERVALS + u64::from(waits);
                line.heard_ns().saturating_add(intervals * times.keep_alive_ns)
            }
            Stage::Ended => 0,
        }
    }

    /// Reads the hello that a stranger says first, or that stands at the front of the line. `meet`
    /// answers it. Packets may follow.
    pub(super) fn read_hello<S: Sockets>(
        &mut self,
        line: &mut Line,
        cycle: &mut Cycle<'_, S>,
        meet: impl FnOnce(&Hello<'_>, &mut Self) -> Result<Wanted, Refusal>,
    ) {
        let scratch = std::mem::take(&mut cycle.scratch);
        let filled = if std::mem::take(&mut line.greets) {
            line.remainder.restore(scratch)
        } else {
            line.fill(cycle, scratch, STRANGER_BYTES)
        };
        match next_packet(&scratch[..filled], CONTROL_PACKET_BYTES_MAX) {
            Ok(None) => line.remainder.keep(&scratch[..filled]),
            Ok(Some(packet)) => {
                let length = packet.header.length as usize;
                match Control::of(&packet) {
                    Some(Control::Hello(hello)) => match meet(&hello, self) {
                        Ok(wanted) => self.welcome((&hello, wanted), line, cycle),
                        Err(refusal) => self.refuse(refusal, line, cycle),
                    },
                    _ => self.refuse(Refusal::Malformed, line, cycle),
                }
                line.remainder.keep(&scratch[length..filled]);
            }
            Err(_) if scratch.first() == Some(&TLS_HANDSHAKE) => {
                self.refuse_as((Refusal::Malformed, Counter::HellosTls), line, cycle);
            }
            Err(_) => self.refuse(Refusal::Malformed, line, cycle),
        }
        if line.has_ended() {
            self.stage = Stage::Ended;
        }
        cycle.scratch = scratch;
    }

    /// Whether this node talks to who says this hello.
    pub(super) fn meet(
        &self,
        hello: &Hello<'_>,
        (identity, proven, crowded): (&Identity, Option<&PeerIdentity>, bool),
        others: &mut BTreeMap<SocketId, Self>,
    ) -> Result<(), Refusal> {
        if hello.protocol != LINK_PROTOCOL {
            return Err(Refusal::Protocol);
        }
        if hello.cluster != identity.cluster {
            return Err(Refusal::Cluster);
        }
        if hello.node == identity.node {
            let own = hello.incarnation == identity.incarnation;
            return Err(if own { Refusal::OwnNode } else { Refusal::Name });
        }
        if proven.is_some_and(|peer| (peer.node, &*peer.name) != (hello.node, hello.name)) {
            return Err(Refusal::Identity);
        }
        let lives = others.values().filter_map(|link| link.peer);
        if lives
            .into_iter()
            .any(|peer| peer.node == hello.node && peer.incarnation > hello.incarnation)
        {
            return Err(Refusal::Name);
        }
        if crowded {
            return Err(Refusal::Busy);
        }
        Ok(())
    }

    /// Opens the streams of a hello, and ends the links of this peer that this one replaces.
    pub(super) fn open_streams(
        &mut self,
        (hello, counters): (&Hello<'_>, &Counters),
        streams: &mut Streams,
        others: &mut BTreeMap<SocketId, Self>,
    ) -> Result<Wanted, Refusal> {
        let mut wanted = hello.streams;
        let mut places = [None; HELLO_STREAMS_MAX];
        for (point, place) in wanted.iter_mut().zip(&mut places).take(hello.stream_count) {
            let opened = streams.open(hello.node, *point, self.socket);
            let (index, next, before) = opened.map_err(|unopened| match unopened {
                Unopened::Full => Refusal::Busy,
                Unopened::Gap => Refusal::Stream,
            })?;
            *place = Some(index);
            point.sequence = next;
            if let Some(old) = before.and_then(|socket| others.get_mut(&socket)) {
                old.supersede(counters);
            }
        }
        for link in others.values_mut() {
            let older =
                |peer: Peer| peer.node == hello.node && peer.incarnation < hello.incarnation;
            if link.peer.is_some_and(older) {
                link.supersede(counters);
            }
        }
        let small = hello.streams().iter().filter(|point| !point.pieces);
        self.peer = Some(Peer {
            node: hello.node,
            incarnation: hello.incarnation,
            listens: hello.listens,
            lanes: small.fold(0, |lanes, point| lanes | lane_bit(point.lane)),
            streams: places,
        });
        Ok(wanted)
    }

    fn supersede(&mut self, counters: &Counters) {
        if self.stage == Stage::Open {
            counters.add(Counter::LinksSuperseded, 1);
            self.stage = Stage::Ended;
        }
    }

    fn welcome<S: Sockets>(
        &mut self,
        (hello, wanted): (&Hello<'_>, Wanted),
        line: &mut Line,
        cycle: &Cycle<'_, S>,
    ) {
        self.compresses = hello.compresses && cycle.identity.compresses;
        let welcome = Hello {
            streams: wanted,
            stream_count: hello.stream_count,
            compresses: self.compresses,
            ..cycle.identity.hello()
        };
        say(Control::Welcome(welcome), line, cycle);
        cycle.counters.add(Counter::LinksOpened, 1);
        line.hear(cycle.now_ns);
        (line.was_greeted, line.takes_blocks) = (true, self.compresses);
        self.stage = Stage::Open;
    }

    /// Says why not. A line of ours goes on without this half.
    fn refuse<S: Sockets>(&mut self, refusal: Refusal, line: &mut Line, cycle: &Cycle<'_, S>) {
        self.refuse_as((refusal, counter_of(refusal)), line, cycle);
    }

    fn refuse_as<S: Sockets>(
        &mut self,
        (refusal, counter): (Refusal, Counter),
        line: &mut Line,
        cycle: &Cycle<'_, S>,
    ) {
        cycle.counters.add(counter, 1);
        say(Control::Refusal(refusal), line, cycle);
        self.stage = if line.is_ours() { Stage::Ended } else { Stage::Leaving };
    }

    /// Takes the packets and the blocks that were set aside, as far as there is room now; gives how
    /// many packets were handed over.
    pub(super) fn take_aside<S: Sockets>(
        &mut self,
        cycle: &mut Cycle<'_, S>,
        into: &mut Into<'_>,
    ) -> usize {
        if into.0.is_full() {
            return 0;
        }
        let bytes = std::mem::take(&mut self.aside);
        let (mut at, mut handed) = (0, 0);
        while self.is_open()
            && let Ok(Some(unit)) = next_unit(&bytes[at..], PACKET_BYTES_MAX, self.compresses)
        {
            let (whole, packets) = self.take(&unit, cycle, into);
            handed += packets;
            if !whole {
                break;
            }
            at += unit.length();
        }
        self.aside = bytes;
        self.aside.drain(..at);
        if self.aside.is_empty() {
            self.aside = Vec::new();
        }
        handed
    }

    /// How much is set aside.
    #[cfg(test)]
    pub(super) const fn aside_bytes(&self) -> usize {
        self.aside.len()
    }

    /// Sets a packet or block aside for which there is no room; false when there is none for that
    /// either.
    pub(super) fn set_aside(&mut self, bytes: &[u8]) -> bool {
        let fits = self.aside.len() + bytes.len() <= ASIDE_BYTES_MAX;
        if fits {
            self.aside.extend_from_slice(bytes);
        }
        fits
    }

    /// Takes a packet or a block; gives whether all of it is taken, and how many packets were
    /// handed over.
    pub(super) fn take<S: Sockets>(
        &mut self,
        unit: &Unit<'_>,
        cycle: &mut Cycle<'_, S>,
        into: &mut Into<'_>,
    ) -> (bool, usize) {
        match unit {
            Unit::Block(block) => self.take_block(block, cycle, into),
            Unit::Packet(packet) => match self.take_packet(packet, cycle, into) {
                Taken::News => (true, 1),
                Taken::Nothing => (true, 0),
                Taken::Stays | Taken::Ended => (false, 0),
            },
        }
    }

    /// Hands over the packets of a block that were not before; gives whether all are, and how many.
    fn take_block<S: Sockets>(
        &mut self,
        block: &Block<'_>,
        cycle: &mut Cycle<'_, S>,
        into: &mut Into<'_>,
    ) -> (bool, usize) {
        let Some(packets) = cycle.compression.unpack(block) else {
            self.break_off(cycle);
            return (false, 0);
        };
        let mut handed = 0;
        let whole = loop {
            match next_packet(&packets[self.block_taken..], PACKET_BYTES_MAX) {
                Ok(Some(packet)) => match self.take_packet(&packet, cycle, into) {
                    Taken::Stays | Taken::Ended => break false,
                    taken => {
                        handed += usize::from(taken == Taken::News);
                        self.block_taken += packet.header.length as usize;
                    }
                },
                Ok(None) if self.block_taken == packets.len() => break true,
                Ok(None) | Err(_) => {
                    self.break_off(cycle);
                    break false;
                }
            }
        };
        if whole {
            self.block_taken = 0;
            cycle.counters.add(Counter::BlocksReceived, 1);
        }
        cycle.compression.reuse(packets);
        (whole, handed)
    }

    fn take_packet<S: Sockets>(
        &mut self,
        packet: &Packet<'_>,
        cycle: &Cycle<'_, S>,
        (inbox, streams, moment): &mut Into<'_>,
    ) -> Taken {
        let header = &packet.header;
        let sequenced = header.flags.without(PacketFlags::CHECKSUMMED) == PacketFlags::SEQUENCED;
        let key = (header.source, header.session, header.lane);
        let places = self.peer.map(|peer| peer.streams).unwrap_or_default();
        let place = places
            .into_iter()
            .flatten()
            .find(|place| streams.at(*place).is_some_and(|stream| stream.key() == key));
        let stream = place.filter(|_| sequenced).and_then(|p| Some((p, streams.at(p)?)));
        let Some((place, stream)) = stream else {
            self.break_off(cycle);
            return Taken::Ended;
        };
        match stream.admit(header) {
            Admission::Question => {
                stream.ask();
                Taken::Nothing
            }
            Admission::Duplicate => {
                cycle.counters.add(Counter::PacketsDuplicate, 1);
                Taken::Nothing
            }
            Admission::Next if stream.is_of_pieces() => {
                let taken = inbox.take_piece(packet, (place, stream), *moment);
                if taken.is_err() {
                    self.break_off(cycle);
                    return Taken::Ended;
                }
                Taken::News
            }
            Admission::Next => match inbox.hand(packet, (place, stream), moment.unix_ns) {
                Ok(true) => Taken::News,
                Ok(false) => Taken::Stays,
                // The receiver has ended, and its node with it.
                Err(_) => {
                    self.stage = Stage::Ended;
                    Taken::Ended
                }
            },
            Admission::Broken => {
                self.break_off(cycle);
                Taken::Ended
            }
        }
    }

    /// Ends the link: an event in pieces was begun, and nothing more of it comes.
    pub(super) fn give_up_silent(&mut self, counters: &Counters) {
        if self.stage == Stage::Open {
            counters.add(Counter::LinksSilent, 1);
            self.stage = Stage::Ended;
        }
    }

    fn break_off<S: Sockets>(&mut self, cycle: &Cycle<'_, S>) {
        cycle.counters.add(Counter::LinksBroken, 1);
        self.stage = Stage::Ended;
    }

    /// Says how far the peer's streams have come, where there is room to say it; returns how many
    /// words were said.
    pub(super) fn tell<S: Sockets>(
        &self,
        line: &mut Line,
        cycle: &mut Cycle<'_, S>,
        streams: &mut Streams,
    ) -> usize {
        let Some(peer) = self.peer.as_ref().filter(|_| self.is_open()) else { return 0 };
        let (mut said, until_ns) = (0, cycle.now_ns.saturating_sub(cycle.patience_ns));
        for place in peer.streams.iter().flatten() {
            let Some(stream) = streams.at(*place) else { continue };
            if !line.has_room_for_words() {
                continue;
            }
            let (source, session, lane) = stream.key();
            let Some((next_sequence, window_bytes)) = stream.news(until_ns, cycle.says_all) else {
                cycle.due_ns = cycle.due_ns.min(stream.due_ns());
                continue;
            };
            let status = Status { source, session, lane, next_sequence, window_bytes };
            line.say(&status.encode());
            cycle.counters.add(Counter::StatusesSent, 1);
            said += 1;
        }
        said
    }

    /// Tells the peer what there is to tell, and ends with the line when everything is said.
    pub(super) fn speak<S: Sockets>(
        &mut self,
        line: &mut Line,
        cycle: &mut Cycle<'_, S>,
        streams: &mut Streams,
    ) -> usize {
        let said = self.tell(line, cycle, streams);
        match line.speak(cycle.sockets) {
            Ok(spoken) if spoken && self.stage == Stage::Leaving => line.end(),
            Ok(_) => {}
            Err(_) => line.end(),
        }
        said
    }

    /// Ends strangers that say nothing, and peers that have been silent for long.
    pub(super) fn watch_time<S: Sockets>(&mut self, line: &mut Line, cycle: &mut Cycle<'_, S>) {
        if self.has_ended() || cycle.now_ns < self.deadline_ns(line, cycle.times) {
            return;
        }
        match self.stage {
            Stage::Stranger => cycle.counters.add(Counter::HandshakesExpired, 1),
            // Neither side has had anything to carry for so long.
            Stage::Open if line.is_ours() && line.is_left() => {}
            Stage::Open => cycle.counters.add(Counter::LinksSilent, 1),
            Stage::Leaving | Stage::Ended => {}
        }
        line.end();
    }

    /// Leaves its streams; they wait for another link.
    pub(super) fn leave(&self, streams: &mut Streams) {
        for place in self.peer.iter().flat_map(|peer| peer.streams).flatten() {
            streams.leave(place, self.socket);
        }
    }
}

fn say<S>(control: Control<'_>, line: &mut Line, cycle: &Cycle<'_, S>) {
    let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
    let length = control.encode(cycle.identity.node, &mut packet);
    line.say(&packet[..length]);
}

const fn counter_of(refusal: Refusal) -> Counter {
    match refusal {
        Refusal::Protocol => Counter::HellosProtocol,
        Refusal::Cluster => Counter::HellosCluster,
        Refusal::OwnNode => Counter::HellosOwnNode,
        Refusal::Name => Counter::HellosName,
        Refusal::Malformed => Counter::HellosMalformed,
        Refusal::Busy => Counter::HellosBusy,
        Refusal::Stream => Counter::HellosStream,
        Refusal::Identity => Counter::HellosIdentity,
        // Said where TLS is spoken, before there is a hello.
        Refusal::Secured => Counter::TlsPlain,
    }
}

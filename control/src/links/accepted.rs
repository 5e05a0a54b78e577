//! A link that a peer dialled: first a stranger who must say hello, then the streams of a peer.
//!
//! What a stranger can make this node hold is one hello, for a bounded time, among a bounded number
//! of strangers. A packet is read only when it can be handed over: when the local ring is full, the
//! socket is left alone, and TCP tells the peer.

use std::collections::BTreeMap;
use std::io;

use wireloom_dataplane::counters::Counter;
use wireloom_wire::{
    Block, CONTROL_PACKET_BYTES_MAX, Control, HELLO_STREAMS_MAX, Hello, LINK_PROTOCOL, NodeId,
    Packet, PacketFlags, Refusal, Status, StreamPoint,
};

use super::speech::Speech;
use super::{Cycle, Identity, Times};
use crate::framing::{Remainder, Unit, next_packet, next_unit};
use crate::incoming::reassembly::Moment;
use crate::incoming::{Admission, Inbox, Streams, Unopened};
use crate::outgoing::PACKET_BYTES_MAX;
use crate::sockets::{Ready, SocketId, Sockets};

/// Reads of one socket in a duty cycle, so that others come round.
const READS_PER_CYCLE: usize = 4;

/// Bytes taken from a stranger at a time.
const STRANGER_BYTES: usize = 4 << 10;

/// Bytes that wait to be written to a peer before its news wait too: it does not read them.
pub(super) const SPEECH_BYTES_MAX: usize = 4 << 10;

/// A socket is looked at unasked for so long after it brought something.
const HOT_NS: u64 = 1_000_000;

/// Keep-alive intervals after which a silent peer is taken to be gone.
const SILENT_INTERVALS: u64 = 3;

/// Who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Peer {
    node: NodeId,
    incarnation: u64,
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

/// The link.
#[derive(Debug)]
pub(super) struct Accepted {
    socket: SocketId,
    stage: Stage,
    peer: Option<Peer>,
    remainder: Remainder,
    /// The two sides agreed on blocks; how much was handed over of the block at the front of the
    /// remainder.
    compresses: bool,
    block_taken: usize,
    /// The local ring had no room for the packet at the front of the remainder.
    blocked: bool,
    speech: Speech,
    readable: bool,
    writable: bool,
    /// The end of the stream is behind what can be read.
    ends: bool,
    until_ns: u64,
    heard_ns: u64,
    /// When the last bytes were read; packets are often followed by others.
    read_ns: u64,
}

/// The streams of a hello, each with the first packet wanted.
pub(super) type Wanted = [StreamPoint; HELLO_STREAMS_MAX];

/// Where packets go: the local ring and the memory beside it, the streams; and when.
pub(super) type Into<'a> = (&'a mut Inbox, &'a mut Streams, Moment);

impl Accepted {
    pub(super) fn new(socket: SocketId, until_ns: u64) -> Self {
        Self {
            socket,
            stage: Stage::Stranger,
            peer: None,
            remainder: Remainder::default(),
            compresses: false,
            block_taken: 0,
            blocked: false,
            speech: Speech::default(),
            readable: true,
            writable: true,
            ends: false,
            until_ns,
            heard_ns: 0,
            read_ns: 0,
        }
    }

    pub(super) const fn socket(&self) -> SocketId {
        self.socket
    }

    pub(super) fn is_stranger(&self) -> bool {
        self.stage == Stage::Stranger
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Whether packets came so lately that it is worth a look whether there are more.
    pub(super) fn is_hot(&self, now_ns: u64) -> bool {
        self.stage == Stage::Open && now_ns.saturating_sub(self.read_ns) < HOT_NS
    }

    /// Looks at the socket in this cycle without having been told that there is anything.
    pub(super) const fn look(&mut self) {
        self.readable = true;
    }

    /// Whether there is something to read and something to do with it.
    pub(super) fn wants_tending(&self) -> bool {
        matches!(self.stage, Stage::Stranger | Stage::Open) && (self.readable || self.blocked)
    }

    pub(super) const fn on_ready(&mut self, ready: Ready) {
        self.readable |= ready.readable;
        self.writable |= ready.writable;
        self.ends |= ready.ends;
    }

    pub(super) fn deadline_ns(&self, times: Times) -> u64 {
        match self.stage {
            Stage::Stranger | Stage::Leaving => self.until_ns,
            Stage::Open => self.heard_ns.saturating_add(SILENT_INTERVALS * times.keep_alive_ns),
            Stage::Ended => 0,
        }
    }

    /// Reads what the stranger says first. `meet` answers a hello.
    pub(super) fn read_hello<S: Sockets>(
        &mut self,
        cycle: &mut Cycle<'_, S>,
        meet: impl FnOnce(&Hello<'_>, &mut Self) -> Result<Wanted, Refusal>,
    ) {
        let scratch = std::mem::take(&mut cycle.scratch);
        let filled = self.fill(cycle, scratch, STRANGER_BYTES);
        match next_packet(&scratch[..filled], CONTROL_PACKET_BYTES_MAX) {
            Ok(None) => self.remainder.keep(&scratch[..filled]),
            Ok(Some(packet)) => {
                let length = packet.header.length as usize;
                match Control::of(&packet) {
                    Some(Control::Hello(hello)) => match meet(&hello, self) {
                        Ok(wanted) => self.welcome(&hello, wanted, cycle),
                        Err(refusal) => self.refuse(refusal, cycle),
                    },
                    _ => self.refuse(Refusal::Malformed, cycle),
                }
                self.remainder.keep(&scratch[length..filled]);
            }
            Err(_) => self.refuse(Refusal::Malformed, cycle),
        }
        cycle.scratch = scratch;
    }

    /// Puts what was left before and what can be read now into `scratch`; gives how much.
    fn fill<S: Sockets>(
        &mut self,
        cycle: &mut Cycle<'_, S>,
        scratch: &mut [u8],
        bytes_max: usize,
    ) -> usize {
        let kept = self.remainder.restore(scratch);
        let room = scratch.len().min(kept.saturating_add(bytes_max));
        if !self.readable || kept == room {
            return kept;
        }
        match cycle.sockets.read(self.socket, &mut scratch[kept..room]) {
            Ok(0) => {
                self.readable = false;
                self.stage = Stage::Ended;
                kept
            }
            Ok(bytes) => {
                // What fills the room may go on; an end behind it must still be read.
                self.readable = self.ends || bytes == room - kept;
                self.read_ns = cycle.now_ns;
                kept + bytes
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                kept
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => kept,
            Err(_) => {
                self.stage = Stage::Ended;
                kept
            }
        }
    }

    /// Whether this node talks to who says this hello.
    pub(super) fn meet(
        &self,
        hello: &Hello<'_>,
        (identity, crowded): (&Identity, bool),
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
        (hello, counters): (&Hello<'_>, &wireloom_dataplane::counters::Counters),
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
        let (node, incarnation) = (hello.node, hello.incarnation);
        self.peer = Some(Peer { node, incarnation, streams: places });
        Ok(wanted)
    }

    fn supersede(&mut self, counters: &wireloom_dataplane::counters::Counters) {
        if self.stage == Stage::Open {
            counters.add(Counter::LinksSuperseded, 1);
            self.stage = Stage::Ended;
        }
    }

    fn welcome<S: Sockets>(&mut self, hello: &Hello<'_>, wanted: Wanted, cycle: &Cycle<'_, S>) {
        self.compresses = hello.compresses && cycle.identity.compresses;
        let welcome = Hello {
            streams: wanted,
            stream_count: hello.stream_count,
            compresses: self.compresses,
            ..cycle.identity.hello()
        };
        self.say(Control::Welcome(welcome), cycle);
        cycle.counters.add(Counter::LinksOpened, 1);
        self.heard_ns = cycle.now_ns;
        self.stage = Stage::Open;
    }

    fn refuse<S: Sockets>(&mut self, refusal: Refusal, cycle: &Cycle<'_, S>) {
        cycle.counters.add(counter_of(refusal), 1);
        self.say(Control::Refusal(refusal), cycle);
        self.stage = Stage::Leaving;
    }

    fn say<S: Sockets>(&mut self, control: Control<'_>, cycle: &Cycle<'_, S>) {
        let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
        let length = control.encode(cycle.identity.node, &mut packet);
        self.speech.say(&packet[..length]);
    }

    /// Reads packets and hands them over, as long as there is room; returns how many.
    pub(super) fn read_packets<S: Sockets>(
        &mut self,
        cycle: &mut Cycle<'_, S>,
        mut into: Into<'_>,
    ) -> usize {
        let mut handed = 0;
        for _ in 0..READS_PER_CYCLE {
            let ready = self.readable || self.blocked || self.remainder.len() > 0;
            if self.stage != Stage::Open || !ready || into.0.is_full() {
                break;
            }
            let scratch = std::mem::take(&mut cycle.scratch);
            let filled = if self.blocked {
                self.remainder.restore(scratch)
            } else {
                self.fill(cycle, scratch, usize::MAX)
            };
            if self.stage == Stage::Ended {
                cycle.counters.add(Counter::LinksCut, 1);
            }
            self.blocked = false;
            let (taken, packets) = self.take_packets(&scratch[..filled], cycle, &mut into);
            self.remainder.keep(&scratch[taken..filled]);
            cycle.scratch = scratch;
            handed += packets;
            if !self.readable {
                break;
            }
        }
        handed
    }

    /// Hands over the packets at the front of `bytes`; gives the bytes taken and the packets.
    fn take_packets<S: Sockets>(
        &mut self,
        bytes: &[u8],
        cycle: &mut Cycle<'_, S>,
        into: &mut Into<'_>,
    ) -> (usize, usize) {
        let (mut at, mut handed) = (0, 0);
        loop {
            match next_unit(&bytes[at..], PACKET_BYTES_MAX, self.compresses) {
                Ok(None) => return (at, handed),
                Ok(Some(Unit::Block(block))) => {
                    self.heard_ns = cycle.now_ns;
                    let (whole, packets) = self.take_block(&block, cycle, into);
                    handed += packets;
                    if !whole {
                        return (at, handed);
                    }
                    at += block.length;
                }
                Ok(Some(Unit::Packet(packet))) => {
                    self.heard_ns = cycle.now_ns;
                    match self.take_packet(&packet, cycle, into) {
                        Some(true) => handed += 1,
                        Some(false) => {}
                        None => return (at, handed),
                    }
                    at += packet.header.length as usize;
                }
                Err(_) => {
                    self.break_off(cycle);
                    return (at, handed);
                }
            }
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
                    Some(news) => {
                        handed += usize::from(news);
                        self.block_taken += packet.header.length as usize;
                    }
                    None => break false,
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

    /// One packet: true when it was handed over, `None` when it stays or the link has ended.
    fn take_packet<S: Sockets>(
        &mut self,
        packet: &Packet<'_>,
        cycle: &Cycle<'_, S>,
        (inbox, streams, moment): &mut Into<'_>,
    ) -> Option<bool> {
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
            return None;
        };
        match stream.admit(header) {
            Admission::Question => {
                stream.ask();
                Some(false)
            }
            Admission::Duplicate => {
                cycle.counters.add(Counter::PacketsDuplicate, 1);
                Some(false)
            }
            Admission::Next if stream.is_of_pieces() => {
                let taken = inbox.take_piece(packet, (place, stream), *moment);
                if taken.is_err() {
                    self.break_off(cycle);
                    return None;
                }
                Some(true)
            }
            Admission::Next => match inbox.hand(packet, (place, stream), moment.unix_ns) {
                Ok(true) => Some(true),
                Ok(false) => {
                    self.blocked = true;
                    None
                }
                // The receiver has ended, and its node with it.
                Err(_) => {
                    self.stage = Stage::Ended;
                    None
                }
            },
            Admission::Broken => {
                self.break_off(cycle);
                None
            }
        }
    }

    /// Ends the link: an event in pieces was begun, and nothing more of it comes.
    pub(super) fn give_up_silent(&mut self, counters: &wireloom_dataplane::counters::Counters) {
        if self.stage == Stage::Open {
            counters.add(Counter::LinksSilent, 1);
            self.stage = Stage::Ended;
        }
    }

    fn break_off<S: Sockets>(&mut self, cycle: &Cycle<'_, S>) {
        cycle.counters.add(Counter::LinksBroken, 1);
        self.stage = Stage::Ended;
    }

    /// Tells the peer how far its streams have come; returns how many words were said.
    pub(super) fn speak<S: Sockets>(
        &mut self,
        cycle: &mut Cycle<'_, S>,
        streams: &mut Streams,
    ) -> usize {
        let mut said = 0;
        let until_ns = cycle.now_ns.saturating_sub(cycle.patience_ns);
        if let Some(peer) = &self.peer
            && self.stage == Stage::Open
        {
            for place in peer.streams.iter().flatten() {
                let Some(stream) = streams.at(*place) else { continue };
                if self.speech.len() > SPEECH_BYTES_MAX {
                    continue;
                }
                let (source, session, lane) = stream.key();
                let news = stream.news(until_ns, cycle.says_all);
                let Some((next_sequence, window_bytes)) = news else {
                    cycle.due_ns = cycle.due_ns.min(stream.due_ns());
                    continue;
                };
                let status = Status { source, session, lane, next_sequence, window_bytes };
                self.speech.say(&status.encode());
                cycle.counters.add(Counter::StatusesSent, 1);
                said += 1;
            }
        }
        if !self.speech.is_empty() && self.writable && self.stage != Stage::Ended {
            match self.speech.write(cycle.sockets, self.socket) {
                Ok(written) => self.writable = written,
                Err(_) => self.stage = Stage::Ended,
            }
        }
        if self.stage == Stage::Leaving && self.speech.is_empty() {
            self.stage = Stage::Ended;
        }
        said
    }

    /// Ends strangers that say nothing, and peers that have been silent for long.
    pub(super) fn watch_time<S: Sockets>(&mut self, cycle: &mut Cycle<'_, S>) {
        if cycle.now_ns < self.deadline_ns(cycle.times) {
            return;
        }
        match self.stage {
            Stage::Stranger => cycle.counters.add(Counter::HandshakesExpired, 1),
            Stage::Open => cycle.counters.add(Counter::LinksSilent, 1),
            Stage::Leaving | Stage::Ended => {}
        }
        self.stage = Stage::Ended;
    }

    /// Leaves its streams; they wait for another link.
    pub(super) fn leave(&self, streams: &mut Streams) {
        for place in self.peer.iter().flat_map(|peer| peer.streams).flatten() {
            streams.leave(place, self.socket);
        }
    }
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
    }
}

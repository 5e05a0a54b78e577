//! The receiving side of reliable streams: which packet is next, which were had before, which have
//! been taken by the handlers.
//!
//! Sans-IO but for the local ring it fills. A packet is handed over once, in order; it counts as
//! taken when the receiver that drains the ring has released it.

pub(crate) mod reassembly;

use std::collections::{BTreeMap, VecDeque};

use wireloom_dataplane::dispatch::Origin;
use wireloom_dataplane::inbound::commit_packet;
use wireloom_ring::{ClaimError, Producer};
use wireloom_wire::{Lane, NodeId, Packet, PacketHeader, SessionId, StreamPoint};

use crate::sockets::SocketId;
use reassembly::{Arriving, Moment, Reassembly, Unfitting};

/// Streams a node follows; about 100 bytes each. One peer has up to ten of each of its lives.
const STREAMS_MAX: usize = 16_384;

/// Acknowledgements wait this long for company, unless the thread is about to sleep: telling is a
/// system call for both sides, and news that is a few microseconds younger says the same and more.
const ACK_DELAY_NS: u64 = 50_000;

/// What is taken and not told of at most: an eighth of the ring its events wait in (1 MiB).
const ACK_BYTES: usize = 128 << 10;

/// Which stream.
pub(crate) type StreamKey = (NodeId, SessionId, Lane);

/// One stream of one peer.
#[derive(Debug)]
pub(crate) struct Incoming {
    key: StreamKey,
    /// The sequence of the packet that comes next.
    next: u64,
    /// How many events came before it; unknown until the first packet.
    next_event: Option<u64>,
    /// Everything before this has been taken by the handlers.
    taken: u64,
    /// The sender was told of everything before this.
    told: u64,
    /// When the first of what the sender was not told was taken, and how much that is by now.
    untold_since_ns: u64,
    untold_bytes: usize,
    /// The sender asked, and is to be told although there is no news.
    asked: bool,
    /// The socket it comes in by.
    socket: Option<SocketId>,
    used: u64,
    /// What a stream of pieces has beside.
    pieces: Option<Box<Arriving>>,
}

/// What a packet is to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The next one.
    Next,
    /// Had before.
    Duplicate,
    /// No events; the sender asks.
    Question,
    /// It cannot be: a gap, or counts that contradict each other.
    Broken,
}

impl Incoming {
    pub(crate) fn admit(&self, header: &PacketHeader) -> Admission {
        if header.frame_count == 0 {
            let behind = header.sequence <= self.next;
            return if behind { Admission::Question } else { Admission::Broken };
        }
        if header.sequence < self.next {
            return Admission::Duplicate;
        }
        let events_agree = self.next_event.is_none_or(|next| next == header.first_event);
        if header.sequence == self.next && events_agree {
            Admission::Next
        } else {
            Admission::Broken
        }
    }

    /// How far the sender is to be told it has come and how much it may send beyond, if it is time
    /// to. How pieces come on waits for no company: their sender waits for it.
    pub(crate) fn news(&mut self, now_ns: u64, says_all: bool) -> Option<(u64, u64)> {
        let waits = self.untold_bytes < ACK_BYTES && now_ns < self.due_ns() && !says_all;
        let moved = self.pieces.as_ref().is_some_and(|arriving| arriving.has_news());
        if !self.asked && !moved && (self.taken <= self.told || waits) {
            return None;
        }
        self.asked = false;
        self.told = self.taken;
        self.untold_bytes = 0;
        // TCP's own window is enough for packets that are taken as they come.
        Some((self.taken, self.pieces.as_mut().map_or(0, |arriving| arriving.window())))
    }

    /// Whether its packets carry pieces.
    pub(crate) const fn is_of_pieces(&self) -> bool {
        self.pieces.is_some()
    }

    /// When the sender is to be told at the latest; never, while there is nothing to tell.
    pub(crate) const fn due_ns(&self) -> u64 {
        if self.taken > self.told {
            self.untold_since_ns.saturating_add(ACK_DELAY_NS)
        } else {
            u64::MAX
        }
    }

    /// The handlers have taken everything before `next`: so many bytes more.
    const fn take(&mut self, next: u64, bytes: usize, now_ns: u64) {
        if self.taken <= self.told {
            self.untold_since_ns = now_ns;
        }
        self.taken = next;
        self.untold_bytes += bytes;
    }

    pub(crate) const fn ask(&mut self) {
        self.asked = true;
    }

    pub(crate) const fn key(&self) -> StreamKey {
        self.key
    }
}

/// Why a stream cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// Every place is taken by a stream whose link is open.
    Full,
    /// It is to go on behind what has come.
    Gap,
}

/// Every stream this node follows.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    places: Vec<Incoming>,
    by_key: BTreeMap<StreamKey, usize>,
    uses: u64,
}

impl Streams {
    /// Opens a stream, or goes on with it, by a new socket. Gives its place, the first packet
    /// wanted, and the socket it came in by until now.
    pub(crate) fn open(
        &mut self,
        source: NodeId,
        point: StreamPoint,
        socket: SocketId,
    ) -> Result<(usize, u64, Option<SocketId>), Unopened> {
        let key = (source, SessionId(point.session), point.lane);
        self.uses += 1;
        let used = self.uses;
        if let Some(place) = self.by_key.get(&key) {
            let stream = &mut self.places[*place];
            if point.sequence > stream.next || point.pieces != stream.is_of_pieces() {
                return Err(Unopened::Gap);
            }
            stream.told = point.sequence;
            if let Some(arriving) = &mut stream.pieces {
                // What it may send now, nobody else tells it.
                stream.asked = true;
                arriving.resumed = true;
            }
            stream.used = used;
            let before = stream.socket.replace(socket);
            return Ok((*place, stream.next, before));
        }
        let stream = Incoming {
            key,
            next: point.sequence,
            next_event: None,
            taken: point.sequence,
            told: point.sequence,
            untold_since_ns: 0,
            untold_bytes: 0,
            asked: false,
            socket: Some(socket),
            used,
            pieces: point.pieces.then(Box::default),
        };
        let place = self.place(stream).ok_or(Unopened::Full)?;
        self.by_key.insert(key, place);
        Ok((place, point.sequence, None))
    }

    /// A place of its own, or that of the stream that has been without a link for longest.
    fn place(&mut self, stream: Incoming) -> Option<usize> {
        if self.places.len() < STREAMS_MAX {
            self.places.push(stream);
            return Some(self.places.len() - 1);
        }
        let silent = self.places.iter().enumerate().filter(|(_, old)| {
            // One with packets in the ring is still written to when they are taken.
            old.socket.is_none() && old.taken == old.next
        });
        let (place, old) = silent.min_by_key(|(_, old)| old.used)?;
        self.by_key.remove(&old.key);
        self.places[place] = stream;
        Some(place)
    }

    pub(crate) fn at(&mut self, place: usize) -> Option<&mut Incoming> {
        self.places.get_mut(place)
    }

    fn get(&self, place: usize) -> Option<&Incoming> {
        self.places.get(place)
    }

    /// The socket has ended.
    pub(crate) fn leave(&mut self, place: usize, socket: SocketId) {
        if let Some(stream) = self.places.get_mut(place)
            && stream.socket == Some(socket)
        {
            stream.socket = None;
        }
    }
}

/// A packet in the local ring.
#[derive(Debug)]
struct Handed {
    /// Where its record ends.
    end: u64,
    stream: usize,
    /// The sequence after it.
    next: u64,
    bytes: usize,
}

/// The local ring and what lies in it.
#[derive(Debug)]
pub(crate) struct Inbox {
    ring: Producer,
    handed: VecDeque<Handed>,
    /// There was no room for the last packet, and nothing has been taken since.
    full: bool,
    /// What does not go through the ring.
    reassembly: Reassembly,
}

impl Inbox {
    pub(crate) const fn new(ring: Producer, reassembly: Reassembly) -> Self {
        Self { ring, handed: VecDeque::new(), full: false, reassembly }
    }

    /// Whether a packet would find no room.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// Hands over the next packet of a stream; false when the ring is full.
    pub(crate) fn hand(
        &mut self,
        packet: &Packet<'_>,
        (place, stream): (usize, &mut Incoming),
        received_unix_ns: u64,
    ) -> Result<bool, ClaimError> {
        let header = &packet.header;
        let origin = Origin {
            source: header.source,
            session: header.session,
            lane: header.lane,
            received_unix_ns,
            verified: false,
        };
        match commit_packet(&mut self.ring, packet, &origin) {
            Ok(()) => {}
            Err(ClaimError::Full) => {
                self.full = true;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        stream.next = header.sequence + 1;
        stream.next_event = Some(header.first_event + u64::from(header.frame_count));
        self.handed.push_back(Handed {
            end: self.ring.position(),
            stream: place,
            next: stream.next,
            bytes: header.length as usize,
        });
        Ok(true)
    }

    /// Takes the next packet of a stream of pieces.
    pub(crate) fn take_piece(
        &mut self,
        packet: &Packet<'_>,
        into: (usize, &mut Incoming),
        moment: Moment,
    ) -> Result<(), Unfitting> {
        self.reassembly.take(packet, into, moment)
    }

    /// Frees the memory of events in pieces of which nothing more comes; gives the links to end.
    pub(crate) fn abandon(&mut self, streams: &mut Streams, moment: Moment) -> Vec<SocketId> {
        self.reassembly.abandon(streams, moment)
    }

    /// When it next has something to do by itself.
    pub(crate) fn deadline_ns(&self, streams: &Streams, ack_ns: u64) -> u64 {
        self.reassembly.deadline_ns(streams, ack_ns)
    }

    /// Takes in what the receiver has released; returns how many packets and large events.
    pub(crate) fn settle(&mut self, streams: &mut Streams, moment: Moment) -> usize {
        self.reassembly.settle(streams, moment) + self.settle_ring(streams, moment.now_ns)
    }

    fn settle_ring(&mut self, streams: &mut Streams, now_ns: u64) -> usize {
        if self.handed.is_empty() {
            return 0;
        }
        let (consumed, before) = (self.ring.consumed_position(), self.handed.len());
        while let Some(packet) = self.handed.pop_front_if(|packet| packet.end <= consumed) {
            if let Some(stream) = streams.at(packet.stream) {
                stream.take(packet.next, packet.bytes, now_ns);
            }
        }
        let settled = before - self.handed.len();
        self.full &= settled == 0;
        settled
    }
}

#[cfg(test)]
#[path = "incoming/tests.rs"]
mod tests;

//! A link: one destination as one sender sees it — where it is, how large its packets may be, which
//! session it runs in, and one numbered stream per lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wireloom_seal::{Mode, SealingKey};
use wireloom_wire::{
    LANES, NodeId, PACKET_HEADER_BYTES, PacketFlags, PacketHeader, SessionId, TAG_BYTES,
};

use crate::credit::Credit;
use crate::flow::{FlowControl, PeerWindow};
use crate::io::Destination;
use crate::limits::{DATAGRAM_BYTES_MAX, LINKS_MAX};

/// Which link of a sender. Never reused within a node's life; the index stays below [`LINKS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u32);

impl LinkId {
    /// The slot in the sender's table.
    #[inline]
    #[must_use]
    pub const fn slot(self) -> usize {
        self.0 as usize % LINKS_MAX
    }
}

/// What was sent on one link, by lane; written by the sender alone.
#[derive(Debug, Default)]
pub struct LinkCounters {
    /// Events handed to the kernel.
    pub events: [AtomicU64; LANES],
    /// Packets handed to the kernel, tail markers included.
    pub packets: [AtomicU64; LANES],
}

impl LinkCounters {
    #[inline]
    pub(crate) fn add(&self, lane: usize, events: u64, packets: u64) {
        let add = |cell: &AtomicU64, n: u64| {
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        };
        add(&self.events[lane], events);
        add(&self.packets[lane], packets);
    }

    /// Events sent over all lanes.
    #[must_use]
    pub fn events_total(&self) -> u64 {
        self.events.iter().map(|cell| cell.load(Ordering::Relaxed)).sum()
    }

    /// Packets sent over all lanes.
    #[must_use]
    pub fn packets_total(&self) -> u64 {
        self.packets.iter().map(|cell| cell.load(Ordering::Relaxed)).sum()
    }
}

/// What a link is made from.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Which link.
    pub id: LinkId,
    /// Where its packets go.
    pub destination: Destination,
    /// This node, written into each packet.
    pub source: NodeId,
    /// This link's session: its packet sequences start at 0 and never repeat.
    pub session: SessionId,
    /// Small events are packed up to this many bytes a packet, header included.
    pub packet_bytes: usize,
    /// The largest packet the path carries: one event larger than `packet_bytes` travels alone.
    pub packet_bytes_max: usize,
    /// Whether the destination is a group or a broadcast address.
    pub multicast: bool,
    /// What to do when the peer takes no more; a group's is always [`FlowControl::Off`].
    pub flow: FlowControl,
    /// Lanes of which nothing leaves without a key: events wait for one, [`KEY_PATIENCE_NS`] at
    /// most, and are shed after that until there is one.
    pub demands_key: [bool; LANES],
}

/// How long events wait for the first key of their link, or for the one after a key was taken away:
/// longer than a handshake on a path around the world.
pub const KEY_PATIENCE_NS: u64 = 1_000_000_000;

/// The position of one lane of a link: what the next packet is numbered.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) sequence: u64,
    pub(crate) first_event: u64,
    pub(crate) credit: Credit,
    /// The packets of this duty cycle, as indices into the sender's plan.
    pub(crate) chain: Chain,
    pub(crate) tail: Tail,
}

/// First and last packet planned for a stream in this duty cycle, whether the last takes more, and
/// how many bytes more the peer takes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Chain {
    pub(crate) ends: Option<(u32, u32)>,
    pub(crate) open: bool,
    pub(crate) room: u64,
}

/// When to say again how far a silent stream has come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tail {
    pub(crate) due_ns: u64,
    pub(crate) markers_left: u32,
    pub(crate) listed: bool,
}

/// What a link's packets are sealed by, and how. The sender's alone: nobody else counts with it.
#[derive(Debug)]
pub struct LinkSeal {
    /// The sender's key for this peer or group.
    pub key: SealingKey,
    /// How the packets of each lane are sealed; `None`: not at all.
    pub modes: [Option<Mode>; LANES],
}

/// One destination as the sender sees it.
#[derive(Debug)]
pub struct Link {
    pub(crate) id: LinkId,
    pub(crate) destination: Destination,
    pub(crate) source: NodeId,
    pub(crate) session: SessionId,
    pub(crate) body_bytes: usize,
    pub(crate) body_bytes_max: usize,
    /// What a packet may have beside its frames: a header, and a tag where the link has a key.
    pub(crate) overhead_bytes: usize,
    pub(crate) seal: Option<Box<LinkSeal>>,
    demands_key: [bool; LANES],
    /// Since when events have waited for a key; `None` while none has.
    keyless_ns: Option<u64>,
    pub(crate) multicast: bool,
    pub(crate) flow: FlowControl,
    pub(crate) window: Arc<PeerWindow>,
    pub(crate) streams: [Stream; LANES],
    pub(crate) counters: Arc<LinkCounters>,
}

impl Link {
    /// A fresh link: every stream at 0. Packet sizes are rounded down to 16 and kept within what a
    /// datagram carries.
    #[must_use]
    pub fn new(config: LinkConfig) -> Self {
        let mut link = Self {
            id: config.id,
            destination: config.destination,
            source: config.source,
            session: config.session,
            body_bytes: 0,
            body_bytes_max: 0,
            overhead_bytes: PACKET_HEADER_BYTES
                + if config.demands_key.contains(&true) { TAG_BYTES } else { 0 },
            seal: None,
            demands_key: config.demands_key,
            keyless_ns: None,
            multicast: config.multicast,
            flow: if config.multicast { FlowControl::Off } else { config.flow },
            window: Arc::default(),
            streams: std::array::from_fn(|_| Stream::default()),
            counters: Arc::new(LinkCounters::default()),
        };
        link.set_path(config.packet_bytes, config.packet_bytes_max);
        link
    }

    /// Fills packets to `packet_bytes` from now on, and sends none longer than `packet_bytes_max`.
    pub(crate) fn set_path(&mut self, packet_bytes: usize, packet_bytes_max: usize) {
        let body = |packet: usize| {
            (packet.min(DATAGRAM_BYTES_MAX) & !15).saturating_sub(self.overhead_bytes)
        };
        self.body_bytes = body(packet_bytes.min(packet_bytes_max));
        self.body_bytes_max = body(packet_bytes_max);
    }

    /// Seals packets from now on; they carry a tag less of frames. Gives back what sealed before.
    pub(crate) fn set_seal(&mut self, seal: Box<LinkSeal>) -> Option<Box<LinkSeal>> {
        self.keyless_ns = None;
        let old = self.seal.replace(seal);
        if old.is_none() && !self.demands_key.contains(&true) {
            self.overhead_bytes += TAG_BYTES;
            self.body_bytes = self.body_bytes.saturating_sub(TAG_BYTES);
            self.body_bytes_max = self.body_bytes_max.saturating_sub(TAG_BYTES);
        }
        old
    }

    /// Gives its key back, if it is a link that sends nothing in some lane without one.
    pub(crate) fn take_seal(&mut self) -> Option<Box<LinkSeal>> {
        if self.demands_key.contains(&true) { self.seal.take() } else { None }
    }

    /// Whether nothing of a lane may leave now, for want of a key.
    #[inline]
    pub(crate) const fn is_keyless(&self, lane: usize) -> bool {
        self.demands_key[lane] && self.seal.is_none()
    }

    /// Whether events of a link without a key are to wait for one, and no longer to be shed.
    pub(crate) fn waits_for_key(&mut self, now_ns: u64) -> bool {
        let since_ns = *self.keyless_ns.get_or_insert(now_ns);
        now_ns.saturating_sub(since_ns) < KEY_PATIENCE_NS
    }

    /// How the packets of a lane are sealed.
    #[inline]
    pub(crate) fn mode(&self, lane: usize) -> Option<Mode> {
        self.seal.as_ref().and_then(|seal| seal.modes[lane])
    }

    /// Bytes of a packet of a lane with so many of frames.
    #[inline]
    pub(crate) fn packet_bytes(&self, lane: usize, body_bytes: usize) -> usize {
        let tag = if self.mode(lane).is_some() { TAG_BYTES } else { 0 };
        PACKET_HEADER_BYTES + body_bytes + tag
    }

    /// The header of the next packet of a lane.
    #[inline]
    pub(crate) fn header(
        &self,
        lane: usize,
        frames: u16,
        bytes: usize,
        is_padded: bool,
    ) -> PacketHeader {
        let mut flags = PacketFlags::SEQUENCED;
        if is_padded {
            flags = flags | PacketFlags::PADDED;
        }
        if self.multicast {
            flags = flags | PacketFlags::MULTICAST;
        }
        PacketHeader {
            flags,
            lane: u8::try_from(lane).unwrap_or(0),
            frame_count: frames,
            length: u32::try_from(bytes).unwrap_or(u32::MAX),
            session: self.session,
            source: self.source,
            sequence: self.streams[lane].sequence,
            first_event: self.streams[lane].first_event,
        }
    }

    /// Moves a lane's stream behind the packet with this header.
    #[inline]
    pub(crate) fn advance(&mut self, lane: usize, header: &PacketHeader) {
        let stream = &mut self.streams[lane];
        if self.flow != FlowControl::Off {
            stream.credit.charge(header.length as usize);
        }
        stream.sequence += 1;
        stream.first_event += u64::from(header.frame_count);
    }

    /// Changes what happens when the peer takes no more. A group stays without flow control.
    pub(crate) const fn set_flow(&mut self, flow: FlowControl) {
        if !self.multicast {
            self.flow = flow;
        }
    }

    /// The counters of this link, to be read from elsewhere.
    #[must_use]
    pub const fn counters(&self) -> &Arc<LinkCounters> {
        &self.counters
    }

    /// What the peer takes, to be written by the receiver that hears it.
    #[must_use]
    pub const fn window(&self) -> &Arc<PeerWindow> {
        &self.window
    }

    /// The session its packets carry.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The largest frame (header, extensions and payload) this link carries; 16 bytes less once it
    /// has a key.
    #[must_use]
    pub const fn frame_bytes_max(&self) -> usize {
        self.body_bytes_max
    }
}

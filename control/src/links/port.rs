//! The way to the links: what a node gives them at the start, and its commands from then on.

use std::net::SocketAddr;
use std::sync::Arc;

use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::command::Commands;
use wireloom_dataplane::counters::Counters;
use wireloom_dataplane::launch::ReceiverPort;
use wireloom_dataplane::wake::Wake;
use wireloom_wire::{Hello, LINK_PROTOCOL, Lane, NodeId};

use super::letter::DeadLetters;
use super::memory::AcceptedMost;
use super::notices::LinksNotices;
use crate::outgoing::Feed;
use crate::outgoing::large::Large;
use crate::settings::ReliableSettings;

/// From the node to the links.
pub enum LinksCommand {
    /// A ring whose events go to this address in this lane.
    Attach(SocketAddr, Lane, Feed),
    /// An event too large for a ring, for this address in this lane.
    Large(SocketAddr, Lane, Box<Large>),
    /// Who is told of undelivered events.
    OnUndelivered(DeadLetters),
    /// Keeps an authenticated line to this address, dialled or found, though there are no events;
    /// its keys are renewed by another line after [`ReliableSettings::renew_after`].
    Introduce(SocketAddr),
    /// No longer does: the line goes when there are no events.
    Part(SocketAddr),
    /// Who is told of authenticated lines; first, of those there are.
    OnNotice(LinksNotices),
    /// Tells a node something beside events, by an authenticated line to it: 1 to
    /// [`NOTE_BYTES_MAX`](wireloom_wire::NOTE_BYTES_MAX) bytes. Counted as `notes_unsent` when
    /// there is no such line, 16 notes or 512 KiB wait for it, or it ends before.
    Note {
        /// Whom.
        to: NodeId,
        /// What.
        note: Box<[u8]>,
    },
    /// Events of peers are taken from now on.
    Accept,
}

impl std::fmt::Debug for LinksCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Attach(peer, lane, _) => write!(f, "Attach({peer}, {lane})"),
            Self::Large(peer, lane, _) => write!(f, "Large({peer}, {lane})"),
            Self::OnUndelivered(_) => f.write_str("OnUndelivered"),
            Self::Introduce(peer) => write!(f, "Introduce({peer})"),
            Self::Part(peer) => write!(f, "Part({peer})"),
            Self::OnNotice(_) => f.write_str("OnNotice"),
            Self::Note { to, note } => write!(f, "Note({to}, {} bytes)", note.len()),
            Self::Accept => f.write_str("Accept"),
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

impl LinksPort {
    /// The way to links that are not there yet, on a thread that this wakes.
    pub(crate) fn new(wake: Option<Arc<Wake>>) -> Self {
        Self {
            commands: Commands::default(),
            counters: Arc::default(),
            accepted_most: Arc::default(),
            wake,
        }
    }
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
    /// Whether its links compress what they carry, where the other side does too.
    pub compresses: bool,
}

impl Identity {
    /// What it says of itself, without streams.
    pub(super) fn hello(&self) -> Hello<'_> {
        Hello {
            protocol: LINK_PROTOCOL,
            cluster: self.cluster,
            node: self.node,
            incarnation: self.incarnation,
            listens: self.listens,
            event_bytes_max: self.event_bytes_max,
            compresses: self.compresses,
            streams: Default::default(),
            stream_count: 0,
            name: &self.name,
        }
    }
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
    /// Whether events of peers are taken from the start, and not after [`LinksCommand::Accept`].
    pub accepts: bool,
}

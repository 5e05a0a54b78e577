//! What peers may send here: one word for each peer and type, compiled by control, owned by its
//! receiver, exchanged whole between two packets.
//!
//! Row 0 is every peer that is not in the table, column 0 every type that is not: what they may is
//! what may be said of all of them. Nothing is allocated here once it is made.

use std::sync::Arc;

use wireloom_wire::{Correlation, EventTypeId, ExchangeKind, Frame, NodeId};

use super::refusals::{Refusal, Refusals};
use crate::limits::ACCESS_CELLS_MAX;

/// A rate of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Events a second, 1 to 10,000,000.
    pub per_second: u32,
    /// Events that may come at once, 1 at least.
    pub burst: u32,
}

/// What a peer may do with a type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grant {
    /// Publish events and replies.
    pub publish: bool,
    /// Ask by it.
    pub request: bool,
    /// How often, both together.
    pub rate: Option<Rate>,
}

/// The table has no room for so many peers and types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{peers} peers × {types} types are more than the {ACCESS_CELLS_MAX} cells of a receiver")]
pub struct AccessTooLarge {
    /// Peers, and all the others as one.
    pub peers: usize,
    /// Types, and all the others as one.
    pub types: usize,
}

const PUBLISH: u32 = 1;
const REQUEST: u32 = 2;
/// The index of the bucket plus one is above these.
const BUCKET_SHIFT: u32 = 2;

/// Allowed whatever it is, as often as it comes.
const FREE: u32 = PUBLISH | REQUEST;

/// What a run of events is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Nothing.
    Free,
    /// At most so many, and each request is looked at by itself if it says so.
    Held { events: u16, requests: bool, bucket: Option<u32> },
    /// Each event is looked at by itself.
    Each,
}

/// A rate as it stands: whole events at the time of the batch, and when the next one comes.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    interval_ns: u64,
    burst: u32,
    tokens: u32,
    filled_ns: u64,
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        let per_second = u64::from(rate.per_second.max(1));
        let burst = rate.burst.max(1);
        // Rounded up: never more than the rate.
        let interval_ns = 1_000_000_000_u64.div_ceil(per_second);
        Self { interval_ns, burst, tokens: burst, filled_ns: 0 }
    }

    /// The tokens at a time; one division when the time is another than before.
    #[inline]
    fn fill(&mut self, now_ns: u64) -> u32 {
        if now_ns != self.filled_ns {
            let gained = now_ns.saturating_sub(self.filled_ns) / self.interval_ns;
            let tokens = u64::from(self.tokens) + gained;
            if now_ns < self.filled_ns || tokens >= u64::from(self.burst) {
                // Full; or the clock was set back.
                self.filled_ns = now_ns;
                self.tokens = u32::try_from(tokens).unwrap_or(u32::MAX).min(self.burst);
            } else {
                self.filled_ns += gained * self.interval_ns;
                self.tokens = u32::try_from(tokens).unwrap_or(self.burst);
            }
        }
        self.tokens
    }
}

/// What every peer may send to one receiver; see [`crate::command::ReceiverCommand::Access`].
#[derive(Debug)]
pub struct AccessTable {
    shadow: bool,
    /// Sorted.
    types: Box<[EventTypeId]>,
    /// Open addressing by the id, which is a hash: id and where its row begins; row 0 is empty.
    peers: Box<[(u64, u32)]>,
    cells: Box<[u32]>,
    buckets: Box<[Bucket]>,
    /// The peer of the last packet.
    last: (u64, u32),
    refusals: Arc<Refusals>,
}

impl AccessTable {
    /// Compiles a table: `grant` is asked for each peer and type, `None` being all the others.
    ///
    /// # Errors
    /// [`AccessTooLarge`].
    pub fn new(
        (shadow, refusals): (bool, Arc<Refusals>),
        types: &[EventTypeId],
        peers: &[NodeId],
        mut grant: impl FnMut(Option<NodeId>, Option<EventTypeId>) -> Grant,
    ) -> Result<Self, AccessTooLarge> {
        let mut types: Vec<EventTypeId> = types.iter().copied().filter(|of| of.0 != 0).collect();
        types.sort_unstable();
        types.dedup();
        let mut peers = peers.to_vec();
        peers.sort_unstable();
        peers.dedup();
        let (width, rows) = (types.len() + 1, peers.len() + 1);
        if width.saturating_mul(rows) > ACCESS_CELLS_MAX {
            return Err(AccessTooLarge { peers: rows, types: width });
        }
        let mut table = Self {
            shadow,
            peers: vec![(0, 0); (rows * 2).next_power_of_two()].into_boxed_slice(),
            cells: Box::default(),
            buckets: Box::default(),
            last: (0, 0),
            types: types.into_boxed_slice(),
            refusals,
        };
        let (mut cells, mut buckets) = (Vec::with_capacity(width * rows), Vec::new());
        for peer in std::iter::once(None).chain(peers.iter().copied().map(Some)) {
            if let Some(peer) = peer {
                let row = u32::try_from(cells.len()).unwrap_or_default();
                let slot = table.slot_of(peer.0);
                table.peers[slot] = (peer.0, row);
            }
            let types = std::iter::once(None).chain(table.types.iter().copied().map(Some));
            cells.extend(types.map(|of| cell_of(grant(peer, of), &mut buckets)));
        }
        (table.cells, table.buckets) = (cells.into(), buckets.into());
        Ok(table)
    }

    /// The types that have a column of their own, in order.
    pub(super) fn types(&self) -> &[EventTypeId] {
        &self.types
    }

    /// The column of a type.
    pub(super) fn column_of(&self, event_type: EventTypeId) -> u32 {
        self.types.binary_search(&event_type).map_or(0, |at| super::index_of(at + 1))
    }

    fn slot_of(&self, peer: u64) -> usize {
        let mask = self.peers.len() - 1;
        let mut slot = spread(NodeId(peer)) & mask;
        while self.peers[slot].1 != 0 && self.peers[slot].0 != peer {
            slot = (slot + 1) & mask;
        }
        slot
    }

    #[inline]
    fn cell(&mut self, peer: NodeId, column: u32) -> u32 {
        if self.last.0 != peer.0 {
            self.last = (peer.0, self.peers[self.slot_of(peer.0)].1);
        }
        self.cells[self.last.1 as usize + column as usize]
    }

    /// What a run of a type from a peer is held to at a time.
    #[inline]
    pub(super) fn guard(&mut self, peer: NodeId, column: u32, now_ns: u64) -> Guard {
        let cell = self.cell(peer, column);
        if cell == FREE {
            return Guard::Free;
        }
        if cell & PUBLISH == 0 {
            return Guard::Each;
        }
        let requests = cell & REQUEST == 0;
        let Some(bucket) = (cell >> BUCKET_SHIFT).checked_sub(1) else {
            return Guard::Held { events: u16::MAX, requests, bucket: None };
        };
        match self.buckets[bucket as usize].fill(now_ns) {
            0 => Guard::Each,
            tokens => {
                let events = u16::try_from(tokens).unwrap_or(u16::MAX);
                Guard::Held { events, requests, bucket: Some(bucket) }
            }
        }
    }

    /// Events of a run that was held to this bucket have been taken.
    #[inline]
    pub(super) fn spend(&mut self, bucket: u32, events: u16) {
        let tokens = &mut self.buckets[bucket as usize].tokens;
        *tokens = tokens.saturating_sub(u32::from(events));
    }

    /// Why one event may not pass, if it may not; otherwise it has its token.
    #[cold]
    pub(super) fn refuses(
        &mut self,
        frame: &Frame<'_>,
        (peer, column): (NodeId, u32),
        now_ns: u64,
    ) -> Option<Refusal> {
        let cell = self.cell(peer, column);
        let request = is_request(frame);
        let needed = if request { REQUEST } else { PUBLISH };
        let limited = cell & needed != 0;
        if limited {
            let bucket = (cell >> BUCKET_SHIFT).checked_sub(1)?;
            if self.buckets[bucket as usize].fill(now_ns) > 0 {
                self.spend(bucket, 1);
                return None;
            }
        }
        let refusal = Refusal { request, limited, shadow: self.shadow };
        self.refusals.count((peer, frame.header.event_type), refusal, now_ns);
        Some(refusal)
    }
}

fn cell_of(grant: Grant, buckets: &mut Vec<Bucket>) -> u32 {
    let verbs = [(grant.publish, PUBLISH), (grant.request, REQUEST)];
    let bits = verbs.iter().filter(|(allowed, _)| *allowed).map(|(_, bit)| bit).sum();
    let Some(rate) = grant.rate.filter(|_| bits != 0) else { return bits };
    buckets.push(Bucket::new(rate));
    bits | super::index_of(buckets.len()) << BUCKET_SHIFT
}

fn is_request(frame: &Frame<'_>) -> bool {
    let asks = |of: Correlation| matches!(of.kind, ExchangeKind::Request | ExchangeKind::Query);
    frame.correlation().is_some_and(asks)
}

/// Where to begin to look for a node: its id is a hash already.
#[inline]
pub(super) const fn spread(node: NodeId) -> usize {
    (node.0 >> 32) as usize
}

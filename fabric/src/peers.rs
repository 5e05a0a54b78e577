//! The peers that reliable events go to: a ring to each for every publisher, or router and
//! priority, the way beside it for large ones, and the accounts of what became of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wireloom_control::{Feed, LargeRoom, LinksCommand, Tally};
use wireloom_dataplane::limits::LINKS_MAX;
use wireloom_ring::Retained;
use wireloom_wire::Priority;

use crate::large::LargeWriter;
use crate::ledger::Ledger;
use crate::outcome::{NoRoute, PeerIndex, Place, Refused};
use crate::receipt::Receipt;
use crate::shared::{Shared, command_to};
use crate::writer::{Handed, RingWriter};

/// Accounts of reliable rings kept for each peer before those that are settled become one.
const RINGS_KEPT: usize = 64;

/// A peer of reliable events, and the accounts of the rings to it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) rings: Vec<(Arc<Handed>, Arc<Tally>)>,
    /// What large events may wait for it.
    room: Arc<LargeRoom>,
}

/// A ring to a peer by TCP.
#[derive(Debug)]
pub(crate) struct ReliableRing {
    pub(crate) writer: RingWriter,
    pub(crate) handed: Arc<Handed>,
    pub(crate) tally: Arc<Tally>,
}

impl ReliableRing {
    /// The place of the event that was written last, large or not.
    pub(crate) fn place(&self, peer: PeerIndex, lane: usize) -> Option<Place> {
        let (large, accepted) = match self.writer.large() {
            Some((true, large)) => (1, large.accepted()),
            _ => (0, self.handed.to_links.load(Ordering::Relaxed)),
        };
        Some(Place { peer, lane, large, event: accepted.checked_sub(1)? })
    }

    /// The receipt of the event at a place.
    pub(crate) fn receipt(&self, place: Place) -> Option<Receipt> {
        let tally = if place.large == 1 { &self.writer.large()?.1.tally } else { &self.tally };
        Some(Receipt::new(Arc::clone(tally), place.event))
    }
}

impl Shared {
    /// The peer of reliable events at an address.
    pub(crate) fn peer_at(&self, address: SocketAddr) -> Result<PeerIndex, Refused> {
        let mut books = self.books();
        let known = books.peers.iter().position(|peer| peer.address == address);
        let index = match known {
            Some(index) => index,
            None if books.peers.len() >= LINKS_MAX => {
                return Err(NoRoute::LinksExhausted(LINKS_MAX).into());
            }
            None => {
                books.peers.push(Peer { address, rings: Vec::new(), room: Arc::default() });
                books.peers.len() - 1
            }
        };
        Ok(PeerIndex(u32::try_from(index).unwrap_or(u32::MAX)))
    }

    /// A ring to a peer by TCP, in the lane of `priority`: of `bytes` now, of `ring_bytes` at most.
    pub(crate) fn attach_reliable(
        &self,
        (peer, priority): (PeerIndex, Priority),
        bytes: usize,
    ) -> Result<ReliableRing, Refused> {
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        let accounts = (Arc::<Handed>::default(), Arc::<Tally>::default());
        let large = {
            let mut books = self.books();
            let peer = &mut books.peers[peer.0 as usize];
            fold_settled(&mut peer.rings);
            peer.rings.push(accounts.clone());
            let to = (peer.address, priority.lane());
            let room = Arc::clone(&peer.room);
            let bytes_max = self.reliable.event_bytes_max();
            let large = LargeWriter::new(self.links.clone(), to, room, bytes_max);
            peer.rings.push((Arc::clone(&large.handed), Arc::clone(&large.tally)));
            large
        };
        let mut ring = self.feed((peer, priority), bytes, accounts)?;
        ring.writer.carry_large(Some(Box::new(large)));
        Ok(ring)
    }

    /// Lets a router go on in a larger ring; on an error it has the old one still. That is closed
    /// when it is replaced; the links read it to its end first, because both have one account.
    #[cold]
    pub(crate) fn enlarge(
        &self,
        way: (PeerIndex, Priority),
        ring: &mut ReliableRing,
    ) -> Result<(), Refused> {
        let bytes = ring.writer.larger_bytes();
        let accounts = (Arc::clone(&ring.handed), Arc::clone(&ring.tally));
        let mut larger = self.feed(way, bytes, accounts)?;
        larger.writer.carry_large(ring.writer.leave_large());
        *ring = larger;
        Ok(())
    }

    /// Makes a ring and gives the links its other end.
    fn feed(
        &self,
        (peer, priority): (PeerIndex, Priority),
        bytes: usize,
        (handed, tally): (Arc<Handed>, Arc<Tally>),
    ) -> Result<ReliableRing, Refused> {
        let made = self.ring(bytes);
        let (producer, consumer) = made.map_err(|_| Refused::NoRoute(NoRoute::Stalled))?;
        let feed = Feed::new(Retained::new(consumer), Arc::clone(&tally));
        let address = self.books().peers[peer.0 as usize].address;
        self.to_links(LinksCommand::Attach(address, priority.lane(), feed))?;
        let wake = self.links.wake.clone();
        let writer = RingWriter::new(producer, wake, true, Arc::clone(&handed))
            .growing_to(self.reliable.ring_bytes);
        Ok(ReliableRing { writer, handed, tally })
    }

    /// Tells the links something.
    pub(crate) fn to_links(&self, command: LinksCommand) -> Result<(), Refused> {
        command_to(&self.links.commands, self.links.wake.as_ref(), command)
            .map_err(|()| NoRoute::Stalled.into())
    }
}

impl Ledger {
    /// Adds what became of reliable events; whether no more was settled than accepted.
    pub(crate) fn add_peers(&mut self, peers: &[Peer]) -> bool {
        let mut settled = 0;
        for peer in peers {
            let mut delivered = 0;
            for (handed, tally) in &peer.rings {
                // Read before what is accepted: an event in between is in flight.
                delivered += tally.delivered();
                for (reason, events) in tally.undelivered() {
                    *self.reliable.undelivered.entry(reason.name()).or_default() += events;
                    settled += events;
                }
                self.reliable.accepted += handed.to_links.load(Ordering::Relaxed);
                self.published.refused += handed.refused.load(Ordering::Relaxed);
            }
            self.reliable.delivered += delivered;
            self.links.insert(format!("tcp://{}", peer.address), delivered);
        }
        settled += self.reliable.delivered;
        self.reliable.in_flight = self.reliable.accepted.saturating_sub(settled);
        settled <= self.reliable.accepted
    }
}

/// Rings whose publishers are gone and whose events are all delivered become one entry, so that the
/// list stays as short as they are.
fn fold_settled(rings: &mut Vec<(Arc<Handed>, Arc<Tally>)>) {
    if rings.len() <= RINGS_KEPT {
        return;
    }
    let mut delivered = 0;
    rings.retain(|(handed, tally)| {
        let gone = Arc::strong_count(handed) == 1 && Arc::strong_count(tally) == 1;
        let accepted = handed.to_links.load(Ordering::Relaxed);
        let settled = gone && tally.delivered() == accepted;
        delivered += if settled { accepted } else { 0 };
        !settled
    });
    let folded = Handed::default();
    folded.to_links.store(delivered, Ordering::Relaxed);
    rings.push((Arc::new(folded), Arc::new(Tally::delivered_before(delivered))));
}

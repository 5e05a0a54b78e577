//! The rings a router writes to. Owned by the router, so that a call takes no lock; this file alone
//! makes them, and lets those to a peer grow.

use std::sync::Arc;

use wireloom_wire::{FrameEncoder, LANES, Priority};

use crate::encode::EncodeError;
use crate::outcome::{PeerIndex, Place, Refused};
use crate::peers::ReliableRing;
use crate::shared::Shared;
use crate::writer::{Handed, RingWriter, Visible, Way};

/// The rings of one router, each made when first used: one for a priority, one for this process,
/// one for each peer and priority of reliable events.
#[derive(Debug)]
pub(super) struct Rings {
    pub(super) lanes: [Option<RingWriter>; LANES],
    pub(super) local: Option<RingWriter>,
    /// By peer, then by lane.
    pub(super) reliable: Vec<[Option<Box<ReliableRing>>; LANES]>,
    pub(super) handed: Arc<Handed>,
}

impl Rings {
    /// Writes an event to its ring: a ring to a peer becomes larger when it must and may.
    #[inline]
    pub(super) fn write(
        &mut self,
        shared: &Shared,
        (way, priority, visible): (Way, Priority, Visible),
        head: &FrameEncoder<'_>,
        mut payload: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> Result<(), Refused> {
        loop {
            let writer = self.writer(shared, way, priority)?;
            match writer.write(way, head, visible, &mut payload) {
                Err(refused) if writer.grows_for(&refused) => {
                    let Way::Reliable(peer) = way else { return Err(refused) };
                    let ring = &mut self.reliable[peer.0 as usize][priority.index()];
                    let Some(ring) = ring else { return Err(refused) };
                    // What is staged stays in the ring that another follows.
                    ring.writer.publish(true);
                    if shared.enlarge((peer, priority), ring).is_err() {
                        ring.writer.count_refusal();
                        return Err(refused);
                    }
                }
                written => return written,
            }
        }
    }

    fn writer(
        &mut self,
        shared: &Shared,
        way: Way,
        priority: Priority,
    ) -> Result<&mut RingWriter, Refused> {
        let (slot, lane) = match way {
            Way::Local(_) => (&mut self.local, None),
            Way::Link { .. } => (&mut self.lanes[priority.index()], Some(priority)),
            Way::Reliable(peer) => return self.reliable_writer(shared, peer, priority),
        };
        match slot {
            Some(writer) => Ok(writer),
            none => Ok(none.insert(shared.attach(lane, Arc::clone(&self.handed))?)),
        }
    }

    fn reliable_writer(
        &mut self,
        shared: &Shared,
        peer: PeerIndex,
        priority: Priority,
    ) -> Result<&mut RingWriter, Refused> {
        let index = peer.0 as usize;
        if self.reliable.len() <= index {
            self.reliable.resize_with(index + 1, Default::default);
        }
        let slot = &mut self.reliable[index][priority.index()];
        match slot {
            Some(ring) => Ok(&mut ring.writer),
            none => {
                let ring =
                    shared.attach_reliable((peer, priority), shared.reliable.first_ring_bytes())?;
                Ok(&mut none.insert(Box::new(ring)).writer)
            }
        }
    }

    /// Shows what a batch has staged and wakes the worker.
    pub(super) fn publish(&mut self, (way, priority): (Way, Priority), refused: bool) {
        let writer = match way {
            Way::Local(_) => self.local.as_mut(),
            Way::Link { .. } => self.lanes[priority.index()].as_mut(),
            Way::Reliable(peer) => {
                let of_peer = self.reliable.get_mut(peer.0 as usize);
                let ring = of_peer.and_then(|lanes| lanes[priority.index()].as_mut());
                ring.map(|ring| &mut ring.writer)
            }
        };
        if let Some(writer) = writer {
            writer.publish(refused);
        }
    }

    /// The place of the event that was written last, where it is a reliable one.
    #[inline]
    pub(super) fn place(&self, way: Way, priority: Priority) -> Option<Place> {
        let Way::Reliable(peer) = way else { return None };
        let lane = priority.index();
        self.reliable.get(peer.0 as usize)?[lane].as_ref()?.place(peer, lane)
    }
}

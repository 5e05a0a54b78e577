//! Events too large for a reliable ring: encoded into memory of their own, which the control thread
//! sends in pieces.
//!
//! Owned by the writer of the ring they do not fit. They are handed over by a command and settled
//! in order among themselves, by an account beside the ring's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wireloom_control::{Large, LargeRoom, LinksCommand, LinksPort, Tally};
use wireloom_wire::{FrameEncoder, Lane};

use crate::encode::EncodeError;
use crate::outcome::Refused;
use crate::writer::Handed;

/// Memory first tried for an event whose length is not known yet: the next size beyond a packet.
const FIRST_ROOM_BYTES: usize = 256 << 10;

/// How many largest events may wait for one peer or be on their way to it: one is sent while the
/// next is written.
pub(crate) const EVENTS_PER_PEER: usize = 2;

/// Writes large events of one publisher, or of one router and lane, to one peer.
#[derive(Debug)]
pub(crate) struct LargeWriter {
    links: LinksPort,
    to: (SocketAddr, Lane),
    room: Arc<LargeRoom>,
    event_bytes_max: usize,
    /// Memory that was enough for the last one.
    room_bytes: usize,
    pub(crate) handed: Arc<Handed>,
    pub(crate) tally: Arc<Tally>,
}

impl LargeWriter {
    pub(crate) fn new(
        links: LinksPort,
        to: (SocketAddr, Lane),
        room: Arc<LargeRoom>,
        event_bytes_max: usize,
    ) -> Self {
        Self {
            links,
            to,
            room,
            event_bytes_max,
            room_bytes: FIRST_ROOM_BYTES,
            handed: Arc::default(),
            tally: Arc::default(),
        }
    }

    /// How many were accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.handed.to_links.load(Ordering::Relaxed)
    }

    /// Writes one event, of which is known that it has more than `least_bytes`. Allocates its
    /// memory, up to four times its size while it is being written.
    #[cold]
    pub(crate) fn write(
        &mut self,
        head: &FrameEncoder<'_>,
        least_bytes: usize,
        mut payload: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> Result<(), Refused> {
        let (front, limit) = (head.payload_offset(), self.event_bytes_max);
        let most = EVENTS_PER_PEER * limit;
        if self.room.used() > 0 && self.room.used() + least_bytes > most {
            return Err(Refused::BackPressured);
        }
        let mut room = self.room_bytes;
        loop {
            room = room.min(limit).next_multiple_of(16);
            if room <= front {
                return Err(Refused::TooLarge { limit });
            }
            let mut frame = vec![0; room];
            match payload(&mut frame[front..]) {
                Ok(bytes) if front + bytes <= limit => {
                    self.room_bytes = room;
                    return self.hand_over(frame, head, bytes);
                }
                Err(EncodeError::DoesNotFit) if room < limit => room = room.saturating_mul(4),
                Ok(_) | Err(EncodeError::DoesNotFit) => return Err(Refused::TooLarge { limit }),
                Err(_) => return Err(Refused::TooComplex),
            }
        }
    }

    fn hand_over(
        &mut self,
        mut frame: Vec<u8>,
        head: &FrameEncoder<'_>,
        bytes: usize,
    ) -> Result<(), Refused> {
        let limit = self.event_bytes_max;
        let written = head.encode(&mut frame).and_then(|_| head.finish(&mut frame, bytes));
        let padded = written.map_err(|_| Refused::TooLarge { limit })?;
        let share = self.room.take(padded, EVENTS_PER_PEER * limit);
        let share = share.ok_or(Refused::BackPressured)?;
        frame.truncate(padded);
        let large = Large::new(frame.into_boxed_slice(), Arc::clone(&self.tally), share);
        let large = large.ok_or(Refused::TooLarge { limit })?;
        let (peer, lane) = self.to;
        let command = LinksCommand::Large(peer, lane, Box::new(large));
        self.links.commands.push(command).map_err(|_| Refused::BackPressured)?;
        self.handed.count_to_links();
        if let Some(wake) = &self.links.wake {
            wake.notify();
        }
        Ok(())
    }
}

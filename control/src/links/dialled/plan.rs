//! What a dialled link writes next: packets of small events in order of priority, and behind them
//! pieces of large ones, of each lane in turn, so that neither waits long for the other.

use wireloom_dataplane::counters::Counter;
use wireloom_wire::{Frame, LANES, SessionId};

use super::{Cycle, Dialled};
use crate::outgoing::large::Large;
use crate::outgoing::{Outgoing, Pieces};
use crate::sockets::Sockets;

/// Packets written in one call, two slices each; far below the kernel's limit of 1,024 slices.
const PACKETS_PER_WRITE: usize = 32;

/// Pieces of large events written in one call behind those packets: what a small event that comes
/// now may find before it.
const PIECES_PER_WRITE: usize = 4;

/// Packets of the first lane in a row before the next lane has its turn; each further lane has two
/// fewer, and at least two.
const LANE_TURN: usize = 10;

impl Dialled {
    pub(in crate::links) fn push_large(&mut self, lane: u8, large: Large) {
        if let Some(stream) = self.large.iter_mut().find(|stream| stream.lane() == lane) {
            stream.push(large);
        }
    }

    /// Whether large events that were begun are to be begun anew in other sessions.
    pub(in crate::links) const fn outgrew(&mut self) -> bool {
        std::mem::replace(&mut self.outgrown, false)
    }

    pub(in crate::links) fn renew_large(&mut self, session: SessionId) {
        self.large.iter_mut().for_each(|stream| stream.renew(session));
    }

    /// Gives up the events whose turn it is and which the peer is known not to take, being too
    /// large; returns how many.
    pub(in crate::links) fn give_up_oversized(
        &mut self,
        mut letter: impl FnMut(&Frame<'_>),
    ) -> usize {
        self.large.iter_mut().map(|stream| stream.give_up_oversized(&mut letter)).sum()
    }

    /// What is left of a packet of a plan: those of large streams come behind the others.
    pub(super) fn unwritten(&self, stream: usize, ahead: usize) -> [&[u8]; 2] {
        let parts = match self.streams.get(stream) {
            Some(stream) => stream.unwritten(ahead),
            None => self.large[stream - self.streams.len()].unwritten(ahead),
        };
        parts.unwrap_or_default()
    }

    /// Adds pieces of large events to a plan, one of each lane in turn.
    fn plan_pieces(&mut self, plan: &mut Vec<(usize, usize)>) {
        let (small, lanes) = (self.streams.len(), self.large.len());
        let mut counts = [0_usize; LANES];
        if let Some((half, _)) = plan.first().filter(|(stream, _)| *stream >= small) {
            counts[half - small] = 1;
        }
        let (mut pieces, mut idle) = (0, 0);
        while pieces < PIECES_PER_WRITE && idle < lanes {
            self.turn = (self.turn + 1) % lanes;
            if self.large[self.turn].form(counts[self.turn]) {
                plan.push((small + self.turn, counts[self.turn]));
                counts[self.turn] += 1;
                (pieces, idle) = (pieces + 1, 0);
            } else {
                idle += 1;
            }
        }
    }

    /// Whether a packet is half written: nothing else may be written before its rest.
    pub(super) fn half_written(&self) -> Option<usize> {
        let small = self.streams.iter().map(Outgoing::is_half_written);
        small.chain(self.large.iter().map(Pieces::is_half_written)).position(|half| half)
    }

    /// The packets to be written next, as stream and place: the half-written one, then lanes in
    /// order of priority, each for a few packets; behind them pieces.
    pub(super) fn plan(&mut self) -> Vec<(usize, usize)> {
        let mut plan = Vec::new();
        let mut counts = [0_usize; 2 * LANES];
        if let Some(half) = self.half_written() {
            plan.push((half, 0));
            counts[half] = 1;
        }
        let mut found = true;
        while found && plan.len() < PACKETS_PER_WRITE {
            found = false;
            for (index, stream) in self.streams.iter_mut().enumerate() {
                let turn = LANE_TURN.saturating_sub(2 * index).max(2);
                for _ in 0..turn {
                    if plan.len() >= PACKETS_PER_WRITE || !stream.form(counts[index]) {
                        break;
                    }
                    plan.push((index, counts[index]));
                    counts[index] += 1;
                    found = true;
                }
            }
        }
        self.plan_pieces(&mut plan);
        plan
    }

    pub(super) fn wrote<S: Sockets>(
        &mut self,
        plan: &[(usize, usize)],
        written: usize,
        cycle: &Cycle<'_, S>,
    ) {
        if written == 0 {
            return;
        }
        let mut left = written;
        for (stream, _) in plan {
            if left == 0 {
                break;
            }
            if let Some(piece) = stream.checked_sub(self.streams.len()) {
                left = self.large[piece].wrote(left);
                cycle.counters.add(Counter::PiecesSent, 1);
            } else {
                left = self.streams[*stream].wrote(left);
            }
            cycle.counters.add(Counter::PacketsSent, 1);
        }
        self.wrote_ns = cycle.now_ns;
        self.owed_since_ns.get_or_insert(cycle.now_ns);
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;

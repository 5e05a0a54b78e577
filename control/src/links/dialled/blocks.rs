//! Writing packets as a compressed block, on links whose two sides agreed on it.
//!
//! To its streams a block's packets are written once the block is begun: what is left of it waits
//! with what is said, before which nothing else is written. A link that ends in the middle of
//! it resumes as any other.

use wireloom_dataplane::counters::Counter;
use wireloom_wire::BLOCK_PACKETS_BYTES_MAX;

use super::{Dialled, Ended};
use crate::compression::PACKED_BYTES_MIN;
use crate::links::Cycle;
use crate::links::line::Line;
use crate::sockets::Sockets;

/// After a block that would not have been shorter, so many writes go as they are.
const PLAIN_WRITES: u32 = 16;

impl Dialled {
    /// Writes the first packets of a plan as one block; gives how many bytes of packets it took, 0
    /// when they are to be written as they are.
    pub(super) fn write_block<S: Sockets>(
        &mut self,
        plan: &[(usize, usize)],
        line: &mut Line,
        cycle: &mut Cycle<'_, S>,
    ) -> Result<usize, Ended> {
        if !self.compresses || self.half_written().is_some() {
            return Ok(0);
        }
        if self.plain_writes > 0 {
            self.plain_writes -= 1;
            return Ok(0);
        }
        let (mut packets, mut bytes) = (0, 0);
        for (stream, ahead) in plan {
            let length: usize = self.unwritten(*stream, *ahead).iter().map(|part| part.len()).sum();
            if bytes + length > BLOCK_PACKETS_BYTES_MAX {
                break;
            }
            (packets, bytes) = (packets + 1, bytes + length);
        }
        // What was said goes before, and is away: words do not wait for one block after another.
        if bytes < PACKED_BYTES_MIN || !line.speak(cycle.sockets)? {
            return Ok(0);
        }
        let plan = &plan[..packets];
        let parts = plan.iter().flat_map(|(stream, ahead)| self.unwritten(*stream, *ahead));
        let Some(block) = cycle.compression.pack(parts) else {
            self.plain_writes = PLAIN_WRITES;
            return Ok(0);
        };
        let written = line.write(cycle.sockets, 1, std::iter::once(block))?;
        line.say_apart(&block[written..]);
        cycle.counters.add(Counter::BytesSent, block.len() as u64);
        cycle.counters.add(Counter::BlocksSent, 1);
        cycle.counters.add(Counter::BytesPacked, bytes as u64);
        self.wrote(plan, bytes, cycle);
        Ok(bytes)
    }
}

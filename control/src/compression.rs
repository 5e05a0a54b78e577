//! Packs packets into blocks and unpacks them, by LZ4.
//!
//! Sans-IO. Owned by the links' agent and shared by its links, one at a time; the memory is made
//! when the first link compresses. What comes out is bounded by our limit, never by what a peer
//! announces: a block stands for at most 128 KiB.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use wireloom_wire::{ALIGNMENT, BLOCK_PACKETS_BYTES_MAX, Block, PACKET_HEADER_BYTES, seal_block};

/// Fewer bytes than these are written as they are: a header and the call cost more than they save.
pub(crate) const PACKED_BYTES_MIN: usize = 512;

/// What blocks are made of and in, bytes: the packets, the block, LZ4's table.
pub(crate) const COMPRESSION_BYTES: usize =
    2 * BLOCK_PACKETS_BYTES_MAX + get_maximum_output_size(BLOCK_PACKETS_BYTES_MAX) + (16 << 10);

/// Packs and unpacks.
#[derive(Default)]
pub(crate) struct Compression {
    table: Option<CompressTable>,
    packets: Vec<u8>,
    block: Vec<u8>,
    unpacked: Vec<u8>,
}

impl Compression {
    /// The block of these packets; `None` when it would not be at least an eighth shorter. Some
    /// 0.3 ns a byte where there is much to save, 1 ns where there is nothing.
    pub(crate) fn pack<'p>(&mut self, parts: impl Iterator<Item = &'p [u8]>) -> Option<&[u8]> {
        self.packets.clear();
        parts.for_each(|part| self.packets.extend_from_slice(part));
        let packets = self.packets.len();
        let room = PACKET_HEADER_BYTES + get_maximum_output_size(packets) + ALIGNMENT;
        if self.block.len() < room {
            self.block.resize(room, 0);
        }
        let table = self.table.get_or_insert_with(CompressTable::large);
        let body = self.block.get_mut(PACKET_HEADER_BYTES..)?;
        let compressed = compress_into_with_table(&self.packets, body, table).ok()?;
        let length = seal_block(&mut self.block, compressed, packets)?;
        (length <= packets - packets / 8).then(|| self.block.get(..length))?
    }

    /// The packets of a block, to be given back by [`Compression::reuse`]; `None` when the bytes
    /// are none that LZ4 makes, or become other than so many.
    pub(crate) fn unpack(&mut self, block: &Block<'_>) -> Option<Vec<u8>> {
        let mut packets = std::mem::take(&mut self.unpacked);
        packets.clear();
        packets.resize(block.packets_bytes.min(BLOCK_PACKETS_BYTES_MAX), 0);
        let length = decompress_into(block.compressed, &mut packets);
        length.is_ok_and(|length| length == block.packets_bytes).then_some(packets)
    }

    /// Takes the memory back.
    pub(crate) fn reuse(&mut self, packets: Vec<u8>) {
        self.unpacked = packets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom_wire::decode_block;

    /// Bytes that no two of which follow from each other.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 7_u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .take(bytes)
        .collect()
    }

    #[test]
    fn packets_come_out_as_they_went_in() {
        let mut compression = Compression::default();
        for bytes in [600, 5_000, 65_504, BLOCK_PACKETS_BYTES_MAX] {
            let packets: Vec<u8> = (0..bytes).map(|at| (at / 48).to_le_bytes()[0]).collect();
            let (front, rest) = packets.split_at(48);
            let block = compression.pack([front, rest].into_iter()).expect("shorter").to_vec();
            assert!(block.len() < bytes * 7 / 8, "{} of {bytes}", block.len());
            let unpacked = compression.unpack(&decode_block(&block).expect("a block"));
            assert_eq!(unpacked.as_deref(), Some(&packets[..]));
            compression.reuse(unpacked.expect("just seen"));
        }
    }

    #[test]
    fn what_does_not_shrink_is_no_block() {
        let mut compression = Compression::default();
        for bytes in [PACKED_BYTES_MIN, 20_000, BLOCK_PACKETS_BYTES_MAX] {
            assert!(compression.pack([&noise(bytes)[..]].into_iter()).is_none(), "{bytes}");
        }
    }

    #[test]
    fn a_block_that_lies_is_refused_and_shows_nothing_of_the_one_before() {
        let mut compression = Compression::default();
        let secret = vec![0x5e; 60_000];
        let block = compression.pack([&secret[..]].into_iter()).expect("shorter").to_vec();
        let honest = decode_block(&block).expect("a block");
        let packets = compression.unpack(&honest).expect("good");
        compression.reuse(packets);
        for packets_bytes in [59_999, 60_001, BLOCK_PACKETS_BYTES_MAX] {
            let lie = Block { packets_bytes, ..honest };
            assert_eq!(compression.unpack(&lie), None, "{packets_bytes}");
        }
        // A match that reaches before the beginning, where the last block's bytes were.
        let reaching = Block { compressed: &[0x10, 1, 0xff, 0x00], packets_bytes: 500, length: 64 };
        assert_eq!(compression.unpack(&reaching), None);
        let noisy = noise(3_000);
        for cut in [1, 7, 100, 3_000] {
            let broken = Block { compressed: &noisy[..cut], packets_bytes: 100_000, length: 64 };
            assert_eq!(compression.unpack(&broken), None);
        }
        let flood = vec![0x1f; 65_000];
        let bomb = Block { compressed: &flood, packets_bytes: 1 << 30, length: 65_048 };
        assert_eq!(compression.unpack(&bomb), None);
        assert!(compression.unpacked.capacity() <= BLOCK_PACKETS_BYTES_MAX);
    }
}

//! Packets out of a byte stream: how long each is, whether it is one.
//!
//! Sans-IO: looks at bytes and keeps what is not whole yet. A length is believed only within the
//! bound that the caller gives, before anything is waited or allocated for.

use wireloom_wire::{
    BLOCK_BYTES_MAX, Block, PACKET_HEADER_BYTES, Packet, PacketError, PacketHeader, VERSION,
    decode_block, decode_packet, is_block,
};

/// The packet at the front of `bytes`, of at most `bytes_max`; `None` when more bytes are needed.
///
/// # Errors
/// What stands there can never become a packet.
pub(crate) fn next_packet(
    bytes: &[u8],
    bytes_max: usize,
) -> Result<Option<Packet<'_>>, PacketError> {
    if bytes.first().is_some_and(|version| *version != VERSION) {
        return Err(PacketError::Version);
    }
    let Some(head) = bytes.first_chunk::<PACKET_HEADER_BYTES>() else { return Ok(None) };
    let length = PacketHeader::peek(head).length as usize;
    if !(PACKET_HEADER_BYTES..=bytes_max).contains(&length) {
        return Err(PacketError::Length);
    }
    match bytes.get(..length) {
        Some(whole) => decode_packet(whole, true).map(Some),
        None => Ok(None),
    }
}

/// What stands at the front of a stream.
#[derive(Debug)]
pub(crate) enum Unit<'a> {
    /// A packet.
    Packet(Packet<'a>),
    /// Packets, compressed.
    Block(Block<'a>),
}

impl Unit<'_> {
    /// Its bytes in the stream.
    pub(crate) const fn length(&self) -> usize {
        match self {
            Self::Packet(packet) => packet.header.length as usize,
            Self::Block(block) => block.length,
        }
    }
}

/// As [`next_packet`]; where the two sides agreed on it, also a block.
///
/// # Errors
/// What stands there can never become either.
pub(crate) fn next_unit(
    bytes: &[u8],
    bytes_max: usize,
    compresses: bool,
) -> Result<Option<Unit<'_>>, PacketError> {
    let head = bytes.first_chunk::<PACKET_HEADER_BYTES>().map(PacketHeader::peek);
    let Some(header) = head.filter(|header| compresses && is_block(header)) else {
        return Ok(next_packet(bytes, bytes_max)?.map(Unit::Packet));
    };
    let length = header.length as usize;
    if !(PACKET_HEADER_BYTES..=BLOCK_BYTES_MAX).contains(&length) {
        return Err(PacketError::Length);
    }
    bytes.get(..length).map(|whole| decode_block(whole).map(Unit::Block)).transpose()
}

/// What one socket's stream has brought and nobody has taken: less than a packet, or more where
/// there was no room for it.
#[derive(Debug, Default)]
pub(crate) struct Remainder(Vec<u8>);

impl Remainder {
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts it to the front of `scratch` and gives its length.
    pub(crate) fn restore(&mut self, scratch: &mut [u8]) -> usize {
        let length = self.0.len();
        scratch[..length].copy_from_slice(&self.0);
        self.0.clear();
        length
    }

    /// Keeps what was not taken. The memory goes back when there is nothing to keep.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.0 = Vec::new();
        } else {
            self.0.clear();
            self.0.extend_from_slice(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom_wire::{NodeId, SessionId, Status};

    fn status(next_sequence: u64) -> [u8; PACKET_HEADER_BYTES] {
        Status { source: NodeId(1), session: SessionId(2), lane: 0, next_sequence, window_bytes: 0 }
            .encode()
    }

    #[test]
    fn a_packet_appears_with_its_last_byte() {
        let bytes = status(3);
        for length in 0..bytes.len() {
            assert_eq!(next_packet(&bytes[..length], 1_000).map(|p| p.is_some()), Ok(false));
        }
        let two = [status(3), status(4)].concat();
        let packet = next_packet(&two, 1_000).expect("good").expect("whole");
        assert_eq!(Status::of(&packet).map(|status| status.next_sequence), Some(3));
    }

    #[test]
    fn a_length_is_refused_before_anything_waits_for_it() {
        let mut bytes = status(3);
        for length in [0_u32, 16, 47, 1_001, u32::MAX] {
            bytes[8..12].copy_from_slice(&length.to_le_bytes());
            assert_eq!(next_packet(&bytes, 1_000).err(), Some(PacketError::Length), "{length}");
        }
        assert_eq!(next_packet(b"GET / HTTP/1.1", 1_000).err(), Some(PacketError::Version));
        let mut flipped = status(3);
        flipped[24] ^= 1;
        assert_eq!(next_packet(&flipped, 1_000).err(), Some(PacketError::Checksum));
    }
}

//! How packets of each lane are sealed, and the keys of control packets.

use std::net::SocketAddr;
use std::sync::Arc;

use wireloom_control::mesh::Secrecy;
use wireloom_dataplane::keyring::Demand;
use wireloom_seal::Mode;
use wireloom_wire::gossip::CONTROL_PACKET_BYTES_MAX;
use wireloom_wire::{LANES, PACKET_HEADER_BYTES, Priority, TAG_BYTES, decode_packet};

use super::KeyBook;
use crate::builder::Levels;

/// How datagrams are protected between nodes with credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Protection {
    /// Not at all: anybody on the way reads, changes and invents them.
    Off,
    /// Who sent them is proved and nothing is changed; anybody on the way reads them.
    Integrity,
    /// Encrypted as well.
    #[default]
    Full,
}

impl Protection {
    /// Every protection, the least first.
    pub const ALL: [Self; 3] = [Self::Off, Self::Integrity, Self::Full];

    /// Its word in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Integrity => "integrity",
            Self::Full => "full",
        }
    }
}

/// How the datagrams of each lane are sealed, and what is asked of those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealModes(pub(crate) [Option<Mode>; LANES]);

impl SealModes {
    /// What was said for each priority; priorities that share a lane have the best of it.
    pub(crate) fn of(protections: [Protection; LANES], levels: Levels) -> Self {
        let mut best = [Protection::Off; LANES];
        for (priority, protection) in Priority::ALL.into_iter().zip(protections) {
            let lane = &mut best[levels.lane_of(priority).index()];
            *lane = protection.max(*lane);
        }
        Self(best.map(|protection| match protection {
            Protection::Off => None,
            Protection::Integrity => Some(Mode::Integrity),
            Protection::Full => Some(Mode::Full),
        }))
    }

    /// In which lanes anything is.
    pub(crate) fn seal(self) -> [bool; LANES] {
        self.0.map(|mode| mode.is_some())
    }

    pub(super) fn demands(self) -> [Demand; LANES] {
        self.0.map(|mode| match mode {
            None => Demand::Nothing,
            Some(Mode::Integrity) => Demand::Integrity,
            Some(Mode::Full) => Demand::Full,
        })
    }
}

/// Keys for what the membership says.
pub(crate) struct MeshSeals {
    book: Arc<KeyBook>,
    sealed: Box<[u8; CONTROL_PACKET_BYTES_MAX + TAG_BYTES]>,
}

impl MeshSeals {
    pub(crate) fn new(book: Arc<KeyBook>) -> Self {
        Self { book, sealed: Box::new([0; CONTROL_PACKET_BYTES_MAX + TAG_BYTES]) }
    }
}

impl Secrecy for MeshSeals {
    fn seal(&mut self, to: SocketAddr, packet: &[u8], now_ns: u64) -> Option<&[u8]> {
        let mut held = self.book.held();
        let Some(sealing) = held.sealings.get_mut(&to) else {
            held.introductions.attempt(to, now_ns);
            return None;
        };
        let header = decode_packet(packet, false).ok()?.header;
        let frames = packet.get(PACKET_HEADER_BYTES..)?;
        let whole = (&header, Mode::Full);
        let sealed = sealing.control.seal(whole, [frames], &mut self.sealed[..], now_ns).ok()?;
        Some(&self.sealed[..sealed])
    }

    fn hint(&mut self, at: SocketAddr, now_ns: u64) -> bool {
        let mut held = self.book.held();
        held.introductions.attempt(at, now_ns);
        held.sealings.contains_key(&at)
    }

    fn next_keyed(&mut self) -> Option<SocketAddr> {
        self.book.held().keyed.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_that_share_a_lane_have_the_better_protection() {
        use Protection::{Full, Integrity, Off};
        let said = [Integrity, Off, Full, Off, Integrity];
        let (full, integrity) = (Some(Mode::Full), Some(Mode::Integrity));
        let five = SealModes::of(said, Levels::Five);
        assert_eq!(five.0, [integrity, None, full, None, integrity]);
        let three = SealModes::of(said, Levels::Three);
        assert_eq!(three.0, [integrity, None, full, integrity, None]);
        let demands = [Demand::Integrity, Demand::Nothing, Demand::Full];
        assert_eq!(five.demands()[..3], demands);
    }
}

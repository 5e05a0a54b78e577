//! Sealed packets: keys from one secret, a nonce that counts, and a window against replay.
//!
//! Sans-IO: neither threads, sockets nor clocks; times come in from the caller. A sealing key has
//! one owner, so that no two packets are sealed by one nonce. Bytes are hostile until their tag
//! verifies: before that nothing of a key changes but the count of failures. `docs/wire.md` draws
//! the packet.
//!
//! | to | see |
//! |---|---|
//! | say what two nodes share | [`Secret`], [`Cipher`], [`Direction`] |
//! | seal packets | [`SealingKey`], [`Mode`] |
//! | open them | [`OpeningKey`], [`Owner`], [`OpenError`] |
//!
//! ```
//! use wireloom_seal::{Cipher, Direction, Mode, OpeningKey, SealingKey, Secret};
//! use wireloom_wire::{KeySetId, NodeId, PacketFlags, PacketHeader, SessionId, decode_sealed};
//!
//! let secret = Secret::new(Cipher::of_this_processor(), &[7; 32]);
//! let mut sealing = SealingKey::new(&secret, Direction::FromDialler, KeySetId(1), 0);
//! let mut opening = OpeningKey::new(&secret, Direction::FromDialler, 0);
//!
//! let header = PacketHeader {
//!     flags: PacketFlags::SEQUENCED,
//!     lane: 0,
//!     frame_count: 1,
//!     length: 0,
//!     session: SessionId(1),
//!     source: NodeId(2),
//!     sequence: 0,
//!     first_event: 0,
//! };
//! let (frames, mut sealed, mut plain) = ([5; 32], [0; 256], [0; 256]);
//! let length = sealing.seal((&header, Mode::Full), [&frames[..]], &mut sealed, 0)?;
//!
//! let packet = decode_sealed(&sealed[..length]).expect("it was just sealed");
//! assert_eq!(opening.open(&packet, &mut plain, 0)?.body, frames);
//! assert!(opening.open(&packet, &mut plain, 0).is_err(), "nobody takes it twice");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod fuzz;
mod lane_key;
mod opening;
mod replay;
mod sealing;
mod secret;

pub use opening::{FAILED_OPENS_MAX, OpenError, OpeningKey, Owner, PREVIOUS_PHASE_NS};
pub use replay::REPLAY_PACKETS;
pub use sealing::{Mode, PHASE_NS, SealError, SealingKey};
pub use secret::{Cipher, Direction, SECRET_BYTES, Secret};

/// A phase is as many packets as these bits count: 4,194,304. AES-GCM stays sound for 2^23 packets
/// of any length under one key (RFC 9001, section 6.6).
pub const PHASE_BITS: u32 = 22;

/// Phases of a key set; after them there is a new set or nothing. 91 days at the least.
pub const PHASES: u64 = 1 << 16;

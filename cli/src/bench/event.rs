//! The events of the load generator: a sequence, the time it was published, content, and a hash of
//! all three, so that a handler can tell a whole event from a damaged, lost or repeated one.
//!
//! Plain values. The content follows from the sequence, so that each event differs from the one
//! before in every word and a stale or misplaced word is seen.

use wireloom::Event;

/// The smallest archived event: sequence, time, hash and an empty list.
const PAYLOAD_BYTES_MIN: usize = 32;
/// The largest event the generator makes: it must fit one UDP datagram with its headers.
const PAYLOAD_BYTES_MAX: usize = 65_000;
/// The archived size of a [`BenchEvent`].
pub(super) const FIXED_PAYLOAD_BYTES: usize = 64;

/// Checks a size asked for.
pub(super) fn payload_in_range(payload_bytes: usize) -> anyhow::Result<()> {
    if (PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&payload_bytes) {
        return Ok(());
    }
    let nearest = payload_bytes.clamp(PAYLOAD_BYTES_MIN, PAYLOAD_BYTES_MAX);
    anyhow::bail!(
        "--payload-bytes {payload_bytes}: an event of this generator has {PAYLOAD_BYTES_MIN} to \
         {PAYLOAD_BYTES_MAX} bytes; try {nearest}"
    )
}

/// What a handler reads out of an archived event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) sequence: u64,
    /// Monotonic time of the publishing process, which is the host's.
    pub(super) sent_ns: u64,
    /// Whether the hash is that of the bytes that arrived.
    pub(super) intact: bool,
}

/// An event the generator can publish and its handler can check.
pub(super) trait Load: Event + Send {
    /// An event whose archive has `payload_bytes`, or the next possible size above.
    fn with_payload(payload_bytes: usize) -> Self;

    /// Makes it the event with this sequence: content and hash are new.
    fn fill(&mut self, sequence: u64, sent_ns: u64);

    /// Reads every byte of an archived event.
    fn read(archived: &Self::Archived) -> Reading;
}

/// Exactly 64 bytes archived: numbers only, the shape of a tick or a reading. One for each lane the
/// generator uses.
macro_rules! fixed_event {
    ($name:ident, $event_type:literal, $priority:literal) => {
        #[derive(Debug, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        #[event(type = $event_type, priority = $priority)]
        pub(super) struct $name {
            sequence: u64,
            sent_ns: u64,
            hash: u64,
            content: [u64; 5],
        }

        impl Load for $name {
            fn with_payload(_payload_bytes: usize) -> Self {
                Self { sequence: 0, sent_ns: 0, hash: 0, content: [0; 5] }
            }

            #[inline]
            fn fill(&mut self, sequence: u64, sent_ns: u64) {
                (self.sequence, self.sent_ns) = (sequence, sent_ns);
                self.content = [0, 1, 2, 3, 4].map(|index| word(sequence, index));
                self.hash = hash(sequence, sent_ns, self.content.iter().copied());
            }

            #[inline]
            fn read(archived: &Self::Archived) -> Reading {
                let (sequence, sent_ns) =
                    (archived.sequence.to_native(), archived.sent_ns.to_native());
                let words = archived.content.iter().map(|word| word.to_native());
                let intact = archived.hash == hash(sequence, sent_ns, words);
                Reading { sequence, sent_ns, intact }
            }
        }
    };
}

fixed_event!(BenchEvent, "bench-event", "normal");
fixed_event!(BenchAlarm, "bench-alarm", "critical");
fixed_event!(BenchBulk, "bench-bulk", "background");

/// Any size from 32 bytes, in steps of 8: a list of words after the numbers.
#[derive(Debug, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "bench-list")]
pub(super) struct BenchList {
    sequence: u64,
    sent_ns: u64,
    hash: u64,
    content: Vec<u64>,
}

/// Odd numbers, so that multiplying loses nothing: any change of one word changes the sum.
const SEQUENCE_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const TIME_FACTOR: u64 = 0xc2b2_ae3d_27d4_eb4f;
const WORD_FACTOR: u64 = 0x1656_67b1_9e37_79f9;

#[inline]
const fn word_factor(index: u64) -> u64 {
    WORD_FACTOR.wrapping_mul(2 * index + 1)
}

/// The content of an event at one place: new for each sequence.
#[inline]
const fn word(sequence: u64, index: u64) -> u64 {
    (sequence << 8).wrapping_add(index.wrapping_mul(SEQUENCE_FACTOR))
}

/// A hash over everything else in the event. Each word has an odd factor of its own place, so one
/// changed word, or two that changed places, cannot go unseen; the multiplications do not wait for
/// each other (about 2 ns for 64 bytes).
#[inline]
fn hash(sequence: u64, sent_ns: u64, words: impl Iterator<Item = u64>) -> u64 {
    let head = sequence.wrapping_mul(SEQUENCE_FACTOR) ^ sent_ns.wrapping_mul(TIME_FACTOR);
    let sum = (1_u64..)
        .zip(words)
        .fold(head, |sum, (index, word)| sum.wrapping_add(word.wrapping_mul(word_factor(index))));
    sum ^ (sum >> 32)
}

impl Load for BenchList {
    fn with_payload(payload_bytes: usize) -> Self {
        let words = payload_bytes.saturating_sub(PAYLOAD_BYTES_MIN).div_ceil(size_of::<u64>());
        Self { sequence: 0, sent_ns: 0, hash: 0, content: vec![0; words] }
    }

    #[inline]
    fn fill(&mut self, sequence: u64, sent_ns: u64) {
        (self.sequence, self.sent_ns) = (sequence, sent_ns);
        for (place, index) in self.content.iter_mut().zip(0..) {
            *place = word(sequence, index);
        }
        self.hash = hash(sequence, sent_ns, self.content.iter().copied());
    }

    #[inline]
    fn read(archived: &Self::Archived) -> Reading {
        let (sequence, sent_ns) = (archived.sequence.to_native(), archived.sent_ns.to_native());
        let words = archived.content.iter().map(|word| word.to_native());
        let intact = archived.hash == hash(sequence, sent_ns, words);
        Reading { sequence, sent_ns, intact }
    }
}

/// The archived length of an event made with [`Load::with_payload`], found by archiving one.
pub(super) fn archived_bytes<E: Load>(payload_bytes: usize) -> anyhow::Result<usize> {
    let mut room = vec![0; payload_bytes.max(FIXED_PAYLOAD_BYTES) + 64];
    let mut scratch = wireloom::encode::Scratch::default();
    let mut event = E::with_payload(payload_bytes);
    event.fill(0, 0);
    Ok(wireloom::encode::encode(&event, &mut room, &mut scratch)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom::decode::access;
    use wireloom::encode::{Scratch, encode};

    #[repr(align(16))]
    struct Record([u8; 4096]);

    fn archive<E: Load>(event: &E, record: &mut Record) -> usize {
        encode(event, &mut record.0, &mut Scratch::default()).unwrap()
    }

    #[test]
    fn archives_have_exactly_the_size_asked_for() {
        assert_eq!(archived_bytes::<BenchEvent>(64).unwrap(), FIXED_PAYLOAD_BYTES);
        for size in [32, 40, 64, 128, 1_000, 4_096, PAYLOAD_BYTES_MAX] {
            assert_eq!(archived_bytes::<BenchList>(size).unwrap(), size);
        }
        assert_eq!(archived_bytes::<BenchList>(33).unwrap(), 40);
    }

    fn every_flipped_bit_is_seen<E: Load>(payload_bytes: usize) {
        let mut record = Record([0; 4096]);
        let mut event = E::with_payload(payload_bytes);
        event.fill(77, 1_234_567_890);
        let length = archive(&event, &mut record);
        let whole = Reading { sequence: 77, sent_ns: 1_234_567_890, intact: true };
        assert_eq!(E::read(access::<E>(&record.0[..length]).unwrap()), whole);
        for bit in 0..length * 8 {
            record.0[bit / 8] ^= 1 << (bit % 8);
            let read = access::<E>(&record.0[..length]).map(E::read);
            let known = read.is_ok_and(|reading| reading.intact);
            // A list's own offset and length are rkyv's to check: what still passes reads other
            // words, or fewer.
            assert!(!known, "bit {bit} of {length} bytes");
            record.0[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_changed_bit_anywhere_is_seen() {
        every_flipped_bit_is_seen::<BenchEvent>(64);
        every_flipped_bit_is_seen::<BenchList>(128);
    }

    #[test]
    fn swapped_words_and_old_content_are_seen() {
        let mut event = BenchEvent::with_payload(64);
        event.fill(5, 9);
        let whole = event.hash;
        event.content.swap(1, 3);
        assert_ne!(hash(5, 9, event.content.iter().copied()), whole);
        event.fill(6, 9);
        assert_ne!(event.hash, whole, "the next event has another content");
    }
}

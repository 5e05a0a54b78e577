//! The message of every run: 64 bytes of sequence, time, hash and content, little-endian. These are
//! the bytes and the hash of the 64-byte event of `wireloom bench` (`cli/src/bench/event.rs`).

/// Length of a message.
pub const MESSAGE_BYTES: usize = 64;

/// What the receiver reads out of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) sequence: u64,
    /// Whether the length is right and the hash is that of the bytes that arrived.
    pub(crate) intact: bool,
    /// The time the publisher stamped; covered by the hash, otherwise not used here.
    pub(crate) sent_ns: u64,
}

/// Odd numbers, so that multiplying loses nothing: any change of one word changes the sum.
const SEQUENCE_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const TIME_FACTOR: u64 = 0xc2b2_ae3d_27d4_eb4f;
const WORD_FACTOR: u64 = 0x1656_67b1_9e37_79f9;

/// The content at one place: new for each sequence.
#[inline]
const fn word(sequence: u64, index: u64) -> u64 {
    (sequence << 8).wrapping_add(index.wrapping_mul(SEQUENCE_FACTOR))
}

/// A hash over sequence, time and content; each word has an odd factor of its own place.
#[inline]
fn hash(sequence: u64, sent_ns: u64, words: [u64; 5]) -> u64 {
    let head = sequence.wrapping_mul(SEQUENCE_FACTOR) ^ sent_ns.wrapping_mul(TIME_FACTOR);
    let sum = (1_u64..).zip(words).fold(head, |sum, (index, word)| {
        sum.wrapping_add(word.wrapping_mul(WORD_FACTOR.wrapping_mul(2 * index + 1)))
    });
    sum ^ (sum >> 32)
}

/// Makes it the message with this sequence.
#[inline]
pub(crate) fn fill(message: &mut [u8; MESSAGE_BYTES], sequence: u64, sent_ns: u64) {
    let content = [0, 1, 2, 3, 4].map(|index| word(sequence, index));
    let [a, b, c, d, e] = content;
    let words = [sequence, sent_ns, hash(sequence, sent_ns, content), a, b, c, d, e];
    for (place, word) in message.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
}

/// Reads every byte of a message.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Reading {
    let Ok(message) = <&[u8; MESSAGE_BYTES]>::try_from(bytes) else {
        return Reading { sequence: 0, intact: false, sent_ns: 0 };
    };
    let mut words = [0; 8];
    for (word, place) in words.iter_mut().zip(message.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*place);
    }
    let [sequence, sent_ns, stated, content @ ..] = words;
    Reading { sequence, intact: stated == hash(sequence, sent_ns, content), sent_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_it_was_filled() {
        let mut message = [0; MESSAGE_BYTES];
        fill(&mut message, 77, 1_234);
        assert_eq!(read(&message), Reading { sequence: 77, intact: true, sent_ns: 1_234 });
        let first = message;
        fill(&mut message, 78, 1_234);
        for word in [0, 2, 3, 4, 5, 6, 7] {
            let place = word * 8..word * 8 + 8;
            assert_ne!(first[place.clone()], message[place], "word {word} is new");
        }
    }

    #[test]
    fn any_changed_bit_and_any_other_length_is_seen() {
        let mut message = [0; MESSAGE_BYTES];
        fill(&mut message, 5, 9);
        for bit in 0..MESSAGE_BYTES * 8 {
            message[bit / 8] ^= 1 << (bit % 8);
            assert!(!read(&message).intact, "bit {bit}");
            message[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(!read(&message[..63]).intact);
        assert!(!read(&[]).intact);
        message[24..].rotate_left(8);
        assert!(!read(&message).intact, "words that changed places");
    }
}

//! Which counters of one phase have been taken. A bitmap of the newest, moved on only by packets
//! whose tag has been verified.

/// How many packets back a late one is still told from a replayed one: as many as a stream's window
/// knows, some milliseconds at full rate.
pub const REPLAY_PACKETS: u64 = 8_192;

const WORD_BITS: u64 = 64;
const WORDS: usize = (REPLAY_PACKETS / WORD_BITS) as usize;

/// The window of one phase of one slot; 1 KiB in place.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The counter after the newest taken.
    end: u64,
    /// One bit for each of the newest, at the counter modulo the window.
    seen: [u64; WORDS],
}

const fn word(counter: u64) -> usize {
    (counter / WORD_BITS) as usize % WORDS
}

const fn bit(counter: u64) -> u64 {
    1 << (counter % WORD_BITS)
}

impl Replay {
    pub(crate) const fn new() -> Self {
        Self { end: 0, seen: [0; WORDS] }
    }

    /// Whether nothing with this counter has been taken, as far as the window reaches. About 1 ns;
    /// changes nothing.
    #[inline]
    pub(crate) const fn is_fresh(&self, counter: u64) -> bool {
        if counter >= self.end {
            return true;
        }
        self.end - counter <= REPLAY_PACKETS && self.seen[word(counter)] & bit(counter) == 0
    }

    /// Takes a counter that is fresh. 1 to 2 ns in order; after a gap at most 128 words are
    /// cleared.
    #[inline]
    pub(crate) fn take(&mut self, counter: u64) {
        if counter >= self.end {
            self.forget_up_to(counter);
            self.end = counter + 1;
        }
        self.seen[word(counter)] |= bit(counter);
    }

    /// Clears the bits from the newest up to `counter`, for what they meant a window ago.
    #[inline]
    fn forget_up_to(&mut self, counter: u64) {
        if counter == self.end {
            self.seen[word(counter)] &= !bit(counter);
            return;
        }
        if counter - self.end >= REPLAY_PACKETS {
            self.seen = [0; WORDS];
            return;
        }
        for passed in self.end..=counter {
            self.seen[word(passed)] &= !bit(passed);
        }
    }
}

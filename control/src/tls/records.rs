//! Which records a peer sends that bring nothing: key updates, empty ones, padding.
//!
//! `rustls` answers a key update by itself and tells nobody. So the frames of the records are
//! followed as they pass: what the ciphertext could have brought is compared with what came out. A
//! peer of ours never pads and never sends an empty record, so what is missing is key updates.

/// Type, version and length before each record.
const HEADER_BYTES: usize = 5;

/// What a record of data adds to its data: the inner type and the tag.
const OVERHEAD_BYTES: u64 = 17;

/// The least time between two records that bring nothing.
const PAUSE_NS: u64 = 1_000_000_000;

/// The records of one connection, in the direction towards this node.
#[derive(Debug, Default)]
pub(super) struct Records {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// What is still to come of the record whose header was read.
    left_bytes: usize,
    length: u64,
    /// What whole records could have brought, and did not yet.
    owed_bytes: u64,
    empty: u32,
    last_ns: Option<u64>,
}

impl Records {
    /// These bytes of ciphertext go to `rustls`.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let into = &mut self.header[self.header_bytes..];
            let taken = into.len().min(bytes.len());
            into[..taken].copy_from_slice(&bytes[..taken]);
            self.header_bytes += taken;
            bytes = &bytes[taken..];
            if taken > 0 && self.header_bytes == HEADER_BYTES {
                let length = u16::from_be_bytes([self.header[3], self.header[4]]);
                (self.length, self.left_bytes) = (length.into(), length.into());
            }
            if self.header_bytes == HEADER_BYTES {
                let taken = self.left_bytes.min(bytes.len());
                self.left_bytes -= taken;
                bytes = &bytes[taken..];
                if self.left_bytes == 0 {
                    self.header_bytes = 0;
                    self.owed_bytes += self.length.saturating_sub(OVERHEAD_BYTES);
                    self.empty += u32::from(self.length <= OVERHEAD_BYTES);
                }
            }
        }
    }

    /// So much came out of the whole records. Returns whether the peer changes its keys (or says
    /// nothing) too often.
    pub(super) fn brought(&mut self, bytes: u64, now_ns: u64) -> bool {
        let missing = self.owed_bytes.saturating_sub(bytes);
        // A key update is five bytes.
        let barren = u64::from(self.empty) + missing.div_ceil(5);
        (self.owed_bytes, self.empty) = (0, 0);
        if barren == 0 {
            return false;
        }
        let before_ns = self.last_ns.replace(now_ns);
        barren > 1 || before_ns.is_some_and(|before| now_ns.saturating_sub(before) < PAUSE_NS)
    }

    /// The handshake is done: what its records did not bring is forgotten.
    pub(super) const fn forget(&mut self) {
        (self.owed_bytes, self.empty, self.last_ns) = (0, 0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(data_bytes: u16) -> Vec<u8> {
        let length = data_bytes + 17;
        let [high, low] = length.to_be_bytes();
        let mut record = vec![23, 3, 3, high, low];
        record.resize(5 + usize::from(length), 0xaa);
        record
    }

    #[test]
    fn data_owes_nothing_however_it_is_cut() {
        let bytes: Vec<u8> = [1, 700, 16_384, 3].into_iter().flat_map(record).collect();
        for cut in [1, 4, 5, 6, 23, 700, 4_096, usize::MAX] {
            let mut records = Records::default();
            bytes.chunks(cut.min(bytes.len())).for_each(|piece| records.pass(piece));
            assert_eq!((records.owed_bytes, records.empty), (1 + 700 + 16_384 + 3, 0), "{cut}");
            assert!(!records.brought(1 + 700 + 16_384 + 3, 1));
            assert_eq!(records.last_ns, None);
        }
    }

    #[test]
    fn one_key_update_a_second_is_taken_and_a_second_one_is_not() {
        let mut records = Records::default();
        for second in 1..4 {
            records.pass(&record(5));
            assert!(!records.brought(0, second * PAUSE_NS));
        }
        records.pass(&record(100));
        records.pass(&record(5));
        assert!(records.brought(100, 3 * PAUSE_NS + 1), "within the same second");
        let mut records = Records::default();
        records.pass(&record(5));
        records.pass(&record(5));
        assert!(records.brought(0, PAUSE_NS), "two at once");
    }

    #[test]
    fn empty_records_are_as_bad() {
        let mut records = Records::default();
        records.pass(&record(0));
        assert!(!records.brought(0, 1));
        records.pass(&record(0));
        assert!(records.brought(0, 2));
    }
}

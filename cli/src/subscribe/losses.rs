//! Tells each lost event once. A subscriber of several types hears of a gap once for each of them.

use std::collections::HashMap;

use wireloom::{Lost, NodeId, SessionId};

/// Streams remembered; beyond that the memory begins anew and a gap may be told twice.
const STREAMS_MAX: usize = 4_096;

/// How far the losses of each stream have been told.
#[derive(Debug, Default)]
pub(super) struct Losses {
    told: HashMap<(NodeId, SessionId, u8), u64>,
}

impl Losses {
    /// The part of `lost` that was not told before, if any.
    pub(super) fn news(&mut self, lost: &Lost) -> Option<Lost> {
        let stream = (lost.origin.source, lost.origin.session, lost.origin.lane);
        if self.told.len() >= STREAMS_MAX && !self.told.contains_key(&stream) {
            self.told.clear();
        }
        let told = self.told.entry(stream).or_default();
        let from = lost.from.max(*told);
        *told = lost.to.max(*told);
        (from < lost.to).then_some(Lost { from, ..*lost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom_dataplane::dispatch::Origin;

    fn lost(session: u32, from: u64, to: u64) -> Lost {
        let origin = Origin {
            source: NodeId(7),
            session: SessionId(session),
            lane: 2,
            received_unix_ns: u64::from(session),
            verified: false,
        };
        Lost { origin, from, to }
    }

    #[test]
    fn a_gap_is_told_once_and_a_larger_one_for_what_is_new() {
        let mut losses = Losses::default();
        assert_eq!(losses.news(&lost(1, 5, 9)), Some(lost(1, 5, 9)));
        assert_eq!(losses.news(&lost(1, 5, 9)), None);
        assert_eq!(losses.news(&lost(1, 5, 12)), Some(lost(1, 9, 12)));
        assert_eq!(losses.news(&lost(1, 20, 21)), Some(lost(1, 20, 21)));
        assert_eq!(losses.news(&lost(2, 5, 9)), Some(lost(2, 5, 9)), "another stream");
    }

    #[test]
    fn memory_is_bounded() {
        let mut losses = Losses::default();
        for session in 0..10_000 {
            assert!(losses.news(&lost(session, 0, 1)).is_some());
            assert!(losses.told.len() <= STREAMS_MAX);
        }
    }
}

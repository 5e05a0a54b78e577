//! An outbound ring: what a publisher writes and the sender drains.
//!
//! It holds two kinds of records. A *frame* (32 bytes of header or more) goes on the wire as it
//! lies. A *mark* (exactly 16 bytes) says to which link the frames after it belong, and whether
//! some of them have deadlines; a publisher writes one only when its destination changes, or the
//! first deadline comes, so that frames of one destination stay contiguous and are sent without a
//! copy.

use wireloom_ring::{ClaimError, Consumer, Producer};

use crate::link::LinkId;

/// Length of a mark: the smallest record, shorter than any frame.
pub const MARK_BYTES: usize = 16;

const DEADLINES_OFFSET: usize = 8;

/// Writes a mark: frames staged or committed after it go to `link`. It becomes visible with them.
///
/// # Errors
/// As [`Producer::claim`].
#[inline]
pub fn mark(producer: &mut Producer, link: LinkId) -> Result<(), ClaimError> {
    write_mark(producer, link, false)
}

/// As [`mark`] where frames may have deadlines: the sender then looks at each of them.
///
/// # Errors
/// As [`Producer::claim`].
#[inline]
pub fn mark_with_deadlines(producer: &mut Producer, link: LinkId) -> Result<(), ClaimError> {
    write_mark(producer, link, true)
}

#[inline]
fn write_mark(producer: &mut Producer, link: LinkId, deadlines: bool) -> Result<(), ClaimError> {
    let mut claim = producer.claim(MARK_BYTES)?;
    claim[4..8].copy_from_slice(&link.0.to_le_bytes());
    claim[8..].fill(0);
    claim[DEADLINES_OFFSET] = u8::from(deadlines);
    claim.stage(MARK_BYTES);
    Ok(())
}

/// Reads a mark from the front of a batch whose first record is [`MARK_BYTES`] long: the link, and
/// whether frames may have deadlines.
#[inline]
pub(crate) fn read_mark(batch: &[u8]) -> (LinkId, bool) {
    let link = match batch.get(4..8).and_then(|bytes| bytes.try_into().ok()) {
        Some(bytes) => LinkId(u32::from_le_bytes(bytes)),
        None => LinkId(u32::MAX),
    };
    (link, batch.get(DEADLINES_OFFSET).is_some_and(|deadlines| *deadlines != 0))
}

/// A ring as the sender sees it.
#[derive(Debug)]
pub struct Outbound {
    pub(crate) consumer: Consumer,
    pub(crate) lane: usize,
    /// The link of the frames that come next.
    pub(crate) link: Option<LinkId>,
    /// They may have deadlines.
    pub(crate) deadlines: bool,
    /// Bytes at the front of the current batch that this duty cycle has packed or shed.
    pub(crate) taken: usize,
    /// The link was unknown in the last cycle too: no command is about to bring it.
    pub(crate) waited_for_link: bool,
    /// The publisher is gone and everything it wrote has been taken.
    pub(crate) ended: bool,
}

impl Outbound {
    /// A ring whose frames travel in `lane` (0 = critical).
    #[must_use]
    pub const fn new(consumer: Consumer, lane: usize) -> Self {
        Self {
            consumer,
            lane,
            link: None,
            deadlines: false,
            taken: 0,
            waited_for_link: false,
            ended: false,
        }
    }
}

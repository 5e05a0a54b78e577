//! Flow control between two nodes: what the agents share of it.
//!
//! A receiver says how much it takes ([`wireloom_wire::Status`], sent by `advertise.rs`), and its
//! peer's sender keeps what is on the way below that (`credit.rs`). The words come in on the
//! receiving side of the sending node: the [`PeerWindow`] carries them to its sender. A stream
//! whose window is used up is *held*.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wireloom_wire::{LANES, NodeId, SessionId, Status};

use crate::limits::LINKS_MAX;
use crate::wake::Wake;

/// What a sender does with events beyond what their peer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlowControl {
    /// They wait in their ring, and who publishes more is refused: nothing is lost for want of room
    /// at the other side. Other links' events in the same ring wait behind them.
    #[default]
    Hold,
    /// They are dropped here and counted, and cost no network: for data whose newest value is worth
    /// more than every value.
    Shed,
    /// Windows are not looked at: everything leaves at once, and the peer's kernel drops what it
    /// has no room for. Groups are always sent to like this.
    Off,
}

/// What a peer last said of one lane.
#[derive(Debug, Default)]
pub(crate) struct LaneWindow {
    /// How many times it has spoken; written last.
    heard: AtomicU64,
    next_sequence: AtomicU64,
    window_bytes: AtomicU64,
}

/// One reading of a [`LaneWindow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) heard: u64,
    pub(crate) next_sequence: u64,
    pub(crate) window_bytes: u64,
}

impl LaneWindow {
    /// What was said, when it is not what was known already. Of two sayings at once the fields may
    /// be mixed: both were true.
    #[inline]
    pub(crate) fn news(&self, known: u64) -> Option<Said> {
        let heard = self.heard.load(Ordering::Acquire);
        (heard != known).then(|| Said {
            heard,
            next_sequence: self.next_sequence.load(Ordering::Relaxed),
            window_bytes: self.window_bytes.load(Ordering::Relaxed),
        })
    }

    /// What was said cannot be, as the sender knows who has sent `sequence` packets: true words are
    /// not older than it from now on.
    #[cold]
    pub(crate) fn disbelieve(&self, said: &Said, sequence: u64) {
        // Whoever has spoken since then stays.
        let (lie, relaxed) = (said.next_sequence, Ordering::Relaxed);
        let _ = self.next_sequence.compare_exchange(lie, sequence, relaxed, relaxed);
    }
}

/// What a peer takes of one link, by lane. Written by the receiver that hears the peer, read by the
/// sender.
#[derive(Debug, Default)]
pub struct PeerWindow {
    lanes: [LaneWindow; LANES],
}

impl PeerWindow {
    #[inline]
    pub(crate) fn lane(&self, lane: usize) -> &LaneWindow {
        &self.lanes[lane]
    }

    /// Takes a status, unless a newer one came before it.
    pub(crate) fn hear(&self, status: &Status) -> bool {
        let Some(lane) = self.lanes.get(usize::from(status.lane)) else { return false };
        if status.next_sequence < lane.next_sequence.load(Ordering::Relaxed) {
            return false;
        }
        lane.next_sequence.store(status.next_sequence, Ordering::Relaxed);
        lane.window_bytes.store(status.window_bytes, Ordering::Relaxed);
        let heard = lane.heard.load(Ordering::Relaxed);
        lane.heard.store(heard.wrapping_add(1), Ordering::Release);
        true
    }
}

/// A link whose peer's words a receiver is to pass on.
#[derive(Debug)]
pub struct Watch {
    /// This node, as its packets say.
    pub source: NodeId,
    /// The link's session.
    pub session: SessionId,
    /// Where to write what the peer says.
    pub window: Arc<PeerWindow>,
    /// Wakes the sender, who may wait for it.
    pub wake: Option<Arc<Wake>>,
}

/// The links whose peers' words a receiver passes on, by session. A node numbers its links'
/// sessions in a row, so that each has a slot of its own.
#[derive(Debug)]
pub(crate) struct Watches(Vec<Option<Box<Watch>>>);

impl Watches {
    pub(crate) fn new() -> Self {
        Self((0..LINKS_MAX).map(|_| None).collect())
    }

    const fn slot(session: SessionId) -> usize {
        session.0 as usize % LINKS_MAX
    }

    /// Begins to watch; gives back what had the slot before.
    pub(crate) fn add(&mut self, watch: Box<Watch>) -> Option<Box<Watch>> {
        self.0[Self::slot(watch.session)].replace(watch)
    }

    /// Passes a peer's word on; false when it is about no link of this node, or is an old one.
    pub(crate) fn hear(&self, status: &Status) -> bool {
        let Some(watch) = &self.0[Self::slot(status.session)] else { return false };
        if watch.session != status.session || watch.source != status.source {
            return false;
        }
        let heard = watch.window.hear(status);
        if heard && let Some(wake) = &watch.wake {
            wake.notify();
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(session: u32, next_sequence: u64) -> Status {
        let (source, session) = (NodeId(7), SessionId(session));
        Status { source, session, lane: 2, next_sequence, window_bytes: 100 }
    }

    fn watches(session: u32) -> (Watches, Arc<PeerWindow>) {
        let window = Arc::new(PeerWindow::default());
        let mut watches = Watches::new();
        let (source, session) = (NodeId(7), SessionId(session));
        let watch = Watch { source, session, window: Arc::clone(&window), wake: None };
        assert!(watches.add(Box::new(watch)).is_none());
        (watches, window)
    }

    #[test]
    fn a_peers_word_reaches_its_lane_once() {
        let (watches, window) = watches(9);
        assert!(watches.hear(&status(9, 5)));
        let said = window.lane(2).news(0).expect("it was said");
        assert_eq!((said.next_sequence, said.window_bytes), (5, 100));
        assert_eq!(window.lane(2).news(said.heard), None);
        assert_eq!(window.lane(1).news(0), None);
    }

    #[test]
    fn words_of_others_and_old_words_change_nothing() {
        let (watches, window) = watches(9);
        let slots = u32::try_from(LINKS_MAX).expect("small");
        assert!(!watches.hear(&status(9 + slots, 5)), "another session in the same slot");
        assert!(!watches.hear(&status(10, 5)), "an empty slot");
        assert!(!watches.hear(&Status { source: NodeId(8), ..status(9, 5) }));
        assert!(!watches.hear(&Status { lane: 200, ..status(9, 5) }));
        assert_eq!(window.lane(2).news(0), None);
        assert!(watches.hear(&status(9, 5)));
        assert!(!watches.hear(&status(9, 4)));
        assert!(watches.hear(&status(9, 5)), "the window may have changed");
    }
}

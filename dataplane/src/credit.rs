//! How much of one stream may be on its way: the sender's account with the peer's window.
//!
//! Owned by the sender, one in each stream. Packets are charged when they are numbered; a peer's
//! word says up to which packet it has taken them. Between the two stands what is on its way.

use wireloom_wire::packet_charge;

use crate::flow::LaneWindow;

/// What may be on its way before the peer has spoken: one largest packet and another behind it, so
/// that a short flow waits for nobody.
pub(crate) const FIRST_WINDOW: u64 = 128 << 10;

/// A held stream asks the peer again after this long, then after twice as long, and so on.
const ASK_NS: u64 = 500_000;
/// The longest wait between two questions.
const ASK_NS_MAX: u64 = 20_000_000;

/// A peer that has answered nothing for this long is not there, or does not speak of windows: its
/// stream goes on without one, best effort, until it speaks. Long, because a peer on a busy host
/// may get no processor for hundreds of milliseconds, and would lose what it has no room for.
pub(crate) const UNANSWERED_NS: u64 = 500_000_000;

/// Remembered charges: which packet ends them, and how much had been charged up to there. Full, the
/// last one is replaced, which only makes acknowledgement coarser.
const MARKS: usize = 32;

/// A stream whose window is used up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    since_ns: u64,
    ask_ns: u64,
    wait_ns: u64,
}

/// The account of one stream.
#[derive(Debug)]
pub(crate) struct Credit {
    window_bytes: u64,
    /// Everything charged since the stream began.
    charged: u64,
    /// Of that, what the peer has taken.
    taken: u64,
    heard: u64,
    heard_ns: u64,
    unanswered: bool,
    /// Words about packets that were never sent, not counted yet.
    disbelieved: u64,
    held: Option<Held>,
    marks: [(u64, u64); MARKS],
    marks_first: usize,
    marks_count: usize,
}

impl Default for Credit {
    fn default() -> Self {
        Self {
            window_bytes: FIRST_WINDOW,
            charged: 0,
            taken: 0,
            heard: 0,
            heard_ns: 0,
            unanswered: false,
            disbelieved: 0,
            held: None,
            marks: [(0, 0); MARKS],
            marks_first: 0,
            marks_count: 0,
        }
    }
}

impl Credit {
    /// Bytes that may be charged now; everything while the peer does not answer, and one packet
    /// whatever the window while nothing is on its way.
    #[inline]
    pub(crate) fn room(&mut self, lane: &LaneWindow, sequence: u64, now_ns: u64) -> u64 {
        if let Some(said) = lane.news(self.heard) {
            self.heard = said.heard;
            // A peer cannot have taken what was never sent: such a word is not believed.
            if said.next_sequence <= sequence {
                self.heard_ns = now_ns;
                self.unanswered = false;
                self.window_bytes = said.window_bytes;
                self.take(said.next_sequence);
            } else {
                lane.disbelieve(&said, sequence);
                self.disbelieved += 1;
            }
        }
        let on_the_way = self.charged - self.taken;
        if self.unanswered || on_the_way == 0 {
            return u64::MAX;
        }
        self.window_bytes.saturating_sub(on_the_way)
    }

    /// How many words were not believed since it was asked last.
    #[inline]
    pub(crate) const fn take_disbelieved(&mut self) -> u64 {
        std::mem::replace(&mut self.disbelieved, 0)
    }

    fn take(&mut self, next_sequence: u64) {
        while self.marks_count > 0 {
            let (end, charged) = self.marks[self.marks_first];
            if end > next_sequence {
                break;
            }
            self.taken = charged;
            self.marks_first = (self.marks_first + 1) % MARKS;
            self.marks_count -= 1;
        }
    }

    /// Charges a packet that has just been numbered.
    #[inline]
    pub(crate) const fn charge(&mut self, bytes: usize) {
        self.charged += packet_charge(bytes);
    }

    /// Remembers what has been charged for the packets before `sequence`.
    #[inline]
    pub(crate) fn mark(&mut self, sequence: u64) {
        let last = if self.marks_count == MARKS { MARKS - 1 } else { self.marks_count };
        self.marks[(self.marks_first + last) % MARKS] = (sequence, self.charged);
        self.marks_count = last + 1;
    }

    /// Notes that an event found no room; true when that is new.
    pub(crate) const fn hold(&mut self, now_ns: u64) -> bool {
        if self.held.is_some() {
            return false;
        }
        self.held = Some(Held { since_ns: now_ns, ask_ns: now_ns + ASK_NS, wait_ns: ASK_NS });
        true
    }

    /// There is room again.
    pub(crate) const fn release(&mut self) {
        self.held = None;
    }

    /// When to ask the peer again.
    pub(crate) const fn ask_ns(&self) -> Option<u64> {
        match self.held {
            Some(held) => Some(held.ask_ns),
            None => None,
        }
    }

    /// Puts the next question off, if it is time for one.
    pub(crate) fn postpone(&mut self, now_ns: u64) -> Option<Held> {
        let held = self.held.as_mut().filter(|held| held.ask_ns <= now_ns)?;
        held.wait_ns = (held.wait_ns * 2).min(ASK_NS_MAX);
        held.ask_ns = now_ns + held.wait_ns;
        Some(*held)
    }

    /// Whether it is time to ask; the next question then waits longer. Gives the peer up when it
    /// has answered none for long.
    pub(crate) fn asks(&mut self, now_ns: u64) -> bool {
        let Some(held) = self.postpone(now_ns) else { return false };
        let silent_ns = now_ns.saturating_sub(held.since_ns.max(self.heard_ns));
        self.unanswered |= silent_ns >= UNANSWERED_NS;
        true
    }
}

#[cfg(test)]
#[path = "credit/tests.rs"]
mod tests;

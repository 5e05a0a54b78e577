//! Whether the time of an event is over, for everybody who takes events. Owns nothing, reads no
//! clock: whoever asks says what time it is.

use wireloom_wire::{Frame, FrameFlags};

use super::Origin;

fn is_exchange(frame: &Frame<'_>) -> bool {
    frame.header.flags.contains(FrameFlags::CORRELATION)
}

/// Whether an event's deadline is over. A look at its flags, where it has none. A request's is
/// judged by whoever takes it ([`is_over`]).
#[inline]
pub(super) fn is_expired(frame: &Frame<'_>, now_unix_ns: u64) -> bool {
    frame.deadline().is_some_and(|deadline_ns| deadline_ns < now_unix_ns) && !is_exchange(frame)
}

/// Whether the time of an event is over when it is taken. An event's is when its deadline has
/// passed. A request's is when it has been here for as long as it was given when it was made:
/// neither clock is held against the other's, and what it took on its way counts for nothing.
/// `unix_ns` gives this node's time, and is asked only if there is a deadline. A step of this
/// node's own wall clock while the request waits counts as time it waited, or did not.
#[inline]
pub fn is_over(frame: &Frame<'_>, origin: &Origin, unix_ns: impl FnOnce() -> u64) -> bool {
    let Some(deadline_ns) = frame.deadline() else { return false };
    let now_ns = unix_ns();
    if !is_exchange(frame) {
        return deadline_ns < now_ns;
    }
    let made_ns = frame.header.timestamp_ns;
    let given_ns = deadline_ns.saturating_sub(made_ns);
    // One of this process was received when it was made.
    let since_ns = if origin.received_unix_ns > 0 { origin.received_unix_ns } else { made_ns };
    now_ns.saturating_sub(since_ns) >= given_ns
}

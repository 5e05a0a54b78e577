//! Numbers of sessions: each link of each life of a node has its own.

use wireloom_wire::SessionId;

/// The sessions of a link: of its streams of small events, and of its streams of large ones.
pub(super) type Sessions = (SessionId, SessionId);

/// The next session of this life: each life begins at a random one, none is used twice.
const fn next_session(sessions: &mut u32) -> SessionId {
    *sessions = sessions.wrapping_add(1) | 0x8000_0000;
    SessionId(*sessions)
}

/// Two of them: for the small events of a link, and for its large ones.
pub(super) const fn next_sessions(sessions: &mut u32) -> Sessions {
    (next_session(sessions), next_session(sessions))
}

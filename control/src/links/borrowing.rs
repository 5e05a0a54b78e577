//! Which line of a peer's a link may borrow: one that the peer dialled for the same lanes, from
//! where it says it listens.
//!
//! Looks at the agent's lines and halves; owns nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::LinkKey;
use super::accepted::Accepted;
use super::dialled::Dialled;
use super::line::Line;
use crate::sockets::{SocketId, Sockets};

/// The line of the peer that a link would dial, if that peer has dialled for the same lanes.
pub(super) fn borrowable<'a>(
    link: &Dialled,
    (peer, _): LinkKey,
    (lines, accepted): (&'a mut BTreeMap<SocketId, Line>, &BTreeMap<SocketId, Accepted>),
) -> Option<&'a mut Line> {
    let lanes = link.lanes();
    let (socket, _) = accepted.iter().find(|(socket, half)| {
        half.is_of(peer, lanes) && lines.get(socket).is_some_and(Line::is_free)
    })?;
    lines.get_mut(socket)
}

/// Whether the other side of a socket has the address it says it listens at; its port differs.
/// Who says it listens at a stranger's address is given none of that one's events.
pub(super) fn dialled_from<S: Sockets>(sockets: &S, socket: SocketId, listens: SocketAddr) -> bool {
    sockets.peer(socket).is_some_and(|peer| peer.ip().to_canonical() == listens.ip().to_canonical())
}

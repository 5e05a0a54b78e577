//! Which peers this node has an authenticated line to, and who is told of it: the keys of the data
//! plane come from such lines.
//!
//! Of the lines of a pair of nodes those speak that carry the lowest lane: one in each direction at
//! most, and for a moment two where one is renewed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wireloom_wire::NodeId;

use super::LinkKey;
use super::accepted::Accepted;
use super::dialled::Dialled;
use super::line::Line;
use super::memory::AcceptedMost;
use crate::sockets::{Secret, SocketId, Sockets};
use crate::tls::PeerIdentity;

/// The label of the data plane's secret, and of the number that tells it from others.
const DATA: &str = "EXPORTER-wireloom data";
const SET: &str = "EXPORTER-wireloom set";

/// What becomes of the authenticated lines of a peer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinksNotice {
    /// There is one more, with keys of its own. Whoever listened is told when it has read the
    /// peer's hello, whoever dialled when it has read the welcome: a moment later.
    Authenticated {
        /// Where the peer listens.
        address: SocketAddr,
        /// Who it is.
        identity: Box<PeerIdentity>,
        /// What both sides derive keys from.
        secret: Secret,
        /// Tells this secret from the others of the pair; never 0.
        set_id: u16,
        /// Whether this node dialled.
        is_dialler: bool,
    },
    /// The last one of this peer has ended. Keys made of them stay good until they are taken away.
    Ended {
        /// Where the peer listens.
        address: SocketAddr,
        /// Who it is.
        node: NodeId,
    },
    /// A peer has said this by an authenticated line.
    Note {
        /// Who.
        from: Box<PeerIdentity>,
        /// 1 to [`NOTE_BYTES_MAX`](wireloom_wire::NOTE_BYTES_MAX) bytes.
        note: Box<[u8]>,
    },
}

/// Who is told; on the links' thread, so it must not wait.
pub type LinksNotices = Box<dyn FnMut(LinksNotice) + Send>;

/// A line that was told of.
#[derive(Debug, Clone, Copy)]
struct Known {
    node: NodeId,
    address: SocketAddr,
    is_dialler: bool,
}

/// The lines that were told of.
#[derive(Default)]
pub(super) struct Announced {
    listener: Option<LinksNotices>,
    lines: BTreeMap<SocketId, Known>,
    /// So many links had been opened when it was last looked for new ones.
    opened: u64,
}

/// Where a line is found out to be one that speaks.
type Parts<'a> = (
    &'a BTreeMap<SocketId, Line>,
    &'a BTreeMap<LinkKey, Dialled>,
    &'a BTreeMap<SocketId, Accepted>,
);

impl Announced {
    /// From now on this one is told, first of the lines there are.
    pub(super) fn listen<S: Sockets>(&mut self, listener: LinksNotices, sockets: &S) {
        self.listener = Some(listener);
        let lines: Vec<_> = self.lines.iter().map(|(socket, known)| (*socket, *known)).collect();
        for (socket, known) in lines {
            self.announce(socket, known, sockets);
        }
    }

    /// Looks for new lines, if links were opened since: so many have been by now.
    pub(super) fn look<S: Sockets>(
        &mut self,
        opened: u64,
        (lines, dialled, accepted): Parts<'_>,
        (sockets, most): (&S, &AcceptedMost),
    ) {
        if std::mem::replace(&mut self.opened, opened) == opened {
            return;
        }
        for (socket, line) in lines {
            if self.lines.contains_key(socket) || line.has_ended() {
                continue;
            }
            let Some(peer) = sockets.peer_identity(*socket) else { continue };
            let heard = accepted.get(socket).and_then(Accepted::speaks_for);
            let wrote = || {
                let link = dialled.get(&line.writer()?)?;
                link.speaks().then(|| line.writer()).flatten().map(|(address, _)| address)
            };
            if let Some(address) = heard.or_else(wrote) {
                let known = Known { node: peer.node, address, is_dialler: line.is_ours() };
                self.lines.insert(*socket, known);
                most.note_authenticated(lines.len());
                self.announce(*socket, known, sockets);
            }
        }
    }

    fn announce<S: Sockets>(&mut self, socket: SocketId, known: Known, sockets: &S) {
        let Some(identity) = sockets.peer_identity(socket) else { return };
        let secrets = (sockets.export(socket, DATA), sockets.export(socket, SET));
        if let (Some(secret), Some(set)) = secrets {
            let set_id = u16::from_le_bytes([set.0[0], set.0[1]]).max(1);
            let identity = Box::new(identity.clone());
            let Known { address, is_dialler, .. } = known;
            let notice =
                LinksNotice::Authenticated { address, identity, secret, set_id, is_dialler };
            self.tell(notice);
        }
    }

    /// The newest line that was told of, of those to a node.
    pub(super) fn line_of(&self, node: NodeId) -> Option<SocketId> {
        let mut lines = self.lines.iter().rev();
        lines.find(|(_, known)| known.node == node).map(|(socket, _)| *socket)
    }

    /// Tells what notes have come: after the lines they came by.
    pub(super) fn tell_notes<S: Sockets>(
        &mut self,
        lines: &mut BTreeMap<SocketId, Line>,
        sockets: &S,
    ) {
        for (socket, line) in lines {
            for note in line.notes.whole() {
                if let Some(from) = sockets.peer_identity(*socket).cloned().map(Box::new) {
                    self.tell(LinksNotice::Note { from, note });
                }
            }
        }
    }

    /// A line has ended.
    pub(super) fn end(&mut self, socket: SocketId) {
        let Some(Known { node, address, .. }) = self.lines.remove(&socket) else { return };
        if !self.lines.values().any(|known| known.node == node) {
            self.tell(LinksNotice::Ended { address, node });
        }
    }

    /// A panic of the listener is its own; the links go on.
    fn tell(&mut self, notice: LinksNotice) {
        if let Some(listener) = &mut self.listener {
            let _ = catch_unwind(AssertUnwindSafe(|| listener(notice)));
        }
    }
}

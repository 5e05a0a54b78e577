//! Which link's datagrams leave by the direct socket, and how that changes: between cycles, and
//! only while the kernel has everything of before.

use std::sync::Arc;

use super::Links;
use crate::direct::DirectUse;
use crate::io::Destination;
use crate::link::LinkId;

/// The sender's side of the direct socket.
#[derive(Debug)]
pub(super) struct Direct {
    /// Its index among the transmit sockets; `None` where there is none.
    socket: Option<usize>,
    in_use: Arc<DirectUse>,
    wanted: Option<LinkId>,
    /// The link that uses it, and where its datagrams went before.
    used: Option<(LinkId, Destination)>,
}

impl Direct {
    pub(super) fn new(socket: Option<usize>) -> Self {
        Self { socket, in_use: Arc::default(), wanted: None, used: None }
    }

    pub(super) const fn in_use(&self) -> &Arc<DirectUse> {
        &self.in_use
    }

    pub(super) const fn want(&mut self, link: Option<LinkId>) {
        self.wanted = link;
    }

    #[inline]
    fn is_settled(&self) -> bool {
        self.used.as_ref().map(|(link, _)| *link) == self.wanted
    }

    /// Does what was last wanted. To be called while nothing waits for the kernel: a message that
    /// has begun goes on to where it began.
    #[inline]
    pub(super) fn settle(&mut self, links: &mut Links) {
        if !self.is_settled() {
            self.change(links);
        }
    }

    #[cold]
    fn change(&mut self, links: &mut Links) {
        if let Some((id, before)) = self.used.take()
            && let Some(link) = links.get_mut(id)
        {
            link.destination = before;
        }
        if let Some(id) = self.wanted
            && let Some(socket) = self.socket
            && let Some(link) = links.get_mut(id)
        {
            let direct = link.destination.connected(socket);
            self.used = Some((id, std::mem::replace(&mut link.destination, direct)));
        }
        // A link that is not there is not waited for.
        self.wanted = self.used.as_ref().map(|(link, _)| *link);
        self.in_use.set(self.wanted);
    }
}

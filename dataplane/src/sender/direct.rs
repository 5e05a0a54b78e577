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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowControl;
    use crate::limits::LINKS_MAX;
    use crate::link::{Link, LinkConfig};
    use wireloom_wire::{NodeId, SessionId};

    fn links() -> Links {
        let mut links = Links((0..LINKS_MAX).map(|_| None).collect());
        for (id, port) in [(0, 100), (1, 101)] {
            let link = Link::new(LinkConfig {
                id: LinkId(id),
                destination: Destination::new(0, ([127, 0, 0, 1], port).into()),
                source: NodeId(1),
                session: SessionId(id),
                packet_bytes: 1_400,
                packet_bytes_max: 1_400,
                multicast: false,
                flow: FlowControl::Hold,
                demands_key: [false; wireloom_wire::LANES],
            });
            links.0[LinkId(id).slot()] = Some(Box::new(link));
        }
        links
    }

    /// The sockets the two links' datagrams leave by.
    fn sockets(links: &Links) -> [usize; 2] {
        [0, 1].map(|id| links.get(LinkId(id)).expect("it is there").destination.socket())
    }

    #[test]
    fn one_link_at_a_time_leaves_by_the_direct_socket_and_says_so() {
        let (mut direct, mut links) = (Direct::new(Some(7)), links());
        let in_use = Arc::clone(direct.in_use());
        for (wanted, used, expected) in [
            (Some(LinkId(1)), Some(LinkId(1)), [0, 7]),
            (Some(LinkId(0)), Some(LinkId(0)), [7, 0]),
            (Some(LinkId(9)), None, [0, 0]),
            (Some(LinkId(0)), Some(LinkId(0)), [7, 0]),
            (None, None, [0, 0]),
        ] {
            direct.want(wanted);
            direct.settle(&mut links);
            assert_eq!((in_use.link(), sockets(&links)), (used, expected), "{wanted:?}");
        }
    }

    #[test]
    fn without_a_direct_socket_nothing_changes() {
        let (mut direct, mut links) = (Direct::new(None), links());
        direct.want(Some(LinkId(0)));
        direct.settle(&mut links);
        assert_eq!((direct.in_use().link(), sockets(&links)), (None, [0, 0]));
    }
}

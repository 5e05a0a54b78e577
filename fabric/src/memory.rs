//! What a node can come to use, as a sum with a reason for each term: the bounds its parts hold,
//! and what was made so far where that is by request. Read on the cold path only.

use wireloom_control::membership::{MEMBERS_MAX, RECORD_BYTES_MAX};
use wireloom_control::tls::HandshakeLimits;
use wireloom_dataplane::keyring::KEYRING_BYTES;
use wireloom_dataplane::limits::{
    ACCESS_CELLS_MAX, DATAGRAM_BYTES_MAX, LINKS_MAX, SEALED_BYTES, STASH_BYTES, SUBSCRIPTIONS_MAX,
};
use wireloom_dataplane::link::{Link, LinkId};
use wireloom_wire::LANES;

use crate::large::EVENTS_PER_PEER;
use crate::shared::Shared;
use crate::trace::waiting_bytes_max;

impl Shared {
    /// What the node can come to use, by reason.
    pub(crate) fn memory(&self) -> Vec<(&'static str, usize)> {
        let (rings, links, peers) = {
            let books = self.books();
            (books.ring_bytes, books.links.len(), books.peers.len())
        };
        let receivers = self.receivers();
        let mut terms = vec![
            ("rings made so far (each asked for by a publisher, router or subscriber)", rings),
            ("sender: packets the kernel would not take", STASH_BYTES),
            ("sender: packets of one cycle, sealed, where links have keys", SEALED_BYTES),
            ("sender: headers, slices and system-call arrays of one cycle", 256 << 10),
            ("links made so far, each with its streams' accounts", links * size_of::<Link>()),
            (
                "sender: tables of links, of held and of silent streams",
                LINKS_MAX * (size_of::<usize>() + 2 * LANES * size_of::<(LinkId, usize)>()),
            ),
            ("receivers: receive slots", receivers * (520 << 10)),
            ("receivers: windows of the streams heard", receivers * self.sizes.streams * 1_280),
            ("receivers: table of subscriptions", receivers * SUBSCRIPTIONS_MAX * 48),
            (
                "receivers: frames of a sealed packet, and the table of keys",
                receivers * (DATAGRAM_BYTES_MAX + KEYRING_BYTES),
            ),
        ];
        if self.access.is_asked() {
            let cells = receivers * ACCESS_CELLS_MAX * size_of::<u32>();
            terms.push(("receivers: what peers may send, by a policy, at most", cells));
        }
        terms.extend(self.links.accepted_most.memory(&self.reliable, peers));
        terms.push((
            "reliable links: large events on their way to each peer so far",
            peers * EVENTS_PER_PEER * self.reliable.event_bytes_max(),
        ));
        if self.keys.is_some() {
            terms.push((
                "TLS: handshakes at a time, and lines that are being left, at most",
                HandshakeLimits::default().bytes_max(),
            ));
        }
        if let Some(bytes) = waiting_bytes_max(self) {
            terms.push(("tracer: spans that wait to be told, with their texts, at most", bytes));
        }
        if self.cluster.joined().is_some() {
            terms.push((
                "cluster: the members, twice, when as many as can be say all they may",
                2 * MEMBERS_MAX * RECORD_BYTES_MAX,
            ));
        }
        terms
    }
}

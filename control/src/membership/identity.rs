//! Who a member is to the failure detector: a node, at an address, in one of its lives.

use std::net::SocketAddr;

use wireloom_wire::NodeId;

/// One life of a node at one address. There is one member at an address: a later life there takes
/// the place of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Grows with each start, and whenever the cluster has declared this life dead (its
    /// *incarnation*): milliseconds since the Unix epoch at first, one more each time.
    pub life: u64,
    /// The node's id, which follows from its name.
    pub node: NodeId,
    /// Where it receives.
    pub address: SocketAddr,
}

impl Identity {
    /// A number that hardly another identity has, for a sum over sets of them.
    pub(crate) fn digest(&self) -> u64 {
        let mut bytes = Vec::with_capacity(40);
        super::codec::put_identity(&mut bytes, self);
        wireloom_wire::body_hash(&bytes)
    }
}

impl foca::Identity for Identity {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        Some(Self { life: self.life.checked_add(1)?, ..*self })
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self > adversary
    }
}

#[cfg(test)]
mod tests {
    use foca::Identity as _;

    use super::*;

    #[test]
    fn the_later_life_has_the_address_whichever_node_lives_it() {
        let of =
            |life, node| Identity { life, node: NodeId(node), address: ([10, 0, 0, 1], 9).into() };
        assert!(of(2, 1).win_addr_conflict(&of(1, 9)) && !of(1, 9).win_addr_conflict(&of(2, 1)));
        assert!(of(1, 9).win_addr_conflict(&of(1, 1)), "of two at once one has it");
        assert!(!of(1, 9).win_addr_conflict(&of(1, 9)));
        assert_eq!(of(1, 9).renew(), Some(of(2, 9)));
        assert_eq!(of(u64::MAX, 9).renew(), None);
    }

    #[test]
    fn digests_tell_lives_nodes_and_addresses_apart() {
        let one = Identity { life: 1, node: NodeId(1), address: ([10, 0, 0, 1], 9).into() };
        let others = [
            Identity { life: 2, ..one },
            Identity { node: NodeId(2), ..one },
            Identity { address: ([10, 0, 0, 1], 8).into(), ..one },
        ];
        assert!(others.iter().all(|other| other.digest() != one.digest()));
    }
}

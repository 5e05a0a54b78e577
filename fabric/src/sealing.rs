//! Keys for the data plane, handed to a node by hand: for measurements and tests. Where nodes agree
//! on their keys themselves, links over TLS bring them.

use std::net::SocketAddr;

use wireloom_dataplane::command::{ReceiverCommand, SenderCommand};
use wireloom_dataplane::keyring::{Demand, FIRST_RECEIVER_SLOT, SENDER_SLOT};
use wireloom_dataplane::link::LinkSeal;
use wireloom_seal::{Direction, Mode, SealingKey, Secret};
use wireloom_wire::{KeySetId, LANES, NodeId};

use crate::keying::Orders;
use crate::node::Node;
use crate::outcome::{NoRoute, Refused};

/// The key set of keys that were handed over by hand.
const BY_HAND: KeySetId = KeySetId(1);

impl Node {
    /// Seals datagrams to `address` from now on, and takes its sealed words. A secret is for one
    /// pair of nodes, and handed to each of them once: keys made of it anew would count from 0.
    ///
    /// # Errors
    /// As for the first event to that address.
    #[doc(hidden)]
    pub fn seal_to(&self, address: SocketAddr, secret: Secret, mode: Mode) -> Result<(), Refused> {
        let link = self.shared.link_to(address, false)?;
        let key = SealingKey::new(&secret, Direction::FromDialler, BY_HAND, SENDER_SLOT);
        let seal = LinkSeal { key, modes: [Some(mode); LANES] };
        self.shared.to_sender(SenderCommand::SetKey(link.id, Box::new(seal)))?;
        self.take_keys(NodeId(0), &secret, Direction::FromAcceptor)
    }

    /// Opens sealed datagrams of the node `peer` from now on and refuses clear ones.
    ///
    /// # Errors
    /// When the node's workers do not take commands.
    #[doc(hidden)]
    pub fn open_from(&self, peer: NodeId, secret: Secret, mode: Mode) -> Result<(), Refused> {
        self.take_keys(peer, &secret, Direction::FromDialler)?;
        let demand = if mode == Mode::Full { Demand::Full } else { Demand::Integrity };
        for receiver in 0..self.shared.receivers() {
            let command = ReceiverCommand::RequireSealed([demand; LANES]);
            self.shared.to_receiver(receiver, command).map_err(|()| NoRoute::Stalled)?;
        }
        Ok(())
    }

    fn take_keys(&self, peer: NodeId, secret: &Secret, opens: Direction) -> Result<(), Refused> {
        let receivers = self.shared.receivers();
        let slots =
            FIRST_RECEIVER_SLOT.saturating_add(u8::try_from(receivers + 1).unwrap_or(u8::MAX));
        let mut orders = Orders::new(receivers);
        orders.open((peer, BY_HAND), secret, (opens.back(), slots));
        orders.give(&self.shared);
        if orders.is_empty() { Ok(()) } else { Err(NoRoute::Stalled.into()) }
    }
}

//! What keying gives to workers and links: in order, and only as there is room, because the control
//! thread waits for nobody.

use std::collections::VecDeque;
use std::net::SocketAddr;

use wireloom_control::LinksCommand;
use wireloom_dataplane::command::{ReceiverCommand, SenderCommand};
use wireloom_dataplane::keyring::{CONTROL_SLOT, FIRST_RECEIVER_SLOT, PeerKeys, SENDER_SLOT};
use wireloom_dataplane::link::{LinkId, LinkSeal};
use wireloom_seal::{Direction, OpeningKey, Owner, SealingKey, Secret};
use wireloom_wire::{KeySetId, NodeId};

use super::book::{Held, KeyBook, Sealing};
use super::seals::SealModes;
use crate::group_keys::Opening;
use crate::note::Tell;
use crate::shared::Shared;

#[derive(Debug)]
enum Order {
    Receiver(usize, ReceiverCommand),
    Sender(SenderCommand),
    Links(LinksCommand),
}

/// The orders that wait.
#[derive(Debug)]
pub(crate) struct Orders {
    waiting: VecDeque<Order>,
    receivers: usize,
}

impl Orders {
    pub(crate) const fn new(receivers: usize) -> Self {
        Self { waiting: VecDeque::new(), receivers }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn links(&mut self, command: LinksCommand) {
        self.waiting.push_back(Order::Links(command));
    }

    pub(super) fn tell(&mut self, Tell { to, note }: Tell) {
        self.links(LinksCommand::Note { to, note });
    }

    fn each_receiver(&mut self, mut command: impl FnMut(usize) -> ReceiverCommand) {
        let orders = (0..self.receivers).map(|at| Order::Receiver(at, command(at)));
        self.waiting.extend(orders);
    }

    /// Receivers open what `peer` seals by a set of a pair, and seal words to it by the same.
    pub(crate) fn open(
        &mut self,
        (peer, set): (NodeId, KeySetId),
        secret: &Secret,
        (seals, slots): (Direction, u8),
    ) {
        let owners: Vec<Owner> = (0..slots).map(|_| Owner::default()).collect();
        self.each_receiver(|receiver| {
            let number = u32::try_from(receiver).unwrap_or(u32::MAX);
            let slot = u8::try_from(receiver).unwrap_or(u8::MAX);
            let words = FIRST_RECEIVER_SLOT.saturating_add(slot);
            let slots = (0_u8..).zip(&owners);
            let opens = |slot| OpeningKey::new(secret, seals.back(), slot);
            let slots = slots.map(|(slot, owner)| opens(slot).at(number, owner)).collect();
            let words = Some(SealingKey::new(secret, seals, set, words));
            ReceiverCommand::SetKeys(PeerKeys { peer, set, slots, words }.into())
        });
    }

    /// Receivers open what a peer seals for groups.
    pub(super) fn open_group(&mut self, opening: &Opening) {
        let owners: Vec<Owner> = (0..opening.slots()).map(|_| Owner::default()).collect();
        self.each_receiver(|receiver| {
            let number = u32::try_from(receiver).unwrap_or(u32::MAX);
            ReceiverCommand::SetKeys(opening.keys(number, &owners).into())
        });
    }

    pub(super) fn forget_set(&mut self, peer: NodeId, set: KeySetId) {
        self.each_receiver(|_| ReceiverCommand::ForgetKeys(peer, set));
    }

    /// What goes to an address, events and control packets, is sealed by a set from now on.
    pub(super) fn seal(
        &mut self,
        (peer, address): (NodeId, SocketAddr),
        (set, secret, seals): (KeySetId, &Secret, Direction),
        book: &KeyBook,
    ) {
        let key = |slot| SealingKey::new(secret, seals, set, slot);
        let (sender, control) = (Some(key(SENDER_SLOT)), key(CONTROL_SLOT));
        let mut held = book.held();
        held.sealings.insert(address, Sealing { peer, sender, control });
        held.keyed.push_back(address);
        held.has_news = true;
    }

    /// Keys for links whose address has one that none has taken.
    pub(super) fn key_links(&mut self, book: &KeyBook) {
        let mut held = book.held();
        if !std::mem::take(&mut held.has_news) {
            return;
        }
        let Held { sealings, links, .. } = &mut *held;
        for (address, sealing) in sealings {
            if let Some(link) = links.get(address)
                && let Some(key) = sealing.sender.take()
            {
                self.key_link(*link, key, book.modes);
            }
        }
    }

    /// Keys for links to groups.
    pub(super) fn seal_groups(
        &mut self,
        keys: &mut VecDeque<SealingKey>,
        from: usize,
        book: &KeyBook,
    ) {
        if keys.is_empty() {
            return;
        }
        let links: Vec<LinkId> = book.held().groups.iter().skip(from).copied().collect();
        for link in links {
            let Some(key) = keys.pop_front() else { return };
            self.key_link(link, key, book.modes);
        }
    }

    fn key_link(&mut self, link: LinkId, key: SealingKey, modes: SealModes) {
        let seal = Box::new(LinkSeal { key, modes: modes.0 });
        self.waiting.push_back(Order::Sender(SenderCommand::SetKey(link, seal)));
    }

    /// Nothing of a peer is opened and nothing sealed for it any more.
    pub(super) fn forget(&mut self, peer: NodeId, book: &KeyBook) {
        self.each_receiver(|_| ReceiverCommand::ForgetPeer(peer));
        let mut held = book.held();
        let Held { sealings, links, keyed, proved, .. } = &mut *held;
        proved.remove(&peer);
        sealings.retain(|address, sealing| {
            if sealing.peer == peer {
                let link = links.get(address).copied();
                self.waiting.extend(link.map(|id| Order::Sender(SenderCommand::TakeKey(id))));
                keyed.retain(|of| of != address);
            }
            sealing.peer != peer
        });
    }

    /// Gives what there is room for; returns how many.
    pub(crate) fn give(&mut self, shared: &Shared) -> usize {
        let before = self.waiting.len();
        while let Some(order) = self.waiting.pop_front() {
            let refused = match order {
                Order::Receiver(receiver, command) => shared
                    .offer_receiver(receiver, command)
                    .map_err(|command| Order::Receiver(receiver, command)),
                Order::Sender(command) => shared.offer_sender(command).map_err(Order::Sender),
                Order::Links(command) => shared.links.commands.push(command).map_err(Order::Links),
            };
            if let Err(order) = refused {
                self.waiting.push_front(order);
                break;
            }
        }
        before - self.waiting.len()
    }
}

#[cfg(test)]
mod tests;

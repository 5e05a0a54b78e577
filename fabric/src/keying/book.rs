//! What the control thread's keying shares with others: what it is asked for, and what it has.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wireloom_control::LinksNotice;
use wireloom_dataplane::link::LinkId;
use wireloom_identity::PublicKey;
use wireloom_seal::SealingKey;
use wireloom_wire::NodeId;

use super::introductions::Introductions;
use super::seals::SealModes;
use crate::access::{RoleSource, Roles};
use crate::validation::SignerKeys;

/// What a node seals by for one address.
#[derive(Debug)]
pub(super) struct Sealing {
    pub(super) peer: NodeId,
    /// Until a link takes it.
    pub(super) sender: Option<SealingKey>,
    pub(super) control: SealingKey,
}

/// What other threads leave for the control thread, and what it shows them. Every lock here is on
/// the cold path.
#[derive(Debug)]
pub(crate) struct KeyBook {
    pub(crate) modes: SealModes,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) notices: VecDeque<LinksNotice>,
    /// Links to addresses, which take the key of the address when there is one.
    pub(super) links: HashMap<SocketAddr, LinkId>,
    /// A link or a key has come since links were given keys.
    pub(super) has_news: bool,
    /// Links to groups, in the order of their keys.
    pub(super) groups: Vec<LinkId>,
    pub(super) sealings: HashMap<SocketAddr, Sealing>,
    /// Addresses whose keys the membership has not heard of yet.
    pub(super) keyed: VecDeque<SocketAddr>,
    pub(super) introductions: Introductions,
    /// Who has proved who it is: what it may do is said of these, and by this key it signs.
    pub(super) proved: HashMap<NodeId, (Roles, PublicKey)>,
}

impl KeyBook {
    pub(crate) fn new(modes: SealModes) -> Self {
        Self { modes, held: Mutex::default() }
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_notice(&self) -> Option<LinksNotice> {
        self.held().notices.pop_front()
    }

    /// A link that demands a key leads to an address, or to a group.
    pub(crate) fn want(&self, address: SocketAddr, link: LinkId, group: bool) {
        let mut held = self.held();
        if group {
            held.groups.push(link);
        } else {
            held.links.insert(address, link);
            held.has_news = true;
            held.introductions.link(address);
        }
    }
}

impl RoleSource for KeyBook {
    fn roles_of(&self, node: NodeId) -> Option<Roles> {
        self.held().proved.get(&node).map(|(roles, _)| roles.clone())
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.held().proved.keys().copied().collect()
    }
}

impl SignerKeys for KeyBook {
    fn key_of(&self, node: NodeId) -> Option<PublicKey> {
        self.held().proved.get(&node).map(|(_, key)| *key)
    }
}

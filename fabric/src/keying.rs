//! Keys for datagrams, from the authenticated lines of a node with credentials.
//!
//! [`Keying`] is a task of the control thread: it hears of lines, agrees on keys with the peer
//! ([`pairs`]), gives them to workers and to the membership, and takes them away when the last line
//! of the peer has ended. [`KeyBook`] is what other threads leave for it. Links of such a node
//! demand a key, so that nothing leaves in clear.

mod introductions;
mod pairs;
mod seals;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use wireloom_control::membership::Change;
use wireloom_control::mesh::MeshCommand;
use wireloom_control::{LinksCommand, LinksNotice};
use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::command::{ReceiverCommand, SenderCommand};
use wireloom_dataplane::keyring::{
    CONTROL_SLOT, FIRST_RECEIVER_SLOT, PeerKeys, SENDER_SLOT, SETS_PER_PEER_MAX,
};
use wireloom_dataplane::link::{LinkId, LinkSeal};
use wireloom_seal::{Cipher, Direction, OpeningKey, Owner, SealingKey, Secret};
use wireloom_wire::{KeySetId, NodeId};
use zeroize::Zeroizing;

use self::introductions::{Introduction, Introductions};
use self::pairs::{Action, KEYS_NOTE, Offer, Pairs};
pub use self::seals::Protection;
pub(crate) use self::seals::{MeshSeals, SealModes};
use crate::access::{RoleSource, Roles};
use crate::shared::Shared;

/// How often trials are ended and changed roles are given to the policy.
const LOOK_NS: u64 = 100_000_000;

/// The key set of what a node sends to itself.
const OWN_SET: KeySetId = KeySetId(1);

/// What a sender seals by for one address.
#[derive(Debug)]
struct Sealing {
    peer: NodeId,
    /// Until a link takes it.
    sender: Option<SealingKey>,
    control: SealingKey,
}

/// What other threads leave for the control thread, and what it shows them.
#[derive(Debug)]
pub(crate) struct KeyBook {
    pub(crate) modes: SealModes,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    notices: VecDeque<LinksNotice>,
    /// Links to addresses, which take the key of the address when there is one.
    links: HashMap<SocketAddr, LinkId>,
    sealings: HashMap<SocketAddr, Sealing>,
    keyed: VecDeque<SocketAddr>,
    introductions: Introductions,
    /// Who has proved who it is.
    roles: HashMap<NodeId, Roles>,
}

impl KeyBook {
    pub(crate) fn new(modes: SealModes) -> Self {
        Self { modes, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_notice(&self) -> Option<LinksNotice> {
        self.held().notices.pop_front()
    }

    /// A link that demands a key leads to an address.
    pub(crate) fn want(&self, address: SocketAddr, link: LinkId) {
        let mut held = self.held();
        held.links.insert(address, link);
        held.introductions.link(address);
    }
}

impl RoleSource for KeyBook {
    fn roles_of(&self, node: NodeId) -> Option<Roles> {
        self.held().roles.get(&node).cloned()
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.held().roles.keys().copied().collect()
    }
}

/// What waits for room in the queue of a worker, or of the links.
enum Order {
    Receiver(usize, ReceiverCommand),
    Sender(SenderCommand),
    Links(LinksCommand),
}

/// The task.
pub(crate) struct Keying {
    shared: Weak<Shared>,
    book: Arc<KeyBook>,
    pairs: Pairs,
    orders: VecDeque<Order>,
    /// Sets whose keys were given to receivers and not all taken yet.
    opening: Vec<(NodeId, KeySetId)>,
    look_at_ns: u64,
    roles_changed: bool,
}

impl Shared {
    /// Lets a node with credentials seal its datagrams, and refuse what is not sealed.
    pub(crate) fn attend_keys(self: &Arc<Self>) {
        let Some(book) = self.keys.clone() else { return };
        let own = Offer {
            receivers: u8::try_from(self.receivers()).unwrap_or(u8::MAX),
            has_aes: Cipher::of_this_processor() == Cipher::Aes256Gcm,
        };
        for receiver in 0..self.receivers() {
            // The first command of all: nothing in clear comes before it.
            let _ =
                self.to_receiver(receiver, ReceiverCommand::RequireSealed(book.modes.demands()));
        }
        let notices = Arc::clone(&book);
        let listener = move |notice| notices.held().notices.push_back(notice);
        let _ = self.to_links(LinksCommand::OnNotice(Box::new(listener)));
        let _ = self.roles_from(Arc::clone(&book) as Arc<dyn RoleSource>);
        let mut keying = Keying {
            shared: Arc::downgrade(self),
            book,
            pairs: Pairs::new(own),
            orders: VecDeque::new(),
            opening: Vec::new(),
            look_at_ns: 0,
            roles_changed: false,
        };
        keying.key_self(self);
        let _ = self.add_task(Box::new(keying));
    }

    /// Keeps lines to the members.
    pub(crate) fn meet_members(&self) {
        let (Some(joined), Some(book)) = (self.cluster.joined(), self.keys.clone()) else { return };
        joined.command(MeshCommand::OnMember(Box::new(move |change| {
            let mut held = book.held();
            match change {
                Change::Up(identity) => held.introductions.member(identity.address, true),
                Change::Down(identity) => held.introductions.member(identity.address, false),
                _ => {}
            }
        })));
    }
}

impl Keying {
    /// What this node sends to itself is sealed by keys nobody else has.
    fn key_self(&mut self, shared: &Shared) {
        let secret = Secret::random(Cipher::of_this_processor());
        let slots =
            FIRST_RECEIVER_SLOT.saturating_add(u8::try_from(shared.receivers()).unwrap_or(0));
        let (peer, set, way) = (shared.id(), OWN_SET, Direction::FromDialler);
        self.open((peer, set), &secret, (way.back(), slots), shared.receivers());
        self.seal((peer, shared.address()), (set, &secret, way));
    }

    /// Gives every receiver the keys of a set.
    fn open(
        &mut self,
        (peer, set): (NodeId, KeySetId),
        secret: &Secret,
        (seals, slots): (Direction, u8),
        receivers: usize,
    ) {
        let owners: Vec<Owner> = (0..slots).map(|_| Owner::default()).collect();
        for receiver in 0..receivers {
            let number = u32::try_from(receiver).unwrap_or(u32::MAX);
            let slot = u8::try_from(receiver).unwrap_or(u8::MAX);
            let words = FIRST_RECEIVER_SLOT.saturating_add(slot);
            let opens = seals.back();
            let slots = (0_u8..).zip(&owners);
            let slots = slots.map(|(s, owner)| OpeningKey::new(secret, opens, s).at(number, owner));
            let keys = PeerKeys {
                peer,
                set,
                slots: slots.collect(),
                words: Some(SealingKey::new(secret, seals, set, words)),
            };
            self.orders.push_back(Order::Receiver(receiver, ReceiverCommand::SetKeys(keys.into())));
        }
    }

    /// Datagrams to an address, and control packets, are sealed by a set from now on.
    fn seal(
        &mut self,
        (peer, address): (NodeId, SocketAddr),
        (set, secret, seals): (KeySetId, &Secret, Direction),
    ) {
        let key = |slot| SealingKey::new(secret, seals, set, slot);
        let mut sealing =
            Sealing { peer, sender: Some(key(SENDER_SLOT)), control: key(CONTROL_SLOT) };
        let mut held = self.book.held();
        if let Some(link) = held.links.get(&address) {
            self.orders.extend(seal_link(*link, &mut sealing, self.book.modes));
        }
        held.sealings.insert(address, sealing);
        held.keyed.push_back(address);
    }

    fn forget(&mut self, peer: NodeId, receivers: usize) {
        self.opening.retain(|(of, _)| *of != peer);
        for receiver in 0..receivers {
            let forget = || Order::Receiver(receiver, ReceiverCommand::ForgetPeer(peer));
            self.orders.extend(std::iter::repeat_with(forget).take(SETS_PER_PEER_MAX));
        }
        let mut held = self.book.held();
        let Held { sealings, links, keyed, roles, .. } = &mut *held;
        roles.remove(&peer);
        sealings.retain(|address, sealing| {
            if sealing.peer == peer {
                let link = links.get(address);
                self.orders.extend(link.map(|id| Order::Sender(SenderCommand::TakeKey(*id))));
                keyed.retain(|of| of != address);
            }
            sealing.peer != peer
        });
    }

    fn run(&mut self, shared: &Shared, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Tell { to, note } => {
                    let note = note.into_boxed_slice();
                    self.orders.push_back(Order::Links(LinksCommand::Note { to, note }));
                }
                Action::Open { peer, set, secret, seals, slots } => {
                    self.open((peer, set), &secret, (seals, slots), shared.receivers());
                    self.opening.push((peer, set));
                }
                Action::Seal { peer, address, set, secret, seals } => {
                    self.seal((peer, address), (set, &secret, seals));
                }
                Action::Forget { peer } => self.forget(peer, shared.receivers()),
            }
        }
    }

    fn on_notice(&mut self, shared: &Shared, notice: LinksNotice) {
        let actions = match notice {
            LinksNotice::Authenticated { address, identity, secret, set_id, is_dialler } => {
                let roles = identity.roles.iter().collect();
                let known = self.book.held().roles.insert(identity.node, roles);
                self.roles_changed |= known.as_ref() != self.book.held().roles.get(&identity.node);
                let bytes = Zeroizing::new(secret.0);
                self.pairs.on_line((identity.node, address), (KeySetId(set_id), bytes), is_dialler)
            }
            LinksNotice::Ended { node, .. } => {
                self.roles_changed = true;
                self.pairs.on_end(node).into_iter().collect()
            }
            LinksNotice::Note { from, note } => match note.first() {
                Some(&KEYS_NOTE) => self.pairs.on_note(from.node, &note).unwrap_or_default(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        self.run(shared, actions);
    }

    /// Gives workers what waits for them, in order.
    fn give_orders(&mut self, shared: &Shared) -> usize {
        let before = self.orders.len();
        while let Some(order) = self.orders.pop_front() {
            let refused = match order {
                Order::Receiver(receiver, command) => shared
                    .offer_receiver(receiver, command)
                    .map_err(|command| Order::Receiver(receiver, command)),
                Order::Sender(command) => shared.offer_sender(command).map_err(Order::Sender),
                Order::Links(command) => shared.links.commands.push(command).map_err(Order::Links),
            };
            if let Err(order) = refused {
                self.orders.push_front(order);
                break;
            }
        }
        before - self.orders.len()
    }

    /// Tells peers whose keys every receiver has taken by now.
    fn tell_opened(&mut self, shared: &Shared) {
        if self.opening.is_empty() || !self.orders.is_empty() || !shared.receivers_have_taken() {
            return;
        }
        for (peer, set) in std::mem::take(&mut self.opening) {
            let actions = self.pairs.opens(peer, set);
            self.run(shared, actions);
        }
    }

    /// Keys for links that came after their address had one.
    fn key_links(&mut self) {
        let mut held = self.book.held();
        let Held { sealings, links, .. } = &mut *held;
        for (address, link) in links {
            if let Some(sealing) = sealings.get_mut(address) {
                self.orders.extend(seal_link(*link, sealing, self.book.modes));
            }
        }
    }
}

/// The command that gives a link its key, once.
fn seal_link(link: LinkId, sealing: &mut Sealing, modes: SealModes) -> Option<Order> {
    let seal = LinkSeal { key: sealing.sender.take()?, modes: modes.0 };
    Some(Order::Sender(SenderCommand::SetKey(link, Box::new(seal))))
}

impl Agent for Keying {
    fn name(&self) -> &'static str {
        "keying"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        let Some(shared) = self.shared.upgrade() else { return 0 };
        let mut worked = 0;
        while let Some(notice) = self.book.next_notice() {
            self.on_notice(&shared, notice);
            worked += 1;
        }
        let is_due = now_ns >= self.look_at_ns;
        let news = {
            let introductions = &mut self.book.held().introductions;
            if is_due { introductions.look(now_ns) } else { introductions.news() }
        };
        if is_due {
            self.look_at_ns = now_ns + LOOK_NS;
            if std::mem::take(&mut self.roles_changed) {
                let _ = shared.refresh_access();
            }
        }
        worked += news.len();
        for introduction in news {
            let command = match introduction {
                Introduction::Introduce(address) => LinksCommand::Introduce(address),
                Introduction::Part(address) => LinksCommand::Part(address),
            };
            self.orders.push_back(Order::Links(command));
        }
        self.key_links();
        worked += self.give_orders(&shared);
        self.tell_opened(&shared);
        worked
    }

    fn deadline_ns(&self) -> Option<u64> {
        Some(self.look_at_ns)
    }
}

//! What follows from the authenticated lines of a node with credentials: keys for its datagrams and
//! groups, lists of revocations, roles for its policy.
//!
//! [`Keying`] is a task of the control thread. It gives what links tell to those whose matter it
//! is, all of them sans-IO ([`pairs`], [`introductions`], `group_keys.rs`, `revocations.rs`), and
//! what these want done to workers and links ([`orders`]). [`KeyBook`] is what it shares with other
//! threads. Links of such a node demand a key, so that nothing leaves in clear.

mod book;
mod introductions;
mod orders;
mod pairs;
mod seals;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use wireloom_control::membership::Change;
use wireloom_control::mesh::MeshCommand;
use wireloom_control::{LinksCommand, LinksNotice};
use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::command::ReceiverCommand;
use wireloom_dataplane::counters::Counter;
use wireloom_dataplane::keyring::FIRST_RECEIVER_SLOT;
use wireloom_identity::{Credentials, PublicKey};
use wireloom_seal::{Cipher, Direction, SealingKey, Secret};
use wireloom_wire::{KeySetId, NodeId};
use zeroize::Zeroizing;

pub(crate) use self::book::KeyBook;
use self::introductions::Introduction;
pub(crate) use self::orders::Orders;
use self::pairs::{Action, Offer, Pairs};
pub use self::seals::Protection;
pub(crate) use self::seals::{MeshSeals, SealModes};
use crate::access::RoleSource;
use crate::group_keys::{self, GroupKeys};
use crate::note::{Kind, NoteError, Tell};
use crate::revocations::Revocations;
use crate::shared::Shared;

/// How often trials are ended, changed roles given to the policy, and lists looked at.
const LOOK_NS: u64 = 100_000_000;

/// The key set of what a node sends to itself.
const OWN_SET: KeySetId = KeySetId(1);

/// The task.
struct Keying {
    shared: Weak<Shared>,
    own: NodeId,
    book: Arc<KeyBook>,
    pairs: Pairs,
    groups: GroupKeys,
    /// Keys that no link to a group has taken, and how many have been.
    group_keys: VecDeque<SealingKey>,
    group_keys_taken: usize,
    revocations: Revocations,
    orders: Orders,
    /// Sets whose keys were given to receivers and not all taken yet.
    opening: Vec<(NodeId, KeySetId)>,
    look_at_ns: u64,
    roles_changed: bool,
}

impl Shared {
    /// Lets a node with credentials seal its datagrams, and refuse what is not sealed.
    pub(crate) fn attend_keys(self: &Arc<Self>, credentials: Option<Credentials>) {
        let (Some(credentials), Some(book)) = (credentials, self.keys.clone()) else { return };
        for receiver in 0..self.receivers() {
            // The first command of all: nothing in clear comes before it.
            let demands = ReceiverCommand::RequireSealed(book.modes.demands());
            let _ = self.to_receiver(receiver, demands);
        }
        let cipher = Cipher::of_this_processor();
        let receivers = u8::try_from(self.receivers()).unwrap_or(u8::MAX);
        let random = Box::new(|| Some(wireloom_control::Secret(*Secret::random_bytes())));
        let mut keying = Keying {
            shared: Arc::downgrade(self),
            own: self.id(),
            book: Arc::clone(&book),
            pairs: Pairs::new(Offer { receivers, has_aes: cipher == Cipher::Aes256Gcm }),
            groups: GroupKeys::new(cipher, self.unix_ns(), random),
            group_keys: VecDeque::new(),
            group_keys_taken: 0,
            revocations: Revocations::new(credentials),
            orders: Orders::new(self.receivers()),
            opening: Vec::new(),
            look_at_ns: 0,
            roles_changed: false,
        };
        keying.key_self(self);
        let notices = Arc::clone(&book);
        let listener = move |notice| notices.held().notices.push_back(notice);
        // A control thread that takes neither has ended, and its node with it.
        let _ = self.to_links(LinksCommand::OnNotice(Box::new(listener)));
        let _ = self.roles_from(Arc::clone(&book) as Arc<dyn RoleSource>);
        self.validation.signers_from(book);
        let _ = self.add_task(Box::new(keying));
    }

    /// Keeps lines to the members.
    pub(crate) fn meet_members(&self) {
        let (Some(joined), Some(book)) = (self.cluster.joined(), self.keys.clone()) else { return };
        joined.command(MeshCommand::OnMember(Box::new(move |change| {
            let introductions = &mut book.held().introductions;
            match change {
                Change::Up(identity) => introductions.member(identity.address, true),
                Change::Down(identity) => introductions.member(identity.address, false),
                _ => {}
            }
        })));
    }
}

impl Keying {
    /// What this node sends to itself is sealed by keys nobody else has; of its groups it is a
    /// member as any other.
    fn key_self(&mut self, shared: &Shared) {
        let secret = Secret::random(Cipher::of_this_processor());
        let receivers = u8::try_from(shared.receivers()).unwrap_or(u8::MAX);
        let slots = FIRST_RECEIVER_SLOT.saturating_add(receivers);
        let way = Direction::FromDialler;
        self.orders.open((self.own, OWN_SET), &secret, (way.back(), slots));
        let own = (self.own, shared.address());
        self.orders.seal(own, (OWN_SET, &secret, way), &self.book);
        let now_ns = shared.clock().now_ns();
        let actions = self.groups.on_authenticated(self.own, now_ns);
        self.run_groups(shared, actions, now_ns);
    }

    fn tell(&mut self, shared: &Shared, tell: Tell, now_ns: u64) {
        if tell.to == self.own {
            let heard = self.hear(shared, self.own, &tell.note, now_ns);
            count_refused(shared, &heard);
        } else {
            self.orders.tell(tell);
        }
    }

    fn run(&mut self, shared: &Shared, actions: Vec<Action>, now_ns: u64) {
        for action in actions {
            match action {
                Action::Tell(tell) => self.tell(shared, tell, now_ns),
                Action::Open { peer, set, secret, seals, slots } => {
                    self.orders.open((peer, set), &secret, (seals, slots));
                    self.opening.push((peer, set));
                }
                Action::Seal { peer, address, set, secret, seals } => {
                    self.orders.seal((peer, address), (set, &secret, seals), &self.book);
                }
                Action::Forget { peer } => {
                    self.opening.retain(|(of, _)| *of != peer);
                    self.orders.forget(peer, &self.book);
                }
            }
        }
    }

    fn run_groups(&mut self, shared: &Shared, actions: Vec<group_keys::Action>, now_ns: u64) {
        for action in actions {
            match action {
                group_keys::Action::Tell(tell) => self.tell(shared, tell, now_ns),
                group_keys::Action::Open(opening) => self.orders.open_group(&opening),
                group_keys::Action::Forget { peer, set } => self.orders.forget_set(peer, set),
                group_keys::Action::SealGroups(keys) => {
                    (self.group_keys, self.group_keys_taken) = (keys.into(), 0);
                }
            }
        }
    }

    /// A peer has said something.
    fn hear(
        &mut self,
        shared: &Shared,
        peer: NodeId,
        note: &[u8],
        now_ns: u64,
    ) -> Result<(), NoteError> {
        let (kind, said) = Kind::of(note).ok_or(NoteError::Unknown)?;
        match kind {
            Kind::Epoch | Kind::List => {
                let tells = self.revocations.on_note(peer, (kind, said), now_ns)?;
                tells.into_iter().for_each(|tell| self.orders.tell(tell));
            }
            Kind::Keys | Kind::Had => {
                let actions = self.groups.on_note(peer, (kind, said), now_ns)?;
                self.run_groups(shared, actions, now_ns);
            }
            Kind::Offer | Kind::Opens => {
                let actions = self.pairs.on_note(peer, (kind, said))?;
                self.run(shared, actions, now_ns);
            }
        }
        Ok(())
    }

    fn on_notice(&mut self, shared: &Shared, notice: LinksNotice, now_ns: u64) {
        match notice {
            LinksNotice::Authenticated { address, identity, secret, set_id, is_dialler } => {
                let node = identity.node;
                let proved = (identity.roles.iter().collect(), PublicKey(identity.public_key));
                let known = self.book.held().proved.insert(node, proved.clone());
                self.roles_changed |= known.is_none_or(|known| known != proved);
                let secret = (KeySetId(set_id), Zeroizing::new(secret.0));
                let actions = self.pairs.on_line((node, address), secret, is_dialler);
                self.run(shared, actions, now_ns);
                let actions = self.groups.on_authenticated(node, now_ns);
                self.run_groups(shared, actions, now_ns);
                let tells = self.revocations.on_authenticated(node);
                tells.into_iter().for_each(|tell| self.orders.tell(tell));
            }
            LinksNotice::Ended { node, .. } | LinksNotice::Distrusted { node, .. } => {
                self.roles_changed = true;
                let actions = self.pairs.on_end(node).into_iter().collect();
                self.run(shared, actions, now_ns);
                let actions = self.groups.on_part(node, now_ns);
                self.run_groups(shared, actions, now_ns);
                self.revocations.on_part(node);
            }
            LinksNotice::Note { from, note } => {
                let heard = self.hear(shared, from.node, &note, now_ns);
                count_refused(shared, &heard);
            }
            _ => {}
        }
    }

    /// Tells peers whose keys every receiver has taken by now.
    fn tell_opened(&mut self, shared: &Shared, now_ns: u64) {
        if self.opening.is_empty() || !self.orders.is_empty() || !shared.receivers_have_taken() {
            return;
        }
        for (peer, set) in std::mem::take(&mut self.opening) {
            let actions = self.pairs.opens(peer, set);
            self.run(shared, actions, now_ns);
        }
    }

    /// Keys for links to groups that have none of the newest.
    fn key_groups(&mut self, shared: &Shared, now_ns: u64) {
        let links = self.book.held().groups.len();
        let actions = self.groups.set_groups(links, now_ns);
        self.run_groups(shared, actions, now_ns);
        let before = self.group_keys.len();
        self.orders.seal_groups(&mut self.group_keys, self.group_keys_taken, &self.book);
        self.group_keys_taken += before - self.group_keys.len();
    }

    /// What is looked at now and then.
    fn look(&mut self, shared: &Shared, now_ns: u64) {
        self.look_at_ns = now_ns + LOOK_NS;
        if std::mem::take(&mut self.roles_changed) {
            let _ = shared.refresh_access();
        }
        let tells = self.revocations.poll(now_ns);
        tells.into_iter().for_each(|tell| self.orders.tell(tell));
        if let Some(fault) = self.revocations.unsaved() {
            shared.books().notes.push(format!("a list of revocations is in effect: {fault}"));
        }
    }

    /// Tells the links whom to keep a line to.
    fn introduce(&mut self, news: Vec<Introduction>) {
        for introduction in news {
            self.orders.links(match introduction {
                Introduction::Introduce(address) => LinksCommand::Introduce(address),
                Introduction::Part(address) => LinksCommand::Part(address),
            });
        }
    }
}

/// The links run on this thread: their counters have one writer.
fn count_refused(shared: &Shared, heard: &Result<(), NoteError>) {
    shared.links.counters.add(Counter::NotesRefused, u64::from(heard.is_err()));
}

impl Agent for Keying {
    fn name(&self) -> &'static str {
        "keying"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        let Some(shared) = self.shared.upgrade() else { return 0 };
        let mut worked = 0;
        while let Some(notice) = self.book.next_notice() {
            self.on_notice(&shared, notice, now_ns);
            worked += 1;
        }
        let is_due = now_ns >= self.look_at_ns;
        let news = {
            let introductions = &mut self.book.held().introductions;
            if is_due { introductions.look(now_ns) } else { introductions.news() }
        };
        self.introduce(news);
        if is_due {
            self.look(&shared, now_ns);
        }
        if now_ns >= self.groups.deadline_ns() {
            let actions = self.groups.poll(now_ns);
            self.run_groups(&shared, actions, now_ns);
        }
        self.orders.key_links(&self.book);
        self.key_groups(&shared, now_ns);
        worked += self.orders.give(&shared);
        self.tell_opened(&shared, now_ns);
        worked
    }

    fn deadline_ns(&self) -> Option<u64> {
        Some(self.look_at_ns.min(self.groups.deadline_ns()))
    }
}

//! What types say of their events, asked by id where only a type's name is at hand: by
//! dynamic events and by explanations. Kept in the node's books; no event of a Rust type comes
//! here. Of what each dynamic event asks, a router has a copy ([`SignedTypes`]).

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use wireloom_wire::{EventTypeId, Priority};

use crate::event::Event;
use crate::events;
use crate::select::Asked;
use crate::shared::Shared;

/// What a Rust type says of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) priority: Priority,
    pub(crate) multicast: Option<&'static str>,
    pub(crate) is_signed: bool,
}

impl Attributes {
    pub(crate) const fn of<E: Event>() -> Self {
        Self { priority: E::PRIORITY, multicast: E::MULTICAST, is_signed: E::SIGNED }
    }

    /// Those of the ready-made type with this id.
    fn ready_made(id: EventTypeId) -> Option<Self> {
        let codec = events::codecs().into_iter().find(|codec| codec.type_id() == id)?;
        // None of them is signed.
        let (priority, multicast) = (codec.priority(), codec.multicast());
        Some(Self { priority, multicast, is_signed: false })
    }
}

/// A router's copy of which types are signed, of those its node has met. An event asks without a
/// lock: one relaxed load, and a look into a list that is empty in most nodes.
///
/// Beside the plans and not in them: a node may meet a type after the plan for its events was made,
/// and a target with an address has no plan.
#[derive(Debug, Default)]
pub(crate) struct SignedTypes {
    /// That of the node when the copy was made.
    generation: u64,
    /// In order.
    ids: Box<[EventTypeId]>,
}

impl SignedTypes {
    /// Whether the node has met the type as one whose events are signed.
    #[inline]
    pub(crate) fn contains(&mut self, shared: &Shared, id: EventTypeId) -> bool {
        if shared.signed_generation.load(Ordering::Relaxed) != self.generation {
            self.renew(shared);
        }
        self.ids.binary_search(&id).is_ok()
    }

    #[cold]
    fn renew(&mut self, shared: &Shared) {
        let books = shared.books();
        // Moved under this lock: the number belongs to the list.
        self.generation = shared.signed_generation.load(Ordering::Relaxed);
        let signed = books.schemas.attributes.iter().filter(|(_, of)| of.is_signed);
        let mut ids: Vec<EventTypeId> = signed.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        self.ids = ids.into();
    }
}

impl Shared {
    /// Remembers what a type says of itself, in the books that are given. Whoever sees the new
    /// number finds the type behind their lock.
    pub(crate) fn know_attributes<E: Event>(&self, of: &mut HashMap<EventTypeId, Attributes>) {
        let before = of.insert(E::TYPE_ID, Attributes::of::<E>());
        if before.is_some_and(|before| before.is_signed) != E::SIGNED {
            self.signed_generation.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What a type says of itself, where this node has met it or it is a ready-made one.
    pub(crate) fn attributes(&self, id: EventTypeId) -> Option<Attributes> {
        let met = self.books().schemas.attributes.get(&id).copied();
        met.or_else(|| Attributes::ready_made(id))
    }

    /// What is asked, with what the node knows of a type of which only the name was.
    pub(crate) fn complete<'a>(&self, asked: &Asked<'a>) -> Asked<'a> {
        let known = || self.attributes(asked.id)?.multicast;
        let multicast = if asked.by_name { known() } else { asked.multicast };
        Asked { multicast, ..*asked }
    }
}

//! What types say of their events, asked by id where only a type's name is at hand: by
//! dynamic events and by explanations. Kept in the node's books; no event of a Rust type comes
//! here.

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

impl Shared {
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

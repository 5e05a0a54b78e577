//! Phase 2: which legacy names have become typed events, and how one form becomes the other.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wireloom_wire::{EventTypeId, Fingerprint, Priority};

use super::shape::{MessageError, checked_name};
use crate::decode::{access, to_owned};
use crate::event::Event;
use crate::json::reason;
use crate::node::Node;
use crate::outcome::{Accepted, Refused, SubscribeError};
use crate::router::Router;
use crate::target::Target;

/// How many names one mapping has at most.
pub const MAPPINGS_MAX: usize = 1_000;

/// Why a mapping is none; told when the events are started with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// No event can have this name.
    #[error(transparent)]
    Name(#[from] MessageError),
    /// A name or a type is there twice, so that one event would come twice.
    #[error("{0:?} is mapped twice: each name has one type, and each type one name")]
    Twice(String),
    /// More than [`MAPPINGS_MAX`].
    #[error("a mapping has at most {MAPPINGS_MAX} names")]
    Full,
}

/// Why a legacy event did not become a typed one, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event {name:?} is no {typed}: {reason}")]
pub struct Unfit {
    /// The legacy name.
    pub name: String,
    /// The typed event's type.
    pub typed: &'static str,
    /// What does not fit.
    pub reason: String,
}

pub(super) enum NotRouted {
    Unfit(Unfit),
    Refused(Refused),
}

type Route = dyn Fn(&mut Router, &Value, &Target) -> Result<Accepted, NotRouted> + Send + Sync;
type DataOf = dyn Fn(&[u8]) -> Result<Value, Unfit> + Send + Sync;

/// One name and its type.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) typed: &'static str,
    pub(super) type_id: EventTypeId,
    pub(super) fingerprint: Fingerprint,
    pub(super) priority: Priority,
    /// Its wrapper is no longer sent.
    pub(super) moved: bool,
    pub(super) route: Box<Route>,
    pub(super) data_of: Box<DataOf>,
    pub(super) register: fn(&Node) -> Result<(), SubscribeError>,
}

/// Which legacy names are typed events now. A name that is [mapped](Mapping::map) travels in both
/// forms, so that nodes of phase 1 still hear it; one that has [moved](Mapping::moved) travels as
/// the typed event alone, and listeners of its name still hear it wherever the mapping is.
///
/// ```
/// use wireloom::{Event, jtag::Mapping};
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[derive(serde::Serialize, serde::Deserialize)]
/// #[event(type = "chat-said", priority = "high")]
/// struct ChatSaid { text: String }
///
/// let mapping = Mapping::new().map::<ChatSaid>("chat:said");
/// # let _ = mapping;
/// ```
#[derive(Default)]
pub struct Mapping {
    entries: Vec<Entry>,
    fault: Option<MappingError>,
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.entries.iter().map(|entry| (&entry.name, entry.typed))).finish()
    }
}

impl Mapping {
    /// Nothing is mapped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Legacy events of this name are events of type `E` and the other way round; their data is the
    /// JSON form of `E`. Both forms travel.
    #[must_use]
    pub fn map<E>(self, name: &str) -> Self
    where
        E: Event + Serialize + DeserializeOwned,
    {
        self.map_with::<E>(name, typed_of, data_of)
    }

    /// As [`Mapping::map`], for data that is not the JSON form of `E`: `typed` reads it and `data`
    /// writes it, each with a reason when it cannot.
    #[must_use]
    pub fn map_with<E>(
        mut self,
        name: &str,
        typed: impl Fn(&Value) -> Result<E, String> + Send + Sync + 'static,
        data: impl Fn(&E) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self
    where
        E: Event + Serialize + DeserializeOwned,
    {
        let fault = if let Err(error) = checked_name("the event's name", name) {
            Some(error.into())
        } else if self.entries.len() >= MAPPINGS_MAX {
            Some(MappingError::Full)
        } else {
            let twice = |entry: &&Entry| entry.name == name || entry.typed == E::TYPE;
            self.entries.iter().find(twice).map(|_| MappingError::Twice(name.to_owned()))
        };
        if fault.is_some() {
            self.fault = self.fault.or(fault);
            return self;
        }
        let unfit = |name: &str, reason| Unfit { name: name.to_owned(), typed: E::TYPE, reason };
        let (here, there) = (name.to_owned(), name.to_owned());
        self.entries.push(Entry {
            name: name.to_owned(),
            typed: E::TYPE,
            type_id: E::TYPE_ID,
            fingerprint: E::FINGERPRINT32,
            priority: E::PRIORITY,
            moved: false,
            route: Box::new(move |router, value, target| {
                let event =
                    typed(value).map_err(|reason| NotRouted::Unfit(unfit(&here, reason)))?;
                router.route(&event, target).map_err(NotRouted::Refused)
            }),
            data_of: Box::new(move |payload| {
                let event = access::<E>(payload).and_then(to_owned::<E>);
                let event = event.map_err(|error| unfit(&there, error.to_string()))?;
                data(&event).map_err(|reason| unfit(&there, reason))
            }),
            register: Node::register_json::<E>,
        });
        self
    }

    /// As [`Mapping::map`], once every node has the mapping: the wrapper is no longer sent, and
    /// costs nothing.
    #[must_use]
    pub fn moved<E>(self, name: &str) -> Self
    where
        E: Event + Serialize + DeserializeOwned,
    {
        let before = self.entries.len();
        let mut mapping = self.map::<E>(name);
        if let Some(entry) = mapping.entries.get_mut(before) {
            entry.moved = true;
        }
        mapping
    }

    pub(super) fn checked(self) -> Result<Vec<Entry>, MappingError> {
        self.fault.map_or(Ok(self.entries), Err)
    }
}

fn typed_of<E: DeserializeOwned>(data: &Value) -> Result<E, String> {
    E::deserialize(data).map_err(|error| reason(&error))
}

fn data_of<E: Serialize>(event: &E) -> Result<Value, String> {
    serde_json::to_value(event).map_err(|error| reason(&error))
}

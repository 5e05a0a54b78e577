//! Phase 2: which legacy names have become typed events, and how one form becomes the other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wireloom_wire::{Encoding, EventTypeId, Priority};

use super::listeners::words;
use super::shape::{self, MessageError, checked_name};
use crate::event::{Event, read};
use crate::json::reason;
use crate::node::Node;
use crate::outcome::{Accepted, Refused, SubscribeError};
use crate::router::Router;
use crate::subscriber::AnyEvent;
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
/// The data of a frame's event; `None` when its schema is not one that the type can be made from.
type DataOf = dyn Fn(&AnyEvent<'_>) -> Option<Result<Value, Unfit>> + Send + Sync;

/// One name and its type.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) typed: &'static str,
    pub(super) type_id: EventTypeId,
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
            priority: E::PRIORITY,
            moved: false,
            route: Box::new(move |router, value, target| {
                let event = guarded(|| typed(value))
                    .map_err(|reason| NotRouted::Unfit(unfit(&here, reason)))?;
                router.route(&event, target).map_err(NotRouted::Refused)
            }),
            data_of: Box::new(move |frame| {
                let data = guarded(|| {
                    let event = typed_in::<E>(frame).transpose()?;
                    event.map(|event| data(&event)).transpose()
                });
                data.map_err(|reason| unfit(&there, reason)).transpose()
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

/// What `convert` says, or that it panicked: it is the user's, and must not take others with it.
fn guarded<T>(convert: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(convert))
        .unwrap_or_else(|panic| Err(format!("the conversion panicked: {}", words(&*panic))))
}

fn typed_of<E: DeserializeOwned>(data: &Value) -> Result<E, String> {
    E::deserialize(data).map_err(|error| reason(&error))
}

/// The event in a frame: an archive of the type or of an older version, or its JSON.
fn typed_in<E: Event + DeserializeOwned>(frame: &AnyEvent<'_>) -> Option<Result<E, String>> {
    match frame.encoding() {
        Encoding::Rkyv => {
            let event = read::<E>(frame.fingerprint(), frame.payload())?;
            Some(event.map_err(|error| error.to_string()))
        }
        Encoding::Json => Some(match shape::checked(frame.payload()) {
            Ok(text) => serde_json::from_str(text).map_err(|error| reason(&error)),
            Err(error) => Err(error.to_string()),
        }),
        Encoding::Raw => None,
    }
}

fn data_of<E: Serialize>(event: &E) -> Result<Value, String> {
    serde_json::to_value(event).map_err(|error| reason(&error))
}

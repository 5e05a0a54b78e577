//! The JSON Schemas that a node holds dynamic events against, at its edges: where a caller gives
//! JSON, where JSON is made an archive, where a subscriber takes JSON on its own thread. Never on
//! a worker.
//!
//! What a schema is, [`PayloadSchema`] leaves to whoever implements it: the crate
//! `wireloom-schema`.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use wireloom_wire::{EventTypeId, event_type_id};

use super::{Reason, ValidationResult};
use crate::builder::NodeBuilder;
use crate::node::Node;

/// A node holds events against so many schemas at most.
pub const SCHEMAS_MAX: usize = 1_024;

/// What the JSON of an event type must be like.
///
/// `wireloom_schema::Schema` is a JSON Schema; a check of one's own is another. It is called on
/// callers' threads and on the control thread, so it must end soon whatever the text is.
pub trait PayloadSchema: fmt::Debug + Send + Sync {
    /// Whether the text, which is JSON, is as it must be.
    ///
    /// # Errors
    /// The first fault.
    fn check(&self, json: &[u8]) -> Result<(), SchemaFault>;
}

/// Where a payload is not as its schema says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} at {}: {reason}", Reason::SchemaValidationFailed, place(.path))]
pub struct SchemaFault {
    /// The first value that is wrong, as a JSON pointer (RFC 6901); empty for the whole.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

fn place(path: &str) -> &str {
    if path.is_empty() { "the whole" } else { path }
}

impl From<&SchemaFault> for ValidationResult {
    fn from(_: &SchemaFault) -> Self {
        Reason::SchemaValidationFailed.into()
    }
}

/// The node has no room for a further schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this node has its {SCHEMAS_MAX} schemas already")]
pub struct SchemasExhausted;

/// The schemas of a node, by the type's id. Every lock is on the way of JSON alone.
#[derive(Debug, Default)]
pub(crate) struct SchemaBook {
    /// Whether there is one at all.
    any: AtomicBool,
    schemas: RwLock<HashMap<EventTypeId, Arc<dyn PayloadSchema>>>,
}

impl SchemaBook {
    /// The schemas that a node starts with: as many as there may be.
    pub(crate) fn begin(&self, schemas: Vec<(String, Arc<dyn PayloadSchema>)>) {
        for (name, schema) in schemas {
            let _ = self.exchange(event_type_id(&name), Some(schema));
        }
    }

    fn exchange(
        &self,
        event_type: EventTypeId,
        schema: Option<Arc<dyn PayloadSchema>>,
    ) -> Result<Option<Arc<dyn PayloadSchema>>, SchemasExhausted> {
        let mut schemas = self.schemas.write().unwrap_or_else(PoisonError::into_inner);
        let before = match schema {
            None => schemas.remove(&event_type),
            Some(_) if schemas.len() >= SCHEMAS_MAX && !schemas.contains_key(&event_type) => {
                return Err(SchemasExhausted);
            }
            Some(schema) => schemas.insert(event_type, schema),
        };
        self.any.store(!schemas.is_empty(), Ordering::Release);
        Ok(before)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    /// Whether the JSON of a type is as it must be; it is where nobody said how. One load then. A
    /// check that panics has found a fault.
    pub(crate) fn check(&self, event_type: EventTypeId, json: &[u8]) -> Result<(), SchemaFault> {
        if self.is_empty() {
            return Ok(());
        }
        let schema = {
            let schemas = self.schemas.read().unwrap_or_else(PoisonError::into_inner);
            schemas.get(&event_type).cloned()
        };
        let Some(schema) = schema else { return Ok(()) };
        catch_unwind(AssertUnwindSafe(|| schema.check(json))).unwrap_or_else(|_| {
            Err(SchemaFault { path: String::new(), reason: "its check panicked".to_owned() })
        })
    }
}

impl NodeBuilder {
    /// Holds the JSON of dynamic events of this type against a schema, as [`Node::json_schema`]
    /// does, from the start.
    #[must_use]
    pub fn json_schema(mut self, event_type: &str, schema: Arc<dyn PayloadSchema>) -> Self {
        self.setup.checks.schemas.push((event_type.to_owned(), schema));
        self
    }
}

impl Node {
    /// Holds the JSON of dynamic events of this type against a schema from now on, or against none;
    /// gives the one before. The name may be that of a legacy event too
    /// ([`jtag`](crate::jtag)), whose data is meant then.
    ///
    /// Checked are events that this node routes by [`Router::route_json`](crate::Router) (the
    /// caller is told by [`Refused::Schema`](crate::Refused)), those that come in and are made what
    /// typed handlers read, those that subscribers of any type take, and legacy events. Archives
    /// are not: their types are their schemas. What came in and is refused is counted as
    /// `events_refused_json_schema`.
    ///
    /// # Errors
    /// [`SchemasExhausted`] beyond [`SCHEMAS_MAX`].
    pub fn json_schema(
        &self,
        event_type: &str,
        schema: Option<Arc<dyn PayloadSchema>>,
    ) -> Result<Option<Arc<dyn PayloadSchema>>, SchemasExhausted> {
        self.shared.validation.schemas.exchange(event_type_id(event_type), schema)
    }
}

//! What a node checks events by, and its account of those that were refused away from the workers:
//! the control thread's and the subscribers' threads'.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wireloom_dataplane::counters::CounterMeaning;
use wireloom_identity::Credentials;
use wireloom_wire::EventTypeId;

use super::schemas::{PayloadSchema, SCHEMAS_MAX, SchemaBook, SchemaFault, SchemasExhausted};
use super::verify::{SignerKeys, Signers};

/// What a node starts with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checks {
    /// What the JSON of types is held against.
    pub(crate) schemas: Vec<(String, Arc<dyn PayloadSchema>)>,
    /// Who signs its events.
    pub(crate) signer: Option<Credentials>,
}

impl Checks {
    /// Whether a node has room for all of it.
    pub(crate) fn check(&self) -> Result<(), SchemasExhausted> {
        if self.schemas.len() > SCHEMAS_MAX { Err(SchemasExhausted) } else { Ok(()) }
    }
}

/// Of a node, shared by all who check.
#[derive(Debug, Default)]
pub(crate) struct ValidationBook {
    pub(crate) schemas: SchemaBook,
    pub(crate) by_schema: Account,
    /// Who this node is, where it can sign.
    pub(crate) signer: OnceLock<Credentials>,
    pub(crate) keys: Signers,
    pub(crate) by_signature: Account,
}

/// Events refused for one reason.
#[derive(Debug, Default)]
pub(crate) struct Account {
    refused: AtomicU64,
    last: Mutex<Option<String>>,
}

impl Account {
    pub(crate) fn refuse(&self, why: String) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    pub(crate) fn last(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) static SCHEMA_REFUSED: CounterMeaning = CounterMeaning {
    name: "events_refused_json_schema",
    unit: "events",
    meaning: "Dynamic (JSON) events that came in and are not as the JSON Schema of their type \
              says.",
};

pub(super) static SIGNATURE_REFUSED: CounterMeaning = CounterMeaning {
    name: "events_refused_signature",
    unit: "events",
    meaning: "Events of signed types from other nodes without a signature of their source: \
              unsigned, changed on the way, or of a node whose key is not known here.",
};

impl ValidationBook {
    /// Says who knows by which keys other nodes sign.
    pub(crate) fn signers_from(&self, source: Arc<dyn SignerKeys>) {
        self.keys.know(source);
    }

    /// Begins with what the node was given: no more than there may be.
    pub(crate) fn begin(&self, checks: Checks) {
        self.schemas.begin(checks.schemas);
        if let Some(signer) = checks.signer {
            let _ = self.signer.set(signer);
        }
    }

    /// The accounts with the counters they are shown as.
    pub(super) fn accounts(&self) -> [(&'static CounterMeaning, &Account); 2] {
        [(&SCHEMA_REFUSED, &self.by_schema), (&SIGNATURE_REFUSED, &self.by_signature)]
    }

    /// The counters that are not 0.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&'static CounterMeaning, u64)> {
        let refused =
            self.accounts().map(|(of, account)| (of, account.refused.load(Ordering::Relaxed)));
        refused.into_iter().filter(|(_, refused)| *refused > 0)
    }

    /// Checks JSON that came in; what is refused is counted here.
    pub(crate) fn check_json(
        &self,
        (event_type, name): (EventTypeId, Option<&str>),
        json: &[u8],
    ) -> Result<(), SchemaFault> {
        self.schemas.check(event_type, json).inspect_err(|fault| {
            let id = || format!("{:08x}", event_type.0);
            let name = name.map_or_else(id, str::to_owned);
            self.by_schema.refuse(format!("{name}: {fault}"));
        })
    }
}

/// As the parts of a node hold it.
pub(crate) type Validations = Arc<ValidationBook>;

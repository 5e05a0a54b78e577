//! JSON Schemas for dynamic events: what a [`wireloom::Node`] holds JSON against at its edges.
//!
//! A crate of its own because what checks JSON Schema brings some fifty crates with it, and most
//! nodes read no JSON. Nothing is fetched, neither from the network nor from files: a document
//! refers to itself alone. Whatever document and event are, a check ends in bounded time and stack.
//!
//! ```
//! use std::sync::Arc;
//! use wireloom::{Node, Priority, Refused, Target};
//! use wireloom_schema::Schema;
//!
//! let schema = Schema::parse(r#"{
//!     "type": "object",
//!     "properties": { "celsius": { "type": "number", "minimum": -273.15 } },
//!     "required": ["celsius"]
//! }"#)?;
//! let node = Node::builder("greenhouse").json_schema("reading", Arc::new(schema)).start()?;
//! let cold = node.router().route_json("reading", Priority::Normal, b"{\"celsius\":-300}",
//!     &Target::Local);
//! let Err(Refused::Schema(fault)) = cold else { panic!("it is colder than can be") };
//! assert_eq!(fault.path, "/celsius");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The schema of a registered Rust type is at hand: `json::schema::<E>()` of wireloom, with its
//! feature `json-schema`, gives the text for [`Schema::parse`].
#![forbid(unsafe_code)]

mod cost;
mod document;

use std::fmt;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use wireloom::{PayloadSchema, SchemaFault};

pub use document::{
    DEPTH_MAX, DOCUMENT_BYTES_MAX, IN_PLACE_MAX, PATTERNS_MAX, SchemaDocumentError,
};

use cost::Costs;

/// A compiled regular expression takes so many bytes at most.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// Evaluations of a subschema that one check may take: a fifth of a second.
const EVALUATIONS_MAX: u64 = 4_000_000;

/// Values nest so deep at most; what is deeper is refused.
pub const VALUE_DEPTH_MAX: usize = 32;

/// A JSON Schema, compiled once. Drafts 4 to 2020-12, as its `$schema` says, otherwise 2020-12;
/// `format` says nothing. Checking an event of a few fields takes some microseconds, most of it
/// the reading of the JSON.
pub struct Schema {
    validator: Validator,
    costs: Costs,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("draft", &self.validator.draft()).finish_non_exhaustive()
    }
}

impl Schema {
    /// Compiles a document.
    ///
    /// # Errors
    /// [`SchemaDocumentError`]: longer, deeper or with more patterns than may be, a reference that
    /// leaves it, a pattern that is none or cannot be searched in linear time, no schema.
    pub fn compile(document: &Value) -> Result<Self, SchemaDocumentError> {
        let costs = document::check(document)?;
        let patterns =
            PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let options = jsonschema::options()
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(patterns);
        let validator = options.build(document).map_err(|error| {
            let place = error.instance_path().as_str().to_owned();
            SchemaDocumentError::NoSchema { place, reason: shortened(&error.to_string()) }
        })?;
        Ok(Self { validator, costs })
    }

    /// Compiles the text of a document.
    ///
    /// # Errors
    /// As [`Schema::compile`], and that it is no JSON.
    pub fn parse(text: &str) -> Result<Self, SchemaDocumentError> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(SchemaDocumentError::TooLong(text.len()));
        }
        let document = serde_json::from_str(text).map_err(|error| {
            SchemaDocumentError::NoSchema { place: String::new(), reason: error.to_string() }
        })?;
        Self::compile(&document)
    }

    /// Whether a value is as the schema says.
    ///
    /// # Errors
    /// The first fault, or that finding out would take too long.
    pub fn check(&self, value: &Value) -> Result<(), SchemaFault> {
        let (values, depth) = document::extent(value);
        let evaluations = self.costs.of_depth(depth).map(|each| each.saturating_mul(values));
        if evaluations.is_none_or(|evaluations| evaluations > EVALUATIONS_MAX) {
            let reason = format!("{values} values, {depth} deep, are more than is looked through");
            return Err(SchemaFault { path: String::new(), reason });
        }
        self.validator.validate(value).map_err(|error| SchemaFault {
            path: shortened(error.instance_path().as_str()),
            reason: shortened(&error.masked().to_string()),
        })
    }
}

impl PayloadSchema for Schema {
    fn check(&self, json: &[u8]) -> Result<(), SchemaFault> {
        let value = serde_json::from_slice(json)
            .map_err(|error| SchemaFault { path: String::new(), reason: error.to_string() })?;
        Self::check(self, &value)
    }
}

/// A text that may hold names from outside as it may be shown: control characters escaped, cut
/// after 200 bytes.
fn shortened(text: &str) -> String {
    let mut shown = String::new();
    for one in text.chars() {
        if shown.len() >= 200 {
            shown.push('…');
            break;
        }
        if one.is_control() { shown.extend(one.escape_unicode()) } else { shown.push(one) }
    }
    shown
}

//! Whether a document may be compiled: how long, how deep, how many patterns, and where its
//! references lead. Pure; the cost of checks comes from the same walk.

use std::collections::HashMap;

use serde_json::Value;

use crate::VALUE_DEPTH_MAX;
use crate::cost::{Costs, Walk};

/// A document has so many bytes at most, as compact JSON.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// It nests so deep at most.
pub const DEPTH_MAX: usize = 32;

/// So many references and combinations may lead from one subschema to the next for one value.
pub const IN_PLACE_MAX: usize = 32;

/// It has so many regular expressions at most.
pub const PATTERNS_MAX: usize = 64;

/// Why a document was not compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaDocumentError {
    /// It is too long.
    #[error("the schema has {0} bytes, at most {DOCUMENT_BYTES_MAX} are read: split it by type")]
    TooLong(usize),
    /// It nests too deep.
    #[error("the schema nests deeper than {DEPTH_MAX}: name its parts in $defs")]
    TooDeep,
    /// It has too many patterns.
    #[error("the schema has {0} patterns, at most {PATTERNS_MAX} are compiled")]
    TooManyPatterns(usize),
    /// A reference that leads out of the document: nothing is fetched.
    #[error("{place}: the reference {to:?} leads out of the schema, and nothing is fetched")]
    Reference {
        /// Where it stands.
        place: String,
        /// Where it leads.
        to: String,
    },
    /// A part with a name of its own, which moves where references lead.
    #[error("{0}: a part of a schema has no $id of its own here")]
    Inner(String),
    /// A reference that leads to nothing.
    #[error("the reference {0:?} leads to nothing")]
    Dangling(String),
    /// References that lead to themselves, or too far, without going into the value.
    #[error("{0}: it leads to itself, or through more than {IN_PLACE_MAX} others, for one value")]
    Endless(String),
    /// It is no JSON Schema, or a pattern in it is none.
    #[error("no JSON Schema at {place:?}: {reason}")]
    NoSchema {
        /// Where in the document.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

/// How many values there are in one, and how deep they nest (1 for a value without parts).
pub(crate) fn extent(value: &Value) -> (u64, usize) {
    let parts: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => return (1, 1),
    };
    parts
        .map(extent)
        .fold((1, 1), |(sum, most), (values, depth)| (sum + values, most.max(depth + 1)))
}

/// The document's parts by what refers to them.
pub(crate) type Anchors<'a> = HashMap<&'a str, &'a Value>;

/// Checks a document; gives what checks by it cost.
pub(crate) fn check(document: &Value) -> Result<Costs, SchemaDocumentError> {
    if extent(document).1 > DEPTH_MAX {
        return Err(SchemaDocumentError::TooDeep);
    }
    let bytes = document.to_string().len();
    if bytes > DOCUMENT_BYTES_MAX {
        return Err(SchemaDocumentError::TooLong(bytes));
    }
    let (mut anchors, mut patterns) = (Anchors::new(), 0);
    look(document, "", &mut anchors, &mut patterns)?;
    if patterns > PATTERNS_MAX {
        return Err(SchemaDocumentError::TooManyPatterns(patterns));
    }
    Walk::new(document, anchors).costs(VALUE_DEPTH_MAX)
}

/// Looks at every object: references, names, patterns. Also where they mean nothing, as in an
/// example: that is refused rather than told apart.
fn look<'a>(
    value: &'a Value,
    place: &str,
    anchors: &mut Anchors<'a>,
    patterns: &mut usize,
) -> Result<(), SchemaDocumentError> {
    if let Value::Array(items) = value {
        return items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| look(item, &format!("{place}/{at}"), anchors, patterns));
    }
    let Value::Object(fields) = value else { return Ok(()) };
    for (name, field) in fields {
        let inner = format!("{place}/{name}");
        match (name.as_str(), field) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to))
                if !to.starts_with('#') =>
            {
                return Err(SchemaDocumentError::Reference { place: inner, to: to.clone() });
            }
            ("$id" | "id", Value::String(_)) if !place.is_empty() => {
                return Err(SchemaDocumentError::Inner(place.to_owned()));
            }
            ("$anchor" | "$dynamicAnchor", Value::String(anchor)) => {
                anchors.insert(anchor, value);
            }
            ("pattern", Value::String(_)) => *patterns += 1,
            ("patternProperties", Value::Object(of)) => *patterns += of.len(),
            _ => {}
        }
        look(field, &inner, anchors, patterns)?;
    }
    Ok(())
}

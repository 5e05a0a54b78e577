//! How many evaluations of subschemas one value can take, by how deep it nests: an upper bound,
//! from the document alone.
//!
//! A combination is evaluated for the value itself, so its parts add up; a property goes to one
//! part of the value, so the dearest of them counts. A schema that tries two ways into the same
//! part, again and again, doubles with each level: that is what the bound is for.

use std::collections::HashMap;

use serde_json::Value;

use crate::document::{Anchors, IN_PLACE_MAX, SchemaDocumentError};

/// The bound by depth, from 0.
#[derive(Debug)]
pub(crate) struct Costs(Vec<u64>);

impl Costs {
    /// Of one value that nests so deep; `None` beyond what may be.
    pub(crate) fn of_depth(&self, depth: usize) -> Option<u64> {
        self.0.get(depth).copied()
    }
}

/// How one part of a value meets what stands below a keyword.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meets {
    /// The value itself meets all of it.
    InPlace,
    /// A part meets one of it at most.
    One,
    /// A part may meet each of it.
    Each,
}

/// The keywords with subschemas: how they meet, and whether they stand by name.
const KEYWORDS: [(&str, Meets, bool); 19] = [
    ("allOf", Meets::InPlace, false),
    ("anyOf", Meets::InPlace, false),
    ("oneOf", Meets::InPlace, false),
    ("not", Meets::InPlace, false),
    ("if", Meets::InPlace, false),
    ("then", Meets::InPlace, false),
    ("else", Meets::InPlace, false),
    ("dependentSchemas", Meets::InPlace, true),
    ("dependencies", Meets::InPlace, true),
    ("properties", Meets::One, true),
    ("prefixItems", Meets::One, false),
    ("items", Meets::One, false),
    ("additionalItems", Meets::One, false),
    ("additionalProperties", Meets::One, false),
    ("patternProperties", Meets::Each, true),
    ("contains", Meets::Each, false),
    ("propertyNames", Meets::Each, false),
    (UNEVALUATED[0], Meets::Each, false),
    (UNEVALUATED[1], Meets::Each, false),
];

/// To know what is left over, everything beside these is evaluated once more.
const UNEVALUATED: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

/// The bound for one subschema and depth, and how many in-place steps it takes.
#[derive(Clone, Copy)]
struct Cost {
    evaluations: u64,
    steps: usize,
}

type Fields = serde_json::Map<String, Value>;

pub(crate) struct Walk<'a> {
    document: &'a Value,
    anchors: Anchors<'a>,
    /// By the place of the subschema and the depth left.
    known: HashMap<(*const Value, usize), Cost>,
    /// What is being looked at for one value.
    open: Vec<*const Value>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(document: &'a Value, anchors: Anchors<'a>) -> Self {
        Self { document, anchors, known: HashMap::new(), open: Vec::new() }
    }

    /// The bound for values by how deep they nest, up to a depth.
    pub(crate) fn costs(&mut self, depth_max: usize) -> Result<Costs, SchemaDocumentError> {
        let root = self.document;
        let by_depth = (0..=depth_max).map(|depth| Ok(self.cost(root, depth)?.evaluations));
        by_depth.collect::<Result<_, _>>().map(Costs)
    }

    /// The bound for a value that nests `depth` deep.
    fn cost(&mut self, schema: &'a Value, depth: usize) -> Result<Cost, SchemaDocumentError> {
        let Value::Object(fields) = schema else { return Ok(Cost { evaluations: 1, steps: 0 }) };
        let key = (std::ptr::from_ref(schema), depth);
        let endless = || {
            let to = fields.get("$ref").and_then(Value::as_str).unwrap_or("a combination");
            SchemaDocumentError::Endless(to.to_owned())
        };
        if self.open.contains(&key.0) {
            return Err(endless());
        }
        let known = match self.known.get(&key) {
            Some(known) => *known,
            None => {
                self.open.push(key.0);
                let here = self.in_place(fields, depth)?;
                self.open.pop();
                let below = match depth.checked_sub(1) {
                    Some(depth) => self.below(fields, depth)?,
                    None => 0,
                };
                let mut evaluations = here.evaluations.saturating_add(below);
                if UNEVALUATED.iter().any(|name| fields.contains_key(*name)) {
                    evaluations = evaluations.saturating_mul(2);
                }
                let known = Cost { evaluations, ..here };
                self.known.insert(key, known);
                known
            }
        };
        if self.open.len() + known.steps > IN_PLACE_MAX { Err(endless()) } else { Ok(known) }
    }

    /// What is evaluated for the value itself.
    fn in_place(&mut self, fields: &'a Fields, depth: usize) -> Result<Cost, SchemaDocumentError> {
        let mut cost = Cost { evaluations: 1, steps: 0 };
        let mut parts = Vec::new();
        for name in ["$ref", "$dynamicRef", "$recursiveRef"] {
            if let Some(Value::String(to)) = fields.get(name) {
                parts.push(self.target(to)?);
            }
        }
        parts.extend(parts_of(fields, Meets::InPlace));
        for part in parts {
            let part = self.cost(part, depth)?;
            cost.evaluations = cost.evaluations.saturating_add(part.evaluations);
            cost.steps = cost.steps.max(part.steps + 1);
        }
        Ok(cost)
    }

    /// What is evaluated for one part of the value.
    fn below(&mut self, fields: &'a Fields, depth: usize) -> Result<u64, SchemaDocumentError> {
        let open = std::mem::take(&mut self.open);
        let (mut sum, mut most) = (0_u64, 0);
        for part in parts_of(fields, Meets::One) {
            most = self.cost(part, depth)?.evaluations.max(most);
        }
        for part in parts_of(fields, Meets::Each) {
            sum = sum.saturating_add(self.cost(part, depth)?.evaluations);
        }
        self.open = open;
        Ok(sum.saturating_add(most))
    }

    /// What a reference within the document names.
    fn target(&self, to: &str) -> Result<&'a Value, SchemaDocumentError> {
        let name = to.strip_prefix('#').unwrap_or(to);
        let found = if name.is_empty() || name.starts_with('/') {
            self.document.pointer(name)
        } else {
            self.anchors.get(name).copied()
        };
        found.ok_or_else(|| SchemaDocumentError::Dangling(to.to_owned()))
    }
}

/// The subschemas below keywords that meet a value so: one, a list, or by names.
fn parts_of(fields: &Fields, meets: Meets) -> Vec<&Value> {
    let mut parts = Vec::new();
    for (name, of, by_name) in KEYWORDS {
        match fields.get(name).filter(|_| of == meets) {
            Some(Value::Array(items)) => parts.extend(items),
            Some(Value::Object(named)) if by_name => parts.extend(named.values()),
            Some(one) => parts.push(one),
            None => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_over_costs_everything_beside_it_once_more() {
        let cost = |document: &Value| {
            let mut walk = Walk::new(document, Anchors::new());
            walk.costs(10).expect("bounded").of_depth(10).expect("not deeper")
        };
        let mut document = serde_json::json!({ "properties": { "a": { "$ref": "#" } } });
        assert!(cost(&document) < 50, "{}", cost(&document));
        document["unevaluatedProperties"] = true.into();
        assert!(cost(&document) >= 1 << 10, "it doubles with each level: {}", cost(&document));
    }
}

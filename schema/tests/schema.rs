//! JSON Schemas: what they say of events, what documents are refused, and that no check goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wireloom_schema::{PATTERNS_MAX, Schema, SchemaDocumentError, VALUE_DEPTH_MAX};

fn schema(document: &Value) -> Schema {
    Schema::compile(document).unwrap_or_else(|error| panic!("{document}: {error}"))
}

fn refused(document: &Value) -> SchemaDocumentError {
    Schema::compile(document).expect_err("no schema to be used")
}

/// The path of the first fault.
fn fault(document: &Value, value: &Value) -> Option<String> {
    schema(document).check(value).err().map(|fault| fault.path)
}

fn nested(depth: usize) -> Value {
    (1..depth).fold(json!(0), |inner, _| json!({ "a": inner }))
}

#[test]
fn the_first_fault_is_told_by_its_path_without_what_stood_there() {
    let document = json!({
        "properties": { "legs": { "items": { "properties": { "price": { "type": "number" } } } } },
        "required": ["legs"],
    });
    assert_eq!(fault(&document, &json!({ "legs": [{ "price": 1.5 }] })), None);
    assert_eq!(fault(&document, &json!({})).as_deref(), Some(""));
    let wrong = json!({ "legs": [{ "price": 1 }, { "price": "secret\u{1b}[31m" }] });
    let told = schema(&document).check(&wrong).expect_err("no number");
    assert_eq!(told.path, "/legs/1/price");
    let text = told.to_string();
    assert!(text.starts_with("Schema validation failed at /legs/1/price: "), "{text}");
    assert!(!text.contains("secret"), "{text}");
    let named = json!({ "additionalProperties": { "type": "null" } });
    let name = format!("\u{1b}[31m{}", "x".repeat(1_000));
    let told = schema(&named).check(&json!({ name: 1 })).expect_err("not null");
    assert!(told.path.len() < 220 && !told.path.contains('\u{1b}'), "{}", told.path);
}

#[test]
fn references_within_the_document_are_followed() {
    let tree = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/tree",
        "$defs": { "name": { "$anchor": "name", "type": "string" } },
        "properties": {
            "name": { "$ref": "#name" },
            "other": { "$ref": "#/$defs/name" },
            "children": { "items": { "$ref": "#" } },
        },
    });
    assert_eq!(fault(&tree, &json!({ "children": [{ "children": [{ "name": "n" }] }] })), None);
    let wrong = json!({ "children": [{ "children": [{ "name": 1 }] }] });
    assert_eq!(fault(&tree, &wrong).as_deref(), Some("/children/0/children/0/name"));
    assert_eq!(fault(&tree, &json!({ "other": 1 })).as_deref(), Some("/other"));
}

#[test]
fn nothing_is_fetched() {
    for to in ["https://example.com/s", "file:///etc/passwd", "other.json", "//host/s#/a"] {
        for name in ["$ref", "$dynamicRef"] {
            let error = refused(&json!({ "properties": { "a": { name: to } } }));
            let place = format!("/properties/a/{name}");
            assert_eq!(error, SchemaDocumentError::Reference { place, to: to.to_owned() });
        }
    }
    let inner = json!({ "$defs": { "a": { "$id": "https://example.com/a" } } });
    assert!(matches!(refused(&inner), SchemaDocumentError::Inner(_)));
    let meta = json!({ "$schema": "https://example.com/other-draft" });
    assert!(matches!(refused(&meta), SchemaDocumentError::NoSchema { .. }), "{:?}", refused(&meta));
    assert!(matches!(refused(&json!({ "$ref": "#/a" })), SchemaDocumentError::Dangling(_)));
}

#[test]
fn documents_have_bounds() {
    let long = json!({ "description": "x".repeat(64 << 10) });
    assert!(matches!(refused(&long), SchemaDocumentError::TooLong(_)));
    assert!(matches!(
        Schema::parse(&" ".repeat(70_000)),
        Err(SchemaDocumentError::TooLong(70_000))
    ));
    let deep = (0..40).fold(json!({}), |inner, _| json!({ "not": inner }));
    assert_eq!(refused(&deep), SchemaDocumentError::TooDeep);
    let patterns: serde_json::Map<String, Value> =
        (0..=PATTERNS_MAX).map(|at| (format!("^{at}$"), json!(true))).collect();
    let many = json!({ "patternProperties": patterns });
    assert_eq!(refused(&many), SchemaDocumentError::TooManyPatterns(PATTERNS_MAX + 1));
    let large = ["((a{99}){99}){9}", "(((a{99}){99}){99}){99}"];
    for pattern in ["(", "(?=a)b", "(a)\\1"].into_iter().chain(large) {
        let error = refused(&json!({ "pattern": pattern }));
        assert!(matches!(error, SchemaDocumentError::NoSchema { .. }), "{pattern}: {error}");
    }
    assert!(matches!(refused(&json!({ "type": 7 })), SchemaDocumentError::NoSchema { .. }));
    assert!(Schema::parse("{").is_err());
}

/// References that lead round in one place would be followed for ever.
#[test]
fn what_leads_to_itself_for_one_value_is_no_schema() {
    let loops = [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "not": { "$ref": "#" } }] }),
        json!({
            "$ref": "#/$defs/a",
            "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } },
        }),
        json!({ "properties": { "x": { "anyOf": [{ "$ref": "#/properties/x" }] } } }),
    ];
    for document in loops {
        assert!(matches!(refused(&document), SchemaDocumentError::Endless(_)), "{document}");
    }
    let chain = |length: usize, from: &[usize]| {
        let defs: serde_json::Map<String, Value> = (0..length)
            .map(|at| (format!("d{at:03}"), json!({ "$ref": format!("#/$defs/d{:03}", at + 1) })))
            .chain([(format!("d{length:03}"), json!({ "type": "object" }))])
            .collect();
        let reached: Vec<Value> =
            from.iter().map(|at| json!({ "$ref": format!("#/$defs/d{at:03}") })).collect();
        json!({ "$defs": defs, "properties": { "a": { "allOf": reached } } })
    };
    schema(&chain(20, &[0]));
    // Also where its end has been looked at before.
    for from in [&[0][..], &[50, 25, 0]] {
        assert!(matches!(refused(&chain(70, from)), SchemaDocumentError::Endless(_)));
    }
}

/// A second for each would be far too long; the bound of a check is about a fifth of one.
#[test]
fn no_check_goes_on_and_on() {
    let quick = |schema: &Schema, value: &Value| {
        let begun = Instant::now();
        let outcome = schema.check(value);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        outcome
    };
    // Doubles with each level of the value.
    let both = json!({ "properties": { "a": { "$ref": "#" } } });
    let bomb = schema(&json!({ "anyOf": [{ "allOf": [both, { "type": "string" }] }, both] }));
    quick(&bomb, &nested(4)).expect("small enough");
    let told = quick(&bomb, &nested(30)).expect_err("2^30");
    assert!(told.reason.contains("more than is looked through"), "{told}");
    // Doubles with each reference.
    let defs: serde_json::Map<String, Value> = (0..25)
        .map(|at| {
            let next = json!({ "$ref": format!("#/$defs/d{}", at + 1) });
            (format!("d{at}"), json!({ "allOf": [next, next] }))
        })
        .chain([("d25".to_owned(), json!({ "type": "number" }))])
        .collect();
    let bomb = json!({ "$ref": "#/$defs/d0", "$defs": defs });
    match Schema::compile(&bomb) {
        Ok(bomb) => assert!(quick(&bomb, &json!(1)).is_err()),
        Err(error) => assert!(matches!(error, SchemaDocumentError::Endless(_))),
    }
    // The longest event there is, by an ordinary schema and by a pattern.
    let list = schema(&json!({ "items": { "type": "integer", "minimum": 0 } }));
    quick(&list, &json!(vec![1; 500_000])).expect("all of them");
    let evil = schema(&json!({ "pattern": "^(a|a)*(a|aa)+$" }));
    quick(&evil, &json!("a".repeat(1 << 20) + "b")).expect_err("in linear time");
    let unique = schema(&json!({ "uniqueItems": true }));
    quick(&unique, &json!((0..100_000).collect::<Vec<u32>>())).expect("all different");
    // Too deep is too deep, whatever it is.
    schema(&json!(true)).check(&nested(VALUE_DEPTH_MAX)).expect("the deepest");
    schema(&json!(true)).check(&nested(VALUE_DEPTH_MAX + 1)).expect_err("deeper");
}

/// The deepest that may be, on a thread with the stack of the control thread.
#[test]
fn the_deepest_check_fits_a_stack() {
    let defs: serde_json::Map<String, Value> = (0..29)
        .map(|at| (format!("d{at}"), json!({ "$ref": format!("#/$defs/d{}", at + 1) })))
        .chain([("d29".to_owned(), json!({ "properties": { "a": { "$ref": "#/$defs/d0" } } }))])
        .collect();
    let deepest = schema(&json!({ "$ref": "#/$defs/d0", "$defs": defs }));
    let check = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || deepest.check(&nested(VALUE_DEPTH_MAX)))
        .expect("a thread");
    check.join().expect("no overflow").expect("as it says");
}

//! A registered event goes from JSON to its archive and back; wrong text says where it is wrong.

mod derive_sample;

use derive_sample::{Rich, aligned, any_rich, archive, rich};
use proptest::prelude::*;
use rkyv::util::AlignedVec;
use wireloom::Event;
use wireloom::decode::DecodeError;
use wireloom::encode::{EncodeError, Scratch};
use wireloom::json::{JSON_BYTES_MAX, JSON_DEPTH_MAX, JsonCodec, JsonError};

fn to_archive(codec: JsonCodec, json: &[u8], room: usize) -> Result<AlignedVec, JsonError> {
    let mut bytes = AlignedVec::new();
    bytes.resize(room, 0);
    let length = codec.archive_from_json(json, &mut bytes, &mut Scratch::default())?;
    bytes.resize(length, 0);
    Ok(bytes)
}

fn to_json(codec: JsonCodec, payload: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut out = b"before".to_vec();
    let result = codec.json_from_archive(payload, &mut out);
    assert!(out.starts_with(b"before"), "what stood there stays");
    if result.is_err() {
        assert_eq!(out, b"before", "nothing is left after an error");
    }
    result.map(|()| out.split_off(6))
}

#[derive(
    Debug,
    PartialEq,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[event(type = "tick", priority = "high")]
struct Tick {
    cents: u64,
    name: String,
}

#[derive(
    Debug,
    PartialEq,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[event(type = "blob")]
struct Blob(Vec<u8>);

proptest! {
    #[test]
    fn json_says_what_the_archive_says(event in any_rich()) {
        let codec = JsonCodec::of::<Rich>();
        let payload = archive(&event);
        let text = to_json(codec, &payload).expect("writes");
        prop_assert_eq!(serde_json::from_slice::<Rich>(&text).expect("reads"), event);
        let again = to_archive(codec, &text, 64 * 1024).expect("fits");
        prop_assert_eq!(again.as_slice(), payload.as_slice());
    }

    #[test]
    fn any_text_at_all_is_answered(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(to_archive(JsonCodec::of::<Rich>(), &text, 4_096).is_err());
    }
}

#[test]
fn a_codec_knows_its_event() {
    let codec = JsonCodec::of::<Tick>();
    assert_eq!(codec.type_name(), "tick");
    assert_eq!(codec.type_id(), Tick::TYPE_ID);
    assert_eq!(codec.fingerprint(), Tick::FINGERPRINT32);
    assert_eq!(codec.priority(), Tick::PRIORITY);
}

fn text_error(json: &str) -> (usize, usize, String) {
    match to_archive(JsonCodec::of::<Tick>(), json.as_bytes(), 256) {
        Err(JsonError::Text { line, column, reason, .. }) => (line, column, reason),
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn wrong_text_says_where_and_why() {
    assert_eq!(text_error(r#"{"cents":1,"name":"a"} x"#), (1, 24, "trailing characters".into()));
    assert_eq!(
        text_error("{\n  \"cents\": 1,\n  \"name\": 7\n}"),
        (3, 11, "invalid type: integer `7`, expected a string".into())
    );
    assert_eq!(text_error(r#"{"cents":1}"#), (1, 11, "missing field `name`".into()));
    let (line, column, reason) = text_error("");
    assert_eq!((line, column), (1, 0));
    assert!(reason.contains("EOF"), "{reason}");
    let error = to_archive(JsonCodec::of::<Tick>(), b"[", 256).expect_err("not a tick");
    assert!(error.to_string().starts_with("line 1 column 1: "), "{error}");
}

#[test]
fn a_reason_that_quotes_the_text_is_shortened() {
    let (_, _, reason) = text_error(&format!(r#"{{"cents":"{}"}}"#, "é".repeat(5_000)));
    assert!(reason.len() <= 210 && reason.ends_with('…'), "{reason}");
}

#[derive(
    Debug,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[event(type = "tree")]
#[rkyv(serialize_bounds(__S: rkyv::ser::Writer + rkyv::ser::Allocator))]
#[rkyv(deserialize_bounds(__D::Error: rkyv::rancor::Source))]
#[rkyv(bytecheck(bounds(
    __C: rkyv::validation::ArchiveContext,
    __C::Error: rkyv::rancor::Source
)))]
struct Tree(
    #[rkyv(omit_bounds)]
    #[schema(opaque = "tree-v1")]
    Vec<Self>,
);

#[test]
fn depth_is_bounded() {
    let codec = JsonCodec::of::<Tree>();
    let deep = |levels: usize| {
        let json = "[".repeat(levels) + &"]".repeat(levels);
        to_archive(codec, json.as_bytes(), 64 * 1024)
    };
    let deepest = deep(JSON_DEPTH_MAX).expect("the deepest text that is allowed");
    assert!(to_json(codec, &deepest).is_ok(), "and what it says can be read");
    for levels in [JSON_DEPTH_MAX + 1, 100_000] {
        assert_eq!(deep(levels).err(), Some(JsonError::TooDeep), "{levels} levels");
        let json = "[".repeat(levels) + &"]".repeat(levels);
        let owned = wireloom::json::deserialize::<Tree>(json.as_bytes());
        assert_eq!(owned.err(), Some(JsonError::TooDeep), "{levels} levels");
    }
    // What the type does not know counts as well, and what stands in text does not.
    let open = "[".repeat(JSON_DEPTH_MAX);
    let ignored = format!(r#"{{"x":{open}{}}}"#, "]".repeat(JSON_DEPTH_MAX));
    let ignored = to_archive(JsonCodec::of::<Tick>(), ignored.as_bytes(), 256);
    assert_eq!(ignored.err(), Some(JsonError::TooDeep));
    let text = format!(r#"{{"cents":1,"name":"{open}\"{open}"}}"#);
    to_archive(JsonCodec::of::<Tick>(), text.as_bytes(), 512).expect("text");
}

#[test]
fn length_is_bounded_both_ways() {
    let codec = JsonCodec::of::<Tick>();
    let text = r#"{"cents":1,"name":"a"}"#;
    let long = |bytes: usize| text.to_owned() + &" ".repeat(bytes - text.len());
    assert!(to_archive(codec, long(JSON_BYTES_MAX).as_bytes(), 256).is_ok());
    let error = to_archive(codec, long(JSON_BYTES_MAX + 1).as_bytes(), 256).err();
    assert_eq!(error, Some(JsonError::TooLong));

    let blob = |length: usize| {
        let mut bytes = AlignedVec::<16>::new();
        bytes.resize(JSON_BYTES_MAX, 0);
        let event = Blob(vec![200; length]);
        let mut scratch = Scratch::default();
        let used = wireloom::encode::encode(&event, &mut bytes, &mut scratch).expect("fits");
        bytes.resize(used, 0);
        bytes
    };
    // Four bytes of text an element, and one more for the brackets.
    let most = (JSON_BYTES_MAX - 1) / 4;
    let written = to_json(JsonCodec::of::<Blob>(), &blob(most)).map(|text| text.len());
    assert_eq!(written, Ok(4 * most + 1));
    let error = to_json(JsonCodec::of::<Blob>(), &blob(most + 1)).err();
    assert_eq!(error, Some(JsonError::TooLong));
}

#[test]
fn the_other_errors_keep_their_names() {
    let codec = JsonCodec::of::<Tick>();
    let text = br#"{"cents":1,"name":"longer than eight bytes"}"#;
    let error = to_archive(codec, text, 16).err();
    assert_eq!(error, Some(JsonError::Encode(EncodeError::DoesNotFit)));
    let error = to_json(codec, &aligned(b"short")).err();
    assert_eq!(error, Some(JsonError::Decode(DecodeError::Invalid)));
    assert!(to_json(JsonCodec::of::<Rich>(), &archive(&rich())).is_ok());
}

#[derive(
    Debug,
    PartialEq,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[event(type = "keyed")]
struct Keyed(std::collections::BTreeMap<Option<u8>, u8>);

#[test]
fn what_json_cannot_hold_is_refused() {
    let event = Keyed([(Some(1), 1), (None, 2)].into());
    let error = to_json(JsonCodec::of::<Keyed>(), &archive(&event)).err();
    assert_eq!(error, Some(JsonError::Unwritable { reason: "key must be a string".into() }));
}

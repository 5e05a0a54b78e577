//! Events that the tests of the typed side share, and values of them.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use rkyv::util::AlignedVec;
use wireloom::encode::{EncodeError, Scratch, encode};
use wireloom::{Event, Schema};

/// One of everything.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[event(type = "rich")]
pub(crate) struct Rich {
    pub(crate) flag: bool,
    pub(crate) letter: char,
    pub(crate) wide: u128,
    pub(crate) small: i8,
    pub(crate) ratio: f64,
    pub(crate) name: String,
    pub(crate) boxed: Box<Nested>,
    pub(crate) text: Box<str>,
    pub(crate) numbers: Vec<u64>,
    pub(crate) nested: Vec<Nested>,
    pub(crate) words: Vec<String>,
    pub(crate) maybe: Option<String>,
    pub(crate) choice: Choice,
    pub(crate) choices: Vec<Choice>,
    pub(crate) table: BTreeMap<String, Vec<u32>>,
    pub(crate) array: [u16; 3],
    pub(crate) pair: (u8, String),
    pub(crate) unit: (),
}

#[derive(
    Clone,
    Debug,
    PartialEq,
    Schema,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub(crate) struct Nested {
    pub(crate) tag: u8,
    pub(crate) value: i64,
    pub(crate) label: String,
}

#[derive(
    Clone,
    Debug,
    PartialEq,
    Schema,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
pub(crate) enum Choice {
    Empty,
    One(u8, String),
    Named { at: i64, deep: Option<Box<Nested>> },
}

/// 64 bytes of numbers, no padding.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
#[event(type = "flat", priority = "low")]
pub(crate) struct Flat {
    pub(crate) sequence: u64,
    pub(crate) hash: u64,
    pub(crate) values: [u64; 4],
    pub(crate) kind: u32,
    pub(crate) side: u32,
    pub(crate) price: i64,
}

pub(crate) const FLAT: Flat = Flat {
    sequence: 1,
    hash: 0x0123_4567_89AB_CDEF,
    values: [1, 2, 3, u64::MAX],
    kind: 7,
    side: 9,
    price: -5,
};

/// A value whose archive uses every out-of-line form.
pub(crate) fn rich() -> Rich {
    let nested = |tag: u8| Nested { tag, value: -i64::from(tag), label: "a longer label".into() };
    Rich {
        flag: true,
        letter: 'ß',
        wide: u128::MAX - 1,
        small: -3,
        ratio: 0.25,
        name: "a name beyond eight bytes".into(),
        boxed: Box::new(nested(1)),
        text: "boxed text".into(),
        numbers: vec![1, 2, 3],
        nested: vec![nested(2), nested(3)],
        words: vec![String::new(), "short".into(), "a word beyond eight bytes".into()],
        maybe: Some("perhaps some text".into()),
        choice: Choice::Named { at: 5, deep: Some(Box::new(nested(4))) },
        choices: vec![Choice::Empty, Choice::One(6, "one of the choices".into())],
        table: (0..20).map(|key| (format!("key number {key:03}"), vec![key, key + 1])).collect(),
        array: [1, 2, 3],
        pair: (8, "the pair's second".into()),
        unit: (),
    }
}

prop_compose! {
    fn any_nested()(tag: u8, value: i64, label in ".{0,20}") -> Nested {
        Nested { tag, value, label }
    }
}

fn any_choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        Just(Choice::Empty),
        (any::<u8>(), ".{0,20}").prop_map(|(number, text)| Choice::One(number, text)),
        (any::<i64>(), option::of(any_nested().prop_map(Box::new)))
            .prop_map(|(at, deep)| Choice::Named { at, deep }),
    ]
}

prop_compose! {
    fn any_scalars()(
        flag: bool, letter: char, wide: u128, small: i8,
        ratio in proptest::num::f64::NORMAL | proptest::num::f64::ZERO,
        array: [u16; 3],
    ) -> (bool, char, u128, i8, f64, [u16; 3]) {
        (flag, letter, wide, small, ratio, array)
    }
}

prop_compose! {
    pub(crate) fn any_rich()(
        (flag, letter, wide, small, ratio, array) in any_scalars(),
        name in ".{0,40}", text in ".{0,40}", maybe in option::of(".{0,40}"),
        boxed in any_nested(), nested in vec(any_nested(), 0..6),
        numbers in vec(any::<u64>(), 0..20), words in vec(".{0,12}", 0..10),
        choice in any_choice(), choices in vec(any_choice(), 0..6),
        table in btree_map(".{0,12}", vec(any::<u32>(), 0..4), 0..40),
        pair in (any::<u8>(), ".{0,12}"),
    ) -> Rich {
        Rich {
            flag, letter, wide, small, ratio, name, boxed: Box::new(boxed), text: text.into(),
            numbers, nested, words, maybe, choice, choices, table, array, pair, unit: (),
        }
    }
}

/// The archive of `event`, 16-aligned, as a frame would carry it.
pub(crate) fn archive<E: Event>(event: &E) -> AlignedVec {
    try_archive(event, 64 * 1024).expect("fits 64 KiB")
}

pub(crate) fn try_archive<E: Event>(event: &E, room: usize) -> Result<AlignedVec, EncodeError> {
    let mut bytes = AlignedVec::new();
    bytes.resize(room, 0xAA);
    let length = encode(event, &mut bytes, &mut Scratch::default())?;
    bytes.resize(length, 0);
    Ok(bytes)
}

/// A 16-aligned copy.
pub(crate) fn aligned(bytes: &[u8]) -> AlignedVec {
    let mut copy = AlignedVec::new();
    copy.extend_from_slice(bytes);
    copy
}

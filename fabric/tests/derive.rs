//! What the derive macros say about a type: its name, its priority, and the fingerprint of its
//! shape, which changes with everything that changes the bytes and with nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use wireloom::event::{EventTypeId, Fingerprint, Key, Priority};
use wireloom::events::Heartbeat;
use wireloom::schema::{FORMAT, fingerprint32};
use wireloom::{Event, Schema};
use xxhash_rust::xxh3::xxh3_64;

/// A declaration with both kinds of derive, in its own module so that names can repeat.
macro_rules! shapes {
    ($($name:ident: { $($item:item)+ })+) => {$(
        #[allow(dead_code, missing_debug_implementations, unreachable_pub)]
        #[allow(clippy::box_collection, unnameable_types, reason = "only the shapes count")]
        mod $name {
            $(
                #[derive(wireloom::Schema, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
                $item
            )+
        }
    )+};
}

shapes! {
    base: { pub struct A { pub one: u32, pub two: Vec<B> } pub struct B { pub three: u8 } }
    moved_and_renamed: { struct Q { three: u8 } pub struct A { one: u32, two: Vec<Q> } }
    field_renamed: { pub struct A { uno: u32, two: Vec<B> } pub struct B { three: u8 } }
    field_reordered: { pub struct A { two: Vec<B>, one: u32 } pub struct B { three: u8 } }
    field_added: { pub struct A { one: u32, two: Vec<B>, x: u8 } pub struct B { three: u8 } }
    field_removed: { pub struct A { two: Vec<B> } pub struct B { three: u8 } }
    field_retyped: { pub struct A { one: i32, two: Vec<B> } pub struct B { three: u8 } }
    nested_renamed: { pub struct A { one: u32, two: Vec<B> } pub struct B { tres: u8 } }
    nested_retyped: { pub struct A { one: u32, two: Vec<B> } pub struct B { three: i8 } }
    list_to_option: { pub struct A { one: u32, two: Option<B> } pub struct B { three: u8 } }
    boxed: { pub struct A { one: u32, two: Box<Vec<B>> } pub struct B { three: u8 } }
    tuple: { pub struct A(u32, Vec<B>); pub struct B { three: u8 } }
    unit: { pub struct A; }
    opaque: {
        pub struct A { one: u32, #[schema(opaque = "list-v1")] two: Vec<B> }
        pub struct B { three: u8 }
    }
    opaque_next: {
        pub struct A { one: u32, #[schema(opaque = "list-v2")] two: Vec<B> }
        pub struct B { three: u8 }
    }
    archived_otherwise: {
        pub struct A { #[rkyv(with = rkyv::with::AsBox)] one: u32, two: Vec<B> }
        pub struct B { three: u8 }
    }

    variants: { pub enum A { One, Two(u8), Three { x: u16 } } }
    variant_renamed: { pub enum A { Uno, Two(u8), Three { x: u16 } } }
    variant_reordered: { pub enum A { Two(u8), One, Three { x: u16 } } }
    variant_added: { pub enum A { One, Two(u8), Three { x: u16 }, Four } }
    variant_retyped: { pub enum A { One, Two(i8), Three { x: u16 } } }
    variant_field_renamed: { pub enum A { One, Two(u8), Three { y: u16 } } }
    variant_named: { pub enum A { One, Two { x: u8 }, Three { x: u16 } } }

    plain: { pub enum A { One, Two, Three } }
    numbered: { pub enum A { One = 1, Two, Three } }
    numbered_later: { pub enum A { One, Two = 1, Three } }
    numbered_otherwise: { pub enum A { One = 2, Two, Three } }
    numbered_by_name: {
        #[repr(u8)]
        pub enum A { One = super::TWO, Two, Three }
    }
}

const TWO: u8 = 2;

#[test]
fn every_change_of_shape_changes_the_fingerprint() {
    let shapes = [
        ("base", base::A::FINGERPRINT),
        ("field_renamed", field_renamed::A::FINGERPRINT),
        ("field_reordered", field_reordered::A::FINGERPRINT),
        ("field_added", field_added::A::FINGERPRINT),
        ("field_removed", field_removed::A::FINGERPRINT),
        ("field_retyped", field_retyped::A::FINGERPRINT),
        ("nested_renamed", nested_renamed::A::FINGERPRINT),
        ("nested_retyped", nested_retyped::A::FINGERPRINT),
        ("list_to_option", list_to_option::A::FINGERPRINT),
        ("boxed", boxed::A::FINGERPRINT),
        ("tuple", tuple::A::FINGERPRINT),
        ("unit", unit::A::FINGERPRINT),
        ("opaque", opaque::A::FINGERPRINT),
        ("opaque_next", opaque_next::A::FINGERPRINT),
        ("archived_otherwise", archived_otherwise::A::FINGERPRINT),
        ("variants", variants::A::FINGERPRINT),
        ("variant_renamed", variant_renamed::A::FINGERPRINT),
        ("variant_reordered", variant_reordered::A::FINGERPRINT),
        ("variant_added", variant_added::A::FINGERPRINT),
        ("variant_retyped", variant_retyped::A::FINGERPRINT),
        ("variant_field_renamed", variant_field_renamed::A::FINGERPRINT),
        ("variant_named", variant_named::A::FINGERPRINT),
        ("plain", plain::A::FINGERPRINT),
        ("numbered", numbered::A::FINGERPRINT),
        ("numbered_later", numbered_later::A::FINGERPRINT),
        ("numbered_otherwise", numbered_otherwise::A::FINGERPRINT),
    ];
    all_differ(&shapes);
}

fn all_differ(shapes: &[(&str, u64)]) {
    let mut names = BTreeMap::new();
    for (name, fingerprint) in shapes {
        if let Some(other) = names.insert(fingerprint32(*fingerprint).0, name) {
            panic!("{name} and {other} have the same fingerprint");
        }
    }
}

#[test]
fn what_does_not_change_bytes_keeps_the_fingerprint() {
    assert_eq!(base::A::FINGERPRINT, moved_and_renamed::A::FINGERPRINT);
    assert_eq!(numbered_otherwise::A::FINGERPRINT, numbered_by_name::A::FINGERPRINT);
}

#[test]
fn types_of_the_standard_library_differ() {
    all_differ(&[
        ("u8", u8::FINGERPRINT),
        ("i8", i8::FINGERPRINT),
        ("bool", bool::FINGERPRINT),
        ("char", char::FINGERPRINT),
        ("u32", u32::FINGERPRINT),
        ("f32", f32::FINGERPRINT),
        ("u128", u128::FINGERPRINT),
        ("()", <()>::FINGERPRINT),
        ("String", String::FINGERPRINT),
        ("Box<str>", Box::<str>::FINGERPRINT),
        ("Box<u8>", Box::<u8>::FINGERPRINT),
        ("Box<[u8]>", Box::<[u8]>::FINGERPRINT),
        ("Vec<u8>", Vec::<u8>::FINGERPRINT),
        ("Vec<i8>", Vec::<i8>::FINGERPRINT),
        ("Vec<Vec<u8>>", Vec::<Vec<u8>>::FINGERPRINT),
        ("Option<u8>", Option::<u8>::FINGERPRINT),
        ("[u8; 2]", <[u8; 2]>::FINGERPRINT),
        ("[u8; 3]", <[u8; 3]>::FINGERPRINT),
        ("(u8,)", <(u8,)>::FINGERPRINT),
        ("(u8, u8)", <(u8, u8)>::FINGERPRINT),
        ("(u8, i8)", <(u8, i8)>::FINGERPRINT),
        ("(i8, u8)", <(i8, u8)>::FINGERPRINT),
        ("eight", <(u8, u8, u8, u8, u8, u8, u8, u8)>::FINGERPRINT),
        ("map", BTreeMap::<u8, u16>::FINGERPRINT),
        ("other map", BTreeMap::<u16, u8>::FINGERPRINT),
        ("set", std::collections::BTreeSet::<u8>::FINGERPRINT),
        ("nonzero", std::num::NonZeroU8::FINGERPRINT),
        ("duration", Duration::FINGERPRINT),
        ("ip", std::net::IpAddr::FINGERPRINT),
    ]);
}

/// Nodes of other builds compare with these numbers: a change here is a change of the protocol.
#[test]
fn golden_fingerprints() {
    let golden: [(u64, u64); 5] = [
        (u64::FINGERPRINT, 0xa238_e933_14e6_9c9c),
        (base::A::FINGERPRINT, 0x399e_6bb4_7229_7dc9),
        (variants::A::FINGERPRINT, 0x9b4d_19c0_b51e_0601),
        (numbered::A::FINGERPRINT, 0xe7eb_85c6_a171_7a5c),
        (Heartbeat::FINGERPRINT, 0xacc0_1306_c763_05d8),
    ];
    for (place, (found, expected)) in golden.into_iter().enumerate() {
        assert_eq!(format!("{found:#018x}"), format!("{expected:#018x}"), "number {place}");
    }
    assert_eq!(Heartbeat::TYPE_ID, wireloom_wire::event_type_id("heartbeat"));
}

/// The same number by another way: the words that a shape folds, in order, hashed at run time.
#[test]
fn a_fingerprint_can_be_computed_by_hand() {
    let fold = |words: &[u64]| {
        words.iter().fold(xxh3_64(FORMAT.as_bytes()), |folded, word| {
            xxh3_64(&[folded.to_le_bytes(), word.to_le_bytes()].concat())
        })
    };
    let text = |text: &str| xxh3_64(text.as_bytes());
    let primitive = |name: &str| fold(&[text(name)]);
    assert_eq!(u64::FINGERPRINT, primitive("u64"));
    let nested = [text("struct"), text("named"), 1, text("three"), primitive("u8")];
    let list = [text("vec"), fold(&[text("slice"), fold(&nested)])];
    let fields = [text("one"), primitive("u32"), text("two"), fold(&list)];
    let whole = [&[text("struct"), text("named"), 2], fields.as_slice()].concat();
    assert_eq!(base::A::FINGERPRINT, fold(&whole));
    let variants = ["One", "Two", "Three"].map(|name| [text("variant"), text(name)]);
    let none = [text("unit"), 0];
    let whole = [
        vec![text("enum"), text("variants"), 3],
        [variants[0].as_slice(), &[text("discriminant"), 1], &none].concat(),
        [variants[1], none].concat(),
        [variants[2], none].concat(),
    ];
    assert_eq!(numbered::A::FINGERPRINT, fold(&whole.concat()));
}

#[test]
fn the_fingerprint_on_the_wire_is_the_low_half_and_never_zero() {
    assert_eq!(fingerprint32(0x1234_5678_9ABC_DEF0), Fingerprint(0x9ABC_DEF0));
    assert_eq!(fingerprint32(0xFFFF_FFFF_0000_0000), Fingerprint(1));
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "everything-said.v2_x", priority = "critical", multicast = "[ff15::1]:9000")]
struct EverythingSaid {
    r#type: u8,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "little-said")]
enum LittleSaid {
    #[allow(dead_code, reason = "only the constants count")]
    One,
}

#[test]
fn the_constants_of_an_event() {
    assert_eq!(EverythingSaid::TYPE, "everything-said.v2_x");
    assert_eq!(EverythingSaid::PRIORITY, Priority::Critical);
    assert_eq!(EverythingSaid::MULTICAST, Some("[ff15::1]:9000"));
    assert_eq!(LittleSaid::PRIORITY, Priority::Normal);
    assert_eq!(LittleSaid::MULTICAST, None);
    assert_ne!(EverythingSaid::TYPE_ID, LittleSaid::TYPE_ID);
    assert_ne!(EverythingSaid::TYPE_ID, EventTypeId(0));
    assert_eq!(EverythingSaid::FINGERPRINT32, fingerprint32(EverythingSaid::FINGERPRINT));
    assert_eq!(Heartbeat::TYPE, "heartbeat");
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "reading", deadline = "250ms", key = "sensor", version = 2)]
struct Reading {
    sensor: u32,
    value: f64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "named-reading", key = "0")]
struct NamedReading(String, f64);

#[test]
fn deadline_key_and_version_are_known_by_type() {
    assert_eq!(Reading::DEADLINE, Some(Duration::from_millis(250)));
    assert_eq!((Reading::VERSION, Reading::KEY), (2, Some("sensor")));
    assert_eq!((EverythingSaid::VERSION, EverythingSaid::KEY), (1, None));
    assert_eq!(EverythingSaid::DEADLINE, None);
    assert_eq!(NamedReading::KEY, Some("0"));
    // One shape under another version is another schema; version 1 is the shape alone.
    assert_eq!(
        Reading::FINGERPRINT32,
        fingerprint32(wireloom::schema::versioned(Reading::FINGERPRINT, 2))
    );
    assert_ne!(Reading::FINGERPRINT32, fingerprint32(Reading::FINGERPRINT));
}

#[test]
fn a_key_follows_its_field_alone() {
    let reading = |sensor, value| Reading { sensor, value };
    assert_eq!(reading(7, 1.0).key(), reading(7, 2.0).key());
    assert_ne!(reading(7, 1.0).key(), reading(8, 1.0).key());
    assert_eq!(EverythingSaid { r#type: 1 }.key(), None);
    // Whatever the width of a number or the type of a text.
    assert_eq!(reading(7, 0.0).key(), Some(Key::key(&7_u8)));
    assert_eq!(Key::key(&-1_i8), Key::key(&-1_i64));
    assert_eq!(NamedReading("a".into(), 0.0).key(), Some(Key::key("a")));
    // Nodes of other builds choose by these numbers.
    assert_eq!(Key::key(&7_u8), 5_175_499_747_093_961_662);
    assert_eq!(Key::key("tram 7"), 13_259_251_189_334_442_261);
}

#[test]
fn an_archive_has_the_key_of_its_event() {
    fn same<E: Event>(event: &E) {
        let mut bytes = rkyv::util::AlignedVec::<16>::new();
        bytes.resize(256, 0);
        let length = wireloom::encode::encode(event, &mut bytes, &mut Default::default());
        let length = length.expect("fits");
        let archived = wireloom::decode::access::<E>(&bytes[..length]).expect("just encoded");
        assert!(event.key().is_some());
        assert_eq!(E::key_of(archived), event.key());
    }
    macro_rules! keyed {
        ($($kind:ty = $value:expr;)+) => {$({
            #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
            #[event(type = "keyed", key = "about")]
            struct Keyed { about: $kind }
            same(&Keyed { about: $value });
        })+};
    }
    keyed! {
        bool = true; char = 'ß'; u8 = 200; u16 = 60_000; u32 = 1 << 31; u64 = u64::MAX;
        u128 = u128::MAX; i8 = -1; i16 = -2; i32 = -3; i64 = i64::MIN; i128 = -5;
        String = "a text beyond eight bytes".into(); Box<str> = "boxed".into();
        [u8; 4] = [1, 2, 3, 4];
    }
}

#[test]
fn every_priority_has_its_word() {
    macro_rules! priority {
        ($word:literal) => {{
            #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
            #[event(type = "a", priority = $word)]
            struct A;
            A::PRIORITY
        }};
    }
    let all = [
        priority!("critical"),
        priority!("high"),
        priority!("normal"),
        priority!("low"),
        priority!("background"),
    ];
    let words =
        [Priority::Critical, Priority::High, Priority::Normal, Priority::Low, Priority::Background];
    assert_eq!(all, words);
}

#[derive(Schema, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Batch<T, const N: usize>
where
    T: Clone,
{
    head: [T; N],
    rest: Vec<T>,
}

#[derive(Schema)]
struct Borrowed<'a, T> {
    #[schema(opaque = "text")]
    _text: &'a str,
    #[schema(opaque = "anything")]
    _anything: T,
}

#[test]
fn generic_shapes_follow_their_parameters() {
    assert_ne!(Batch::<u8, 2>::FINGERPRINT, Batch::<u16, 2>::FINGERPRINT);
    assert_ne!(Batch::<u8, 2>::FINGERPRINT, Batch::<u8, 3>::FINGERPRINT);
    // A parameter behind an opaque name needs no schema.
    assert_ne!(Borrowed::<usize>::FINGERPRINT, Batch::<u8, 2>::FINGERPRINT);
}

#[derive(Schema)]
struct Flat {
    _a: [Option<(u8, u64)>; 4],
    _b: Choice,
}

#[derive(Schema)]
enum Choice {
    #[allow(dead_code, reason = "only the shape counts")]
    A(u8),
}

#[derive(Schema)]
struct NotFlat {
    _a: Option<(u8, Vec<u8>)>,
}

#[derive(Schema)]
struct NotFlatEither {
    #[schema(opaque = "u8")]
    _a: u8,
}

#[test]
fn flat_is_what_owns_nothing() {
    const { assert!(Flat::FLAT && Choice::FLAT && unit::A::FLAT) };
    const { assert!(!NotFlat::FLAT && !NotFlatEither::FLAT && !archived_otherwise::A::FLAT) };
    const { assert!(!String::FLAT && !Box::<u8>::FLAT && !BTreeMap::<u8, u8>::FLAT) };
}

/// What is generic over events needs nothing but `E: Event`.
fn through<E: Event>(event: &E, bytes: &mut [u8]) -> Option<E> {
    let mut scratch = wireloom::encode::Scratch::default();
    let length = wireloom::encode::encode(event, bytes, &mut scratch).ok()?;
    let archived: &E::Archived = wireloom::decode::access::<E>(&bytes[..length]).ok()?;
    wireloom::decode::to_owned(archived).ok()
}

#[test]
fn an_event_bound_is_enough() {
    let mut bytes = rkyv::util::AlignedVec::<16>::new();
    bytes.resize(64, 0);
    let event = through(&EverythingSaid { r#type: 5 }, &mut bytes);
    assert_eq!(event.map(|event| event.r#type), Some(5));
}

//! Events go into an archive and come back; bytes that are no archive are refused.

mod derive_sample;

use std::collections::BTreeMap;
use std::path::PathBuf;

use derive_sample::{FLAT, Flat, Rich, aligned, any_rich, archive, rich, try_archive};
use proptest::prelude::*;
use wireloom::Event;
use wireloom::decode::{DEPTH_MAX, DecodeError, access, to_owned};
use wireloom::encode::{EncodeError, Scratch, encode};
use wireloom::events::Heartbeat;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|one| format!("{one:02x}")).collect()
}

fn round_trip<E: Event>(event: &E) -> E {
    let bytes = archive(event);
    to_owned(access::<E>(&bytes).expect("just encoded")).expect("rebuilds")
}

proptest! {
    #[test]
    fn every_event_comes_back(event in any_rich()) {
        prop_assert_eq!(round_trip(&event), event);
    }

    #[test]
    fn what_lay_in_the_record_before_never_shows(event in any_rich()) {
        let mut scratch = Scratch::default();
        let (mut ones, mut zeros) = (vec![0xFF; 64 * 1024], vec![0; 64 * 1024]);
        let length = encode(&event, &mut ones, &mut scratch).expect("fits");
        prop_assert_eq!(encode(&event, &mut zeros, &mut scratch), Ok(length));
        prop_assert_eq!(&ones[..length], &zeros[..length]);
        prop_assert!(ones[length..].iter().all(|one| *one == 0xFF), "nothing behind is touched");
    }

    #[test]
    fn flipped_bytes_never_panic(
        event in any_rich(),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), 1..=255_u8), 1..8),
    ) {
        let mut bytes = archive(&event);
        for (at, flip) in &flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        read_everything(&bytes);
    }

    #[test]
    fn cut_archives_never_panic(event in any_rich(), cut in any::<proptest::sample::Index>()) {
        let bytes = archive(&event);
        read_everything(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..1_500)) {
        read_everything(&aligned(&noise));
    }
}

/// What is accepted is safe to read in full; what it says does not matter.
fn read_everything(payload: &[u8]) {
    if let Ok(archived) = access::<Rich>(payload) {
        let event: Rich = to_owned(archived).expect("no field refuses");
        assert!(format!("{event:?}").len() > 100);
    }
}

#[test]
fn every_cut_of_an_archive_is_refused() {
    let bytes = archive(&rich());
    assert_eq!(round_trip(&rich()), rich());
    for length in 0..bytes.len() {
        let result = access::<Rich>(&bytes[..length]).err();
        assert_eq!(result, Some(DecodeError::Invalid), "cut to {length} of {}", bytes.len());
    }
}

#[test]
fn a_flat_event_has_one_length() {
    let bytes = archive(&FLAT);
    assert_eq!(bytes.len(), 64);
    assert_eq!(round_trip(&FLAT), FLAT);
    let longer = aligned(&[bytes.as_slice(), &[0; 16]].concat());
    for found in (0..64).chain([72, 80]) {
        let result = access::<Flat>(&longer[..found]).err();
        assert_eq!(result, Some(DecodeError::Length { expected: 64, found }));
    }
}

#[test]
fn misaligned_payloads_are_refused() {
    let bytes = archive(&FLAT);
    for shift in 1..16 {
        let shifted = aligned(&[&vec![0; shift], bytes.as_slice()].concat());
        let result = access::<Flat>(&shifted[shift..]).err();
        assert_eq!(result, Some(DecodeError::Misaligned), "shifted by {shift}");
    }
}

#[test]
fn every_space_too_small_is_refused() {
    let needed = archive(&rich()).len();
    for room in 0..needed {
        assert_eq!(try_archive(&rich(), room).err(), Some(EncodeError::DoesNotFit), "room {room}");
    }
    assert_eq!(try_archive(&rich(), needed).map(|bytes| bytes.len()), Ok(needed));
}

#[test]
fn scratch_too_small_is_told_apart() {
    let mut into = vec![0; 4_096];
    let mut none = Scratch::new(0);
    assert!(encode(&FLAT, &mut into, &mut none).is_ok(), "a flat event needs none");
    assert_eq!(encode(&rich(), &mut into, &mut none), Err(EncodeError::ScratchExhausted));
    assert!(encode(&rich(), &mut into, &mut Scratch::new(1_024)).is_ok());
}

#[test]
fn the_default_scratch_holds_a_thousand_strings() {
    let words = Rich { words: vec!["word".to_owned(); 1_000], ..rich() };
    assert!(try_archive(&words, 64 * 1024).is_ok());
}

#[derive(Debug, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "file-seen")]
struct FileSeen {
    #[rkyv(with = rkyv::with::AsString)]
    #[schema(opaque = "path-as-string")]
    path: PathBuf,
}

#[test]
fn a_field_that_refuses_is_told_apart() {
    use std::os::unix::ffi::OsStringExt;
    let bad = FileSeen { path: std::ffi::OsString::from_vec(vec![0xFF]).into() };
    assert_eq!(try_archive(&bad, 256).err(), Some(EncodeError::Refused));
    assert_eq!(round_trip(&FileSeen { path: "/tmp".into() }).path, PathBuf::from("/tmp"));
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "padded")]
struct Padded {
    first: u8,
    second: u64,
    third: Option<u32>,
    fourth: Result4,
}

#[derive(wireloom::Schema, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum Result4 {
    Small(u8),
    /// Makes room that the small one leaves empty.
    Large([u64; 3]),
}

#[test]
fn padding_is_zero() {
    let event = Padded { first: 0xFF, second: u64::MAX, third: None, fourth: Result4::Small(0xFF) };
    let bytes = archive(&event);
    let expected = [
        "ff00000000000000",                                 // first and its padding
        "ffffffffffffffff",                                 // second
        "0000000000000000",                                 // third: None, and the room of Some
        "00ff000000000000",                                 // fourth: Small, its byte
        "000000000000000000000000000000000000000000000000", // and the room of Large
    ];
    assert_eq!(hex(&bytes), expected.concat());
}

#[derive(Debug, PartialEq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "nothing")]
struct Nothing;

#[test]
fn an_event_without_bytes_has_an_empty_archive() {
    assert_eq!(archive(&Nothing).len(), 0);
    assert_eq!(round_trip(&Nothing), Nothing);
    assert!(access::<Nothing>(&aligned(&[0])).is_err());
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "chain")]
#[rkyv(serialize_bounds(
    __S: rkyv::ser::Writer + rkyv::ser::Allocator,
    __S::Error: rkyv::rancor::Source
))]
#[rkyv(deserialize_bounds(__D::Error: rkyv::rancor::Source))]
#[rkyv(bytecheck(bounds(
    __C: rkyv::validation::ArchiveContext,
    __C::Error: rkyv::rancor::Source
)))]
struct Chain {
    #[rkyv(omit_bounds)]
    #[schema(opaque = "chain-v1")]
    next: Option<Box<Self>>,
}

fn chain(length: usize) -> Chain {
    (0..length).fold(Chain { next: None }, |next, _| Chain { next: Some(Box::new(next)) })
}

#[test]
fn depth_is_bounded() {
    assert!(access::<Chain>(&archive(&chain(DEPTH_MAX))).is_ok());
    for length in [DEPTH_MAX + 1, 5_000] {
        let result = access::<Chain>(&archive(&chain(length))).err();
        assert_eq!(result, Some(DecodeError::Invalid), "{length} links");
    }
}

#[derive(Debug, PartialEq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "large-map")]
struct LargeMap(BTreeMap<u32, String>);

#[test]
fn maps_of_every_size_come_back() {
    for size in [0, 1, 4, 5, 6, 29, 30, 31, 200, 2_000] {
        let event = LargeMap((0..size).map(|key| (key, format!("value {key}"))).collect());
        assert_eq!(round_trip(&event), event, "{size} entries");
    }
}

/// Other builds read these bytes: when this fails, `schema::FORMAT` must change too.
#[test]
fn golden_bytes() {
    let event = Heartbeat {
        node: "analytics-01".into(),
        node_id: 0x0102_0304_0506_0708,
        unix_ms: 1_700_000_000_000,
        load_1m_milli: 1_520,
        memory_used_bytes: 1 << 30,
        memory_total_bytes: 1 << 34,
        services: vec!["search".into(), "a-long-service-name".into()],
    };
    let expected = concat!(
        "616e616c79746963732d3031",               // "analytics-01"
        "612d6c6f6e672d736572766963652d6e616d65", // "a-long-service-name"
        "00",                                     // up to a multiple of 4
        "736561726368ffff",                       // services[0]: "search", in place
        "93000000e4ffffff",                       // services[1]: 19 bytes, 28 before
        "8c000000d0ffffff",                       // node: 12 bytes, 48 before
        "0807060504030201",                       // node_id
        "0068e5cf8b010000",                       // unix_ms
        "f005000000000000",                       // load_1m_milli, up to a multiple of 8
        "0000004000000000",                       // memory_used_bytes
        "0000000004000000",                       // memory_total_bytes
        "c0ffffff02000000",                       // services: 2, 64 before
    );
    assert_eq!(hex(&archive(&event)), expected);
    assert_eq!(round_trip(&event), event);
}

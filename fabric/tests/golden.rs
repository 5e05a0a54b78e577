//! The bytes of every released version of the events that Wireloom brings along.
//!
//! `tests/golden/TYPE.vN.txt` holds one event as JSON, the fingerprint of its schema, and its
//! archive. Programs of other builds read these bytes: a released file never changes. Who changes
//! a type gives it the next version and adds a file; begin it with its `json` line alone, and the
//! failing test prints the rest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rkyv::util::AlignedVec;
use wireloom::encode::Scratch;
use wireloom::events::codecs;
use wireloom::json::JsonCodec;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The files by name, without their ending.
fn files() -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder()).expect("the folder is in the tree");
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("text"))
    };
    entries.map(|entry| read(entry.expect("readable").path())).collect()
}

/// The file of an event's version.
fn name(codec: &JsonCodec) -> String {
    format!("{}.v{}", codec.type_name(), codec.version().number)
}

fn archive(codec: &JsonCodec, json: &str) -> AlignedVec {
    let mut bytes = AlignedVec::new();
    bytes.resize(4_096, 0xAA);
    let length = codec
        .archive_from_json(json.as_bytes(), &mut bytes, &mut Scratch::default())
        .unwrap_or_else(|error| panic!("{}: {error}", codec.type_name()));
    bytes.resize(length, 0);
    bytes
}

/// What the file of this event says when nothing has changed.
fn written(codec: &JsonCodec, json: &str) -> String {
    let bytes = archive(codec, json);
    let mut text = format!("json {json}\nfingerprint {:08x}\n", codec.fingerprint().0);
    for line in bytes.chunks(16) {
        text += "archive ";
        for byte in line {
            let _ = write!(text, "{byte:02x}");
        }
        text += "\n";
    }
    text
}

/// The archive that a file holds.
fn archived(text: &str) -> AlignedVec {
    let digits: String = text.lines().filter_map(|line| line.strip_prefix("archive ")).collect();
    let mut bytes = AlignedVec::new();
    for at in (0..digits.len()).step_by(2) {
        bytes.push(u8::from_str_radix(&digits[at..at + 2], 16).expect("two hexadecimal digits"));
    }
    bytes
}

#[test]
fn released_bytes_do_not_change() {
    let files = files();
    for codec in codecs() {
        let name = name(&codec);
        let text = files.get(&name).unwrap_or_else(|| panic!("tests/golden/{name}.txt is missing"));
        let json = text.lines().find_map(|line| line.strip_prefix("json ")).expect("a json line");
        let now = written(&codec, json);
        assert!(*text == now, "{name} has changed; a released version never does. Now:\n{now}");
        // The other way: bytes of an older build say the same here.
        let mut read = Vec::new();
        codec.json_from_archive(&archived(text), &mut read).expect("an archive of this event");
        assert_eq!(String::from_utf8_lossy(&read), json, "{name}");
    }
}

#[test]
fn every_file_belongs_to_a_type() {
    let known: Vec<_> = codecs().iter().map(name).collect();
    for name in files().keys() {
        assert!(known.contains(name), "tests/golden/{name}.txt: no such event");
    }
}

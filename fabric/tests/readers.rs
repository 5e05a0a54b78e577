//! Texts and archives from somebody who means harm: the bounded half of the fuzz targets
//! (`fabric/fuzz`).

use proptest::prelude::*;
use wireloom::encode::Scratch;
use wireloom::{events, fuzz};

/// Everything that reads text.
const READERS: [fn(&[u8]); 5] =
    [fuzz::config, fuzz::rules, fuzz::policy, fuzz::text, fuzz::message];

const SAMPLES: [&str; 8] = [
    "[node]\nname = \"desk\"\n[tcp]\npool = 3\n[[rule]]\ntype = \"a.*\"\ntransport = \"tcp\"\n",
    "[[rule]]\ntype = \"metric.**\"\npriority = \">= high\"\nsize = \"> 1400\"\nto = \"auto\"\n\
     target = \"service:metrics?key=7\"\n",
    "mode = \"enforce\"\n[[role]]\nname = \"s\"\nnodes = [\"a\"]\n[[allow]]\nrole = \"s\"\n\
     verb = \"*\"\ntypes = \"**\"\n[[limit]]\nrole = \"s\"\ntypes = \"a\"\nrate = 1\nburst = 2\n",
    "reliable:(node:a|udp://127.0.0.1:9|service:s?round-robin)",
    "metric.*.c**d.**",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    r#"{"messageType":"request","context":{"uuid":"7c","environment":"browser"},"origin":"o",
        "endpoint":"e","payload":{"eventName":"a:b","data":[1,{}]},"correlationId":"c"}"#,
    r#"{"type":"chat:said","payload":{"x":1e300},"source":"s","context":"server"}"#,
];

#[test]
fn changed_texts_are_refused_or_make_sense() {
    let tokens: [&[u8]; 10] =
        [b"\0", b"\x1b[2J", b"\xff", b"[[", b"\"", b"*", b"|", b"(", b"\r\n", b"99999999999"];
    for sample in SAMPLES {
        let good = sample.as_bytes();
        for at in 0..=good.len() {
            for reader in READERS {
                reader(&good[..at]);
                let token = tokens[at % tokens.len()];
                reader(&[&good[..at], token, &good[at..]].concat());
                let end = (at + 7).min(good.len());
                reader(&[&good[..at], &good[end..]].concat());
            }
        }
    }
}

/// What stood where a number was read was shown as it was (found by `fabric/fuzz`, `policy`).
#[test]
fn what_is_shown_of_a_number_that_is_none_controls_no_terminal() {
    for number in ["99_99\0\09)9\"a\"", "9\u{1b}[2J9)\"a\""] {
        fuzz::policy(format!("[[deny]]\nnode = {number}\n").as_bytes());
        fuzz::rules(format!("[[rule]]\ntype = {number}\n").as_bytes());
        fuzz::config(format!("[tcp]\npool = {number}\n").as_bytes());
    }
}

#[test]
fn nesting_without_an_end_is_refused() {
    for depth in [64, 200, 100_000] {
        for open in ["[", "{\"a\":", "a = [", "[[", "a.", "(", "reliable:", "{ a = "] {
            let text = open.repeat(depth);
            READERS.iter().for_each(|reader| reader(text.as_bytes()));
            for kind in 0..12 {
                fuzz::json(&[&[kind], text.as_bytes()].concat());
            }
        }
    }
}

/// An archive of each type of the crate, behind the byte that says which.
fn archives() -> Vec<Vec<u8>> {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let codecs = events::codecs();
    let of = |(kind, codec): (usize, &wireloom::json::JsonCodec)| {
        let text = std::fs::read_to_string(golden.join(format!("{}.v1.txt", codec.type_name())));
        let text = text.expect("golden bytes of each type");
        let json = text.lines().find_map(|line| line.strip_prefix("json ")).expect("its JSON");
        let mut archive = vec![0; 64 << 10];
        let length = codec
            .archive_from_json(json.as_bytes(), &mut archive, &mut Scratch::new(1_024))
            .expect("the golden JSON");
        [&[u8::try_from(kind).expect("twelve")], &archive[..length]].concat()
    };
    codecs.iter().enumerate().map(of).collect()
}

#[test]
fn changed_archives_of_every_type_are_refused_or_can_be_read() {
    for good in archives() {
        for at in 1..good.len() {
            for change in [1, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= change;
                fuzz::archive(&bytes);
            }
            // A relative pointer or a length that lies.
            for value in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
                let mut bytes = good.clone();
                let room = (good.len() - at).min(4);
                bytes[at..at + room].copy_from_slice(&u32::to_le_bytes(value)[..room]);
                fuzz::archive(&bytes);
            }
            fuzz::archive(&good[..at]);
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_bytes_are(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        READERS.iter().for_each(|reader| reader(&bytes));
        fuzz::archive(&bytes);
        fuzz::json(&bytes);
    }
}

//! What is told about a line, and how a line becomes JSON.

use super::{column, json_fault, quote};

#[test]
fn columns_count_characters() {
    assert_eq!(column(b"", 0), 1);
    assert_eq!(column(b"abc", 2), 3);
    assert_eq!(column("größe".as_bytes(), "grö".len()), 4);
    assert_eq!(column("🧵x".as_bytes(), 4), 2);
    assert_eq!(column(b"abc", 99), 4);
}

#[test]
fn a_fault_is_told_with_its_place_and_what_to_do() {
    for (line, place, told) in [
        ("", 1, "with --raw"),
        (" \t", 1, "with --raw"),
        ("{\"a\":}", 6, "expected value"),
        ("{\"ö\":}", 6, "expected value"),
        ("hello", 1, "--raw publishes"),
        ("ähnlich", 1, "--raw publishes"),
        ("{\"a\":1} x", 9, "trailing"),
        ("{\"a\":1", 6, "EOF"),
        ("\u{feff}{}", 1, "byte order mark"),
    ] {
        let (column, reason) = json_fault(line.as_bytes());
        assert!(reason.contains(told), "{line:?}: {reason}");
        assert_eq!(column, place, "{line:?}: {reason}");
        assert!(!reason.contains("at line"), "{line:?}: {reason}");
    }
}

#[test]
fn any_text_becomes_a_json_string_and_back() {
    for text in ["", "x", "a \"quoted\" \\ line\r", "größe 🧵\u{9b}\0", "\u{2028}"] {
        let mut json = Vec::new();
        quote(text.as_bytes(), &mut json);
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        assert!(!json.contains(&b'\n'));
    }
}

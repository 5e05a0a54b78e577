//! Where a line that is refused goes wrong, and why, in words that help.

/// The column, counted in characters from 1, of the byte at `offset` of a line.
pub(super) fn column(line: &[u8], offset: usize) -> usize {
    let before = &line[..offset.min(line.len())];
    // Every character has one byte that is not a continuation (RFC 3629).
    before.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1
}

/// Where a line stops being JSON, as a column, and why.
pub(super) fn json_fault(line: &[u8]) -> (usize, String) {
    if line.iter().all(u8::is_ascii_whitespace) {
        let reason = "an empty line is not JSON; with --raw it would be the text \"\"";
        return (1, reason.to_owned());
    }
    if line.starts_with("\u{feff}".as_bytes()) {
        return (1, "a byte order mark is not JSON: save the file without one".to_owned());
    }
    let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(line) else {
        return (1, "not JSON".to_owned());
    };
    let place = format!(" at line {} column {}", error.line(), error.column());
    let told = error.to_string();
    let reason = told.strip_suffix(&place).unwrap_or(&told);
    let hint = if looks_like_text(line) { "; --raw publishes lines that are text" } else { "" };
    // Told as the last byte read, except that of a control character it is the one before.
    let before = usize::from(!reason.starts_with("control character"));
    (column(line, error.column().saturating_sub(before)), format!("not JSON: {reason}{hint}"))
}

/// Whether a line begins with a letter: a word, most likely, not a JSON value with a fault.
fn looks_like_text(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    text.trim_start().starts_with(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("\"ö \u{1}\"", 4, "control character"),
            ("\"ö \\x\"", 5, "invalid escape"),
            ("\u{feff}{}", 1, "byte order mark"),
        ] {
            let (column, reason) = json_fault(line.as_bytes());
            assert!(reason.contains(told), "{line:?}: {reason}");
            assert_eq!(column, place, "{line:?}: {reason}");
            assert!(!reason.contains("at line"), "{line:?}: {reason}");
        }
    }
}

//! Text as people read it: control characters made visible, numbers with separators, sizes with a
//! unit. Plain functions; nothing here writes anywhere.

use std::borrow::Cow;

/// `text` with every control character (C0, DEL and C1, which terminals take as commands) and line
/// break written as `\u{…}`: what came from outside cannot move a cursor or forge a line.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if letter.is_control() {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

/// `text` cut to `columns` characters, the last one an ellipsis where something was cut. Counts
/// characters, which is right for most scripts and a little wide for none.
pub(crate) fn shortened(text: &str, columns: usize) -> Cow<'_, str> {
    if text.chars().count() <= columns {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    Cow::Owned(kept + "…")
}

/// A count with separators: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count and its noun: `1 event`, `2 events`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Nanoseconds as microseconds with three significant digits or all before the point.
pub(crate) fn micros(nanoseconds: u64) -> String {
    let (whole, rest) = (nanoseconds / 1_000, nanoseconds % 1_000);
    match whole {
        0..=9 => format!("{whole}.{:02}", rest / 10),
        10..=99 => format!("{whole}.{}", rest / 100),
        _ => count(whole),
    }
}

/// Bytes as the largest binary unit that keeps the number readable: `15.6 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut unit_bytes = 1_u64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        let whole = bytes / unit_bytes;
        if whole < 1_024 || unit == "GiB" {
            let tenth = bytes % unit_bytes * 10 / unit_bytes;
            return if unit == "B" || whole >= 100 {
                format!("{} {unit}", count(whole))
            } else {
                format!("{whole}.{tenth} {unit}")
            };
        }
        unit_bytes *= 1_024;
    }
    count(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible_and_nothing_else_changes() {
        for plain in ["", "plain", "größe 🧵", "tab is not, but \u{a0} is"] {
            assert!(matches!(printable(plain), Cow::Borrowed(same) if same == plain), "{plain:?}");
        }
        assert_eq!(printable("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(printable("a\nb\tc\x7f\u{9b}d"), "a\\u{a}b\\u{9}c\\u{7f}\\u{9b}d");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shortened("größe", 5), "größe");
        assert_eq!(shortened("größere", 5), "größ…");
        assert_eq!(shortened("ab", 0), "…");
    }

    #[test]
    fn numbers_read_well() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "line"), "1 line");
        assert_eq!(counted(0, "line"), "0 lines");
        for (nanoseconds, text) in
            [(0, "0.00"), (999, "0.99"), (1_230, "1.23"), (45_678, "45.6"), (1_000_000, "1,000")]
        {
            assert_eq!(micros(nanoseconds), text);
        }
        for (number, text) in [
            (0, "0 B"),
            (1_023, "1,023 B"),
            (1_536, "1.5 KiB"),
            (200 << 10, "200 KiB"),
            (16 << 30, "16.0 GiB"),
            (5_000 << 30, "5,000 GiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}

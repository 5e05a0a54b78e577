//! How deep and how full a JSON text is, from one look at its bytes: before anything is read or
//! allocated. It knows brackets, commas and strings, and leaves it to the reader whether the rest
//! is JSON. Plain functions over bytes.

/// What a text has more of than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// It nests deeper.
    Depth,
    /// It has more values.
    Values,
}

/// Whether a text nests at most `depth_max` deep and has at most `values_max` values; the first
/// bound it breaks. A bracket within a string is text. Does not recurse and allocates nothing;
/// about 1 ns a byte. Of what is not JSON the answer is some answer.
pub(crate) fn within(text: &[u8], depth_max: usize, values_max: usize) -> Result<(), Beyond> {
    let (mut depth, mut values) = (0_usize, 1_usize);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => pass_string(&mut bytes),
            b'{' | b'[' => (depth, values) = (depth + 1, values + 1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => continue,
        }
        if depth > depth_max {
            return Err(Beyond::Depth);
        }
        if values > values_max {
            return Err(Beyond::Values);
        }
    }
    Ok(())
}

/// Goes on behind the string that has begun.
fn pass_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.find(|byte| matches!(byte, b'"' | b'\\')) {
        // What is escaped ends nothing.
        if *byte == b'"' || bytes.next().is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(open: &str, inner: &str, close: &str, levels: usize) -> String {
        open.repeat(levels) + inner + &close.repeat(levels)
    }

    fn depth(text: &str) -> Result<(), Beyond> {
        within(text.as_bytes(), 128, usize::MAX)
    }

    #[test]
    fn a_text_may_nest_as_deep_as_it_may_and_no_deeper() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
            let levels = 128 / open.matches(['[', '{']).count();
            assert_eq!(depth(&nested(open, "1", close, levels)), Ok(()), "{open}");
            assert_eq!(depth(&nested(open, "[]", close, levels)), Err(Beyond::Depth), "{open}");
            assert_eq!(depth(&nested(open, "1", close, 10_000)), Err(Beyond::Depth), "{open}");
        }
        // Beside each other they are not deep, and what is closed too often opens no room.
        assert_eq!(depth(&"[],".repeat(10_000)), Ok(()));
        let text = "]".repeat(200) + &"[".repeat(129);
        assert_eq!(depth(&text), Err(Beyond::Depth));
        assert_eq!(depth(&"[".repeat(10_000_000)), Err(Beyond::Depth));
    }

    #[test]
    fn brackets_in_strings_are_text_wherever_a_string_ends() {
        let open = "[".repeat(200);
        for text in [
            format!("\"{open}\""),
            format!("{{\"{open}\":\"{open}\"}}"),
            format!("\"\\\"{open}\""),
            format!("\"\\\\\\\"{open}\""),
            format!("\"\\u005b{open}é{open}\""),
            format!("\"{open}\\"),
            format!("\"{open}"),
        ] {
            assert_eq!(depth(&text), Ok(()), "{text}");
        }
        // Behind the string they count again.
        for text in [format!("\"a\"{open}"), format!("\"\\\\\"{open}"), format!("\"\",\"\"{open}")]
        {
            assert_eq!(depth(&text), Err(Beyond::Depth), "{text}");
        }
    }

    #[test]
    fn values_are_counted_outside_of_strings() {
        let values = |text: &str, most| within(text.as_bytes(), 128, most);
        assert_eq!(values("[1,2,3]", 4), Ok(()));
        assert_eq!(values("[1,2,3]", 3), Err(Beyond::Values));
        assert_eq!(values("\",,,,,,,,\"", 1), Ok(()));
    }
}

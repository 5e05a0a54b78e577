//! Which known word somebody probably meant.

/// Longer words are nobody's slip of a known one; the distance costs length × length.
const WORD_BYTES_MAX: usize = 64;

/// The known word with the least edit distance (insertions, deletions, changes, swaps; Damerau
/// 1964), if at most a third of the letters differ, or one at least.
pub(crate) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > WORD_BYTES_MAX {
        return None;
    }
    let text = text.to_lowercase();
    let distances = known.map(|word| (strsim::damerau_levenshtein(&text, word), word));
    let (distance, word) = distances.min_by_key(|(distance, _)| *distance)?;
    let allowed = (word.chars().count().max(text.chars().count()) / 3).max(1);
    (distance <= allowed).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognized_and_other_words_are_not() {
        let near = |text| nearest(text, ["timeout", "pool", "ttl"].into_iter());
        assert_eq!(near("tiemout"), Some("timeout"));
        assert_eq!(near("Pol"), Some("pool"));
        assert_eq!(near("tt"), Some("ttl"));
        assert_eq!(near("multicast"), None);
        assert_eq!(near(""), None);
        assert_eq!(near(&"timeout".repeat(20)), None);
    }
}

//! Patterns of event types: `user-*`, `metric.*`, `metric.**`, or one exact name.
//!
//! Pure text. Patterns are asked when something is set up or a type is met for the first time,
//! never for each event: what they say is remembered by type.

use std::fmt;
use std::str::FromStr;

use wireloom_wire::NAME_BYTES_MAX;

/// Stands for any further segments.
const REST: &str = "**";

/// Which event types are meant, by name.
///
/// A name is read as segments between dots. In a segment `*` stands for any letters, also none,
/// but no dot; a last segment `**` stands for one or more segments, whatever is in them.
///
/// | pattern | has | has not |
/// |---|---|---|
/// | `heartbeat` | `heartbeat` | `heartbeat.v2` |
/// | `user-*` | `user-interaction`, `user-` | `user`, `user-x.y` |
/// | `metric.*` | `metric.cpu` | `metric`, `metric.cpu.load` |
/// | `metric.**` | `metric.cpu`, `metric.cpu.load` | `metric`, `metrics.cpu` |
/// | `**` | every name | |
///
/// The text is the canonical form: two patterns that have the same names are the same text.
/// [`TypePattern::matches`] costs some ns a letter, and steps of letters × letters at worst.
///
/// ```
/// use wireloom::TypePattern;
/// let metrics: TypePattern = "metric.**".parse()?;
/// assert!(metrics.matches("metric.cpu.load"));
/// assert!(metrics.intersects(&"*.cpu".parse()?));
/// assert!(metrics.covers(&"metric.*".parse()?));
/// # Ok::<(), wireloom::PatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TypePattern(Box<str>);

impl TypePattern {
    /// The pattern of every type.
    #[must_use]
    pub fn every() -> Self {
        Self(REST.into())
    }

    /// The text, which is the canonical form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one name and no pattern.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether it has this name. What is no name of a type is nobody's concern here.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = name.split('.');
        for segment in self.0.split('.') {
            match parts.next() {
                Some(_) if segment == REST => return true,
                Some(part) if glob(segment, part) => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }

    /// Whether the two have a name in common that an event type can have.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        let ((one, one_goes_on), (two, two_goes_on)) = (self.segments(), other.segments());
        let open = match one.len().cmp(&two.len()) {
            std::cmp::Ordering::Less => one_goes_on,
            std::cmp::Ordering::Greater => two_goes_on,
            std::cmp::Ordering::Equal => one_goes_on == two_goes_on,
        };
        if !open {
            return false;
        }
        // The shorter one's `**` takes what the longer one has more; where both go on, one more.
        let both: Option<usize> =
            one.iter().zip(&two).map(|(one, two)| shortest_common(one, two)).sum();
        let Some(both) = both else { return false };
        let longer = if one.len() > two.len() { &one } else { &two };
        let rest = &longer[one.len().min(two.len())..];
        let letters: usize = rest.iter().map(|segment| segment.replace('*', "").len()).sum();
        let segments = longer.len() + usize::from(one_goes_on && two_goes_on);
        both + letters + segments.saturating_sub(1) <= NAME_BYTES_MAX
    }

    /// Whether every name of `other` is one of this pattern. `true` is certain; `false` may be said
    /// of a pattern that names nearly every letter.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let ((own, own_goes_on), (others, others_go_on)) = (self.segments(), other.segments());
        let counts = if own_goes_on {
            others.len() + usize::from(others_go_on) > own.len()
        } else {
            others.len() == own.len() && !others_go_on
        };
        // A `*` of the other is a letter that only a `*` takes.
        counts && own.iter().zip(&others).all(|(own, other)| glob(own, other))
    }

    /// The segments before a last `**`, and whether there is one.
    fn segments(&self) -> (Vec<&str>, bool) {
        let mut segments: Vec<&str> = self.0.split('.').collect();
        let goes_on = segments.last() == Some(&REST);
        if goes_on {
            segments.pop();
        }
        (segments, goes_on)
    }
}

/// Whether a text has the form of a pattern in which `*` stands for any run of letters.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut star, mut taken) = (0, None, 0);
    let mut place = 0;
    while place < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                (star, taken) = (Some(at), place);
                at += 1;
            }
            Some(letter) if *letter == text[place] => {
                at += 1;
                place += 1;
            }
            _ => {
                // The last star takes one letter more: what came before it matched already.
                let Some(star) = star else { return false };
                taken += 1;
                (at, place) = (star + 1, taken);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

/// The length of the shortest text that two segments have in common.
fn shortest_common(one: &str, two: &str) -> Option<usize> {
    let (one, two) = (one.as_bytes(), two.as_bytes());
    let never = usize::MAX;
    let after = |cell: usize, letters: usize| cell.saturating_add(letters);
    // `row[j]`: the shortest text of both rests, `one[i..]` and `two[j..]`, from the end backwards.
    let mut row = vec![never; two.len() + 1];
    for i in (0..=one.len()).rev() {
        let below = row;
        row = vec![never; two.len() + 1];
        for j in (0..=two.len()).rev() {
            row[j] = match (one.get(i), two.get(j)) {
                (None, None) => 0,
                (Some(b'*'), None) => below[j],
                (None, Some(b'*')) => row[j + 1],
                (Some(b'*'), Some(b'*')) => below[j].min(row[j + 1]),
                (Some(b'*'), Some(_)) => below[j].min(after(row[j + 1], 1)),
                (Some(_), Some(b'*')) => row[j + 1].min(after(below[j], 1)),
                (Some(a), Some(b)) if a == b => after(below[j + 1], 1),
                _ => never,
            };
        }
    }
    (row[0] < never).then_some(row[0])
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TypePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(PatternError::TooLong(text.len()));
        }
        let known = |letter: char| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-._*".contains(letter)
        };
        if let Some(letter) = text.chars().find(|letter| !known(*letter)) {
            let near = suggestion(text);
            return Err(PatternError::Letter { pattern: text.into(), letter, near });
        }
        let last = text.rsplit('.').next();
        let stars = text.matches(REST).count();
        if stars > usize::from(last == Some(REST)) || text.contains("***") {
            return Err(PatternError::Stars(text.into()));
        }
        Ok(Self(text.into()))
    }
}

/// What somebody who knows the patterns of another system probably meant.
fn suggestion(text: &str) -> String {
    let lower = text.to_ascii_lowercase().replace(['#', '>'], REST).replace('+', "*");
    // Without a difference the text is asked for itself, for ever.
    if lower == text {
        return String::new();
    }
    lower
        .parse::<TypePattern>()
        .map_or_else(|_| String::new(), |near| format!("; did you mean {near}?"))
}

/// Text that is no pattern, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Nothing there.
    #[error("an empty pattern has no type: write ** for every type")]
    Empty,
    /// More bytes than a name can have.
    #[error("a pattern has at most {NAME_BYTES_MAX} bytes, as a name has; this one has {0}")]
    TooLong(usize),
    /// A letter that no name has.
    #[error(
        "{letter:?} stands in no type's name, so {pattern:?} has none: write a-z, 0-9, '-', '.', \
         '_', and * or ** for what is open{near}"
    )]
    Letter {
        /// The text.
        pattern: Box<str>,
        /// Its first wrong letter.
        letter: char,
        /// What was probably meant, as the end of the sentence.
        near: String,
    },
    /// `**` where it cannot stand.
    #[error(
        "** stands for further segments, as the last one alone: metric.**; inside a segment write \
         * ({0:?})"
    )]
    Stars(Box<str>),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> TypePattern {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn patterns_have_the_names_they_say() {
        for (text, has, has_not) in [
            ("heartbeat", &["heartbeat"][..], &["heartbeat.v2", "heartbeats", "heart"][..]),
            ("user-*", &["user-interaction", "user-"], &["user", "user-x.y", "auser-x"]),
            ("metric.*", &["metric.cpu", "metric."], &["metric", "metric.cpu.load", "metrics.cpu"]),
            ("metric.**", &["metric.cpu", "metric.cpu.load"], &["metric", "metrics.cpu"]),
            ("*.error", &["disk.error"], &["error", "a.b.error"]),
            ("a*b*c", &["abc", "a-b-b-c", "abbcc"], &["acb", "ab.c", "abcd"]),
            ("*", &["x"], &["x.y"]),
            ("**", &["x", "x.y", "..."], &[]),
        ] {
            let pattern = pattern(text);
            assert_eq!(pattern.to_string(), text);
            assert_eq!(pattern.is_exact(), text == "heartbeat");
            for name in has {
                assert!(pattern.matches(name), "{text} has {name}");
            }
            for name in has_not {
                assert!(!pattern.matches(name), "{text} has not {name}");
            }
        }
    }

    #[test]
    fn two_patterns_share_a_name_or_one_covers_the_other() {
        let long = |begin: &str| format!("{}*", begin.repeat(200));
        let (ends_b, begins_a) = (format!("*{}", "b".repeat(200)), long("a"));
        for (one, two, share, covers) in [
            ("user-*", "*-interaction", true, false),
            ("metric.*", "metric.**", true, false),
            ("metric.**", "metric.*", true, true),
            ("metric.**", "metric.**", true, true),
            ("metric.*", "metric", false, false),
            ("metric.**", "metric", false, false),
            ("**", "metric.*.x", true, true),
            ("a.**", "*.b.**", true, false),
            ("a*", "ab*c", true, true),
            ("*a", "a*", true, false),
            ("a*c", "b*c", false, false),
            ("a.*", "*.b", true, false),
            (begins_a.as_str(), "a*", true, false),
            // 400 letters: no name is as long.
            (begins_a.as_str(), ends_b.as_str(), false, false),
        ] {
            let (one, two) = (pattern(one), pattern(two));
            assert_eq!(one.intersects(&two), share, "{one} and {two}");
            assert_eq!(two.intersects(&one), share, "{two} and {one}");
            assert_eq!(one.covers(&two), covers, "{one} covers {two}");
        }
    }

    #[test]
    fn text_that_is_no_pattern_says_why() {
        for (text, told) in [
            ("", "** for every type"),
            ("  ", "** for every type"),
            ("User-*", "did you mean user-*?"),
            ("metric.#", "did you mean metric.**?"),
            ("a b", "' '"),
            ("größe", "'ö'"),
            ("a\u{1b}[2J", "'\\u{1b}'"),
            ("**.error", "as the last one alone"),
            ("user**", "inside a segment write *"),
            ("a.***", "as the last one alone"),
            ("a.**.**", "as the last one alone"),
            (&"x".repeat(256), "255 bytes"),
        ] {
            let error = text.parse::<TypePattern>().expect_err(text).to_string();
            assert!(error.contains(told), "{text:?}: {error}");
            assert!(!error.contains('\u{1b}'));
        }
    }

    /// What a pattern means, written as it is said, without care for time.
    fn means(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', b'*'] => true,
            [b'*', rest @ ..] => {
                let dot = name.iter().position(|letter| *letter == b'.').unwrap_or(name.len());
                (0..=dot).any(|taken| means(rest, &name[taken..]))
            }
            [letter, rest @ ..] => name.first() == Some(letter) && means(rest, &name[1..]),
        }
    }

    fn any_pattern() -> impl Strategy<Value = String> {
        ("[ab.]{0,3}(\\*[ab.]{1,2}){0,2}\\*?", any::<bool>()).prop_map(|(text, goes_on)| {
            match goes_on {
                true if text.is_empty() => "**".to_owned(),
                true => format!("{text}.**"),
                false if text.is_empty() => "*".to_owned(),
                false => text,
            }
        })
    }

    /// Every name of up to five letters of those the patterns are made of, and one more.
    fn names() -> Vec<String> {
        let mut names = vec![String::new()];
        let mut begin = 0;
        for _ in 0..5 {
            let end = names.len();
            for at in begin..end {
                for letter in ['a', 'b', 'c', '.'] {
                    names.push(format!("{}{letter}", names[at]));
                }
            }
            begin = end;
        }
        names.split_off(1)
    }

    proptest! {
        #[test]
        fn matching_is_what_is_said(text in any_pattern(), name in "[abc.]{1,9}") {
            let pattern = pattern(&text);
            prop_assert_eq!(pattern.matches(&name), means(text.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn sharing_and_covering_are_about_names(one in any_pattern(), two in any_pattern()) {
            let (one, two) = (pattern(&one), pattern(&two));
            let names = names();
            let common = names.iter().any(|name| one.matches(name) && two.matches(name));
            // What is shared may be longer than the names tried; what is tried must be shared.
            prop_assert!(!common || one.intersects(&two), "{} {}", one, two);
            let short = one.as_str().len() + two.as_str().len() <= 6;
            prop_assert!(!short || common == one.intersects(&two), "{} {}", one, two);
            let beyond = names.iter().find(|name| two.matches(name) && !one.matches(name));
            prop_assert!(!one.covers(&two) || beyond.is_none(), "{one} {two} {beyond:?}");
            prop_assert!(one.covers(&two) || beyond.is_some() || !short, "{one} {two}");
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}", name in "[a-z.]{0,40}") {
            if let Ok(pattern) = text.parse::<TypePattern>() {
                let _ = pattern.matches(&name);
            }
        }
    }
}

//! What a key of the configuration is: its place, its kind of value with bounds, what it means, and
//! whether this version does anything with it.

use std::time::Duration;

use super::keys::Id;
use super::profile::Profile;
use super::text::Form;
use super::value::{Value, bytes_text, time_text};

/// One key of the table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub(super) id: Id,
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The word for "not said" ([`Value::Unset`]), for keys that may stay open.
    pub(super) unset: Option<&'static str>,
    default: &'static str,
    /// What browser, server and cluster say.
    profiles: [Option<&'static str>; 3],
    pub(super) meaning: &'static str,
    pub(super) effect: Effect,
}

/// What a value may be. Bounds are inclusive.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count(u64, u64),
    /// One of these numbers.
    Choice(&'static [u64]),
    /// A size, bytes.
    Bytes(u64, u64),
    /// A span of time.
    Time(Duration, Duration),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Text of a form.
    Text(Form),
    /// At most so many texts of a form.
    Texts(Form, usize),
    /// At most so many numbers up to a greatest.
    Counts(usize, u64),
}

/// Whether this version does what a key says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Effect {
    /// The node does it.
    Applied,
    /// It is always as this value says; another has no effect, for the reason.
    Always(&'static str, &'static str),
    /// It has no effect yet, for the reason.
    None(&'static str),
}

impl Key {
    /// A key with the default as it would be written on a command line.
    pub(super) const fn new(
        id: Id,
        place: (&'static str, &'static str),
        kind: Kind,
        default: &'static str,
    ) -> Self {
        Self {
            id,
            section: place.0,
            name: place.1,
            kind,
            unset: None,
            default,
            profiles: [None; 3],
            meaning: "",
            effect: Effect::Applied,
        }
    }

    /// A key that may stay open; `word` stands for that.
    pub(super) const fn open(
        id: Id,
        place: (&'static str, &'static str),
        kind: Kind,
        word: &'static str,
    ) -> Self {
        let mut key = Self::new(id, place, kind, word);
        key.unset = Some(word);
        key
    }

    /// What the profiles browser, server and cluster say.
    pub(super) const fn profiles(mut self, says: [Option<&'static str>; 3]) -> Self {
        self.profiles = says;
        self
    }

    /// What server and cluster say.
    pub(super) const fn servers(self, says: &'static str) -> Self {
        self.profiles([None, Some(says), Some(says)])
    }

    /// What cluster says.
    pub(super) const fn cluster(self, says: &'static str) -> Self {
        self.profiles([None, None, Some(says)])
    }

    pub(super) const fn means(mut self, meaning: &'static str) -> Self {
        self.meaning = meaning;
        self
    }

    pub(super) const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// The section the key stands in.
    #[must_use]
    pub const fn section(&self) -> &'static str {
        self.section
    }

    /// The key's name in its section.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// `section.name`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable of the key: `WIRELOOM_SECTION_NAME`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}_{}", self.section, self.name).to_uppercase()
    }

    /// What the key means, one or more sentences.
    #[must_use]
    pub const fn meaning(&self) -> &'static str {
        self.meaning
    }

    /// What is allowed, in words: `a time from 1 ms to 10 min`.
    #[must_use]
    pub fn allowed(&self) -> String {
        let allowed = self.kind.allowed();
        match self.unset {
            Some(word) => format!("{allowed}, or \"{word}\""),
            None => allowed,
        }
    }

    /// What stands when nobody says anything, as text.
    #[must_use]
    pub const fn default_text(&self) -> &'static str {
        self.default
    }

    /// What a profile says of it, as text; none leaves the default.
    #[must_use]
    pub const fn profile_text(&self, profile: Profile) -> Option<&'static str> {
        self.profiles[profile as usize]
    }

    /// Why `value` has no effect in this version, if it has none.
    #[must_use]
    pub fn no_effect(&self, value: &Value) -> Option<&'static str> {
        match self.effect {
            Effect::Applied => None,
            Effect::Always(text, reason) => (self.text_of(value) != text).then_some(reason),
            Effect::None(reason) => Some(reason),
        }
    }

    /// A value as text, which [`Key::value_of`] reads again.
    pub(super) fn text_of(&self, value: &Value) -> String {
        match value {
            Value::Unset => self.unset.unwrap_or_default().to_owned(),
            other => other.to_string(),
        }
    }
}

/// How every environment variable of the configuration begins.
pub(super) const VARIABLE_PREFIX: &str = "wireloom_";

impl Kind {
    /// What is allowed, in words.
    pub(super) fn allowed(&self) -> String {
        match *self {
            Self::Flag => "true or false".to_owned(),
            Self::Count(min, max) => format!("a whole number from {min} to {max}"),
            Self::Choice(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                numbers.join(" or ")
            }
            Self::Bytes(min, max) => {
                format!("a size from {} to {}", bytes_text(min), bytes_text(max))
            }
            Self::Time(min, max) => {
                format!("a time from {} to {}", time_text(min), time_text(max))
            }
            Self::Word(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                words.join(", ")
            }
            Self::Text(form) => form.allowed().to_owned(),
            Self::Texts(form, most) => format!("at most {most}, each {}", form.allowed()),
            Self::Counts(most, greatest) => {
                format!("at most {most} whole numbers from 0 to {greatest}")
            }
        }
    }
}

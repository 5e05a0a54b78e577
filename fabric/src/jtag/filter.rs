//! Which events a stream takes.

use regex_lite::{Regex, RegexBuilder};

use super::message::Environment;
use super::wrapper::LegacyEvent;

/// Longest regular expression, in bytes.
pub const REGEX_BYTES_MAX: usize = 1_000;

/// Largest compiled regular expression, in bytes.
const REGEX_SIZE_MAX: usize = 256 << 10;

/// A name, or what names look like.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// This text.
    Exact(String),
    /// What the expression finds something in, as JavaScript's `test` does. Searching costs at most
    /// the length of the name times the size of the expression; names have at most 255 bytes.
    Regex(Regex),
}

/// The text is no regular expression, or one beyond the bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: write a regular expression of at most {REGEX_BYTES_MAX} bytes")]
pub struct PatternError(String);

impl Pattern {
    /// A regular expression, in the syntax of the crate `regex` (no look-around, no references).
    ///
    /// # Errors
    /// [`PatternError`] says what is wrong with it.
    pub fn regex(text: &str) -> Result<Self, PatternError> {
        if text.len() > REGEX_BYTES_MAX {
            return Err(PatternError("the expression is too long".into()));
        }
        let made = RegexBuilder::new(text).size_limit(REGEX_SIZE_MAX).nest_limit(50).build();
        made.map(Self::Regex).map_err(|error| PatternError(error.to_string()))
    }

    fn takes(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self::Exact(text.to_owned())
    }
}

type Predicate = Box<dyn Fn(&LegacyEvent) -> bool + Send + Sync>;

/// Which events are wanted: those that everything said here is true of. [`Filter::all`] wants all.
///
/// ```
/// use wireloom::jtag::{Environment, Filter, Pattern};
///
/// let failures = Filter::all()
///     .event_name(Pattern::regex("^(system|transport)[.:]error$")?)
///     .context(Environment::Server)
///     .predicate(|event| event.data["recoverable"] != true);
/// # Ok::<(), wireloom::jtag::PatternError>(())
/// ```
#[derive(Default)]
pub struct Filter {
    event_name: Option<Pattern>,
    source: Option<Pattern>,
    context: Option<Environment>,
    predicate: Option<Predicate>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter")
            .field("event_name", &self.event_name)
            .field("source", &self.source)
            .field("context", &self.context)
            .field("predicate", &self.predicate.is_some())
            .finish()
    }
}

impl Filter {
    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Events of this name.
    #[must_use]
    pub fn event_name(mut self, name: impl Into<Pattern>) -> Self {
        self.event_name = Some(name.into());
        self
    }

    /// Events of this source.
    #[must_use]
    pub fn source(mut self, source: impl Into<Pattern>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Events of this kind of place.
    #[must_use]
    pub const fn context(mut self, context: Environment) -> Self {
        self.context = Some(context);
        self
    }

    /// Events that `predicate` says yes to. It runs where the event is given out; one that panics
    /// says no.
    #[must_use]
    pub fn predicate(
        mut self,
        predicate: impl Fn(&LegacyEvent) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.predicate = Some(Box::new(predicate));
        self
    }

    /// Whether the event is wanted.
    #[must_use]
    pub fn takes(&self, event: &LegacyEvent) -> bool {
        self.event_name.as_ref().is_none_or(|pattern| pattern.takes(&event.name))
            && self.source.as_ref().is_none_or(|pattern| pattern.takes(&event.source))
            && self.context.is_none_or(|context| context == event.context)
            && self.predicate.as_ref().is_none_or(|predicate| predicate(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_said_has_to_be_true() {
        let from = ("desk", Environment::Server);
        let event = LegacyEvent::new("system.ready", json!({ "version": "1" }), from);
        let regex = |text| Pattern::regex(text).unwrap();
        for (filter, takes) in [
            (Filter::all(), true),
            (Filter::all().event_name("system.ready"), true),
            (Filter::all().event_name("system"), false),
            (Filter::all().event_name(regex("^system[.]")), true),
            (Filter::all().event_name(regex("ready")), true),
            (Filter::all().event_name(regex("^ready")), false),
            (Filter::all().source("desk"), true),
            (Filter::all().source(regex("D")), false),
            (Filter::all().context(Environment::Server), true),
            (Filter::all().context(Environment::Browser), false),
            (Filter::all().predicate(|event| event.data["version"] == "1"), true),
            (Filter::all().event_name("system.ready").predicate(|_| false), false),
        ] {
            assert_eq!(filter.takes(&event), takes, "{filter:?}");
        }
    }

    #[test]
    fn expressions_are_bounded() {
        for wrong in ["(", "[z-a]", &"a".repeat(1_001), "((a{1000}){1000}){1000}"] {
            assert!(Pattern::regex(wrong).is_err(), "{wrong}");
        }
        let nested = "(".repeat(400) + "a" + &")".repeat(400);
        assert!(Pattern::regex(&nested).is_err());
        // Exponential where expressions are searched by trying every way.
        let begin = std::time::Instant::now();
        let Pattern::Regex(regex) = Pattern::regex("^(a+)+$").unwrap() else { panic!() };
        assert!(!regex.is_match(&("a".repeat(254) + "!")));
        assert!(begin.elapsed() < std::time::Duration::from_secs(5));
    }
}

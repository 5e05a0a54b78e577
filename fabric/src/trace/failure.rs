//! Whether what a traced function returned is an error, and its words within a bound.
//!
//! The macro cannot see types, so the compiler chooses: `(&&&Returned(&value)).failure()` takes the
//! first of the traits below that fits the type, by the number of references it needs.

use std::fmt::{self, Debug, Display, Write};

use crate::trace::MESSAGE_BYTES_MAX;

/// What a traced function returned; for generated code.
#[doc(hidden)]
#[derive(Debug)]
pub struct Returned<'a, R>(pub &'a R);

/// A result whose error has words for people.
#[doc(hidden)]
pub trait ShowsDisplay {
    fn failure(&self) -> Option<String>;
}

impl<T, E: Display> ShowsDisplay for &&Returned<'_, Result<T, E>> {
    #[inline]
    fn failure(&self) -> Option<String> {
        self.0.as_ref().err().map(|error| cut_text(error, MESSAGE_BYTES_MAX))
    }
}

/// A result whose error has words for programmers alone.
#[doc(hidden)]
pub trait ShowsDebug {
    fn failure(&self) -> Option<String>;
}

impl<T, E: Debug> ShowsDebug for &Returned<'_, Result<T, E>> {
    #[inline]
    fn failure(&self) -> Option<String> {
        let error = self.0.as_ref().err();
        error.map(|error| cut_text(format_args!("{error:?}"), MESSAGE_BYTES_MAX))
    }
}

/// Anything else: never an error.
#[doc(hidden)]
pub trait ShowsNothing {
    fn failure(&self) -> Option<String>;
}

impl<R> ShowsNothing for Returned<'_, R> {
    #[inline]
    fn failure(&self) -> Option<String> {
        None
    }
}

/// The first `bytes_max` bytes of a text, cut between two characters. A value that writes without
/// end is stopped there.
pub(crate) fn cut_text(value: impl Display, bytes_max: usize) -> String {
    struct Cut {
        text: String,
        bytes_max: usize,
    }
    impl Write for Cut {
        fn write_str(&mut self, more: &str) -> fmt::Result {
            let room = self.bytes_max - self.text.len();
            self.text.push_str(&more[..more.floor_char_boundary(room)]);
            if more.len() > room { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut cut = Cut { text: String::new(), bytes_max };
    // An error says that the text was cut, or that the value has no words; what it said stays.
    let _ = write!(cut, "{value}");
    cut.text
}

/// The words of a panic.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let words = payload.downcast_ref::<&str>().copied();
    let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    cut_text(format_args!("panicked: {}", words.unwrap_or("without words")), MESSAGE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Endless;

    impl Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("é!")?;
            }
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut_text("short", 5), "short");
        assert_eq!(cut_text("longer", 5), "longe");
        assert_eq!(cut_text("éé", 3), "é");
        assert_eq!(cut_text(Endless, 200).len(), 200);
        assert_eq!(cut_text(Endless, 7), "é!é!");
    }

    #[derive(Debug)]
    struct OnlyDebug;
    struct Nothing;

    #[test]
    #[allow(clippy::needless_borrow, reason = "as generated code has it")]
    fn each_kind_of_result_is_seen() {
        let display: Result<(), &str> = Err("no");
        assert_eq!((&&&Returned(&display)).failure().as_deref(), Some("no"));
        let debug: Result<(), OnlyDebug> = Err(OnlyDebug);
        assert_eq!((&&&Returned(&debug)).failure().as_deref(), Some("OnlyDebug"));
        let good: Result<u8, OnlyDebug> = Ok(1);
        assert_eq!((&&&Returned(&good)).failure(), None);
        assert_eq!((&&&Returned(&Nothing)).failure(), None);
    }
}

//! The five priorities, which are also the sender's lanes, and the payload's encodings.
//!
//! Plain values without state. Names are lower-case everywhere: on the command line, in
//! configuration, in output.

use core::fmt;
use core::str::FromStr;

/// How many lanes a sender has: one for each [`Priority`].
pub const LANES: usize = 5;

/// A sender's lane: the index of a priority, below [`LANES`].
pub type Lane = u8;

/// How urgent an event is. The smaller compares as the more urgent: `Critical < Background`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// 0: before everything else.
    Critical = 0,
    /// 1.
    High = 1,
    /// 2: what an event has that says nothing.
    #[default]
    Normal = 2,
    /// 3.
    Low = 3,
    /// 4: when nothing else wants to go.
    Background = 4,
}

impl Priority {
    /// Every priority, in the order of the lanes.
    pub const ALL: [Self; LANES] =
        [Self::Critical, Self::High, Self::Normal, Self::Low, Self::Background];

    /// The priority with this number on the wire; `None` above 4.
    #[inline]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Critical),
            1 => Some(Self::High),
            2 => Some(Self::Normal),
            3 => Some(Self::Low),
            4 => Some(Self::Background),
            _ => None,
        }
    }

    /// The lane of this priority, as packet headers carry it.
    #[inline]
    #[must_use]
    pub const fn lane(self) -> Lane {
        self as u8
    }

    /// The lane of this priority, to index arrays of [`LANES`] with.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name, lower-case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
            Self::Background => "background",
        }
    }
}

/// How a payload's bytes are to be read.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// 0: bytes that only the application understands.
    Raw = 0,
    /// 1: an rkyv archive, its root at the end. To be checked before it is read as a type.
    Rkyv = 1,
    /// 2: JSON text, UTF-8.
    Json = 2,
}

impl Encoding {
    /// Every encoding, by number.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Rkyv, Self::Json];

    /// The encoding with this number on the wire; `None` above 2.
    #[inline]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::Rkyv),
            2 => Some(Self::Json),
            _ => None,
        }
    }

    /// Its name, lower-case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Rkyv => "rkyv",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A text that names no priority or no encoding. Says what would; the caller knows the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownName {
    expected: &'static str,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "unknown name: use one of {}", self.expected)
    }
}

impl core::error::Error for UnknownName {}

impl FromStr for Priority {
    type Err = UnknownName;

    /// Upper and lower case are the same.
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|priority| priority.name().eq_ignore_ascii_case(text))
            .ok_or(UnknownName { expected: "critical, high, normal, low, background" })
    }
}

impl FromStr for Encoding {
    type Err = UnknownName;

    /// Upper and lower case are the same.
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|encoding| encoding.name().eq_ignore_ascii_case(text))
            .ok_or(UnknownName { expected: "raw, rkyv, json" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn numbers_and_names_go_both_ways() {
        for number in 0..=u8::MAX {
            let priority = Priority::from_number(number);
            assert_eq!(priority.is_some(), usize::from(number) < LANES, "priority {number}");
            assert!(priority.is_none_or(|priority| priority.lane() == number));
            let encoding = Encoding::from_number(number);
            assert_eq!(encoding.is_some(), number < 3, "encoding {number}");
            assert!(encoding.is_none_or(|encoding| encoding as u8 == number));
        }
        for (index, priority) in Priority::ALL.into_iter().enumerate() {
            assert_eq!(priority.index(), index);
            assert_eq!(priority.to_string().parse(), Ok(priority));
            assert_eq!(priority.to_string().to_uppercase().parse(), Ok(priority));
        }
        for encoding in Encoding::ALL {
            assert_eq!(encoding.to_string().parse(), Ok(encoding));
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let refused = "hgih".parse::<Priority>().unwrap_err().to_string();
        assert!(Priority::ALL.iter().all(|priority| refused.contains(priority.name())));
        let refused = "yaml".parse::<Encoding>().unwrap_err().to_string();
        assert!(Encoding::ALL.iter().all(|encoding| refused.contains(encoding.name())));
    }

    #[test]
    fn the_more_urgent_sorts_first() {
        assert!(Priority::ALL.is_sorted());
        assert_eq!(Priority::default(), Priority::Normal);
    }
}

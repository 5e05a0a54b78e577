//! Values: how they are read from text and from TOML, how they are written, what their bounds are.
//!
//! One reading serves the table of keys, environment variables and command-line flags; TOML's own
//! types (whole numbers, true and false, arrays) are taken beside it.

use std::fmt;
use std::time::Duration;

use toml::de::DeValue;

use super::key::{Key, Kind};
use super::nearest::nearest;
use super::text::Form;

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// Left open: the key's own word for that is written.
    Unset,
    /// True or false.
    Flag(bool),
    /// A whole number.
    Count(u64),
    /// A size, bytes.
    Bytes(u64),
    /// A span of time.
    Time(Duration),
    /// One of the key's words.
    Word(&'static str),
    /// A name or an address.
    Text(String),
    /// Names or addresses.
    Texts(Vec<String>),
    /// Whole numbers.
    Counts(Vec<u64>),
}

impl fmt::Display for Value {
    /// As it would be written on a command line: lists with commas, empty for [`Value::Unset`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => Ok(()),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Bytes(bytes) => f.write_str(&bytes_text(*bytes)),
            Self::Time(time) => f.write_str(&time_text(*time)),
            Self::Word(word) => f.write_str(word),
            Self::Text(text) => f.write_str(text),
            Self::Texts(texts) => f.write_str(&texts.join(", ")),
            Self::Counts(counts) => {
                let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
                f.write_str(&counts.join(", "))
            }
        }
    }
}

/// Units of sizes, largest first.
const BYTE_UNITS: &[(&str, u64)] =
    &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Units of time in nanoseconds, largest first.
const TIME_UNITS: &[(&str, u64)] = &[
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A size in the largest unit that needs no fraction: `64 KiB`.
pub(super) fn bytes_text(bytes: u64) -> String {
    quantity_text(bytes, BYTE_UNITS, "0 B")
}

/// A time in the largest unit that needs no fraction: `100 ms`.
pub(super) fn time_text(time: Duration) -> String {
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    quantity_text(ns, TIME_UNITS, "0 s")
}

fn quantity_text(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    let whole = units.iter().find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor));
    whole.map_or_else(|| zero.to_owned(), |(unit, factor)| format!("{} {unit}", amount / factor))
}

/// A size: whole bytes, or with a unit.
pub(crate) fn bytes_of(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| quantity(text, BYTE_UNITS))
}

/// Reads `1.5 MiB`: digits, at most nine more behind a point, and a unit. The amount is exact.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let parts = u128::from(*factor) * u128::from(fraction.parse::<u64>().ok()?);
    if !parts.is_multiple_of(u128::from(scale)) {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?).checked_mul(u128::from(*factor))?;
    u64::try_from(whole.checked_add(parts / u128::from(scale))?).ok()
}

/// A text as it may stand in a message: quoted, letters that control a terminal made visible, cut.
pub(crate) fn quoted(text: &str) -> String {
    let (begin, rest) = cut(text);
    format!("{begin:?}{rest}")
}

/// A text's first letters, and what stands for the others.
fn cut(text: &str) -> (&str, &'static str) {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => (&text[..end], "…"),
        None => (text, ""),
    }
}

/// A number as it was written; what makes it none is made visible.
fn shortened(number: &str) -> String {
    let (begin, rest) = cut(number);
    format!("{}{rest}", begin.escape_debug())
}

impl Key {
    /// Reads a value written as on a command line.
    ///
    /// # Errors
    /// A sentence: what it is, what is allowed, what was probably meant.
    pub(super) fn value_of(&self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        if self.unset.is_some_and(|word| word == text) {
            return Ok(Value::Unset);
        }
        let wrong = || self.wrong(&quoted(text), self.hint(text));
        let within = |amount: u64, min: u64, max: u64| (min..=max).contains(&amount);
        match self.kind {
            Kind::Flag => text.parse().ok().map(Value::Flag),
            Kind::Count(min, max) => {
                text.parse().ok().filter(|count| within(*count, min, max)).map(Value::Count)
            }
            Kind::Choice(numbers) => {
                text.parse().ok().filter(|number| numbers.contains(number)).map(Value::Count)
            }
            Kind::Bytes(min, max) => {
                bytes_of(text).filter(|bytes| within(*bytes, min, max)).map(Value::Bytes)
            }
            Kind::Time(min, max) => quantity(text, TIME_UNITS)
                .map(Duration::from_nanos)
                .filter(|time| (min..=max).contains(time))
                .map(Value::Time),
            Kind::Word(words) => {
                words.iter().find(|word| **word == text).map(|word| Value::Word(word))
            }
            Kind::Text(form) => form.fits(text).then(|| Value::Text(text.to_owned())),
            Kind::Texts(form, most) => return self.texts(&split(text), form, most),
            Kind::Counts(most, greatest) => counts(&split(text), most, greatest),
        }
        .ok_or_else(wrong)
    }

    /// Reads a value of a TOML text.
    ///
    /// # Errors
    /// As [`Key::value_of`].
    pub(super) fn value_in(&self, toml: &DeValue<'_>) -> Result<Value, String> {
        match (self.kind, toml) {
            (Kind::Texts(form, most), DeValue::Array(array)) => {
                let texts: Option<Vec<&str>> =
                    array.iter().map(|item| item.get_ref().as_str()).collect();
                let texts = texts.ok_or_else(|| self.wrong("a list with other things", None))?;
                self.texts(&texts, form, most)
            }
            (Kind::Counts(most, greatest), DeValue::Array(array)) => {
                let numbers: Option<Vec<String>> =
                    array.iter().map(|item| whole(item.get_ref())).collect();
                let numbers = numbers.unwrap_or_else(|| vec![String::new()]);
                let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
                counts(&numbers, most, greatest).ok_or_else(|| self.wrong("such a list", None))
            }
            (Kind::Texts(..) | Kind::Counts(..), other) => {
                let hint = "write a list in brackets".to_owned();
                Err(self.wrong(&named(other), Some(hint)))
            }
            (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
            (Kind::Count(..) | Kind::Choice(_) | Kind::Bytes(..), DeValue::Integer(_)) => {
                self.value_of(&whole(toml).unwrap_or_default()).map_err(|_| {
                    self.wrong(&whole(toml).unwrap_or_else(|| "such a number".to_owned()), None)
                })
            }
            (Kind::Time(..), DeValue::Integer(_)) => {
                let hint = format!("a time has a unit; did you mean \"{} s\"?", named(toml));
                Err(self.wrong(&named(toml), Some(hint)))
            }
            (Kind::Flag | Kind::Count(..) | Kind::Choice(_), DeValue::String(text))
                if self.unset != Some(text.as_ref()) =>
            {
                let hint =
                    self.value_of(text).is_ok().then(|| "write it without quotes".to_owned());
                Err(self.wrong(&quoted(text), hint))
            }
            (_, DeValue::String(text)) => self.value_of(text),
            (_, other) => Err(self.wrong(&named(other), None)),
        }
    }

    /// `said is not allowed: what is; hint`.
    fn wrong(&self, said: &str, hint: Option<String>) -> String {
        let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
        format!("{said} cannot be: it is {}{hint}", self.allowed())
    }

    /// What was probably meant.
    fn hint(&self, text: &str) -> Option<String> {
        match self.kind {
            Kind::Word(words) => {
                let words = words.iter().copied().chain(self.unset);
                nearest(text, words).map(|word| format!("did you mean \"{word}\"?"))
            }
            Kind::Time(..) if text.parse::<f64>().is_ok() => {
                Some(format!("a time has a unit; did you mean \"{text} s\"?"))
            }
            Kind::Time(..) if quantity(text, TIME_UNITS).is_none() => {
                Some("write it like \"100 ms\", with ns, us, ms, s, min or h".to_owned())
            }
            Kind::Bytes(..) if quantity(text, BYTE_UNITS).is_none() => {
                Some("write it like \"64 KiB\", with B, KiB, MiB or GiB".to_owned())
            }
            _ => None,
        }
    }

    fn texts(&self, texts: &[&str], form: Form, most: usize) -> Result<Value, String> {
        if texts.len() > most {
            return Err(self.wrong(&format!("a list of {}", texts.len()), None));
        }
        match texts.iter().find(|text| !form.fits(text)) {
            Some(text) => Err(self.wrong(&quoted(text), None)),
            None => Ok(Value::Texts(texts.iter().map(|text| (*text).to_owned()).collect())),
        }
    }
}

fn counts(texts: &[&str], most: usize, greatest: u64) -> Option<Value> {
    let numbers: Option<Vec<u64>> = texts
        .iter()
        .map(|text| text.parse().ok().filter(|number| *number <= greatest))
        .take(most + 1)
        .collect();
    numbers.filter(|numbers| numbers.len() <= most).map(Value::Counts)
}

/// The items of a list written with commas.
fn split(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split(',').map(str::trim).collect() }
}

/// A TOML integer in decimal digits, whatever its base; none for other values and for what no 128
/// bits hold.
fn whole(value: &DeValue<'_>) -> Option<String> {
    let number = value.as_integer()?;
    i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
}

/// What a TOML value is, for a message.
pub(crate) fn named(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => shortened(&number.to_string()),
        DeValue::Float(number) => shortened(number.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

//! How large, deep and full a legacy JSON text may be, checked before it is read, and the error
//! that says what is wrong with one. Plain functions over bytes and values.

use serde_json::Value;

use crate::json::extent::{Beyond, within};
use crate::json::{JSON_DEPTH_MAX, reason};

/// Longest legacy message, in bytes: 10 MB. What the legacy system sends at most is a screenshot.
pub const MESSAGE_BYTES_MAX: usize = 10_000_000;

/// How deep a legacy message may nest. A little less than [`JSON_DEPTH_MAX`], because an event
/// travels inside a message inside the wrapper.
pub const MESSAGE_DEPTH_MAX: usize = JSON_DEPTH_MAX - 8;

/// How many JSON values a legacy message may have: each costs up to 160 bytes once it is read, so
/// this many are 16 MB. A screenshot is one value.
pub const MESSAGE_VALUES_MAX: usize = 100_000;

/// Longest event name, source, id of a request: bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Why a text is no legacy message. Nothing of it was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("the message has {0} bytes, more than {MESSAGE_BYTES_MAX}: split it")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("the message is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// Nested deeper than [`MESSAGE_DEPTH_MAX`].
    #[error("the message nests deeper than {MESSAGE_DEPTH_MAX}: flatten it")]
    TooDeep,
    /// More values than [`MESSAGE_VALUES_MAX`].
    #[error("the message has more than {MESSAGE_VALUES_MAX} JSON values: split it")]
    TooManyValues,
    /// Not JSON.
    #[error("line {line} column {column}: {reason}")]
    NotJson {
        /// Line of the text, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// What is wrong there, shortened, control characters made visible.
        reason: String,
    },
    /// A field is missing or is not what it has to be.
    #[error("{field} has to be {wanted}")]
    Field {
        /// The field, with dots: `context.uuid`.
        field: &'static str,
        /// What it has to be.
        wanted: &'static str,
    },
    /// A name that is empty, too long, or has control characters.
    #[error("{field} has to be text of 1 to {NAME_BYTES_MAX} bytes without control characters")]
    BadText {
        /// The field.
        field: &'static str,
    },
}

impl MessageError {
    /// A stable name for counters and answers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::NotUtf8(_) => "invalid_utf8",
            Self::TooDeep => "too_deep",
            Self::TooManyValues => "too_many_values",
            Self::NotJson { .. } => "malformed",
            Self::Field { .. } => "bad_field",
            Self::BadText { .. } => "bad_text",
        }
    }

    pub(super) fn json(error: &serde_json::Error) -> Self {
        Self::NotJson { line: error.line(), column: error.column(), reason: reason(error) }
    }
}

/// Reads JSON from outside, after its length, depth and number of values have been looked at: one
/// pass over the bytes, nothing allocated for what is refused.
pub(super) fn read(text: &[u8]) -> Result<Value, MessageError> {
    serde_json::from_str(checked(text)?).map_err(|error| MessageError::json(&error))
}

/// `text` as UTF-8 within the bounds; it need not be JSON yet.
pub(super) fn checked(text: &[u8]) -> Result<&str, MessageError> {
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLong(text.len()));
    }
    within(text, MESSAGE_DEPTH_MAX, MESSAGE_VALUES_MAX).map_err(|beyond| match beyond {
        Beyond::Depth => MessageError::TooDeep,
        Beyond::Values => MessageError::TooManyValues,
    })?;
    str::from_utf8(text).map_err(|error| MessageError::NotUtf8(error.valid_up_to()))
}

/// The same bounds for a value that a program made, which no text has been looked at for. Does not
/// recurse: a value may be deeper than the stack.
pub(super) fn check_value(value: &Value) -> Result<(), MessageError> {
    let mut open = vec![(value, 1)];
    let mut values = 0;
    while let Some((value, depth)) = open.pop() {
        values += 1;
        if values > MESSAGE_VALUES_MAX {
            return Err(MessageError::TooManyValues);
        }
        let inner: Box<dyn Iterator<Item = &Value>> = match value {
            Value::Array(items) => Box::new(items.iter()),
            Value::Object(fields) => Box::new(fields.values()),
            _ => continue,
        };
        if depth > MESSAGE_DEPTH_MAX {
            return Err(MessageError::TooDeep);
        }
        open.extend(inner.take(MESSAGE_VALUES_MAX).map(|value| (value, depth + 1)));
    }
    Ok(())
}

/// `text` if it may name something: 1 to [`NAME_BYTES_MAX`] bytes, no control characters.
pub(super) fn checked_name<'a>(
    field: &'static str,
    text: &'a str,
) -> Result<&'a str, MessageError> {
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
    if fits { Ok(text) } else { Err(MessageError::BadText { field }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bounds_are_looked_at_before_anything_is_read() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert_eq!(read(deep.as_bytes()), Err(MessageError::TooDeep));
        let at_most = "[".repeat(MESSAGE_DEPTH_MAX) + &"]".repeat(MESSAGE_DEPTH_MAX);
        assert!(read(at_most.as_bytes()).is_ok());
        let full = format!("[{}0]", "0,".repeat(MESSAGE_VALUES_MAX));
        assert_eq!(read(full.as_bytes()), Err(MessageError::TooManyValues));
        let long = format!("\"{}\"", "x".repeat(10 * 1024 * 1024));
        assert_eq!(read(long.as_bytes()), Err(MessageError::TooLong(long.len())));
        let screenshot = format!("\"{}\"", "x".repeat(9_000_000));
        assert!(read(screenshot.as_bytes()).is_ok(), "one large value is no trouble");
        assert_eq!(read(b"{\"a\":\"\xff\"}"), Err(MessageError::NotUtf8(6)));
    }

    #[test]
    fn brackets_in_strings_are_text() {
        let text = json!({ "a": "[".repeat(500), "b\"[[": "\\\"{{" }).to_string();
        assert!(read(text.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_wrong_is_told_without_control_characters() {
        let error = read(b"{\"a\":1,\x1b[2J}").unwrap_err();
        assert_eq!(error.name(), "malformed");
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }

    #[test]
    fn a_value_deeper_than_the_stack_is_refused() {
        let mut value = json!(1);
        for _ in 0..MESSAGE_DEPTH_MAX {
            value = Value::Array(vec![value]);
        }
        assert_eq!(check_value(&value), Ok(()));
        assert_eq!(check_value(&json!([value])), Err(MessageError::TooDeep));
        assert_eq!(check_value(&json!(vec![0; 100_001])), Err(MessageError::TooManyValues));
    }
}

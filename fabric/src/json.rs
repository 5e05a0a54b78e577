//! JSON to archive and back, for registered events, behind one type without generics.
//!
//! Tools, gateways and files speak JSON; the fabric speaks archives. A [`JsonCodec`] is made where
//! the event's type is known and used where only its name is. It allocates (an owned event stands
//! between the two forms), so it belongs on control threads and in tools, never on a worker.

pub(crate) mod extent;

use std::io;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use wireloom_wire::Encoding;

use self::extent::within;

use crate::decode::{DecodeError, access, to_owned};
use crate::encode::{EncodeError, Scratch, encode};
use crate::event::{Event, EventTypeId, Fingerprint, Priority, Version};
use crate::outcome::Refused;

/// Longest JSON text of one event, read or written, in bytes: 1 MiB.
///
/// With [`JSON_DEPTH_MAX`] it bounds what one event from outside can cost.
pub const JSON_BYTES_MAX: usize = 1024 * 1024;

/// How deep JSON may nest, in brackets within brackets. Looked at before anything is read, so that
/// no reader behind it meets more, whatever its own way through a text is.
pub const JSON_DEPTH_MAX: usize = 128;

/// Longest reason kept from the JSON reader, in bytes: it may quote the text it read.
const REASON_BYTES_MAX: usize = 200;

/// Why an event was not turned from JSON or into JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is not JSON, or not the JSON of this event.
    #[error("line {line} column {column}: {}{reason}", named(.field))]
    Text {
        /// The field that was being read, as `legs[2].price`; empty when it was none.
        field: String,
        /// Line of the text, from 1.
        line: usize,
        /// Column in bytes, from 1; 0 when the text ended before it began.
        column: usize,
        /// What is wrong there, in the words of serde_json, shortened if long.
        reason: String,
    },
    /// The text is, or would be, longer than [`JSON_BYTES_MAX`].
    #[error("the JSON text is longer than {JSON_BYTES_MAX} bytes: split the event")]
    TooLong,
    /// The text nests deeper than [`JSON_DEPTH_MAX`].
    #[error("the JSON nests deeper than {JSON_DEPTH_MAX}: flatten the event")]
    TooDeep,
    /// The event read from the text could not be archived.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The payload is not an archive of this event.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The event has a value that JSON cannot hold, such as a map with keys that are not text.
    #[error("the event cannot be written as JSON: {reason}")]
    Unwritable {
        /// Why, in the words of serde_json, shortened if long.
        reason: String,
    },
}

/// Turns one registered event type between JSON and its archive.
///
/// A few words of function pointers: copy it into tables by type id.
///
/// What JSON cannot say: a float that is not a number is written as `null` and does not read back.
/// Names unknown to the type are ignored unless it says `#[serde(deny_unknown_fields)]`.
///
/// # Examples
///
/// ```
/// use wireloom::{Event, encode::Scratch, json::JsonCodec};
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[derive(serde::Serialize, serde::Deserialize)]
/// #[event(type = "price-tick")]
/// struct PriceTick {
///     instrument: String,
///     cents: u64,
/// }
///
/// #[repr(align(16))]
/// struct Record([u8; 256]);
///
/// let codec = JsonCodec::of::<PriceTick>();
/// let mut record = Record([0; 256]);
/// let text = br#"{"instrument":"ACME","cents":1250}"#;
/// let length = codec.archive_from_json(text, &mut record.0, &mut Scratch::default())?;
///
/// let mut line = Vec::new();
/// codec.json_from_archive(&record.0[..length], &mut line)?;
/// assert_eq!(line, text);
/// # Ok::<(), wireloom::json::JsonError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct JsonCodec {
    version: Version,
    type_id: EventTypeId,
    priority: Priority,
    multicast: Option<&'static str>,
    archive: ArchiveOf,
    json: JsonOf,
}

type ArchiveOf = fn(&[u8], &mut [u8], &mut Scratch) -> Result<usize, JsonError>;
type JsonOf = fn(&[u8], &mut Text<'_>) -> Result<(), JsonError>;

impl JsonCodec {
    /// The codec of one event type.
    #[must_use]
    pub fn of<E: Event + Serialize + DeserializeOwned>() -> Self {
        Self {
            version: Version::of::<E>(),
            type_id: E::TYPE_ID,
            priority: E::PRIORITY,
            multicast: E::MULTICAST,
            archive: archive_of::<E>,
            json: json_of::<E>,
        }
    }

    /// The event's type name.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.version.type_name
    }

    /// Which version of the type it reads and writes, and what that looks like.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The event's type id, as frames carry it.
    #[must_use]
    pub fn type_id(&self) -> EventTypeId {
        self.type_id
    }

    /// The fingerprint of the event's schema, as frames carry it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.version.fingerprint
    }

    /// The event's own priority.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Where events of the type go by multicast, as `group:port`.
    #[must_use]
    pub fn multicast(&self) -> Option<&'static str> {
        self.multicast
    }

    /// Reads one event from `json` and writes its archive to the front of `into`, as
    /// [`encode`] does; returns the archive's length.
    ///
    /// Allocates the owned event, at most a small multiple of [`JSON_BYTES_MAX`] for types made of
    /// [types with a schema](crate::Schema).
    ///
    /// # Errors
    ///
    /// [`JsonError::TooLong`], [`JsonError::TooDeep`], [`JsonError::Text`] with line and column
    /// (text behind the event is such an error too), or [`JsonError::Encode`].
    pub fn archive_from_json(
        &self,
        json: &[u8],
        into: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<usize, JsonError> {
        bounded(json)?;
        (self.archive)(json, into, scratch)
    }

    /// Checks that `payload` is an archive of the event and appends its JSON, one line, to `out`.
    ///
    /// After an error `out` is as it was. At most [`JSON_BYTES_MAX`] bytes are appended.
    ///
    /// # Errors
    ///
    /// [`JsonError::Decode`], [`JsonError::TooLong`] or [`JsonError::Unwritable`].
    pub fn json_from_archive(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
        let before = out.len();
        let result = (self.json)(payload, &mut Text { out, room: JSON_BYTES_MAX, full: false });
        if result.is_err() {
            out.truncate(before);
        }
        result
    }
}

/// Appends the JSON of an event, one line, to `out`: at most [`JSON_BYTES_MAX`]. After an error
/// `out` is as it was.
///
/// # Errors
///
/// [`JsonError::TooLong`] or [`JsonError::Unwritable`].
///
/// # Examples
///
/// ```
/// use wireloom::{events::UserInteraction, json};
///
/// let text = br#"{"user_id":42,"action":"click","element":"buy","session_id":9}"#;
/// let click: UserInteraction = json::deserialize(text)?;
/// let mut line = Vec::new();
/// json::serialize(&click, &mut line)?;
/// assert_eq!(line, text);
/// # Ok::<(), json::JsonError>(())
/// ```
pub fn serialize<E: Event + Serialize>(event: &E, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let before = out.len();
    let result = write(event, &mut Text { out, room: JSON_BYTES_MAX, full: false });
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// Whether `json` is one JSON text in UTF-8 that nests no deeper than [`JSON_DEPTH_MAX`]; why not,
/// with line and column or the place. A type is not asked for, nor a length.
pub(crate) fn check(json: &[u8]) -> Result<(), Refused> {
    let malformed = |reason| Refused::Malformed { encoding: Encoding::Json, reason };
    within(json, JSON_DEPTH_MAX, usize::MAX).map_err(|_| Refused::TooDeep)?;
    let text = std::str::from_utf8(json)
        .map_err(|error| malformed(format!("invalid UTF-8 after {} bytes", error.valid_up_to())))?;
    let read = serde_json::from_str::<IgnoredAny>(text);
    read.map(drop).map_err(|error| malformed(error.to_string()))
}

/// Whether a text is short and flat enough to be read.
fn bounded(json: &[u8]) -> Result<(), JsonError> {
    if json.len() > JSON_BYTES_MAX {
        return Err(JsonError::TooLong);
    }
    within(json, JSON_DEPTH_MAX, usize::MAX).map_err(|_| JsonError::TooDeep)
}

/// Reads an event from its JSON: at most [`JSON_BYTES_MAX`] long and [`JSON_DEPTH_MAX`] deep.
///
/// # Errors
///
/// [`JsonError::TooLong`], [`JsonError::TooDeep`], or [`JsonError::Text`] with the field that is
/// wrong.
pub fn deserialize<E: Event + DeserializeOwned>(json: &[u8]) -> Result<E, JsonError> {
    bounded(json)?;
    event_of(json)
}

/// The JSON Schema (2020-12) of the JSON form of `E`, as JSON text, indented. Its `$id` is the
/// type's name and version. With the feature `json-schema`; the type derives
/// `schemars::JsonSchema`.
///
/// # Errors
///
/// [`JsonError::Unwritable`] when a type of the user's makes a schema that is no JSON.
#[cfg(feature = "json-schema")]
pub fn schema<E: Event + schemars::JsonSchema>() -> Result<String, JsonError> {
    let mut schema = schemars::schema_for!(E);
    let id = format!("wireloom:{}:{}", E::TYPE, E::VERSION);
    schema.insert("$id".into(), id.into());
    serde_json::to_string_pretty(&schema)
        .map_err(|error| JsonError::Unwritable { reason: reason(&error) })
}

fn archive_of<E: Event + DeserializeOwned>(
    json: &[u8],
    into: &mut [u8],
    scratch: &mut Scratch,
) -> Result<usize, JsonError> {
    Ok(encode(&event_of::<E>(json)?, into, scratch)?)
}

/// A reader of a text that is [`bounded`]: its own limit, one less than ours, is not asked for.
fn reader(json: &[u8]) -> serde_json::Deserializer<serde_json::de::SliceRead<'_>> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    reader.disable_recursion_limit();
    reader
}

fn event_of<E: DeserializeOwned>(json: &[u8]) -> Result<E, JsonError> {
    let mut reader = reader(json);
    let event = E::deserialize(&mut reader);
    event.and_then(|event| reader.end().map(|()| event)).map_err(|error| JsonError::Text {
        field: field_of::<E>(json),
        line: error.line(),
        column: error.column(),
        reason: reason(&error),
    })
}

/// The field that `json` is wrong at: it is read once more, by a reader that keeps the path.
#[cold]
fn field_of<E: DeserializeOwned>(json: &[u8]) -> String {
    let mut reader = reader(json);
    match serde_path_to_error::deserialize::<_, E>(&mut reader) {
        Err(error) if error.path().iter().next().is_some() => plain(&error.path().to_string()),
        _ => String::new(),
    }
}

/// The field as the beginning of a reason.
fn named(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field}: ") }
}

fn json_of<E: Event + Serialize>(payload: &[u8], text: &mut Text<'_>) -> Result<(), JsonError> {
    write::<E>(&to_owned(access::<E>(payload)?)?, text)
}

fn write<E: Serialize>(event: &E, text: &mut Text<'_>) -> Result<(), JsonError> {
    serde_json::to_writer(&mut *text, event).map_err(|error| {
        if text.full {
            JsonError::TooLong
        } else {
            JsonError::Unwritable { reason: reason(&error) }
        }
    })
}

/// What went wrong, without the place (which is told apart) and not longer than a line or two.
pub(crate) fn reason(error: &serde_json::Error) -> String {
    let mut reason = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    if let Some(end) = reason.strip_suffix(&place).map(str::len) {
        reason.truncate(end);
    }
    plain(&reason)
}

/// A text from outside as it may be shown: control characters escaped, shortened if long.
fn plain(text: &str) -> String {
    let mut shown = String::new();
    for one in text.chars() {
        if shown.len() >= REASON_BYTES_MAX {
            shown.push('…');
            break;
        }
        if one.is_control() {
            shown.extend(one.escape_unicode());
        } else {
            shown.push(one);
        }
    }
    shown
}

/// Appends to a vector until the room is used up.
struct Text<'a> {
    out: &'a mut Vec<u8>,
    room: usize,
    full: bool,
}

impl io::Write for Text<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(room) = self.room.checked_sub(bytes.len()) else {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        self.room = room;
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! A legacy event on the fabric: the wrapper that travels, what listeners see of it, and the mark
//! by which two frames of one event are known as such.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wireloom_wire::TraceContext;

use super::message::{Environment, Message};
use super::shape::{self, MessageError, checked_name};
use super::time::{iso8601, unix_ms};
use crate::event::Event;

/// The name of a legacy event that has none.
const NAMELESS: &str = <LegacyJtag as Event>::TYPE;

/// What every legacy event travels in. Its JSON form is `{"legacyType":"jtag","originalEvent":…}`,
/// with the original exactly as its sender wrote it.
///
/// Frames of this type carry that JSON ([`LegacyEvents`](super::LegacyEvents) sends it so), or,
/// when a program routes a value of this type itself, its archive; listeners get both.
///
/// ```
/// use wireloom::jtag::LegacyJtag;
///
/// let wrapper = LegacyJtag::read(br#"{"type":"chat:said","data":{"text":"hello"}}"#)?;
/// assert_eq!(
///     wrapper.to_json(),
///     r#"{"legacyType":"jtag","originalEvent":{"type":"chat:said","data":{"text":"hello"}}}"#
/// );
/// assert_eq!(wrapper.event()?.name, "chat:said");
/// # Ok::<(), wireloom::jtag::MessageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "legacy-jtag", priority = "normal", crate = "crate")]
pub struct LegacyJtag {
    original: String,
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
struct Form<'a> {
    #[serde(rename = "legacyType")]
    legacy_type: std::borrow::Cow<'a, str>,
    #[serde(rename = "originalEvent", borrow)]
    original: &'a RawValue,
}

impl LegacyJtag {
    /// Wraps a legacy event, given as its JSON text.
    ///
    /// # Errors
    /// [`MessageError`] when the text is not JSON within the bounds.
    pub fn read(original: &[u8]) -> Result<Self, MessageError> {
        shape::read(original)?;
        Ok(Self { original: String::from_utf8_lossy(original).into_owned() })
    }

    pub(super) fn of(original: &Value) -> Self {
        Self { original: original.to_string() }
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`MessageError`] when it is not a wrapper, or not within the bounds.
    pub fn from_json(json: &[u8]) -> Result<Self, MessageError> {
        let form: Form<'_> = serde_json::from_str(shape::checked(json)?)
            .map_err(|error| MessageError::json(&error))?;
        if form.legacy_type != "jtag" {
            return Err(MessageError::Field { field: "legacyType", wanted: "jtag" });
        }
        Ok(Self { original: form.original.get().to_owned() })
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!(r#"{{"legacyType":"jtag","originalEvent":{}}}"#, self.original)
    }

    /// The original event as its sender wrote it: JSON text.
    #[must_use]
    pub fn original(&self) -> &str {
        &self.original
    }

    /// What a listener sees of it.
    ///
    /// # Errors
    /// [`MessageError`] when the original is not what a legacy event is.
    pub fn event(&self) -> Result<LegacyEvent, MessageError> {
        match Original::read(&self.original)? {
            Original::Event { event, .. } => Ok(event),
            Original::Message(_) => Err(MessageError::Field {
                field: "originalEvent.messageType",
                wanted: "event where an event is wanted",
            }),
        }
    }
}

impl ArchivedLegacyJtag {
    /// The original event as its sender wrote it, in place.
    #[must_use]
    pub fn original(&self) -> &str {
        &self.original
    }
}

impl Serialize for LegacyJtag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let original: &RawValue =
            serde_json::from_str(&self.original).map_err(serde::ser::Error::custom)?;
        Form { legacy_type: "jtag".into(), original }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LegacyJtag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Owned {
            #[serde(rename = "legacyType")]
            legacy_type: String,
            #[serde(rename = "originalEvent")]
            original: Box<RawValue>,
        }
        let form = Owned::deserialize(deserializer)?;
        if form.legacy_type != "jtag" {
            return Err(serde::de::Error::custom("legacyType has to be jtag"));
        }
        Self::read(form.original.get().as_bytes()).map_err(serde::de::Error::custom)
    }
}

/// One legacy event, as listeners, filters and streams see it.
#[derive(Debug, Clone, PartialEq)]
pub struct LegacyEvent {
    /// Its name; `legacy-jtag` if it has none.
    pub name: String,
    /// What it says; null if it says nothing.
    pub data: Value,
    /// Who emitted it: the name of a node, or what a client of the bridge calls itself.
    pub source: String,
    /// What kind of place it comes from.
    pub context: Environment,
    /// When it was emitted, ISO 8601.
    pub timestamp: String,
}

impl LegacyEvent {
    pub(super) fn new(name: &str, data: Value, (source, context): (&str, Environment)) -> Self {
        let timestamp = iso8601(unix_ms());
        Self { name: name.to_owned(), data, source: source.to_owned(), context, timestamp }
    }

    /// The original of this event as the wrapper holds it.
    pub(super) fn original(&self) -> Value {
        json!({
            "type": self.name,
            "data": self.data,
            "timestamp": self.timestamp,
            "source": self.source,
            "context": self.context.name(),
        })
    }

    /// The event that an event message brings.
    pub(super) fn of_message(message: &Message) -> Option<Self> {
        let payload = &message.payload;
        let text = |name| payload[name].as_str().map(str::to_owned);
        Some(Self {
            name: message.event_name()?.to_owned(),
            data: payload.get("data").cloned().unwrap_or(Value::Null),
            source: name_or(&payload["source"], &message.origin),
            context: message.context.environment,
            timestamp: text("timestamp").unwrap_or_else(|| iso8601(unix_ms())),
        })
    }
}

/// `value` if it may name something, else `other`.
fn name_or(value: &Value, other: &str) -> String {
    let name = value.as_str().and_then(|name| checked_name("source", name).ok());
    name.unwrap_or(other).to_owned()
}

/// What a wrapper holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Original {
    /// An event: emitted here, or brought by an event message (then the message is there too).
    Event { event: LegacyEvent, message: Option<Box<Message>> },
    /// A request or a response.
    Message(Box<Message>),
}

impl Original {
    pub(super) fn read(text: &str) -> Result<Self, MessageError> {
        let value = shape::read(text.as_bytes())?;
        if value.get("messageType").is_some() {
            let message = Message::of(&value)?;
            return Ok(match LegacyEvent::of_message(&message) {
                Some(event) if message.correlation_id.is_none() => {
                    Self::Event { event, message: Some(Box::new(message)) }
                }
                _ => Self::Message(Box::new(message)),
            });
        }
        let name = value.get("type").or_else(|| value.get("eventName"));
        let name = match name {
            None => NAMELESS,
            Some(name) => checked_name("type", name.as_str().unwrap_or_default())?,
        };
        let data = value.get("data").or_else(|| value.get("payload"));
        let context = value["context"].as_str().and_then(|context| context.parse().ok());
        let timestamp = value["timestamp"].as_str().map(str::to_owned);
        let event = LegacyEvent {
            name: name.to_owned(),
            data: data.cloned().unwrap_or(Value::Null),
            source: name_or(&value["source"], "unknown"),
            context: context.unwrap_or(Environment::Remote),
            timestamp: timestamp.unwrap_or_else(|| iso8601(unix_ms())),
        };
        Ok(Self::Event { event, message: None })
    }
}

/// Which event a frame is of: every frame of one event has the same, so that whoever gets two of
/// them takes one. It travels as the frame's trace, with a span that says that it is one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    /// A random number of the [`LegacyEvents`](super::LegacyEvents) that emitted it.
    pub(super) emitter: u64,
    /// Its number there.
    pub(super) number: u64,
}

/// Whether a frame is all that travels of its event, or one of two forms of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forms {
    /// The wrapper alone, or the typed event alone.
    One,
    /// Both.
    Two,
}

impl Identity {
    fn span(trace_id: [u8; 16], forms: Forms) -> [u8; 8] {
        let seed = match forms {
            Forms::One => 0x6a74_6167_0001,
            Forms::Two => 0x6a74_6167_0002,
        };
        xxhash_rust::xxh3::xxh3_64_with_seed(&trace_id, seed).to_be_bytes()
    }

    pub(super) fn trace(self, forms: Forms) -> TraceContext {
        let mut trace_id = [0; 16];
        trace_id[..8].copy_from_slice(&self.emitter.to_be_bytes());
        trace_id[8..].copy_from_slice(&self.number.to_be_bytes());
        TraceContext { trace_id, span_id: Self::span(trace_id, forms), sampled: false }
    }

    /// The identity in a trace; `None` for a trace of somebody else's.
    pub(super) fn of(trace: Option<TraceContext>) -> Option<(Self, Forms)> {
        let TraceContext { trace_id, span_id, .. } = trace?;
        let forms = [Forms::One, Forms::Two]
            .into_iter()
            .find(|forms| span_id == Self::span(trace_id, *forms))?;
        let (emitter, number) = trace_id.split_at(8);
        let emitter = u64::from_be_bytes(emitter.try_into().unwrap_or_default());
        let number = u64::from_be_bytes(number.try_into().unwrap_or_default());
        Some((Self { emitter, number }, forms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(original: &Value) -> LegacyEvent {
        LegacyJtag::of(original).event().unwrap()
    }

    #[test]
    fn the_json_form_is_exactly_the_legacy_one() {
        let original = r#"{"type":"a","z":1,"data":{"b": 2.50}}"#;
        let wrapper = LegacyJtag::read(original.as_bytes()).unwrap();
        let json = format!(r#"{{"legacyType":"jtag","originalEvent":{original}}}"#);
        assert_eq!(wrapper.to_json(), json, "the original travels as it was written");
        assert_eq!(serde_json::to_string(&wrapper).unwrap(), json);
        assert_eq!(LegacyJtag::from_json(json.as_bytes()).unwrap(), wrapper);
        assert_eq!(serde_json::from_str::<LegacyJtag>(&json).unwrap(), wrapper);
        let tolerant = format!(r#"{{"v":2,"originalEvent":{original},"legacyType":"jtag"}}"#);
        assert_eq!(LegacyJtag::from_json(tolerant.as_bytes()).unwrap(), wrapper);
    }

    #[test]
    fn what_is_no_wrapper_is_refused() {
        for text in
            [r#"{"legacyType":"other","originalEvent":{}}"#, r#"{"legacyType":"jtag"}"#, "{}"]
        {
            assert!(LegacyJtag::from_json(text.as_bytes()).is_err(), "{text}");
            assert!(serde_json::from_str::<LegacyJtag>(text).is_err(), "{text}");
        }
        let deep = format!(r#"{{"legacyType":"jtag","originalEvent":{}}}"#, "[".repeat(10_000));
        assert_eq!(LegacyJtag::from_json(deep.as_bytes()), Err(MessageError::TooDeep));
        assert!(LegacyJtag::of(&json!({ "type": "a\u{1b}[2J" })).event().is_err());
        assert!(LegacyJtag::of(&json!({ "type": 7 })).event().is_err());
    }

    #[test]
    fn name_and_data_are_found_where_the_legacy_system_puts_them() {
        let full = event(&json!({
            "type": "a", "eventName": "b", "data": 1, "payload": 2,
            "source": "s", "context": "browser", "timestamp": "t",
        }));
        assert_eq!((full.name.as_str(), &full.data), ("a", &json!(1)));
        assert_eq!((full.source.as_str(), full.context), ("s", Environment::Browser));
        let bare = event(&json!({ "payload": 2 }));
        assert_eq!((bare.name.as_str(), &bare.data), ("legacy-jtag", &json!(2)));
        assert_eq!(event(&json!({ "eventName": "b" })).name, "b");
        assert_eq!(event(&json!("text")).data, Value::Null);
        let message = event(&json!({
            "messageType": "event", "context": { "uuid": "u", "environment": "browser" },
            "origin": "browser/events", "endpoint": "server/events",
            "payload": { "eventName": "c", "data": [3], "source": "page" },
        }));
        assert_eq!((message.name.as_str(), &message.data), ("c", &json!([3])));
        assert_eq!((message.source.as_str(), message.context), ("page", Environment::Browser));
    }

    #[test]
    fn an_identity_travels_in_a_trace_and_no_other_trace_is_one() {
        let identity = Identity { emitter: 7, number: u64::MAX };
        for forms in [Forms::One, Forms::Two] {
            assert_eq!(Identity::of(Some(identity.trace(forms))), Some((identity, forms)));
        }
        let mut foreign = identity.trace(Forms::One);
        foreign.span_id[7] ^= 1;
        assert_eq!(Identity::of(Some(foreign)), None);
        assert_eq!(Identity::of(None), None);
    }
}

//! The messages that environments of the legacy system exchange: read from and written as JSON,
//! with the priority the legacy system gives each.
//!
//! Strict where a message could be misread (kinds, context, routes, ids), tolerant of fields it
//! does not know. A message that is passed on goes as the text it came in; what is written here is
//! only what is made here.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value, json};
use wireloom_wire::Priority;

use super::shape::{self, MessageError, checked_name};
use super::time::{iso8601, unix_ms};
use super::wrapper::LegacyEvent;

/// How long the legacy system waits for the response to a request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the real client says who it is, before its first message.
const HANDSHAKE: &str = "session/handshake";

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// An event; nobody answers.
    Event,
    /// A request; a response with its correlation id is waited for.
    Request,
    /// The response to a request.
    Response,
}

impl MessageType {
    /// As messages write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// What runs a part of the legacy system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Environment {
    /// A page.
    Browser,
    /// The server.
    Server,
    /// Another machine.
    Remote,
}

impl Environment {
    /// As messages write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Server => "server",
            Self::Remote => "remote",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Environment {
    type Err = MessageError;

    fn from_str(text: &str) -> Result<Self, MessageError> {
        [Self::Browser, Self::Server, Self::Remote]
            .into_iter()
            .find(|one| one.name() == text)
            .ok_or(MessageError::Field {
                field: "environment",
                wanted: "browser, server or remote",
            })
    }
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Of this run of the environment.
    pub uuid: String,
    /// Which one.
    pub environment: Environment,
}

impl Context {
    /// A context with a random uuid (version 4).
    #[must_use]
    pub fn new(environment: Environment) -> Self {
        let [high, low] = [random(), random()];
        let uuid = format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        );
        Self { uuid, environment }
    }

    fn json(&self) -> Value {
        json!({ "uuid": self.uuid, "environment": self.environment.name() })
    }
}

/// A random number: the system's, through the seed of a hash.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(unix_ms())
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// What it is.
    pub message_type: MessageType,
    /// Who speaks.
    pub context: Context,
    /// The route it comes from: `browser/console`.
    pub origin: String,
    /// The route it goes to: `server/events`.
    pub endpoint: String,
    /// What it says.
    pub payload: Value,
    /// What ties a response to its request; events have none.
    pub correlation_id: Option<String>,
}

impl Message {
    /// Reads a message.
    ///
    /// ```
    /// use wireloom::jtag::{Environment, Message};
    ///
    /// let message = Message::read(br#"{
    ///     "messageType": "event",
    ///     "context": { "uuid": "7c9e", "environment": "browser" },
    ///     "origin": "browser/events", "endpoint": "server/events",
    ///     "payload": { "eventName": "chat:said", "data": { "text": "hello" } }
    /// }"#)?;
    /// assert_eq!(message.context.environment, Environment::Browser);
    /// assert_eq!(message.event_name(), Some("chat:said"));
    /// # Ok::<(), wireloom::jtag::MessageError>(())
    /// ```
    ///
    /// # Errors
    /// [`MessageError`], which names the field. Allocates a small multiple of the text's length,
    /// after its length, depth and number of values were looked at.
    pub fn read(text: &[u8]) -> Result<Self, MessageError> {
        Self::of(&shape::read(text)?)
    }

    pub(super) fn of(value: &Value) -> Result<Self, MessageError> {
        let wanted = |field, wanted| MessageError::Field { field, wanted };
        let text = |field, value: &Value| {
            let text = value.as_str().ok_or_else(|| wanted(field, "text"))?;
            checked_name(field, text).map(str::to_owned)
        };
        let message_type = match value["messageType"].as_str() {
            Some("event") => MessageType::Event,
            Some("request") => MessageType::Request,
            Some("response") => MessageType::Response,
            _ => return Err(wanted("messageType", "event, request or response")),
        };
        let context = &value["context"];
        let environment = context["environment"].as_str().unwrap_or_default().parse();
        let context = Context {
            uuid: text("context.uuid", &context["uuid"])?,
            environment: environment
                .map_err(|_| wanted("context.environment", "browser, server or remote"))?,
        };
        let correlation_id = match message_type {
            MessageType::Event => None,
            _ => Some(text("correlationId", &value["correlationId"])?),
        };
        Ok(Self {
            message_type,
            context,
            origin: text("origin", &value["origin"])?,
            endpoint: text("endpoint", &value["endpoint"])?,
            payload: value.get("payload").cloned().unwrap_or(Value::Null),
            correlation_id,
        })
    }

    /// The message as JSON text, one line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut value = json!({
            "messageType": self.message_type.name(),
            "context": self.context.json(),
            "origin": self.origin,
            "endpoint": self.endpoint,
            "payload": self.payload,
        });
        if let Some(id) = &self.correlation_id {
            value["correlationId"] = id.as_str().into();
        }
        value.to_string()
    }

    /// An event message: its payload has name, data, time and source beside context and session.
    #[must_use]
    pub fn event(context: &Context, to: Environment, event: &LegacyEvent) -> Self {
        let payload = json!({
            "context": context.json(),
            "sessionId": context.uuid,
            "eventName": event.name,
            "data": event.data,
            "timestamp": event.timestamp,
            "source": event.source,
        });
        Self {
            message_type: MessageType::Event,
            context: context.clone(),
            origin: format!("{}/events", context.environment),
            endpoint: format!("{to}/events"),
            payload,
            correlation_id: None,
        }
    }

    /// The response to this request with `fields` in its payload: it goes where the request came
    /// from and repeats its correlation id.
    #[must_use]
    pub fn response(&self, context: &Context, fields: Map<String, Value>) -> Self {
        let mut payload = json!({
            "context": context.json(),
            "sessionId": self.payload.get("sessionId").cloned().unwrap_or(Value::Null),
            "timestamp": iso8601(unix_ms()),
        });
        if let Value::Object(known) = &mut payload {
            known.extend(fields);
        }
        Self {
            message_type: MessageType::Response,
            context: context.clone(),
            origin: self.endpoint.clone(),
            endpoint: self.origin.clone(),
            payload,
            correlation_id: self.correlation_id.clone(),
        }
    }

    /// The name of the event that an event message brings, where it has one that may be one.
    #[must_use]
    pub fn event_name(&self) -> Option<&str> {
        let name = self.payload["eventName"].as_str()?;
        checked_name("payload.eventName", name).ok()
    }

    /// The priority the legacy system gives it: an origin with `system` or `health` in it is
    /// critical; an endpoint with `commands` is high, and so is an error of the console; the rest
    /// is normal.
    #[must_use]
    pub fn priority(&self) -> Priority {
        let is_error = || self.payload["level"] == "error";
        if ["system", "health"].iter().any(|word| self.origin.contains(word)) {
            Priority::Critical
        } else if self.endpoint.contains("commands")
            || self.origin.contains("console") && is_error()
        {
            Priority::High
        } else {
            Priority::Normal
        }
    }
}

/// The session of the handshake that the real client sends first; it has neither context nor
/// origin, so it is no [`Message`].
pub(super) fn handshake(value: &Value) -> Option<&str> {
    let is_one = value["messageType"] == "event" && value["endpoint"] == HANDSHAKE;
    value["payload"]["sessionId"].as_str().filter(|_| is_one)
}

/// A new correlation id, as the legacy system writes them.
#[must_use]
pub fn correlation_id() -> String {
    format!("corr_{}_{:08x}", unix_ms(), random() >> 32)
}

#[cfg(test)]
mod tests;

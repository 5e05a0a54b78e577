//! The contract by which parts of the legacy system send messages to each other, kept over the
//! fabric: for code that was written against a transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::events::{Arrival, LegacyEvents};
use super::message::{Context, Environment, Message};
use super::time::{iso8601, unix_ms};

/// What a transport is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportRole {
    /// It connects to a server.
    Client,
    /// Clients connect to it.
    Server,
    /// All are equal.
    Peer,
    /// It passes on what others say.
    Relay,
    /// Several of these.
    Hybrid,
}

/// What became of a message, as the legacy system writes it:
/// `{"success":true,"timestamp":"…","sentCount":1}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SendResult {
    /// Some target took it, or it waits for one.
    pub success: bool,
    /// When, ISO 8601.
    pub timestamp: String,
    /// How many targets took it; missing when none could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_count: Option<usize>,
    /// Why not; the legacy system has no such field and ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a message handler is given.
pub type MessageHandler = Box<dyn Fn(&Message) + Send + Sync>;

/// The contract.
pub trait Transport {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// What it is to the others.
    fn role(&self) -> TransportRole;

    /// Sends a message.
    fn send(&mut self, message: &Message) -> SendResult;

    /// Whether it can send.
    fn is_connected(&self) -> bool;

    /// Ends it.
    fn disconnect(&mut self);

    /// Begins again after [`Transport::disconnect`]; false where that is not possible.
    fn reconnect(&mut self) -> bool {
        false
    }

    /// Runs `handler` for every message that comes, in place of the one before; false where none
    /// ever comes. It runs where events arrive or are emitted, and must return quickly.
    fn set_message_handler(&mut self, handler: MessageHandler) -> bool {
        drop(handler);
        false
    }
}

/// Sends messages by the ways of [`LegacyEvents`] and hears what comes there.
#[derive(Debug)]
pub struct FabricTransport {
    events: LegacyEvents,
    context: Context,
    /// It is connected; shared with the handler, which ends with it.
    connected: Arc<AtomicBool>,
    /// The present handler may run.
    handler: Arc<AtomicBool>,
}

impl FabricTransport {
    /// A transport that is connected.
    #[must_use]
    pub fn new(events: &LegacyEvents) -> Self {
        Self {
            events: events.clone(),
            context: Context::new(Environment::Server),
            connected: Arc::new(AtomicBool::new(true)),
            handler: Arc::default(),
        }
    }
}

impl Transport for FabricTransport {
    fn name(&self) -> &'static str {
        "wireloom"
    }

    fn role(&self) -> TransportRole {
        TransportRole::Peer
    }

    fn send(&mut self, message: &Message) -> SendResult {
        let timestamp = iso8601(unix_ms());
        let failed = |error: String, timestamp| SendResult {
            success: false,
            timestamp,
            sent_count: None,
            error: Some(error),
        };
        if !self.is_connected() {
            return failed("the transport is disconnected".into(), timestamp);
        }
        match self.events.inner.relay(message, message.to_text().as_bytes()) {
            Ok(sent) => SendResult {
                success: sent.routed + sent.waiting > 0,
                timestamp,
                sent_count: Some(sent.routed),
                error: None,
            },
            Err(error) => failed(error.to_string(), timestamp),
        }
    }

    fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    fn disconnect(&mut self) {
        self.connected.store(false, Ordering::Relaxed);
    }

    fn reconnect(&mut self) -> bool {
        self.connected.store(true, Ordering::Relaxed);
        true
    }

    fn set_message_handler(&mut self, handler: MessageHandler) -> bool {
        self.handler.store(false, Ordering::Relaxed);
        self.handler = Arc::new(AtomicBool::new(true));
        let (live, connected) = (Arc::clone(&self.handler), Arc::clone(&self.connected));
        let context = self.context.clone();
        self.events.tap(move |arrival| {
            if !live.load(Ordering::Relaxed) {
                return false;
            }
            if connected.load(Ordering::Relaxed) {
                match arrival {
                    Arrival::Message(message, _) => handler(message),
                    Arrival::Event(event, text) => {
                        let message = text.and_then(|text| Message::read(text.as_bytes()).ok());
                        handler(&message.unwrap_or_else(|| {
                            Message::event(&context, Environment::Server, event)
                        }));
                    }
                }
            }
            true
        });
        true
    }
}

impl Drop for FabricTransport {
    fn drop(&mut self) {
        self.handler.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::node::Node;
    use crate::target::Target;

    #[test]
    fn messages_are_sent_and_heard_and_results_have_the_legacy_form() {
        let [here, there] =
            ["transport-here", "transport-there"].map(|name| Node::builder(name).start().unwrap());
        let heard = LegacyEvents::new(&there, &Target::Local).unwrap();
        let (tell, told) = channel();
        let mut listening = FabricTransport::new(&heard);
        assert!(listening.set_message_handler(Box::new(move |message| {
            let _ = tell.send(message.clone());
        })));
        let events = LegacyEvents::new(&here, &Target::Node(there.address())).unwrap();
        let mut transport = FabricTransport::new(&events);
        let message = json!({
            "messageType": "request", "origin": "browser/x", "endpoint": "server/commands/ping",
            "context": { "uuid": "u", "environment": "browser" }, "payload": { "n": 1 },
            "correlationId": "corr_1_2",
        });
        let message = Message::read(message.to_string().as_bytes()).unwrap();
        let result = transport.send(&message);
        assert_eq!((result.success, result.sent_count), (true, Some(1)));
        let json = serde_json::to_value(&result).unwrap();
        let fields: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["sentCount", "success", "timestamp"]);
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(message.clone()));
        events.emit("a", &json!(2)).unwrap();
        let event = told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!((event.event_name(), &event.payload["data"]), (Some("a"), &json!(2)));

        transport.disconnect();
        assert!(!transport.is_connected());
        let result = transport.send(&message);
        assert!(!result.success && result.error.is_some_and(|why| why.contains("disconnected")));
        assert!(transport.reconnect() && transport.send(&message).success);
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        drop(listening);
        transport.send(&message);
        assert!(told.recv_timeout(Duration::from_millis(300)).is_err(), "nobody listens");
        drop(here);
        assert!(!transport.send(&message).success);
    }
}

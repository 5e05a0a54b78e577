//! The bridge for programs that cannot change: their messages become events, and events messages.
//!
//! A machine without sockets: whoever owns the WebSockets tells it who came and what they said, and
//! sends what it gives out. Events of a client go to the fabric and to the other clients; events of
//! the fabric to all clients. Requests go to the clients that speak for their endpoint, else to the
//! fabric, where other bridges are; the response finds its way back by its correlation id.
//!
//! What came from the fabric never goes back to it, and what a client sent not to that client.

mod inbox;
mod pending;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::endpoint::{Endpoints, environment_of};
use super::events::{EmitError, Emitted, LegacyEvents};
use super::message::{self, Context, Environment, Message, MessageType, REQUEST_TIMEOUT};
use super::shape::{self, checked_name};
use super::window::Window;
use super::wrapper::LegacyEvent;
use inbox::{Inbox, News};
pub use pending::PENDING_MAX;
use pending::{Asker, Pending};

/// How many clients a bridge has at a time.
pub const CLIENTS_MAX: usize = 256;

/// How many routes one client can speak for, beside its environment.
const ROUTES_OF_CLIENT_MAX: usize = 64;

/// The event by which a client is told that something is wrong with what it sent.
const TRANSPORT_ERROR: &str = "transport:error";

/// A client of one bridge; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

/// What is known of a client.
#[derive(Debug, Default)]
struct Client {
    environment: Option<Environment>,
    routes: usize,
}

/// What a bridge has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct BridgeCounts {
    /// Clients that came.
    pub clients: u64,
    /// Messages of clients.
    pub heard: u64,
    /// Messages given out for clients, one for each client.
    pub told: u64,
    /// Messages of clients that were dropped because they had come within 60 s.
    pub duplicates: u64,
    /// Requests of clients that nobody answered in time.
    pub timeouts: u64,
    /// Responses that nobody waits for (any more).
    pub unmatched: u64,
    /// Requests and responses of the fabric for clients of other bridges.
    pub elsewhere: u64,
    /// Events of the fabric that came faster than they were taken.
    pub shed: u64,
    /// Messages of clients that were refused, by reason; each was answered.
    pub refused: BTreeMap<&'static str, u64>,
}

/// See the module.
///
/// ```
/// use std::time::Instant;
/// use wireloom::{Node, Target, jtag::{Bridge, LegacyEvents}};
///
/// let node = Node::builder("bridge").start()?;
/// let events = LegacyEvents::new(&node, &Target::Local)?;
/// let mut bridge = Bridge::new(&events, || {});
/// let (page, other) = (bridge.join().unwrap(), bridge.join().unwrap());
/// let text = br#"{"messageType":"event","context":{"uuid":"7c9e","environment":"browser"},
///     "origin":"browser/events","endpoint":"server/events",
///     "payload":{"eventName":"chat:said","data":{"text":"hello"}}}"#;
/// bridge.on_text(page, text, Instant::now());
/// let (to, told) = bridge.next_out().unwrap();
/// assert_eq!((to, told.as_bytes()), (other, &text[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Bridge {
    events: LegacyEvents,
    context: Context,
    inbox: Arc<Inbox>,
    clients: BTreeMap<ClientId, Client>,
    next_client: u64,
    endpoints: Endpoints<Vec<ClientId>>,
    pending: Pending,
    window: Window,
    out: std::collections::VecDeque<(ClientId, Arc<str>)>,
    counts: BridgeCounts,
}

impl Bridge {
    /// A bridge without clients. `wake` is called, on other threads, when [`Bridge::poll`] has
    /// something to take.
    #[must_use]
    pub fn new(events: &LegacyEvents, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let inbox = Inbox::open(events, wake);
        Self {
            events: events.clone(),
            context: Context::new(Environment::Server),
            inbox,
            clients: BTreeMap::new(),
            next_client: 0,
            endpoints: Endpoints::default(),
            pending: Pending::new(REQUEST_TIMEOUT),
            window: Window::default(),
            out: std::collections::VecDeque::new(),
            counts: BridgeCounts::default(),
        }
    }

    /// Requests wait this long for their response, in place of [`REQUEST_TIMEOUT`].
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.pending = Pending::new(timeout);
        self
    }

    /// A client came; `None` when there are [`CLIENTS_MAX`].
    pub fn join(&mut self) -> Option<ClientId> {
        if self.clients.len() >= CLIENTS_MAX {
            return None;
        }
        let id = ClientId(self.next_client);
        self.next_client += 1;
        self.counts.clients += 1;
        self.clients.insert(id, Client::default());
        Some(id)
    }

    /// A client has gone; nothing is given out for it any more.
    pub fn leave(&mut self, client: ClientId) {
        self.clients.remove(&client);
        self.pending.forget(client);
        self.out.retain(|(to, _)| *to != client);
        self.endpoints.retain(|clients| {
            clients.retain(|one| *one != client);
            !clients.is_empty()
        });
    }

    /// A client said something. Whatever is wrong with it is counted and told to that client, by
    /// the response to its request or an event `transport:error`.
    pub fn on_text(&mut self, from: ClientId, text: &[u8], now: Instant) {
        self.counts.heard += 1;
        let value = match shape::read(text) {
            Ok(value) => value,
            Err(error) => return self.refuse(from, (error.name(), &error), None),
        };
        if message::handshake(&value).is_some() {
            return;
        }
        let message = match Message::of(&value) {
            Ok(message) => message,
            Err(error) => {
                let id = value["correlationId"].as_str();
                return self.refuse(from, (error.name(), &error), id);
            }
        };
        self.learn(from, &message);
        if !self.window.admit(self.window.key_of(&message), now) {
            self.counts.duplicates += 1;
            return;
        }
        // It was UTF-8 a moment ago.
        let shared: Arc<str> = String::from_utf8_lossy(text).into();
        match message.message_type {
            MessageType::Event => self.on_event(from, &message, &shared),
            MessageType::Request => self.on_request(from, &message, &shared, now),
            MessageType::Response => self.on_response(&message, &shared),
        }
    }

    /// What a client speaks for follows from where its messages come from.
    fn learn(&mut self, from: ClientId, message: &Message) {
        let Some(client) = self.clients.get_mut(&from) else { return };
        let environment = message.context.environment;
        let mut routes = Vec::new();
        if client.environment != Some(environment) {
            client.environment = Some(environment);
            routes.push(environment.name());
        }
        let knows = |clients: &Vec<ClientId>| clients.contains(&from);
        if environment_of(&message.origin) == Some(environment)
            && client.routes < ROUTES_OF_CLIENT_MAX
            && !self.endpoints.exact(&message.origin).is_some_and(knows)
        {
            client.routes += 1;
            routes.push(&message.origin);
        }
        for route in routes {
            let mut clients = self.endpoints.exact(route).cloned().unwrap_or_default();
            if !clients.contains(&from) {
                clients.push(from);
            }
            // A full table means that requests go to the whole environment.
            let _ = self.endpoints.insert(route, clients);
        }
    }

    fn on_event(&mut self, from: ClientId, message: &Message, text: &Arc<str>) {
        if let Some(event) = LegacyEvent::of_message(message)
            && let Err(fault) = self.events.inner.check_schema(&event.name, &event.data)
        {
            let error = EmitError::Schema(fault);
            return self.refuse(from, (error.reason(), &error), None);
        }
        self.tell_all(Some(from), text);
        if let Err((name, words)) = self.relay(message, text) {
            self.refuse(from, (name, words), None);
        }
    }

    fn on_request(&mut self, from: ClientId, message: &Message, text: &Arc<str>, now: Instant) {
        let id = message.correlation_id.as_deref().unwrap_or_default();
        if let Err(reason) = self.pending.ask(id, (Asker::Client(from), message), now) {
            return self.refuse(from, (reason, reason.replace('_', " ")), Some(id));
        }
        let answer = if self.tell_endpoint(Some(from), message, text) > 0 {
            return;
        } else {
            self.relay(message, text)
        };
        let (name, words) = match answer {
            Err(refused) => refused,
            Ok(Emitted { routed: 0, waiting: 0, .. }) => {
                let words = format!("nobody speaks for {:?}", message.endpoint);
                ("no_endpoint", words)
            }
            Ok(_) => return,
        };
        self.pending.answer(id);
        self.count_refusal(name);
        self.fail(from, message, (name, &words));
    }

    fn on_response(&mut self, message: &Message, text: &Arc<str>) {
        let id = message.correlation_id.as_deref().unwrap_or_default();
        match self.pending.answer(id) {
            Some(Asker::Client(client)) => self.tell(client, text),
            Some(Asker::Fabric) => {
                if let Err((name, _)) = self.relay(message, text) {
                    self.count_refusal(name);
                }
            }
            None => self.counts.unmatched += 1,
        }
    }

    /// To the fabric, and to listeners of this process.
    fn relay(&self, message: &Message, text: &str) -> Result<Emitted, (&'static str, String)> {
        let relayed = self.events.inner.relay(message, text.as_bytes());
        relayed.map_err(|error| (error.reason(), error.to_string()))
    }

    /// Takes what came from the fabric, and ends requests that nobody answered.
    pub fn poll(&mut self, now: Instant) {
        let (news, shed) = self.inbox.take();
        self.counts.shed += shed;
        for news in news {
            match news {
                News::Event(event) => self.tell_event(&event),
                News::EventMessage(text) => self.tell_all(None, &text),
                News::Message(message, text) => self.on_message(&message, &text, now),
            }
        }
        while let Some((asker, request)) = self.pending.overdue(now) {
            let Asker::Client(client) = asker else { continue };
            self.counts.timeouts += 1;
            let waited = self.pending.timeout().as_millis();
            let words = format!("Request timeout after {waited} ms");
            self.fail(client, &request, ("timeout", &words));
        }
    }

    /// A request or response of the fabric.
    fn on_message(&mut self, message: &Message, text: &Arc<str>, now: Instant) {
        let id = message.correlation_id.as_deref().unwrap_or_default();
        match message.message_type {
            MessageType::Event => return self.tell_all(None, text),
            MessageType::Request => {
                let speaks = self.endpoints.find(&message.endpoint).is_some();
                if speaks && self.pending.ask(id, (Asker::Fabric, message), now).is_ok() {
                    self.tell_endpoint(None, message, text);
                    return;
                }
            }
            MessageType::Response => {
                if let Some(Asker::Client(client)) = self.pending.answer(id) {
                    return self.tell(client, text);
                }
            }
        }
        self.counts.elsewhere += 1;
    }

    /// When [`Bridge::poll`] has to be called at the latest.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.pending.due()
    }

    /// The next text to send, and to whom.
    pub fn next_out(&mut self) -> Option<(ClientId, Arc<str>)> {
        self.out.pop_front()
    }

    /// What it has done so far.
    #[must_use]
    pub const fn counts(&self) -> &BridgeCounts {
        &self.counts
    }

    fn tell(&mut self, client: ClientId, text: &Arc<str>) {
        if self.clients.contains_key(&client) {
            self.counts.told += 1;
            self.out.push_back((client, Arc::clone(text)));
        }
    }

    fn tell_all(&mut self, but: Option<ClientId>, text: &Arc<str>) {
        let all: Vec<ClientId> = self.clients.keys().copied().collect();
        for client in all.into_iter().filter(|client| Some(*client) != but) {
            self.tell(client, text);
        }
    }

    /// To all who speak for the endpoint; says how many that are.
    fn tell_endpoint(
        &mut self,
        but: Option<ClientId>,
        message: &Message,
        text: &Arc<str>,
    ) -> usize {
        let all = self.endpoints.find(&message.endpoint).cloned().unwrap_or_default();
        let others: Vec<ClientId> = all.into_iter().filter(|client| Some(*client) != but).collect();
        for client in &others {
            self.tell(*client, text);
        }
        others.len()
    }

    /// An event that no message brought becomes one, for each environment there is.
    fn tell_event(&mut self, event: &LegacyEvent) {
        let mut texts: BTreeMap<&str, Arc<str>> = BTreeMap::new();
        let all: Vec<(ClientId, Environment)> = self
            .clients
            .iter()
            .map(|(id, client)| (*id, client.environment.unwrap_or(Environment::Browser)))
            .collect();
        for (client, environment) in all {
            let text = texts.entry(environment.name()).or_insert_with(|| {
                Message::event(&self.context, environment, event).to_text().into()
            });
            let text = Arc::clone(text);
            self.tell(client, &text);
        }
    }

    /// The response that says that a request failed.
    fn fail(&mut self, client: ClientId, request: &Message, (name, words): (&str, &str)) {
        let fields = json!({ "success": false, "error": words, "errorCode": name });
        let Value::Object(fields) = fields else { return };
        let text: Arc<str> = request.response(&self.context, fields).to_text().into();
        self.tell(client, &text);
    }

    fn count_refusal(&mut self, name: &'static str) {
        *self.counts.refused.entry(name).or_default() += 1;
    }

    /// Counts a refusal and tells the client of it.
    fn refuse(
        &mut self,
        client: ClientId,
        (name, words): (&'static str, impl std::fmt::Display),
        correlation_id: Option<&str>,
    ) {
        self.count_refusal(name);
        let mut data = Map::new();
        data.insert("error".into(), name.into());
        data.insert("message".into(), words.to_string().into());
        if let Some(id) = correlation_id.and_then(|id| checked_name("correlationId", id).ok()) {
            data.insert("correlationId".into(), id.into());
        }
        let from = ("wireloom", Environment::Server);
        let event = LegacyEvent::new(TRANSPORT_ERROR, data.into(), from);
        let known = self.clients.get(&client).and_then(|client| client.environment);
        let to = known.unwrap_or(Environment::Browser);
        let text: Arc<str> = Message::event(&self.context, to, &event).to_text().into();
        self.tell(client, &text);
    }

    /// A client sent what is no message at all, and its socket ends for it: whoever owns the socket
    /// noticed, and tells the client why.
    pub fn on_refused(&mut self, name: &'static str) {
        self.counts.heard += 1;
        self.count_refusal(name);
    }
}

#[cfg(test)]
mod tests;

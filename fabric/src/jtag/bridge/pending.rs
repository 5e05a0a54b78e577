//! Requests that wait for their response, by correlation id.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ClientId;
use crate::jtag::message::Message;

/// How many requests wait at a time.
pub const PENDING_MAX: usize = 1_000;

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A client of this bridge.
    Client(ClientId),
    /// Somebody beyond the fabric.
    Fabric,
}

#[derive(Debug)]
struct Request {
    asker: Asker,
    /// The request without what it said, for the response that says it failed.
    request: Message,
    until: Instant,
}

/// See the module. All requests wait equally long, so the first to be overdue is the oldest.
#[derive(Debug)]
pub(super) struct Pending {
    requests: HashMap<String, Request>,
    /// Ids in the order of their time; answered ones are swept out now and then.
    order: VecDeque<(Instant, String)>,
    timeout: Duration,
}

impl Pending {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { requests: HashMap::new(), order: VecDeque::new(), timeout }
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Somebody asks.
    ///
    /// # Errors
    /// The reason's name, when nobody may ask now or under this id.
    pub(super) fn ask(
        &mut self,
        id: &str,
        (asker, request): (Asker, &Message),
        now: Instant,
    ) -> Result<(), &'static str> {
        if self.requests.contains_key(id) {
            return Err("correlation_id_in_use");
        }
        if self.requests.len() >= PENDING_MAX {
            return Err("too_many_requests");
        }
        if self.order.len() > 4 * PENDING_MAX {
            let requests = &self.requests;
            self.order.retain(|(until, id)| {
                requests.get(id).is_some_and(|request| request.until == *until)
            });
        }
        let session = request.payload.get("sessionId").cloned().unwrap_or(Value::Null);
        let request = Message { payload: json!({ "sessionId": session }), ..request.clone() };
        let until = now + self.timeout;
        self.requests.insert(id.to_owned(), Request { asker, request, until });
        self.order.push_back((until, id.to_owned()));
        Ok(())
    }

    /// The response came: who waits for it; `None` when nobody does (any more).
    pub(super) fn answer(&mut self, id: &str) -> Option<Asker> {
        self.requests.remove(id).map(|request| request.asker)
    }

    /// A client no longer waits.
    pub(super) fn forget(&mut self, client: ClientId) {
        self.requests.retain(|_, request| request.asker != Asker::Client(client));
    }

    /// A request whose time is over, if there is one.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<(Asker, Message)> {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            let (until, id) = self.order.pop_front()?;
            // An id that was answered and is used anew waits for its own time.
            if self.requests.get(&id).is_some_and(|request| request.until == until) {
                let Request { asker, request, .. } = self.requests.remove(&id)?;
                return Some((asker, request));
            }
        }
        None
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.order.front().map(|(until, _)| *until)
    }
}

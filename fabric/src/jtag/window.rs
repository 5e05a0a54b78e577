//! The window in which a repeated message is dropped.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::message::Message;

/// How long a message is remembered, as in the legacy system.
pub const WINDOW: Duration = Duration::from_secs(60);

/// How many messages are remembered at most, 32 bytes each; beyond that the oldest is forgotten.
pub const WINDOW_ENTRIES_MAX: usize = 16_384;

/// Remembers what has come within the last 60 s.
///
/// Keys are 64-bit hashes with a seed of this process: two different messages of one window share
/// one with a chance of 1 in 10¹¹, and nobody outside can look for such a pair.
#[derive(Debug, Default)]
pub struct Window {
    seen: HashSet<u64>,
    order: VecDeque<(Instant, u64)>,
    seed: RandomState,
}

impl Window {
    /// The key of a message: origin, endpoint and what the payload says beside the uuid of its
    /// context, in any order of its fields. A request's or response's id belongs to it: the same
    /// question may be asked twice, and equal answers answer different questions.
    #[must_use]
    pub fn key_of(&self, message: &Message) -> u64 {
        let payload = self.value_key(&message.payload, 0);
        self.key((&message.origin, &message.endpoint, &message.correlation_id, payload))
    }

    pub(super) fn key(&self, what: impl Hash) -> u64 {
        self.seed.hash_one(what)
    }

    /// The hash of a value within the bounds of a message (so recursion ends); `depth` 0 is the
    /// payload, whose `context.uuid` does not count.
    fn value_key(&self, value: &Value, depth: usize) -> u64 {
        match value {
            Value::Array(items) => {
                let mut hasher = self.seed.build_hasher();
                for item in items {
                    hasher.write_u64(self.value_key(item, depth + 2));
                }
                hasher.write_usize(items.len());
                hasher.finish()
            }
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| match (depth, name.as_str()) {
                    (0, "context") => self.key((name, self.value_key(value, 1))),
                    (1, "uuid") => 0,
                    _ => self.key((name, self.value_key(value, depth + 2))),
                });
                self.key(("object", fields.fold(0, u64::wrapping_add)))
            }
            plain => self.key(plain),
        }
    }

    /// Whether `key` is new within the window; it is remembered from now on.
    pub fn admit(&mut self, key: u64, now: Instant) -> bool {
        while self.order.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.forget();
        }
        if !self.seen.insert(key) {
            return false;
        }
        if self.order.len() >= WINDOW_ENTRIES_MAX {
            self.forget();
        }
        self.order.push_back((now, key));
        true
    }

    fn forget(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.seen.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(payload: Value) -> Message {
        let text = json!({
            "messageType": "event",
            "context": { "uuid": "u", "environment": "browser" },
            "origin": "browser/events",
            "endpoint": "server/events",
            "payload": payload,
        });
        Message::of(&text).unwrap()
    }

    #[test]
    fn the_same_content_within_a_minute_is_dropped() {
        let mut window = Window::default();
        let begin = Instant::now();
        let first = message(json!({ "eventName": "a", "context": { "uuid": "1", "n": 1 } }));
        let again = message(json!({ "context": { "n": 1, "uuid": "2" }, "eventName": "a" }));
        assert!(window.admit(window.key_of(&first), begin));
        assert!(!window.admit(window.key_of(&again), begin + Duration::from_secs(59)));
        assert!(window.admit(window.key_of(&again), begin + WINDOW), "a minute has passed");
    }

    #[test]
    fn other_content_is_not() {
        let window = Window::default();
        let base = json!({ "context": { "uuid": "1" }, "data": { "uuid": "1", "list": [1, 2] } });
        let key = window.key_of(&message(base.clone()));
        for (pointer, value) in [
            ("/data/uuid", json!("2")),
            ("/data/list", json!([2, 1])),
            ("/data/list", json!([1, 2, 2])),
            ("/data/list", json!([[1, 2]])),
            ("/data", json!({ "list": [1, 2], "uuid": 1 })),
            ("/context", json!({ "uuid": "1", "environment": "server" })),
            ("/context", json!("1")),
        ] {
            let mut other = base.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert_ne!(window.key_of(&message(other.clone())), key, "{other}");
        }
        for change in [
            |message: &mut Message| message.origin.push('x'),
            |message: &mut Message| message.endpoint.push('x'),
            |message: &mut Message| message.correlation_id = Some("corr_1_2".into()),
        ] {
            let mut other = message(base.clone());
            change(&mut other);
            assert_ne!(window.key_of(&other), key, "{other:?}");
        }
    }

    #[test]
    fn the_window_has_an_end() {
        let mut window = Window::default();
        let now = Instant::now();
        for key in 0..WINDOW_ENTRIES_MAX as u64 + 1 {
            assert!(window.admit(key, now));
        }
        assert_eq!((window.seen.len(), window.order.len()), (16_384, 16_384));
        assert!(!window.admit(1, now));
        assert!(window.admit(0, now), "the oldest was forgotten");
    }
}

//! Subscribers by pattern: what stands before their ring, on the receiver's worker.
//!
//! A pattern is asked once for each type: when the subscriber is made for types this node knows,
//! later when the first event of a type comes that carries its name. After that an event costs one
//! look-up by its type's id.

use std::collections::HashMap;

use wireloom_dataplane::dispatch::{Lost, Origin, Pumped, Subscriber, Verdict};
use wireloom_dataplane::inbound::RingSubscriber;
use wireloom_wire::{EventTypeId, Frame};

use crate::event::is_type_name;
use crate::pattern::TypePattern;
use crate::shared::Shared;

/// Types of which a subscriber remembers whether they match, in memory taken when it is made; the
/// patterns are asked again for each event of further ones.
const TYPES_MAX: usize = 4_096;

/// The ring of a subscriber by pattern.
pub(crate) struct PatternRing {
    ring: RingSubscriber,
    patterns: Vec<TypePattern>,
    decided: HashMap<EventTypeId, bool>,
}

impl PatternRing {
    pub(crate) fn boxed(
        shared: &Shared,
        ring: RingSubscriber,
        patterns: &[TypePattern],
    ) -> Box<dyn Subscriber> {
        let patterns = patterns.to_vec();
        let mut decided = HashMap::with_capacity(TYPES_MAX);
        let known = shared.known_types();
        for (id, name) in known.iter().take(TYPES_MAX) {
            decided.insert(*id, matches(&patterns, name));
        }
        Box::new(Self { ring, patterns, decided })
    }

    /// Whether events of the frame's type are wanted; one that nobody can name is not.
    fn wants(&mut self, frame: &Frame<'_>) -> bool {
        let id = frame.header.event_type;
        if let Some(wanted) = self.decided.get(&id) {
            return *wanted;
        }
        // A frame may say anything; what is no type's name matches nothing.
        let Some(name) = frame.name().filter(|name| is_type_name(name)) else { return false };
        let wanted = matches(&self.patterns, name);
        if self.decided.len() < TYPES_MAX {
            self.decided.insert(id, wanted);
        }
        wanted
    }
}

fn matches(patterns: &[TypePattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

impl Subscriber for PatternRing {
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        if self.wants(frame) { self.ring.take(frame, origin) } else { Verdict::Passed }
    }

    fn on_lost(&mut self, lost: &Lost) {
        self.ring.on_lost(lost);
    }

    fn pump(&mut self, now_ns: u64) -> Pumped {
        self.ring.pump(now_ns)
    }

    fn end_cycle(&mut self) {
        self.ring.end_cycle();
    }
}

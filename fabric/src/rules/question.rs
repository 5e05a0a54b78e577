//! An event that may never be published, to be asked about: by which way would it go?

use wireloom_wire::Priority;

use super::{Rule, RuleSet};
use crate::target::Target;

/// What is asked of [`Node::explain_type`](crate::Node::explain_type).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Question {
    /// The name of the event's type.
    pub event_type: String,
    /// Its priority; unless told that of its type, else normal.
    pub priority: Option<Priority>,
    /// The group its type names (`group:port`); unless told what the node knows of the type.
    pub multicast: Option<String>,
    /// The bytes of its payload. Without them, no rule that asks for a size applies, and a packet
    /// is taken to hold it.
    pub bytes: Option<u64>,
    /// Where it is to go.
    pub target: Target,
    /// Its own key, for a service whose member is chosen by it
    /// ([`Choice::OwnKey`](crate::Choice::OwnKey)).
    pub own_key: Option<u64>,
}

impl Question {
    /// A question about an event of unknown size, of which its type says the rest.
    #[must_use]
    pub fn new(event_type: &str, target: Target) -> Self {
        let event_type = event_type.to_owned();
        let (priority, multicast, bytes, own_key) = (None, None, None, None);
        Self { event_type, priority, multicast, bytes, target, own_key }
    }

    /// The same for this priority.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// The same for a type that names this group.
    #[must_use]
    pub fn multicast(mut self, group: &str) -> Self {
        self.multicast = Some(group.to_owned());
        self
    }

    /// The same for a payload of so many bytes.
    #[must_use]
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// The same for an event of this [key](crate::Event::key).
    #[must_use]
    pub const fn own_key(mut self, key: u64) -> Self {
        self.own_key = Some(key);
        self
    }
}

/// A payload of a usual event, bytes.
const USUAL_BYTES: u64 = 64;

impl Rule {
    /// An event that this rule speaks of: its name with something in place of what is open, and the
    /// first priority, size and target of those it has.
    fn question(&self) -> Question {
        let event_type = self.types.as_str().replace("**", "any").replace('*', "x");
        let normal = Some(Priority::Normal).filter(|normal| self.is_of_priority(*normal));
        let first = || Priority::ALL.into_iter().find(|priority| self.is_of_priority(*priority));
        let asked = self.to.as_ref().map(|to| to.replace('*', "any"));
        let target = asked.and_then(|to| to.parse().ok()).unwrap_or(Target::Auto);
        Question {
            event_type,
            priority: normal.or_else(first),
            multicast: None,
            bytes: Some(USUAL_BYTES.clamp(self.size.0, self.size.1)),
            target,
            own_key: None,
        }
    }
}

impl RuleSet {
    /// An event for each rule that it speaks of, each once: to compare two sets by.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        let mut questions: Vec<Question> = Vec::new();
        for question in self.iter().map(Rule::question) {
            if !questions.contains(&question) {
                questions.push(question);
            }
        }
        questions
    }
}

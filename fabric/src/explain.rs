//! Why an event goes where it goes: the same decision as a router's, with a word on each step.
//!
//! For people and tools; nothing is sent, no link is made. Asks the system for the path's packet
//! size, as a first event to an address does.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;
use wireloom_wire::{FRAME_HEADER_BYTES, PACKET_HEADER_BYTES, event_type_id};

use crate::builder::Sizes;
use crate::choose::{Aim, Chooser};
use crate::event::Event;
use crate::node::Node;
use crate::outcome::{NoRoute, Refused};
use crate::plan::lead_to;
use crate::router::Router;
use crate::rules::{Question, RuleSet};
use crate::select::{Asked, Carrier, Decision, Size, Step, Transport, decide};
use crate::shared::Shared;
use crate::target::Target;

/// How an event goes, and why.
///
/// Its text has a line for each step of the selection that was asked; as JSON (`serde`) it has the
/// same fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the event's type.
    pub event_type: String,
    /// Its priority.
    pub priority: &'static str,
    /// The bytes of its payload, where they were given.
    pub bytes: Option<u64>,
    /// The target that was asked for.
    pub target: String,
    /// The target a rule put in its place.
    pub instead: Option<String>,
    /// The step that decided on the transport.
    pub decided_by: &'static str,
    /// The rule that applied, by its place: `rules.toml:7`.
    pub rule: Option<String>,
    /// The transport.
    pub transport: &'static str,
    /// What its own key decides.
    pub key: KeyUse,
    /// The event's own key, where it has chosen the member of a service, or will as soon as one is
    /// known.
    pub own_key: Option<u64>,
    /// Where it goes now; empty when that is this process, or not known.
    pub addresses: Vec<SocketAddr>,
    /// The largest payload that one packet to there holds, bytes; none where no packet is sent by
    /// this node itself.
    pub packet_holds: Option<u64>,
    /// What it would be refused for, if it would.
    pub refused: Option<String>,
    /// What each step said, in order.
    pub steps: Vec<Considered>,
}

/// What an event's own key decides of where it goes: a target such as `service:NAME?key`
/// ([`Choice::OwnKey`](crate::Choice::OwnKey)) asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyUse {
    /// Nothing: the target does not ask for it.
    NotAsked,
    /// The target asks for it, and the event has none, or none was given.
    Missing,
    /// It will choose a member; which one is not known, for the reason of the refusal.
    Undecided,
    /// It has chosen the member.
    Chose,
    /// Nothing this time: another entry of the list was taken.
    Unused,
}

/// What one step said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Considered {
    /// The step's name.
    pub step: &'static str,
    /// Why it applied, or did not.
    pub why: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.bytes.map_or_else(String::new, |bytes| format!(" of {bytes} bytes"));
        write!(f, "{}{size}, {}, to {}", self.event_type, self.priority, self.target)?;
        if let Some(instead) = &self.instead {
            write!(f, ", and by a rule to {instead}")?;
        }
        write!(f, "\ngoes by {}, decided by ", self.transport)?;
        match &self.rule {
            Some(rule) if self.decided_by == Step::Rules.name() => write!(f, "the rule at {rule}")?,
            _ => write!(f, "the step {}", self.decided_by)?,
        }
        self.key_line(f)?;
        if !self.addresses.is_empty() {
            let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
            write!(f, "\nto {}", addresses.join(", "))?;
        }
        if let Some(bytes) = self.packet_holds {
            write!(f, "; a packet there holds {bytes} bytes")?;
        }
        for considered in &self.steps {
            write!(f, "\n  {:<10}  {}", considered.step, considered.why)?;
        }
        match &self.refused {
            Some(reason) => write!(f, "\nrefused: {reason}"),
            None => Ok(()),
        }
    }
}

impl Explanation {
    /// The line about the event's own key, where the target asks for it.
    fn key_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.own_key.unwrap_or_default();
        match self.key {
            KeyUse::NotAsked => Ok(()),
            KeyUse::Missing => f.write_str("\nits own key is to choose a member, and it has none"),
            KeyUse::Undecided => write!(f, "\nto the member that its own key {key} will choose"),
            KeyUse::Chose => write!(f, "\nto a member chosen by its own key {key}"),
            KeyUse::Unused => {
                f.write_str("\nnot by its own key: another entry of the list was taken")
            }
        }
    }
}

impl Node {
    /// How this event would go now, and why. Costs an encoding, the look at every rule, and what a
    /// look at the path costs the system: for people and tools.
    #[must_use]
    pub fn explain<E: Event>(&self, event: &E, target: &Target) -> Explanation {
        self.router().explain(event, target)
    }

    /// The same for an event of which only this is known. What its type says of itself (priority,
    /// multicast group) is added where this node has met the type (it publishes, subscribes or
    /// registers it) or it is one of the [ready-made](crate::events) ones, so that the answer is
    /// that of [`Node::explain`].
    #[must_use]
    pub fn explain_type(&self, question: &Question) -> Explanation {
        let (_, rules) = self.shared.rules.current();
        self.explain_by(question, &rules)
    }

    /// As [`Node::explain_type`], if the node had these rules.
    #[must_use]
    pub fn explain_by(&self, question: &Question, rules: &RuleSet) -> Explanation {
        let id = event_type_id(&question.event_type);
        let known = self.shared.attributes(id);
        let own = known.and_then(|of| of.multicast);
        let asked = Asked {
            event_type: &question.event_type,
            id,
            priority: question.priority.or_else(|| Some(known?.priority)).unwrap_or_default(),
            multicast: question.multicast.as_deref().or(own),
            by_name: false,
            target: &question.target,
            own_key: question.own_key,
        };
        explain(&self.shared, (&asked, question.bytes), rules, &mut Chooser::default())
    }

    /// Exchanges the rules of routing and gives those before. Routers see it with their next event;
    /// a publisher goes on by those it was made with.
    pub fn apply_rules(&self, rules: RuleSet) -> RuleSet {
        self.shared.rules.exchange(rules)
    }

    /// The rules of routing that are in effect.
    #[must_use]
    pub fn rules(&self) -> RuleSet {
        self.shared.rules.current().1
    }
}

/// Explains with the turn that the caller's chooser is at, which then is taken.
pub(crate) fn explain(
    shared: &Shared,
    (asked, bytes): (&Asked<'_>, Option<u64>),
    rules: &RuleSet,
    chooser: &mut Chooser,
) -> Explanation {
    let configured = shared.cluster.group_of(asked.id);
    let mut steps = Vec::new();
    let mut judge = |fits| {
        steps.clear();
        decide(asked, Size { bytes, fits }, configured, rules, &mut |step, why| {
            steps.push(Considered { step: step.name(), why: why.to_string() });
        })
    };
    let mut decision = judge(true);
    let mut led = Led::by(shared, (asked, &decision), chooser);
    let too_large = |led: &Led| {
        let holds = led.packet_holds(shared);
        bytes.zip(holds).is_some_and(|(bytes, holds)| bytes > holds)
    };
    let mut spilled = false;
    if decision.may_stream() && too_large(&led) {
        decision = judge(false);
        let addresses = std::mem::take(&mut led.addresses);
        led = Led::by(shared, (asked, &decision), chooser);
        spilled = led.addresses.is_empty() && led.refused.is_some();
        if spilled && !addresses.is_empty() {
            led.addresses = addresses;
        }
    }
    let stream_bytes_max = shared.reliable.stream_bytes_max as u64;
    let limit = match decision.carrier {
        Carrier::Local => None,
        Carrier::Tcp | Carrier::Streaming => Some(stream_bytes_max),
        _ => led.packet_holds(shared),
    };
    let beyond = bytes.zip(limit).filter(|(bytes, limit)| bytes > limit);
    let refused = led.refused.or_else(|| {
        let (_, limit) = beyond?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Some(Refused::TooLarge { limit }.to_string())
    });
    Explanation {
        event_type: asked.event_type.to_owned(),
        priority: asked.priority.name(),
        bytes,
        target: asked.target.to_string(),
        instead: decision.target.as_ref().map(ToString::to_string),
        decided_by: decision.step.name(),
        rule: decision.rule.and_then(|rule| rules.rule(rule)).map(|rule| rule.place.to_string()),
        transport: transport(&decision, &led.targets).name(),
        key: led.key,
        own_key: asked.own_key.filter(|_| matches!(led.key, KeyUse::Undecided | KeyUse::Chose)),
        packet_holds: if spilled { None } else { limit.filter(|_| !decision.carrier.is_tcp()) },
        addresses: led.addresses,
        refused,
        steps,
    }
}

/// Where a decision leads now.
#[derive(Debug)]
struct Led {
    targets: Vec<Target>,
    addresses: Vec<SocketAddr>,
    refused: Option<String>,
    key: KeyUse,
}

impl Led {
    fn by(
        shared: &Shared,
        (asked, decision): (&Asked<'_>, &Decision),
        chooser: &mut Chooser,
    ) -> Self {
        let target = decision.target.as_ref().unwrap_or(asked.target);
        if let Target::Unresolved(error) = target {
            return Self::refused(NoRoute::from(error.clone()), KeyUse::NotAsked);
        }
        let asked = Asked { target, ..*asked };
        // A group or this process is meant as it is, whatever the target asks for.
        let aims = matches!(decision.carrier, Carrier::Udp | Carrier::Tcp | Carrier::Streaming);
        let asks = aims && target.of_own_key().is_some();
        let led = lead_to(shared, &asked, decision.carrier, chooser);
        let key = match (asks, asked.own_key, &led) {
            (false, ..) => KeyUse::NotAsked,
            (true, None, _) => KeyUse::Missing,
            (true, _, Err(_)) => KeyUse::Undecided,
            (true, _, Ok(_)) if chooser.went_by_own_key() => KeyUse::Chose,
            (true, _, Ok(_)) => KeyUse::Unused,
        };
        let targets = match led {
            Ok(Aim::One(target)) => vec![target],
            Ok(Aim::Each(targets)) => targets,
            Err(reason) => return Self::refused(reason, key),
        };
        let addresses = targets.iter().filter_map(Target::address).collect();
        Self { targets, addresses, refused: None, key }
    }

    fn refused(reason: NoRoute, key: KeyUse) -> Self {
        let refused = Some(Refused::from(reason).to_string());
        Self { targets: Vec::new(), addresses: Vec::new(), refused, key }
    }

    /// The largest payload that a packet to all of them holds; none for this process alone and for
    /// links.
    fn packet_holds(&self, shared: &Shared) -> Option<u64> {
        let links = self.targets.iter().filter_map(|target| match target {
            Target::Node(address) | Target::Multicast(address) | Target::Broadcast(address) => {
                Some(shared.path_bytes(*address))
            }
            _ => None,
        });
        let known = links.min();
        // Somebody who is not known yet is not known to be near.
        let unknown = self.targets.is_empty().then(Sizes::unknown_path_bytes);
        let path_bytes = known.or(unknown)?;
        // A record of the ring before it is the other bound, see `RingWriter`.
        let ring_bytes = shared.sizes.outbound_ring_bytes / 4;
        let frame_bytes = path_bytes.saturating_sub(PACKET_HEADER_BYTES).min(ring_bytes);
        Some((frame_bytes / 16 * 16).saturating_sub(FRAME_HEADER_BYTES) as u64)
    }
}

/// The transport of a decision where it leads: a node of the cluster may be this process, and a
/// group may stand for several.
fn transport(decision: &Decision, targets: &[Target]) -> Transport {
    match targets {
        [Target::Local] => Transport::Local,
        [Target::Multicast(_)] => Transport::Multicast,
        [Target::Reliable(_)] if decision.carrier == Carrier::Udp => Transport::TcpReliable,
        _ => decision.carrier.transport(),
    }
}

impl Router {
    /// How this event would go now, and why: what [`Router::route`] would do, without doing it.
    #[must_use]
    pub fn explain<E: Event>(&mut self, event: &E, target: &Target) -> Explanation {
        let bytes = self.measure(event);
        let (_, rules) = self.shared.rules.current();
        let asked = Asked { own_key: event.key(), ..crate::router::asked_of::<E>(target) };
        explain(&self.shared, (&asked, Some(bytes)), &rules, &mut self.chooser)
    }
}

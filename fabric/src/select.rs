//! By which transport an event travels: the six steps of the selection, in their order.
//!
//! Pure: from what is asked, the rules and the groups to a decision, and a word on each step for
//! whoever wants to know. Routers remember decisions (`plan`); nothing here runs for each event.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use wireloom_wire::{EventTypeId, Priority};

use crate::rules::{Field, RuleSet, RuleTransport};
use crate::target::Target;

/// Where events go by multicast when neither their type nor the node names a group.
pub const DEFAULT_GROUP: SocketAddr = group([224, 1, 1, 1]);

/// The same for `debug` and `trace`.
pub const DEBUG_GROUP: SocketAddr = group([224, 1, 1, 2]);

const fn group([a, b, c, d]: [u8; 4]) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), 9_000))
}

/// By what an event travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// No network: the handlers of this process.
    Local,
    /// A datagram to one node.
    UdpFast,
    /// One datagram to a group.
    Multicast,
    /// One datagram to everybody of the local network.
    Broadcast,
    /// A TCP link: in order, acknowledged.
    TcpReliable,
    /// A TCP link, in pieces, for what no packet holds.
    TcpStreaming,
}

impl Transport {
    /// As it is written everywhere: `udp fast`, `tcp streaming`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::UdpFast => "udp fast",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::TcpReliable => "tcp reliable",
            Self::TcpStreaming => "tcp streaming",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The steps of the selection, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Step {
    /// What the target itself says.
    Target,
    /// The rules of the user.
    Rules,
    /// Critical events.
    Priority,
    /// The table of types.
    TypeTable,
    /// What no packet holds.
    Size,
    /// Everything else.
    Default,
}

impl Step {
    /// The name in explanations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Rules => "rules",
            Self::Priority => "priority",
            Self::TypeTable => "type table",
            Self::Size => "size",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What carries an event, and where to when that is no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Local,
    Udp,
    Multicast(SocketAddr),
    Broadcast(SocketAddr),
    Tcp,
    Streaming,
}

impl Carrier {
    pub(crate) const fn transport(self) -> Transport {
        match self {
            Self::Local => Transport::Local,
            Self::Udp => Transport::UdpFast,
            Self::Multicast(_) => Transport::Multicast,
            Self::Broadcast(_) => Transport::Broadcast,
            Self::Tcp => Transport::TcpReliable,
            Self::Streaming => Transport::TcpStreaming,
        }
    }

    pub(crate) const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Streaming)
    }
}

/// What is known of an event before it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) event_type: &'a str,
    pub(crate) id: EventTypeId,
    pub(crate) priority: Priority,
    /// The group the type itself names.
    pub(crate) multicast: Option<&'a str>,
    /// Only the type's name is known here: what it says itself, the node is asked.
    pub(crate) by_name: bool,
    pub(crate) target: &'a Target,
    /// The event's own key; asked for only where a service's member is chosen by it.
    pub(crate) own_key: Option<u64>,
}

/// What of an event is known only when it is written, or never.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Bytes of the payload; none when they are not known, and then no rule that asks for them
    /// applies.
    pub(crate) bytes: Option<u64>,
    /// Whether a packet holds it.
    pub(crate) fits: bool,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) step: Step,
    /// The rule that applied, by its place among the rules.
    pub(crate) rule: Option<usize>,
    /// Where that rule sends the event instead.
    pub(crate) target: Option<Target>,
    pub(crate) carrier: Carrier,
}

impl Decision {
    /// Whether an event that no packet holds may go by TCP instead: nobody demanded a datagram.
    pub(crate) const fn may_stream(&self) -> bool {
        matches!(self.step, Step::TypeTable | Step::Default)
    }
}

/// What the table of types says of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Multicast,
    Broadcast,
    Udp,
    Tcp,
}

/// The table of types.
const TYPES: &[(&str, Row)] = &[
    ("discovery", Row::Multicast),
    ("heartbeat", Row::Multicast),
    ("trace", Row::Multicast),
    ("debug", Row::Multicast),
    ("service-announcement", Row::Broadcast),
    ("user-interaction", Row::Udp),
    ("performance-metric", Row::Udp),
    ("error", Row::Tcp),
    ("exception", Row::Tcp),
];

/// Hears a word on each step that was asked.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(Step, fmt::Arguments<'_>);

/// Asks the steps in order; `configured` is the group the node has for the type.
pub(crate) fn decide(
    asked: &Asked<'_>,
    size: Size,
    configured: Option<SocketAddr>,
    rules: &RuleSet,
    tell: Tell<'_>,
) -> Decision {
    let selection = Selection { asked: *asked, size, configured };
    if let Some(carrier) = demand(asked.target) {
        tell(Step::Target, format_args!("{} says so itself", asked.target));
        return Decision { step: Step::Target, rule: None, target: None, carrier };
    }
    tell(Step::Target, format_args!("{} leaves it open", asked.target));
    let rule = selection.rule(rules, tell);
    let (mut selection, mut target) = (selection, None);
    if let Some((_, rule)) = rule {
        target = rule.target.as_ref();
        selection.asked.target = target.unwrap_or(asked.target);
    }
    let of_rule = rule.and_then(|(_, rule)| selection.ruled(rule.transport));
    let (step, carrier) = match of_rule {
        Some(carrier) => (Step::Rules, carrier),
        None => selection.built_in(tell),
    };
    Decision { step, rule: rule.map(|(index, _)| index), target: target.cloned(), carrier }
}

/// What a target says of the transport, if it does.
fn demand(target: &Target) -> Option<Carrier> {
    match target {
        Target::Local => Some(Carrier::Local),
        Target::Node(_) | Target::Fast(_) | Target::Unresolved(_) => Some(Carrier::Udp),
        Target::Reliable(_) | Target::Reliably(_) => Some(Carrier::Tcp),
        Target::Multicast(group) => Some(Carrier::Multicast(*group)),
        Target::Broadcast(address) => Some(Carrier::Broadcast(*address)),
        Target::Machine(_)
        | Target::Named(_)
        | Target::Service(..)
        | Target::AnyOf(_)
        | Target::Interested
        | Target::Auto => None,
    }
}

#[derive(Debug, Clone, Copy)]
struct Selection<'a> {
    asked: Asked<'a>,
    size: Size,
    configured: Option<SocketAddr>,
}

impl Selection<'_> {
    /// The first rule that applies, and its place.
    fn rule<'r>(
        &self,
        rules: &'r RuleSet,
        tell: Tell<'_>,
    ) -> Option<(usize, &'r crate::rules::Rule)> {
        if rules.is_empty() {
            tell(Step::Rules, format_args!("there are none"));
            return None;
        }
        let to = self.asked.target.to_string();
        let mut others = 0_usize;
        for (index, rule) in rules.iter().enumerate() {
            match rule.refuses(&self.asked, self.size.bytes, &to) {
                None if rule.is_for_many() && self.asked.target.is_single() => {
                    let transport = rule.transport_name();
                    tell(Step::Rules, format_args!("{rule}: no {transport} to one node"));
                }
                None => {
                    tell(Step::Rules, format_args!("{rule}: {}", rule.action()));
                    return Some((index, rule));
                }
                Some(Field::Type) => others += 1,
                Some(field) => tell(Step::Rules, format_args!("{rule}: {field} is another")),
            }
        }
        if others > 0 {
            tell(Step::Rules, format_args!("rules for other types: {others}"));
        }
        None
    }

    /// What a rule says of the transport, or its target does.
    fn ruled(&self, transport: Option<RuleTransport>) -> Option<Carrier> {
        match transport {
            None => demand(self.asked.target),
            Some(RuleTransport::Udp) => Some(Carrier::Udp),
            Some(RuleTransport::Tcp) => Some(Carrier::Tcp),
            Some(RuleTransport::Local) => Some(Carrier::Local),
            Some(RuleTransport::Multicast) => {
                let group = || Carrier::Multicast(self.group());
                Some(demand(self.asked.target).unwrap_or_else(group))
            }
            Some(RuleTransport::Broadcast) => {
                let everybody = || Carrier::Broadcast(self.everybody());
                Some(demand(self.asked.target).unwrap_or_else(everybody))
            }
        }
    }

    /// The steps behind the rules.
    fn built_in(&self, tell: Tell<'_>) -> (Step, Carrier) {
        if self.asked.priority == Priority::Critical {
            tell(Step::Priority, format_args!("critical events go by TCP, acknowledged"));
            return (Step::Priority, Carrier::Tcp);
        }
        tell(Step::Priority, format_args!("{} is not critical", self.asked.priority));
        if let Some(carrier) = self.of_type(tell) {
            return (Step::TypeTable, carrier);
        }
        if !self.size.fits {
            tell(Step::Size, format_args!("no packet of the path holds it"));
            return (Step::Size, Carrier::Streaming);
        }
        match self.size.bytes {
            Some(bytes) => tell(Step::Size, format_args!("a packet holds its {bytes} bytes")),
            None => tell(Step::Size, format_args!("its size is not known")),
        }
        tell(Step::Default, format_args!("everything else goes by UDP"));
        (Step::Default, Carrier::Udp)
    }

    /// What the table of types says, where that can carry this event to this target.
    fn of_type(&self, tell: Tell<'_>) -> Option<Carrier> {
        let name = self.asked.event_type;
        let row = TYPES.iter().find(|(known, _)| *known == name).map(|(_, row)| *row);
        // A type that names a group has a row of its own.
        let own = self.own_group().filter(|_| *self.asked.target == Target::Auto);
        let Some(row) = row.or_else(|| own.map(|_| Row::Multicast)) else {
            tell(Step::TypeTable, format_args!("it has no row for {name}"));
            return None;
        };
        let many = matches!(row, Row::Multicast | Row::Broadcast);
        let what = match row {
            Row::Multicast => "multicast",
            Row::Broadcast => "broadcast",
            Row::Udp => "UDP",
            Row::Tcp => "TCP, acknowledged",
        };
        let obstacle = if row != Row::Tcp && !self.size.fits {
            Some("and no packet of the path holds the event")
        } else if many && self.asked.target.is_single() {
            Some("and the target is one node")
        } else if many && *self.asked.target == Target::Interested {
            // Members that want the type may not have joined a group that nobody told them of.
            let reached = row == Row::Multicast && self.configured.is_some();
            (!reached).then_some("and this node has no group for it that all interested are in")
        } else {
            None
        };
        if let Some(obstacle) = obstacle {
            tell(Step::TypeTable, format_args!("{name} goes by {what}, {obstacle}: passed over"));
            return None;
        }
        tell(Step::TypeTable, format_args!("{name} goes by {what}"));
        Some(match row {
            Row::Multicast => Carrier::Multicast(self.group()),
            Row::Broadcast => Carrier::Broadcast(self.everybody()),
            Row::Udp => Carrier::Udp,
            Row::Tcp => Carrier::Tcp,
        })
    }

    /// The group that the type names.
    fn own_group(&self) -> Option<SocketAddr> {
        let group: SocketAddr = self.asked.multicast?.parse().ok()?;
        group.ip().is_multicast().then_some(group)
    }

    /// The group of the type: its own, the node's for it, the default. For [`Target::Interested`]
    /// the node's alone counts.
    fn group(&self) -> SocketAddr {
        let own = self.own_group().filter(|_| *self.asked.target != Target::Interested);
        own.or(self.configured).unwrap_or(match self.asked.event_type {
            "debug" | "trace" => DEBUG_GROUP,
            _ => DEFAULT_GROUP,
        })
    }

    /// Everybody of the local network, at the port of the type's group.
    fn everybody(&self) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::BROADCAST.into(), self.group().port())
    }
}

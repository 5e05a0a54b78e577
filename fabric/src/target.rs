//! Where an event goes: the targets of a route. Their text forms stand in `text`.

mod text;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub use self::text::TargetError;
use self::text::resolve;
use crate::choose::Choice;

/// Where an event goes. The same [`Router::route`](crate::Router::route) call takes all of them.
///
/// Text forms, for the command line and configuration:
///
/// | text | target |
/// |---|---|
/// | `local` | the handlers of this process |
/// | `udp://10.0.0.7:9000`, `udp://[::1]:9000`, `udp://host:9000` | one node |
/// | `tcp://10.0.0.7:9000`, `tcp://host:9000` | one node, reliably: in order, acknowledged |
/// | `udp://224.1.1.1:9000`, `udp://[ff02::1234]:9000` | a multicast group |
/// | `udp://255.255.255.255:9000`, `broadcast:9000` | everybody on the local network |
/// | `node:NAME` | the member of the cluster that has this name |
/// | `node:10.0.0.7:9000`, `node:host:9000` | one node at its address, by what suits the event |
/// | `service:NAME` | one of the members that offer a service, as the node is set up |
/// | `service:NAME?round-robin`, `?least-loaded`, `?key=7`, `?key=TEXT` | one of them, chosen so |
/// | `service:NAME?key` | one of them, by the own key of each event |
/// | `A\|B\|C` | the first of a list of single nodes that can be reached, in turn |
/// | `interested` | every member that has subscribed to the event's type |
/// | `auto` | wherever rules and the table of types send the type; else as `interested` |
/// | `reliable:TARGET` | the single node that a target means, by TCP: in order, acknowledged |
/// | `fast:TARGET` | the nodes that a target means, by UDP |
///
/// `local`, `udp://`, `tcp://`, `reliable:` and `fast:` say by which transport an event goes; the
/// others leave it to the rules and to what the event is, which
/// [`Node::explain`](crate::Node::explain) tells. A list behind `reliable:` or `fast:` stands in
/// parentheses, `reliable:(A|B)`. Names of nodes with `|` in them or a port at their end, and of
/// services with `?`, have no text form.
///
/// ```
/// use wireloom::Target;
/// let target: Target = "udp://127.0.0.1:9000".parse()?;
/// assert_eq!(target, Target::node("127.0.0.1:9000"));
/// assert_eq!(target.to_string(), "udp://127.0.0.1:9000");
/// # Ok::<(), wireloom::TargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// The handlers and subscribers of this process; no network.
    Local,
    /// One node, at its address, by UDP.
    Node(SocketAddr),
    /// One node, at its address, by TCP: in order, kept until its handlers have taken it, sent
    /// again after a lost link. Its fate can be asked for by a [`Receipt`](crate::Receipt).
    Reliable(SocketAddr),
    /// The single node that another target means, reliably; see [`Target::reliably`].
    Reliably(Box<Self>),
    /// Every node that joined the group, by one multicast packet.
    Multicast(SocketAddr),
    /// Every node of the local network on this port, by one broadcast packet (IPv4).
    Broadcast(SocketAddr),
    /// One node, at its address, by the transport that suits the event.
    Machine(SocketAddr),
    /// The nodes that another target means, by UDP; see [`Target::fast`].
    Fast(Box<Self>),
    /// The member of the cluster that has this name.
    Named(Box<str>),
    /// One of the members that offer a service.
    Service(Box<str>, Choice),
    /// The first of these that can be reached, beginning with the next one each time.
    AnyOf(Vec<Self>),
    /// Each member that has subscribed to the event's type, once; one multicast packet where
    /// [`NodeBuilder::group_of`](crate::NodeBuilder::group_of) named a group for the type.
    Interested,
    /// Wherever the rules and the table of types send events of the type: a group, everybody, this
    /// process; else as [`Target::Interested`].
    Auto,
    /// Text that names no address; routing to it is refused with the reason. Keeps the shorthands
    /// below free of a `?` of their own.
    Unresolved(TargetError),
}

/// The samples of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/targets.md")]
struct Guide;

impl Target {
    /// One node at `host:port`. A host name is resolved now, once (this may block); an address is
    /// only parsed. What cannot be resolved becomes [`Target::Unresolved`].
    #[must_use]
    pub fn node(address: &str) -> Self {
        resolve(address).map_or_else(Self::Unresolved, Self::classify)
    }

    /// One node at `host:port`, reliably; the host is resolved as by [`Target::node`].
    #[must_use]
    pub fn reliable(address: &str) -> Self {
        resolve(address).map_or_else(Self::Unresolved, |address| match Self::classify(address) {
            Self::Node(address) => Self::Reliable(address),
            _ => Self::Unresolved(TargetError::NotOneNode(address.ip())),
        })
    }

    /// A multicast group at `group:port`.
    #[must_use]
    pub fn multicast(group: &str) -> Self {
        match resolve(group) {
            Ok(address) if address.ip().is_multicast() => Self::Multicast(address),
            Ok(address) => Self::Unresolved(TargetError::NotAGroup(address.ip())),
            Err(error) => Self::Unresolved(error),
        }
    }

    /// Everybody of the local network on `port` (255.255.255.255).
    #[must_use]
    pub fn broadcast(port: u16) -> Self {
        Self::Broadcast(SocketAddr::new(Ipv4Addr::BROADCAST.into(), port))
    }

    pub(super) fn classify(address: SocketAddr) -> Self {
        match address.ip() {
            ip if ip.is_multicast() => Self::Multicast(address),
            IpAddr::V4(ip) if ip.is_broadcast() => Self::Broadcast(address),
            _ => Self::Node(address),
        }
    }

    /// The address packets for this target go to; `None` for targets that have none.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Node(address)
            | Self::Reliable(address)
            | Self::Machine(address)
            | Self::Multicast(address)
            | Self::Broadcast(address) => Some(*address),
            _ => None,
        }
    }

    /// The member of the cluster that has this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::Named(name.into())
    }

    /// The member that `target` means at the time of the call, reliably: in order and acknowledged,
    /// as [`Target::Reliable`]. For names, services and lists of single nodes; an event that was
    /// accepted for a member which then dies is reported undelivered, and the next one goes to
    /// another.
    #[must_use]
    pub fn reliably(target: Self) -> Self {
        match target {
            Self::Node(address) | Self::Machine(address) => Self::Reliable(address),
            Self::Reliable(_) | Self::Reliably(_) | Self::Unresolved(_) => target,
            other => Self::Reliably(Box::new(other)),
        }
    }

    /// The nodes that `target` means at the time of the call, by UDP whatever the event is: what no
    /// packet holds is refused. For names, services, lists and [`Target::Interested`].
    #[must_use]
    pub fn fast(target: Self) -> Self {
        match target {
            Self::Machine(address) => Self::Node(address),
            Self::Node(_) | Self::Fast(_) | Self::Unresolved(_) => target,
            other => Self::Fast(Box::new(other)),
        }
    }

    /// One node at `host:port`, by the transport that suits the event; the host is resolved as by
    /// [`Target::node`].
    #[must_use]
    pub fn machine(address: &str) -> Self {
        resolve(address).map_or_else(Self::Unresolved, |address| match Self::classify(address) {
            Self::Node(address) => Self::Machine(address),
            _ => Self::Unresolved(TargetError::NotOneNode(address.ip())),
        })
    }

    /// Whether it is an address with a transport, or this process: the way to it depends on nothing
    /// else.
    #[inline]
    pub(crate) const fn is_fixed(&self) -> bool {
        matches!(
            self,
            Self::Local
                | Self::Node(_)
                | Self::Reliable(_)
                | Self::Multicast(_)
                | Self::Broadcast(_)
                | Self::Unresolved(_)
        )
    }

    /// Whether it says by which transport events go, whatever they are.
    #[must_use]
    pub const fn demands_transport(&self) -> bool {
        self.is_fixed() || matches!(self, Self::Reliably(_) | Self::Fast(_))
    }

    /// Whether it means one node at a time, and no group.
    #[must_use]
    pub fn is_single(&self) -> bool {
        match self {
            Self::Multicast(_) | Self::Broadcast(_) | Self::Interested | Self::Auto => false,
            Self::Reliably(target) | Self::Fast(target) => target.is_single(),
            _ => true,
        }
    }

    /// The service whose member each event's own key chooses, if there is one.
    pub(crate) fn of_own_key(&self) -> Option<&str> {
        match self {
            Self::Service(name, Choice::OwnKey) => Some(name),
            Self::AnyOf(targets) => targets.iter().find_map(Self::of_own_key),
            Self::Reliably(target) | Self::Fast(target) => target.of_own_key(),
            _ => None,
        }
    }

    /// One of the members that offer a service, chosen as the node is set up: in turn unless told.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::Service(name.into(), Choice::Configured)
    }
}

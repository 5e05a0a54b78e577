//! Where an event goes: the targets of a route, their text forms, and how text becomes an address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

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
/// | `service:NAME` | one of the members that offer a service, in turn |
/// | `reliable:node:NAME`, `reliable:service:NAME` | the same member, reliably |
/// | `interested` | every member that has subscribed to the event's type |
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
    /// The member of the cluster that has this name.
    Named(Box<str>),
    /// One of the members that offer a service.
    Service(Box<str>, Choice),
    /// The first of these that can be reached, beginning with the next one each time.
    AnyOf(Vec<Self>),
    /// Each member that has subscribed to the event's type, once; one multicast packet where
    /// [`NodeBuilder::group_of`](crate::NodeBuilder::group_of) named a group for the type.
    Interested,
    /// Text that names no address; routing to it is refused with the reason. Keeps the shorthands
    /// below free of a `?` of their own.
    Unresolved(TargetError),
}

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

    fn classify(address: SocketAddr) -> Self {
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
            Self::Node(address) => Self::Reliable(address),
            Self::Reliable(_) | Self::Reliably(_) | Self::Unresolved(_) => target,
            other => Self::Reliably(Box::new(other)),
        }
    }

    /// One of the members that offer a service, chosen as the node is set up: in turn unless told.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::Service(name.into(), Choice::Configured)
    }
}

fn resolve(text: &str) -> Result<SocketAddr, TargetError> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 {
            Err(TargetError::NoPort(text.into()))
        } else {
            Ok(address)
        };
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(TargetError::NoPort(text.into()));
    };
    match port.parse::<u16>() {
        Ok(port) if port > 0 && !host.is_empty() => (host, port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next())
            .ok_or_else(|| TargetError::UnknownHost(host.into())),
        _ => Err(TargetError::NoPort(text.into())),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Node(address) | Self::Multicast(address) | Self::Broadcast(address) => {
                write!(f, "udp://{address}")
            }
            Self::Reliable(address) => write!(f, "tcp://{address}"),
            Self::Reliably(target) => write!(f, "reliable:{target}"),
            Self::Named(name) => write!(f, "node:{name}"),
            Self::Service(name, _) => write!(f, "service:{name}"),
            Self::Interested => f.write_str("interested"),
            Self::AnyOf(targets) => {
                for (index, target) in targets.iter().enumerate() {
                    write!(f, "{}{target}", if index == 0 { "" } else { "|" })?;
                }
                Ok(())
            }
            Self::Unresolved(error) => write!(f, "unresolved ({error})"),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        if text == "local" {
            return Ok(Self::Local);
        }
        if text == "interested" {
            return Ok(Self::Interested);
        }
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) => (scheme, rest.strip_prefix("//").unwrap_or(rest)),
            None => return Err(TargetError::Form(text.into())),
        };
        match scheme {
            "udp" => resolve(rest.trim_end_matches('/')).map(Self::classify),
            "tcp" => match Self::reliable(rest.trim_end_matches('/')) {
                Self::Unresolved(error) => Err(error),
                target => Ok(target),
            },
            "broadcast" => match rest.parse::<u16>() {
                Ok(port) if port > 0 => Ok(Self::broadcast(port)),
                _ => Err(TargetError::NoPort(text.into())),
            },
            "node" | "service" if rest.is_empty() => Err(TargetError::Form(text.into())),
            "reliable" => Ok(Self::reliably(rest.parse()?)),
            "node" => Ok(Self::named(rest)),
            "service" => Ok(Self::service(rest)),
            "shm" => Err(TargetError::NotYet(scheme.into())),
            _ => Err(TargetError::Form(text.into())),
        }
    }
}

/// Text that is no target, and what it could be instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// None of the text forms.
    #[error(
        "{0:?} is not a target: write udp://HOST:PORT (a node, or a group such as \
         udp://224.1.1.1:9000), tcp://HOST:PORT (a node, reliably), broadcast:PORT, node:NAME, \
         service:NAME, interested, or local"
    )]
    Form(Box<str>),
    /// No port, or port 0.
    #[error("{0:?} has no port between 1 and 65535: write HOST:PORT, for example 127.0.0.1:9000")]
    NoPort(Box<str>),
    /// The host name has no address.
    #[error("the host {0:?} has no address: check the name, or write an IP address")]
    UnknownHost(Box<str>),
    /// A group was asked for and this is none.
    #[error("{0} is not a multicast group: groups are 224.0.0.0–239.255.255.255 and ff00::/8")]
    NotAGroup(IpAddr),
    /// A reliable target is one node.
    #[error("{0} is not one node: reliable events go to one at a time, by tcp://HOST:PORT")]
    NotOneNode(IpAddr),
    /// A form of the design that this version does not route yet.
    #[error(
        "targets of the form {0}: are not routed by this version: use udp://HOST:PORT or \
             tcp://HOST:PORT"
    )]
    NotYet(Box<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_parse_and_print() {
        for (text, target) in [
            ("local", Target::Local),
            ("udp://127.0.0.1:9000", Target::node("127.0.0.1:9000")),
            ("udp://[::1]:9000", Target::node("[::1]:9000")),
            ("tcp://127.0.0.1:9000", Target::reliable("127.0.0.1:9000")),
            ("tcp://[::1]:9000", Target::reliable("[::1]:9000")),
            ("udp://224.1.1.1:9000", Target::multicast("224.1.1.1:9000")),
            ("udp://[ff02::1234]:9000", Target::multicast("[ff02::1234]:9000")),
            ("udp://255.255.255.255:9", Target::broadcast(9)),
            ("node:desk-1", Target::named("desk-1")),
            ("service:sum", Target::service("sum")),
            ("reliable:service:sum", Target::reliably(Target::service("sum"))),
            ("interested", Target::Interested),
        ] {
            assert_eq!(text.parse::<Target>().as_ref(), Ok(&target), "{text}");
            assert_eq!(target.to_string(), text);
        }
        assert_eq!("broadcast:9".parse::<Target>(), Ok(Target::broadcast(9)));
        assert_eq!("udp:127.0.0.1:9000".parse::<Target>(), Ok(Target::node("127.0.0.1:9000")));
        assert!(matches!("udp://localhost:9000".parse(), Ok(Target::Node(_))));
    }

    #[test]
    fn bad_text_says_what_to_write() {
        for (text, word) in [
            ("", "udp://HOST:PORT"),
            ("127.0.0.1:9000", "udp://HOST:PORT"),
            ("http://x:1", "udp://HOST:PORT"),
            ("udp://127.0.0.1", "HOST:PORT"),
            ("udp://127.0.0.1:0", "port between"),
            ("udp://127.0.0.1:99999", "port between"),
            ("udp://:9000", "port between"),
            ("udp://no-such-host.invalid:1", "no address"),
            ("tcp://224.1.1.1:9000", "not one node"),
            ("tcp://127.0.0.1", "HOST:PORT"),
            ("broadcast:x", "port between"),
            ("node:", "node:NAME"),
        ] {
            let error = text.parse::<Target>().expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(matches!(
            Target::multicast("127.0.0.1:9"),
            Target::Unresolved(TargetError::NotAGroup(_))
        ));
    }
}

//! The text forms of targets, how text becomes an address, and what is wrong with other text.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use super::Target;
use crate::choose::Choice;

/// The address of `host:port`; a host name is looked up, which may block.
pub(super) fn resolve(text: &str) -> Result<SocketAddr, TargetError> {
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
        // A fuzzer asks no name server.
        Ok(port) if cfg!(fuzzing) && port > 0 => Err(TargetError::UnknownHost(host.into())),
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
            Self::Reliably(target) => write!(f, "reliable:{}", Enclosed(target)),
            Self::Fast(target) => write!(f, "fast:{}", Enclosed(target)),
            Self::Machine(address) => write!(f, "node:{address}"),
            Self::Named(name) => write!(f, "node:{name}"),
            Self::Service(name, Choice::Configured) => write!(f, "service:{name}"),
            Self::Service(name, choice) => write!(f, "service:{name}?{choice}"),
            Self::Interested => f.write_str("interested"),
            Self::Auto => f.write_str("auto"),
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

/// A target behind `reliable:` or `fast:`: a list in parentheses.
struct Enclosed<'a>(&'a Target);

impl fmt::Display for Enclosed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Target::AnyOf(_) => write!(f, "({})", self.0),
            other => write!(f, "{other}"),
        }
    }
}

impl Target {
    /// The target a text means, if it means one and no host name has to be looked up for it.
    pub(crate) fn without_lookup(text: &str) -> Option<Self> {
        let is_known = |item: &str| {
            let item = item.trim().trim_start_matches("reliable:").trim_start_matches("fast:");
            let (scheme, rest) = item.split_once(':').unwrap_or((item, ""));
            let rest = rest.strip_prefix("//").unwrap_or(rest).trim_end_matches('/');
            let is_address = rest.parse::<SocketAddr>().is_ok();
            is_address
                || !(matches!(scheme, "udp" | "tcp") || scheme == "node" && ends_like_a_port(rest))
        };
        text.split(['|', '(', ')']).all(is_known).then(|| text.parse().ok())?
    }
}

/// A list has so many targets at most: more are a service.
const LIST_MAX: usize = 64;

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        match text.split_once(':') {
            Some((scheme @ ("reliable" | "fast"), rest)) if !is_list(text) => {
                let inner = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
                let inner = inner.unwrap_or(rest).trim();
                // Once is enough, and a text of many does not lead deeper each time.
                if inner.starts_with("reliable:") || inner.starts_with("fast:") {
                    return Err(TargetError::Form(text.into()));
                }
                let target = if is_list(inner) { list(inner) } else { one(inner) }?;
                match scheme {
                    "reliable" => Ok(Self::reliably(target)),
                    _ if target.demands_transport() => Err(TargetError::Form(text.into())),
                    _ => Ok(Self::fast(target)),
                }
            }
            _ if is_list(text) => list(text),
            _ => one(text),
        }
    }
}

/// Whether a `|` stands in a text outside of parentheses.
fn is_list(text: &str) -> bool {
    let mut depth = 0_usize;
    text.bytes().any(|letter| {
        match letter {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == b'|' && depth == 0
    })
}

fn list(text: &str) -> Result<Target, TargetError> {
    let items: Vec<&str> = text.split('|').collect();
    if items.len() > LIST_MAX {
        return Err(TargetError::List(text.chars().take(60).collect::<String>().into()));
    }
    let targets: Result<Vec<Target>, TargetError> = items.iter().map(|item| item.parse()).collect();
    let targets = targets?;
    // A list in a list, or a group in it, is no single node.
    if targets.iter().any(|target| !target.is_single() || matches!(target, Target::AnyOf(_))) {
        return Err(TargetError::List(text.chars().take(60).collect::<String>().into()));
    }
    Ok(Target::AnyOf(targets))
}

/// A target that is no list and has none in it.
fn one(text: &str) -> Result<Target, TargetError> {
    let form = || TargetError::Form(text.into());
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) => (scheme, rest.strip_prefix("//").unwrap_or(rest)),
        None => match text {
            "local" => return Ok(Target::Local),
            "interested" => return Ok(Target::Interested),
            "auto" => return Ok(Target::Auto),
            _ => return Err(form()),
        },
    };
    let found = match scheme {
        "udp" => return resolve(rest.trim_end_matches('/')).map(Target::classify),
        "tcp" => Target::reliable(rest.trim_end_matches('/')),
        "broadcast" => match rest.parse::<u16>() {
            Ok(port) if port > 0 => Target::broadcast(port),
            _ => return Err(TargetError::NoPort(text.into())),
        },
        "node" | "service" if rest.is_empty() => return Err(form()),
        "node" if ends_like_a_port(rest) => Target::machine(rest),
        "node" => Target::named(rest),
        "service" => return service(rest),
        "shm" => return Err(TargetError::NotYet(scheme.into())),
        _ => return Err(form()),
    };
    match found {
        Target::Unresolved(error) => Err(error),
        target => Ok(target),
    }
}

/// Whether what stands behind `node:` is an address and no name.
fn ends_like_a_port(text: &str) -> bool {
    let port = text.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()))
}

/// What stands behind `service:`.
fn service(text: &str) -> Result<Target, TargetError> {
    let (name, choice) = match text.split_once('?') {
        Some((name, choice)) => (name, choice.parse()?),
        None => (text, Choice::Configured),
    };
    if name.is_empty() {
        return Err(TargetError::Form(format!("service:{text}").into()));
    }
    Ok(Target::Service(name.into(), choice))
}

impl fmt::Display for Choice {
    /// As it stands behind `?` of a service; empty for [`Choice::Configured`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => Ok(()),
            Self::RoundRobin => f.write_str("round-robin"),
            Self::LeastLoaded => f.write_str("least-loaded"),
            Self::Key(key) => write!(f, "key={key}"),
            Self::OwnKey => f.write_str("key"),
        }
    }
}

impl FromStr for Choice {
    type Err = TargetError;

    /// A key that is no number is hashed (xxh3-64), the same in every process.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text {
            "round-robin" => Ok(Self::RoundRobin),
            "least-loaded" => Ok(Self::LeastLoaded),
            "key" => Ok(Self::OwnKey),
            _ => match text.strip_prefix("key=") {
                Some(key) if !key.is_empty() => Ok(Self::Key(
                    key.parse().unwrap_or_else(|_| xxhash_rust::xxh3::xxh3_64(key.as_bytes())),
                )),
                _ => Err(TargetError::Choice(text.into())),
            },
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
         node:HOST:PORT, service:NAME, interested, auto, or local; reliable: or fast: before those \
         that say no transport"
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
    /// A list of something else than single nodes, or of too many.
    #[error(
        "{0:?} is no list of targets: write up to 64 single nodes, node:a|node:b|udp://HOST:PORT"
    )]
    List(Box<str>),
    /// No way to choose a member of a service.
    #[error(
        "{0:?} chooses no member: write round-robin, least-loaded, key (each event's own) or \
         key=TEXT behind the ?"
    )]
    Choice(Box<str>),
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
            ("auto", Target::Auto),
            ("node:127.0.0.1:9000", Target::machine("127.0.0.1:9000")),
            ("node:[::1]:9000", Target::machine("[::1]:9000")),
            ("reliable:node:desk", Target::reliably(Target::named("desk"))),
            ("fast:node:desk", Target::fast(Target::named("desk"))),
            ("fast:service:sum?key=7", Target::fast(Target::Service("sum".into(), Choice::Key(7)))),
            ("fast:interested", Target::fast(Target::Interested)),
            ("service:sum?key=7", Target::Service("sum".into(), Choice::Key(7))),
            ("service:sum?key", Target::Service("sum".into(), Choice::OwnKey)),
            ("service:sum?round-robin", Target::Service("sum".into(), Choice::RoundRobin)),
            ("service:sum?least-loaded", Target::Service("sum".into(), Choice::LeastLoaded)),
            (
                "node:a|udp://127.0.0.1:9|reliable:service:s",
                Target::AnyOf(vec![
                    Target::named("a"),
                    Target::node("127.0.0.1:9"),
                    Target::reliably(Target::service("s")),
                ]),
            ),
            (
                "reliable:(node:a|node:b)",
                Target::reliably(Target::AnyOf(vec![Target::named("a"), Target::named("b")])),
            ),
        ] {
            assert_eq!(text.parse::<Target>().as_ref(), Ok(&target), "{text}");
            assert_eq!(target.to_string(), text);
        }
        assert_eq!("broadcast:9".parse::<Target>(), Ok(Target::broadcast(9)));
        assert_eq!("udp:127.0.0.1:9000".parse::<Target>(), Ok(Target::node("127.0.0.1:9000")));
        assert!(matches!("udp://localhost:9000".parse(), Ok(Target::Node(_))));
        assert!(matches!("node:localhost:9000".parse(), Ok(Target::Machine(_))));
        let hashed = "service:sum?key=customer-7".parse::<Target>();
        assert_eq!(hashed, hashed.clone().and_then(|target| target.to_string().parse()));
        assert_eq!(Target::fast(Target::machine("127.0.0.1:9")), Target::node("127.0.0.1:9"));
        assert_eq!(
            Target::reliably(Target::machine("127.0.0.1:9")),
            Target::reliable("127.0.0.1:9")
        );
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
            ("service:?key=1", "service:NAME"),
            ("service:s?key=", "key=TEXT"),
            ("service:s?fastest", "least-loaded"),
            ("node:224.1.1.1:9", "not one node"),
            ("node:host:0", "port between"),
            ("node:a|interested", "single nodes"),
            ("node:a|(node:b|node:c)", "udp://HOST:PORT"),
            (&vec!["node:a"; 65].join("|"), "up to 64"),
            ("fast:udp://127.0.0.1:9", "say no transport"),
            ("fast:reliable:node:a", "say no transport"),
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

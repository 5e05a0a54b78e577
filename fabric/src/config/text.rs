//! Texts with a form: names, addresses, groups. Checked by their letters alone; no name is looked
//! up here, so that checking a file needs no network.

use std::net::{IpAddr, SocketAddr};

use wireloom_dataplane::socket::Interface;
use wireloom_wire::Priority;

use crate::keying::Protection;
use crate::target::Target;

/// A DNS name's longest form (RFC 1035, 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// What a text must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A node's or service's name.
    Name,
    /// `HOST:PORT` to listen on; port 0 lets the system choose.
    Listen,
    /// `HOST:PORT` of somebody else.
    Peer,
    /// `GROUP:PORT`, a multicast group.
    Group,
    /// A network interface.
    Interface,
    /// A file or folder, which need not be there.
    Path,
    /// A target that no host has to be looked up for.
    Target,
    /// `PRIORITY:PROTECTION`.
    Protection,
}

impl Form {
    pub(super) const fn allowed(self) -> &'static str {
        match self {
            Self::Name => "a name of 1 to 255 bytes without control characters",
            Self::Listen => "HOST:PORT, with port 0 for one that the system chooses",
            Self::Peer => "HOST:PORT with a port from 1 to 65535",
            Self::Group => "GROUP:PORT, a multicast group such as 224.1.1.1:9000",
            Self::Interface => "an interface's name (eth0), IPv4 address or index",
            Self::Path => "a path of 1 to 4095 bytes without control characters",
            Self::Target => "a target such as reliable:service:NAME, with addresses for hosts",
            Self::Protection => {
                "PRIORITY:PROTECTION, of critical, high, normal, low or background, and of full, \
                 integrity or off"
            }
        }
    }

    /// Whether `text` has this form.
    pub(super) fn fits(self, text: &str) -> bool {
        match self {
            Self::Name => is_name(text),
            Self::Listen => host_and_port(text).is_some_and(|host| !is_group(host)),
            Self::Peer => {
                host_and_port(text).is_some_and(|host| !is_group(host)) && !text.ends_with(":0")
            }
            Self::Group => {
                text.parse::<SocketAddr>().is_ok_and(|a| a.ip().is_multicast() && a.port() > 0)
            }
            Self::Interface => interface(text).is_some(),
            // PATH_MAX is 4,096 with the byte that ends it.
            Self::Path => (1..4_096).contains(&text.len()) && !text.contains(char::is_control),
            Self::Target => Target::without_lookup(text).is_some(),
            Self::Protection => protection(text).is_some(),
        }
    }
}

/// Whether a node may be called so.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.contains(char::is_control)
}

/// The host of `HOST:PORT`, where both can be.
fn host_and_port(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    let is_port = port.bytes().all(|letter| letter.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']').filter(|v6| v6.parse::<IpAddr>().is_ok())?,
        None => Some(host).filter(|host| is_host(host))?,
    };
    is_port.then_some(host)
}

/// Whether a name can be a host's: labels of letters, digits, hyphens and underscores.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-_".contains(&letter))
    };
    (1..=HOST_BYTES_MAX).contains(&text.len())
        && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

fn is_group(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_multicast())
}

/// What `PRIORITY:PROTECTION` says of datagrams.
pub(super) fn protection(text: &str) -> Option<(Priority, Protection)> {
    let (priority, protection) = text.split_once(':')?;
    let priority = Priority::ALL.into_iter().find(|of| of.name() == priority)?;
    let protection = Protection::ALL.into_iter().find(|of| of.name() == protection)?;
    Some((priority, protection))
}

/// An interface by its address, index or name.
pub(super) fn interface(text: &str) -> Option<Interface> {
    if let Ok(address) = text.parse() {
        return Some(Interface::Address(address));
    }
    if let Ok(index) = text.parse::<u32>() {
        return Some(Interface::Index(index));
    }
    // if_nametoindex(3): a name has at most IFNAMSIZ - 1 = 15 bytes and no slash.
    let possible = (1..=15).contains(&text.len())
        && text.bytes().all(|letter| letter.is_ascii_graphic() && !b"/:".contains(&letter));
    possible.then(|| Interface::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_takes_its_texts_and_no_others() {
        let long = "a".repeat(256);
        for (form, good, bad) in [
            (Form::Name, &["a", "größe 1"][..], &["", "a\nb", long.as_str()][..]),
            (
                Form::Listen,
                &["127.0.0.1:0", "[::1]:9000", "db-1.example.:9000", "0.0.0.0:9000"],
                &["", ":1", "a", "a:b", "a:+1", "a:70000", "224.1.1.1:9", "[x]:1", "a b:1"],
            ),
            (Form::Peer, &["host:1", "10.0.0.1:9000"], &["host:0", "host", "224.1.1.1:9000"]),
            (Form::Group, &["224.1.1.1:9000", "[ff02::1]:9"], &["10.0.0.1:9", "224.1.1.1:0", "g"]),
            (Form::Path, &["keys", "/etc/wireloom/größe 1.toml"], &["", "a\0b", "a\x1b[2J"]),
            (Form::Interface, &["eth0", "10.0.0.1", "3"], &["", "a/b", "a b", "abcdefghijklmnop"]),
            (
                Form::Target,
                &["reliable:service:a", "tcp://10.0.0.1:9", "node:desk|node:[::1]:9", "local"],
                &["", "a", "tcp://10.0.0.1", "tcp://host:9", "fast:node:host:9", "service:"],
            ),
            (
                Form::Protection,
                &["normal:off", "background:integrity", "critical:full"],
                &[
                    "",
                    "normal",
                    "normal:",
                    ":off",
                    "normal:none",
                    "usual:off",
                    "Low:off",
                    "low: off",
                ],
            ),
        ] {
            for text in good {
                assert!(form.fits(text), "{form:?} {text:?}");
            }
            for text in bad {
                assert!(!form.fits(text), "{form:?} {text:?}");
            }
        }
    }
}

//! The small languages of the command line: durations, sizes, rates, addresses, type names. Each is
//! a function from text to a value or to a sentence that says what would be right.
//!
//! Nothing here touches the network, except that a host name is looked up.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use wireloom::config::Profile;
use wireloom::event::{Key as _, Priority, is_type_name};
use wireloom::{SlowPolicy, Target};
use wireloom_dataplane::inbound::BLOCK_MAX;
use wireloom_dataplane::socket::Interface;

/// A year: longer makes no sense to wait for, and stays far from any overflow.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Types of which the newest event waits, when nobody says which there are.
const TYPES_MAX: usize = 256;

/// How alike two words must be (0 to 1) to suggest one for the other; clap's own threshold.
const LIKENESS_MIN: f64 = 0.7;

/// A span of time: a number and one of `ns us ms s m h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let form = "a number with a unit: 500ms, 5s, 2m, 1h";
    let (number, unit) = split_unit(text);
    let number: f64 = number.parse().map_err(|_| format!("a duration is {form}"))?;
    let seconds = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "" => return Err(format!("a duration needs its unit; did you mean {number}s?")),
        other => {
            let near = nearest(other, &["ns", "us", "ms", "s", "m", "h"]).unwrap_or("s");
            return Err(format!("no unit {other:?}; did you mean {number}{near}? ({form})"));
        }
    };
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        .filter(|time| *time <= DURATION_MAX)
        .ok_or_else(|| "a duration is between 0 and one year".to_owned())
}

/// What gives way when a subscriber is slow: `drop-newest`, `block:50ms`.
pub(crate) fn policy(text: &str) -> Result<SlowPolicy, String> {
    let words = ["block", "drop-newest", "drop-oldest", "latest", "disconnect"];
    match text.split_once(':') {
        Some(("block", time)) => match duration(time)? {
            patience if patience > BLOCK_MAX => {
                Err(format!("a receiver waits for at most {}ms", BLOCK_MAX.as_millis()))
            }
            patience => Ok(SlowPolicy::Block(patience)),
        },
        Some((word, _)) if words.contains(&word) => Err(format!("{word} takes no time")),
        _ => match text {
            "block" => Ok(SlowPolicy::Block(BLOCK_MAX)),
            "drop-newest" => Ok(SlowPolicy::DropNewest),
            "drop-oldest" => Ok(SlowPolicy::DropOldest),
            "latest" => Ok(SlowPolicy::Latest { keys: TYPES_MAX }),
            "disconnect" => Ok(SlowPolicy::Disconnect),
            other => Err(match nearest(other, &words) {
                Some(near) => format!("no policy {other:?}; did you mean {near}?"),
                None => format!("no policy {other:?}: {}", words.join(", ")),
            }),
        },
    }
}

/// A number of bytes: a whole number, alone or with `B`, `KiB`, `MiB`, `GiB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let form = "a whole number of bytes, alone or with KiB, MiB, GiB: 64, 4KiB";
    let (number, unit) = split_unit(text);
    let number: usize = number.parse().map_err(|_| format!("a size is {form}"))?;
    let factor: usize = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        other => {
            let near = match other.chars().next() {
                Some('m') => "MiB",
                Some('g') => "GiB",
                _ => "KiB",
            };
            return Err(format!("no unit {unit:?}; did you mean {number}{near}? ({form})"));
        }
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text} is more than an address can hold"))
}

/// Where a WebSocket server listens: `ws://HOST:PORT`.
pub(crate) fn websocket(text: &str) -> Result<SocketAddr, String> {
    let form = "an address is ws://HOST:PORT, for example ws://127.0.0.1:9001";
    if text.starts_with("wss://") {
        return Err("wss:// is not served: put a proxy that ends TLS before ws://".to_owned());
    }
    let address = text.strip_prefix("ws://").ok_or(form)?.trim_end_matches('/');
    let address = address
        .strip_prefix("localhost:")
        .map_or_else(|| address.to_owned(), |port| format!("127.0.0.1:{port}"));
    address.parse().map_err(|_| form.to_owned())
}

/// A priority and a target: `critical=tcp://10.0.0.7:9000`.
pub(crate) fn way(text: &str) -> Result<(Priority, Target), String> {
    let form = "a way is PRIORITY=TARGET: critical=tcp://10.0.0.7:9000";
    let (priority, to) = text.split_once('=').ok_or(form)?;
    let names = Priority::ALL.map(Priority::name);
    let priority = priority.parse().map_err(|_| match nearest(priority, &names) {
        Some(near) => format!("no priority {priority:?}; did you mean {near}?"),
        None => format!("no priority {priority:?}: {}", names.join(", ")),
    })?;
    Ok((priority, target(to)?))
}

/// Events per second, above 0: `5000`, `0.5`, `20k`, `1M`.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let form = "events per second: 5000, 20k, 1M, or 0.5 for one every two seconds";
    let (number, unit) = split_unit(text);
    let number: f64 = number.parse().map_err(|_| format!("a rate is {form}"))?;
    let factor = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" | "m" => 1e6,
        other => return Err(format!("no unit {other:?}: a rate is {form}")),
    };
    let rate = number * factor;
    if (1e-6..=1e9).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("a rate is above 0 and at most 1000M; {form}"))
    }
}

/// Splits a number from the unit behind it.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    (number, unit.trim())
}

/// Where `pub` sends: a target's text form, with the nearest form for a near miss.
pub(crate) fn target(text: &str) -> Result<Target, String> {
    match text.parse::<Target>() {
        Ok(Target::Local) => Err("nobody listens inside this command itself: write \
            udp://HOST:PORT, for example udp://127.0.0.1:9000"
            .to_owned()),
        Ok(target) => Ok(target),
        Err(error) => Err(match likely_target(text) {
            Some(likely) => format!("{error}; did you mean {likely}?"),
            None => error.to_string(),
        }),
    }
}

/// What somebody who wrote `text` probably meant, if it is a target then.
fn likely_target(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("udp", text));
    let scheme = scheme.to_ascii_lowercase();
    let scheme = nearest(&scheme, &["udp", "tcp", "broadcast"]).unwrap_or("udp");
    let likely = match scheme {
        "broadcast" => format!("broadcast:{rest}"),
        "tcp" => format!("tcp://{rest}"),
        _ => format!("udp://{rest}"),
    };
    // Only what needs no look-up of a name is worth guessing.
    let is_address = rest.trim_end_matches('/').parse::<SocketAddr>().is_ok();
    let is_new = likely != text;
    (is_new && (is_address || likely.starts_with("broadcast")))
        .then(|| likely.parse::<Target>().ok().map(|_| likely))
        .flatten()
}

/// Where a node listens: `udp://HOST:PORT` or `HOST:PORT`; port 0 lets the system choose.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    let address = address_part(text)?;
    let listen = match address.parse::<SocketAddr>() {
        Ok(address) => address,
        Err(_) => match Target::node(address) {
            Target::Node(address) | Target::Multicast(address) => address,
            Target::Unresolved(error) => return Err(error.to_string()),
            _ => return Err("nobody listens on a broadcast address: listen on 0.0.0.0".to_owned()),
        },
    };
    if listen.ip().is_multicast() {
        return Err(format!("{listen} is a group, which is joined: write --join {listen}"));
    }
    Ok(listen)
}

/// A multicast group to join: `GROUP:PORT` or `udp://GROUP:PORT`.
pub(crate) fn group(text: &str) -> Result<SocketAddr, String> {
    match Target::multicast(address_part(text)?) {
        Target::Multicast(address) => Ok(address),
        Target::Unresolved(error) => Err(format!("{error}; a group is for example 224.1.1.1:9000")),
        _ => Err("a group is for example 224.1.1.1:9000".to_owned()),
    }
}

/// An IPv4 multicast group without a port.
pub(crate) fn group_address(text: &str) -> Result<Ipv4Addr, String> {
    let form = "a group is 224.0.0.0 to 239.255.255.255, for example 224.1.1.1";
    match text.parse::<Ipv4Addr>() {
        Ok(address) if address.is_multicast() => Ok(address),
        Ok(address) => Err(format!("{address} is no multicast group: {form}")),
        Err(_) => Err(form.to_owned()),
    }
}

/// What stands behind `udp://`, if anything stands before it.
fn address_part(text: &str) -> Result<&str, String> {
    match text.trim().split_once("://") {
        None => Ok(text.trim()),
        Some(("udp", address)) => Ok(address.trim_end_matches('/')),
        Some((scheme, address)) => Err(format!(
            "nothing listens by {scheme}:// in this version; did you mean udp://{address}?"
        )),
    }
}

/// A network interface: its IPv4 address, its index, or its name.
pub(crate) fn interface(text: &str) -> Result<Interface, String> {
    if let Ok(address) = text.parse() {
        return Ok(Interface::Address(address));
    }
    if let Ok(index) = text.parse::<u32>() {
        return Ok(Interface::Index(index));
    }
    // if_nametoindex(3): a name has at most IFNAMSIZ - 1 = 15 bytes and no slash.
    let possible = (1..=15).contains(&text.len()) && !text.contains(['/', ' ', ':']);
    if possible {
        Ok(Interface::Name(text.to_owned()))
    } else {
        Err("an interface is its name (eth0), its IPv4 address or its index; `ip address` \
             lists them"
            .to_owned())
    }
}

/// An event type's name.
pub(crate) fn type_name(text: &str) -> Result<String, String> {
    if is_type_name(text) {
        return Ok(text.to_owned());
    }
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let near: String = text
        .to_lowercase()
        .chars()
        .map(|letter| if allowed(letter) || "-._".contains(letter) { letter } else { '-' })
        .take(255)
        .collect();
    let rule = "a type name has 1 to 255 of a-z, 0-9, '-', '.', '_'";
    if near.is_empty() { Err(rule.to_owned()) } else { Err(format!("{rule}; try {near}")) }
}

/// A node's name: its identity, so never empty, and short enough to travel.
pub(crate) fn node_name(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.len()) && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("a node's name has 1 to 255 bytes and no control characters".to_owned())
    }
}

/// The key of an event, from the value of the field that is its key: what is written as a number is
/// that of a number, everything else, and what stands behind `text:`, that of a text.
pub(crate) fn key(value: &str) -> Result<u64, String> {
    if let Some(words) = value.strip_prefix("text:") {
        return Ok(words.key());
    }
    let number = value.parse::<i128>().map(|number| (number.to_string(), number.key()));
    let number = number.or_else(|_| value.parse::<u128>().map(|of| (of.to_string(), of.key())));
    match number {
        Ok((written, key)) if written == value => Ok(key),
        // An article number, or a number? Whoever has the event knows.
        Ok((written, _)) => {
            Err(format!("{value} is a text or a number: write text:{value}, or {written}"))
        }
        Err(_) if value.is_empty() => Err("nothing is no key: the empty text is text:".to_owned()),
        Err(_) => Ok(value.key()),
    }
}

/// A profile by name, with the nearest for a near miss.
pub(crate) fn profile(text: &str) -> Result<Profile, String> {
    text.parse::<Profile>().map_err(|error| error.to_string())
}

/// `KEY=VALUE` of the configuration; whether there is such a key is asked with the rest of it.
pub(crate) fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.contains('.') => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("a setting is SECTION.NAME=VALUE, for example tcp.pool=8".to_owned()),
    }
}

/// The word most like `text`, if any is like it at all.
pub(crate) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let likeness = |word: &&str| strsim::jaro(text, word);
    let best = words.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= LIKENESS_MIN).then_some(*best)
}

#[cfg(test)]
mod tests;

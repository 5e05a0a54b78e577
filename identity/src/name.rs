//! Names of clusters, nodes, roles and services, and how they stand in a certificate: as URIs
//! `wireloom://CLUSTER/KIND/NAME`, what is not unreserved in RFC 3986 percent-encoded.

use wireloom_wire::is_node_name;

use crate::error::IdentityError;

/// Bytes of the names of all services together, one more for each: what a member's record holds.
pub(crate) const SERVICES_BYTES_MAX: usize = 400;
/// Roles of one node.
pub(crate) const ROLES_MAX: usize = 16;

const SCHEME: &str = "wireloom://";

/// What a URI of a certificate names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Node,
    Role,
    Service,
    /// The cluster's authority, under the cluster's name.
    Authority,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Node, Self::Role, Self::Service, Self::Authority];

    const fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Role => "role",
            Self::Service => "service",
            Self::Authority => "authority",
        }
    }
}

/// The rule of nodes holds for clusters and roles too; services may be longer, as in a member's
/// record.
pub(crate) fn check(what: &'static str, name: &str) -> Result<(), IdentityError> {
    if is_node_name(name) {
        return Ok(());
    }
    Err(IdentityError::Name { what, name: name.to_owned() })
}

/// What a node may be called and offer.
pub(crate) fn check_node(
    node: &str,
    roles: &[String],
    services: &[String],
) -> Result<(), IdentityError> {
    check("node", node)?;
    roles.iter().try_for_each(|role| check("role", role))?;
    let named = |name: &String| (1..=255).contains(&name.len()) && !name.contains(char::is_control);
    if let Some(name) = services.iter().find(|name| !named(name)) {
        return Err(IdentityError::Service(name.clone()));
    }
    let bytes: usize = services.iter().map(|service| 1 + service.len()).sum();
    if roles.len() > ROLES_MAX || bytes > SERVICES_BYTES_MAX {
        return Err(IdentityError::TooManyNames);
    }
    Ok(())
}

/// The URI of a name.
pub(crate) fn uri(cluster: &str, kind: Kind, name: &str) -> String {
    format!("{SCHEME}{}/{}/{}", encoded(cluster), kind.word(), encoded(name))
}

/// The cluster, the kind (none for one of a later version) and the name of a URI; none when it is
/// not ours or not in its one form.
pub(crate) fn parse_uri(uri: &str) -> Option<(String, Option<Kind>, String)> {
    let mut parts = uri.strip_prefix(SCHEME)?.split('/');
    let (cluster, word, name) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
    Some((decoded(cluster)?, kind, decoded(name)?))
}

/// `text` with everything but `A-Z a-z 0-9 - . _ ~` as `%XX`.
pub(crate) fn encoded(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            written.push(char::from(byte));
        } else {
            written.push_str(&format!("%{byte:02X}"));
        }
    }
    written
}

/// The text that [`encoded`] writes like this; none when there is none.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (char::from(rest.next()?), char::from(rest.next()?));
        let value = high.to_digit(16)? << 4 | low.to_digit(16)?;
        bytes.push(u8::try_from(value).ok()?);
    }
    let read = String::from_utf8(bytes).ok()?;
    (encoded(&read) == text).then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_uri_says_what_was_written(cluster in "\\PC{1,20}", name in "\\PC{1,20}") {
            let written = uri(&cluster, Kind::Role, &name);
            prop_assert!(written.is_ascii());
            prop_assert_eq!(parse_uri(&written), Some((cluster, Some(Kind::Role), name)));
        }

        #[test]
        fn whatever_stands_there_is_read_or_not(text in "\\PC{0,60}") {
            let _ = parse_uri(&text);
            if let Some(read) = decoded(&text) {
                prop_assert_eq!(encoded(&read), text);
            }
        }
    }

    #[test]
    fn a_uri_has_one_form() {
        assert!(parse_uri("wireloom://c/node/a%62").is_none(), "b needs no escape");
        assert!(parse_uri("wireloom://c/node/%2f").is_none(), "digits are upper case");
        assert!(parse_uri("wireloom://c/node/a/b").is_none());
        assert!(parse_uri("spiffe://c/node/a").is_none());
        assert_eq!(parse_uri("wireloom://c/zone/a").expect("later").1, None);
    }
}

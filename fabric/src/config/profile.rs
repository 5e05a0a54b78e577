//! The three profiles by name. What each of them says stands in the table of keys.

use std::fmt;
use std::str::FromStr;

use super::nearest::nearest;

/// A set of figures for one kind of node. Each figure can be overridden; `tuning/profiles/` of the
/// source has a commented file of each.
///
/// ```
/// use wireloom::Node;
/// use wireloom::config::Profile;
/// let node = Node::builder("analytics-01").profile(Profile::Server).start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// A page or a small device: small packets, small rings, events sent ten times a second.
    Browser,
    /// A service: packets of 1,400 bytes, rings of 100,000 events, groups across routers.
    Server,
    /// As server, for nodes that keep each other's events: compressed, encrypted, replicated.
    Cluster,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Browser, Self::Server, Self::Cluster];

    /// The names, in the order of [`Profile::ALL`].
    pub(super) const NAMES: &'static [&'static str] = &["browser", "server", "cluster"];

    /// The name that configuration and command line use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or_else(|| UnknownProfile { nearest: nearest(text, Self::NAMES.iter().copied()) })
    }
}

/// A name that is no profile's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownProfile {
    nearest: Option<&'static str>,
}

impl fmt::Display for UnknownProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such profile: there are browser, server and cluster")?;
        match self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnknownProfile {}

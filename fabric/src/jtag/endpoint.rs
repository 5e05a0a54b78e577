//! Which endpoint a route means: the exact one, else the longest registered that its segments begin
//! with.

use std::collections::HashMap;

use super::message::Environment;

/// How many endpoints one table holds.
pub const ENDPOINTS_MAX: usize = 1_000;

/// What is registered at endpoints such as `server/commands`.
///
/// ```
/// use wireloom::jtag::Endpoints;
///
/// let mut endpoints = Endpoints::default();
/// endpoints.insert("server/commands", "all commands")?;
/// endpoints.insert("server/commands/ping", "ping")?;
/// assert_eq!(endpoints.find("server/commands/ping"), Some(&"ping"));
/// assert_eq!(endpoints.find("server/commands/exec/js"), Some(&"all commands"));
/// assert_eq!(endpoints.find("server/commandsX"), None);
/// # Ok::<(), wireloom::jtag::EndpointsFull>(())
/// ```
#[derive(Debug, Clone)]
pub struct Endpoints<T>(HashMap<String, T>);

/// The table holds [`ENDPOINTS_MAX`] already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{ENDPOINTS_MAX} endpoints are registered already: register a prefix of several instead")]
pub struct EndpointsFull;

impl<T> Default for Endpoints<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Endpoints<T> {
    /// Registers `what` at `endpoint`, in place of what was there.
    ///
    /// # Errors
    /// [`EndpointsFull`].
    pub fn insert(&mut self, endpoint: &str, what: T) -> Result<(), EndpointsFull> {
        if self.0.len() >= ENDPOINTS_MAX && !self.0.contains_key(endpoint) {
            return Err(EndpointsFull);
        }
        self.0.insert(endpoint.to_owned(), what);
        Ok(())
    }

    /// What is registered at exactly this endpoint.
    #[must_use]
    pub fn exact(&self, endpoint: &str) -> Option<&T> {
        self.0.get(endpoint)
    }

    /// What is registered for a route: one look-up a segment.
    #[must_use]
    pub fn find(&self, route: &str) -> Option<&T> {
        let mut prefix = route;
        loop {
            if let Some(found) = self.0.get(prefix) {
                return Some(found);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
    }

    /// Keeps what `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.0.retain(|_, what| keep(what));
    }
}

/// The environment a route names: its first segment, when it has at least two.
#[must_use]
pub fn environment_of(route: &str) -> Option<Environment> {
    route.split_once('/')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_endpoint_then_the_longest_prefix_by_segments() {
        let mut endpoints = Endpoints::default();
        for endpoint in ["server", "server/commands", "server/commands/ping/fast"] {
            endpoints.insert(endpoint, endpoint).unwrap();
        }
        for (route, found) in [
            ("server", Some("server")),
            ("server/events", Some("server")),
            ("server/commands", Some("server/commands")),
            ("server/commands/ping", Some("server/commands")),
            ("server/commands/ping/fast", Some("server/commands/ping/fast")),
            ("server/commands/ping/fast/er", Some("server/commands/ping/fast")),
            ("server/commands/ping/faster", Some("server/commands")),
            ("server/commandsX", Some("server")),
            ("serverX/commands", None),
            ("browser/commands", None),
            ("", None),
        ] {
            assert_eq!(endpoints.find(route).copied(), found, "{route}");
        }
        endpoints.retain(|endpoint| *endpoint != "server/commands");
        assert_eq!(endpoints.find("server/commands/ping"), Some(&"server"));
    }

    #[test]
    fn the_table_has_an_end() {
        let mut endpoints = Endpoints::default();
        for number in 0..ENDPOINTS_MAX {
            endpoints.insert(&format!("server/{number}"), number).unwrap();
        }
        assert_eq!(endpoints.insert("server/more", 0), Err(EndpointsFull));
        assert_eq!(endpoints.insert("server/0", 7), Ok(()), "one that is there may change");
    }

    #[test]
    fn one_segment_names_no_environment() {
        assert_eq!(environment_of("server/events"), Some(Environment::Server));
        assert_eq!(environment_of("browser/"), Some(Environment::Browser));
        assert_eq!(environment_of("server"), None);
        assert_eq!(environment_of("moon/events"), None);
    }
}

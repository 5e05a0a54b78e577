//! The configuration of a node: figures by name, from a profile, a TOML file, the environment and
//! the command line, each effective value with the place it came from.
//!
//! Data flows one way: [`Layers`] collects what is said (`toml_text`, `value` read it), [`Config`]
//! holds what is effective, [`NodeBuilder::config`] applies it (`apply`), and
//! [`Config::tcp`] and its neighbours give the rest as typed settings. The table of all keys stands
//! in `keys`. Nothing here opens a socket or looks up a name, except that applying a configuration
//! resolves the listen address.
//!
//! [`NodeBuilder::config`]: crate::NodeBuilder::config

mod apply;
mod complaints;
mod document;
mod fault;
mod key;
mod keys;
mod layers;
mod nearest;
mod profile;
mod settings;
mod text;
mod toml_text;
mod value;

use std::path::Path;

pub use self::complaints::FILE_BYTES_MAX;
pub use self::document::document;
pub use self::fault::{ConfigError, Fault, Source};
pub use self::key::Key;
pub use self::layers::Layers;
pub use self::profile::{Profile, UnknownProfile};
pub use self::settings::{
    ClusterSettings, DiscoverySettings, EventSettings, SecuritySettings, ServiceChoice,
    ServiceSettings, TcpSettings,
};
pub use self::value::Value;
// Rules of routing are read with the same words for what is wrong.
pub(crate) use self::complaints::Complaints;
pub(crate) use self::layers::read_file;
pub(crate) use self::nearest::nearest;
pub(crate) use self::text::is_name;
pub(crate) use self::toml_text::read_rules;
pub(crate) use self::value::{bytes_of, named, quoted};

use wireloom_wire::Priority;

use self::keys::{Id, KEYS};
use crate::rules::RuleSet;

/// The effective configuration: a value for every key.
///
/// ```
/// use wireloom::Node;
/// use wireloom::config::Config;
/// let config = Config::parse("[node]\nname = \"desk\"\nprofile = \"server\"\n[tcp]\npool = 8")?;
/// assert_eq!(config.tcp().pool, 8);
/// let node = Node::builder("nameless").config(&config).start()?;
/// assert_eq!(node.name(), "desk");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// One for each key, in the order of the table.
    settings: Vec<(Value, Source)>,
    rules: RuleSet,
}

/// One effective value.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'static Key,
    /// Its value.
    pub value: &'a Value,
    /// Who said it.
    pub source: &'a Source,
}

impl Entry<'_> {
    /// The value as it would be written on a command line.
    #[must_use]
    pub fn text(&self) -> String {
        self.key.text_of(self.value)
    }

    /// Why this value has no effect in this version, if it has none.
    #[must_use]
    pub fn no_effect(&self) -> Option<&'static str> {
        self.key.no_effect(self.value)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::of(None)
    }
}

impl Config {
    /// What a profile says, and the defaults where it says nothing.
    #[must_use]
    pub fn of(profile: Option<Profile>) -> Self {
        let setting = |key: &Key| {
            let says = profile.and_then(|of| Some((key.profile_text(of)?, Source::Profile(of))));
            let (text, source) = says.unwrap_or_else(|| (key.default_text(), Source::Default));
            // A test reads every text of the table.
            (key.value_of(text).unwrap_or(Value::Unset), source)
        };
        Self { settings: KEYS.iter().map(setting).collect(), rules: RuleSet::default() }
    }

    /// Reads the text of a file: defaults, its profile, and what it says.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with line and column.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Layers::new().text("config", text).config()
    }

    /// As [`Config::parse`] for a file, with the environment above it.
    ///
    /// # Errors
    /// As [`Config::parse`], and that the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Layers::new().file(path).environment().config()
    }

    /// Every key in the order of the table.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let pairs = KEYS.iter().zip(&self.settings);
        pairs.map(|(key, (value, source))| Entry { key, value, source })
    }

    /// The key of this path (`tcp.pool`).
    #[must_use]
    pub fn entry(&self, path: &str) -> Option<Entry<'_>> {
        self.entries().find(|entry| entry.key.path() == path)
    }

    /// The rules of routing, the `[[rule]]` of the file.
    #[must_use]
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    fn set(&mut self, id: Id, value: Value, source: Source) {
        self.settings[id as usize] = (value, source);
    }

    fn value(&self, id: Id) -> &Value {
        &self.settings[id as usize].0
    }

    /// Whether anybody but the default said something of one of these.
    fn is_said(&self, ids: &[Id]) -> bool {
        ids.iter().any(|id| self.settings[*id as usize].1 != Source::Default)
    }

    /// What is wrong between keys, at the place of the one that was said.
    fn contradictions(&self) -> Vec<Fault> {
        let fault = |id: Id, problem| {
            let place = self.settings[id as usize].1.clone();
            Fault { place, key: Some(KEYS[id as usize].path()), problem }
        };
        let mut faults = Vec::new();
        let tcp = self.tcp();
        if tcp.backoff_min > tcp.backoff_max {
            let id = if self.is_said(&[Id::BackoffMax]) { Id::BackoffMax } else { Id::BackoffMin };
            let problem = format!(
                "tcp.backoff_min ({}) cannot be more than tcp.backoff_max ({})",
                self.value(Id::BackoffMin),
                self.value(Id::BackoffMax)
            );
            faults.push(fault(id, problem));
        }
        let protect = self.security().protect;
        let twice = |priority: &Priority| protect.iter().filter(|of| of.0 == *priority).count() > 1;
        if let Some(priority) = Priority::ALL.iter().find(|of| twice(of)) {
            let problem = format!("{priority} stands there twice: say one protection of it");
            faults.push(fault(Id::Protect, problem));
        }
        faults
    }
}

#[cfg(test)]
mod tests;

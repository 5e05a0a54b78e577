//! Who says what, in order: default, profile, file, environment, command line. The later word
//! counts, and each value keeps the place it came from.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::Config;
use super::complaints::FILE_BYTES_MAX;
use super::fault::{ConfigError, Fault, Source};
use super::key::{Key, VARIABLE_PREFIX};
use super::keys::{Id, KEYS, find, sections};
use super::nearest::nearest;
use super::profile::Profile;
use super::toml_text::{Read, read, unknown};
use super::value::{Value, quoted};
use crate::rules::{Rule, RuleSet, faults_of};

/// A longer value of a variable or flag is refused: longer than any list of seeds.
const WORD_BYTES_MAX: usize = 64 << 10;

/// One word on one key.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) key: &'static Key,
    pub(super) value: Value,
    pub(super) source: Source,
}

/// Collects what is said about a configuration, and everything that is wrong with it.
///
/// ```
/// use wireloom::config::Layers;
/// let config = Layers::new()
///     .text("node.toml", "[udp]\nmulticast_ttl = 4\nwindow = \"1 MiB\"")
///     .flag("--ttl", "udp.multicast_ttl", "8")
///     .config()?;
/// let ttl = config.entry("udp.multicast_ttl").expect("a key");
/// assert_eq!((ttl.text(), ttl.source.to_string()), ("8".into(), "flag --ttl".into()));
/// # Ok::<(), wireloom::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Layers {
    file: Vec<Said>,
    environment: Vec<Said>,
    flags: Vec<Said>,
    rules: Vec<Rule>,
    faults: Vec<Fault>,
}

impl Layers {
    /// Nothing said yet: the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A file's content; `name` is what messages call it. At most 256 KiB.
    #[must_use]
    pub fn text(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        self.with_file(read(name, text.as_ref()))
    }

    /// Reads a file. That it cannot be read is one of the faults of [`Layers::config`].
    #[must_use]
    pub fn file(self, path: &Path) -> Self {
        match read_file(path) {
            Ok((name, bytes)) => self.text(&name, bytes),
            Err(fault) => self.with_file(Read { faults: vec![fault], ..Read::default() }),
        }
    }

    fn with_file(mut self, read: Read) -> Self {
        self.file.extend(read.said);
        self.rules.extend(read.rules);
        self.faults.extend(read.faults);
        self
    }

    /// The environment of this process; see [`Layers::variables`].
    #[must_use]
    pub fn environment(self) -> Self {
        self.variables(std::env::vars_os())
    }

    /// Environment variables: those called `WIRELOOM_` and a section's name speak of a key,
    /// `WIRELOOM_TCP_POOL` of `tcp.pool`; others are nobody's here.
    #[must_use]
    pub fn variables(mut self, all: impl Iterator<Item = (OsString, OsString)>) -> Self {
        for (name, value) in all {
            let Some(name) = name.to_str() else { continue };
            let Some(rest) = ours(name) else { continue };
            let source = Source::Environment(name.to_owned());
            let found = KEYS.iter().find(|key| key.variable().eq_ignore_ascii_case(name));
            let value = value.to_str();
            match (found, value) {
                (Some(key), Some(value)) => self.say(key, value, source),
                (Some(key), None) => self.wrong(Some(key.path()), source, "not UTF-8".to_owned()),
                (None, _) => self.wrong(None, source, unknown_variable(&rest)),
            }
        }
        self
    }

    /// A value of the command line: `flag` as it is written there, the key's path, the value.
    #[must_use]
    pub fn flag(mut self, flag: &str, path: &str, value: &str) -> Self {
        let source = Source::Flag(flag.to_owned());
        let (section, name) = path.split_once('.').unwrap_or(("", path));
        match find(section, name) {
            Some(key) => self.say(key, value, source),
            None if sections().any(|known| known == section) => {
                self.wrong(None, source, unknown(section, name));
            }
            None => {
                let paths: Vec<String> = KEYS.iter().map(Key::path).collect();
                let problem = match nearest(path, paths.iter().map(String::as_str)) {
                    Some(near) => format!("no key {}; did you mean {near}?", quoted(path)),
                    None => format!("no key {}; a key is SECTION.NAME", quoted(path)),
                };
                self.wrong(None, source, problem);
            }
        }
        self
    }

    /// The profile, as the command line or the program says it: above the file's.
    #[must_use]
    pub fn profile(self, profile: Profile) -> Self {
        self.flag("--profile", "node.profile", profile.name())
    }

    fn say(&mut self, key: &'static Key, text: &str, source: Source) {
        let read = if text.len() > WORD_BYTES_MAX {
            Err(format!("longer than {WORD_BYTES_MAX} bytes"))
        } else {
            key.value_of(text)
        };
        match read {
            Ok(value) => {
                let is_flag = matches!(source, Source::Flag(_));
                let layer = if is_flag { &mut self.flags } else { &mut self.environment };
                layer.push(Said { key, value, source });
            }
            Err(problem) => self.wrong(Some(key.path()), source, problem),
        }
    }

    fn wrong(&mut self, key: Option<String>, place: Source, problem: String) {
        self.faults.push(Fault { place, key, problem });
    }

    /// The effective values.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn config(self) -> Result<Config, ConfigError> {
        let Self { file, environment, flags, rules, mut faults } = self;
        let said: Vec<Said> = file.into_iter().chain(environment).chain(flags).collect();
        let profile = said.iter().rev().find(|said| said.key.id == Id::NodeProfile);
        let profile = profile.and_then(|said| said.value.to_string().parse().ok());
        let mut config = Config::of(profile);
        for Said { key, value, source } in said {
            config.set(key.id, value, source);
        }
        faults.extend(config.contradictions());
        faults.extend(faults_of(&rules));
        config.rules = RuleSet::of(rules);
        ConfigError::unless_none(faults)?;
        Ok(config)
    }
}

/// What messages call a file, and its bytes, one more than may be read of a longer one.
///
/// # Errors
/// That it cannot be read, as a fault of the file.
pub(crate) fn read_file(path: &Path) -> Result<(String, Vec<u8>), Fault> {
    let (name, mut bytes) = (path.display().to_string(), Vec::new());
    let most = FILE_BYTES_MAX as u64 + 1;
    match File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)) {
        Ok(_) => Ok((name, bytes)),
        Err(error) => {
            let place = Source::File { name: name.into(), line: 0, column: 0 };
            Err(Fault { place, key: None, problem: format!("cannot be read: {error}") })
        }
    }
}

/// What stands behind `WIRELOOM_` in a variable that speaks of a section of ours, in small letters.
fn ours(name: &str) -> Option<String> {
    let rest = name.to_ascii_lowercase();
    let rest = rest.strip_prefix(VARIABLE_PREFIX)?;
    let is_ours = |section| rest.strip_prefix(section).is_some_and(|name| name.starts_with('_'));
    (name.starts_with("WIRELOOM_") && sections().any(is_ours)).then(|| rest.to_owned())
}

fn unknown_variable(rest: &str) -> String {
    let (section, name) = rest.split_once('_').unwrap_or((rest, ""));
    unknown(section, name)
}

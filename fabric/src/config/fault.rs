//! Where a value came from, and what is wrong with one: a list with a place for each entry.

use std::fmt;
use std::sync::Arc;

use super::profile::Profile;

/// Faults told of one configuration; what is beyond them is counted.
pub(super) const FAULTS_MAX: usize = 64;

/// Where an effective value was said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Nobody said it.
    Default,
    /// The profile.
    Profile(Profile),
    /// The file, at a place counted from 1; column in characters.
    File {
        /// The file's name as it was given.
        name: Arc<str>,
        /// Line, 0 when the file as a whole is meant.
        line: usize,
        /// Column of the line.
        column: usize,
    },
    /// An environment variable, by name.
    Environment(String),
    /// An option of the command line, as it is written there.
    Flag(String),
}

impl fmt::Display for Source {
    /// `default`, `profile server`, `node.toml:7`, `env WIRELOOM_TCP_POOL`, `flag --ttl`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Profile(profile) => write!(f, "profile {profile}"),
            Self::File { name, line: 0, .. } => f.write_str(name),
            Self::File { name, line, .. } => write!(f, "{name}:{line}"),
            Self::Environment(variable) => write!(f, "env {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// One thing that is wrong: where, with which key, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it was said.
    pub place: Source,
    /// The key, `section.name`, where it is about one.
    pub key: Option<String>,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl fmt::Display for Fault {
    /// `node.toml:7:8: tcp.pool: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if let Source::File { line: 1.., column, .. } = self.place {
            write!(f, ":{column}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    faults: Vec<Fault>,
    beyond: usize,
}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault], beyond: 0 }
    }
}

impl ConfigError {
    /// An error unless there is no fault at all. File by file, in the order of lines.
    pub(crate) fn unless_none(mut faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() {
            return Ok(());
        }
        let beyond = faults.len().saturating_sub(FAULTS_MAX);
        faults.truncate(FAULTS_MAX);
        faults.sort_by_key(|fault| match fault.place {
            Source::File { line, column, .. } => (0, line, column),
            _ => (1, 0, 0),
        });
        Err(Self { faults, beyond })
    }

    /// The faults, the first 64 of them, in the order of the file, then the other places.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How many more there are than [`ConfigError::faults`] tells.
    #[must_use]
    pub const fn beyond(&self) -> usize {
        self.beyond
    }
}

impl fmt::Display for ConfigError {
    /// A line for each fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let between = if index == 0 { "" } else { "\n" };
            write!(f, "{between}{fault}")?;
        }
        match self.beyond {
            0 => Ok(()),
            beyond => write!(f, "\nand {beyond} more"),
        }
    }
}

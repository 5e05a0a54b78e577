//! Files that running nodes follow: how a node comes to what is new in one, and how another command
//! puts a new one in its place in one step.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use wireloom::Node;
use wireloom::config::{ConfigError, FILE_BYTES_MAX};

use crate::output::{Output, Style};
use crate::text::printable;

/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a file that a node follows holds.
pub(crate) trait Live: Sized {
    /// What is told when the one before stays: `the rules before these stay`.
    const STAYS: &'static str;

    /// Reads a text; `name` is what messages call it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    fn parse(name: &str, bytes: &[u8]) -> Result<Self, ConfigError>;

    /// As [`Live::parse`] for a file.
    ///
    /// # Errors
    /// As [`Live::parse`], and that the file cannot be read.
    fn load(path: &Path) -> Result<Self, ConfigError>;

    /// Makes a running node go by it.
    ///
    /// # Errors
    /// Why it cannot: what was in effect stays so.
    fn give(&self, node: &Node) -> Result<()>;

    /// How much it is: `2 rules`.
    fn extent(&self) -> String;
}

/// A file that may change, and what was in it last.
#[derive(Debug)]
pub(crate) struct LiveFile<T> {
    path: PathBuf,
    held: T,
    stamp: Option<Stamp>,
    looked: Instant,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// The node goes by what is new: how much it is.
    Taken(String),
    /// Something is wrong with what is new, and the one before stays.
    Kept(String),
}

/// Which file it is and when it was written last; its time of change cannot be set.
type Stamp = (u64, i64, i64);

impl<T: Live> LiveFile<T> {
    /// # Errors
    /// As [`Live::load`].
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        // Before it is read: what is written in between is seen by the next look.
        let stamp = stamp(path);
        let held = T::load(path)?;
        Ok(Self { path: path.to_owned(), held, stamp, looked: Instant::now() })
    }

    /// What was read last.
    pub(crate) const fn held(&self) -> &T {
        &self.held
    }

    /// Looks whether the file has changed, once a second; gives the node what is in it, or tells
    /// what is wrong with that and leaves the node what it had.
    pub(crate) fn look(&mut self, node: &Node, output: &Output) -> Option<Look> {
        if self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        let stamp = stamp(&self.path);
        if stamp == self.stamp {
            return None;
        }
        self.stamp = stamp;
        let why = match T::load(&self.path) {
            Ok(new) => match new.give(node) {
                Ok(()) => {
                    self.held = new;
                    let extent = self.held.extent();
                    output.report(format_args!("{}: {extent} from now on", self.path.display()));
                    return Some(Look::Taken(extent));
                }
                Err(error) => {
                    output.report(format_args!("{error:#}"));
                    format!("{error:#}")
                }
            },
            Err(error) => {
                for fault in error.faults() {
                    output.report(format_args!("{fault}"));
                }
                error.faults().first().map_or_else(String::new, ToString::to_string)
            }
        };
        output.warning(format_args!("{} in effect", T::STAYS));
        Some(Look::Kept(why))
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = |told: Metadata| (told.ino(), told.ctime(), told.ctime_nsec());
    std::fs::metadata(path).ok().map(of)
}

/// What stands in a file that is to be replaced; `none` when there is no such file.
///
/// # Errors
/// As [`Live::load`].
pub(crate) fn installed<T: Live>(path: &Path, none: impl FnOnce() -> T) -> Result<T, ConfigError> {
    if path.exists() { T::load(path) } else { Ok(none()) }
}

/// Puts a file's content in the place of another file, so that nobody ever sees a part of it, and
/// tells so. What is put there is what was found to be right, even when the first file changes.
///
/// # Errors
/// When something is wrong with it, or a file cannot be read or written.
pub(crate) fn replace<T: Live>(from: &Path, into: &Path, output: &Output) -> Result<()> {
    let mut bytes = Vec::new();
    let source = File::open(from).with_context(|| format!("{} cannot be read", from.display()))?;
    let permissions = source.metadata()?.permissions();
    source.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    let new = T::parse(&from.display().to_string(), &bytes)?;
    let mut beside = into.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // Not one that is there: it may lead elsewhere.
    let file = OpenOptions::new().write(true).create_new(true).open(&beside);
    let written = file.and_then(|mut file| {
        let written = file
            .write_all(&bytes)
            .and_then(|()| file.set_permissions(permissions))
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&beside, into));
        if written.is_err() {
            // It may be gone; the fault told is the one before.
            let _ = std::fs::remove_file(&beside);
        }
        written
    });
    written.with_context(|| format!("{} cannot be replaced", into.display()))?;
    let good = output.paint(Style::Good, "applied");
    output.line(format_args!(
        "{good}: {} in {}; nodes that look at it take them within a second",
        new.extent(),
        printable(&into.display().to_string())
    ))?;
    Ok(())
}

//! Lines for the publisher that the parent reads itself: standard input, or the help text of this
//! command where no other text is at hand.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ChildStdin;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::CommandFactory as _;

use super::report::Order;
use crate::args::CommandLine;
use crate::lines::{Line, Lines, Source};
use crate::stop::Stop;

/// Texts that most machines have, largest first.
const TEXTS: [&str; 4] = [
    "/usr/share/common-licenses/GPL-3",
    "/usr/share/common-licenses/GPL-2",
    "/usr/share/common-licenses/Apache-2.0",
    "/usr/share/licenses/common/GPL-3.0-only/license.txt",
];

/// Where the lines come from.
#[derive(Debug)]
pub(super) enum Text {
    /// A file, which the publisher reads itself, over and over.
    File(PathBuf),
    /// Standard input, once.
    Standard(Source),
    /// The help text of this command, over and over.
    Help,
}

impl Text {
    /// What the user named, or what is there.
    ///
    /// # Errors
    /// When what the user named cannot be read or has no lines.
    pub(super) fn find(named: Option<&PathBuf>, stop: &Stop) -> Result<Self> {
        let Some(path) = named else {
            let there = TEXTS.iter().map(PathBuf::from).find(|path| path.is_file());
            return Ok(there.map_or(Self::Help, Self::File));
        };
        if path.as_os_str() == "-" {
            return Ok(Self::Standard(
                Source::standard(stop).context("cannot read standard input")?,
            ));
        }
        let source =
            Source::open(path, stop).with_context(|| format!("cannot read {}", path.display()))?;
        if source.length_bytes() == Some(0) {
            bail!("{} is empty: name a file with lines of text", path.display());
        }
        // A relative path stays right: children have the parent's working directory.
        Ok(Self::File(path.clone()))
    }

    /// What it is called in the table.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => {
                path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
            }
            Self::Standard(_) => "standard input".to_owned(),
            Self::Help => "the help of this command".to_owned(),
        }
    }

    /// The file the publisher reads itself, if it does.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Standard(_) | Self::Help => None,
        }
    }

    /// Feeds a publisher that reads no file, from a thread of its own, and keeps the pipe open
    /// behind the last line: closing it would end the publisher.
    pub(super) fn feed(self, mut to: ChildStdin, stop: &Stop) {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let fed = match self {
                Self::File(_) => Ok(()),
                Self::Standard(source) => feed_lines(&mut Lines::new(source), &mut to),
                Self::Help => feed_help(&mut to, &stop),
            };
            // An error says that the publisher has ended; nothing is left to keep open then.
            while fed.is_ok() && !stop.is_wished() {
                stop.sleep(Duration::from_secs(1));
            }
        });
    }
}

fn feed_lines(lines: &mut Lines<Source>, to: &mut ChildStdin) -> std::io::Result<()> {
    while let Ok(Some(line)) = lines.next() {
        let order = match line {
            Line::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => Order::Line(text.to_owned()),
                Err(_) => Order::Unpublishable("invalid_utf8".to_owned()),
            },
            Line::TooLong(_) => Order::Unpublishable("too_large".to_owned()),
        };
        write(&order, to)?;
    }
    write(&Order::NoMoreLines, to)
}

fn feed_help(to: &mut ChildStdin, stop: &Stop) -> std::io::Result<()> {
    let help = CommandLine::command().render_long_help().to_string();
    while !stop.is_wished() {
        for line in help.lines() {
            write(&Order::Line(line.to_owned()), to)?;
        }
    }
    Ok(())
}

fn write(order: &Order, to: &mut ChildStdin) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    to.write_all(&line)
}

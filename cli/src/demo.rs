//! `wireloom demo`: three node processes on this host, a live table, and one ledger over all three.
//!
//! The parent ([`parent`]) starts this same program three times with a hidden command, tells the
//! children what to do by JSON lines on their standard input and hears from them by JSON lines on
//! their standard output ([`report`]). Each child is a node ([`publisher`], [`listener`]); it ends
//! when its standard input closes, so none outlives the parent.

mod balance;
mod child;
mod event;
mod feed;
mod figures;
mod listener;
mod parent;
mod publisher;
mod report;
mod screen;
mod table;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::ValueEnum;
use wireloom::events::Heartbeat;

use crate::args::{DemoArgs, DemoNodeArgs};
use crate::output::Output;
use crate::stop::Stop;
use event::DemoLine;
use report::{Commands, Report, send};

/// What a node of the demonstration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Publishes lines and heartbeats.
    Publisher,
    /// Takes the lines.
    Lines,
    /// Takes the heartbeats.
    Heartbeats,
}

impl Role {
    /// In the order of the table.
    const ALL: [Self; 3] = [Self::Publisher, Self::Lines, Self::Heartbeats];

    /// The node's name.
    const fn node(self) -> &'static str {
        match self {
            Self::Publisher => "loom-1",
            Self::Lines => "loom-2",
            Self::Heartbeats => "loom-3",
        }
    }

    /// The word for it on the hidden command line.
    const fn word(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Lines => "lines",
            Self::Heartbeats => "heartbeats",
        }
    }

    /// What it does, for a reader.
    const fn does(self) -> &'static str {
        match self {
            Self::Publisher => "publishes both",
            Self::Lines => "lines by UDP",
            Self::Heartbeats => "heartbeats by group",
        }
    }
}

/// Runs the demonstration.
///
/// # Errors
/// When the file cannot be read, a node cannot start, or standard output cannot be written.
pub(crate) fn run(args: &DemoArgs, output: &Output) -> Result<ExitCode> {
    parent::run(args, output)
}

/// Runs one node of it. What goes wrong is told to the parent, who tells the user.
///
/// # Errors
/// When the parent has gone.
pub(crate) fn run_node(args: &DemoNodeArgs, _output: &Output) -> Result<ExitCode> {
    match be_node(args) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            send(&Report::Failed { reason: format!("{error:#}") })?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn be_node(args: &DemoNodeArgs) -> Result<()> {
    let stop = Stop::left_to_parent()?;
    let commands = Commands::listen(&stop);
    match (args.role, args.to, args.group) {
        (Role::Publisher, Some(to), Some(group)) => {
            publisher::publish(args, (to, group), &stop, &commands)
        }
        (Role::Lines, _, None) => listener::listen::<DemoLine>(args, &stop),
        (Role::Heartbeats, None, Some(_)) => listener::listen::<Heartbeat>(args, &stop),
        _ => bail!("started by hand: run `wireloom demo`, which starts its nodes itself"),
    }
}

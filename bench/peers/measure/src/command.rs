//! The command line that every peer's program has, and the order in which a run is put together.

use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::child::{self, Other, end_after};
use crate::config::{Config, Work};
use crate::peer::Peer;
use crate::place::Plan;
use crate::processes::{Processes, pin};
use crate::row::Row;
use crate::{flood, pingpong};

/// The core of the publishing process.
const PUBLISHER_CORE: usize = 0;
/// What joining, warming up and ending may take beside the measured time.
const OVERHEAD_MAX: Duration = Duration::from_secs(45);
/// The longest time to publish.
const SECONDS_MAX: Duration = Duration::from_secs(60);

/// Measures a peer with the messages, pinning and counting of `wireloom bench`.
#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists what can be run, as work, configuration, tuning, class, what was set
    List,
    /// One side publishes as fast as it can, the other counts
    Throughput {
        /// How long to publish, in seconds (60 at most)
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        #[command(flatten)]
        choice: Choice,
    },
    /// One message there and back, the next only when the last is back
    Pingpong {
        /// How many messages
        #[arg(long, default_value_t = 20_000)]
        round_trips: u64,
        #[command(flatten)]
        choice: Choice,
    },
    #[command(hide = true)]
    Receive { plan: String },
    #[command(hide = true)]
    Serve { plan: String },
}

#[derive(Debug, Args)]
struct Choice {
    /// The configuration; `list` shows them
    #[arg(long)]
    config: String,
    /// Print one row of JSON
    #[arg(long)]
    json: bool,
}

/// The whole of a peer's `main`.
#[must_use]
pub fn run<P: Peer>() -> ExitCode {
    match obey::<P>(Line::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "peer-{}: {why:#}", P::NAME);
            ExitCode::from(2)
        }
    }
}

/// True when nothing was found wrong with what was measured.
fn obey<P: Peer>(command: Command) -> Result<bool> {
    let (work, choice, time, round_trips) = match command {
        Command::List => {
            let lines = P::CONFIGS.iter().fold(String::new(), |mut lines, config| {
                let Config { work, name, tuning, class, how } = config;
                let _ = writeln!(lines, "{work}\t{name}\t{tuning:?}\t{class:?}\t{how}");
                lines
            });
            stdout().lock().write_all(lines.as_bytes())?;
            return Ok(true);
        }
        Command::Receive { plan } => {
            end_after(SECONDS_MAX + OVERHEAD_MAX);
            return child::receive::<P>(&serde_json::from_str(&plan)?).map(|()| true);
        }
        Command::Serve { plan } => {
            end_after(SECONDS_MAX + OVERHEAD_MAX);
            return child::serve::<P>(&serde_json::from_str(&plan)?).map(|()| true);
        }
        Command::Throughput { seconds, choice } => {
            let time = Duration::try_from_secs_f64(seconds)?.min(SECONDS_MAX);
            (Work::Throughput, choice, time, 0)
        }
        Command::Pingpong { round_trips, choice } => {
            (Work::PingPong, choice, Duration::ZERO, round_trips)
        }
    };
    let known = |config: &&Config| config.work == work && config.name == choice.config;
    let config = P::CONFIGS.iter().find(known);
    let config = config.with_context(|| format!("no {work} `{}`; see `list`", choice.config))?;
    end_after(time + OVERHEAD_MAX);
    let row = measure::<P>(config, time, round_trips)?;
    let line = if choice.json { serde_json::to_string(&row)? } else { row.to_string() };
    writeln!(stdout().lock(), "{line}")?;
    Ok(row.is_sound())
}

/// Starts what takes part, measures, and ends it again.
fn measure<P: Peer>(config: &Config, time: Duration, round_trips: u64) -> Result<Row> {
    let plan = Plan::new(config.work, config.name)?;
    let outcome = measure_at::<P>(&plan, config, time, round_trips);
    plan.clear();
    outcome
}

fn measure_at<P: Peer>(
    plan: &Plan,
    config: &Config,
    time: Duration,
    round_trips: u64,
) -> Result<Row> {
    let mut row = Row::new(P::NAME, P::version(), config);
    let mut processes = Processes::default();
    // Before this process is pinned: a child may run where its parent may.
    let service =
        P::SERVICE.map(|name| Ok::<_, anyhow::Error>((name, Other::start("serve", plan)?)));
    let service = service.transpose()?;
    if let Some((name, service)) = &service {
        processes.add(name, service.process);
    }
    let mut receiver = Other::start("receive", plan)?;
    processes.add("receiver", receiver.process);
    processes.add("publisher", std::process::id());
    pin(PUBLISHER_CORE)?;
    match config.work {
        Work::Throughput => {
            flood::measure(P::publisher(plan)?, &mut receiver, &processes, time, &mut row)?;
        }
        Work::PingPong => {
            pingpong::measure(P::ping(plan)?, &mut receiver, &processes, round_trips, &mut row)?;
        }
    }
    row.peak_rss_bytes = processes.peak_rss_bytes();
    // The receiving end leaves first, the service last.
    drop(receiver);
    drop(service);
    Ok(row)
}

/// The version of a crate this program was built with, from the lock file.
#[must_use]
pub fn locked_version(package: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let named = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != named).skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = \""));
    version.map_or_else(|| "unknown".to_owned(), |rest| rest.trim_end_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_lock_file() {
        assert_eq!(locked_version("peer-measure"), env!("CARGO_PKG_VERSION"));
        assert_eq!(locked_version("no such package"), "unknown");
    }
}

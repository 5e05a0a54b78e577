//! `wireloom rules`: what is wrong with rules of routing, what they would change, and how running
//! nodes come to them: by the file they were started with.

mod change;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueHint};
use serde::Serialize;
use wireloom::config::{ConfigError, Layers};
use wireloom::{Node, RuleSet, traced};

use crate::args::help;
use crate::live::{Live, installed, replace};
use crate::output::Output;
use crate::text::{counted, printable};
use change::changes;

/// `wireloom rules`.
#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    pub(crate) command: RulesCommand,
}

/// One variant a subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Print the rules of a file; or everything that is wrong with them
    #[command(after_help = help::RULES)]
    Check(CheckArgs),
    /// Put rules in the place of others, or show what that would change
    #[command(after_help = help::RULES)]
    Apply(ApplyArgs),
}

/// `wireloom rules check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The file: rules in TOML, and nothing else
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// `wireloom rules apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The new rules
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The file that nodes were started with (wireloom node --rules): it is replaced in one step
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    into: Option<PathBuf>,
    /// Change nothing: show the events that would go another way
    #[arg(long)]
    dry_run: bool,
    /// Configuration of the node, whose own rules are the ones before when no file is named
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// One JSON object instead of lines, with --dry-run
    #[arg(long)]
    json: bool,
}

impl Live for RuleSet {
    const STAYS: &'static str = "the rules before these stay";

    fn parse(name: &str, bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::parse(name, bytes)
    }

    fn load(path: &Path) -> Result<Self, ConfigError> {
        renew(path)
    }

    fn give(&self, node: &Node) -> Result<()> {
        node.apply_rules(self.clone());
        Ok(())
    }

    fn extent(&self) -> String {
        counted(self.len() as u64, "rule")
    }
}

/// What is in a file. A span once there is a tracer: whoever looks after a fleet sees which nodes
/// took new rules, and the collector of errors which did not.
#[traced("rules.renew", fields(file = path.display()))]
fn renew(path: &Path) -> Result<RuleSet, ConfigError> {
    RuleSet::load(path)
}

/// Runs the command.
///
/// # Errors
/// When the rules cannot be read or are wrong, or a file cannot be written.
pub(crate) fn run(command: &RulesCommand, output: &Output) -> Result<ExitCode> {
    match command {
        RulesCommand::Check(args) => check(args, output)?,
        RulesCommand::Apply(args) => apply(args, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One rule for scripts.
#[derive(Debug, Serialize)]
struct Row {
    place: String,
    r#type: String,
    action: String,
}

fn check(args: &CheckArgs, output: &Output) -> Result<()> {
    let rules = RuleSet::load(&args.file)?;
    let row = |rule: &wireloom::Rule| Row {
        place: rule.place().to_string(),
        r#type: rule.types().to_string(),
        action: rule.action(),
    };
    let rows: Vec<Row> = rules.iter().map(row).collect();
    if args.json {
        return Ok(output.json(&serde_json::json!({ "rules": rows }))?);
    }
    for row in &rows {
        let line = format!("{}: {} goes {}", row.place, row.r#type, row.action);
        output.line(printable(&line))?;
    }
    output.line(format_args!("{}, nothing wrong", counted(rows.len() as u64, "rule")))?;
    Ok(())
}

fn apply(args: &ApplyArgs, output: &Output) -> Result<()> {
    let rules = RuleSet::load(&args.file)?;
    let layers = args.config.iter().fold(Layers::new(), |layers, file| layers.file(file));
    let config = layers.environment().config()?;
    let before = match &args.into {
        Some(file) => installed(file, RuleSet::default)?,
        None => config.rules().clone(),
    };
    if args.dry_run {
        let changes = changes(&config, &before, &rules)?;
        if args.json {
            return Ok(output.json(&serde_json::json!({ "changes": changes }))?);
        }
        for change in &changes {
            output.line(printable(&change.to_string()))?;
        }
        let events = counted(changes.len() as u64, "event");
        output.line(format_args!(
            "{events} of those the rules speak of would go another way; nothing was changed"
        ))?;
        return Ok(());
    }
    let Some(into) = &args.into else {
        bail!(
            "no running node can be told from outside in this version: start it with \
             `wireloom node --rules FILE` and name that file by --into FILE, or see what would \
             change with --dry-run"
        );
    };
    replace::<RuleSet>(&args.file, into, output)
}

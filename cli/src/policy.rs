//! `wireloom policy`: what is wrong with a policy, what it says to somebody, what it would change,
//! and how running nodes come to it: by the file they were started with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueHint};
use wireloom::config::ConfigError;
use wireloom::{Node, Policy, Subject, Verb};

use crate::args::help;
use crate::live::{Live, installed, replace};
use crate::output::Output;
use crate::text::{counted, printable};

/// `wireloom policy`.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

/// One variant a subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Print the lines of a policy; or everything that is wrong with it
    #[command(after_help = help::POLICY)]
    Check {
        /// The policy, in TOML
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Say whether somebody may do something, and by which line; exit status 1 when not
    #[command(after_help = help::POLICY)]
    Explain(ExplainArgs),
    /// Put a policy in the place of another, or show what that would change
    #[command(after_help = help::POLICY)]
    Apply(ApplyArgs),
}

/// `wireloom policy apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The new policy
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The file that nodes were started with (wireloom node --policy): it is replaced in one step
    #[arg(long, value_name = "INSTALLED", value_hint = ValueHint::FilePath)]
    to: PathBuf,
    /// Change nothing: show what each role and node may and then may not, and the other way round
    #[arg(long)]
    dry_run: bool,
    /// One JSON object instead of lines, with --dry-run
    #[arg(long, requires = "dry_run")]
    json: bool,
}

/// `wireloom policy explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The policy, in TOML
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The node that wants it
    #[arg(long, value_name = "NAME", required_unless_present = "role")]
    node: Option<String>,
    /// A role it has. May be given several times
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// publish, subscribe, request, admin or replay
    #[arg(long)]
    verb: Verb,
    /// Name of the event type
    #[arg(long, value_name = "TYPE", value_parser = crate::values::type_name)]
    r#type: String,
}

impl Live for Policy {
    const STAYS: &'static str = "the policy before this one stays";

    fn parse(name: &str, bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::parse(name, bytes)
    }

    fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load(path)
    }

    fn give(&self, node: &Node) -> Result<()> {
        node.apply_policy(Some(self.clone()))?;
        Ok(())
    }

    fn extent(&self) -> String {
        let lines = self.lines().count() + self.limits().count();
        counted(lines as u64, "line")
    }
}

/// Runs the command.
///
/// # Errors
/// When the policy cannot be read or is wrong.
pub(crate) fn run(command: &PolicyCommand, output: &Output) -> Result<ExitCode> {
    match command {
        PolicyCommand::Check { file } => check(&Policy::load(file)?, output),
        PolicyCommand::Explain(args) => explain(args, output),
        PolicyCommand::Apply(args) => {
            apply(args, output)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(policy: &Policy, output: &Output) -> Result<ExitCode> {
    for line in policy.lines() {
        output.line(printable(&format!("{line}: {}", line.meaning())))?;
    }
    for limit in policy.limits() {
        output.line(printable(&format!("limit at {}: {}", limit.place(), limit.meaning())))?;
    }
    output.line(format_args!("{}, nothing wrong", policy.extent()))?;
    Ok(ExitCode::SUCCESS)
}

fn explain(args: &ExplainArgs, output: &Output) -> Result<ExitCode> {
    let policy = Policy::load(&args.file)?;
    let node = args.node.as_deref().map(Subject::node).unwrap_or_default();
    let subject = Subject { roles: args.role.iter().collect(), ..node };
    let decision = policy.authorise(&subject, args.verb, &args.r#type);
    output.line(printable(&decision.to_string()))?;
    if let Some(limit) = policy.limit(&subject, Some(&args.r#type)) {
        output.line(printable(&format!("limit at {}: {}", limit.place(), limit.meaning())))?;
    }
    Ok(if decision.is_allowed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn apply(args: &ApplyArgs, output: &Output) -> Result<()> {
    if !args.dry_run {
        return replace::<Policy>(&args.file, &args.to, output);
    }
    let new = Policy::load(&args.file)?;
    let changes = installed(&args.to, Policy::default)?.changes(&new);
    if args.json {
        return Ok(output.json(&serde_json::json!({ "changes": changes }))?);
    }
    for change in &changes {
        output.line(printable(&change.to_string()))?;
    }
    let changes = counted(changes.len() as u64, "change");
    output.line(format_args!("{changes}; nothing was changed"))?;
    Ok(())
}

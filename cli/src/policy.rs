//! `wireloom policy`: what is wrong with a policy, and what it says to somebody.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueHint};
use wireloom::{Policy, Subject, Verb};

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
    Check {
        /// The policy, in TOML
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Say whether somebody may do something, and by which line; exit status 1 when not
    Explain(ExplainArgs),
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

/// Runs the command.
///
/// # Errors
/// When the policy cannot be read or is wrong.
pub(crate) fn run(command: &PolicyCommand, output: &Output) -> Result<ExitCode> {
    match command {
        PolicyCommand::Check { file } => check(&Policy::load(file)?, output),
        PolicyCommand::Explain(args) => explain(args, output),
    }
}

fn check(policy: &Policy, output: &Output) -> Result<ExitCode> {
    for line in policy.lines() {
        output.line(printable(&format!("{line}: {}", line.meaning())))?;
    }
    for limit in policy.limits() {
        output.line(printable(&format!("limit at {}: {}", limit.place(), limit.meaning())))?;
    }
    let lines = policy.lines().count() + policy.limits().count();
    output.line(format_args!("{}, nothing wrong", counted(lines as u64, "line")))?;
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

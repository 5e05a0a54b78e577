//! `wireloom ca`: the authority of a cluster. Begins it, makes certificates of nodes, takes them
//! back, and shows what there is ([`show`]).

mod show;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueHint};
use wireloom_identity::{
    Authority, Certificate, CredentialPaths, IdentityError, IssueRequest, Issued, OutDir,
};

use crate::args::help;
use crate::output::{Output, Style};
use crate::text::{counted, printable};
use crate::values;

/// Seconds of a day.
const DAY_S: u64 = 24 * 3_600;

/// `wireloom ca`.
#[derive(Debug, Args)]
pub(crate) struct CaArgs {
    #[command(subcommand)]
    pub(crate) command: CaCommand,
}

/// One variant a subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Begin a cluster: make its authority
    #[command(after_help = help::CA)]
    Init(InitArgs),
    /// Make a key and a certificate for a node, or renew them
    #[command(after_help = help::CA)]
    Issue(IssueArgs),
    /// Take back every certificate of a node, or one by its number
    #[command(after_help = help::CA)]
    Revoke(RevokeArgs),
    /// Show the authority and what it has issued, or the certificates in a file
    #[command(after_help = help::CA)]
    Show(show::ShowArgs),
}

/// Where the authority is.
#[derive(Debug, Args)]
struct DirArgs {
    /// Folder of the authority
    #[arg(long, value_name = "DIR", default_value = "wireloom-ca", value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

/// `wireloom ca init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    authority: DirArgs,
    /// Name of the cluster, as nodes are told it by --cluster
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = values::node_name)]
    cluster: String,
}

/// `wireloom ca issue`.
#[derive(Debug, Args)]
pub(crate) struct IssueArgs {
    /// Name of the node
    #[arg(value_name = "NODE", value_parser = values::node_name)]
    node: String,
    /// A service that the node may offer. May be given several times
    #[arg(long = "service", value_name = "S")]
    services: Vec<String>,
    /// A role that policies may speak of. May be given several times
    #[arg(long = "role", value_name = "R")]
    roles: Vec<String>,
    /// For how many days the certificate is good
    #[arg(long, value_name = "N", default_value_t = IssueRequest::DAYS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    /// Folder that the files go to [default: nodes, in the authority's folder]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
    /// Renew: put a new key and certificate in the place of those in the folder. Roles and services
    /// stay unless others are given
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    authority: DirArgs,
}

/// `wireloom ca revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Name of a node, or the number of one certificate
    #[arg(value_name = "NODE|SERIAL")]
    whom: String,
    #[command(flatten)]
    authority: DirArgs,
}

/// Runs the command.
///
/// # Errors
/// When files cannot be read or written, are there already, or names cannot be.
pub(crate) fn run(command: &CaCommand, output: &Output) -> Result<ExitCode> {
    match command {
        CaCommand::Init(args) => init(args, output)?,
        CaCommand::Issue(args) => issue(args, output)?,
        CaCommand::Revoke(args) => revoke(args, output)?,
        CaCommand::Show(args) => show::run(args, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Seconds since 1970.
fn now_unix_s() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since.context("this machine's clock stands before 1970: set it")?.as_secs())
}

/// The authority of a folder; when there is none, how to begin one.
fn load(dir: &Path) -> Result<Authority> {
    Authority::load(dir).map_err(|error| match error {
        IdentityError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            anyhow::anyhow!(
                "no authority in {}: begin one with `wireloom ca init`, or name its folder \
                 by --dir",
                dir.display()
            )
        }
        error => error.into(),
    })
}

fn line(output: &Output, text: &str) -> Result<()> {
    Ok(output.line(printable(text))?)
}

fn good(output: &Output, word: &str, text: &str) -> Result<()> {
    let word = output.paint(Style::Good, word);
    Ok(output.line(format_args!("{word} {}", printable(text)))?)
}

fn init(args: &InitArgs, output: &Output) -> Result<()> {
    let dir = &args.authority.dir;
    let now = now_unix_s()?;
    let authority = Authority::create(dir, &args.cluster, now)?;
    let days = days_left(authority.certificate().expires_unix_s, now);
    let shown = dir.display();
    let cluster = authority.cluster();
    good(output, "begun:", &format!("the authority of cluster {cluster}, for {days} days"))?;
    line(output, &format!("  {shown}/ca.key      its key: whoever has it is the cluster"))?;
    line(output, &format!("  {shown}/ca.pem      its certificate, no secret"))?;
    line(output, &format!("  {shown}/revoked.wl  what it takes back, no secret"))?;
    line(output, "Keep the folder off the nodes, and a copy of the key where no network reaches.")?;
    line(output, &format!("Next: wireloom ca issue NODE --dir {shown}"))
}

fn issue(args: &IssueArgs, output: &Output) -> Result<()> {
    let dir = &args.authority.dir;
    let authority = load(dir)?;
    let folder = args.out.clone().unwrap_or_else(|| dir.join("nodes"));
    let mut request = IssueRequest {
        node: args.node.clone(),
        roles: args.roles.clone(),
        services: args.services.clone(),
        days: args.days,
    };
    if args.replace {
        keep_names(&mut request, &folder)?;
    }
    let out = OutDir { folder, replace: args.replace };
    // One reading: with the next second it would be a day less.
    let now = now_unix_s()?;
    let files = authority.issue(&request, &out, now).map_err(|error| match error {
        IdentityError::Exists(path) => anyhow::anyhow!(
            "{} is there already, and nothing was issued: --replace renews it",
            path.display()
        ),
        error => error.into(),
    })?;
    let Issued { serial, node, expires_unix_s, .. } = &files.issued;
    let days = days_left(*expires_unix_s, now);
    good(output, "issued:", &format!("{serial} for {node}, for {days} days"))?;
    for (what, names) in [("roles", &request.roles), ("services", &request.services)] {
        if !names.is_empty() {
            line(output, &format!("  {what}: {}", names.join(", ")))?;
        }
    }
    line(output, &format!("  {}  the key: only the node may have it", files.key.display()))?;
    line(
        output,
        &format!("  {}  its certificate and the authority's", files.certificate.display()),
    )?;
    line(output, &format!("  {}  what was taken back", files.revocations.display()))?;
    line(output, "Next: copy the three to the node, into one folder; a running node takes them.")
}

/// Renewed, a node has the roles and services it had, when none are said.
fn keep_names(request: &mut IssueRequest, folder: &Path) -> Result<()> {
    let path = CredentialPaths::of_node(folder, &request.node).certificate;
    if !request.roles.is_empty() || !request.services.is_empty() || !path.exists() {
        return Ok(());
    }
    let old = Certificate::read_file(&path)?;
    let old = old.into_iter().find(|old| old.node.as_ref() == Some(&request.node));
    if let Some(old) = old {
        (request.roles, request.services) = (old.roles, old.services);
    }
    Ok(())
}

fn revoke(args: &RevokeArgs, output: &Output) -> Result<()> {
    let authority = load(&args.authority.dir)?;
    let revoked = authority.revoke(&args.whom, now_unix_s()?)?;
    if revoked.new.is_empty() {
        let whom = &args.whom;
        return line(
            output,
            &format!("{whom} has no certificate that is still good: nothing to do"),
        );
    }
    for Issued { serial, node, .. } in &revoked.new {
        good(output, "revoked:", &format!("{serial} of {node}"))?;
    }
    let numbers = counted(revoked.list.serials().len() as u64, "certificate");
    let path = authority.revocations_path();
    let epoch = revoked.list.epoch();
    line(output, &format!("  {}  epoch {epoch}, {numbers}", path.display()))?;
    line(output, "Next: copy it to the nodes, beside their certificates; running nodes take it.")
}

/// Whole days until then; 0 when it is over.
const fn days_left(until_unix_s: u64, now_unix_s: u64) -> u64 {
    until_unix_s.saturating_sub(now_unix_s) / DAY_S
}

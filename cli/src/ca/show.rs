//! `wireloom ca show`: an authority and what it has issued, or what the certificates of a file say.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueHint};
use serde::Serialize;
use wireloom_identity::{Certificate, Serial};

use super::{DirArgs, days_left, load, now_unix_s};
use crate::output::{Output, Style};
use crate::text::{counted, printable, shortened};

/// Fewer days than this are told of.
const WARN_DAYS: u64 = 7;

/// `wireloom ca show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Certificates in PEM, whosever they are; without it the authority is shown
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    authority: DirArgs,
}

/// One certificate, for scripts. `state` is `good`, `revoked`, `expired` or `not_yet_valid`.
#[derive(Debug, Serialize)]
struct Row {
    serial: String,
    node: Option<String>,
    cluster: String,
    state: &'static str,
    expires_unix_s: u64,
    days_left: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<String>>,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_epoch: Option<u64>,
    certificates: Vec<Row>,
}

pub(super) fn run(args: &ShowArgs, output: &Output) -> Result<()> {
    let now = now_unix_s()?;
    let shown = match &args.file {
        Some(file) => of_file(file, now)?,
        None => of_authority(&args.authority.dir, now)?,
    };
    if args.json {
        output.json(&shown)?;
    } else {
        output.write(table(&shown, output).as_bytes())?;
    }
    for row in shown.authority.iter().chain(&shown.certificates) {
        warn(row, output);
    }
    Ok(())
}

fn of_file(file: &Path, now: u64) -> Result<Shown> {
    let read = Certificate::read_file(file)?;
    let certificates = read.into_iter().map(|read| row(read, now)).collect();
    Ok(Shown { authority: None, revocation_epoch: None, certificates })
}

fn of_authority(dir: &Path, now: u64) -> Result<Shown> {
    let authority = load(dir)?;
    let (issued, list) = (authority.issued()?, authority.revocations()?);
    // Of each node the last that is good: those before it were renewed.
    let mut newer = BTreeSet::new();
    let mut certificates = Vec::new();
    for of in issued.into_iter().rev() {
        let state = match of.expires_unix_s {
            _ if list.is_revoked(of.serial) => "revoked",
            expires if expires <= now => "expired",
            _ if !newer.insert(of.node.clone()) => "renewed",
            _ => "good",
        };
        certificates.push(Row {
            serial: of.serial.to_string(),
            node: Some(of.node),
            cluster: authority.cluster().to_owned(),
            state,
            expires_unix_s: of.expires_unix_s,
            days_left: days_left(of.expires_unix_s, now),
            roles: None,
            services: None,
        });
    }
    certificates.reverse();
    let own = Some(row(authority.certificate().clone(), now));
    Ok(Shown { authority: own, revocation_epoch: Some(list.epoch()), certificates })
}

fn row(read: Certificate, now: u64) -> Row {
    let state = match (read.not_before_unix_s, read.expires_unix_s) {
        (_, expires) if expires <= now => "expired",
        (from, _) if from > now => "not_yet_valid",
        _ => "good",
    };
    Row {
        serial: Serial::to_string(&read.serial),
        node: read.node,
        cluster: read.cluster,
        state,
        expires_unix_s: read.expires_unix_s,
        days_left: days_left(read.expires_unix_s, now),
        roles: Some(read.roles),
        services: Some(read.services),
    }
}

fn table(shown: &Shown, output: &Output) -> String {
    let mut text = String::new();
    if let (Some(own), Some(epoch)) = (&shown.authority, shown.revocation_epoch) {
        let cluster = printable(&own.cluster);
        let title = format!("authority of cluster {cluster}");
        let days = own.days_left;
        let certificates = counted(shown.certificates.len() as u64, "certificate");
        let _ = writeln!(
            text,
            "{}: {certificates}, revocations at epoch {epoch}, {days} days left",
            output.paint(Style::Bold, title)
        );
    }
    let head = format!("{:<32} {:<20} {:<13} {:>5}", "serial", "node", "state", "days");
    let _ = writeln!(text, "{}", output.paint(Style::Dim, head));
    for row in &shown.certificates {
        let style = match row.state {
            "good" if row.days_left < WARN_DAYS => Style::Warning,
            "good" => Style::Good,
            "renewed" => Style::Dim,
            _ => Style::Bad,
        };
        let node = row.node.as_deref().unwrap_or("(authority)");
        let state = output.paint(style, format_args!("{:<13}", row.state));
        let names = names(row);
        let line = format!(
            "{:<32} {:<20} {state} {:>5}  {names}",
            row.serial,
            shortened(&printable(node), 20),
            row.days_left
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Roles and services of a certificate, where they are known.
fn names(row: &Row) -> String {
    let listed = |what, names: &Option<Vec<String>>| match names {
        Some(names) if !names.is_empty() => {
            format!("{what} {} ", printable(&names.join(", ")))
        }
        _ => String::new(),
    };
    listed("roles", &row.roles) + &listed("services", &row.services)
}

fn warn(row: &Row, output: &Output) {
    if row.state != "good" || row.days_left >= WARN_DAYS {
        return;
    }
    let days = counted(row.days_left, "day");
    match &row.node {
        Some(node) => output.warning(format_args!(
            "{node} has {days} left: renew it with `wireloom ca issue {node} --replace`"
        )),
        None => output.warning(format_args!(
            "the authority of {} has {days} left: begin a new one, and trust both for a while",
            row.cluster
        )),
    }
}

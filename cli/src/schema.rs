//! `wireloom schema`: the event types that every Wireloom knows, and the JSON Schema of one.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use wireloom::events;
use wireloom::schema::lines;

use crate::args::help;
use crate::output::{Output, Style};

/// `wireloom schema`.
#[derive(Debug, Args)]
#[command(after_help = help::SCHEMA)]
pub(crate) struct SchemaArgs {
    /// Show the archive's fields, one a line, in place of the JSON Schema
    #[arg(long, requires = "event_type")]
    fields: bool,
    /// Type name of an event, such as heartbeat; without it all of them are listed
    #[arg(value_name = "TYPE")]
    event_type: Option<String>,
}

/// Prints the list, or one schema.
pub(crate) fn run(args: &SchemaArgs, output: &Output) -> Result<ExitCode> {
    let Some(wanted) = &args.event_type else {
        output.write(list(output).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    };
    let codecs = events::codecs();
    let Some(codec) = codecs.iter().find(|codec| codec.type_name() == wanted) else {
        let names: Vec<&str> = codecs.iter().map(|codec| codec.type_name()).collect();
        bail!(
            "no event type of Wireloom's own is called {wanted:?}; there are {}",
            names.join(", ")
        );
    };
    if args.fields {
        for line in lines(codec.version().description) {
            output.line(format_args!("{}: {}", line.path, line.kind))?;
        }
    } else if let Some(schema) = events::json_schema(wanted) {
        output.line(schema)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(output: &Output) -> String {
    let head = format!(
        "{:<22} {:>7}  {:<10} {:<11} {}",
        "TYPE", "VERSION", "PRIORITY", "FINGERPRINT", "GROUP"
    );
    let mut text = output.paint(Style::Bold, head) + "\n";
    for codec in events::codecs() {
        let line = format!(
            "{:<22} {:>7}  {:<10} {:<11} {}",
            codec.type_name(),
            codec.version().number,
            codec.priority().name(),
            format!("{:08x}", codec.fingerprint().0),
            codec.multicast().unwrap_or_default()
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

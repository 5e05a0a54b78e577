//! `wireloom config`: what is in effect and who said it; a profile as a file.
//!
//! Reading and judging belong to the library ([`wireloom::config`]); here is only how it looks.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value as Json, json};
use wireloom::config::{Config, ConfigError, Entry, Layers, Source, Value, document};

use crate::USAGE;
use crate::args::config::{CheckArgs, ConfigCommand, said};
use crate::output::{Output, Style};
use crate::text::{counted, printable, shortened};

/// Widest value of the table; longer ones are cut, `--json` has them whole.
const VALUE_COLUMNS: usize = 32;

/// Runs the command.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn run(command: &ConfigCommand, output: &Output) -> Result<ExitCode> {
    match command {
        ConfigCommand::Check(args) => check(args, output),
        ConfigCommand::Show(args) => {
            output.write(document(args.profile).as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(args: &CheckArgs, output: &Output) -> Result<ExitCode> {
    let layers = Layers::new().file(&args.file).environment();
    let config = match said(layers, args.profile, &args.set).config() {
        Ok(config) => config,
        Err(error) => return Ok(refuse(&error, output)),
    };
    if args.json {
        output.json(&Account { config: config.entries().map(Row::of).collect() })?;
    } else {
        output.write(table(&config, output).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells everything that is wrong, a line each. The status is that of wrong words.
pub(crate) fn refuse(error: &ConfigError, output: &Output) -> ExitCode {
    for fault in error.faults() {
        output.report(format_args!("{fault}"));
    }
    let faults = error.faults().len().saturating_add(error.beyond());
    let more = match error.beyond() {
        0 => String::new(),
        beyond => format!(", {beyond} of them not told"),
    };
    let faults = counted(faults as u64, "fault");
    output.error(format_args!("the configuration has {faults}{more}"));
    ExitCode::from(USAGE)
}

/// A row for each key: path, value, source, and what has no effect.
fn table(config: &Config, output: &Output) -> String {
    let rows: Vec<[String; 4]> = config.entries().map(cells).collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let [key_columns, value_columns, source_columns] = [width(0), width(1), width(2)];
    let title =
        format!("{:key_columns$}  {:value_columns$}  {:source_columns$}", "key", "value", "source");
    let mut text = format!("{}\n", output.paint(Style::Bold, title.trim_end()));
    for ([key, value, source, note], entry) in rows.iter().zip(config.entries()) {
        let line = format!("{key:key_columns$}  {value:value_columns$}  {source:source_columns$}");
        let line =
            if *entry.source == Source::Default { output.paint(Style::Dim, &line) } else { line };
        let note = if note.is_empty() {
            String::new()
        } else {
            format!("  {}", output.paint(Style::Warning, note))
        };
        text.push_str(format!("{line}{note}").trim_end());
        text.push('\n');
    }
    text.push_str(&reasons(config));
    text
}

fn cells(entry: Entry<'_>) -> [String; 4] {
    let text = entry.text();
    let text = if text.is_empty() { "[]" } else { &text };
    let note = entry.no_effect().map_or("", |_| "no effect in this version");
    [
        entry.key.path(),
        shortened(&printable(text), VALUE_COLUMNS).into_owned(),
        printable(&entry.source.to_string()).into_owned(),
        note.to_owned(),
    ]
}

/// Why keys have no effect, each reason once.
fn reasons(config: &Config) -> String {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for entry in config.entries() {
        let Some(reason) = entry.no_effect() else { continue };
        let path = entry.key.path();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, paths)) => paths.push(path),
            None => reasons.push((reason, vec![path])),
        }
    }
    let lines =
        reasons.iter().map(|(reason, paths)| format!("  {}: {reason}\n", subject(paths, config)));
    match reasons.len() {
        0 => String::new(),
        _ => format!("\nNo effect in this version:\n{}", lines.collect::<String>()),
    }
}

/// Paths as they are, but all of a section as `discovery.*`.
fn subject(paths: &[String], config: &Config) -> String {
    let section = paths[0].split('.').next().unwrap_or_default();
    let of_section = |path: &str| path.split('.').next() == Some(section);
    let all = config.entries().filter(|entry| of_section(&entry.key.path())).count();
    if paths.len() > 1 && paths.len() == all && paths.iter().all(|path| of_section(path)) {
        return format!("{section}.*");
    }
    paths.join(", ")
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Account {
    config: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    key: String,
    /// Bytes as a number, times in nanoseconds; see `unit`. Null for what is left open.
    value: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
    /// As it is written in a file or on a command line.
    text: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_effect: Option<&'static str>,
}

impl Row {
    fn of(entry: Entry<'_>) -> Self {
        let (value, unit) = match entry.value {
            Value::Flag(flag) => (json!(flag), None),
            Value::Count(count) => (json!(count), None),
            Value::Bytes(bytes) => (json!(bytes), Some("B")),
            Value::Time(time) => {
                (json!(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)), Some("ns"))
            }
            Value::Word(word) => (json!(word), None),
            Value::Text(text) => (json!(text), None),
            Value::Texts(texts) => (json!(texts), None),
            Value::Counts(counts) => (json!(counts), None),
            _ => (Json::Null, None),
        };
        Self {
            key: entry.key.path(),
            value,
            unit,
            text: entry.text(),
            source: entry.source.to_string(),
            no_effect: entry.no_effect(),
        }
    }
}

//! The `wireloom` command: publish, subscribe, measure, demonstrate.
//!
//! This file only chooses: what the words on the command line mean stands in [`args`], what each
//! command does in a module of its name. Exit statuses are the same everywhere: 0 all well, 1
//! something was refused, lost or not accounted for, 2 the command could not start or go on.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod ca;
mod config;
mod demo;
mod exchange;
mod explain;
mod jtag_bridge;
mod lines;
mod live;
mod members;
mod node;
mod output;
mod pace;
mod patience;
mod policy;
mod process;
mod publish;
mod rules;
mod schema;
mod stop;
mod subscribe;
mod text;
mod values;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Command, CommandLine};
use output::Output;
use wireloom::config::ConfigError;

/// Exit status of a command that could not start: wrong words, a port in use, no such file.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(told) => {
            // Help and version come this way too. Nobody reads them: nothing left to tell.
            let _ = told.print();
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(USAGE));
        }
    };
    let output = Output::detect();
    match begin(&command_line.command, &output) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => match error.chain().find_map(|cause| cause.downcast_ref::<ConfigError>()) {
            Some(faults) => config::refuse(faults, &output),
            None => {
                output.error(format_args!("{error:#}"));
                ExitCode::from(USAGE)
            }
        },
    }
}

fn begin(command: &Command, output: &Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Pub(args) => publish::run(args, output),
        Command::Sub(args) => subscribe::run(args, output),
        Command::Node(args) => node::run(args, output),
        Command::Members(args) => members::run(args, output),
        Command::JtagBridge(args) => jtag_bridge::run(args, output),
        Command::Bench(args) => bench::run(args, output),
        Command::Config(args) => config::run(&args.command, output),
        Command::Explain(args) => explain::run(args, output),
        Command::Policy(args) => policy::run(&args.command, output),
        Command::Rules(args) => rules::run(&args.command, output),
        Command::Ca(args) => ca::run(&args.command, output),
        Command::Schema(args) => schema::run(args, output),
        Command::Demo(args) => demo::run(args, output),
        Command::DemoNode(args) => demo::run_node(args, output),
        Command::Completions(args) => {
            let mut script = Vec::new();
            let mut command = CommandLine::command();
            clap_complete::generate(args.shell, &mut command, "wireloom", &mut script);
            output.write(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether whoever read our output has gone (`wireloom … | head`): not a fault.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

//! Summary and plots of the rows that the peers gave: reads `rows.jsonl` of a folder and writes
//! `summary.md` and the plots beside it. Measures nothing.
#![forbid(unsafe_code)]

mod bars;
mod canvas;
mod curves;
mod rows;
mod summary;
mod wireloom;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, Result};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"usage: peers-report FOLDER\n");
        return ExitCode::from(2);
    };
    match report(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let why = format!("peers-report: {why:#}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), why.as_bytes());
            ExitCode::from(2)
        }
    }
}

fn report(folder: &Path) -> Result<()> {
    let path = folder.join("rows.jsonl");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let gathered = rows::Gathered::read(&text)?;
    // How it was measured: written by the script that did.
    let about = fs::read_to_string(folder.join("about.txt")).unwrap_or_default();
    fs::write(folder.join("summary.md"), summary::page(&gathered, &about))?;
    bars::throughput(&gathered, &folder.join("throughput.svg"))?;
    bars::cpu(&gathered, &folder.join("cpu.svg"))?;
    curves::latency(&gathered, &folder.join("latency.svg"))
}

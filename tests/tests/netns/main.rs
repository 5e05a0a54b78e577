//! Faults on a real network: nodes as processes of their own in network namespaces joined by veth
//! pairs, which lose, cut, partition and throttle; every event numbered, every arrival in a file.
//!
//! Not a part of `cargo test`: it needs root and takes minutes of waiting. `scripts/netns` runs it.
//! This file chooses the cases, runs a few at a time and prints a line of figures for each.
//!
//! ```text
//!   case ── Topology: namespaces, veth pairs, nft rules
//!     └──── Fleet ── Process ══ words, lines of JSON ══ this program again, as a node (child)
//!                       └ what it received, in a file (journal) ── checked by the case
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "cases print figures, and nodes speak by standard output")]

mod attacker;
mod child;
mod control_group;
mod cuts;
mod datagrams;
mod deaths;
mod fleet;
mod hostile;
mod journal;
mod loss;
mod membership;
mod process;
mod resources;
mod topology;

use std::any::Any;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// No wait of a case is longer, but for those that say so.
const PATIENCE: Duration = Duration::from_secs(90);

/// Set by `scripts/netns`: the beginning of the names of this run's namespaces.
const PREFIX: &str = "WIRELOOM_NETNS";

/// What a case is told.
struct Run {
    /// The beginning of the names of its namespaces.
    prefix: String,
    /// Whether it takes its long form.
    long: bool,
    seed: u64,
}

/// One case by its name: it panics when what is promised does not hold, and returns its figures
/// otherwise.
type Case = (&'static str, fn(&Run) -> String);

/// What the words on the command line ask for.
struct Wanted {
    cases: Vec<Case>,
    long: bool,
    list: bool,
    seed: u64,
    jobs: usize,
}

fn all_cases() -> Vec<Case> {
    // Those that wait longest begin first.
    let groups = [membership::CASES, deaths::CASES, cuts::CASES, hostile::CASES, loss::CASES];
    let groups = groups.into_iter().chain([resources::CASES, datagrams::CASES]);
    groups.flatten().copied().collect()
}

fn wanted(words: &[String]) -> Result<Wanted, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut wanted =
        Wanted { cases: all_cases(), long: false, list: false, seed: now.as_secs(), jobs: 4 };
    let (mut names, mut words) = (Vec::new(), words.iter());
    while let Some(word) = words.next() {
        let mut number = |of: &str| {
            let number = words.next().and_then(|text| text.parse::<u64>().ok());
            number.ok_or_else(|| format!("{of} needs a number"))
        };
        match word.as_str() {
            "--long" => wanted.long = true,
            "--list" => wanted.list = true,
            "--seed" => wanted.seed = number("--seed")?,
            "--jobs" => wanted.jobs = usize::try_from(number("--jobs")?).unwrap_or(1).max(1),
            flag if flag.starts_with('-') => return Err(format!("no option {flag}")),
            name => names.push(name),
        }
    }
    for name in &names {
        if !wanted.cases.iter().any(|case| case.0.contains(name)) {
            return Err(format!("no case has {name} in its name; --list shows them"));
        }
    }
    let asked = |case: &Case| names.is_empty() || names.iter().any(|name| case.0.contains(name));
    wanted.cases.retain(asked);
    Ok(wanted)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("node") => return child::run(&words[1]),
        Some("attack") => return attacker::run(&words[1..]),
        _ => {}
    }
    let Ok(prefix) = std::env::var(PREFIX) else {
        println!("netns: skipped: scripts/netns runs it, as root");
        return ExitCode::SUCCESS;
    };
    let wanted = match wanted(&words) {
        Ok(wanted) => wanted,
        Err(wrong) => {
            println!("netns: {wrong}");
            return ExitCode::from(2);
        }
    };
    if wanted.list {
        wanted.cases.iter().for_each(|case| println!("{}", case.0));
        return ExitCode::SUCCESS;
    }
    run_all(&wanted, &prefix)
}

fn run_all(wanted: &Wanted, prefix: &str) -> ExitCode {
    // The words of a panic stand in the line of its case.
    std::panic::set_hook(Box::new(|panic| {
        panic.location().into_iter().for_each(|place| println!("panicked at {place}"));
    }));
    let form = if wanted.long { "long" } else { "short" };
    println!("seed {}, {form} form, {} at a time", wanted.seed, wanted.jobs);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((name, case)) = wanted.cases.get(index) else { return };
            let run =
                Run { prefix: format!("{prefix}-{index}"), long: wanted.long, seed: wanted.seed };
            let (begun, outcome) = (Instant::now(), catch_unwind(|| case(&run)));
            let took = begun.elapsed().as_secs_f64();
            match outcome {
                Ok(figures) => println!("ok      {name}: {figures}; {took:.1} s"),
                Err(panic) => {
                    let why = said(&*panic);
                    println!("FAILED  {name} after {took:.1} s, --seed {}: {why}", wanted.seed);
                    failed.lock().expect("no panic").push(*name);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..wanted.jobs.min(wanted.cases.len()) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().expect("no panic");
    let passed = wanted.cases.len() - failed.len();
    println!("test result: netns. {passed} passed; {} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The words of a panic.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

/// Waits until something holds.
fn eventually(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < until, "waited {patience:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// splitmix64: enough randomness for a test, the same for the same seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below the bound")
    }

    /// Milliseconds between two bounds.
    fn between_ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }
}

//! Shared by the tests that talk to the kernel: deadlines, and running a test inside a network
//! namespace or without a capability by starting this test program once more.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::process::Command;
use std::time::Duration;

use wireloom_dataplane::clock::Clock;

/// Set in the second run of a test.
const INSIDE: &str = "WIRELOOM_TEST_INSIDE";

/// Calls `step` until it says true; false when it has not within `patience`.
pub(crate) fn eventually(patience: Duration, mut step: impl FnMut() -> bool) -> bool {
    let clock = Clock::system();
    let end_ns = clock.now_ns() + u64::try_from(patience.as_nanos()).unwrap();
    loop {
        if step() {
            return true;
        }
        if clock.now_ns() > end_ns {
            return false;
        }
        std::thread::yield_now();
    }
}

/// How a second run of a test came out.
enum Outcome {
    Passed,
    Failed(String),
    Impossible(String),
}

fn run_again(test: &str, mut wrapper: Command, script: &str) -> Outcome {
    let program = std::env::current_exe().unwrap();
    let script = format!("{{ {script}; }} || exit 77; exec \"$0\" --exact \"$1\" --nocapture");
    wrapper.args(["sh", "-c", &script]).arg(program).arg(test).env(INSIDE, test);
    match wrapper.output() {
        Err(error) => Outcome::Impossible(format!("{wrapper:?}: {error}")),
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains("1 passed"), "no test named {test} ran: {text}");
            print!("{text}");
            Outcome::Passed
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            // 101 is a failed test; anything else is the wrapper's or the setup's refusal.
            if output.status.code() == Some(101) {
                Outcome::Failed(text)
            } else {
                Outcome::Impossible(text)
            }
        }
    }
}

fn again(test: &str, wrappers: &[&[&str]], script: &str) -> bool {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == test) {
        return true;
    }
    let mut reasons = Vec::new();
    for wrapper in wrappers {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]);
        match run_again(test, command, script) {
            Outcome::Passed => return false,
            Outcome::Failed(text) => panic!("inside {wrapper:?}:\n{text}"),
            Outcome::Impossible(why) => reasons.push(why.trim().to_owned()),
        }
    }
    println!("SKIPPED {test}: {}", reasons.join("; "));
    false
}

/// True inside a fresh network namespace prepared by the shell `script`. False outside, after the
/// namespace run passed (or was impossible here, and the reason printed): the caller returns.
pub(crate) fn inside_namespace(test: &str, script: &str) -> bool {
    again(test, &[&["unshare", "-n"], &["unshare", "-r", "-n"]], script)
}

/// True inside a run without CAP_NET_ADMIN and CAP_NET_BIND_SERVICE; else as [`inside_namespace`].
pub(crate) fn inside_unprivileged(test: &str) -> bool {
    let drop = "-net_admin,-net_bind_service";
    let wrappers: &[&[&str]] =
        &[&["setpriv", "--inh-caps", drop, "--bounding-set", drop], &["env"]];
    again(test, wrappers, "true")
}

//! Every mode of the load generator once, short, through the real command. The figures of a test
//! build mean nothing; that they add up does.
#![forbid(unsafe_code)]

use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// One run at a time: each takes two cores.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bench(words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireloom"));
    command.arg("bench").args(words.split(' ')).output().expect("the command was built")
}

/// Runs a mode and gives its figures; they must be of a sound run.
fn figures(words: &str) -> Value {
    let _turn = turn();
    let output = bench(&format!("{words} --json"));
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words}: {out}\n{err}");
    assert!(err.is_empty(), "nothing beside the figures without a terminal: {err}");
    let figures: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!(figures["corrupt"], 0, "{figures}");
    assert_eq!(figures["duplicated"], 0, "{figures}");
    assert_eq!(figures["ledger_balanced"], true, "{figures}");
    assert!(figures["machine"]["cores"].as_u64() >= Some(1), "{figures}");
    figures
}

fn number(figures: &Value, field: &str) -> f64 {
    let found = field.split('.').fold(figures, |value, name| &value[name]);
    found.as_f64().unwrap_or_else(|| panic!("{field} is {found} in {figures}"))
}

/// What a run over the network must say, whatever the machine.
fn accounted_for(figures: &Value) {
    let (published, delivered) = (number(figures, "published"), number(figures, "delivered"));
    assert!(number(figures, "delivered_per_s") > 0.0 && delivered > 0.0, "{figures}");
    assert!((number(figures, "lost") - (published - delivered)).abs() < 0.5, "{figures}");
    assert!((number(figures, "ledger.accepted") - published).abs() < 0.5, "{figures}");
    assert!((number(figures, "ledger.unaccounted")).abs() < 0.5, "{figures}");
    let ratio = number(figures, "delivered_per_s") / number(figures, "raw_ceiling_per_s");
    assert!((number(figures, "ratio_to_raw") - ratio).abs() < 0.001, "{figures}");
    assert!(number(figures, "cpu_s_per_million") > 0.0, "{figures}");
    for side in ["publisher", "receiver"] {
        let peak = number(figures, &format!("peak_rss_bytes.{side}"));
        assert!((500e3..100e6).contains(&peak), "{side}: {figures}");
    }
}

#[test]
fn udp_as_fast_as_it_goes() {
    let figures = figures("udp --duration 1s");
    accounted_for(&figures);
    assert_eq!(figures["payload_bytes"], 64);
    assert_eq!(figures["latency_us"], Value::Null);
    assert_eq!(figures["rate"], Value::Null);
}

#[test]
fn udp_at_a_rate() {
    let figures = figures("udp --rate 20k --duration 1s");
    accounted_for(&figures);
    let rate = number(&figures, "delivered_per_s");
    assert!((10e3..25e3).contains(&rate), "{figures}");
    let percentiles =
        ["p50", "p99", "p99_9", "max"].map(|p| number(&figures, &format!("latency_us.{p}")));
    assert!(percentiles.is_sorted() && percentiles[0] > 0.0, "{figures}");
    // Only the measured second counts, not the warm-up before it.
    assert!((10e3..21e3).contains(&number(&figures, "latency_us.count")), "{figures}");
}

#[test]
fn udp_driven_by_one_thread_a_side_at_a_rate() {
    let figures = figures("udp --rate 20k --idle spin --duration 500ms");
    accounted_for(&figures);
    assert!(number(&figures, "latency_us.count") > 0.0, "{figures}");
}

#[test]
fn udp_with_threads_as_fast_as_it_goes() {
    accounted_for(&figures("udp --idle adaptive --duration 500ms"));
}

#[test]
fn udp_with_lists_in_large_packets() {
    let figures = figures("udp --payload-bytes 1001 --packet-bytes 9000 --duration 500ms");
    accounted_for(&figures);
    assert_eq!(figures["payload_bytes"], 1008, "the exact size is told");
}

#[test]
fn udp_with_the_largest_event() {
    accounted_for(&figures("udp --payload-bytes 65000 --rate 500 --duration 500ms"));
}

#[test]
fn multicast_as_fast_as_it_goes() {
    accounted_for(&figures("multicast --duration 1s"));
}

#[test]
fn local_beside_other_types() {
    let figures = figures("local --types 50 --duration 1s");
    assert_eq!(figures["lost"], 0, "nothing is lost inside a process: {figures}");
    assert!(number(&figures, "delivered") > 1e3, "{figures}");
    assert_eq!(figures["raw_ceiling_per_s"], Value::Null);
}

#[test]
fn local_at_a_rate() {
    let figures = figures("local --rate 20k --duration 500ms");
    assert_eq!(figures["lost"], 0, "{figures}");
    assert!(number(&figures, "latency_us.p50") > 0.0, "{figures}");
}

#[test]
fn ring_beside_naive_loops() {
    let figures = figures("ring --duration 1s");
    assert_eq!(figures["lost"], 0, "{figures}");
    assert!(number(&figures, "delivered_per_s") > 0.0);
    for naive in ["sync_channel", "mutex_and_deque"] {
        assert!(number(&figures, &format!("naive_per_s.{naive}")) > 0.0, "{figures}");
    }
}

#[test]
fn idle_node() {
    let figures = figures("idle --duration 1s");
    assert!(number(&figures, "cpu_percent.node") < 25.0, "it does not spin: {figures}");
    assert_eq!(figures["delivered"], 0);
}

#[test]
fn a_person_gets_a_table() {
    let _turn = turn();
    let output = bench("udp --duration 100ms");
    let table = String::from_utf8_lossy(&output.stdout);
    for word in ["udp for", "delivered", "bare loop", "peak memory, receiver", "balanced"] {
        assert!(table.contains(word), "{word:?} in\n{table}");
    }
    assert!(!table.contains('\x1b'), "no colours without a terminal");
}

#[test]
fn wrong_words_are_told_and_end_with_2() {
    for (words, told) in [
        ("udp --payload-bytes 8", "try 32"),
        ("udp --cores 77", "not available"),
        ("peer nonsense", "started by"),
        ("mutlicast", "multicast"),
    ] {
        let output = bench(words);
        assert_eq!(output.status.code(), Some(2), "{words}");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(err.contains(told), "{words}: {err}");
    }
}

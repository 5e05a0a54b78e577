//! One short run of each raw configuration: two processes, checked messages, a row that adds up,
//! and nothing left behind.
#![forbid(unsafe_code)]

use std::process::{Command, Output};

use serde_json::Value;

fn peer(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer-raw"));
    command.args(arguments).output().expect("the program was built for this test")
}

fn row(arguments: &[&str]) -> Value {
    let output = peer(arguments);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("one row of JSON")
}

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("no {field} in {row}"))
}

#[test]
fn throughput_rows_add_up() {
    for config in ["udp-spin", "udp", "tcp-batched", "tcp"] {
        let row = row(&["throughput", "--seconds", "0.2", "--config", config, "--json"]);
        let (published, delivered) = (number(&row, "published"), number(&row, "delivered"));
        assert!(delivered > 1_000, "{row}");
        assert_eq!(published, delivered + number(&row, "lost"), "{row}");
        assert_eq!(number(&row, "duplicated") + number(&row, "corrupt"), 0, "{row}");
        if config.starts_with("tcp") {
            assert_eq!(number(&row, "lost"), 0, "{row}");
        }
        assert!(row["delivered_per_s"].as_f64() > Some(1_000.0), "{row}");
        assert!(row["cpu_us_per_message"].as_f64() > Some(0.0), "{row}");
        for process in ["publisher", "receiver"] {
            assert!(row["peak_rss_bytes"][process].as_u64() > Some(500_000), "{row}");
        }
    }
}

#[test]
fn every_ping_comes_back() {
    for config in ["udp-spin", "udp", "tcp-spin", "tcp"] {
        let row = row(&["pingpong", "--round-trips", "300", "--config", config, "--json"]);
        let (delivered, lost) = (number(&row, "delivered"), number(&row, "lost"));
        assert_eq!(delivered + lost, number(&row, "published"), "{row}");
        assert!(delivered > 250 && delivered > 10 * lost, "{row}");
        assert_eq!(number(&row, "duplicated") + number(&row, "corrupt"), 0, "{row}");
        let times = &row["round_trip_us"];
        assert!(times["p50"].as_f64() > Some(0.1), "{row}");
        assert!(times["p50"].as_f64() <= times["p99"].as_f64(), "{row}");
        assert!(times["p99"].as_f64() <= times["max"].as_f64(), "{row}");
    }
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let output = peer(&["throughput", "--config", "pigeon"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no throughput `pigeon`"));
}

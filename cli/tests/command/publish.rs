//! `wireloom pub`: what becomes of lines, good and bad, and what is told about them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::program::{Scratch, Subscriber, account, run, run_with, text, wireloom};

/// A few hundred lines of odd content, each valid JSON.
fn odd_lines() -> Vec<String> {
    let mut lines = vec![
        String::from("\"\""),
        "0".into(),
        " {\"spaces\" :\t[ 1 , 2 ] } ".into(),
        "\"größe 🧵 \u{2028}\u{9b}\u{7f}\"".into(),
        "\"\\u0000\\ud83e\\uddf5\"".into(),
        "1e-300".into(),
        "{\"a\":1,\"a\":2}".into(),
        format!("\"{}\"", "x".repeat(1_298)),
        format!("\"{}\"", "é".repeat(20_000)),
        "[".repeat(128) + &"]".repeat(128),
        "null\r".into(),
    ];
    for index in 0..400 {
        lines.push(format!("{{\"index\":{index},\"text\":\"{}\"}}", "y".repeat(index * 3)));
    }
    lines
}

#[test]
fn reliable_lines_are_waited_for_and_said_to_be_delivered() {
    let lines = odd_lines();
    let count = lines.len().to_string();
    let input = lines.join("\n") + "\n";
    let words = ["--count", &count, "--timeout", "30s", "--format", "payload"];
    let subscriber = Subscriber::start(&words);
    let target = subscriber.target().replace("udp://", "tcp://");
    let words = ["pub", "--to", &target, "--type", "odd", "--deadline", "20s"];
    let published = run_with(&words, input.as_bytes());
    let told = text(&published.stderr);
    assert_eq!(told, format!("{{\"accepted\":{count},\"refused\":{{}},\"delivered\":{count}}}\n"));
    assert!(published.status.success());
    let ended = subscriber.end();
    assert_eq!(text(&ended.stdout), input);
    assert_eq!(ended.ledger()["balanced"], true, "{}", ended.ledger());
}

#[test]
fn what_nobody_takes_is_undelivered_and_an_exit_code() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = format!("tcp://127.0.0.1:{port}");
    let words = ["pub", "--to", &target, "--type", "odd", "--deadline", "200ms"];
    let begin = Instant::now();
    let published = run_with(&words, b"1\n2\n");
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    assert_eq!(published.status.code(), Some(1));
    let told = text(&published.stderr);
    assert!(told.contains(r#""delivered":0,"undelivered":{"#), "{told}");
}

#[test]
fn odd_lines_come_out_as_they_went_in() {
    let lines = odd_lines();
    let count = lines.len().to_string();
    let input = lines.join("\n") + "\n";
    let file = Scratch::new("odd.jsonl", input.as_bytes());
    for from_file in [true, false] {
        let words = ["--count", &count, "--timeout", "30s", "--format", "payload"];
        let subscriber = Subscriber::start(&words);
        let target = subscriber.target();
        let mut words = vec!["pub", "--to", &target, "--type", "odd", "--rate", "2000"];
        let published = if from_file {
            words.push(file.path());
            run(&words)
        } else {
            run_with(&words, input.as_bytes())
        };
        let told = text(&published.stderr);
        assert_eq!(told, format!("{{\"accepted\":{count},\"refused\":{{}}}}\n"));
        assert!(published.status.success() && published.stdout.is_empty());
        let ended = subscriber.end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(text(&ended.stdout), input);
        let ledger = ended.ledger();
        assert_eq!(ledger["balanced"], true, "{ledger}");
        assert_eq!(ledger["printed"], lines.len(), "{ledger}");
        assert_eq!(ledger["received"]["lost"], 0, "{ledger}");
    }
}

#[test]
fn raw_lines_are_text_whatever_is_in_them() {
    let subscriber =
        Subscriber::start(&["--count", "5", "--timeout", "30s", "--format", "payload"]);
    let input = "not JSON\n\n{\"half\n\"quoted\"\ttab \\ \u{1}\u{9b}\r\nlast, without an end";
    let words = ["pub", "--raw", "--to", &subscriber.target(), "--type", "log"];
    let published = run_with(&words, input.as_bytes());
    assert!(published.status.success(), "{}", text(&published.stderr));
    let ended = subscriber.end();
    let lines: Vec<String> = text(&ended.stdout)
        .lines()
        .map(|line| serde_json::from_str::<String>(line).expect("a JSON string"))
        .collect();
    assert_eq!(lines, input.split('\n').collect::<Vec<_>>());
}

#[test]
fn a_bad_line_is_told_with_its_place_and_the_rest_goes_on() {
    let subscriber =
        Subscriber::start(&["--count", "3", "--timeout", "30s", "--format", "payload"]);
    let long = format!("\"{}\"", "x".repeat(70_000));
    let mut input = format!("1\nnope\n\n{{\"ö\":}}\n2\n{long}\n\"ok \u{1}\"\n").into_bytes();
    input.extend_from_slice(b"\"ab\xffc\"\n");
    input.extend_from_slice(("[".repeat(129) + &"]".repeat(129) + "\n3").as_bytes());
    let file = Scratch::new("bad.jsonl", &input);
    let published = run(&["pub", "--to", &subscriber.target(), "--type", "a", file.path()]);
    assert_eq!(published.status.code(), Some(1));
    let told = text(&published.stderr);
    let name = file.path();
    for (place, reason) in [
        ("2:2", "not JSON"),
        ("3:1", "an empty line is not JSON"),
        ("4:6", "expected value"),
        ("6:1", "does not fit"),
        ("7:5", "control character"),
        ("8:4", "not UTF-8 (byte 0xff)"),
        ("9:1", "nests deeper than 128"),
    ] {
        let begin = format!("{name}:{place}: ");
        let line = told.lines().find(|line| line.starts_with(&begin));
        assert!(line.is_some_and(|line| line.contains(reason)), "{begin}… {reason} in {told}");
    }
    assert_eq!(told.lines().count(), 8, "{told}");
    let refused = json!({"malformed": 4, "too_large": 1, "invalid_utf8": 1, "too_deep": 1});
    assert_eq!(account(&told), json!({"accepted": 3, "refused": refused}));
    assert_eq!(text(&subscriber.end().stdout), "1\n2\n3\n");
}

#[test]
fn a_line_that_is_not_as_its_schema_says_is_told_with_its_place_in_the_value() {
    let subscriber =
        Subscriber::start(&["--count", "1", "--timeout", "30s", "--format", "payload"]);
    let schema = br#"{"properties":{"celsius":{"type":"number"}}}"#;
    let schema = Scratch::new("reading.schema.json", schema);
    let words = ["pub", "--to", &subscriber.target(), "--type", "reading"];
    let lines = b"{\"celsius\":\"warm\"}\n{\"celsius\":20}\n";
    let published = run_with(&[&words[..], &["--schema", schema.path()]].concat(), lines);
    let told = text(&published.stderr);
    assert_eq!(published.status.code(), Some(1), "{told}");
    let begin = "stdin:1:1: Schema validation failed at /celsius: ";
    assert!(told.starts_with(begin), "{told}");
    let refused = json!({"schema_validation_failed": 1});
    assert_eq!(account(&told), json!({"accepted": 1, "refused": refused}));
    assert_eq!(text(&subscriber.end().stdout), "{\"celsius\":20}\n");
    let long = " ".repeat(70_000);
    for wrong in [&br#"{"$ref":"https://example.com"}"#[..], long.as_bytes(), b"{"] {
        let schema = Scratch::new("wrong.schema.json", wrong);
        let published = run_with(&[&words[..], &["--schema", schema.path()]].concat(), lines);
        let told = text(&published.stderr);
        assert_eq!(published.status.code(), Some(2), "{told}");
        assert!(told.starts_with("error: cannot use the schema"), "{told}");
    }
}

#[test]
fn a_line_too_long_to_keep_is_refused_and_the_next_one_goes_on() {
    let subscriber =
        Subscriber::start(&["--count", "2", "--timeout", "30s", "--format", "payload"]);
    let mut input = b"1\n\"".to_vec();
    input.resize(input.len() + (65 << 20), b'x');
    input.extend_from_slice(b"\"\n2\n");
    let words = ["pub", "--to", &subscriber.target(), "--type", "a", "-"];
    let published = run_with(&words, &input);
    let told = text(&published.stderr);
    assert!(told.starts_with("stdin:2:1: the line has 68,157,442 bytes"), "{told}");
    assert_eq!(account(&told), json!({"accepted": 2, "refused": {"too_large": 1}}));
    assert_eq!(text(&subscriber.end().stdout), "1\n2\n");
}

#[test]
fn a_rate_is_kept_on_average() {
    let input = "1\n".repeat(200);
    let begin = Instant::now();
    let words = ["pub", "--to", "udp://127.0.0.1:9", "--type", "a", "--rate", "400"];
    assert!(run_with(&words, input.as_bytes()).status.success());
    let took = begin.elapsed();
    // 199 intervals of 2.5 ms; a busy machine may take longer, but none less.
    assert!(took >= Duration::from_millis(490), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn an_empty_input_is_no_event() {
    let published = run_with(&["pub", "--to", "udp://127.0.0.1:9", "--type", "a"], b"");
    assert!(published.status.success());
    assert_eq!(text(&published.stderr), "{\"accepted\":0,\"refused\":{}}\n");
}

#[test]
fn a_signal_ends_it_with_its_account_although_the_input_goes_on() {
    let subscriber = Subscriber::start(&["--count", "1", "--timeout", "30s"]);
    let mut command = wireloom(&["pub", "--to", &subscriber.target(), "--type", "a"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, b"1\n2").expect("it reads");
    // Its first line has arrived: it listens for signals.
    assert_eq!(subscriber.end().code, Some(0));
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    assert_eq!(account(&text(&output.stderr))["refused"], json!({}));
    drop(stdin);
}

#[test]
fn what_cannot_be_opened_is_told_in_one_line() {
    for file in ["/nonexistent/events.jsonl", "/"] {
        let published = run(&["pub", "--to", "udp://127.0.0.1:9", "--type", "a", file]);
        let told = text(&published.stderr);
        assert_eq!(published.status.code(), Some(2), "{told}");
        assert!(told.starts_with("error: cannot read /") && told.lines().count() == 1, "{told}");
    }
}

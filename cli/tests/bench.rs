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

/// The share of a ceiling: told of a run as fast as it goes, and of that alone.
fn share_told(figures: &Value, (ceiling, ratio): (&str, &str)) {
    let ceiling = number(figures, ceiling);
    if figures["rate"].is_null() {
        let expected = number(figures, "delivered_per_s") / ceiling;
        assert!((number(figures, ratio) - expected).abs() < 0.001, "{ratio}: {figures}");
    } else {
        assert!(figures[ratio].is_null() && ceiling > 0.0, "{ratio}: {figures}");
    }
}

/// What a run over the network must say, whatever the machine.
fn accounted_for(figures: &Value) {
    let (published, delivered) = (number(figures, "published"), number(figures, "delivered"));
    assert!(number(figures, "delivered_per_s") > 0.0 && delivered > 0.0, "{figures}");
    assert!((number(figures, "lost") - (published - delivered)).abs() < 0.5, "{figures}");
    assert!((number(figures, "ledger.accepted") - published).abs() < 0.5, "{figures}");
    assert!((number(figures, "ledger.unaccounted")).abs() < 0.5, "{figures}");
    for (ceiling, ratio) in
        [("raw_ceiling_per_s", "ratio_to_raw"), ("checked_ceiling_per_s", "ratio_to_checked")]
    {
        share_told(figures, (ceiling, ratio));
    }
    assert_eq!(figures["counters"]["checked_corrupt"], 0, "{figures}");
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

/// What a run of reliable events must say.
fn reliably_accounted_for(figures: &Value) {
    let published = number(figures, "published");
    assert!(published > 1e3 && number(figures, "delivered_per_s") > 0.0, "{figures}");
    for all in ["delivered", "acknowledged", "ledger.accepted", "ledger.sent", "ledger.handled"] {
        assert!((number(figures, all) - published).abs() < 0.5, "{all}: {figures}");
    }
    for none in ["lost", "late", "ledger.shed", "ledger.unaccounted"] {
        assert!(number(figures, none).abs() < 0.5, "{none}: {figures}");
    }
    assert!(number(figures, "acknowledged_per_s") > 0.0, "{figures}");
    share_told(figures, ("raw_ceiling_per_s", "ratio_to_raw"));
    assert_eq!(figures["checked_ceiling_per_s"], Value::Null, "{figures}");
}

#[test]
fn tcp_as_fast_as_it_goes() {
    let figures = figures("tcp --duration 1s");
    reliably_accounted_for(&figures);
    assert_eq!((&figures["bench"], &figures["payload_bytes"]), (&"tcp".into(), &64.into()));
}

#[test]
fn tcp_with_threads_and_lists_at_a_rate() {
    let figures = figures("tcp --rate 10k --payload-bytes 1000 --duration 500ms");
    reliably_accounted_for(&figures);
    assert!((2e3..6e3).contains(&timed(&figures, "latency_us")), "{figures}");
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

/// Percentiles are there, in order and of this many times.
fn timed(figures: &Value, field: &str) -> f64 {
    let percentiles =
        ["p50", "p99", "p99_9", "max"].map(|p| number(figures, &format!("{field}.{p}")));
    assert!(percentiles.is_sorted() && percentiles[0] > 0.0, "{field}: {figures}");
    number(figures, &format!("{field}.count"))
}

fn round_trips(words: &str) -> Value {
    let figures = figures(words);
    let count = timed(&figures, "round_trip_us");
    assert!(count > 10.0 && timed(&figures, "raw_round_trip_us") > 10.0, "{figures}");
    assert!((number(&figures, "count") - count).abs() < 0.5, "{figures}");
    for slices in ["slice_p50_us", "raw_slice_p50_us"] {
        assert_eq!(figures[slices].as_array().map(Vec::len), Some(5), "{figures}");
    }
    let ratio = number(&figures, "round_trip_us.p50") / number(&figures, "raw_round_trip_us.p50");
    assert!((number(&figures, "ratio_p50") - ratio).abs() < 0.001, "{figures}");
    // A busy machine may hold up an answer; one in ten is a fault.
    for lost in ["lost", "raw_lost"] {
        assert!(number(&figures, lost) * 10.0 <= count, "{lost}: {figures}");
    }
    // Every event begun came back or is lost; the warm-up's are in the ledgers too.
    for way in ["ledger_there", "ledger_back"] {
        assert!(number(&figures, &format!("{way}.accepted")) >= count, "{figures}");
        assert!(number(&figures, &format!("{way}.unaccounted")).abs() < 0.5, "{figures}");
    }
    figures
}

#[test]
fn pingpong_spinning() {
    let figures = round_trips("pingpong --duration 500ms");
    assert_eq!((&figures["idle"], &figures["payload_bytes"]), (&"spin".into(), &64.into()));
    assert_eq!(figures["datagram_bytes"], 144);
}

#[test]
fn pingpong_of_reliable_events() {
    let figures = round_trips("pingpong --reliable --duration 500ms");
    assert_eq!((&figures["transport"], &figures["lost"]), (&"tcp".into(), &0.into()));
    round_trips("pingpong --reliable --idle adaptive --payload-bytes 65000 --duration 100ms");
}

#[test]
fn pingpong_with_workers_that_park() {
    let figures = round_trips("pingpong --idle adaptive --payload-bytes 1000 --duration 500ms");
    assert_eq!(figures["idle"], "adaptive");
    assert_eq!(figures["payload_bytes"], 1000);
}

#[test]
fn priority_behind_bulk_and_alone() {
    let figures = figures("priority --duration 500ms");
    let timed = timed(&figures, "idle_us") + timed(&figures, "loaded_us");
    let delivered = number(&figures, "critical_delivered");
    assert!(timed > 20.0 && timed <= delivered, "{figures}");
    assert!(delivered <= number(&figures, "critical_published"), "{figures}");
    assert!(number(&figures, "bulk_per_s") > 1e3, "{figures}");
    let bound = 2.0 * number(&figures, "p99_idle_us") + number(&figures, "gso_send_us");
    assert!((number(&figures, "bound_us") - bound).abs() < 0.01, "{figures}");
    let within = number(&figures, "p99_loaded_us") <= number(&figures, "bound_us");
    assert_eq!(figures["within_bound"], within, "{figures}");
}

#[test]
fn isolation_of_a_frozen_subscribers_neighbours() {
    let figures = figures("isolation --duration 400ms");
    let rows = figures["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 5);
    for row in rows {
        let published = number(row, "published");
        assert!(published > 1_000.0 && number(row, "lost") < 0.5, "{row}");
        assert!((number(row, "delivered") - published).abs() < 0.5, "{row}");
        assert!(timed(row, "alive_us") + timed(row, "frozen_us") > 1_000.0, "{row}");
        // What it took and what it was told it missed is everything, unless it was cut off.
        let (taken, told) = (number(row, "left_alone_taken"), number(row, "left_alone_told_shed"));
        if row["policy"] == "disconnect" {
            assert!(taken < published && told < 0.5, "{row}");
        } else {
            assert!(told > 0.0 && (taken + told - published).abs() < 0.5, "{row}");
        }
        let change = number(row, "p99_frozen_us") / number(row, "p99_alive_us") - 1.0;
        assert!((number(row, "change_percent") - 100.0 * change).abs() < 0.1, "{row}");
        assert_eq!(row["within_bound"], number(row, "change_percent") <= 5.0, "{row}");
    }
}

#[test]
fn frontier_with_its_plot() {
    let file = std::env::temp_dir().join(format!("wireloom-frontier-{}.svg", std::process::id()));
    let words = format!("frontier --rate 20k --duration 100ms --svg {}", file.display());
    let figures = figures(&words);
    let points = figures["points"].as_array().expect("points");
    assert_eq!(points.len(), 8);
    for point in points {
        for side in ["product", "raw"] {
            assert!(timed(&point[side], "latency_us") > 10.0, "{point}");
            for cost in ["publisher_cpu_percent", "receiver_cpu_percent", "receiver_wakes_per_s"] {
                assert!(number(&point[side], cost) > 0.0, "{side} {cost}: {point}");
            }
        }
        let most = 1e6 / number(point, "interval_us");
        let wakes = number(point, "product.publisher_wakes_per_s");
        assert!(wakes > 0.0 && wakes < most * 1.2 + 50.0, "{point}");
    }
    // An event waits for the flush: half an interval on average, whatever the machine.
    let p50 = |index: usize| number(&points[index], "product.latency_us.p50");
    assert!(p50(7) > 1_000.0 && p50(7) > p50(0), "{figures}");
    assert!((number(&figures, "ledger.accepted") - number(&figures, "published")).abs() < 0.5);
    let svg = std::fs::read_to_string(&file).expect("the plot");
    let _ = std::fs::remove_file(&file);
    assert_eq!(svg.matches("<polyline").count(), 4, "{svg}");
}

#[test]
fn fanout_three_ways() {
    let figures = figures("fanout --subscribers 3 --duration 100ms");
    let rows = figures["rows"].as_array().expect("rows");
    let counts: Vec<_> = rows.iter().map(|row| row["subscribers"].as_u64()).collect();
    assert_eq!(counts, [1, 2, 3].map(Some).repeat(3));
    let mut due = 0.0;
    for row in rows {
        let (events, calls) = (number(row, "events"), number(row, "deliveries_due"));
        assert!((events * number(row, "subscribers") - calls).abs() < 0.5, "{row}");
        for cost in ["sender_ns_per_event", "receiver_ns_per_delivery", "deliveries_per_s"] {
            assert!(number(row, cost) > 0.0, "{cost}: {row}");
        }
        due += calls;
        let is_group = row["way"] == "multicast";
        assert_eq!(row["raw_cpu_ns_per_event"].is_number(), is_group, "{row}");
        assert!(number(row, "sender_cpu_ns_per_event") > 0.0, "{row}");
        // One send holds a round of 128 events, however many members a group has; each unicast
        // target has one of its own. A marker may come between.
        let targets = if row["way"] == "unicast" { number(row, "subscribers") } else { 1.0 };
        let calls = number(row, "calls_per_event") * 128.0 / targets;
        assert!((0.99..2.0).contains(&calls), "{calls} a round: {row}");
        assert!(number(row, "datagrams_per_event") >= number(row, "calls_per_event"), "{row}");
        let bytes = number(row, "bytes_per_event") / targets;
        assert!((96.0..105.0).contains(&bytes), "{bytes}: {row}");
    }
    let growth = |side: &str| number(&figures, &format!("group_growth.{side}"));
    assert!(growth("sender") > 0.0 && growth("raw") > 0.0, "{figures}");
    // The warm-up of each row is in the account and not in the rows.
    assert!(due > 0.0 && due <= number(&figures, "published"), "{figures}");
    assert!(number(&figures, "lost") < number(&figures, "published") / 2.0, "{figures}");
    for way in ["handlers", "unicast", "multicast"] {
        number(&figures, &format!("slopes.{way}.sender_ns_per_subscriber"));
    }
}

#[test]
fn scale_of_publishers_types_and_subscribers() {
    let figures = figures("scale --duration 20ms");
    let rows = figures["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 12);
    for row in rows {
        let kind = row["kind"].as_str().expect("a kind");
        let first = rows.iter().find(|other| other["kind"] == kind).expect("this one at least");
        let ratio = number(row, "ns_per_event") / number(first, "ns_per_event");
        assert!((number(row, "ratio") - ratio).abs() < 0.01, "{row}");
        assert_eq!(row["slices_ns_per_event"].as_array().map(Vec::len), Some(5), "{row}");
        assert!(number(row, "ns_per_event") > 0.0 && figures["flat"][kind].is_boolean(), "{row}");
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
    for (words, parts) in [
        ("pingpong --duration 50ms", ["round trip", "raw, same packets", "product by raw"]),
        ("tcp --duration 50ms", ["acknowledged", "out of order", "% of it)"]),
        ("tcp --rate 5k --duration 50ms", ["tcp for", "acknowledged", "(as fast as it goes, not"]),
        ("priority --duration 50ms", ["critical, behind bulk", "bound of the p99", "GSO send"]),
        ("isolation --only block --duration 100ms", ["block", "frozen p50", "p99 changes"]),
        ("frontier --duration 20ms", ["250 µs", "4 ms", "p99 < 1 ms up to"]),
        ("fanout --subscribers 1 --duration 10ms", ["handlers", "unicast", "multicast"]),
        ("scale --duration 10ms", ["publishers", "1,000", "subscribers"]),
    ] {
        let output = bench(words);
        let table = String::from_utf8_lossy(&output.stdout);
        for part in parts.into_iter().chain(["machine", "balanced"]) {
            assert!(table.contains(part), "{words}: {part:?} in\n{table}");
        }
    }
}

#[test]
fn wrong_words_are_told_and_end_with_2() {
    for (words, told) in [
        ("udp --payload-bytes 8", "try 32"),
        ("udp --cores 77", "not available"),
        ("peer nonsense", "started by"),
        ("tcp --packet-bytes 1400", "leave it out"),
        ("mutlicast", "multicast"),
        ("pingpong --payload-bytes 70000", "try 65000"),
        ("pingpong --idle snooze", "adaptive"),
        ("priority --duration 1ms", "try 1s"),
        ("frontier --rate 0", "above 0"),
        ("frontier --rate 20k --duration 10ms --svg /no/such/folder/x.svg", "cannot write"),
        ("fanout --subscribers 101", "1..=100"),
        ("fanout --only anycast", "multicast"),
        ("scale --cores 99", "not available"),
    ] {
        let output = bench(words);
        assert_eq!(output.status.code(), Some(2), "{words}");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(err.contains(told), "{words}: {err}");
    }
}

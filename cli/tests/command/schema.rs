//! `wireloom schema`.

use serde_json::Value;
use wireloom::Event as _;
use wireloom::events::{ErrorReport, Heartbeat, SystemReady, codecs};

use crate::program::{run, text};

#[test]
fn the_list_has_every_type_with_what_frames_carry_of_it() {
    let listed = run(&["schema"]);
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed.stderr));
    let table = text(&listed.stdout);
    let rows: Vec<Vec<&str>> =
        table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), codecs().len());
    let row = |name: &str| rows.iter().find(|row| row[0] == name).expect("listed");
    let hex = format!("{:08x}", ErrorReport::FINGERPRINT32.0);
    assert_eq!(*row("error"), ["error", "1", "critical", hex.as_str()]);
    assert_eq!(row("system-ready")[4], SystemReady::MULTICAST.expect("a group"));
}

#[test]
fn a_schema_describes_the_json_of_its_type() {
    for codec in codecs() {
        let shown = run(&["schema", codec.type_name()]);
        assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
        let schema: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
        assert_eq!(schema["$id"], format!("wireloom:{}:1", codec.type_name()));
        assert_eq!(schema["type"], "object");
    }
    let shown = run(&["schema", "heartbeat"]);
    let schema: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let heartbeat = Heartbeat::sample("a", 1).expect("/proc");
    let Value::Object(object) = serde_json::to_value(&heartbeat).expect("JSON") else {
        panic!("an object")
    };
    let properties = schema["properties"].as_object().expect("properties");
    assert!(object.keys().eq(properties.keys()), "{properties:?}");
    assert_eq!(properties["services"]["type"], "array");
    assert!(
        properties["unix_ms"]["description"]
            .as_str()
            .is_some_and(|text| text.contains("ms") || text.contains("milliseconds"))
    );
}

#[test]
fn the_fields_are_those_of_the_archive() {
    let shown = text(&run(&["schema", "performance-metric", "--fields"]).stdout);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines,
        [
            "node: string",
            "name: string",
            "value: f64",
            "unit: string",
            "timestamp_ns: u64",
            "labels: btree-map<string, string>",
        ]
    );
}

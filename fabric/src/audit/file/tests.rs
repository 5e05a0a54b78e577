//! What stands in the file: bounded, for its owner alone, and nothing that a terminal obeys.

use super::*;

/// A folder of its own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wireloom-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn lines_of(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).expect("it is there");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("{{\"number\":{number}}}"))
}

#[test]
fn a_second_has_a_bounded_number_of_lines_and_tells_how_many_more_there_were() {
    let folder = Folder::new("audit-rate");
    let (mut log, begun) = (AuditFile::open(&folder.log()).expect("made"), Instant::now());
    log.append(numbered(250), begun);
    log.append(numbered(7), begun + Duration::from_millis(900));
    let lines = lines_of(&folder.log());
    assert_eq!(lines.len(), AUDIT_LINES_PER_SECOND);
    assert_eq!(lines[98], serde_json::json!({ "number": 98 }));
    assert_eq!(lines[99], serde_json::json!({ "decision": "left_out", "lines": 151 }));
    log.append(numbered(1), begun + Duration::from_millis(1_100));
    let lines = lines_of(&folder.log());
    assert_eq!(lines.len(), AUDIT_LINES_PER_SECOND + 2);
    assert_eq!(lines[101], serde_json::json!({ "decision": "left_out", "lines": 7 }));
}

#[test]
fn it_is_for_its_owner_alone_and_as_large_as_it_may_be_with_one_before_it() {
    let folder = Folder::new("audit-size");
    std::fs::write(folder.log(), "{}\n").expect("written");
    std::fs::set_permissions(folder.log(), Permissions::from_mode(0o644)).expect("its owner");
    let mut log = AuditFile::open(&folder.log()).expect("opened");
    assert_eq!((log.bytes_max, log.bytes), (8 << 20, 3), "what stands there already counts");
    log.bytes_max = 1_000;
    let mut now = Instant::now();
    for _ in 0..10 {
        log.append(numbered(50), now);
        now += Duration::from_secs(2);
    }
    let before = folder.0.join("audit.jsonl.1");
    for path in [&folder.log(), &before] {
        let there = std::fs::metadata(path).expect("it is there");
        assert!(there.len() <= 1_000, "{} bytes", there.len());
        assert_eq!(there.mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(&folder.0).expect("a folder").count(), 2, "one before it");
    let lines = lines_of(&before).into_iter().chain(lines_of(&folder.log()));
    assert_eq!(lines.last(), Some(serde_json::json!({ "number": 49 })));
    // Somebody takes it away: it is made again.
    std::fs::remove_file(folder.log()).expect("it was there");
    log.append(numbered(1), now);
    assert_eq!(lines_of(&folder.log()).len(), 1);
}

#[test]
fn what_cannot_be_written_is_counted_and_told_when_it_can() {
    let folder = Folder::new("audit-full");
    let mut log = AuditFile::open(&folder.log()).expect("made");
    std::fs::remove_file(folder.log()).expect("it was there");
    std::fs::create_dir(folder.log()).expect("in its place");
    log.append(numbered(3), Instant::now());
    assert_eq!(log.unwritten(), 3);
    std::fs::remove_dir(folder.log()).expect("it was there");
    log.append(numbered(1), Instant::now());
    let lines = lines_of(&folder.log());
    assert_eq!(lines[0], serde_json::json!({ "decision": "unwritten", "lines": 3 }));
    assert_eq!((lines.len(), log.unwritten()), (2, 0));
    let link = folder.0.join("link");
    std::os::unix::fs::symlink(folder.log(), &link).expect("a link");
    for wrong in [&link, &folder.0] {
        assert!(AuditFile::open(wrong).is_err(), "{}", wrong.display());
    }
}

#[test]
fn a_line_that_was_written_in_part_spoils_none_behind_it() {
    let folder = Folder::new("audit-torn");
    let mut log = AuditFile::open(&folder.log()).expect("made");
    log.file.write_all(b"{\"numb").expect("as much as the disk took");
    log.is_torn = true;
    log.append(numbered(2), Instant::now());
    let text = std::fs::read_to_string(folder.log()).expect("it is there");
    assert_eq!(text, "{\"numb\n{\"number\":0}\n{\"number\":1}\n");
}

#[test]
fn no_name_forges_a_line_or_reaches_a_terminal() {
    let folder = Folder::new("audit-names");
    let mut log = AuditFile::open(&folder.log()).expect("made");
    let names = [
        "a\n{\"decision\":\"started\"}",
        "a\x1b[2J\x1b]0;title\x07",
        "a\x7f\u{9b}2J\u{85}\u{2028}",
        "p\u{430}y \u{202e}gpj.exe",
        "quoted \" and \\ and \u{1f9f5}",
        "a\0b\r",
    ];
    log.append(names.map(|name| serde_json::json!({ "node": name }).to_string()), Instant::now());
    let bytes = std::fs::read(folder.log()).expect("it is there");
    let is_plain = |byte: &u8| *byte == b'\n' || (0x20..0x7f).contains(byte);
    assert!(bytes.iter().all(is_plain), "{}", String::from_utf8_lossy(&bytes));
    let told: Vec<String> = lines_of(&folder.log())
        .iter()
        .map(|line| line["node"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(told, names, "a line each, and none of them changed");
}

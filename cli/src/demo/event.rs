//! What travels in the demonstration, and how a receiver checks that it came whole.

use std::hash::{DefaultHasher, Hasher as _};

use wireloom::events::Heartbeat;
use wireloom::events::heartbeat::ArchivedHeartbeat;
use wireloom::{Envelope, Event};

use crate::text;

/// One line of the file: numbered, and with a hash of its text, so that the receiver knows what
/// came twice, out of order or changed.
#[derive(Debug, Default, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "demo-line")]
pub(super) struct DemoLine {
    /// Dense from 0.
    pub(super) number: u64,
    /// [`hash`] of the text.
    pub(super) hash: u64,
    /// The line, without its end.
    pub(super) text: String,
}

/// A hash of a text; both ends are the same program, so any will do.
pub(super) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// An event whose content a listener can check and show.
pub(super) trait Checked: Event {
    /// Its number, dense from 0.
    fn number(event: &Self::Archived, envelope: &Envelope<'_>) -> u64;

    /// Whether its content is what its publisher made.
    fn is_whole(event: &Self::Archived) -> bool;

    /// What of it stands below the table.
    fn shown(event: &Self::Archived) -> String;
}

impl Checked for DemoLine {
    fn number(event: &ArchivedDemoLine, _envelope: &Envelope<'_>) -> u64 {
        event.number.to_native()
    }

    fn is_whole(event: &ArchivedDemoLine) -> bool {
        hash(event.text.as_str()) == event.hash.to_native()
    }

    fn shown(event: &ArchivedDemoLine) -> String {
        format!("line {}  {}", text::count(event.number.to_native()), event.text.as_str())
    }
}

impl Checked for Heartbeat {
    fn number(_event: &ArchivedHeartbeat, envelope: &Envelope<'_>) -> u64 {
        envelope.sequence()
    }

    fn is_whole(event: &ArchivedHeartbeat) -> bool {
        let used = event.memory_used_bytes.to_native();
        used > 0 && used <= event.memory_total_bytes.to_native()
    }

    fn shown(event: &ArchivedHeartbeat) -> String {
        let load = event.load_1m_milli.to_native();
        format!(
            "heartbeat of {}  load {}.{:02}, memory {} of {}",
            event.node.as_str(),
            load / 1_000,
            load % 1_000 / 10,
            text::bytes(event.memory_used_bytes.to_native()),
            text::bytes(event.memory_total_bytes.to_native())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom::decode::access;
    use wireloom::encode::{Scratch, encode};

    #[repr(align(16))]
    struct Record([u8; 256]);

    #[test]
    fn a_changed_line_is_noticed() {
        let text = "a line of some length".to_owned();
        let line = DemoLine { number: 7, hash: hash(&text), text };
        let mut record = Record([0; 256]);
        let length = encode(&line, &mut record.0, &mut Scratch::default()).unwrap();
        let archived = access::<DemoLine>(&record.0[..length]).unwrap();
        assert!(DemoLine::is_whole(archived));
        assert_eq!(DemoLine::shown(archived), "line 7  a line of some length");
        let at = record.0.windows(4).position(|four| four == b"some").unwrap();
        record.0[at] ^= 1;
        let archived = access::<DemoLine>(&record.0[..length]).unwrap();
        assert!(!DemoLine::is_whole(archived));
    }

    #[test]
    fn this_machine_has_a_heartbeat_that_reads_well() {
        let heartbeat = Heartbeat::sample("loom-1", 1).unwrap();
        let mut record = Record([0; 256]);
        let length = encode(&heartbeat, &mut record.0, &mut Scratch::default()).unwrap();
        let archived = access::<Heartbeat>(&record.0[..length]).unwrap();
        assert!(Heartbeat::is_whole(archived));
        let shown = Heartbeat::shown(archived);
        assert!(
            shown.starts_with("heartbeat of loom-1  load ") && shown.contains("GiB"),
            "{shown}"
        );
    }
}

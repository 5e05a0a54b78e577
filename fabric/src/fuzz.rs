//! What must hold of each reader whatever the bytes: one function a reader. As `wire`'s: the same
//! functions run as bounded tests (`tests/readers.rs`) and under a coverage-guided fuzzer
//! (`fuzz/`); they panic when something does not hold, and the product does not call them.

use rkyv::util::AlignedVec;
use wireloom_wire::ALIGNMENT;

use crate::config::Config;
use crate::encode::Scratch;
use crate::json::JsonCodec;
use crate::jtag::{Environment, Filter, LegacyEvent, LegacyJtag, Message, Pattern};
use crate::trace::Traceparent;
use crate::{Policy, RuleSet, Subject, Target, TypePattern, Verb};

/// Room for an archive: larger ones are not looked at twice.
const ROOM_BYTES: usize = 8 << 10;

/// [`Config::parse`]: what is accepted shows every value as a text that its key takes again.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::parse(text) {
        Ok(config) => {
            for entry in config.entries() {
                assert!(config.entry(&entry.key.path()).is_some());
                assert!(entry.text().len() <= 2 * text.len() + 256);
            }
        }
        Err(error) => is_told(&error.to_string(), text),
    }
}

/// [`RuleSet::parse`]: each accepted rule does something.
pub fn rules(bytes: &[u8]) {
    match RuleSet::parse("rules", bytes) {
        Ok(rules) => assert!(rules.iter().all(|rule| !rule.action().is_empty())),
        Err(error) => is_told(&error.to_string(), &String::from_utf8_lossy(bytes)),
    }
}

/// [`Policy::parse`]: nobody may do what no line allows.
pub fn policy(bytes: &[u8]) {
    match Policy::parse("policy", bytes) {
        Ok(policy) => {
            let nobody = Subject::role("\u{1}");
            for verb in Verb::ALL {
                assert!(!policy.authorise(&nobody, verb, "any").is_allowed());
            }
            assert!(policy.lines().all(|line| !line.meaning().is_empty()));
        }
        Err(error) => is_told(&error.to_string(), &String::from_utf8_lossy(bytes)),
    }
}

/// A refusal says something, and no more than a few times what it is about; what is not printable
/// does not reach a terminal.
fn is_told(message: &str, text: &str) {
    assert!(!message.is_empty());
    assert!(message.len() <= 64 << 10, "{} bytes of {}", message.len(), text.len());
    let escapes = message.chars().any(|letter| letter.is_control() && letter != '\n');
    assert!(!escapes, "control characters reach a terminal: {message:?}");
}

/// [`Target`], [`TypePattern`], [`Traceparent`], [`Pattern`]: what is accepted has one text, which
/// means the same.
pub fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(target) = text.parse::<Target>() {
        assert_eq!(target.to_string().parse::<Target>().as_ref(), Ok(&target), "{text:?}");
    }
    if let Ok(pattern) = text.parse::<TypePattern>() {
        assert_eq!(pattern.as_str().parse::<TypePattern>().as_ref(), Ok(&pattern));
        assert!(pattern.covers(&pattern) && TypePattern::every().covers(&pattern));
        assert!(!pattern.is_exact() || pattern.matches(pattern.as_str()));
    }
    if let Ok(context) = text.parse::<Traceparent>() {
        // Of the flags one is known, and the others are not passed on.
        assert_eq!(context.to_string()[..53], text[..53]);
    }
    let (pattern, name) = text.split_once('\n').unwrap_or((text, "metric.cpu"));
    if let Ok(pattern) = Pattern::regex(pattern) {
        let event = LegacyEvent {
            name: name.to_owned(),
            data: serde_json::Value::Null,
            source: "desk".to_owned(),
            context: Environment::Server,
            timestamp: String::new(),
        };
        let _ = Filter::all().event_name(pattern).takes(&event);
    }
    if let (Ok(one), Ok(two)) = (pattern.parse::<TypePattern>(), name.parse::<TypePattern>()) {
        assert_eq!(one.intersects(&two), two.intersects(&one));
        assert!(!one.covers(&two) || one.intersects(&two) || two.as_str().len() > 200);
    }
}

/// The legacy system's [`Message`]s and [`LegacyJtag`]: what is accepted is written as a text that
/// reads as the same.
pub fn message(bytes: &[u8]) {
    if let Ok(message) = Message::read(bytes) {
        let again = Message::read(message.to_text().as_bytes());
        assert_eq!(again.as_ref(), Ok(&message));
        let _ = (message.event_name(), message.priority());
    }
    if let Ok(wrapper) = LegacyJtag::read(bytes) {
        let _ = wrapper.event();
    }
    let _ = LegacyJtag::from_json(bytes);
}

/// Archives of every type of [`crate::events`]: what is accepted can be read everywhere, and its
/// JSON becomes the same JSON again. The first byte says the type.
pub fn archive(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else { return };
    let codecs = crate::events::codecs();
    let codec = &codecs[usize::from(*kind) % codecs.len()];
    // As aligned as in a packet.
    let mut aligned = AlignedVec::<ALIGNMENT>::with_capacity(payload.len());
    aligned.extend_from_slice(payload);
    let mut json = Vec::new();
    if codec.json_from_archive(&aligned, &mut json).is_ok() {
        same_again(codec, &json);
    }
}

/// The JSON of every type of [`crate::events`]. The first byte says the type.
pub fn json(bytes: &[u8]) {
    let Some((kind, text)) = bytes.split_first() else { return };
    let codecs = crate::events::codecs();
    let codec = &codecs[usize::from(*kind) % codecs.len()];
    let mut room = room();
    let Ok(length) = codec.archive_from_json(text, &mut room, &mut Scratch::new(1024)) else {
        return;
    };
    let mut json = Vec::new();
    if codec.json_from_archive(&room[..length], &mut json).is_ok() {
        same_again(codec, &json);
    }
}

fn room() -> AlignedVec<ALIGNMENT> {
    let mut room = AlignedVec::new();
    room.resize(ROOM_BYTES, 0);
    room
}

/// What was written as JSON is read again, and is written the same.
fn same_again(codec: &JsonCodec, json: &[u8]) {
    let mut room = room();
    let Ok(length) = codec.archive_from_json(json, &mut room, &mut Scratch::new(1024)) else {
        return;
    };
    let mut again = Vec::new();
    codec.json_from_archive(&room[..length], &mut again).expect("it was just written");
    assert_eq!(again, json, "{}", codec.type_name());
}

//! One event as one line of output.
//!
//! Payloads come from other machines: what says it is JSON is checked before it is printed as JSON,
//! and no control character gets to a terminal as it is.

use std::collections::HashMap;
use std::io::{self, Write};

use serde::Serialize;
use wireloom::events;
use wireloom::json::JsonCodec;
use wireloom::{AnyEvent, Encoding, EventTypeId};
use wireloom_wire::event_type_id;

use crate::args::Format;

/// Bytes of a payload shown in hexadecimal.
const HEX_BYTES: usize = 64;

/// Prints events in one format.
#[derive(Debug)]
pub(super) struct Printer {
    format: Format,
    /// Names that were asked for: an event of a Rust type carries only its type's id.
    names: HashMap<EventTypeId, String>,
    /// Events of Rust types that every Wireloom knows.
    codecs: HashMap<EventTypeId, JsonCodec>,
    is_terminal: bool,
    payload: Vec<u8>,
    line: Vec<u8>,
}

/// A payload that is not JSON, as JSON.
#[derive(Serialize)]
struct Opaque {
    encoding: &'static str,
    bytes: usize,
    hex: String,
    /// Why it is shown so although it says that it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    malformed: Option<String>,
}

impl Printer {
    /// Prints events of the types `names`, or any, for a terminal or a file.
    pub(super) fn new(format: Format, names: &[&str], is_terminal: bool) -> Self {
        let mut known: HashMap<EventTypeId, String> =
            names.iter().map(|name| (event_type_id(name), (*name).to_owned())).collect();
        let codecs: HashMap<_, _> =
            events::codecs().into_iter().map(|codec| (codec.type_id(), codec)).collect();
        known.extend(codecs.iter().map(|(id, codec)| (*id, codec.type_name().to_owned())));
        Self { format, names: known, codecs, is_terminal, payload: Vec::new(), line: Vec::new() }
    }

    /// Prints one event as one line.
    ///
    /// # Errors
    /// What the output says; the line may then be there in part.
    pub(super) fn print(&mut self, event: &AnyEvent<'_>, out: &mut impl Write) -> io::Result<()> {
        self.payload.clear();
        self.append_payload(event)?;
        self.line.clear();
        match self.format {
            Format::Payload => std::mem::swap(&mut self.line, &mut self.payload),
            Format::Json => self.append_object(event)?,
        }
        self.line.push(b'\n');
        if self.is_terminal {
            return out.write_all(for_terminal(&self.line).as_bytes());
        }
        out.write_all(&self.line)
    }

    /// The payload as JSON on one line.
    fn append_payload(&mut self, event: &AnyEvent<'_>) -> io::Result<()> {
        let payload = event.payload();
        let mut malformed = None;
        match event.encoding() {
            Encoding::Json => match check(payload) {
                Ok(()) => {
                    one_line(payload, &mut self.payload);
                    return Ok(());
                }
                Err(reason) => malformed = Some(reason),
            },
            Encoding::Rkyv => {
                let codec = self.codecs.get(&event.envelope.event_type());
                let codec = codec.filter(|codec| codec.fingerprint() == event.fingerprint());
                let written =
                    codec.map(|codec| codec.json_from_archive(payload, &mut self.payload));
                if written.is_some_and(|written| written.is_ok()) {
                    return Ok(());
                }
            }
            Encoding::Raw => {}
        }
        let opaque = Opaque {
            encoding: event.encoding().name(),
            bytes: payload.len(),
            hex: hex(&payload[..payload.len().min(HEX_BYTES)]),
            malformed,
        };
        Ok(serde_json::to_writer(&mut self.payload, &opaque)?)
    }

    /// Everything known of the event around its payload.
    fn append_object(&mut self, event: &AnyEvent<'_>) -> io::Result<()> {
        let envelope = &event.envelope;
        self.line.extend_from_slice(b"{\"type\":");
        let known = self.names.get(&envelope.event_type()).map(String::as_str);
        match event.type_name().or(known) {
            Some(name) => serde_json::to_writer(&mut self.line, name)?,
            None => write!(self.line, "\"#{}\"", envelope.event_type())?,
        }
        write!(
            self.line,
            ",\"source\":\"{}\",\"sequence\":{},\"timestamp_ns\":{},\"received_ns\":{}",
            envelope.source(),
            envelope.sequence(),
            envelope.timestamp_ns(),
            envelope.received_ns()
        )?;
        let encoding = event.encoding().name();
        let priority = envelope.priority().name();
        write!(self.line, ",\"priority\":\"{priority}\",\"encoding\":\"{encoding}\",\"payload\":")?;
        self.line.extend_from_slice(&self.payload);
        self.line.push(b'}');
        Ok(())
    }
}

/// Whether bytes that say they are JSON are; if not, why.
fn check(payload: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(payload).map_err(|error| error.to_string())?;
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Appends valid JSON with line breaks, which stand only between its tokens, as spaces.
fn one_line(json: &[u8], into: &mut Vec<u8>) {
    let begin = into.len();
    into.extend_from_slice(json);
    for byte in &mut into[begin..] {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A line of JSON as a terminal may have it: DEL and the C1 controls, which JSON allows in strings,
/// become escapes of the same meaning; a carriage return or tab between tokens becomes a space.
fn for_terminal(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => shown.push('\n'),
            '\r' | '\t' => shown.push(' '),
            letter if letter.is_control() => {
                shown.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_counts_as_json() {
        for good in ["{}", "\"\"", " [1, 2] ", "\"\u{9b}\"", "\"\\u001b\"", "1e3"] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [&b""[..], b"{", b"x", b"\"\x1b[2J\"", b"\"\xff\"", b"{} {}"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_payload_stays_as_it_is_except_for_line_breaks() {
        let mut line = Vec::new();
        one_line(b"{\n\"a\" :\t1}\r", &mut line);
        assert_eq!(line, b"{ \"a\" :\t1}\r");
    }

    #[test]
    fn a_terminal_gets_escapes_of_the_same_meaning() {
        let line = "\"\u{9b}2J\u{7f}größe\"\t\r\n";
        let shown = for_terminal(line.as_bytes());
        assert_eq!(shown, "\"\\u009b2J\\u007fgröße\"  \n");
        let (raw, escaped): (String, String) =
            (serde_json::from_str(line).unwrap(), serde_json::from_str(&shown).unwrap());
        assert_eq!(raw, escaped);
    }

    #[test]
    fn bytes_are_shown_in_hexadecimal() {
        assert_eq!(hex(&[0, 0xab, 0xff]), "00abff");
    }
}

//! Dynamic events of a registered type become typed ones: on the control thread, because reading
//! JSON allocates and the workers do not.
//!
//! receiver → [`JsonOnly`] ring → [`Converter`] (control thread) → local ring → receiver →
//! handlers.

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::dispatch::{Origin, Pumped, Subscriber, Verdict};
use wireloom_dataplane::inbound::{Inbound, RingReader, RingSubscriber};
use wireloom_wire::{Encoding, Frame, FrameFlags, FrameHeader};

use crate::encode::{EncodeError, Scratch};
use crate::json::{JsonCodec, JsonError};
use crate::writer::{RingWriter, Visible, Way, head};

/// Takes the JSON events of a type, and passes on the others.
#[derive(Debug)]
pub(crate) struct JsonOnly(pub(crate) RingSubscriber);

impl Subscriber for JsonOnly {
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        match frame.header.encoding {
            Encoding::Json => self.0.on_event(frame, origin),
            _ => Verdict::Passed,
        }
    }

    fn pump(&mut self, now_ns: u64) -> Pumped {
        self.0.pump(now_ns)
    }

    fn end_cycle(&mut self) {
        self.0.end_cycle();
    }
}

/// The task that converts one type.
#[derive(Debug)]
pub(crate) struct Converter {
    codec: JsonCodec,
    from: RingReader,
    back: RingWriter,
    scratch: Scratch,
    clock: Clock,
}

/// Records converted in one cycle, at most.
const CYCLE_RECORDS: usize = 4_096;

impl Converter {
    pub(crate) fn new(codec: JsonCodec, from: RingReader, back: RingWriter, clock: Clock) -> Self {
        Self { codec, from, back, scratch: Scratch::default(), clock }
    }
}

impl Agent for Converter {
    fn name(&self) -> &'static str {
        "json-converter"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        let Self { codec, from, back, scratch, clock } = self;
        from.poll(
            CYCLE_RECORDS,
            || clock.unix_ns(now_ns),
            |inbound| {
                let Inbound::Event(frame, origin) = inbound else { return true };
                let header = FrameHeader {
                    event_type: codec.type_id(),
                    fingerprint: codec.fingerprint(),
                    encoding: Encoding::Rkyv,
                    flags: FrameFlags::empty(),
                    ..frame.header
                };
                let head = head(header, frame.trace(), frame.deadline());
                let outcome = back.write(Way::Local(origin), &head, Visible::Now, |into| {
                    codec.archive_from_json(frame.payload(), into, scratch).map_err(|error| {
                        match error {
                            JsonError::Encode(error) => error,
                            _ => EncodeError::Refused,
                        }
                    })
                });
                // When the worker is behind: this record again, next cycle.
                outcome != Err(crate::Refused::BackPressured)
            },
        )
    }
}

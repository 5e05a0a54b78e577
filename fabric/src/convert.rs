//! Dynamic events of a registered type become typed ones: on the control thread, because reading
//! JSON allocates and the workers do not.
//!
//! receiver → [`JsonOnly`] ring → [`Converter`] (control thread) → local ring → receiver →
//! handlers.

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::dispatch::{Origin, Subscriber, Verdict};
use wireloom_dataplane::inbound::{Inbound, RingSubscriber, read_inbound};
use wireloom_ring::{Consumer, Records, record_spacing};
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

    fn end_cycle(&mut self) {
        self.0.end_cycle();
    }
}

/// The task that converts one type.
#[derive(Debug)]
pub(crate) struct Converter {
    codec: JsonCodec,
    from: Consumer,
    back: RingWriter,
    scratch: Scratch,
}

impl Converter {
    pub(crate) fn new(codec: JsonCodec, from: Consumer, back: RingWriter) -> Self {
        Self { codec, from, back, scratch: Scratch::default() }
    }
}

impl Agent for Converter {
    fn name(&self) -> &'static str {
        "json-converter"
    }

    fn do_work(&mut self, _now_ns: u64) -> usize {
        let Self { codec, from, back, scratch } = self;
        let batch = from.read();
        let mut taken = 0;
        for record in Records::new(batch) {
            if let Some(Inbound::Event(frame, origin)) = read_inbound(record) {
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
                if outcome == Err(crate::Refused::BackPressured) {
                    // The worker is behind: this record again, next cycle.
                    break;
                }
            }
            taken += record_spacing(record.len());
        }
        let taken = taken.min(batch.len());
        from.release(taken);
        taken
    }
}

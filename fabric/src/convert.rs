//! Events in another form than their handlers read become typed ones: dynamic events of a
//! registered type, and archives of older versions; and events of signed types become verified
//! ones. On the control thread, because that allocates or takes its time, and the workers do not.
//!
//! receiver → handler: not readable → [`Unread`] ring → [`Converter`] (control thread) → local
//! ring → receiver → handlers.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::counters::CounterMeaning;
use wireloom_dataplane::dispatch::{Origin, Pumped, Subscriber, Verdict, Wanted};
use wireloom_dataplane::inbound::{Inbound, RingReader, RingSubscriber};
use wireloom_wire::{Encoding, EventTypeId, Fingerprint, Frame, FrameFlags, FrameHeader};

use crate::attributes::Attributes;
use crate::encode::{EncodeError, Scratch, encode_growing};
use crate::event::{Event, Version, each_version, read, serves};
use crate::intake::{CYCLE_RECORDS, Intake};
use crate::json::{JSON_BYTES_MAX, JsonCodec, JsonError};
use crate::outcome::{Refused, SubscribeError};
use crate::shared::Shared;
use crate::validation::{Reason, Unverified, Validations, Verifier, put};
use crate::writer::{RingWriter, Visible, Way, head};

/// Differences told of two schemas; the rest is counted.
const DIFFERENCES_TOLD: usize = 8;

/// Versions of event types that a node remembers, for its reasons; more are not told apart by name.
const VERSIONS_MAX: usize = 4_096;

/// What is not counted by a worker: the JSON that is long enough to be looked at.
pub(crate) static CONVERSIONS_REFUSED: CounterMeaning = CounterMeaning {
    name: "events_refused_conversion",
    unit: "events",
    meaning: "Dynamic (JSON) events and events of older versions that could not be made into what \
              their handlers read; the ledger says why, by type.",
};

/// What a node knows of the schemas of event types.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    versions: HashMap<(EventTypeId, Fingerprint), Version>,
    /// What the types this node has met say of their events.
    pub(crate) attributes: HashMap<EventTypeId, Attributes>,
    /// Types whose older versions are converted already.
    served: HashSet<EventTypeId>,
    /// What became of events that had to be converted, by type.
    pub(crate) converted: Vec<(&'static str, Arc<Converted>)>,
}

impl Schemas {
    /// What could not be converted, as a counter; none of 0.
    pub(crate) fn refusals(&self) -> Option<(&'static CounterMeaning, u64)> {
        let refused = self.converted.iter().map(|(_, of)| of.refused.load(Ordering::Relaxed)).sum();
        (refused > 0).then_some((&CONVERSIONS_REFUSED, refused))
    }

    /// Why the last one of some type was not.
    pub(crate) fn last_refusal(&self) -> Option<String> {
        let mut known = self.converted.iter().filter_map(|(name, of)| Some((name, of.last()?)));
        known.next_back().map(|(name, why)| format!("{name}: {why}"))
    }

    /// Why a frame's schema was refused, field by field where both are known.
    pub(crate) fn refusal(
        &self,
        event_type: &str,
        theirs: Fingerprint,
        own: Fingerprint,
    ) -> String {
        let id = wireloom_wire::event_type_id(event_type);
        let known = |fingerprint| self.versions.get(&(id, fingerprint));
        let named = |fingerprint: Fingerprint| match known(fingerprint) {
            Some(version) => format!("version {} ({:08x})", version.number, fingerprint.0),
            None => format!("schema {:08x}", fingerprint.0),
        };
        let mut text = format!("{} came, {} is read here", named(theirs), named(own));
        let (Some(there), Some(here)) = (known(theirs), known(own)) else {
            text +=
                ": what differs is not known, the other one is not among the types of this node";
            return text;
        };
        let differences = here.differences(there);
        let mut separator = ": ";
        for difference in differences.iter().take(DIFFERENCES_TOLD) {
            text += &format!("{separator}{difference}");
            separator = "; ";
        }
        match differences.len() {
            0 => text += ": the fields are the same, what they mean is not",
            more if more > DIFFERENCES_TOLD => {
                text += &format!("; and {} more", more - DIFFERENCES_TOLD);
            }
            _ => {}
        }
        text
    }
}

/// What became of the events of one type that had to be converted; written by the control thread.
#[derive(Debug, Default)]
pub(crate) struct Converted {
    refused: AtomicU64,
    /// Those longer than any JSON that is read here; counted by the workers.
    too_long: AtomicU64,
    /// Those that do not hold, counted under the reason's own name.
    invalid: AtomicU64,
    /// Why the last one was refused.
    last: Mutex<Option<String>>,
}

impl Converted {
    fn refuse(&self, reason: String) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.tell(reason);
    }

    /// One that does not hold.
    fn invalidate(&self, reason: String) {
        self.invalid.fetch_add(1, Ordering::Relaxed);
        self.tell(reason);
    }

    fn tell(&self, reason: String) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    pub(crate) fn refused(&self) -> u64 {
        let counts = [&self.refused, &self.too_long, &self.invalid];
        counts.map(|count| count.load(Ordering::Relaxed)).iter().sum()
    }

    /// Why the last one was refused, as far as is known.
    pub(crate) fn last(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let too_long = self.too_long.load(Ordering::Relaxed) > 0;
        last.or_else(|| too_long.then(|| JsonError::TooLong.to_string()))
    }
}

type Convert = fn(&Frame<'_>, &mut [u8], &mut Scratch) -> Result<usize, JsonError>;

/// How events of a type in one other form become what its handlers read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Conversion {
    /// From their JSON.
    Json(JsonCodec),
    /// From archives of older versions.
    Older { fingerprint: Fingerprint, serves: fn(Fingerprint) -> bool, convert: Convert },
    /// From the same archive, which somebody else has signed.
    Proven(Fingerprint),
}

impl Conversion {
    fn older<E: Event>() -> Self {
        Self::Older {
            fingerprint: E::FINGERPRINT32,
            serves: serves::<E>,
            convert: |frame, into, scratch| {
                let event = read::<E>(frame.header.fingerprint, frame.payload());
                // The front lets through none that is not served.
                let event: E = event.ok_or(EncodeError::Refused)??;
                Ok(encode_growing(&event, into, scratch)?)
            },
        }
    }

    fn takes(&self, header: &FrameHeader) -> bool {
        match self {
            Self::Json(_) => header.encoding == Encoding::Json,
            Self::Older { fingerprint, serves, .. } => {
                header.encoding == Encoding::Rkyv
                    && header.fingerprint != *fingerprint
                    && serves(header.fingerprint)
            }
            Self::Proven(fingerprint) => {
                header.encoding == Encoding::Rkyv && header.fingerprint == *fingerprint
            }
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Json(codec) => codec.fingerprint(),
            Self::Older { fingerprint, .. } | Self::Proven(fingerprint) => *fingerprint,
        }
    }

    /// Writes the archive that handlers read. A conversion of the user's that panics is an error.
    fn write(
        &self,
        frame: &Frame<'_>,
        into: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<usize, Unconvertible> {
        let converted = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Json(codec) => codec.archive_from_json(frame.payload(), into, scratch),
            Self::Older { convert, .. } => convert(frame, into, scratch),
            Self::Proven(_) => Ok(put(frame.payload(), into)?),
        }));
        match converted {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(Unconvertible::Error(error)),
            Err(_) => Err(Unconvertible::Panicked),
        }
    }
}

/// Why an event could not be converted.
#[derive(Debug, thiserror::Error)]
enum Unconvertible {
    #[error(transparent)]
    Error(JsonError),
    #[error("the conversion of an older version panicked")]
    Panicked,
}

/// Takes the events that a conversion is for, and passes on the others.
#[derive(Debug)]
struct Unread {
    ring: RingSubscriber,
    conversion: Conversion,
    converted: Arc<Converted>,
}

impl Subscriber for Unread {
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        if !self.conversion.takes(&frame.header) {
            return Verdict::Passed;
        }
        if frame.header.encoding == Encoding::Json && frame.payload().len() > JSON_BYTES_MAX {
            self.converted.too_long.fetch_add(1, Ordering::Relaxed);
            return Verdict::BadArchive;
        }
        self.ring.take(frame, origin)
    }

    fn pump(&mut self, now_ns: u64) -> Pumped {
        self.ring.pump(now_ns)
    }

    fn end_cycle(&mut self) {
        self.ring.end_cycle();
    }
}

/// The task that converts the events of one type from one receiver.
#[derive(Debug)]
struct Converter {
    from: RingReader,
    to: Back,
    clock: Clock,
}

impl Agent for Converter {
    fn name(&self) -> &'static str {
        "converter"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        let Self { from, to, clock } = self;
        if let Some(verifier) = &mut to.verifier {
            verifier.begin_cycle();
        }
        from.poll(
            CYCLE_RECORDS,
            || clock.unix_ns(now_ns),
            |inbound| {
                let Inbound::Event(frame, origin) = inbound else { return true };
                // When the worker is behind: this record again, next cycle.
                to.convert(&frame, origin)
            },
        )
    }
}

/// The way back of converted events.
#[derive(Debug)]
struct Back {
    conversion: Conversion,
    writer: RingWriter,
    scratch: Scratch,
    converted: Arc<Converted>,
    event_type: &'static str,
    validations: Validations,
    /// Of a signed type.
    verifier: Option<Verifier>,
}

impl Back {
    /// Converts one event; false when the worker is behind and the event must wait.
    fn convert(&mut self, frame: &Frame<'_>, mut origin: Origin) -> bool {
        if let Some(verifier) = &mut self.verifier
            && !origin.verified
        {
            match verifier.verify(frame, origin.source, &self.validations) {
                Ok(()) => origin.verified = true,
                Err(Unverified::Later) => return false,
                Err(unproven) => {
                    let why = unproven.to_string();
                    self.validations.by_signature.refuse(format!("{}: {why}", self.event_type));
                    self.converted.invalidate(format!("{}: {why}", Reason::InvalidSignature));
                    return true;
                }
            }
        }
        if frame.header.encoding == Encoding::Json
            && let of = (frame.header.event_type, Some(self.event_type))
            && let Err(fault) = self.validations.check_json(of, frame.payload())
        {
            self.converted.invalidate(fault.to_string());
            return true;
        }
        let header = FrameHeader {
            fingerprint: self.conversion.fingerprint(),
            encoding: Encoding::Rkyv,
            flags: FrameFlags::empty(),
            ..frame.header
        };
        let head = head(header, frame.trace(), frame.deadline());
        let mut why = None;
        let (conversion, scratch) = (&self.conversion, &mut self.scratch);
        let outcome = self.writer.write(Way::Local(origin), &head, Visible::Now, |into| {
            conversion.write(frame, into, scratch).map_err(|error| match error {
                Unconvertible::Error(JsonError::Encode(error)) => error,
                other => {
                    why = Some(other.to_string());
                    EncodeError::Refused
                }
            })
        });
        match outcome {
            Ok(()) => {}
            Err(Refused::BackPressured) => return false,
            Err(refused) => self.converted.refuse(why.unwrap_or_else(|| refused.to_string())),
        }
        true
    }
}

impl Shared {
    /// Remembers what the versions of a type look like, for the reasons of refusals, and what the
    /// type says of its events, for those of which only its name is known.
    pub(crate) fn know_versions<E: Event>(&self) {
        let Schemas { versions, attributes, .. } = &mut self.books().schemas;
        if attributes.len() < VERSIONS_MAX {
            self.know_attributes::<E>(attributes);
        }
        each_version::<E>(&mut |version| {
            if versions.len() < VERSIONS_MAX {
                versions.insert((E::TYPE_ID, version.fingerprint), version);
            }
        });
    }

    /// Has events of the versions that `E` is made from converted, and those of other nodes
    /// verified if `E` is signed, once for the node.
    pub(crate) fn serve_older<E: Event>(&self) -> Result<(), SubscribeError> {
        self.know_versions::<E>();
        let plain = E::OLDER.is_empty() && !E::SIGNED;
        if plain || !self.books().schemas.served.insert(E::TYPE_ID) {
            return Ok(());
        }
        if E::SIGNED {
            self.convert::<E>("signatures", Conversion::Proven(E::FINGERPRINT32))?;
        }
        if E::OLDER.is_empty() {
            return Ok(());
        }
        self.convert::<E>("older versions", Conversion::older::<E>())
    }

    pub(crate) fn register_json<E>(&self) -> Result<(), SubscribeError>
    where
        E: Event + serde::Serialize + serde::de::DeserializeOwned,
    {
        self.know_type(E::TYPE_ID, E::TYPE)?;
        self.know_versions::<E>();
        let codec = JsonCodec::of::<E>();
        if self.books().codecs.insert(E::TYPE_ID, codec).is_some() {
            return Ok(());
        }
        self.convert::<E>("json conversion", Conversion::Json(codec))
    }

    /// Puts a conversion between every receiver and the control thread.
    fn convert<E: Event>(&self, what: &str, conversion: Conversion) -> Result<(), SubscribeError> {
        let wake = self.control_wake();
        let converted = Arc::<Converted>::default();
        self.books().schemas.converted.push((E::TYPE, Arc::clone(&converted)));
        for receiver in 0..self.receivers() {
            let (ring, from) = self.inbound((what, receiver), Intake::default(), wake.clone())?;
            let writer = self.attach(None, self.hand()).map_err(|_| SubscribeError::Stalled)?;
            let unread = Box::new(Unread { ring, conversion, converted: Arc::clone(&converted) });
            let (scratch, converted) = (Scratch::default(), Arc::clone(&converted));
            let verifier = E::SIGNED.then(Verifier::default);
            let (event_type, validations) = (E::TYPE, Arc::clone(&self.validation));
            let to =
                Back { conversion, writer, scratch, converted, event_type, validations, verifier };
            self.add_task(Box::new(Converter { from, to, clock: self.clock().clone() }))?;
            let at = (receiver, Wanted::Unread(vec![E::TYPE_ID]));
            self.subscribe(self.next_subscription(), at, unread)?;
        }
        Ok(())
    }
}

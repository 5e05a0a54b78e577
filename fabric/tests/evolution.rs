//! Versions of an event type meet: older archives are served or refused with the fields that
//! differ, never misread.

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use wireloom::event::{Version, serves};
use wireloom::{Event, Fingerprint, Node, Polled, Priority, Router, Schema, Target};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "price-tick")]
struct PriceTickV1 {
    instrument: String,
    cents: u32,
}

#[derive(Clone, Debug, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "price-tick", version = 2, compatible_with = [PriceTickV1])]
struct PriceTickV2 {
    instrument: String,
    cents: u64,
}

/// Names its last version only: that one knows those before it.
#[derive(
    Clone,
    Debug,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[event(type = "price-tick", version = 3, compatible_with = PriceTickV2)]
struct PriceTick {
    instrument: String,
    cents: u64,
    venue: String,
}

impl From<PriceTickV1> for PriceTickV2 {
    fn from(old: PriceTickV1) -> Self {
        assert!(old.instrument != "PANIC", "a conversion of the user's may panic");
        Self { instrument: old.instrument, cents: old.cents.into() }
    }
}

impl From<PriceTickV2> for PriceTick {
    fn from(old: PriceTickV2) -> Self {
        Self { instrument: old.instrument, cents: old.cents, venue: "main".into() }
    }
}

/// What the writer of version 3 publishes for readers of version 1.
impl From<&PriceTick> for PriceTickV1 {
    fn from(tick: &PriceTick) -> Self {
        let cents = u32::try_from(tick.cents).unwrap_or(u32::MAX);
        Self { instrument: tick.instrument.clone(), cents }
    }
}

fn v1(cents: u32) -> PriceTickV1 {
    PriceTickV1 { instrument: "ACME".into(), cents }
}

fn v2(cents: u64) -> PriceTickV2 {
    PriceTickV2 { instrument: "ACME".into(), cents }
}

fn v3(cents: u64) -> PriceTick {
    PriceTick { instrument: "ACME".into(), cents, venue: "fast".into() }
}

/// A listener, and a router that reaches it from another node.
struct Pair {
    listener: Node,
    router: Router,
    target: Target,
    _speaker: Node,
}

fn pair() -> Pair {
    let listener = Node::builder("listener").start().expect("starts");
    let speaker = Node::builder("speaker").start().expect("starts");
    let target = Target::Node(listener.address());
    Pair { router: speaker.router(), target, listener, _speaker: speaker }
}

impl Pair {
    fn send<E: Event>(&mut self, event: &E) {
        self.router.route(event, &self.target).expect("accepted");
    }

    fn hear_ticks(&self) -> Receiver<(u64, String, u64)> {
        let (heard, hears) = mpsc::channel();
        let seen = move |tick: &rkyv::Archived<PriceTick>, envelope: &wireloom::Envelope<'_>| {
            let venue = tick.venue.to_string();
            let _ = heard.send((tick.cents.to_native(), venue, envelope.sequence()));
        };
        self.listener.on::<PriceTick>(seen).expect("subscribes");
        hears
    }

    /// Waits until `count` events were refused; gives the reason of the last.
    fn refusal(&self, count: u64) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let ledger = self.listener.ledger();
            let handled = &ledger.handlers["price-tick"];
            if handled.refused == count {
                return handled.refusal.clone().expect("a reason");
            }
            assert!(Instant::now() < until, "{ledger:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn older_events_are_served_as_the_newest_version_with_their_envelope() {
    let mut pair = pair();
    let hears = pair.hear_ticks();
    let mut ring = pair.listener.subscribe::<PriceTick>().expect("subscribes");
    pair.send(&v1(1));
    pair.send(&v2(2));
    pair.send(&v3(3));
    let mut heard: Vec<_> = (0..3).map(|_| hears.recv_timeout(PATIENCE).expect("served")).collect();
    heard.sort();
    let expected = [(1, "main", 0), (2, "main", 1), (3, "fast", 2)];
    let expected = expected.map(|(cents, venue, sequence)| (cents, venue.to_owned(), sequence));
    assert_eq!(heard, expected);
    let mut polled = Vec::new();
    while polled.len() < 3 {
        assert!(ring.wait(PATIENCE));
        ring.poll(9, |one| match one {
            Polled::Event(tick, _) => polled.push((tick.cents.to_native(), tick.venue.to_string())),
            other => panic!("{other:?}"),
        });
    }
    polled.sort();
    let expected = [(1, "main"), (2, "main"), (3, "fast")];
    assert_eq!(polled, expected.map(|(cents, venue)| (cents, venue.to_owned())), "each once");
    assert!(hears.try_recv().is_err(), "each once");
    let ledger = pair.listener.close();
    assert!(ledger.balanced, "{ledger:?}");
    assert_eq!(ledger.handlers["price-tick"].refused, 0);
}

#[test]
fn older_events_between_newer_ones_cost_none_of_them() {
    let mut pair = pair();
    let hears = pair.hear_ticks();
    for number in 0..300_u32 {
        match number % 3 {
            0 => pair.send(&v1(number)),
            1 => pair.send(&v2(number.into())),
            _ => pair.send(&v3(number.into())),
        }
    }
    let mut heard: Vec<_> =
        (0..300).map(|_| hears.recv_timeout(PATIENCE).expect("served").0).collect();
    heard.sort_unstable();
    assert!(heard.into_iter().eq(0..300));
    assert!(pair.listener.close().balanced);
}

#[test]
fn newer_events_are_refused_by_older_readers_field_by_field() {
    let mut pair = pair();
    let (heard, hears) = mpsc::channel();
    let tell = move |tick: &rkyv::Archived<PriceTickV1>, _: &wireloom::Envelope<'_>| {
        let _ = heard.send(tick.cents.to_native());
    };
    pair.listener.on::<PriceTickV1>(tell).expect("subscribes");
    // The other schema is not known yet: fingerprints are all there is to tell.
    pair.send(&v3(1));
    let reason = pair.refusal(1);
    let theirs = format!("schema {:08x} came, version 1 (", PriceTick::FINGERPRINT32.0);
    assert!(reason.starts_with(&theirs), "{reason}");
    assert!(reason.ends_with("not among the types of this node"), "{reason}");
    // It is, as soon as this node publishes it.
    let _publisher = pair.listener.publisher::<PriceTick>(&Target::Local).expect("a ring");
    pair.send(&v3(1));
    let reason = pair.refusal(2);
    let [one, three] = [PriceTickV1::FINGERPRINT32.0, PriceTick::FINGERPRINT32.0];
    assert_eq!(
        reason,
        format!(
            "version 3 ({three:08x}) came, version 1 ({one:08x}) is read here: field `cents`: u32 \
             here, u64 there; field `venue` (string) is unknown here"
        )
    );
    // Unless the writer publishes what the readers know.
    pair.send(&PriceTickV1::from(&v3(7)));
    assert_eq!(hears.recv_timeout(PATIENCE), Ok(7));
    assert!(hears.try_recv().is_err(), "nothing was misread");
    assert!(pair.listener.close().balanced);
}

#[test]
fn a_conversion_that_panics_costs_its_own_event() {
    let mut pair = pair();
    let hears = pair.hear_ticks();
    pair.send(&PriceTickV1 { instrument: "PANIC".into(), cents: 1 });
    pair.send(&v1(2));
    assert_eq!(hears.recv_timeout(PATIENCE).map(|heard| heard.0), Ok(2));
    assert!(pair.refusal(1).contains("panicked"));
    assert!(pair.listener.close().balanced);
}

#[test]
fn a_dynamic_event_that_does_not_fit_says_where() {
    let mut pair = pair();
    pair.listener.register_json::<PriceTick>().expect("registers");
    let hears = pair.hear_ticks();
    let mut send = |json: &str| {
        let json = json.as_bytes();
        pair.router.route_json("price-tick", Priority::Normal, json, &pair.target).expect("JSON");
    };
    send(r#"{"instrument":"ACME","cents":"many","venue":"x"}"#);
    send(r#"{"instrument":"ACME","cents":1,"venue":"x"}"#);
    assert_eq!(hears.recv_timeout(PATIENCE).map(|heard| heard.0), Ok(1));
    let reason = pair.refusal(1);
    assert!(reason.contains("cents") && reason.contains("line 1 column 35"), "{reason}");
}

/// What a reader of every version subscribes to; nobody publishes it.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "price-tick", version = 1_000, compatible_with = [PriceTickV1, PriceTickV2])]
enum AnyTick {
    V1(PriceTickV1),
    V2(PriceTickV2),
}

impl From<PriceTickV1> for AnyTick {
    fn from(tick: PriceTickV1) -> Self {
        Self::V1(tick)
    }
}

impl From<PriceTickV2> for AnyTick {
    fn from(tick: PriceTickV2) -> Self {
        Self::V2(tick)
    }
}

#[test]
fn an_enum_of_versions_tells_which_one_came() {
    let mut pair = pair();
    let (heard, hears) = mpsc::channel();
    let tell = move |tick: &rkyv::Archived<AnyTick>, _: &wireloom::Envelope<'_>| {
        let _ = heard.send(match tick {
            ArchivedAnyTick::V1(tick) => (1, u64::from(tick.cents.to_native())),
            ArchivedAnyTick::V2(tick) => (2, tick.cents.to_native()),
        });
    };
    pair.listener.on::<AnyTick>(tell).expect("subscribes");
    pair.send(&v1(10));
    pair.send(&v2(20));
    let mut heard = [(); 2].map(|()| hears.recv_timeout(PATIENCE).expect("served"));
    heard.sort_unstable();
    assert_eq!(heard, [(1, 10), (2, 20)]);
}

/// The fields of version 1 once more, now in whole units: another meaning is another schema.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "price-tick", version = 2)]
struct PriceTickInUnits {
    instrument: String,
    cents: u32,
}

#[test]
fn one_shape_under_two_versions_is_never_mixed_up() {
    assert_eq!(PriceTickInUnits::FINGERPRINT, PriceTickV1::FINGERPRINT);
    assert_ne!(PriceTickInUnits::FINGERPRINT32, PriceTickV1::FINGERPRINT32);
    assert!(!serves::<PriceTickInUnits>(PriceTickV1::FINGERPRINT32));
    let mut pair = pair();
    pair.listener.on::<PriceTickInUnits>(|_, _| panic!("misread")).expect("subscribes");
    let _publisher = pair.listener.publisher::<PriceTickV1>(&Target::Local).expect("a ring");
    pair.send(&v1(1));
    assert!(pair.refusal(1).ends_with("the fields are the same, what they mean is not"));
}

#[test]
fn what_is_served_is_what_was_declared() {
    for known in [PriceTickV1::FINGERPRINT32, PriceTickV2::FINGERPRINT32, PriceTick::FINGERPRINT32]
    {
        assert!(serves::<PriceTick>(known));
    }
    assert!(!serves::<PriceTickV2>(PriceTick::FINGERPRINT32));
    assert!(!serves::<PriceTick>(AnyTick::FINGERPRINT32));
    assert!(!serves::<PriceTick>(Fingerprint(0)));
    let differences = Version::of::<PriceTick>().differences(&Version::of::<PriceTickV2>());
    let told: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["field `venue` (string) is missing there"]);
}

//! Meshes of whole nodes and their reliable links in one loop, from one seed: delays, cuts, refused
//! links, partitions, pauses, crashes and restarts; then the network heals and everything arrives.
//!
//! Every node publishes numbered events to others, some of them larger than a packet. Always: what
//! a life of a node sees of a life of another comes in order, nothing twice, nothing made up. After
//! healing: whatever surviving nodes accepted for each other has been seen, every book balances,
//! and nothing is on its way.
//!
//! `WIRELOOM_SEEDS=N` runs seeds 0..N (default 40); `WIRELOOM_SEED=S` replays one with a trace.
//! `scripts/sim` does both.
#![expect(clippy::print_stdout, reason = "a replay tells what happens")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wireloom::simulated::{LinkModel, SimulatedNetwork};
use wireloom::{
    Clock, Event, Invoker, Node, Refused, ReliableSettings, Router, SimulatedStreams, StreamModel,
    Target,
};

/// Who published an event, in which life, and its place among those to this target.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "mesh-event")]
struct MeshEvent {
    publisher: u32,
    life: u32,
    number: u64,
    filler: Vec<u8>,
}

/// The same in the lane that has a link of its own.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "mesh-alarm", priority = "critical")]
struct MeshAlarm {
    publisher: u32,
    life: u32,
    number: u64,
}

/// One that travels in pieces: larger than a packet, or than a ring of these nodes.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "mesh-blob")]
struct MeshBlob {
    publisher: u32,
    life: u32,
    number: u64,
    bytes: Vec<u8>,
}

/// The largest event of these nodes, small enough that budgets are full now and then.
const STREAM_BYTES_MAX: usize = 320_000;

/// splitmix64: enough randomness for a test, the same on every machine.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) % bound as u64).expect("below the bound")
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn ns(&mut self, most: u64) -> u64 {
        self.below(usize::try_from(most).expect("64 bits")) as u64
    }
}

/// What is counted and ordered apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Event,
    Alarm,
    Blob,
}

const KINDS: [Kind; 3] = [Kind::Event, Kind::Alarm, Kind::Blob];

/// An event's stream of numbers: publisher, its life, and the kind of event.
type Source = (u32, u32, Kind);

/// What one life of a node has seen, by source, in order.
type Seen = Arc<Mutex<BTreeMap<Source, Vec<u64>>>>;

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(index + 1).expect("few nodes")], 7_000))
}

/// One life of one node.
struct Life {
    node: Node,
    invoker: Invoker,
    router: Router,
    seen: Seen,
    number: u32,
    /// Events accepted for each other node, by kind.
    accepted: Vec<[u64; 3]>,
    paused: usize,
}

/// A place in the mesh: the life that runs, and what earlier lives saw.
struct Place {
    life: Option<Life>,
    lives: u32,
    earlier: Vec<Seen>,
}

struct World {
    draw: Draw,
    network: SimulatedNetwork,
    streams: SimulatedStreams,
    clock: Clock,
    settings: ReliableSettings,
    places: Vec<Place>,
    traced: bool,
    bytes_held_max: usize,
    hurried: bool,
}

fn keep(seen: &Seen, source: Source, number: u64) {
    let mut seen = seen.lock().expect("one thread");
    let numbers = seen.entry(source).or_default();
    let last = numbers.last().copied();
    assert!(last.is_none_or(|last| last < number), "{source:?}: {number} after {last:?}");
    numbers.push(number);
}

impl World {
    fn new(seed: u64, traced: bool) -> Self {
        let mut draw = Draw(seed);
        let lossless = LinkModel::LOSSLESS;
        let harsh = |draw: &mut Draw, most: usize| {
            if draw.one_in(2) { 0 } else { draw.below(most) as u64 }
        };
        let model = StreamModel {
            refused_ppm: harsh(&mut draw, 200_000),
            cut_ppm: harsh(&mut draw, 30_000),
            partial_ppm: harsh(&mut draw, 500_000),
            full_ppm: harsh(&mut draw, 200_000),
            delay_ns_min: draw.ns(2_000_000),
            delay_ns_max: 2_000_000 + draw.ns(40_000_000),
            buffer_bytes: 2_000 + draw.below(60_000),
        };
        let settings = ReliableSettings {
            pool: 1 + draw.below(5),
            connect_timeout: Duration::from_millis(300),
            ack_timeout: Duration::from_millis(500),
            keep_alive: Duration::from_millis(700),
            attempts: if draw.one_in(3) { 3 } else { u32::MAX },
            undelivered_after: Duration::from_nanos(draw.ns(600_000_000)),
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(200),
            ring_bytes: 16 << 10,
            stream_bytes_max: STREAM_BYTES_MAX,
            compression: draw.one_in(2),
            // Routers' rings grow while events are lost, sent again and given up.
            ring_bytes_first: 4 << 10,
            ..ReliableSettings::default()
        };
        let network = SimulatedNetwork::new(seed, lossless);
        let streams = SimulatedStreams::new(seed, model);
        let count = 2 + draw.below(6);
        let place = || Place { life: None, lives: 0, earlier: Vec::new() };
        let places = (0..count).map(|_| place()).collect();
        let clock = Clock::simulated();
        let (bytes_held_max, hurried) = (0, draw.one_in(2));
        let mut world = Self {
            draw,
            network,
            streams,
            clock,
            settings,
            places,
            traced,
            bytes_held_max,
            hurried,
        };
        world.trace(&format!("{count} nodes, {:?}, {:?}", world.settings, model));
        (0..count).for_each(|index| world.start(index));
        world
    }

    fn trace(&self, what: &str) {
        if self.traced {
            println!("{:>9} µs  {what}", (self.clock.now_ns() - 1_000_000_000) / 1_000);
        }
    }

    fn start(&mut self, index: usize) {
        let (node, invoker) = Node::builder(&format!("node-{index}"))
            .listen(&address(index).to_string())
            .ring_bytes(16 << 10, 16 << 10)
            .streams_max(16)
            .reliable(self.settings.clone())
            .start_simulated_with(&self.network, &self.streams, self.clock.clone())
            .expect("a simulated node starts");
        let seen = Seen::default();
        let book = Arc::clone(&seen);
        node.on::<MeshEvent>(move |event, _| {
            let source = (event.publisher.to_native(), event.life.to_native(), Kind::Event);
            let number = event.number.to_native();
            assert_eq!(event.filler[..], filler(source, number), "altered content");
            keep(&book, source, number);
        })
        .expect("subscribes");
        let book = Arc::clone(&seen);
        node.on::<MeshAlarm>(move |event, _| {
            let source = (event.publisher.to_native(), event.life.to_native(), Kind::Alarm);
            keep(&book, source, event.number.to_native());
        })
        .expect("subscribes");
        let book = Arc::clone(&seen);
        node.on::<MeshBlob>(move |event, _| {
            let source = (event.publisher.to_native(), event.life.to_native(), Kind::Blob);
            let number = event.number.to_native();
            assert!(event.bytes[..] == blob(source, number), "altered content");
            keep(&book, source, number);
        })
        .expect("subscribes");
        let place_count = self.places.len();
        let place = &mut self.places[index];
        place.lives += 1;
        let router = node.router();
        let number = place.lives;
        let accepted = vec![[0; 3]; place_count];
        place.life = Some(Life { node, invoker, router, seen, number, accepted, paused: 0 });
        self.trace(&format!("node {index} starts, life {number}"));
    }

    fn crash(&mut self, index: usize) {
        let silent = self.draw.one_in(2);
        self.streams.crash(address(index), silent);
        let place = &mut self.places[index];
        if let Some(life) = place.life.take() {
            place.earlier.push(Arc::clone(&life.seen));
        }
        self.trace(&format!("node {index} crashes{}", if silent { " without a word" } else { "" }));
    }

    fn publish(&mut self, index: usize) {
        let (count, target) = (1 + self.draw.below(12), self.draw.below(self.places.len()));
        let kind = match self.draw.below(60) {
            0..12 => Kind::Alarm,
            12..18 => Kind::Blob,
            _ => Kind::Event,
        };
        let count = if kind == Kind::Blob { count.div_ceil(3) } else { count };
        let Some(life) = &mut self.places[index].life else { return };
        if target == index {
            return;
        }
        let to = Target::Reliable(address(target));
        for _ in 0..count {
            let publisher = u32::try_from(index).expect("few nodes");
            let number = life.accepted[target][kind as usize];
            let source = (publisher, life.number, kind);
            let (life_number, router) = (life.number, &mut life.router);
            let routed = match kind {
                Kind::Alarm => {
                    router.route(&MeshAlarm { publisher, life: life_number, number }, &to)
                }
                Kind::Event => {
                    let filler = filler(source, number);
                    router.route(&MeshEvent { publisher, life: life_number, number, filler }, &to)
                }
                Kind::Blob => {
                    let bytes = blob(source, number);
                    router.route(&MeshBlob { publisher, life: life_number, number, bytes }, &to)
                }
            };
            match routed {
                Ok(_) => life.accepted[target][kind as usize] += 1,
                Err(Refused::BackPressured) => return,
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn fault(&mut self) {
        let (first, second) =
            (self.draw.below(self.places.len()), self.draw.below(self.places.len()));
        match self.draw.below(5) {
            0 => {
                self.streams.partition(address(first), address(second));
                let both = self.draw.one_in(2);
                if both {
                    self.streams.partition(address(second), address(first));
                }
                self.trace(&format!("{first} cannot reach {second}; both ways: {both}"));
            }
            1 | 2 => {
                self.streams.heal();
                self.trace("partitions end");
            }
            3 if self.draw.one_in(3) => {
                if self.places[first].life.is_some() {
                    self.crash(first);
                } else {
                    self.start(first);
                }
            }
            _ => {
                let cycles = self.draw.below(400);
                if let Some(life) = &mut self.places[first].life {
                    life.paused = cycles;
                    self.trace(&format!("node {first} pauses for {cycles} cycles"));
                }
            }
        }
    }

    fn advance(&mut self, by_ns: u64) {
        let now_ns = self.clock.advance(Duration::from_nanos(by_ns));
        self.network.advance_to(now_ns);
        self.streams.advance_to(now_ns);
        for place in &mut self.places {
            let Some(life) = &mut place.life else { continue };
            if life.paused > 0 {
                life.paused -= 1;
            } else {
                // In half of the runs often one cycle only: then a crash comes between two of them.
                let one = self.hurried && self.draw.one_in(2);
                life.invoker.drain(if one { 1 } else { 20 });
            }
        }
        self.bytes_held_max = self.bytes_held_max.max(self.streams.bytes_held());
    }

    /// Everything heals: no faults, no pauses, everybody alive; until nothing is on its way.
    fn heal(&mut self) {
        self.trace("everything heals");
        self.streams.heal();
        self.streams.set_model(StreamModel {
            delay_ns_min: 100_000,
            delay_ns_max: 1_000_000,
            ..StreamModel::default()
        });
        for index in 0..self.places.len() {
            match &mut self.places[index].life {
                Some(life) => life.paused = 0,
                None => self.start(index),
            }
        }
        for _ in 0..20_000 {
            self.advance(1_000_000);
            let lives = self.places.iter().filter_map(|place| place.life.as_ref());
            if lives.map(|life| life.node.ledger().reliable.in_flight).sum::<u64>() == 0 {
                // What earlier lives had begun to send in pieces is given up in time.
                (0..10).for_each(|_| self.advance(100_000_000));
                return;
            }
        }
        let ledgers =
            self.places.iter().filter_map(|place| Some(place.life.as_ref()?.node.ledger()));
        panic!("after 20 s of health something is on its way: {:#?}", ledgers.collect::<Vec<_>>());
    }

    fn check(&self) -> Outcome {
        let mut outcome = Outcome { faults: self.streams.counts().cut, ..Outcome::default() };
        for (index, place) in self.places.iter().enumerate() {
            let life = place.life.as_ref().expect("everybody is alive after healing");
            let ledger = life.node.ledger();
            assert!(ledger.balanced, "node {index}: {ledger:?}");
            let undelivered: u64 = ledger.reliable.undelivered.values().sum();
            let accepted: u64 = life.accepted.iter().flatten().sum();
            assert_eq!(ledger.reliable.accepted, accepted);
            assert_eq!(ledger.reliable.delivered + undelivered, accepted);
            outcome.accepted += accepted;
            outcome.undelivered += undelivered;
            let mut arrived = 0;
            for (target, accepted) in life.accepted.iter().enumerate() {
                for (kind, accepted) in KINDS.into_iter().zip(accepted) {
                    let publisher = u32::try_from(index).expect("few nodes");
                    let source = (publisher, life.number, kind);
                    let numbers = self.seen_at(target, source);
                    assert!(numbers.iter().all(|number| number < accepted), "made up");
                    arrived += numbers.len() as u64;
                    if undelivered == 0 {
                        let all: Vec<u64> = (0..*accepted).collect();
                        assert_eq!(numbers, all, "of {source:?} at {target}");
                    }
                }
            }
            assert!(arrived >= ledger.reliable.delivered, "acknowledged and not seen");
            let counted = |name| {
                let mut counters = life.node.counters().into_iter();
                counters.find(|(meaning, _)| meaning.name == name).map_or(0, |(_, count)| count)
            };
            outcome.pieces += counted("pieces_received");
            outcome.waited += counted("reassemblies_waited");
            outcome.abandoned += counted("reassemblies_abandoned");
            outcome.borrowed += counted("links_borrowed");
            outcome.parted += counted("links_parted");
            assert_eq!(counted("reassembly_bytes"), 0, "memory of node {index} is kept");
            assert!(counted("reassembly_bytes_most") <= 4 * STREAM_BYTES_MAX as u64);
            assert_eq!(counted("pieces_refused"), 0, "nobody here lies");
            // What is left out on a link comes again by the next one; that it was is seen here.
            assert_eq!(counted("links_broken"), 0, "nobody here breaks the protocol");
        }
        // Ten links of each pair hold at most their buffers.
        let pairs = self.places.len() * self.places.len();
        assert!(self.bytes_held_max <= pairs * 10 * (64 << 10), "{}", self.bytes_held_max);
        outcome
    }

    /// What all lives at a place have seen of a source, each number once, in order of number.
    fn seen_at(&self, target: usize, source: Source) -> Vec<u64> {
        let place = &self.places[target];
        let lives = place.earlier.iter().chain(place.life.as_ref().map(|life| &life.seen));
        let mut numbers = Vec::new();
        for seen in lives {
            numbers.extend(seen.lock().expect("one thread").get(&source).into_iter().flatten());
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

fn filler(source: Source, number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(31) { 1_500 } else { number % 80 };
    let byte = (u64::from(source.0 + source.1) ^ number).to_le_bytes()[0];
    vec![byte; usize::try_from(length).expect("short")]
}

/// Just beyond a ring's longest record, beyond a packet, in several pieces.
fn blob(source: Source, number: u64) -> Vec<u8> {
    let length =
        [5_000, 66_000, 140_000, 300_000, 20_000][usize::from(number.to_le_bytes()[0] % 5)];
    let seed = u64::from(source.0 + 3 * source.1) ^ number;
    (0..length).map(|at: u64| (at / 256 + at + seed).to_le_bytes()[0]).collect()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    accepted: u64,
    undelivered: u64,
    faults: u64,
    /// Of events larger than a packet: pieces, events that waited for memory, events begun anew.
    pieces: u64,
    waited: u64,
    abandoned: u64,
    /// Links that went by a connection of the peer's, and those that left it for their own.
    borrowed: u64,
    parted: u64,
}

fn run(seed: u64, traced: bool) -> Outcome {
    let mut world = World::new(seed, traced);
    for _ in 0..150 + world.draw.below(250) {
        for index in 0..world.places.len() {
            if world.draw.one_in(3) {
                world.publish(index);
            }
        }
        if world.draw.one_in(8) {
            world.fault();
        }
        let pause_ns = world.draw.ns(8_000_000);
        world.advance(pause_ns);
    }
    world.heal();
    world.check()
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn surviving_nodes_lose_nothing_double_nothing_and_keep_the_order() {
    if let Some(seed) = number_from("WIRELOOM_SEED") {
        println!("seed {seed}: {:?}", run(seed, true));
        return;
    }
    let (seeds, begin) = (number_from("WIRELOOM_SEEDS").unwrap_or(40), Instant::now());
    let mut total = Outcome::default();
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| run(seed, false));
        let Ok(outcome) = outcome else { panic!("replay with scripts/sim {seed}") };
        total.accepted += outcome.accepted;
        total.undelivered += outcome.undelivered;
        total.faults += outcome.faults;
        total.pieces += outcome.pieces;
        total.waited += outcome.waited;
        total.abandoned += outcome.abandoned;
        total.borrowed += outcome.borrowed;
        total.parted += outcome.parted;
    }
    let took = begin.elapsed().as_secs_f64();
    println!("{seeds} seeds, {:.1} a second: {total:?}", seeds as f64 / took);
    assert!(total.faults > 0 && total.undelivered > 0, "faults really happened: {total:?}");
    assert!(total.pieces > 0 && total.waited > 0, "events in pieces too: {total:?}");
    assert!(seeds < 40 || total.abandoned > 0, "some were begun anew: {total:?}");
    assert!(total.borrowed > 0 && total.parted > 0, "both ways by one line: {total:?}");
}

#[test]
fn a_seed_gives_the_same_run_again() {
    assert_eq!(run(11, false), run(11, false));
}

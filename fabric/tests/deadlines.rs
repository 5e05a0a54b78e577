//! An event whose deadline is over is shed where it would be taken next: by the sender, before a
//! handler, from a subscriber's ring. Counted as expired, told in-band, under a virtual clock.
#![forbid(unsafe_code)]

use std::sync::mpsc;
use std::time::Duration;

use wireloom::simulated::{LinkModel, SimulatedNetwork};
use wireloom::{Clock, Event, Invoker, Node, Polled, ShedReason, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "quote")]
struct Quote {
    number: u64,
}

const LATER: Duration = Duration::from_millis(2);

struct World {
    network: SimulatedNetwork,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        let clock = Clock::simulated();
        clock.advance(Duration::from_secs(1));
        Self { network: SimulatedNetwork::new(1, LinkModel::LOSSLESS), clock }
    }

    fn node(&self, name: &str, address: &str) -> (Node, Invoker) {
        let builder = Node::builder(name).listen(address);
        builder.start_simulated(&self.network, self.clock.clone()).expect("starts")
    }

    /// A millisecond from now, as deadlines count it.
    fn soon_ns(&self) -> u64 {
        self.clock.unix_ns(self.clock.now_ns()) + 1_000_000
    }

    fn settle(&self, turns: &mut [&mut Invoker]) {
        for _ in 0..20 {
            for invoker in &mut *turns {
                invoker.drain(100);
            }
            self.clock.advance(Duration::from_micros(10));
            self.network.advance_to(self.clock.now_ns());
        }
    }
}

fn numbers(node: &Node) -> mpsc::Receiver<u64> {
    let (heard, hears) = mpsc::channel();
    node.on::<Quote>(move |quote, _| {
        let _ = heard.send(quote.number.to_native());
    })
    .expect("subscribes");
    hears
}

#[test]
fn the_sender_sheds_what_expired_in_its_ring_and_sends_the_others_in_order() {
    let world = World::new();
    let (speaker, mut speaking) = world.node("speaker", "10.0.0.1:7000");
    let (listener, mut listening) = world.node("listener", "10.0.0.2:7000");
    let hears = numbers(&listener);
    let mut router = speaker.router();
    let target = Target::Node(listener.address());
    let soon_ns = world.soon_ns();
    for number in 0..300 {
        router.set_deadline_ns(match number % 3 {
            0 => None,
            1 => Some(soon_ns),
            _ => Some(soon_ns + 60_000_000_000),
        });
        router.route(&Quote { number }, &target).expect("accepted");
    }
    world.clock.advance(LATER);
    world.settle(&mut [&mut speaking, &mut listening]);
    let heard: Vec<u64> = hears.try_iter().collect();
    assert_eq!(heard, (0..300).filter(|number| number % 3 != 1).collect::<Vec<_>>());
    let ledger = speaker.ledger();
    assert_eq!((ledger.published.sent, ledger.published.shed["events_expired"]), (200, 100));
    assert!(ledger.balanced && ledger.published.in_flight == 0, "{ledger:?}");
    assert_eq!(listener.ledger().received.events, 200, "what expired did not travel");
}

#[test]
fn no_handler_sees_an_expired_event() {
    let world = World::new();
    let (node, mut turns) = world.node("node", "10.0.0.1:7000");
    let hears = numbers(&node);
    let mut router = node.router();
    for (number, deadline_ns) in [(0, None), (1, Some(world.soon_ns())), (2, Some(u64::MAX))] {
        router.set_deadline_ns(deadline_ns);
        router.route(&Quote { number }, Target::Local).expect("accepted");
    }
    world.clock.advance(LATER);
    turns.drain(100);
    assert_eq!(hears.try_iter().collect::<Vec<_>>(), [0, 2]);
    let ledger = node.ledger();
    assert_eq!(ledger.received.shed["events_expired"], 1);
    assert!(ledger.balanced, "{ledger:?}");
}

#[test]
fn a_packet_that_was_long_on_its_way_is_looked_at_again() {
    let world = World::new();
    let (speaker, mut speaking) = world.node("speaker", "10.0.0.1:7000");
    let (listener, mut listening) = world.node("listener", "10.0.0.2:7000");
    let hears = numbers(&listener);
    let mut router = speaker.router();
    router.set_deadline_ns(Some(world.soon_ns()));
    router.route(&Quote { number: 1 }, Target::Node(listener.address())).expect("accepted");
    world.settle(&mut [&mut speaking]);
    world.clock.advance(LATER);
    router.set_deadline_ns(None);
    router.route(&Quote { number: 2 }, Target::Node(listener.address())).expect("accepted");
    world.settle(&mut [&mut speaking, &mut listening]);
    assert_eq!(hears.try_iter().collect::<Vec<_>>(), [2]);
    let ledger = listener.ledger();
    assert_eq!(ledger.received.shed["events_expired"], 1);
    assert!(ledger.balanced, "{ledger:?}");
}

#[test]
fn a_subscriber_is_told_of_what_expired_in_its_ring() {
    let world = World::new();
    let (node, mut turns) = world.node("node", "10.0.0.1:7000");
    let mut quotes = node.subscribe::<Quote>().expect("subscribes");
    let mut router = node.router();
    for (number, deadline_ns) in [(0, Some(u64::MAX)), (1, Some(world.soon_ns())), (2, None)] {
        router.set_deadline_ns(deadline_ns);
        router.route(&Quote { number }, Target::Local).expect("accepted");
    }
    turns.drain(100);
    world.clock.advance(LATER);
    let mut heard = Vec::new();
    quotes.poll(10, |polled| match polled {
        Polled::Event(quote, _) => heard.push((quote.number.to_native(), None)),
        Polled::Shed(shed) => heard.push((shed.events, Some(shed.reason))),
        other => panic!("{other:?}"),
    });
    assert_eq!(heard, [(0, None), (1, Some(ShedReason::Expired)), (2, None)]);
    let ledger = node.ledger();
    assert_eq!(ledger.rings["quote"].given_up["expired"], 1);
    assert_eq!(ledger.handlers["quote"].delivered, 2);
    assert!(ledger.balanced, "{ledger:?}");
}

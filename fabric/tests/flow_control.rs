//! Flow control between whole nodes over real sockets: a receiver that does not come round stops
//! its publishers and loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wireloom::{Event, FlowControl, Invoker, Node, Publisher, Refused, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "step")]
struct Step {
    publisher: u64,
    number: u64,
    filler: [u64; 6],
}

/// A receiving node that runs only when its test drives it, and checks order by publisher.
struct Sleeper {
    node: Node,
    invoker: Invoker,
    handled: Arc<AtomicU64>,
}

impl Sleeper {
    fn new(publishers: usize) -> Self {
        let (node, invoker) = Node::builder("sleeper").start_invoker().expect("starts");
        let handled = Arc::new(AtomicU64::new(0));
        let (count, mut next) = (Arc::clone(&handled), vec![0_u64; publishers]);
        node.on::<Step>(move |step, _| {
            let publisher = usize::try_from(step.publisher.to_native()).expect("few");
            let number = step.number.to_native();
            assert!(number >= next[publisher], "out of order: {number}");
            next[publisher] = number + 1;
            count.fetch_add(1, Ordering::Relaxed);
        })
        .expect("subscribes");
        Self { node, invoker, handled }
    }

    fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    fn kernel_drops(&self) -> u64 {
        self.node.ledger().kernel_drops
    }
}

/// A publishing node and its one publisher.
struct Speaker {
    node: Node,
    invoker: Invoker,
    publisher: Publisher<Step>,
    number: u64,
    index: u64,
}

impl Speaker {
    fn new(index: u64, to: &Sleeper, flow: FlowControl) -> Self {
        let (node, mut invoker) =
            Node::builder("speaker").flow_control(flow).start_invoker().expect("starts");
        let publisher = node.publisher(&Target::Node(to.node.address())).expect("a route");
        invoker.drain(10);
        Self { node, invoker, publisher, number: 0, index }
    }

    /// Publishes until refused, at most `events`; drives the node in between.
    fn publish(&mut self, events: u64) -> u64 {
        let before = self.number;
        for _ in 0..events {
            let step = Step { publisher: self.index, number: self.number, filler: [7; 6] };
            match self.publisher.publish(&step) {
                Ok(_) => self.number += 1,
                Err(Refused::BackPressured) => break,
                Err(other) => panic!("{other}"),
            }
            if self.number.is_multiple_of(100) {
                self.invoker.do_work();
            }
        }
        self.invoker.do_work();
        self.number - before
    }
}

/// Drives both until everything has been handled, or for some seconds.
fn settle(sleeper: &mut Sleeper, speakers: &mut [Speaker]) {
    let published: u64 = speakers.iter().map(|speaker| speaker.number).sum();
    let begun = std::time::Instant::now();
    while sleeper.handled() < published && begun.elapsed().as_secs() < 5 {
        sleeper.invoker.do_work();
        speakers.iter_mut().for_each(|speaker| {
            speaker.invoker.do_work();
        });
    }
    // The tail markers' words.
    sleeper.invoker.drain(10);
}

#[test]
fn publishers_to_a_node_that_does_not_come_round_are_refused_and_nothing_is_lost() {
    let mut sleeper = Sleeper::new(3);
    let mut speakers: Vec<Speaker> =
        (0..3).map(|index| Speaker::new(index, &sleeper, FlowControl::Hold)).collect();
    for round in 0..5 {
        for speaker in &mut speakers {
            speaker.publish(500);
        }
        settle(&mut sleeper, &mut speakers);
        // It sleeps, and everybody publishes as much as they may.
        for _ in 0..1_000 {
            let taken: u64 = speakers.iter_mut().map(|speaker| speaker.publish(2_000)).sum();
            if taken == 0 {
                break;
            }
        }
        let refused = speakers.iter_mut().map(|speaker| speaker.publish(1)).sum::<u64>() == 0;
        assert!(refused, "round {round}: somebody has to tell the publishers");
        settle(&mut sleeper, &mut speakers);
    }
    let published: u64 = speakers.iter().map(|speaker| speaker.number).sum();
    assert_eq!(sleeper.handled(), published);
    assert_eq!(sleeper.kernel_drops(), 0);
    let ledger = sleeper.node.ledger();
    assert!(ledger.balanced && ledger.received.lost == 0, "{ledger:?}");
    for speaker in &speakers {
        let ledger = speaker.node.ledger();
        assert_eq!(ledger.published.accepted, ledger.published.sent, "{ledger:?}");
        assert!(ledger.balanced && ledger.published.refused > 0);
    }
}

#[test]
fn best_effort_overruns_a_sleeping_node_and_shedding_does_not() {
    for (flow, overruns) in [(FlowControl::Off, true), (FlowControl::Shed, false)] {
        let mut sleeper = Sleeper::new(1);
        let mut speakers = [Speaker::new(0, &sleeper, flow)];
        speakers[0].publish(300);
        settle(&mut sleeper, &mut speakers);
        for _ in 0..400 {
            assert_eq!(speakers[0].publish(500), 500, "nobody is refused: {flow:?}");
        }
        for _ in 0..200 {
            sleeper.invoker.do_work();
            speakers[0].invoker.do_work();
        }
        assert_eq!(sleeper.kernel_drops() > 0, overruns, "{flow:?}");
        let shed = speakers[0].node.ledger().published.shed;
        assert_eq!(shed.contains_key("events_shed_window"), !overruns, "{shed:?}");
        assert!(sleeper.handled() < speakers[0].number);
    }
}

#[test]
fn a_policy_is_changed_for_one_target_while_it_runs() {
    let sleeper = Sleeper::new(1);
    let mut speaker = Speaker::new(0, &sleeper, FlowControl::Hold);
    let refused = |speaker: &mut Speaker| (0..100).any(|_| speaker.publish(1_000) == 0);
    assert!(refused(&mut speaker), "the first window, then nothing");
    let target = Target::Node(sleeper.node.address());
    speaker.node.set_flow_control(&target, FlowControl::Off).expect("a known link");
    speaker.invoker.drain(100);
    assert!(!refused(&mut speaker));
}

//! The socket connected to the peer that most datagrams go to: who gets it, and that changing it
//! loses, doubles and reorders nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::{Event, Node, Publisher, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "ball")]
struct Ball {
    number: u64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "answer")]
struct Answer {
    number: u64,
}

const PATIENCE: Duration = Duration::from_secs(20);

/// Counts what comes in order; anything else fails the handler, and the count shows it.
fn in_order(node: &Node) -> Arc<AtomicU64> {
    let (heard, next) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&heard);
    node.on::<Answer>(move |answer, _| {
        assert_eq!(answer.number.to_native(), next.fetch_add(1, Ordering::Relaxed));
        count.fetch_add(1, Ordering::Relaxed);
    })
    .expect("subscribes");
    heard
}

/// A node that answers each ball.
fn wall(name: &str, thrower: &Node) -> Node {
    let node = Node::builder(name).start().expect("starts");
    let target = Target::Node(thrower.address());
    let mut answers: Publisher<Answer> = node.publisher(&target).expect("publishes");
    node.on::<Ball>(move |ball, _| {
        let _ = answers.publish(&Answer { number: ball.number.to_native() });
    })
    .expect("subscribes");
    node
}

/// Plays ball by ball until `enough`, asking seldom; returns how many were played.
fn play(
    balls: &mut Publisher<Ball>,
    heard: &AtomicU64,
    from: u64,
    mut enough: impl FnMut() -> bool,
) -> u64 {
    let (mut number, begun) = (from, Instant::now());
    while !(number.is_multiple_of(500) && enough()) {
        balls.publish(&Ball { number }).expect("is taken");
        number += 1;
        while heard.load(Ordering::Relaxed) < number {
            assert!(begun.elapsed() < PATIENCE, "ball {number} of {from}… does not come back");
            std::hint::spin_loop();
        }
    }
    number
}

#[test]
fn the_peer_that_most_goes_to_gets_a_socket_and_another_one_gets_it_later() {
    let thrower = Node::builder("thrower").start().expect("starts");
    let heard = in_order(&thrower);
    let walls = [wall("wall-1", &thrower), wall("wall-2", &thrower)];
    let mut number = 0;
    assert_eq!(thrower.direct_peer(), None);
    for turn in [0, 1, 0] {
        let wall = &walls[turn];
        let mut balls = thrower.publisher(&Target::Node(wall.address())).expect("publishes");
        let connected = || {
            thrower.direct_peer() == Some(wall.address())
                && wall.direct_peer() == Some(thrower.address())
        };
        number = play(&mut balls, &heard, number, connected);
        let mut looks = 0;
        number = play(&mut balls, &heard, number, || {
            looks += 1;
            looks > 4
        });
    }
    assert_eq!(thrower.ledger().received.lost, 0);
    assert_eq!(heard.load(Ordering::Relaxed), number);
}

#[test]
fn others_are_heard_beside_the_connected_peer() {
    let thrower = Node::builder("thrower").start().expect("starts");
    let heard = in_order(&thrower);
    let wall = wall("wall", &thrower);
    let others = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&others);
    thrower
        .on::<Ball>(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .expect("subscribes");
    let mut balls = thrower.publisher(&Target::Node(wall.address())).expect("publishes");
    let mut number = play(&mut balls, &heard, 0, || thrower.direct_peer().is_some());
    let stranger = Node::builder("stranger").start().expect("starts");
    let mut throws = stranger.publisher(&Target::Node(thrower.address())).expect("publishes");
    for thrown in 1..=20 {
        throws.publish(&Ball { number: thrown }).expect("is taken");
        // While the connected peer plays, and while the thrower's worker sleeps.
        if thrown % 2 == 0 {
            number = play(&mut balls, &heard, number, || others.load(Ordering::Relaxed) == thrown);
        }
        let begun = Instant::now();
        while others.load(Ordering::Relaxed) < thrown {
            assert!(begun.elapsed() < PATIENCE, "throw {thrown} is not heard");
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    assert_eq!(heard.load(Ordering::Relaxed), number);
    assert_eq!(thrower.ledger().received.lost, 0);
}

#[test]
fn a_node_may_do_without() {
    let thrower = Node::builder("thrower").direct(false).start().expect("starts");
    let heard = in_order(&thrower);
    let wall = wall("wall", &thrower);
    let mut balls = thrower.publisher(&Target::Node(wall.address())).expect("publishes");
    play(&mut balls, &heard, 0, || wall.direct_peer().is_some());
    assert_eq!(thrower.direct_peer(), None);
}

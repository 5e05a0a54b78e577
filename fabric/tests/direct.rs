//! The socket connected to the peer that most datagrams go to: who gets it, and that changing it
//! loses, doubles and reorders nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::{Event, Node, Publisher, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "ball")]
struct Ball {
    /// The wall it is thrown at.
    wall: u64,
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

/// A node that answers each ball thrown at it.
fn wall(number: u64, thrower: &Node) -> Node {
    let node = Node::builder(&format!("wall-{number}")).start().expect("starts");
    let target = Target::Node(thrower.address());
    let mut answers: Publisher<Answer> = node.publisher(&target).expect("publishes");
    node.on::<Ball>(move |ball, _| {
        assert_eq!(ball.wall.to_native(), number, "thrown at the other wall");
        let _ = answers.publish(&Answer { number: ball.number.to_native() });
    })
    .expect("subscribes");
    node
}

/// Who throws, and at whom.
struct Game {
    throws: [Publisher<Ball>; 2],
    heard: Arc<AtomicU64>,
    number: u64,
}

impl Game {
    fn between(thrower: &Node, walls: [&Node; 2]) -> Self {
        let throws = walls.map(|wall| thrower.publisher(&Target::Node(wall.address())));
        let throws = throws.map(|throws| throws.expect("publishes"));
        Self { throws, heard: in_order(thrower), number: 0 }
    }

    /// Plays ball by ball until `enough`, asking seldom: all but one of fifty with `wall`.
    fn play(&mut self, wall: usize, mut enough: impl FnMut() -> bool) {
        let begun = Instant::now();
        loop {
            let at = if self.number.is_multiple_of(50) { 1 - wall } else { wall };
            let ball = Ball { wall: at as u64, number: self.number };
            self.throws[at].publish(&ball).expect("is taken");
            self.number += 1;
            while self.heard.load(Ordering::Relaxed) < self.number {
                assert!(begun.elapsed() < PATIENCE, "ball {} does not come back", self.number);
                std::hint::spin_loop();
            }
            if self.number.is_multiple_of(500) && enough() {
                return;
            }
        }
    }
}

#[test]
fn the_peer_that_most_goes_to_gets_a_socket_and_another_one_gets_it_later() {
    let thrower = Node::builder("thrower").start().expect("starts");
    let walls = [wall(0, &thrower), wall(1, &thrower)];
    let mut game = Game::between(&thrower, [&walls[0], &walls[1]]);
    assert_eq!(thrower.direct_peer(), None);
    for turn in [0, 1, 0] {
        let wall = &walls[turn];
        game.play(turn, || {
            thrower.direct_peer() == Some(wall.address())
                && wall.direct_peer() == Some(thrower.address())
        });
        let mut looks = 0;
        game.play(turn, || {
            looks += 1;
            looks > 4
        });
    }
    assert_eq!(thrower.ledger().received.lost, 0);
    assert_eq!(game.heard.load(Ordering::Relaxed), game.number);
}

#[test]
fn others_are_heard_beside_the_connected_peer() {
    let thrower = Node::builder("thrower").start().expect("starts");
    let walls = [wall(0, &thrower), wall(1, &thrower)];
    let mut game = Game::between(&thrower, [&walls[0], &walls[1]]);
    let others = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&others);
    thrower
        .on::<Ball>(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .expect("subscribes");
    game.play(0, || thrower.direct_peer().is_some());
    let stranger = Node::builder("stranger").start().expect("starts");
    let target = Target::Node(thrower.address());
    let mut throws: Publisher<Ball> = stranger.publisher(&target).expect("publishes");
    for thrown in 1..=20 {
        throws.publish(&Ball { wall: 0, number: thrown }).expect("is taken");
        // While the connected peer plays, and while the thrower's worker sleeps.
        if thrown % 2 == 0 {
            game.play(0, || others.load(Ordering::Relaxed) == thrown);
        }
        let begun = Instant::now();
        while others.load(Ordering::Relaxed) < thrown {
            assert!(begun.elapsed() < PATIENCE, "throw {thrown} is not heard");
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    assert_eq!(game.heard.load(Ordering::Relaxed), game.number);
    assert_eq!(thrower.ledger().received.lost, 0);
}

#[test]
fn a_node_may_do_without() {
    let thrower = Node::builder("thrower").direct(false).start().expect("starts");
    let walls = [wall(0, &thrower), wall(1, &thrower)];
    let mut game = Game::between(&thrower, [&walls[0], &walls[1]]);
    game.play(0, || walls[0].direct_peer().is_some());
    assert_eq!(thrower.direct_peer(), None);
}

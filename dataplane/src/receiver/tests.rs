//! Which sockets a receiver looks at, and when. `tests/agents` has real and simulated networks.

use std::cell::RefCell;
use std::rc::Rc;

use wireloom_ring::{RingConfig, ring};

use super::*;
use crate::io::simulated::{LinkModel, SimulatedNetwork};
use crate::io::{ReceiveCounters, Received};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    Everywhere,
    Direct,
    Connected(bool),
}

/// Writes down where it is asked to look.
#[derive(Debug, Default, Clone)]
struct Recorder(Rc<RefCell<Vec<Looked>>>);

impl Recorder {
    fn take(&self) -> Vec<Looked> {
        self.0.take()
    }
}

impl Receive for Recorder {
    fn receive(&mut self, _sink: &mut dyn FnMut(&Arrival<'_>)) -> Received {
        self.0.borrow_mut().push(Looked::Everywhere);
        Received::default()
    }

    fn receive_direct(&mut self, _sink: &mut dyn FnMut(&Arrival<'_>)) -> Received {
        self.0.borrow_mut().push(Looked::Direct);
        Received::default()
    }

    fn set_direct(&mut self, connected: bool) {
        self.0.borrow_mut().push(Looked::Connected(connected));
    }

    fn register(&mut self, _poller: &mut Poller) -> io::Result<()> {
        Ok(())
    }

    fn counters(&self) -> ReceiveCounters {
        ReceiveCounters::default()
    }
}

fn receiver_over(
    recorder: &Recorder,
) -> (Receiver<Recorder, impl Transmit>, Commands<ReceiverCommand>) {
    let network = SimulatedNetwork::new(1, LinkModel::LOSSLESS);
    let (answers, _) = network.endpoint(([10, 0, 0, 1], 1).into(), &[]);
    let commands = Commands::default();
    let config = ReceiverConfig { sources_max: 4, require_checksum: true, window_bytes: 1 << 19 };
    let receiver = Receiver::new(
        (recorder.clone(), answers),
        config,
        commands.clone(),
        Returns::default(),
        Clock::system(),
    );
    (receiver, commands)
}

#[test]
fn behind_local_events_sockets_are_looked_at_seldom_and_always_before_a_sleep() {
    let recorder = Recorder::default();
    let (mut receiver, commands) = receiver_over(&recorder);
    let (mut producer, consumer) =
        ring(RingConfig { capacity_bytes: 4_096, huge_pages: false }).expect("ring");
    let local = Box::new(LocalRing { consumer, taken: None });
    assert!(commands.push(ReceiverCommand::AttachLocal(local)).is_ok());
    let mut looks = |receiver: &mut Receiver<Recorder, _>, at_ns: u64, event: bool| {
        if event {
            producer.claim(16).expect("room").commit(16);
        }
        receiver.do_work(at_ns);
        recorder.take().len()
    };
    assert_eq!(looks(&mut receiver, 1, false), 1);
    assert_eq!(looks(&mut receiver, 2, false), 1, "nothing local is awaited");
    assert_eq!(looks(&mut receiver, 3, true), 0);
    assert_eq!(looks(&mut receiver, LOCALS_FIRST_NS, false), 0, "the answer comes by the ring");
    assert_eq!(looks(&mut receiver, LOCALS_FIRST_NS + 2, true), 1, "others have waited enough");
    assert_eq!(looks(&mut receiver, LOCALS_FIRST_NS + 3, false), 0);
    receiver.before_sleep();
    assert_eq!(looks(&mut receiver, LOCALS_FIRST_NS + 4, false), 1);
    let late = LOCALS_FIRST_NS + 2 + LOCALS_AWAITED_NS;
    assert_eq!(looks(&mut receiver, late, false), 1);
    assert_eq!(looks(&mut receiver, late + 1, false), 1, "nothing is awaited any more");
}

#[test]
fn the_direct_socket_alone_is_looked_at_for_a_while_and_never_before_a_sleep() {
    use Looked::{Connected, Direct, Everywhere};
    let recorder = Recorder::default();
    let (mut receiver, commands) = receiver_over(&recorder);
    assert!(commands.push(ReceiverCommand::SetDirect(true)).is_ok());
    for at_ns in [1, 2, DIRECT_NS, DIRECT_NS + 1, DIRECT_NS + 2] {
        receiver.do_work(at_ns);
    }
    let looked = [Connected(true), Everywhere, Direct, Direct, Everywhere, Direct];
    assert_eq!(recorder.take(), looked);
    receiver.before_sleep();
    receiver.do_work(DIRECT_NS + 3);
    receiver.do_work(DIRECT_NS + 4);
    assert_eq!(recorder.take(), [Everywhere, Direct]);
}

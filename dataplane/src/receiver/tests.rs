//! Which sockets a receiver looks at, and when. `tests/agents` has real and simulated networks.

use std::cell::RefCell;
use std::rc::Rc;

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

#[test]
fn the_direct_socket_alone_is_looked_at_for_a_while_and_never_before_a_sleep() {
    use Looked::{Connected, Direct, Everywhere};
    let network = SimulatedNetwork::new(1, LinkModel::LOSSLESS);
    let (answers, _) = network.endpoint(([10, 0, 0, 1], 1).into(), &[]);
    let (recorder, commands) = (Recorder::default(), Commands::default());
    let config = ReceiverConfig { sources_max: 4, require_checksum: true, window_bytes: 1 << 19 };
    let mut receiver = Receiver::new(
        (recorder.clone(), answers),
        config,
        commands.clone(),
        Returns::default(),
        Clock::system(),
    );
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

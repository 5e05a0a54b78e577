//! The two halves of an endpoint: the same contract as the sockets, over the network in memory.

use std::io;

use super::SimulatedNetwork;
use crate::io::{
    Arrival, DATAGRAM_BYTES_MAX, Message, Receive, ReceiveCounters, Received, SLICES_MAX,
    Segmentation, Sent, Transmit, TransmitCounters,
};
use crate::poller::Poller;

/// Datagrams one receive call takes.
const RECEIVE_DATAGRAMS: usize = 64;

/// As a kernel with GSO would report, so that senders form the same runs.
const SEGMENTATION: Segmentation = Segmentation { max_segments: 64, max_bytes: DATAGRAM_BYTES_MAX };

/// An endpoint's way out. One socket only: index 0 or any other leaves from the same address, and
/// so does what is sent by a clone.
#[derive(Debug, Clone)]
pub struct SimulatedTransmit {
    network: SimulatedNetwork,
    endpoint: usize,
    counters: TransmitCounters,
    /// Datagrams of the first message that went before it had to wait.
    front_done: usize,
    gathered: Vec<u8>,
}

impl SimulatedTransmit {
    pub(super) const fn new(network: SimulatedNetwork, endpoint: usize) -> Self {
        Self {
            network,
            endpoint,
            counters: TransmitCounters {
                datagrams: 0,
                calls: 0,
                would_block: 0,
                refused: 0,
                segmentation_failures: 0,
                peer_errors: 0,
            },
            front_done: 0,
            gathered: Vec::new(),
        }
    }

    /// Sends one message from where it stands; false when it must wait.
    fn send_one(&mut self, message: &Message<'_>) -> bool {
        let too_many = message.datagram_count() == 1 && message.slices.len() > SLICES_MAX;
        if message.datagram_bytes() > DATAGRAM_BYTES_MAX || too_many {
            self.counters.refused += message.datagram_count() as u64;
            return true;
        }
        self.gathered.clear();
        for slice in message.slices {
            self.gathered.extend_from_slice(slice);
        }
        let mut state = self.network.0.borrow_mut();
        let destination = message.destination.address();
        let each = if message.datagram_count() == 1 { 0 } else { message.segment_bytes };
        for index in self.front_done..message.datagram_count() {
            match &mut state.endpoints[self.endpoint].send_limit {
                Some(0) => {
                    self.front_done = index;
                    return false;
                }
                Some(left) => *left -= 1,
                None => {}
            }
            let rest = &self.gathered[index * each..];
            let bytes = if each == 0 { rest } else { &rest[..each.min(rest.len())] };
            state.depart(self.endpoint, destination, bytes);
            self.counters.datagrams += 1;
        }
        self.front_done = 0;
        true
    }
}

impl Transmit for SimulatedTransmit {
    fn send(&mut self, messages: &[Message<'_>]) -> Sent {
        self.counters.calls += 1;
        let refused_before = self.counters.refused;
        let mut sent = Sent::default();
        for message in messages {
            if !self.send_one(message) {
                self.counters.would_block += 1;
                sent.would_block = true;
                break;
            }
            sent.messages += 1;
        }
        sent.failed_datagrams = self.counters.refused - refused_before;
        sent
    }

    fn segmentation(&self) -> Segmentation {
        SEGMENTATION
    }

    fn counters(&self) -> TransmitCounters {
        self.counters
    }
}

/// An endpoint's way in.
#[derive(Debug)]
pub struct SimulatedReceive {
    network: SimulatedNetwork,
    endpoint: usize,
    counters: ReceiveCounters,
    slot: Slot,
}

/// Keeps the promise of 64-byte alignment.
#[derive(Debug)]
struct Slot(Vec<u8>);

const ALIGNMENT: usize = 64;

impl SimulatedReceive {
    pub(super) fn new(network: SimulatedNetwork, endpoint: usize) -> Self {
        let slot = Slot(vec![0; DATAGRAM_BYTES_MAX + ALIGNMENT]);
        Self { network, endpoint, counters: ReceiveCounters::default(), slot }
    }
}

impl Slot {
    /// Copies `bytes` in and gives them back aligned.
    fn hold(&mut self, bytes: &[u8]) -> &[u8] {
        let begin = self.0.as_ptr().align_offset(ALIGNMENT);
        let held = &mut self.0[begin..begin + bytes.len()];
        held.copy_from_slice(bytes);
        held
    }
}

impl Receive for SimulatedReceive {
    fn receive(&mut self, sink: &mut dyn FnMut(&Arrival<'_>)) -> Received {
        self.counters.calls += 1;
        let mut received = Received { datagrams: 0, would_block: true };
        while received.datagrams < RECEIVE_DATAGRAMS {
            let next = {
                let mut state = self.network.0.borrow_mut();
                let next = state.endpoints[self.endpoint].queue.pop_front();
                state.counts.delivered += u64::from(next.is_some());
                next
            };
            // The network is not borrowed while the sink runs: it may send.
            let Some((source, bytes)) = next else { return received };
            received.datagrams += 1;
            let bytes = self.slot.hold(&bytes);
            sink(&Arrival { socket: 0, source, bytes, segment_bytes: bytes.len() });
        }
        let state = self.network.0.borrow();
        received.would_block = state.endpoints[self.endpoint].queue.is_empty();
        received
    }

    fn register(&mut self, _poller: &mut Poller) -> io::Result<()> {
        Ok(())
    }

    fn counters(&self) -> ReceiveCounters {
        let state = self.network.0.borrow();
        let kernel_drops = state.endpoints[self.endpoint].kernel_drops;
        ReceiveCounters { kernel_drops, ..self.counters }
    }
}

//! What the cases run on: some endpoints of a backend, one of which sends.

use std::io::IoSlice;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use wireloom_dataplane::io::mio::{MioOptions, MioReceive, MioTransmit};
use wireloom_dataplane::io::simulated::{LinkModel, SimulatedNetwork};
#[cfg(feature = "io-uring")]
use wireloom_dataplane::io::uring::{UringOptions, UringReceive, UringTransmit, probe};
use wireloom_dataplane::io::{Destination, Message, Receive, Sent, Transmit};
use wireloom_dataplane::socket::{SocketConfig, open};

use crate::support::eventually;

/// Long enough for a busy machine; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(10);

/// A kind of way in and out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backend {
    Mio(MioOptions),
    #[cfg(feature = "io-uring")]
    Uring(UringOptions),
    Simulated,
}

impl Backend {
    pub(crate) fn mio() -> Self {
        Self::Mio(MioOptions::default())
    }

    pub(crate) fn mio_without_gso() -> Self {
        Self::Mio(MioOptions { segmentation: false, ..MioOptions::default() })
    }

    pub(crate) fn mio_without_gro() -> Self {
        Self::Mio(MioOptions { coalescing: false, ..MioOptions::default() })
    }

    pub(crate) fn mio_plain() -> Self {
        Self::Mio(MioOptions { segmentation: false, coalescing: false, ..MioOptions::default() })
    }

    #[cfg(feature = "io-uring")]
    pub(crate) fn uring() -> Self {
        Self::Uring(UringOptions::default())
    }

    #[cfg(feature = "io-uring")]
    pub(crate) fn uring_plain() -> Self {
        let options = UringOptions::default();
        Self::Uring(UringOptions { segmentation: false, coalescing: false, ..options })
    }

    pub(crate) fn simulated() -> Self {
        Self::Simulated
    }

    /// False, with the reason printed, where this machine cannot run the backend.
    pub(crate) fn is_here(&self) -> bool {
        #[cfg(feature = "io-uring")]
        if matches!(self, Self::Uring(_))
            && let Err(why) = probe()
        {
            println!("SKIPPED: no io_uring: {why}");
            return false;
        }
        true
    }

    /// Cut datagram by datagram unless `segmenting`.
    pub(crate) fn segmenting(mut self, segmenting: bool) -> Self {
        match &mut self {
            Self::Mio(options) => options.segmentation = segmenting,
            #[cfg(feature = "io-uring")]
            Self::Uring(options) => options.segmentation = segmenting,
            Self::Simulated => {}
        }
        self
    }

    /// Receive slots of this length, without joining.
    pub(crate) fn with_slots(mut self, slot_bytes: usize) -> Self {
        match &mut self {
            Self::Mio(options) => (options.slot_bytes, options.coalescing) = (slot_bytes, false),
            #[cfg(feature = "io-uring")]
            Self::Uring(options) => (options.slot_bytes, options.coalescing) = (slot_bytes, false),
            Self::Simulated => {}
        }
        self
    }

    /// The full name of the test `case` of this backend.
    pub(crate) fn test(&self, case: &str) -> String {
        let module = if matches!(self, Self::Mio(_)) { "mio" } else { "uring" };
        format!("{module}::{case}")
    }

    /// A way out of real sockets.
    pub(crate) fn transmit(&self, sockets: Vec<UdpSocket>) -> Box<dyn Transmit> {
        match self {
            Self::Mio(options) => Box::new(MioTransmit::with_options(sockets, *options).unwrap()),
            #[cfg(feature = "io-uring")]
            Self::Uring(options) => {
                Box::new(UringTransmit::with_options(sockets, *options).unwrap())
            }
            Self::Simulated => panic!("no sockets"),
        }
    }

    /// A way in of real sockets.
    pub(crate) fn receive(&self, sockets: Vec<UdpSocket>) -> Box<dyn Receive> {
        match self {
            Self::Mio(options) => {
                let receive = MioReceive::with_options(sockets, *options).unwrap();
                assert_eq!(receive.coalescing(), options.coalescing, "this kernel has GRO");
                Box::new(receive)
            }
            #[cfg(feature = "io-uring")]
            Self::Uring(options) => {
                let receive = UringReceive::with_options(sockets, *options).unwrap();
                assert_eq!(receive.coalescing(), options.coalescing, "this kernel has GRO");
                Box::new(receive)
            }
            Self::Simulated => panic!("no sockets"),
        }
    }

    const fn segments(&self) -> bool {
        match self {
            Self::Mio(options) => options.segmentation,
            #[cfg(feature = "io-uring")]
            Self::Uring(options) => options.segmentation,
            Self::Simulated => true,
        }
    }

    /// A sender and `receivers` receivers over IPv4.
    pub(crate) fn rig(&self, receivers: usize) -> Rig {
        self.rig_with(receivers, false, 4 << 20)
    }

    pub(crate) fn rig_v6(&self, receivers: usize) -> Rig {
        self.rig_with(receivers, true, 4 << 20)
    }

    /// A sender and a receiver whose buffer holds next to nothing.
    pub(crate) fn rig_with_small_buffer(&self) -> Rig {
        self.rig_with(1, false, 4_096)
    }

    fn rig_with(&self, receivers: usize, v6: bool, buffer_bytes: usize) -> Rig {
        if matches!(self, Self::Simulated) {
            return simulated_rig(receivers, v6, buffer_bytes);
        }
        let out = socket(loopback(v6), 0);
        let source = out.local_addr().unwrap();
        let ins: Vec<_> = (0..receivers).map(|_| socket(loopback(v6), buffer_bytes)).collect();
        let destinations =
            ins.iter().map(|socket| Destination::new(0, socket.local_addr().unwrap())).collect();
        let receivers = ins.into_iter().map(|socket| self.receive(vec![socket])).collect();
        let transmit = self.transmit(vec![out]);
        let segments = transmit.segmentation().max_segments;
        assert_eq!(segments > 1, self.segments(), "this kernel has GSO");
        Rig { transmit, receivers, destinations, source }
    }
}

/// A sender and the receivers it can reach.
pub(crate) struct Rig {
    pub(crate) transmit: Box<dyn Transmit>,
    pub(crate) receivers: Vec<Box<dyn Receive>>,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) source: SocketAddr,
}

fn loopback(v6: bool) -> SocketAddr {
    if v6 { (Ipv6Addr::LOCALHOST, 0).into() } else { (Ipv4Addr::LOCALHOST, 0).into() }
}

pub(crate) fn socket(bind: SocketAddr, buffer_bytes: usize) -> UdpSocket {
    let config = SocketConfig { receive_buffer_bytes: buffer_bytes, ..SocketConfig::new(bind) };
    open(&config).unwrap().socket
}

fn simulated_rig(receivers: usize, v6: bool, buffer_bytes: usize) -> Rig {
    let network = SimulatedNetwork::new(1, LinkModel::LOSSLESS);
    let mut address = loopback(v6);
    address.set_port(9_000);
    let source = address;
    let (transmit, _) = network.endpoint(source, &[]);
    let (mut boxed, mut destinations) = (Vec::new(), Vec::new());
    for _ in 0..receivers {
        address.set_port(address.port() + 1);
        let (_, receive) = network.endpoint(address, &[]);
        if buffer_bytes < 65_536 {
            network.set_queue(address, 4);
        }
        boxed.push(Box::new(receive) as Box<dyn Receive>);
        destinations.push(Destination::new(0, address));
    }
    Rig { transmit: Box::new(transmit), receivers: boxed, destinations, source }
}

/// Bytes that differ everywhere, so that a mix-up shows.
pub(crate) fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(31) ^ (i >> 8) ^ seed.wrapping_mul(97)) as u8).collect()
}

impl Rig {
    /// Sends one message to destination `to` and expects it to be taken.
    pub(crate) fn send(&mut self, to: usize, slices: &[IoSlice<'_>], segment_bytes: usize) -> Sent {
        let destination = self.destinations[to].clone();
        let message = if segment_bytes == 0 {
            Message::single(&destination, slices)
        } else {
            Message::segmented(&destination, slices, segment_bytes)
        };
        let sent = self.transmit.send(&[message]);
        assert_eq!((sent.messages, sent.would_block), (1, false));
        sent
    }

    /// Sends `bytes` in one slice.
    pub(crate) fn send_bytes(&mut self, to: usize, bytes: &[u8], segment_bytes: usize) {
        let sent = self.send(to, &[IoSlice::new(bytes)], segment_bytes);
        assert_eq!(sent.failed_datagrams, 0);
    }

    /// Receives `count` datagrams at receiver `at` and sees that no more come.
    pub(crate) fn receive(&mut self, at: usize, count: usize) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        let receiver = &mut self.receivers[at];
        let mut counted = 0;
        let all = eventually(PATIENCE, || {
            let received = receiver.receive(&mut |arrival| {
                let before = datagrams.len();
                datagrams.extend(arrival.datagrams().map(<[u8]>::to_vec));
                assert_eq!(datagrams.len() - before, arrival.datagram_count());
            });
            counted += received.datagrams;
            datagrams.len() >= count
        });
        assert!(all, "{} of {count} datagrams arrived", datagrams.len());
        let received = receiver.receive(&mut |arrival| panic!("one too many: {arrival:?}"));
        assert_eq!((received.datagrams, received.would_block), (0, true));
        assert_eq!((datagrams.len(), counted), (count, count));
        datagrams
    }

    pub(crate) fn expect(&mut self, at: usize, expected: &[impl AsRef<[u8]>]) {
        let datagrams = self.receive(at, expected.len());
        for (index, (got, wanted)) in datagrams.iter().zip(expected).enumerate() {
            let wanted = wanted.as_ref();
            let same = got.as_slice() == wanted;
            assert!(same, "datagram {index}: {} bytes for {}", got.len(), wanted.len());
        }
    }
}

//! Which backend carries a node's datagrams: the choice, and one type over all of them, so that
//! agents are compiled once. The choice is looked up once a call, never once a datagram.

use std::io;
use std::net::UdpSocket;

use super::mio::{MioReceive, MioTransmit};
#[cfg(feature = "io-uring")]
use super::uring::{self, UringReceive, UringTransmit};
use super::{
    Arrival, Message, Receive, ReceiveCounters, Received, Segmentation, Sent, Transmit,
    TransmitCounters,
};
use crate::config::IoBackend;
use crate::poller::Poller;

/// A way out through real sockets.
#[derive(Debug)]
pub(crate) enum SocketsOut {
    Mio(MioTransmit),
    #[cfg(feature = "io-uring")]
    Uring(Box<UringTransmit>),
}

/// A way in through real sockets.
#[derive(Debug)]
pub(crate) enum SocketsIn {
    Mio(MioReceive),
    #[cfg(feature = "io-uring")]
    Uring(Box<UringReceive>),
}

/// The ways of a plane.
pub(crate) struct Ways {
    pub(crate) out: SocketsOut,
    /// One for each receiver.
    pub(crate) ins: Vec<SocketsIn>,
    /// Why it is not the backend asked for.
    pub(crate) note: Option<String>,
}

/// Makes the ways over these sockets: one list to send through, one to receive from for each
/// receiver. A ring that this kernel refuses is replaced by system calls, with a note.
///
/// # Errors
/// When a list is empty.
pub(crate) fn ways(
    choice: IoBackend,
    transmit: Vec<UdpSocket>,
    receive: Vec<Vec<UdpSocket>>,
) -> io::Result<Ways> {
    let mut note = None;
    if choice == IoBackend::Uring {
        match rings(&transmit, &receive) {
            Ok(ways) => return Ok(ways),
            Err(why) => note = Some(format!("no io_uring, system calls instead: {why}")),
        }
    }
    let ins = receive.into_iter().map(|sockets| MioReceive::new(sockets).map(SocketsIn::Mio));
    let ins = ins.collect::<io::Result<Vec<_>>>()?;
    Ok(Ways { out: SocketsOut::Mio(MioTransmit::new(transmit)?), ins, note })
}

/// Rings over duplicates of these sockets, or why not.
#[cfg(feature = "io-uring")]
fn rings(transmit: &[UdpSocket], receive: &[Vec<UdpSocket>]) -> Result<Ways, String> {
    let duplicates =
        |sockets: &[UdpSocket]| sockets.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>();
    let make = || {
        let ins = receive.iter().map(|sockets| UringReceive::new(duplicates(sockets)?));
        let ins = ins.map(|way| Ok(SocketsIn::Uring(Box::new(way?)))).collect::<io::Result<_>>()?;
        let out = UringTransmit::new(duplicates(transmit)?)?;
        Ok(Ways { out: SocketsOut::Uring(Box::new(out)), ins, note: None })
    };
    uring::probe()?;
    make().map_err(|error: io::Error| error.to_string())
}

#[cfg(not(feature = "io-uring"))]
fn rings(_: &[UdpSocket], _: &[Vec<UdpSocket>]) -> Result<Ways, String> {
    Err("this program is built without the feature io-uring".into())
}

impl Transmit for SocketsOut {
    #[inline]
    fn send(&mut self, messages: &[Message<'_>]) -> Sent {
        match self {
            Self::Mio(way) => way.send(messages),
            #[cfg(feature = "io-uring")]
            Self::Uring(way) => way.send(messages),
        }
    }

    #[inline]
    fn segmentation(&self) -> Segmentation {
        match self {
            Self::Mio(way) => way.segmentation(),
            #[cfg(feature = "io-uring")]
            Self::Uring(way) => way.segmentation(),
        }
    }

    #[inline]
    fn counters(&self) -> TransmitCounters {
        match self {
            Self::Mio(way) => way.counters(),
            #[cfg(feature = "io-uring")]
            Self::Uring(way) => way.counters(),
        }
    }
}

impl Receive for SocketsIn {
    #[inline]
    fn receive(&mut self, sink: &mut dyn FnMut(&Arrival<'_>)) -> Received {
        match self {
            Self::Mio(way) => way.receive(sink),
            #[cfg(feature = "io-uring")]
            Self::Uring(way) => way.receive(sink),
        }
    }

    fn register(&mut self, poller: &mut Poller) -> io::Result<()> {
        match self {
            Self::Mio(way) => way.register(poller),
            #[cfg(feature = "io-uring")]
            Self::Uring(way) => way.register(poller),
        }
    }

    #[inline]
    fn counters(&self) -> ReceiveCounters {
        match self {
            Self::Mio(way) => way.counters(),
            #[cfg(feature = "io-uring")]
            Self::Uring(way) => way.counters(),
        }
    }
}

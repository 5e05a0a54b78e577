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
    /// The index of the direct socket among those that send; `None` where there is none.
    pub(crate) direct: Option<usize>,
    /// Why it is not the backend asked for.
    pub(crate) note: Option<String>,
}

/// Makes the ways over these sockets: one list to send through, one to receive from for each
/// receiver. A ring that this kernel refuses is replaced by system calls, with a note. A direct
/// socket serves the first receiver; rings do without.
///
/// # Errors
/// When a list is empty.
pub(crate) fn ways(
    choice: IoBackend,
    mut transmit: Vec<UdpSocket>,
    receive: Vec<Vec<UdpSocket>>,
    direct: Option<&UdpSocket>,
) -> io::Result<Ways> {
    let mut note = None;
    if choice == IoBackend::Uring {
        match rings(&transmit, &receive) {
            Ok(ways) => return Ok(ways),
            Err(why) => note = Some(format!("no io_uring, system calls instead: {why}")),
        }
    }
    let index = transmit.len();
    let mut ins = Vec::new();
    for (number, sockets) in receive.into_iter().enumerate() {
        let mut way = MioReceive::new(sockets)?;
        if let Some(direct) = direct.filter(|_| number == 0) {
            way = way.with_direct(direct.try_clone()?)?;
        }
        ins.push(SocketsIn::Mio(way));
    }
    if let Some(direct) = direct {
        transmit.push(direct.try_clone()?);
    }
    let direct = direct.map(|_| index);
    Ok(Ways { out: SocketsOut::Mio(MioTransmit::new(transmit)?), ins, direct, note })
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
        Ok(Ways { out: SocketsOut::Uring(Box::new(out)), ins, direct: None, note: None })
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

    #[inline]
    fn receive_direct(&mut self, sink: &mut dyn FnMut(&Arrival<'_>)) -> Received {
        match self {
            Self::Mio(way) => way.receive_direct(sink),
            #[cfg(feature = "io-uring")]
            Self::Uring(way) => way.receive_direct(sink),
        }
    }

    fn set_direct(&mut self, connected: bool) {
        match self {
            Self::Mio(way) => way.set_direct(connected),
            #[cfg(feature = "io-uring")]
            Self::Uring(way) => way.set_direct(connected),
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

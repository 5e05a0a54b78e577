//! Builds sockets, agents and workers, and is the only place that does.
//!
//! [`launch`] starts threads; [`launch_invoker`] gives the agents to the caller's loop;
//! [`simulate`] puts them on a simulated network under a virtual clock. All three give a [`Plane`]:
//! the ports through which control commands the agents and reads their counters.

use std::io;
use std::mem::take;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::{Agent, Invoker};
use crate::clock::Clock;
use crate::command::{Commands, ReceiverCommand, Returns, SenderCommand};
use crate::config::{ConfigError, Mode, PlaneConfig};
use crate::counters::Counters;
use crate::direct::DirectPort;
use crate::io::backend::{SocketsIn, SocketsOut, ways};
use crate::io::mio::MioTransmit;
use crate::io::simulated::{SimulatedReceive, SimulatedTransmit};
use crate::io::{Destination, Receive, Transmit};
use crate::poller::Poller;
use crate::receiver::{Receiver, ReceiverConfig};
use crate::sender::Sender;
use crate::socket::{OpenError, SocketConfig, SocketReport, open, open_unbound};
use crate::wake::Wake;
use crate::worker::{Worker, WorkerPlan};

/// Why the data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The configuration contradicts itself or the machine.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A socket could not be opened.
    #[error(transparent)]
    Socket(#[from] OpenError),
    /// A thread or poller could not be made.
    #[error("a worker could not be started: {0}; see the limits of this process (ulimit -a)")]
    Worker(#[from] io::Error),
}

/// How control reaches a sender.
#[derive(Debug, Clone)]
pub struct SenderPort {
    /// Its commands.
    pub commands: Commands<SenderCommand>,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// Wakes its worker; `None` when the caller drives it.
    pub wake: Option<Arc<Wake>>,
}

/// How control reaches a receiver.
#[derive(Debug, Clone)]
pub struct ReceiverPort {
    /// Its commands.
    pub commands: Commands<ReceiverCommand>,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// Wakes its worker; `None` when the caller drives it.
    pub wake: Option<Arc<Wake>>,
}

/// A running data plane as control sees it. Dropping it stops the workers and waits for them.
#[derive(Debug)]
pub struct Plane {
    /// The sender.
    pub sender: SenderPort,
    /// The receivers.
    pub receivers: Vec<ReceiverPort>,
    /// What agents give back to be freed.
    pub returns: Returns,
    /// The plane's time.
    pub clock: Clock,
    /// What the kernel gave each socket.
    pub sockets: Vec<SocketReport>,
    /// Where this node receives.
    pub local: SocketAddr,
    /// The socket that can be connected to one peer; `None` where there is none.
    pub direct: Option<DirectPort>,
    /// The threads; empty when the caller drives the agents.
    pub workers: Vec<Worker>,
    /// Duplicates of the transmit sockets, for the control plane to send by; empty on a simulated
    /// network.
    pub control_sockets: Vec<UdpSocket>,
    /// Which of them serves which address family.
    pub families: Families,
}

/// Which transmit socket serves which address family.
#[derive(Debug, Clone, Copy, Default)]
pub struct Families {
    v4: Option<usize>,
    v6: Option<usize>,
}

impl Plane {
    /// Whether this node hears what is sent back to where it sends to `address` from: it receives
    /// on one address family only.
    #[must_use]
    pub const fn hears_back(&self, address: SocketAddr) -> bool {
        self.local.is_ipv4() == address.is_ipv4()
    }

    /// A destination through the transmit socket of its address family; `None` when this node has
    /// no socket of that family.
    #[must_use]
    pub fn destination(&self, address: SocketAddr) -> Option<Destination> {
        self.families.destination(address)
    }
}

impl Families {
    /// A destination through the socket of its address family; `None` without one.
    #[must_use]
    pub fn destination(&self, address: SocketAddr) -> Option<Destination> {
        let socket = if address.is_ipv4() { self.v4 } else { self.v6 };
        socket.map(|socket| Destination::new(socket, address))
    }
}

struct Sockets {
    transmit: Vec<UdpSocket>,
    control: Vec<UdpSocket>,
    receive: Vec<Vec<UdpSocket>>,
    reports: Vec<SocketReport>,
    local: SocketAddr,
    families: Families,
    /// A duplicate of the first socket and a socket without an address, for the peer that most
    /// datagrams go to.
    direct: Option<(UdpSocket, UdpSocket)>,
}

fn open_sockets(config: &PlaneConfig) -> Result<Sockets, LaunchError> {
    let mut listen = SocketConfig {
        bind: config.listen,
        groups: Vec::new(),
        multicast: config.multicast.clone(),
        broadcast: config.broadcast,
        receive_buffer_bytes: config.receive_buffer_bytes,
        send_buffer_bytes: config.send_buffer_bytes,
        busy_poll_us: config.busy_poll_us,
        reuse_port: config.receivers > 1,
        reuse_address: false,
    };
    let (mut reports, mut receive) = (Vec::new(), Vec::new());
    for _ in 0..config.receivers {
        let opened = open(&listen)?;
        // With port 0 the first socket's port is everybody's.
        listen.bind = opened.report.local;
        reports.push(opened.report);
        receive.push(vec![opened.socket]);
    }
    let local = listen.bind;
    let mut transmit = vec![receive[0][0].try_clone()?];
    for group in &config.groups {
        let opened = open(&SocketConfig {
            bind: SocketAddr::new(group.join.group, group.port),
            groups: vec![group.join.clone()],
            reuse_port: false,
            reuse_address: true,
            ..listen.clone()
        })?;
        reports.push(opened.report);
        // One receiver takes the groups, so that nothing arrives twice.
        receive[0].push(opened.socket);
    }
    let direct = if config.direct && config.receivers == 1 {
        Some((receive[0][0].try_clone()?, open_unbound(&listen)?))
    } else {
        None
    };
    // The other address family, to send only; a host without it simply has no such destinations.
    let other: IpAddr =
        if local.is_ipv4() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let other = SocketConfig {
        bind: SocketAddr::new(other, 0),
        groups: Vec::new(),
        reuse_port: false,
        ..listen
    };
    let has_other = open(&other).map(|opened| transmit.push(opened.socket)).is_ok();
    let second = has_other.then_some(1);
    let families = if local.is_ipv4() {
        Families { v4: Some(0), v6: second }
    } else {
        Families { v4: second, v6: Some(0) }
    };
    let control = transmit.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>()?;
    Ok(Sockets { transmit, control, receive, reports, local, families, direct })
}

/// The agents and the ports that reach them, before they are given to threads.
struct Assembly<T, R, A> {
    sender: Sender<T>,
    receivers: Vec<Receiver<R, A>>,
    sender_port: SenderPort,
    receiver_ports: Vec<ReceiverPort>,
    returns: Returns,
}

impl<T, R, A> Assembly<T, R, A>
where
    T: Transmit + 'static,
    R: Receive + 'static,
    A: Transmit + 'static,
{
    /// A plane whose agents the caller drives.
    fn driven(self, sockets: Sockets, clock: Clock) -> (Plane, Invoker) {
        // Receivers first: what a handler publishes leaves in the same cycle.
        let mut agents: Vec<Box<dyn Agent>> = Vec::new();
        for receiver in self.receivers {
            agents.push(Box::new(receiver));
        }
        agents.push(Box::new(self.sender));
        let plane = Plane {
            sender: self.sender_port,
            receivers: self.receiver_ports,
            returns: self.returns,
            clock: clock.clone(),
            sockets: sockets.reports,
            local: sockets.local,
            direct: None,
            workers: Vec::new(),
            control_sockets: sockets.control,
            families: sockets.families,
        };
        (plane, Invoker::new(agents, clock))
    }
}

/// A receiver's way in, its way out for words to senders, and what may be on the way to it.
type WayIn<R, A> = (R, A, usize);

fn assemble<T: Transmit, R: Receive, A: Transmit>(
    transmit: T,
    receive: Vec<WayIn<R, A>>,
    config: &PlaneConfig,
    clock: &Clock,
) -> Assembly<T, R, A> {
    let returns = Returns::default();
    let commands = Commands::default();
    let sender = Sender::new(transmit, commands.clone(), returns.clone(), clock.clone());
    let sender_port = SenderPort { commands, counters: Arc::clone(sender.counters()), wake: None };
    let (receivers, receiver_ports) = receive
        .into_iter()
        .map(|(transport, answers, granted_bytes)| {
            let settings = ReceiverConfig {
                sources_max: config.sources_max,
                require_checksum: config.require_checksum,
                window_bytes: config.window_bytes.min(granted_bytes) as u64,
            };
            let commands = Commands::default();
            let receiver = Receiver::new(
                (transport, answers),
                settings,
                commands.clone(),
                returns.clone(),
                clock.clone(),
            );
            let counters = Arc::clone(receiver.counters());
            (receiver, ReceiverPort { commands, counters, wake: None })
        })
        .unzip();
    Assembly { sender, receivers, sender_port, receiver_ports, returns }
}

type SocketAssembly = Assembly<SocketsOut, SocketsIn, MioTransmit>;

/// The agents over real sockets, and control's end of the direct one.
fn assemble_sockets(
    config: &PlaneConfig,
    clock: &Clock,
) -> Result<(SocketAssembly, Sockets, Option<DirectPort>), LaunchError> {
    config.check()?;
    let mut sockets = open_sockets(config)?;
    let (transmit, receive) = (take(&mut sockets.transmit), take(&mut sockets.receive));
    // Answers are few and small: system calls carry them whatever carries the events.
    let answers = receive.iter().map(|sockets| {
        let duplicates = sockets.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>()?;
        MioTransmit::new(duplicates)
    });
    let answers = answers.collect::<io::Result<Vec<_>>>()?;
    let direct = sockets.direct.as_ref().map(|(_, direct)| direct);
    let ways = ways(config.io, transmit, receive, direct)?;
    let granted_bytes = sockets.reports.iter().map(|report| report.receive_buffer.granted);
    let receive = ways.ins.into_iter().zip(answers).zip(granted_bytes);
    let receive = receive.map(|((way, answers), granted)| (way, answers, granted)).collect();
    let mut parts = assemble(ways.out, receive, config, clock);
    let mut port = None;
    if let Some((first, direct)) = sockets.direct.take()
        && let Some(index) = ways.direct
    {
        parts.sender = parts.sender.with_direct(index);
        port = Some(DirectPort::new(Arc::clone(parts.sender.direct_use()), first, direct));
    }
    sockets.reports[0].notes.extend(ways.note);
    Ok((parts, sockets, port))
}

/// Opens the sockets and starts the workers.
///
/// # Errors
/// A wrong configuration, a socket that cannot be opened, a thread that cannot be started; nothing
/// is left running.
pub fn launch(config: &PlaneConfig, clock: Clock) -> Result<Plane, LaunchError> {
    let (mut parts, sockets, direct) = assemble_sockets(config, &clock)?;
    let mut crews: Vec<(String, Vec<Box<dyn Agent + Send>>)> =
        vec![("wl-sender".into(), vec![Box::new(parts.sender)])];
    for (index, receiver) in parts.receivers.into_iter().enumerate() {
        if config.mode == Mode::Shared && index == 0 {
            crews[0].0 = "wl-worker".into();
            crews[0].1.insert(0, Box::new(receiver));
        } else {
            crews.push((format!("wl-receiver-{index}"), vec![Box::new(receiver)]));
        }
    }
    let mut workers = Vec::new();
    let mut wakes = Vec::new();
    for (index, (name, agents)) in crews.into_iter().enumerate() {
        let poller = Poller::new()?;
        let wake = Wake::new(poller.waker());
        wakes.push(Arc::clone(&wake));
        workers.push(Worker::start(WorkerPlan {
            name,
            core: config.cores.get(index % config.cores.len().max(1)).copied(),
            idle: config.idle,
            flush_interval: if index == 0 { config.flush_interval } else { Duration::ZERO },
            agents,
            poller,
            wake,
            clock: clock.clone(),
        })?);
    }
    parts.sender_port.wake = wakes.first().cloned();
    for (index, port) in parts.receiver_ports.iter_mut().enumerate() {
        let worker = if config.mode == Mode::Shared { index } else { index + 1 };
        port.wake = wakes.get(worker).cloned();
    }
    Ok(Plane {
        sender: parts.sender_port,
        receivers: parts.receiver_ports,
        returns: parts.returns,
        clock,
        sockets: sockets.reports,
        local: sockets.local,
        direct,
        workers,
        control_sockets: sockets.control,
        families: sockets.families,
    })
}

/// Opens the sockets and gives the agents to the caller, who drives them by [`Invoker::do_work`].
/// Nothing wakes the caller: it polls.
///
/// # Errors
/// As [`launch`].
pub fn launch_invoker(config: &PlaneConfig, clock: Clock) -> Result<(Plane, Invoker), LaunchError> {
    let (parts, sockets, direct) = assemble_sockets(config, &clock)?;
    let (mut plane, invoker) = parts.driven(sockets, clock);
    plane.direct = direct;
    Ok((plane, invoker))
}

/// Puts one node's agents on a simulated network: same agents, virtual time, one loop.
#[must_use]
pub fn simulate(
    local: SocketAddr,
    transmit: SimulatedTransmit,
    receive: SimulatedReceive,
    clock: Clock,
) -> (Plane, Invoker) {
    let config = PlaneConfig::new(local);
    let answers = transmit.clone();
    let way_in = (receive, answers, config.receive_buffer_bytes);
    let parts = assemble(transmit, vec![way_in], &config, &clock);
    let sockets = Sockets {
        transmit: Vec::new(),
        control: Vec::new(),
        receive: Vec::new(),
        reports: Vec::new(),
        local,
        families: Families { v4: Some(0), v6: Some(0) },
        direct: None,
    };
    parts.driven(sockets, clock)
}

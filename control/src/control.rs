//! Starting and stopping a node's planes together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wireloom_dataplane::agent::{Agent, Invoker};
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::command::Commands;
use wireloom_dataplane::config::PlaneConfig;
use wireloom_dataplane::idle::Idle;
use wireloom_dataplane::launch::{LaunchError, Plane, launch, launch_invoker};
use wireloom_dataplane::poller::Poller;
use wireloom_dataplane::socket::OpenError;
use wireloom_dataplane::wake::Wake;
use wireloom_dataplane::worker::{Worker, WorkerPlan};
use wireloom_wire::{CONTROL_PACKET_BYTES_MAX, Control as Answer, NodeId, Refusal};

use crate::conductor::{Conductor, Task};
use crate::links::{Identity, Links, LinksConfig, LinksPort};
use crate::settings::ReliableSettings;
use crate::sockets::Sockets;
use crate::tcp::TcpSockets;
use crate::tls::{Credentials, HandshakeLimits, TlsConfig, TlsSockets};

/// Ports that are tried where the system chooses.
const PORT_TRIES: u32 = 32;

/// Why a node's planes did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data plane did not.
    #[error(transparent)]
    DataPlane(#[from] LaunchError),
    /// The control thread did not.
    #[error("the control thread could not be started: {0}; see the limits of this process")]
    Conductor(#[from] std::io::Error),
    /// Datagrams can be received at the address, but streams cannot.
    #[error(
        "cannot listen by TCP at {0}, where reliable events arrive: {1}; choose another port (who \
         has this one: `ss -ltnp 'sport = :{port}'`), or do without: ReliableSettings::listens",
        port = .0.port()
    )]
    Listen(SocketAddr, std::io::Error),
}

/// Who a node is and how its reliable links behave: what is known before it starts.
#[derive(Debug, Clone)]
pub struct LinksPlan {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its cluster; 0 for none.
    pub cluster: u64,
    /// How its links behave.
    pub settings: ReliableSettings,
    /// Makes pauses and session numbers: another one for each life of a node.
    pub seed: u64,
    /// With them links are TLS, and only nodes of the cluster's authority get one.
    pub credentials: Option<Credentials>,
    /// Whether events of peers are taken from the start; see [`LinksConfig::accepts`].
    pub accepts: bool,
}

impl LinksPlan {
    /// The links of a node over `sockets`, reached by `port`.
    fn links<S: Sockets>(self, sockets: S, plane: &Plane, port: &LinksPort) -> Links<S> {
        let clock = plane.clock.clone();
        let identity = Identity {
            node: self.node,
            incarnation: clock.unix_ns(clock.now_ns()),
            name: self.name,
            cluster: self.cluster,
            listens: plane.local,
            event_bytes_max: u32::try_from(self.settings.event_bytes_max()).unwrap_or(u32::MAX),
            compresses: self.settings.compression,
        };
        let config = LinksConfig {
            identity,
            settings: self.settings,
            clock,
            receiver: plane.receivers[0].clone(),
            port: port.clone(),
            accepts: self.accepts,
        };
        Links::new(sockets, config, self.seed)
    }

    /// The same sockets with TLS. A node without a certificate is told so in its own words.
    fn secured<S: Sockets>(
        &self,
        sockets: S,
        credentials: Credentials,
        (plane, port): (&Plane, &LinksPort),
    ) -> TlsSockets<S> {
        let mut answer = [0; CONTROL_PACKET_BYTES_MAX];
        let length = Answer::Refusal(Refusal::Secured).encode(self.node, &mut answer);
        let config = TlsConfig {
            credentials,
            limits: HandshakeLimits::default(),
            clock: plane.clock.clone(),
            counters: Arc::clone(&port.counters),
            plain_answer: answer[..length].to_vec(),
        };
        TlsSockets::new(sockets, config)
    }
}

/// Both planes of a running node. Dropping it ends them in order: workers first (they send what
/// they hold, one second at most), then the conductor and the links.
#[derive(Debug)]
pub struct Control {
    /// The data plane.
    pub plane: Plane,
    /// The way to the reliable links.
    pub links: LinksPort,
    tasks: Commands<Task>,
    wake: Option<Arc<Wake>>,
    conductor: Option<Worker>,
}

impl Control {
    /// Starts the workers and the control thread, which listens by TCP where the plane receives
    /// datagrams.
    ///
    /// # Errors
    /// When either plane does not start, or the TCP port is taken; nothing is left running.
    pub fn start(config: &PlaneConfig, plan: LinksPlan) -> Result<Self, StartError> {
        let clock = Clock::system();
        let (sockets, plane) =
            both_ports(config, plan.settings.listens, |config| launch(config, clock.clone()))?;
        let tasks = Commands::default();
        let conductor = Conductor::new(clock.clone(), plane.returns.clone(), tasks.clone());
        let poller = Poller::new()?;
        let wake = Wake::new(poller.waker());
        let port = LinksPort::new(Some(Arc::clone(&wake)));
        let links: Box<dyn Agent + Send> = match plan.credentials.clone() {
            None => Box::new(plan.links(sockets, &plane, &port)),
            Some(credentials) => {
                let sockets = plan.secured(sockets, credentials, (&plane, &port));
                Box::new(plan.links(sockets, &plane, &port))
            }
        };
        let worker = Worker::start(WorkerPlan {
            name: "wl-conductor".into(),
            core: None,
            // Nothing here is urgent: no spinning beside the workers.
            idle: Idle::Adaptive {
                spin: Duration::ZERO,
                yielding: Duration::ZERO,
                park: Duration::from_secs(1),
            },
            flush_interval: Duration::ZERO,
            agents: vec![Box::new(conductor), links],
            poller,
            wake: Arc::clone(&wake),
            clock,
        })?;
        Ok(Self { plane, links: port, tasks, wake: Some(wake), conductor: Some(worker) })
    }

    /// As [`Control::start`], for a caller who drives the agents.
    ///
    /// # Errors
    /// As [`Control::start`].
    pub fn start_invoker(
        config: &PlaneConfig,
        plan: LinksPlan,
    ) -> Result<(Self, Invoker), StartError> {
        let (sockets, (plane, mut invoker)) =
            both_ports(config, plan.settings.listens, |config| {
                launch_invoker(config, Clock::system())
            })?;
        Ok((Self::attend(plane, &mut invoker, plan, sockets), invoker))
    }

    /// Puts a conductor and links over `sockets` beside the agents of a plane that the caller
    /// drives.
    #[must_use]
    pub fn attend<S: Sockets + 'static>(
        plane: Plane,
        invoker: &mut Invoker,
        plan: LinksPlan,
        sockets: S,
    ) -> Self {
        let tasks = Commands::default();
        let conductor = Conductor::new(plane.clock.clone(), plane.returns.clone(), tasks.clone());
        let port = LinksPort::new(None);
        invoker.add(Box::new(conductor) as Box<dyn Agent>);
        invoker.add(match plan.credentials.clone() {
            None => Box::new(plan.links(sockets, &plane, &port)),
            Some(credentials) => {
                let sockets = plan.secured(sockets, credentials, (&plane, &port));
                Box::new(plan.links(sockets, &plane, &port))
            }
        });
        Self { plane, links: port, tasks, wake: None, conductor: None }
    }

    /// Gives the control thread a further slow task.
    ///
    /// # Errors
    /// The task itself when very many wait already: the control thread is not running.
    pub fn add_task(&self, task: Task) -> Result<(), Task> {
        self.tasks.push(task)?;
        if let Some(wake) = &self.wake {
            wake.notify();
        }
        Ok(())
    }

    /// How to wake the control thread when a task has something to do; `None` when the caller
    /// drives it.
    #[must_use]
    pub const fn wake(&self) -> Option<&Arc<Wake>> {
        self.wake.as_ref()
    }

    /// The control thread, if it has one of its own.
    #[must_use]
    pub const fn conductor(&self) -> Option<&Worker> {
        self.conductor.as_ref()
    }
}

/// Opens the datagram sockets (by `launch`) and a TCP listener at one address and port. A port that
/// the system chooses must be free for both: others are tried.
fn both_ports<T>(
    config: &PlaneConfig,
    listens: bool,
    mut launch: impl FnMut(&PlaneConfig) -> Result<T, LaunchError>,
) -> Result<(TcpSockets, T), StartError> {
    let mut tries_left = PORT_TRIES;
    loop {
        tries_left -= 1;
        let mut sockets = TcpSockets::new()?;
        if !listens {
            return Ok((sockets, launch(config)?));
        }
        let listening = sockets.listen(config.listen);
        let port = listening.as_ref().map_or_else(|_| config.listen.port(), SocketAddr::port);
        let listen = SocketAddr::new(config.listen.ip(), port);
        // What is wrong with the address is told as it is for datagrams.
        match (launch(&PlaneConfig { listen, ..config.clone() }), listening) {
            (Ok(plane), Ok(_)) => return Ok((sockets, plane)),
            (Err(LaunchError::Socket(OpenError::PortInUse(_))), Ok(_))
                if config.listen.port() == 0 && tries_left > 0 => {}
            (Err(error), _) => return Err(error.into()),
            (Ok(_), Err(error)) => return Err(StartError::Listen(listen, error)),
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // One after the other, the sender's first: while it sends what it holds, the receivers
        // still hear how much the peers take.
        self.plane.workers.drain(..).for_each(drop);
        self.conductor = None;
    }
}

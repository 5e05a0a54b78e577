//! How a node is set up before it starts.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use wireloom_control::simulated::{SimulatedStreams, StreamModel};
use wireloom_control::tls;
use wireloom_control::{Control, LinksPlan, ReliableSettings};
use wireloom_dataplane::agent::Invoker;
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::config::{GroupMembership, IoBackend, Mode, PlaneConfig};
use wireloom_dataplane::flow::FlowControl;
use wireloom_dataplane::idle::Idle;
use wireloom_dataplane::io::simulated::SimulatedNetwork;
use wireloom_dataplane::limits::SOURCES_DEFAULT;
use wireloom_dataplane::socket::{GroupJoin, Interface};
use wireloom_identity::Credentials;
use wireloom_wire::{LANES, NodeId, Priority};

use crate::announce::HEARTBEAT;
use crate::cluster::ClusterSettings;
use crate::config::ServiceChoice;
use crate::keying::{KeyBook, Protection, SealModes};
use crate::node::Node;
use crate::rules::RuleSet;
use crate::security::Security;
use crate::shared::Shared;
use crate::target::{Target, TargetError};
use crate::trace::TraceSettings;
use crate::trust::Trusted;
use crate::validation::Checks;

mod error;
mod secure;

pub use self::error::NodeError;

/// What a node does with memory and packets; set through [`NodeBuilder`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Ring of one publisher, or of one router and priority, bytes.
    pub(crate) outbound_ring_bytes: usize,
    /// Ring of one subscriber, bytes.
    pub(crate) subscriber_ring_bytes: usize,
    /// Packets are filled up to this, bytes; `None` leaves it to the path.
    pub(crate) packet_bytes: Option<usize>,
    /// Largest packet of every path, instead of asking the system for the path's MTU.
    pub(crate) path_bytes: Option<usize>,
    pub(crate) huge_pages: bool,
    /// What happens when a peer takes no more.
    pub(crate) flow: FlowControl,
    /// Streams each receiver follows; for the sum of [`Node::memory`].
    pub(crate) streams: usize,
    /// Events that end a sender's flush interval.
    pub(crate) batch: usize,
    pub(crate) levels: Levels,
}

/// How many levels of priority a node tells apart when it sends datagrams: each is a lane of the
/// sender, and a stream of its own at the receiver. An event keeps its priority in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Levels {
    /// Critical and high events share a lane, and low and background ones: fewer streams for those
    /// who follow many.
    Three,
    /// One for each [`Priority`].
    #[default]
    Five,
}

impl Levels {
    /// The priority whose lane events of `priority` take.
    #[must_use]
    pub const fn lane_of(self, priority: Priority) -> Priority {
        match (self, priority) {
            (Self::Three, Priority::High) => Priority::Critical,
            (Self::Three, Priority::Background) => Priority::Low,
            (_, own) => own,
        }
    }
}

/// Events of a publisher that end a sender's flush interval, unless told otherwise.
const BATCH: usize = 1_000;

/// What packets are filled to where the path is not known to take more: the common 1,500 bytes of
/// an Ethernet less headers and room for a tunnel's.
const PACKET_BYTES_UNKNOWN: usize = 1_400;

/// A path that takes as much as this is the loopback interface (MTU 65,536).
const LOOPBACK_PATH_BYTES: usize = 65_000;

impl Sizes {
    /// What packets to a path of `path_bytes` are filled to.
    pub(crate) fn packet_bytes(&self, path_bytes: usize) -> usize {
        let usual =
            if path_bytes >= LOOPBACK_PATH_BYTES { path_bytes } else { PACKET_BYTES_UNKNOWN };
        self.packet_bytes.unwrap_or(usual)
    }

    /// The largest packet of a path the system says nothing of.
    pub(crate) const fn unknown_path_bytes() -> usize {
        PACKET_BYTES_UNKNOWN
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            outbound_ring_bytes: 256 << 10,
            subscriber_ring_bytes: 1 << 20,
            packet_bytes: None,
            path_bytes: None,
            huge_pages: false,
            flow: FlowControl::Hold,
            streams: SOURCES_DEFAULT,
            batch: BATCH,
            levels: Levels::Five,
        }
    }
}

/// Sets up a [`Node`]. Every setting has a default that works on a laptop.
///
/// ```
/// use wireloom::Node;
/// let node = Node::builder("analytics-01").listen("127.0.0.1:0").start()?;
/// assert_eq!(node.name(), "analytics-01");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct NodeBuilder {
    pub(crate) setup: Setup,
    pub(crate) wrong: Option<TargetError>,
    /// What the configuration asked for and this version does not do.
    pub(crate) notes: Vec<String>,
    pub(crate) cluster: Option<ClusterSettings>,
    pub(crate) insecure: bool,
    pub(crate) security: Security,
}

/// Everything a node starts from.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) name: String,
    pub(crate) plane: PlaneConfig,
    pub(crate) sizes: Sizes,
    pub(crate) cluster: String,
    /// Time between two heartbeats.
    pub(crate) heartbeat: Duration,
    pub(crate) choice: ServiceChoice,
    pub(crate) reliable: ReliableSettings,
    pub(crate) rules: RuleSet,
    /// With them links over TCP are TLS, and datagrams are sealed.
    pub(crate) credentials: Option<Credentials>,
    /// How datagrams of each priority are sealed then.
    pub(crate) protections: [Protection; LANES],
    /// Whether reliable events are taken from the start.
    pub(crate) accepts: bool,
    pub(crate) checks: Checks,
    pub(crate) trace: TraceSettings,
}

impl Setup {
    /// What the reliable links start from. Each life has other sessions and pauses.
    pub(crate) fn plan(&self) -> LinksPlan {
        LinksPlan {
            node: NodeId::of_name(&self.name),
            name: self.name.clone(),
            cluster: xxhash_rust::xxh3::xxh3_64(self.cluster.as_bytes()).max(1),
            settings: self.reliable.clone(),
            seed: RandomState::new().hash_one(&self.name),
            credentials: self.credentials.clone().map(|own| tls::Credentials::new(Trusted(own))),
            accepts: self.accepts,
        }
    }

    /// What the node's parts share.
    pub(crate) fn share(self, control: Control) -> Shared {
        let modes = SealModes::of(self.protections, self.sizes.levels);
        let keys = self.credentials.map(|_| KeyBook::new(modes));
        let settings = (self.sizes, self.reliable, self.rules, self.trace);
        let shared = Shared::new(self.name, settings, control, keys);
        shared.validation.begin(self.checks);
        shared
    }
}

impl NodeBuilder {
    pub(crate) fn new(name: &str) -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            setup: Setup {
                name: name.to_owned(),
                plane: PlaneConfig::new(listen),
                sizes: Sizes::default(),
                cluster: "default".to_owned(),
                heartbeat: HEARTBEAT,
                choice: ServiceChoice::default(),
                reliable: ReliableSettings::default(),
                rules: RuleSet::default(),
                credentials: None,
                protections: [Protection::Full; LANES],
                accepts: true,
                checks: Checks::default(),
                trace: TraceSettings::default(),
            },
            wrong: None,
            notes: Vec::new(),
            cluster: None,
            insecure: false,
            security: Security::default(),
        }
    }

    /// Receives on `address` (`host:port`) and sends from it. Default: 127.0.0.1 and a port chosen
    /// by the system, so that a node is not reachable from elsewhere unless asked for.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        match address.parse::<SocketAddr>() {
            Ok(address) => self.setup.plane.listen = address,
            Err(_) => match Target::node(address) {
                Target::Node(address) => self.setup.plane.listen = address,
                Target::Unresolved(error) => self.wrong = Some(error),
                _ => self.wrong = Some(TargetError::Form(address.into())),
            },
        }
        self
    }

    /// Joins a multicast group (`group:port`) on the default interface.
    #[must_use]
    pub fn join(self, group: &str) -> Self {
        self.join_on(group, Interface::Default)
    }

    /// Joins a multicast group (`group:port`) on one interface.
    #[must_use]
    pub fn join_on(mut self, group: &str, interface: Interface) -> Self {
        match Target::multicast(group) {
            Target::Multicast(address) => self.setup.plane.groups.push(GroupMembership {
                join: GroupJoin { group: address.ip(), interface },
                port: address.port(),
            }),
            Target::Unresolved(error) => self.wrong = Some(error),
            _ => self.wrong = Some(TargetError::Form(group.into())),
        }
        self
    }

    /// How far multicast packets travel, in hops (default 1: the local network), on which interface
    /// they leave (default: the system's choice, or the listen address's), and whether other
    /// processes of this host receive them too (default yes).
    #[must_use]
    pub fn multicast(mut self, ttl: u8, interface: Interface, loopback: bool) -> Self {
        self.setup.plane.multicast.ttl = ttl;
        self.setup.plane.multicast.interface = interface;
        self.setup.plane.multicast.loopback = loopback;
        self
    }

    /// What carries the datagrams: system calls or io_uring; see [`IoBackend`]. Where the kernel
    /// refuses io_uring, system calls do, and the reason stands in [`Node::notes`].
    #[must_use]
    pub const fn io(mut self, backend: IoBackend) -> Self {
        self.setup.plane.io = backend;
        self
    }

    /// Which threads run the node: one for everything (default), or one for each direction.
    #[must_use]
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.setup.plane.mode = mode;
        self
    }

    /// Receivers sharing the port (SO_REUSEPORT), each on its own thread; default 1. A peer's flow
    /// stays with one of them.
    #[must_use]
    pub const fn receivers(mut self, receivers: usize) -> Self {
        self.setup.plane.receivers = receivers;
        self
    }

    /// Pins the workers to these cores, in order, sender first. Default: not pinned.
    #[must_use]
    pub fn cores(mut self, cores: &[usize]) -> Self {
        self.setup.plane.cores = cores.to_vec();
        self
    }

    /// What workers do without work; see [`Idle`].
    #[must_use]
    pub const fn idle(mut self, idle: Idle) -> Self {
        self.setup.plane.idle = idle;
        self
    }

    /// Lets published events wait up to this long for company (default 0: what there is leaves at
    /// once). While events flow, the worker then comes round once an interval instead of being
    /// woken for each: a wake-up costs tens of microseconds of CPU on a virtual machine. Critical
    /// events and events for this process do not wait. Without effect on a node its caller drives.
    #[must_use]
    pub const fn flush_interval(mut self, interval: Duration) -> Self {
        self.setup.plane.flush_interval = interval;
        self
    }

    /// Ends a flush interval when a publisher or router has published this many events (default
    /// 1,000) since it last did; counted as `batches_full`. Without a flush interval nothing waits
    /// for a number.
    #[must_use]
    pub fn batch(mut self, events: usize) -> Self {
        self.setup.sizes.batch = events.max(1);
        self
    }

    /// How many levels of priority datagrams are sent in; default [`Levels::Five`]. Reliable events
    /// always have five.
    #[must_use]
    pub const fn levels(mut self, levels: Levels) -> Self {
        self.setup.sizes.levels = levels;
        self
    }

    /// Fills packets up to this many bytes (at least 256, at most 65,504). By default it is 1,400,
    /// which every ordinary path takes, and on the loopback interface, which cuts nothing, all that
    /// a datagram holds. One event larger than that still travels, alone, as far as the path's MTU
    /// carries it.
    #[must_use]
    pub fn packet_bytes(mut self, bytes: usize) -> Self {
        self.setup.sizes.packet_bytes = Some(bytes.clamp(256, 65_504));
        self
    }

    /// Takes this as the largest packet of every path instead of asking the system for its MTU.
    #[must_use]
    pub fn path_bytes(mut self, bytes: usize) -> Self {
        self.setup.sizes.path_bytes = Some(bytes.clamp(256, 65_504));
        self
    }

    /// Size of the ring between a publisher and the sender, and between the receiver and a
    /// subscriber (powers of two, at least 4,096; defaults 256 KiB and 1 MiB).
    #[must_use]
    pub const fn ring_bytes(mut self, outbound: usize, subscriber: usize) -> Self {
        self.setup.sizes.outbound_ring_bytes = outbound;
        self.setup.sizes.subscriber_ring_bytes = subscriber;
        self
    }

    /// Asks for huge pages for rings of 2 MiB and more. Default no.
    #[must_use]
    pub const fn huge_pages(mut self, wanted: bool) -> Self {
        self.setup.sizes.huge_pages = wanted;
        self
    }

    /// Asks the kernel for a receive buffer of this size a socket (default 4 MiB). What it granted
    /// stands in [`Node::notes`] when it is less.
    #[must_use]
    pub const fn receive_buffer_bytes(mut self, bytes: usize) -> Self {
        self.setup.plane.receive_buffer_bytes = bytes;
        self
    }

    /// What this node does with events beyond what a peer takes; default [`FlowControl::Hold`].
    /// [`Node::set_flow_control`] decides for one target.
    #[must_use]
    pub const fn flow_control(mut self, flow: FlowControl) -> Self {
        self.setup.sizes.flow = flow;
        self
    }

    /// Whether a second socket is connected to the peer that nine of ten datagrams go to (from 500
    /// a second), default yes: it saves the kernel 0.45 µs with each send, and a receiving worker a
    /// look. It shares the node's port and is read beside the first socket, which is looked at
    /// every 5 µs at least. Never with io_uring or several receivers.
    #[must_use]
    pub const fn direct(mut self, wanted: bool) -> Self {
        self.setup.plane.direct = wanted;
        self
    }

    /// Lets a look at an empty socket poll the network card for this long instead of waiting for
    /// its interrupt (default 0, off): for latency on a real network, at the price of CPU. Needs
    /// CAP_NET_ADMIN; a refusal stands in [`Node::notes`]. No effect on loopback.
    #[must_use]
    pub fn busy_poll(mut self, time: Duration) -> Self {
        self.setup.plane.busy_poll_us = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self
    }

    /// Lets all senders together have this many bytes on their way to each receiver of this node
    /// (default 512 KiB, and never more than its receive buffer has). More is for long fast paths:
    /// bytes a second × round trip; less keeps buffers in the cache and queues short.
    #[must_use]
    pub const fn window_bytes(mut self, bytes: usize) -> Self {
        self.setup.plane.window_bytes = bytes;
        self
    }

    /// Streams (publishing node × destination × priority) each receiver follows at a time; default
    /// 256, about 1.2 KiB each.
    #[must_use]
    pub const fn streams_max(mut self, streams: usize) -> Self {
        self.setup.plane.sources_max = streams;
        self.setup.sizes.streams = streams;
        self
    }

    /// Takes part in the cluster of this name (`default` for a node that takes part by another
    /// call): nodes of different clusters do not hear each other's hellos, which is counted, and
    /// refuse each other's reliable links. How its nodes are found, [`NodeBuilder::discover`] and
    /// [`NodeBuilder::seed`] say.
    #[must_use]
    pub fn cluster(mut self, name: &str) -> Self {
        name.clone_into(&mut self.setup.cluster);
        self.cluster.get_or_insert_default();
        self
    }

    /// How reliable links behave; see [`ReliableSettings`].
    #[must_use]
    pub const fn reliable(mut self, settings: ReliableSettings) -> Self {
        self.setup.reliable = settings;
        self
    }

    /// Takes no reliable event until [`Node::accept`] says so: handlers are subscribed first, and
    /// no event that a peer was told is delivered has come before them. Until then peers hold
    /// their events, as they do for a node that starts again. Datagrams are not held.
    #[must_use]
    pub const fn accept_later(mut self) -> Self {
        self.setup.accepts = false;
        self
    }

    /// Routes by these rules; [`Node::apply_rules`] exchanges them while the node runs.
    #[must_use]
    pub fn rules(mut self, rules: RuleSet) -> Self {
        self.setup.rules = rules;
        self
    }

    /// How spans are sampled and where they go; [`Node::trace_settings`] gives it to the tracer.
    #[must_use]
    pub fn trace(mut self, settings: TraceSettings) -> Self {
        self.setup.trace = settings;
        self
    }

    /// Starts the node's threads.
    ///
    /// # Errors
    /// A wrong address, a port in use, a missing permission or route: one line that says what to
    /// do.
    pub fn start(mut self) -> Result<Node, NodeError> {
        self.check()?;
        let security = std::mem::take(&mut self.security).ready(&mut self.setup)?;
        self.join_discovery(true);
        self.check_reach()?;
        let node = Node::start(self.setup)?.with_notes(self.notes, self.insecure);
        node.begin_security(security)?;
        node.join_cluster(self.cluster)?;
        Ok(node)
    }

    /// Opens the node's sockets and gives its agents to the caller, who drives them with
    /// [`Invoker::do_work`]: for a program that owns its loop and its core.
    ///
    /// # Errors
    /// As [`NodeBuilder::start`].
    pub fn start_invoker(mut self) -> Result<(Node, Invoker), NodeError> {
        self.check()?;
        let security = std::mem::take(&mut self.security).ready(&mut self.setup)?;
        self.join_discovery(true);
        self.check_reach()?;
        let (node, invoker) = Node::start_invoker(self.setup)?;
        let node = node.with_notes(self.notes, self.insecure);
        node.begin_security(security)?;
        node.join_cluster(self.cluster)?;
        Ok((node, invoker))
    }

    /// Puts the node on a simulated network under a virtual clock; the listen address must have a
    /// port. Same agents, same bytes, one loop. Reliable targets reach nobody: they need
    /// [`NodeBuilder::start_simulated_with`].
    ///
    /// # Errors
    /// A wrong address.
    pub fn start_simulated(
        self,
        network: &SimulatedNetwork,
        clock: Clock,
    ) -> Result<(Node, Invoker), NodeError> {
        self.start_simulated_with(network, &SimulatedStreams::new(0, StreamModel::default()), clock)
    }

    /// As [`NodeBuilder::start_simulated`], with byte streams for reliable targets beside the
    /// datagrams.
    ///
    /// # Errors
    /// A wrong address.
    pub fn start_simulated_with(
        mut self,
        network: &SimulatedNetwork,
        streams: &SimulatedStreams,
        clock: Clock,
    ) -> Result<(Node, Invoker), NodeError> {
        self.check()?;
        let security = std::mem::take(&mut self.security).ready(&mut self.setup)?.without_audit();
        self.join_discovery(false);
        let packet_bytes = self.setup.sizes.packet_bytes.unwrap_or(PACKET_BYTES_UNKNOWN);
        self.setup.sizes.path_bytes.get_or_insert(packet_bytes);
        let (node, mut invoker, transmit) =
            Node::start_simulated(self.setup, (network, streams), clock);
        node.begin_security(security)?;
        node.join_simulated(self.cluster, transmit, &mut invoker)?;
        Ok((node, invoker))
    }

    fn check(&self) -> Result<(), NodeError> {
        if let Some(wrong) = &self.wrong {
            return Err(NodeError::Address(wrong.clone()));
        }
        self.setup.checks.check()?;
        let sizes = &self.setup.sizes;
        let reliable = &self.setup.reliable;
        let reliable = [reliable.ring_bytes, reliable.ring_bytes_first];
        let datagrams = [sizes.outbound_ring_bytes, sizes.subscriber_ring_bytes];
        for bytes in datagrams.into_iter().chain(reliable) {
            if !bytes.is_power_of_two() || bytes < 4096 {
                return Err(NodeError::RingBytes {
                    asked: bytes,
                    nearest: bytes.clamp(4096, 1 << 30).next_power_of_two(),
                });
            }
        }
        Ok(())
    }
}

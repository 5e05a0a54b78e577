//! What a node's routers, publishers and subscribers share: its planes, its links and the list of
//! everybody whose events the ledger counts. Every lock here is on the cold path: a first use of a
//! target, a new ring, a reading of the ledger.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use wireloom_control::{Control, LinksPort, ReliableSettings, Task};
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::command::{Commands, LocalRing, ReceiverCommand, SenderCommand};
use wireloom_dataplane::counters::{Counter, CounterMeaning, Counters};
use wireloom_dataplane::direct::DirectUse;
use wireloom_dataplane::dispatch::{Standing, SubscriptionId};
use wireloom_dataplane::flow::{FlowControl, Watch};
use wireloom_dataplane::launch::{ReceiverPort, SenderPort};
use wireloom_dataplane::limits::{DATAGRAM_BYTES_MAX, LINKS_MAX};
use wireloom_dataplane::link::{Link as SenderLink, LinkConfig, LinkCounters, LinkId};
use wireloom_dataplane::outbound::Outbound;
use wireloom_dataplane::socket::path_packet_bytes;
use wireloom_dataplane::wake::Wake;
use wireloom_dataplane::worker::Worker;
use wireloom_ring::{Backing, Consumer, Producer, RingConfig, ring};
use wireloom_wire::{EventTypeId, LANES, NodeId, Priority, SessionId};

use crate::access::AccessBook;
use crate::audit::AuditBook;
use crate::builder::Sizes;
use crate::cluster::Cluster;
use crate::convert::Schemas;
use crate::dominant::Dominant;
use crate::handler::HandlerCounters;
use crate::json::JsonCodec;
use crate::keying::KeyBook;
use crate::ledger::WorkerReport;
use crate::outcome::{NoRoute, Refused, SubscribeError};
use crate::paths::Paths;
use crate::peers::Peer;
use crate::reports::Reports;
use crate::request::exchange::Exchange;
use crate::rings::{RingBook, given_up};
use crate::rules::{RuleBook, RuleSet};
use crate::trace::TraceSettings;
use crate::validation::Validations;
use crate::writer::{Handed, RingWriter};

/// What publishers count for themselves.
static BATCHES_FULL: CounterMeaning = CounterMeaning {
    name: "batches_full",
    unit: "times",
    meaning: "Times a publisher's batch was full and ended the sender's flush interval.",
};

/// How long control waits for a worker to take a command before it calls it stalled.
pub(crate) const COMMAND_PATIENCE: Duration = Duration::from_secs(2);

/// A link as routers know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) frame_bytes_max: usize,
}

#[derive(Debug)]
pub(crate) struct LinkEntry {
    pub(crate) link: Link,
    path_bytes: usize,
    /// It leads to many, or not where the direct socket can lead.
    pub(crate) group: bool,
    pub(crate) counters: Arc<LinkCounters>,
}

/// Everybody the ledger asks.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) links: HashMap<SocketAddr, LinkEntry>,
    pub(crate) handed: Vec<Arc<Handed>>,
    /// Where reliable events go, by their index.
    pub(crate) peers: Vec<Peer>,
    pub(crate) handlers: Vec<(&'static str, Arc<HandlerCounters>)>,
    pub(crate) rings: Vec<RingBook>,
    /// What was configured without effect.
    pub(crate) notes: Vec<String>,
    /// Other hosts reach the node, and it has no certificate.
    pub(crate) is_insecure: bool,
    /// Bytes of rings made so far.
    pub(crate) ring_bytes: usize,
    /// Rings that asked for huge pages and got ordinary ones.
    small_rings: usize,
    types: HashMap<EventTypeId, String>,
    pub(crate) codecs: HashMap<EventTypeId, JsonCodec>,
    /// What is known of event types' schemas here, and who converts events to them.
    pub(crate) schemas: Schemas,
    pub(crate) installed: HashMap<SubscriptionId, Vec<(usize, Standing)>>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    name: String,
    id: NodeId,
    pub(crate) sizes: Sizes,
    pub(crate) reliable: ReliableSettings,
    pub(crate) rules: RuleBook,
    pub(crate) access: AccessBook,
    pub(crate) audit: AuditBook,
    pub(crate) validation: Validations,
    /// How the process's spans are told, if this node tells them.
    pub(crate) trace: TraceSettings,
    address: SocketAddr,
    notes: Vec<String>,
    clock: Clock,
    sender: SenderPort,
    pub(crate) receivers: Vec<ReceiverPort>,
    pub(crate) links: LinksPort,
    sessions: u32,
    pub(crate) subscriptions: AtomicU64,
    books: Mutex<Books>,
    /// Moves when it changes which types of the books are signed.
    pub(crate) signed_generation: AtomicU64,
    pub(crate) control: Mutex<Option<Control>>,
    pub(crate) cluster: Cluster,
    /// The requests of this node that are under way, and what it answers.
    pub(crate) exchange: Arc<Exchange>,
    /// From handlers on workers to the control thread.
    pub(crate) reports: Arc<Reports>,
    /// The workers' threads, which cannot wait for themselves.
    pub(crate) workers: Vec<ThreadId>,
    direct: OnceLock<Arc<DirectUse>>,
    /// With credentials: links demand keys, and these are on their way.
    pub(crate) keys: Option<Arc<KeyBook>>,
}

impl Shared {
    pub(crate) fn new(
        name: String,
        (sizes, reliable, rules, trace): (Sizes, ReliableSettings, RuleSet, TraceSettings),
        control: Control,
        keys: Option<KeyBook>,
    ) -> Self {
        let plane = &control.plane;
        // Sessions begin at a random place, so that no two lives of a node share one.
        let random = RandomState::new().hash_one(std::process::id());
        Self {
            id: NodeId::of_name(&name),
            name,
            sizes,
            reliable,
            rules: RuleBook::new(rules),
            access: AccessBook::default(),
            audit: AuditBook::default(),
            validation: Validations::default(),
            trace,
            address: plane.local,
            notes: plane.sockets.iter().flat_map(|socket| socket.notes.clone()).collect(),
            clock: plane.clock.clone(),
            sender: plane.sender.clone(),
            receivers: plane.receivers.clone(),
            links: control.links.clone(),
            // Far enough below the end that no link's session wraps to another's.
            sessions: (random >> 33) as u32,
            subscriptions: AtomicU64::new(1),
            books: Mutex::new(Books::default()),
            signed_generation: AtomicU64::new(0),
            exchange: Arc::new(Exchange::new(control.wake().cloned())),
            reports: Arc::new(Reports::new(control.wake().cloned())),
            workers: plane.workers.iter().filter_map(Worker::thread).collect(),
            control: Mutex::new(Some(control)),
            direct: OnceLock::new(),
            keys: keys.map(Arc::new),
            cluster: Cluster::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        let (small, configured) = {
            let books = self.books();
            (books.small_rings, books.notes.clone())
        };
        let rings = (small > 0).then(|| {
            format!(
                "{small} rings asked for huge pages and got ordinary ones: use rings of 2 MiB or \
                 more, and sysctl -w vm.nr_hugepages=… or transparent huge pages"
            )
        });
        self.notes.iter().cloned().chain(configured).chain(rings).collect()
    }

    pub(crate) const fn receivers(&self) -> usize {
        self.receivers.len()
    }

    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time of an event: one reading of the monotonic clock, as wall time.
    #[inline]
    pub(crate) fn unix_ns(&self) -> u64 {
        self.clock.unix_ns(self.clock.now_ns())
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn worker_counters(&self) -> (&Counters, impl Iterator<Item = &Counters>) {
        (&self.sender.counters, self.receivers.iter().map(|port| &*port.counters))
    }

    /// The counters of all workers, summed by name, those that are not zero.
    pub(crate) fn counters(&self) -> Vec<(&'static CounterMeaning, u64)> {
        let mut sums: Vec<(&'static CounterMeaning, u64)> = Vec::new();
        let (sender, receivers) = self.worker_counters();
        let control = [sender, &*self.links.counters, &self.exchange.counters];
        for counters in receivers.chain(control) {
            for (meaning, value) in counters.non_zero() {
                match sums.iter_mut().find(|(known, _)| *known == meaning) {
                    Some((_, sum)) => *sum += value,
                    None => sums.push((meaning, value)),
                }
            }
        }
        let books = self.books();
        let batches =
            books.handed.iter().map(|handed| handed.batches.load(Ordering::Relaxed)).sum();
        if batches > 0 {
            sums.push((&BATCHES_FULL, batches));
        }
        sums.extend(given_up(&books.rings));
        sums.extend(books.schemas.refusals());
        sums.extend(self.validation.counters());
        sums
    }

    pub(crate) fn workers(&self) -> Vec<WorkerReport> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = control.iter().flat_map(|control| &control.plane.workers);
        workers
            .map(|worker| {
                let (gauges, name) = (worker.gauges(), worker.name().to_owned());
                let started_ns = gauges.started_ns.load(Ordering::Relaxed);
                let up_ns = self.clock.now_ns().saturating_sub(started_ns).max(1);
                let useful_ns = gauges.useful_ns.load(Ordering::Relaxed);
                WorkerReport {
                    name,
                    cycles: gauges.cycles.load(Ordering::Relaxed),
                    cycles_useful: gauges.cycles_useful.load(Ordering::Relaxed),
                    useful_ns,
                    useful_percent: 100.0 * (useful_ns as f64) / (up_ns as f64),
                    parks: gauges.parks.load(Ordering::Relaxed),
                    cycle_ns_max: gauges.cycle_ns_max.load(Ordering::Relaxed),
                }
            })
            .collect()
    }

    /// A place in the ledger for one more publisher or router.
    pub(crate) fn hand(&self) -> Arc<Handed> {
        let handed = Arc::new(Handed::default());
        let mut books = self.books();
        // Publishers that are gone become one entry, so that the list stays as short as they are.
        if books.handed.len() > 64 {
            let folded = Handed::default();
            books.handed.retain(|old| {
                let gone = Arc::strong_count(old) == 1;
                if gone {
                    for (sum, cell) in [
                        (&folded.to_links, &old.to_links),
                        (&folded.to_local, &old.to_local),
                        (&folded.refused, &old.refused),
                        (&folded.batches, &old.batches),
                    ] {
                        sum.fetch_add(cell.load(Ordering::Relaxed), Ordering::Relaxed);
                    }
                }
                !gone
            });
            books.handed.push(Arc::new(folded));
        }
        books.handed.push(Arc::clone(&handed));
        handed
    }

    pub(crate) fn ring(&self, capacity_bytes: usize) -> Result<(Producer, Consumer), String> {
        let config = RingConfig { capacity_bytes, huge_pages: self.sizes.huge_pages };
        let made = ring(config).map_err(|error| error.to_string())?;
        let mut books = self.books();
        books.ring_bytes += capacity_bytes;
        if self.sizes.huge_pages && made.0.backing() == Backing::Pages {
            books.small_rings += 1;
        }
        Ok(made)
    }

    /// A ring to the sender in the lane of `priority`, or to this process's own handlers.
    pub(crate) fn attach(
        &self,
        priority: Option<Priority>,
        handed: Arc<Handed>,
    ) -> Result<RingWriter, Refused> {
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        let made = self.ring(self.sizes.outbound_ring_bytes);
        let (producer, consumer) = made.map_err(|_| Refused::NoRoute(NoRoute::Stalled))?;
        let wake = match priority {
            Some(priority) => {
                let lane = self.sizes.levels.lane_of(priority);
                let outbound = Box::new(Outbound::new(consumer, lane.index()));
                self.to_sender(SenderCommand::Attach(outbound))?;
                self.sender.wake.clone()
            }
            None => {
                self.to_receiver(
                    0,
                    ReceiverCommand::AttachLocal(Box::new(LocalRing { consumer, taken: None })),
                )
                .map_err(|()| NoRoute::Stalled)?;
                self.receivers[0].wake.clone()
            }
        };
        let urgent = priority.is_none_or(|priority| priority == Priority::Critical);
        Ok(RingWriter::new(producer, wake, urgent, handed).batching(self.sizes.batch as u64))
    }

    /// The link to an address, made when it is new: the path's packet size is asked of the system.
    pub(crate) fn link_to(&self, address: SocketAddr, group: bool) -> Result<Link, Refused> {
        let mut books = self.books();
        if let Some(entry) = books.links.get(&address) {
            return Ok(entry.link);
        }
        if books.links.len() == LINKS_MAX {
            return Err(NoRoute::LinksExhausted(LINKS_MAX).into());
        }
        let (destination, hears_back) = {
            let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(control) = control.as_ref() else { return Err(Refused::Closed) };
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let plane = &control.plane;
            let destination = plane.destination(address).ok_or(NoRoute::Family(family))?;
            (destination, plane.hears_back(address))
        };
        let path_bytes = self.path_bytes(address);
        let id = LinkId(u32::try_from(books.links.len()).unwrap_or(u32::MAX));
        let link = Box::new(SenderLink::new(LinkConfig {
            id,
            destination,
            source: self.id,
            // Never 0, which means this process; never the same for two links of a life.
            session: SessionId(self.sessions.wrapping_add(id.0).max(1)),
            packet_bytes: self.sizes.packet_bytes(path_bytes),
            packet_bytes_max: path_bytes,
            multicast: group,
            flow: if hears_back { self.sizes.flow } else { FlowControl::Off },
            demands_key: self.keys.as_ref().map_or([false; LANES], |keys| keys.modes.seal()),
        }));
        self.watch(&link, group)?;
        let known = Link { id, frame_bytes_max: link.frame_bytes_max() };
        let counters = Arc::clone(link.counters());
        self.to_sender(SenderCommand::AddLink(link))?;
        if let Some(keys) = &self.keys {
            keys.want(address, id, group);
            if let Some(wake) = &self.links.wake {
                wake.notify();
            }
        }
        books.links.insert(
            address,
            LinkEntry { link: known, path_bytes, group: group || !hears_back, counters },
        );
        Ok(known)
    }

    /// The largest datagram the path to an address takes, as far as is known.
    pub(crate) fn path_bytes(&self, address: SocketAddr) -> usize {
        let known = self.sizes.path_bytes.or_else(|| path_packet_bytes(address));
        known.unwrap_or(Sizes::unknown_path_bytes()).min(DATAGRAM_BYTES_MAX)
    }

    /// Asks the system for every path again and tells the sender of those that have changed;
    /// returns how many. Costs a scratch socket for each link.
    pub(crate) fn look_at_paths(&self) -> usize {
        let links: Vec<(SocketAddr, LinkId, usize)> = {
            let books = self.books();
            let links = books.links.iter();
            links.map(|(address, entry)| (*address, entry.link.id, entry.path_bytes)).collect()
        };
        let mut changed = 0;
        for (address, id, known_bytes) in links {
            let path_bytes = self.path_bytes(address);
            let packet_bytes = self.sizes.packet_bytes(path_bytes);
            let command = SenderCommand::SetPath(id, packet_bytes, path_bytes);
            if path_bytes != known_bytes && self.to_sender(command).is_ok() {
                if let Some(entry) = self.books().links.get_mut(&address) {
                    entry.path_bytes = path_bytes;
                }
                changed += 1;
            }
        }
        changed
    }

    /// Datagrams the kernel has refused for ever.
    pub(crate) fn datagrams_refused(&self) -> u64 {
        self.sender.counters.read(Counter::DatagramsRefused)
    }

    /// Lets the control thread follow the paths of the links, and who dominates them.
    pub(crate) fn follow_links(self: &Arc<Self>) {
        // A control thread that takes no task has ended, and its node with it.
        let _ = self.add_task(Box::new(Paths::new(Arc::downgrade(self))));
        let port = {
            let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
            control.as_mut().and_then(|control| control.plane.direct.take())
        };
        if let Some(port) = port {
            let _ = self.direct.set(Arc::clone(port.in_use()));
            let _ = self.add_task(Box::new(Dominant::new(Arc::downgrade(self), port)));
        }
    }

    /// The peer whose datagrams leave by the direct socket now.
    pub(crate) fn direct_peer(&self) -> Option<SocketAddr> {
        let link = self.direct.get()?.link()?;
        let books = self.books();
        books.links.iter().find(|(_, entry)| entry.link.id == link).map(|(address, _)| *address)
    }

    /// Lets the receivers pass on what the link's peer says of it.
    fn watch(&self, link: &SenderLink, group: bool) -> Result<(), Refused> {
        for receiver in (0..self.receivers()).filter(|_| !group) {
            let watch = Box::new(Watch {
                source: self.id,
                session: link.session(),
                window: Arc::clone(link.window()),
                wake: self.sender.wake.clone(),
            });
            self.to_receiver(receiver, ReceiverCommand::Watch(watch))
                .map_err(|()| NoRoute::Stalled)?;
        }
        Ok(())
    }

    /// Changes what happens when the peer at a target takes no more.
    pub(crate) fn set_flow(&self, link: LinkId, flow: FlowControl) -> Result<(), Refused> {
        self.to_sender(SenderCommand::SetFlow(link, flow))
    }

    /// Remembers a type's name; two names with one id are told apart here, before either is lost.
    pub(crate) fn know_type(&self, id: EventTypeId, name: &str) -> Result<(), SubscribeError> {
        let mut books = self.books();
        match books.types.get(&id) {
            Some(known) if known != name => {
                Err(SubscribeError::TypeIdCollision(known.clone(), name.to_owned()))
            }
            Some(_) => Ok(()),
            None => {
                books.types.insert(id, name.to_owned());
                Ok(())
            }
        }
    }

    pub(crate) fn codec(&self, id: EventTypeId) -> Option<JsonCodec> {
        self.books().codecs.get(&id).copied()
    }

    pub(crate) fn type_name(&self, id: EventTypeId) -> Option<String> {
        self.books().types.get(&id).cloned()
    }

    /// The types this node has met, by name.
    pub(crate) fn known_types(&self) -> Vec<(EventTypeId, String)> {
        self.books().types.iter().map(|(id, name)| (*id, name.clone())).collect()
    }

    pub(crate) fn add_task(&self, task: Task) -> Result<(), SubscribeError> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(control) = control.as_ref() else { return Err(SubscribeError::Stalled) };
        control.add_task(task).map_err(|_| SubscribeError::Stalled)
    }

    pub(crate) fn to_sender(&self, command: SenderCommand) -> Result<(), Refused> {
        command_to(&self.sender.commands, self.sender.wake.as_ref(), command)
            .map_err(|()| NoRoute::Stalled.into())
    }

    /// Gives a worker a command if there is room now: for tasks of the control thread.
    pub(crate) fn offer_sender(&self, command: SenderCommand) -> Result<(), SenderCommand> {
        self.sender.commands.push(command)?;
        self.sender.wake.iter().for_each(|wake| wake.notify());
        Ok(())
    }

    /// As [`Shared::offer_sender`].
    pub(crate) fn offer_receiver(
        &self,
        receiver: usize,
        command: ReceiverCommand,
    ) -> Result<(), ReceiverCommand> {
        let port = &self.receivers[receiver];
        port.commands.push(command)?;
        port.wake.iter().for_each(|wake| wake.notify());
        Ok(())
    }

    /// Whether no receiver has a command to take.
    pub(crate) fn receivers_have_taken(&self) -> bool {
        self.receivers.iter().all(|port| port.commands.is_empty())
    }

    pub(crate) fn to_receiver(&self, receiver: usize, command: ReceiverCommand) -> Result<(), ()> {
        let port = &self.receivers[receiver];
        command_to(&port.commands, port.wake.as_ref(), command)
    }

    /// What wakes the control thread; `None` when it is closed or driven by the caller.
    pub(crate) fn control_wake(&self) -> Option<Arc<Wake>> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.as_ref().and_then(|control| control.wake().cloned())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.control.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Ends both planes; what the workers hold is sent first.
    pub(crate) fn close(&self) {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(control);
        self.audit.close();
    }
}

/// Gives a worker a command: waits a moment when its queue is full, wakes it if it sleeps.
pub(crate) fn command_to<T>(
    commands: &Commands<T>,
    wake: Option<&Arc<Wake>>,
    mut command: T,
) -> Result<(), ()> {
    let mut patience = COMMAND_PATIENCE;
    let pause = Duration::from_micros(200);
    while let Err(refused) = commands.push(command) {
        // Without a worker of its own the caller must drive the agents first.
        if wake.is_none() || patience.is_zero() {
            return Err(());
        }
        command = refused;
        std::thread::sleep(pause);
        patience = patience.saturating_sub(pause);
    }
    if let Some(wake) = wake {
        wake.notify();
    }
    Ok(())
}

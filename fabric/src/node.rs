//! A node: one running process (or part of one) of the fabric, with a name, an address and its
//! workers. From it come routers, publishers, handlers and subscribers.

use std::net::SocketAddr;
use std::sync::Arc;

use rkyv::Archived;
use wireloom_control::simulated::SimulatedStreams;
use wireloom_control::{Control, DeadLetter, LinksCommand, LinksPlan};
use wireloom_dataplane::agent::Invoker;
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::flow::FlowControl;
use wireloom_dataplane::inbound::SlowPolicy;
use wireloom_dataplane::io::simulated::{SimulatedNetwork, SimulatedTransmit};
use wireloom_dataplane::launch::simulate;
use wireloom_wire::{Encoding, EventTypeId, NodeId};

use crate::builder::{NodeBuilder, NodeError, Setup};
use crate::choose::Chooser;
use crate::event::Event;
use crate::intake::Intake;
use crate::json::JsonError;
use crate::ledger::{Ledger, WorkerReport};
use crate::outcome::{Refused, SubscribeError};
use crate::pattern::TypePattern;
use crate::publisher::Publisher;
use crate::router::{Router, way_of};
use crate::shared::Shared;
use crate::subscriber::{AnyEvent, AnySubscriber, KeyOf, Subscriber};
use crate::target::Target;
use crate::writer::Way;

/// One node of the fabric. Cheap to share by reference; dropping it sends what it holds (one second
/// at most), then ends its threads.
///
/// ```
/// use wireloom::{Event, Node, Target};
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[event(type = "greeting")]
/// struct Greeting { words: String }
///
/// let listener = Node::builder("listener").start()?;
/// let (heard, hears) = std::sync::mpsc::channel();
/// listener.on::<Greeting>(move |greeting, _envelope| {
///     let _ = heard.send(greeting.words.to_string());
/// })?;
///
/// let speaker = Node::builder("speaker").start()?;
/// let target = Target::Node(listener.address());
/// speaker.router().route(&Greeting { words: "hello".into() }, &target)?;
/// assert_eq!(hears.recv_timeout(std::time::Duration::from_secs(5))?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Node {
    pub(crate) shared: Arc<Shared>,
}

impl Node {
    /// Sets up a node of this name. The name is its identity: [`Node::id`] follows from it.
    #[must_use]
    pub fn builder(name: &str) -> NodeBuilder {
        NodeBuilder::new(name)
    }

    pub(crate) fn start(setup: Setup) -> Result<Self, NodeError> {
        let control = Control::start(&setup.plane, setup.plan())?;
        Ok(Self::of(setup, control))
    }

    pub(crate) fn start_invoker(setup: Setup) -> Result<(Self, Invoker), NodeError> {
        let (control, invoker) = Control::start_invoker(&setup.plane, setup.plan())?;
        Ok((Self::of(setup, control), invoker))
    }

    /// A node on real paths.
    fn of(setup: Setup, control: Control) -> Self {
        let credentials = setup.credentials.clone();
        let shared = Arc::new(setup.share(control));
        shared.follow_links();
        shared.attend_keys(credentials);
        shared.attend_reports();
        shared.attend_requests();
        Self { shared }
    }

    pub(crate) fn start_simulated(
        setup: Setup,
        (network, streams): (&SimulatedNetwork, &SimulatedStreams),
        clock: Clock,
    ) -> (Self, Invoker, SimulatedTransmit) {
        let plane = &setup.plane;
        let groups: Vec<SocketAddr> = plane
            .groups
            .iter()
            .map(|group| SocketAddr::new(group.join.group, group.port))
            .collect();
        let (transmit, receive) = network.endpoint(plane.listen, &groups);
        let way_out = transmit.clone();
        let (plane, mut invoker) = simulate(plane.listen, transmit, receive, clock);
        let sockets = streams.node(plane.local);
        let plan = setup.plan();
        // The same sessions and pauses in every run of one seed.
        let seed = plane.clock.now_ns() ^ plan.node.0;
        let plan = LinksPlan { seed, ..plan };
        let control = Control::attend(plane, &mut invoker, plan, sockets);
        let credentials = setup.credentials.clone();
        let shared = Arc::new(setup.share(control));
        shared.attend_keys(credentials);
        shared.attend_reports();
        shared.attend_requests();
        (Self { shared }, invoker, way_out)
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// The node's id: a hash of its name, stamped into every packet.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.shared.id()
    }

    /// Where this node receives.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address()
    }

    /// The peer that most datagrams of this node go to, while a socket is connected to it; see
    /// [`NodeBuilder::direct`]. Costs a lock: for reports.
    #[must_use]
    pub fn direct_peer(&self) -> Option<SocketAddr> {
        self.shared.direct_peer()
    }

    pub(crate) fn with_notes(self, notes: Vec<String>, is_insecure: bool) -> Self {
        let mut books = self.shared.books();
        books.notes.extend(notes);
        books.is_insecure = is_insecure;
        drop(books);
        self
    }

    /// Takes reliable events from now on, after [`NodeBuilder::accept_later`]; without that it
    /// changes nothing.
    ///
    /// # Errors
    /// [`Refused::NoRoute`]: the control thread has ended.
    pub fn accept(&self) -> Result<(), Refused> {
        self.shared.to_links(LinksCommand::Accept)
    }

    /// Whether other hosts reach this node although it has no certificate, as
    /// [`NodeBuilder::insecure`] allowed.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.shared.books().is_insecure
    }

    /// What the system did not grant and how to grant it, and what was configured without effect;
    /// one line each, empty when all is well.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let cluster = self.shared.cluster.joined().map(|joined| joined.notes.clone());
        self.shared.notes().into_iter().chain(cluster.into_iter().flatten()).collect()
    }

    /// The memory this node can come to use, as a sum with a reason for each term, in bytes. Rings
    /// of publishers and subscribers are added as they are made.
    #[must_use]
    pub fn memory(&self) -> Vec<(&'static str, usize)> {
        self.shared.memory()
    }

    /// A router: routes any event type to any target. One for each thread.
    #[must_use]
    pub fn router(&self) -> Router {
        Router::new(Arc::clone(&self.shared))
    }

    /// A publisher of one type to one target, for a hot loop.
    ///
    /// # Errors
    /// [`Refused::NoRoute`] when the target cannot be reached from this node, [`Refused::Closed`].
    pub fn publisher<E: Event>(&self, target: &Target) -> Result<Publisher<E>, Refused> {
        Publisher::new(&self.shared, target)
    }

    /// What happens to events for `target` that it does not take now; before the first call it is
    /// what [`NodeBuilder::flow_control`] said. Groups and broadcast stay without flow control,
    /// and so does a target of the address family this node does not listen on. A name or service
    /// means the member that it leads to now.
    ///
    /// # Errors
    /// [`Refused::NoRoute`] when the target cannot be reached from this node, or may mean several
    /// nodes ([`NoRoute::NotOne`](crate::NoRoute::NotOne)); [`Refused::Closed`].
    pub fn set_flow_control(&self, target: &Target, flow: FlowControl) -> Result<(), Refused> {
        let one = Chooser::default().one(&self.shared, target)?;
        match way_of(&self.shared, &one)? {
            Way::Link { id, .. } => self.shared.set_flow(id, flow),
            // TCP has a flow control of its own, and reliable events are held.
            Way::Reliable(_) | Way::Local(_) => Ok(()),
        }
    }

    /// Runs `handler` for every reliable event that was given up, with what is known of it: on the
    /// control thread, so it may take its time but must not block. A second handler replaces the
    /// first. Events may be among them whose acknowledgement alone was lost.
    ///
    /// # Errors
    /// [`Refused::NoRoute`] when the control thread takes no commands.
    pub fn on_undelivered(
        &self,
        handler: impl FnMut(&DeadLetter<'_>) + Send + 'static,
    ) -> Result<(), Refused> {
        self.shared.to_links(LinksCommand::OnUndelivered(Box::new(handler)))
    }

    /// A subscriber of type `E` behind a ring: its owner polls events on its own thread. One copy,
    /// out of the receive buffer into the ring. What finds the ring full is shed and told in-band.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe<E: Event>(&self) -> Result<Subscriber<E>, SubscribeError> {
        Subscriber::new(&self.shared, Intake::default(), None)
    }

    /// The same with a ring and a policy of its own: what gives way when the subscriber is slower
    /// than its events come, without its neighbours noticing. See [`SlowPolicy`](crate::SlowPolicy)
    /// for what each costs; a policy alone is an [`Intake`].
    ///
    /// ```
    /// use wireloom::{Event, Node, Polled, SlowPolicy, Target};
    ///
    /// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    /// #[event(type = "reading")]
    /// struct Reading { celsius: f32 }
    ///
    /// let (node, mut turns) = Node::builder("greenhouse").start_invoker()?;
    /// let mut readings = node.subscribe_with::<Reading>(SlowPolicy::DropOldest)?;
    /// node.router().route(&Reading { celsius: 21.5 }, &Target::Local)?;
    /// turns.drain(100);
    /// readings.poll(64, |polled| match polled {
    ///     Polled::Event(reading, _) => assert_eq!(reading.celsius.to_native(), 21.5),
    ///     Polled::Shed(shed) => println!("{} events shed: {}", shed.events, shed.reason),
    ///     Polled::Lost(lost) => println!("{} events lost on the way", lost.events()),
    ///     Polled::Disconnected => println!("cut off"),
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe_with<E: Event>(
        &self,
        intake: impl Into<Intake>,
    ) -> Result<Subscriber<E>, SubscribeError> {
        let intake = intake.into();
        let keyed = E::KEY.is_some() && matches!(intake.policy(), SlowPolicy::Latest { .. });
        let key = |event: &Archived<E>| E::key_of(event).unwrap_or(0);
        Subscriber::new(&self.shared, intake, keyed.then(|| Arc::new(key) as KeyOf<E>))
    }

    /// The newest event of each key: a subscriber that falls behind, however far, then sees each
    /// key's newest event, and how many were superseded. `key` runs on the receiving worker (the
    /// archive is checked there for it); about 100 ns an event in all. At most `keys` keys wait at
    /// a time, each with an equal share of the ring's size for its event.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe_latest<E: Event>(
        &self,
        keys: usize,
        key: impl Fn(&Archived<E>) -> u64 + Send + Sync + 'static,
    ) -> Result<Subscriber<E>, SubscribeError> {
        let intake = Intake::of(SlowPolicy::Latest { keys });
        Subscriber::new(&self.shared, intake, Some(Arc::new(key)))
    }

    /// A subscriber of events whose types are known by name only, or of every type when `types` is
    /// empty: for tools and gateways.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe_any(&self, types: &[&str]) -> Result<AnySubscriber, SubscribeError> {
        AnySubscriber::new(&self.shared, types, Intake::default())
    }

    /// The same with a ring and a policy of its own. With
    /// [`SlowPolicy::Latest`](crate::SlowPolicy::Latest) the key is the type.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe_any_with(
        &self,
        types: &[&str],
        intake: impl Into<Intake>,
    ) -> Result<AnySubscriber, SubscribeError> {
        AnySubscriber::new(&self.shared, types, intake.into())
    }

    /// A subscriber of events whose type's name matches one of `patterns`. Events carry their name
    /// when they are dynamic; of typed ones only those match whose type this node has met before
    /// ([`Node::on`], [`Node::register_json`], [`Node::type_name`]). To its cluster such a node
    /// wants every type, and what does not match is passed over here.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe_matching(
        &self,
        patterns: &[TypePattern],
    ) -> Result<AnySubscriber, SubscribeError> {
        AnySubscriber::matching(&self.shared, patterns)
    }

    /// Makes a type known by its JSON form: dynamic events of its name then reach its typed
    /// handlers and subscribers, and [`Node::to_json`] can print it.
    ///
    /// # Errors
    /// [`SubscribeError::TypeIdCollision`] when another type has the same id.
    pub fn register_json<E>(&self) -> Result<(), SubscribeError>
    where
        E: Event + serde::Serialize + serde::de::DeserializeOwned,
    {
        self.shared.register_json::<E>()
    }

    /// The JSON form of an event taken by a [`Node::subscribe_any`] subscriber: a dynamic event's
    /// own text, or the conversion of a type made known by [`Node::register_json`]. `None` when its
    /// type is not known here or its schema is another.
    ///
    /// # Errors
    /// The archive is not one of its type.
    pub fn to_json(&self, event: &AnyEvent<'_>) -> Option<Result<Vec<u8>, JsonError>> {
        match event.encoding() {
            Encoding::Json => Some(Ok(event.payload().to_vec())),
            Encoding::Raw => None,
            Encoding::Rkyv => {
                let codec = self.shared.codec(event.envelope.event_type())?;
                if codec.fingerprint() != event.fingerprint() {
                    return None;
                }
                let mut json = Vec::new();
                Some(codec.json_from_archive(event.payload(), &mut json).map(|()| json))
            }
        }
    }

    /// The name of an event type by its id, when this node has met it.
    #[must_use]
    pub fn type_name(&self, id: EventTypeId) -> Option<String> {
        self.shared.type_name(id)
    }

    /// The account of every event this node took or heard.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger()
    }

    /// The counters of all workers by name, those that are not zero, with unit and sentence.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static wireloom_dataplane::counters::CounterMeaning, u64)> {
        self.shared.counters()
    }

    /// What each worker thread has done so far; empty when the caller drives the node or it is
    /// closed.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerReport> {
        self.shared.workers()
    }

    /// Sends what is held, ends the threads and gives the final account.
    #[must_use]
    pub fn close(self) -> Ledger {
        self.shared.close();
        self.shared.ledger()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.close();
    }
}

//! What all clones of one [`LegacyEvents`](super::LegacyEvents) share, and the two ways of an event
//! through it: emitted here ([`Inner::emit`], [`Inner::relay`]) and arrived from outside
//! ([`Inner::on_wrapped`], [`Inner::on_typed`], called by `receiving.rs`).
//!
//! What arrives is never routed to the network again, so nothing can go round in circles; only its
//! typed form is given to handlers of this process, where no other node sent it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use serde_json::Value;
use wireloom_wire::{Priority, event_type_id};

use super::{EmitError, Emitted, LegacyEventsBuilder, LegacyFault, OnFault, StartError};
use crate::event::Event as _;
use crate::jtag::counts::{Counters, LegacyCounts, add};
use crate::jtag::filter::Filter;
use crate::jtag::listeners::Listeners;
use crate::jtag::mapping::Entry;
use crate::jtag::message::{Environment, Message, random};
use crate::jtag::outbox::{Frame, NotSent, Outbox, Sent};
use crate::jtag::shape::{MessageError, check_value, checked_name};
use crate::jtag::stream::StreamQueue;
use crate::jtag::ways::Ways;
use crate::jtag::window::Window;
use crate::jtag::wrapper::{Forms, Identity, LegacyEvent, LegacyJtag, Original};
use crate::node::Node;
use crate::shared::Shared;
use crate::subscriber::{AnyEvent, AnySubscriber};
use crate::target::Target;
use crate::validation::{SchemaFault, Validations};

/// What arrives or is emitted here, for whoever passes it on to others.
pub(in crate::jtag) enum Arrival<'a> {
    /// An event, and the message that brought it, if one did, as its text.
    Event(&'a LegacyEvent, Option<&'a str>),
    /// A request or response, as its text.
    Message(&'a Message, &'a str),
}

/// Says whether it wants more.
type Tap = Arc<dyn Fn(&Arrival<'_>) -> bool + Send + Sync>;

/// See the module.
pub(in crate::jtag) struct Inner {
    pub(in crate::jtag) listeners: Arc<Listeners>,
    streams: Mutex<Vec<Weak<StreamQueue>>>,
    taps: Mutex<Vec<Tap>>,
    outbox: Mutex<Outbox>,
    window: Mutex<Window>,
    counters: Counters,
    entries: Vec<Arc<Entry>>,
    ways: Ways,
    /// By priority: typed events that go the ways of it reach handlers of this process by
    /// themselves.
    comes_back: [bool; Priority::ALL.len()],
    source: String,
    context: Environment,
    urgency: fn(&str) -> Priority,
    on_fault: OnFault,
    emitter: u64,
    number: AtomicU64,
    is_closed: AtomicBool,
    validations: Validations,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LegacyEvents")
            .field("source", &self.source)
            .field("ways", &self.ways)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a typed event for `target` reaches handlers of this node without being sent to them.
fn returns_here(shared: &Shared, target: &Target) -> bool {
    match target {
        Target::Local | Target::Interested => true,
        Target::Multicast(group) => {
            let control = lock(&shared.control);
            let sockets = control.iter().flat_map(|control| &control.plane.sockets);
            sockets.into_iter().any(|socket| socket.local == *group)
        }
        Target::Broadcast(address) => {
            let own = shared.address();
            own.ip().is_unspecified() && own.port() == address.port()
        }
        Target::Node(address) | Target::Reliable(address) => *address == shared.address(),
        Target::Named(name) => **name == *shared.name(),
        Target::Reliably(target) => returns_here(shared, target),
        _ => false,
    }
}

impl Inner {
    pub(super) fn new(
        node: &Node,
        builder: LegacyEventsBuilder<'_>,
    ) -> Result<(Arc<Self>, AnySubscriber), StartError> {
        checked_name("source", &builder.source)?;
        let entries = builder.mapping.checked()?;
        let mut types = vec![LegacyJtag::TYPE];
        for entry in &entries {
            // Dynamic events of the type reach its typed handlers too.
            (entry.register)(node)?;
            types.push(entry.typed);
        }
        let subscriber = node.subscribe_any(&types)?;
        let ways = builder.ways;
        let comes_back = Priority::ALL
            .map(|priority| ways.of(priority).iter().any(|way| returns_here(&node.shared, way)));
        let inner = Self {
            listeners: Arc::default(),
            streams: Mutex::default(),
            taps: Mutex::default(),
            outbox: Mutex::new(Outbox::new(node.router())),
            window: Mutex::default(),
            counters: Counters::default(),
            entries: entries.into_iter().map(Arc::new).collect(),
            ways,
            comes_back,
            source: builder.source,
            context: builder.context,
            urgency: builder.urgency,
            on_fault: builder.on_fault,
            emitter: random(),
            number: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            validations: Arc::clone(&node.shared.validation),
        };
        Ok((Arc::new(inner), subscriber))
    }

    pub(super) fn counts(&self) -> LegacyCounts {
        let outbox = lock(&self.outbox);
        let (waiting, retries) = (outbox.waiting() as u64, outbox.retries);
        LegacyCounts { waiting, retries, ..self.counters.read() }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        if self.is_closed.swap(true, Ordering::Relaxed) {
            return;
        }
        add(&self.counters.given_up, lock(&self.outbox).clear() as u64);
        self.listeners.clear();
        lock(&self.taps).clear();
        for stream in lock(&self.streams).drain(..) {
            if let Some(stream) = stream.upgrade() {
                stream.close();
            }
        }
    }

    fn told(&self, fault: &LegacyFault) {
        // The user's; it must not take an event with it.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.on_fault)(fault)));
    }

    pub(super) fn open_stream(&self, filter: Filter, most: usize) -> Arc<StreamQueue> {
        let queue = StreamQueue::new(filter);
        let mut streams = lock(&self.streams);
        streams.retain(|stream| stream.strong_count() > 0);
        if streams.len() >= most || self.is_closed() {
            queue.close();
        } else {
            streams.push(Arc::downgrade(&queue));
        }
        queue
    }

    pub(super) fn add_tap(&self, tap: Tap) {
        lock(&self.taps).push(tap);
    }

    fn entry(&self, name: &str) -> Option<&Arc<Entry>> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Whether the data of an event is as the schemas of its name and of its typed form say.
    pub(in crate::jtag) fn check_schema(
        &self,
        name: &str,
        data: &Value,
    ) -> Result<(), SchemaFault> {
        let schemas = &self.validations.schemas;
        if schemas.is_empty() {
            return Ok(());
        }
        let json = data.to_string();
        schemas.check(event_type_id(name), json.as_bytes())?;
        let typed = self.entry(name).map(|entry| entry.type_id);
        typed.map_or(Ok(()), |type_id| schemas.check(type_id, json.as_bytes()))
    }

    fn next_identity(&self) -> Identity {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        Identity { emitter: self.emitter, number }
    }
}

/// Emitted here.
impl Inner {
    pub(super) fn emit(&self, name: &str, data: &Value) -> Result<Emitted, EmitError> {
        checked_name("the event's name", name)?;
        check_value(data)?;
        if self.is_closed() {
            return Err(EmitError::Closed);
        }
        self.check_schema(name, data)?;
        add(&self.counters.emitted, 1);
        let event = LegacyEvent::new(name, data.clone(), (&self.source, self.context));
        let wrapper = LegacyJtag::of(&event.original());
        let (mut emitted, not_sent) = self.send(&event, &wrapper, (self.urgency)(name));
        self.give(&event, None, &mut emitted);
        not_sent.map_or(Ok(emitted), Err)
    }

    /// Sends a message as it is. Its event reaches listeners here, not the taps: who relays it
    /// tells its own clients.
    pub(in crate::jtag) fn relay(
        &self,
        message: &Message,
        text: &[u8],
    ) -> Result<Emitted, EmitError> {
        if self.is_closed() {
            return Err(EmitError::Closed);
        }
        add(&self.counters.relayed, 1);
        let wrapper = LegacyJtag::read(text)?;
        let event = message.correlation_id.is_none().then(|| LegacyEvent::of_message(message));
        let Some(Some(event)) = event else {
            let (emitted, not_sent) = self.send_frames(
                (&self.next_identity(), Forms::One),
                [Frame::Wrapped(wrapper.to_json().into(), message.priority())],
                &message.endpoint,
            );
            return not_sent.map_or(Ok(emitted), Err);
        };
        self.check_schema(&event.name, &event.data)?;
        let (mut emitted, not_sent) = self.send(&event, &wrapper, message.priority());
        self.call(&event, &mut emitted);
        not_sent.map_or(Ok(emitted), Err)
    }

    /// Routes the forms of an event, and the typed one to handlers of this process.
    fn send(
        &self,
        event: &LegacyEvent,
        wrapper: &LegacyJtag,
        priority: Priority,
    ) -> (Emitted, Option<EmitError>) {
        let identity = self.next_identity();
        let entry = self.entry(&event.name);
        let wrapped = entry.is_none_or(|entry| !entry.moved);
        let wrapped = wrapped.then(|| Frame::Wrapped(wrapper.to_json().into(), priority));
        let typed =
            entry.map(|entry| Frame::Typed(Arc::clone(entry), Arc::new(event.data.clone())));
        let forms = if wrapped.is_some() && typed.is_some() { Forms::Two } else { Forms::One };
        self.send_frames((&identity, forms), wrapped.into_iter().chain(typed), &event.name)
    }

    fn send_frames(
        &self,
        (identity, forms): (&Identity, Forms),
        frames: impl IntoIterator<Item = Frame>,
        name: &str,
    ) -> (Emitted, Option<EmitError>) {
        let (mut emitted, mut not_sent) = (Emitted::default(), None);
        let mut outbox = lock(&self.outbox);
        for frame in frames {
            let priority = frame.priority();
            let here = matches!(frame, Frame::Typed(..)) && !self.comes_back[priority.index()];
            let local = here.then_some(&Target::Local);
            for target in self.ways.of(priority).iter().chain(local) {
                let sent = outbox.send(frame.clone(), identity.trace(forms), target);
                match self.count(sent, &mut emitted) {
                    Ok(()) => {}
                    // Once is enough to be told that the data does not fit the type.
                    Err(NotSent::Unfit(_)) if not_sent.is_some() => {}
                    Err(reason) => {
                        let (name, target) = (name.to_owned(), target.to_string());
                        not_sent.get_or_insert(EmitError::NotSent { name, target, reason });
                    }
                }
            }
        }
        (emitted, not_sent)
    }

    fn count(&self, sent: Result<Sent, NotSent>, emitted: &mut Emitted) -> Result<(), NotSent> {
        let counters = &self.counters;
        match sent {
            Ok(Sent::Accepted) => {
                add(&counters.routed, 1);
                emitted.routed += 1;
                return Ok(());
            }
            Ok(Sent::Waits) => {
                emitted.waiting += 1;
                return Ok(());
            }
            Err(NotSent::Refused(_)) => add(&counters.refused, 1),
            Err(NotSent::Unfit(_)) => add(&counters.unfit, 1),
            Err(NotSent::QueueFull) => add(&counters.queue_full, 1),
        }
        sent.map(|_| ())
    }

    /// Tries again what waits; says until when nothing has to be.
    pub(super) fn flush(&self, now: Instant) -> Option<Instant> {
        let mut given_up = Vec::new();
        let due = {
            let mut outbox = lock(&self.outbox);
            let before = outbox.waiting();
            outbox.flush(now, |_, error| given_up.push(error.clone()));
            let gone = before - outbox.waiting() - given_up.len();
            add(&self.counters.routed, gone as u64);
            outbox.due()
        };
        for error in given_up {
            add(&self.counters.given_up, 1);
            self.told(&LegacyFault::GivenUp(error));
        }
        due
    }
}

/// Given to listeners, streams and taps.
impl Inner {
    fn give(&self, event: &LegacyEvent, message: Option<&str>, emitted: &mut Emitted) {
        self.call(event, emitted);
        self.give_taps(&Arrival::Event(event, message));
    }

    fn call(&self, event: &LegacyEvent, emitted: &mut Emitted) {
        let returned = self.listeners.call(&event.name, &event.data, |words| {
            emitted.panicked += 1;
            add(&self.counters.panicked, 1);
            let (name, words) = (event.name.clone(), words.to_owned());
            self.told(&LegacyFault::ListenerPanicked { name, words });
        });
        emitted.listeners += returned;
        add(&self.counters.delivered, returned as u64);
        let streams: Vec<Arc<StreamQueue>> =
            lock(&self.streams).iter().filter_map(Weak::upgrade).collect();
        for stream in streams {
            stream.offer(event);
        }
    }

    fn give_taps(&self, arrival: &Arrival<'_>) {
        // Taps are few: a bridge has one. None is called under the lock.
        let taps = lock(&self.taps).clone();
        for tap in taps {
            // A tap runs what is a user's; one that panics has heard enough.
            if !catch_unwind(AssertUnwindSafe(|| tap(arrival))).unwrap_or(false) {
                lock(&self.taps).retain(|other| !Arc::ptr_eq(other, &tap));
            }
        }
    }
}

/// Arrived from outside, on the thread `wl-legacy`.
impl Inner {
    pub(super) fn count_shed(&self, events: u64) {
        add(&self.counters.shed, events);
    }

    pub(super) fn count_lost(&self, events: u64) {
        add(&self.counters.lost, events);
    }

    pub(super) fn on_malformed(&self, error: MessageError) {
        add(&self.counters.malformed, 1);
        self.told(&LegacyFault::Malformed(error));
    }

    /// Whether this frame of an event is the first that came.
    fn is_first(&self, identity: Option<Identity>, key: impl Fn(&Window) -> u64) -> bool {
        if identity.is_some_and(|identity| identity.emitter == self.emitter) {
            add(&self.counters.echoes, 1);
            return false;
        }
        let mut window = lock(&self.window);
        let key = key(&window);
        let first = window.admit(key, Instant::now());
        if !first {
            add(&self.counters.duplicates, 1);
        }
        first
    }

    pub(super) fn on_wrapped(&self, wrapper: &LegacyJtag, frame: &AnyEvent<'_>) {
        let original = match Original::read(wrapper.original()) {
            Ok(original) => original,
            Err(error) => return self.on_malformed(error),
        };
        let mark = Identity::of(frame.envelope.trace());
        let identity = mark.map(|(identity, _)| identity);
        let key = |window: &Window| match (&original, identity) {
            (Original::Event { event, .. }, Some(identity)) => window.key((&event.name, identity)),
            (Original::Message(_), Some(identity)) => window.key(identity),
            (Original::Message(message), None) => window.key_of(message),
            (Original::Event { message: Some(message), .. }, None) => window.key_of(message),
            (Original::Event { .. }, None) => window.key(frame_key(frame)),
        };
        if !self.is_first(identity, key) {
            return;
        }
        add(&self.counters.received, 1);
        match &original {
            Original::Message(message) => {
                self.give_taps(&Arrival::Message(message, wrapper.original()));
            }
            Original::Event { event, message } => {
                if let Err(fault) = self.check_schema(&event.name, &event.data) {
                    self.validations.by_schema.refuse(format!("{}: {fault}", event.name));
                    return;
                }
                if mark.is_none_or(|(_, forms)| forms == Forms::One) {
                    self.convert(event);
                }
                let text = message.is_some().then_some(wrapper.original());
                self.give(event, text, &mut Emitted::default());
            }
        }
    }

    /// Gives the typed form of an event that came as a wrapper alone to handlers of this process.
    fn convert(&self, event: &LegacyEvent) {
        let Some(entry) = self.entry(&event.name) else { return };
        let frame = Frame::Typed(Arc::clone(entry), Arc::new(event.data.clone()));
        let trace = self.next_identity().trace(Forms::Two);
        let sent = lock(&self.outbox).send(frame, trace, &Target::Local);
        match self.count(sent, &mut Emitted::default()) {
            Ok(()) => add(&self.counters.converted, 1),
            Err(error) => self.told(&LegacyFault::NotSent(error)),
        }
    }

    /// A dynamic event of a mapped type, or one of an older version, comes again as an archive of
    /// the present one when a typed handler of this node wants it: then it is a duplicate.
    pub(super) fn on_typed(&self, frame: &AnyEvent<'_>) {
        let event_type = frame.envelope.event_type();
        let Some(entry) = self.entries.iter().find(|entry| entry.type_id == event_type) else {
            return;
        };
        let identity = Identity::of(frame.envelope.trace()).map(|(identity, _)| identity);
        let key = |window: &Window| match identity {
            Some(identity) => window.key((&entry.name, identity)),
            None => window.key(frame_key(frame)),
        };
        if !self.is_first(identity, key) {
            return;
        }
        add(&self.counters.received, 1);
        match (entry.data_of)(frame) {
            None => add(&self.counters.wrong_schema, 1),
            Some(Ok(data)) => {
                let source = frame.envelope.source().to_string();
                let event = LegacyEvent::new(&entry.name, data, (&source, self.context));
                self.give(&event, None, &mut Emitted::default());
            }
            Some(Err(unfit)) => {
                add(&self.counters.unfit, 1);
                self.told(&LegacyFault::NotSent(unfit.into()));
            }
        }
    }
}

/// What no two events share that are not the same one.
fn frame_key(frame: &AnyEvent<'_>) -> impl std::hash::Hash {
    let envelope = &frame.envelope;
    let from = (envelope.source().0, envelope.session().0, envelope.event_type().0);
    (from, envelope.sequence(), envelope.timestamp_ns())
}

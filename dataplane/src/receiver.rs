//! The receiver agent: takes datagrams, checks packets, follows their sequences and hands frames to
//! those who asked for them, in place.
//!
//! It owns the windows of the streams it hears, the table of subscriptions and the keys that
//! packets are opened by. Cheapest check first: length and version, checksum (or key, counter,
//! tag), stream, sequence, frame, type.

use std::io;
use std::sync::Arc;

use wireloom_wire::gossip::is_control;
use wireloom_wire::{
    Admission, Frame, Frames, Packet, PacketError, PacketFlags, Status, decode_packet,
    decode_sealed, is_sealed,
};

use crate::advertise::{Advertiser, ReturnAddress};
use crate::agent::Agent;
use crate::clock::Clock;
use crate::command::{Commands, LocalRing, ReceiverCommand, Returns};
use crate::control_path::ControlIntake;
use crate::counters::{Counter, Counters};
use crate::dispatch::{Dispatch, Lost, Origin};
use crate::flow::Watches;
use crate::inbound::{Local, drain_local};
use crate::io::{Arrival, Receive, Transmit};
use crate::keyring::{By, Keyring};
use crate::limits::{COMMANDS_PER_CYCLE, DATAGRAM_BYTES_MAX, LOCAL_CYCLE_BYTES};
use crate::poller::Poller;
use crate::sources::{Found, Sources};

/// Local rings one receiver can hold.
const LOCALS_MAX: usize = 1024;

/// The agent that receives. `R` is the way in: sockets or the simulated network; `T` the way out
/// for its words to senders, whose sockets are those of `R` in the same order.
#[derive(Debug)]
#[expect(clippy::vec_box, reason = "the boxes go back to be freed by control, who made them")]
pub struct Receiver<R, T> {
    transport: R,
    commands: Commands<ReceiverCommand>,
    returns: Returns,
    clock: Clock,
    intake: Intake<T>,
    plain: Plain,
    locals: Vec<Box<LocalRing>>,
    /// When every socket is to be looked at again, and not only the direct one.
    everywhere_at_ns: u64,
    /// Until when local events go before a look at any socket, and until when they are awaited.
    locals_first_until_ns: u64,
    locals_awaited_until_ns: u64,
}

/// How long only the socket of the peer that sends most is looked at: a look at another costs half
/// a microsecond of a round trip, and somebody else's datagram waits no longer than this.
const DIRECT_NS: u64 = 5_000;

/// How long events from local rings, and what their handlers publish, go before the next look at
/// the sockets, for the same reason: reliable events come by such a ring.
const LOCALS_FIRST_NS: u64 = 5_000;

/// How long after events from local rings the sockets are looked at no oftener than that: the
/// answer to a reliable event comes by the same ring.
const LOCALS_AWAITED_NS: u64 = 50_000;

/// Everything a datagram meets after the socket.
#[derive(Debug)]
struct Intake<T> {
    counters: Arc<Counters>,
    sources: Sources,
    advertiser: Advertiser<T>,
    watches: Watches,
    dispatch: Dispatch,
    control: Option<Box<ControlIntake>>,
    keyring: Keyring,
    require_checksum: bool,
}

/// Where the frames of an encrypted packet are read: written anew by each, aligned as a receive
/// slot is.
#[derive(Debug)]
struct Plain(Vec<u8>);

impl Plain {
    const ALIGNMENT: usize = 64;

    fn new() -> Self {
        Self(vec![0; DATAGRAM_BYTES_MAX + Self::ALIGNMENT])
    }

    #[inline]
    fn bytes(&mut self) -> &mut [u8] {
        let begin = self.0.as_ptr().align_offset(Self::ALIGNMENT).min(Self::ALIGNMENT);
        &mut self.0[begin..]
    }
}

/// How a receiver is set up.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverConfig {
    /// Streams to follow at a time; see [`crate::limits::SOURCES_DEFAULT`].
    pub sources_max: usize,
    /// Refuse packets without a checksum.
    pub require_checksum: bool,
    /// Bytes that all senders together may have on their way to this receiver.
    pub window_bytes: u64,
}

impl<R: Receive, T: Transmit> Receiver<R, T> {
    /// Allocates everything the receiver will ever need.
    #[must_use]
    pub fn new(
        (transport, answers): (R, T),
        config: ReceiverConfig,
        commands: Commands<ReceiverCommand>,
        returns: Returns,
        clock: Clock,
    ) -> Self {
        Self {
            transport,
            commands,
            returns,
            clock,
            intake: Intake {
                counters: Arc::new(Counters::default()),
                sources: Sources::new(config.sources_max),
                advertiser: Advertiser::new(answers, config.window_bytes),
                watches: Watches::new(),
                dispatch: Dispatch::new(),
                control: None,
                keyring: Keyring::new(),
                require_checksum: config.require_checksum,
            },
            plain: Plain::new(),
            locals: Vec::with_capacity(LOCALS_MAX),
            everywhere_at_ns: 0,
            locals_first_until_ns: 0,
            locals_awaited_until_ns: 0,
        }
    }

    /// The counters of this receiver, to be read from elsewhere.
    #[must_use]
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.intake.counters
    }

    fn take_commands(&mut self, now_ns: u64) -> usize {
        for taken in 0..COMMANDS_PER_CYCLE {
            let Some(command) = self.commands.pop() else { return taken };
            let counters = &self.intake.counters;
            counters.add(Counter::Commands, 1);
            match command {
                ReceiverCommand::Subscribe(subscription) => {
                    if let Err(refused) = self.intake.dispatch.add(subscription) {
                        self.returns.give_back(refused, counters);
                    }
                }
                ReceiverCommand::Unsubscribe(id) => {
                    if let Some(removed) = self.intake.dispatch.remove(id) {
                        self.returns.give_back(removed, counters);
                    }
                }
                ReceiverCommand::Watch(watch) => {
                    if let Some(old) = self.intake.watches.add(watch) {
                        self.returns.give_back(old, counters);
                    }
                }
                ReceiverCommand::SetDirect(connected) => self.transport.set_direct(connected),
                ReceiverCommand::AttendControl(control) => {
                    if let Some(old) = self.intake.control.replace(control) {
                        self.returns.give_back(old, counters);
                    }
                }
                ReceiverCommand::SetKeys(keys) => {
                    if let Some(old) = self.intake.keyring.add(keys) {
                        self.returns.give_back(old, counters);
                    }
                }
                ReceiverCommand::ForgetPeer(peer) => {
                    while let Some(old) = self.intake.keyring.forget(peer) {
                        self.returns.give_back(old, counters);
                    }
                }
                ReceiverCommand::ForgetKeys(peer, set) => {
                    if let Some(old) = self.intake.keyring.forget_set(peer, set) {
                        self.returns.give_back(old, counters);
                    }
                }
                ReceiverCommand::RequireSealed(demands) => self.intake.keyring.demand(demands),
                ReceiverCommand::Access(access) => {
                    if let Some(old) = self.intake.dispatch.exchange_access(access) {
                        self.returns.give_back(old, counters);
                    }
                }
                ReceiverCommand::Large(event) => {
                    let (frames, origin) = event.frames();
                    self.intake.count_packet(1);
                    self.intake.deliver(frames, 1, &origin);
                    // Whoever hears that it was taken finds it in the subscribers' rings.
                    self.intake.dispatch.end_cycle(now_ns);
                    event.give_back(&self.returns, &self.intake.counters);
                    // One in a cycle: its handlers may take long, and datagrams wait.
                    return taken + 1;
                }
                ReceiverCommand::AttachLocal(local) => {
                    if self.locals.len() < LOCALS_MAX {
                        self.locals.push(local);
                    } else {
                        self.returns.give_back(local, counters);
                    }
                }
            }
        }
        COMMANDS_PER_CYCLE
    }

    /// Events routed inside this process, and packets that came by TCP.
    fn take_locals(&mut self) -> usize {
        let (mut work, mut index) = (0, 0);
        while index < self.locals.len() {
            let LocalRing { consumer, taken: wake } = &mut *self.locals[index];
            let closed = consumer.is_closed();
            let taken = drain_local(consumer, LOCAL_CYCLE_BYTES, |local| match local {
                Local::Event(frame, origin) => self.intake.on_local(&frame, &origin),
                Local::Packet(frames, count, origin) => {
                    self.intake.count_packet(count);
                    self.intake.deliver(frames, count, &origin);
                }
            });
            work += taken;
            if taken == 0 && closed {
                let ended = self.locals.swap_remove(index);
                self.returns.give_back(ended, &self.intake.counters);
                continue;
            }
            if taken > 0
                && let Some(wake) = wake
            {
                wake.notify();
            }
            index += 1;
        }
        work
    }

    fn publish_io_counters(&self) {
        let io = self.transport.counters();
        let counters = &self.intake.counters;
        counters.set(Counter::KernelDrops, io.kernel_drops);
        counters.set(Counter::ReceiveTruncated, io.truncated);
        counters.set(Counter::ReceiveErrors, io.errors);
    }
}

/// When and from whom the datagrams of an arrival came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived {
    pub(crate) sender: ReturnAddress,
    pub(crate) now_ns: u64,
    now_unix_ns: u64,
}

impl<T: Transmit> Intake<T> {
    #[inline]
    fn on_datagram(&mut self, datagram: &[u8], plain: &mut Plain, arrived: Arrived) {
        self.counters.add(Counter::DatagramsReceived, 1);
        self.counters.add(Counter::BytesReceived, datagram.len() as u64);
        if is_sealed(datagram) {
            return self.on_sealed(datagram, plain, arrived);
        }
        if self.keyring.refuses_clear(datagram) {
            return self.counters.add(Counter::ClearRefused, 1);
        }
        match decode_packet(datagram, self.require_checksum) {
            Ok(packet) if packet.header.flags.contains(PacketFlags::SEQUENCED) => {
                self.on_packet(&packet, None, arrived);
            }
            Ok(packet) if is_control(&packet.header) => {
                self.on_control(&packet, false, arrived.sender);
            }
            Ok(packet) => self.on_word(&packet),
            Err(error) => self.counters.add(reason(error), 1),
        }
    }

    /// A sealed datagram. Nothing is answered to one that does not open, and nothing changes but
    /// counters.
    #[inline(never)]
    fn on_sealed(&mut self, datagram: &[u8], plain: &mut Plain, arrived: Arrived) {
        let sealed = match decode_sealed(datagram) {
            Ok(sealed) => sealed,
            Err(error) => return self.counters.add(reason(error), 1),
        };
        let opened = self.keyring.open(&sealed, plain.bytes(), arrived.now_ns);
        let (packet, by) = match opened {
            Ok(opened) => opened,
            Err(counter) => return self.counters.add(counter, 1),
        };
        self.counters.add(Counter::PacketsOpened, 1);
        if packet.header.flags.contains(PacketFlags::SEQUENCED) {
            self.on_packet(&packet, Some(by), arrived);
        } else if is_control(&packet.header) {
            self.on_control(&packet, true, arrived.sender);
        } else {
            self.on_word(&packet);
        }
    }

    /// A packet outside of every stream: a peer's word, or something of a later version.
    #[cold]
    fn on_word(&self, packet: &Packet<'_>) {
        let counter = match Status::of(packet) {
            Some(status) if self.watches.hear(&status) => Counter::StatusesHeard,
            Some(_) => Counter::StatusesUnknown,
            None => Counter::PacketFlags,
        };
        self.counters.add(counter, 1);
    }

    /// A packet for the control plane.
    #[cold]
    fn on_control(&mut self, packet: &Packet<'_>, authenticated: bool, sender: ReturnAddress) {
        let counter = match &mut self.control {
            Some(control) => control.take(packet, authenticated, sender.address),
            None => Counter::ControlUnattended,
        };
        self.counters.add(counter, 1);
    }

    fn on_packet(&mut self, packet: &Packet<'_>, by: Option<By>, arrived: Arrived) {
        let header = &packet.header;
        let source = match self.sources.find(header, arrived.now_ns) {
            Found::Source { source, evicted } => {
                if evicted {
                    self.counters.add(Counter::SourcesEvicted, 1);
                }
                source
            }
            Found::Full => return self.counters.add(Counter::PacketsForeign, 1),
        };
        let first = source.window.is_new();
        let origin = Origin {
            source: header.source,
            session: header.session,
            lane: header.lane,
            received_unix_ns: arrived.now_unix_ns,
            verified: false,
        };
        match source.window.admit(header.sequence, header.first_event, header.frame_count) {
            Admission::New { gap } => {
                if first {
                    self.counters.add(Counter::EventsBeforeJoin, header.first_event);
                }
                if let Some(gap) = gap {
                    let lost = Lost { origin, from: gap.from, to: gap.to };
                    self.counters.add(Counter::EventsLost, lost.events());
                    self.dispatch.lost(&lost);
                }
            }
            Admission::Late => {
                let late = u64::from(header.frame_count);
                self.counters.add(Counter::EventsLate, late);
                self.counters.take_back(Counter::EventsLost, late);
            }
            Admission::Duplicate => return self.counters.add(Counter::PacketsDuplicate, 1),
            Admission::Stale => return self.counters.add(Counter::PacketsStale, 1),
            Admission::Inconsistent => return self.counters.add(Counter::PacketsInconsistent, 1),
        }
        let shared = header.flags.contains(PacketFlags::MULTICAST);
        let tells = !shared && self.advertiser.charge(&mut source.untold, header);
        let next_sequence = source.window.next_sequence();
        self.count_packet(header.frame_count);
        self.deliver(packet.frames(), header.frame_count, &origin);
        if tells {
            self.advertiser.count(&self.sources, arrived.now_ns);
            // Of a sealed stream the word is sealed as well.
            let key = by.map(|by| self.keyring.words(by));
            let status = self.advertiser.status(header, next_sequence);
            self.advertiser.tell(&status, key, arrived, &self.counters);
        }
    }

    /// One event of this process.
    #[inline]
    fn on_local(&mut self, frame: &Frame<'_>, origin: &Origin) {
        self.counters.add(Counter::EventsLocal, 1);
        self.counters.add(self.dispatch.deliver(frame, origin), 1);
    }

    #[inline]
    fn count_packet(&self, frame_count: u16) {
        self.counters.add(Counter::PacketsReceived, 1);
        self.counters.add(Counter::EventsReceived, u64::from(frame_count));
    }

    #[inline]
    fn deliver(&mut self, mut frames: Frames<'_>, frame_count: u16, origin: &Origin) {
        let mut read = 0_u16;
        loop {
            match self.dispatch.deliver_run(&mut frames, origin, &self.counters) {
                0 => break,
                run => read += run,
            }
        }
        let malformed = frame_count.saturating_sub(read);
        if malformed > 0 {
            self.counters.add(Counter::EventsMalformed, u64::from(malformed));
        }
    }
}

const fn reason(error: PacketError) -> Counter {
    match error {
        PacketError::Truncated => Counter::PacketTruncated,
        PacketError::Version => Counter::PacketVersion,
        PacketError::Flags => Counter::PacketFlags,
        PacketError::Sealed => Counter::SealedWithoutKeys,
        PacketError::Lane => Counter::PacketLane,
        PacketError::Length => Counter::PacketLength,
        PacketError::Trailing => Counter::PacketTrailing,
        PacketError::Checksum => Counter::PacketChecksum,
        PacketError::Unchecksummed => Counter::PacketUnchecksummed,
    }
}

impl<R: Receive, T: Transmit> Agent for Receiver<R, T> {
    fn name(&self) -> &'static str {
        "receiver"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        let now_unix_ns = self.clock.unix_ns(now_ns);
        self.intake.dispatch.begin_cycle(now_unix_ns);
        let commands = self.take_commands(now_ns);
        if self.intake.dispatch.hold_until_ns().is_some() {
            // Nothing is taken in: publishers of this process and senders wait where they are.
            self.intake.dispatch.end_cycle(now_ns);
            return commands;
        }
        let local = self.take_locals();
        if local > 0 {
            self.locals_awaited_until_ns = now_ns + LOCALS_AWAITED_NS;
        }
        if now_ns < self.locals_first_until_ns.min(self.locals_awaited_until_ns) {
            if local > 0 || self.intake.dispatch.has_called() {
                self.intake.dispatch.end_cycle(now_ns);
            }
            return commands + local;
        }
        self.locals_first_until_ns = now_ns + LOCALS_FIRST_NS;
        let (intake, plain) = (&mut self.intake, &mut self.plain);
        let mut sink = |arrival: &Arrival<'_>| {
            let sender = ReturnAddress { socket: arrival.socket, address: arrival.source };
            for datagram in arrival.datagrams() {
                intake.on_datagram(datagram, plain, Arrived { sender, now_ns, now_unix_ns });
            }
        };
        let received = if now_ns < self.everywhere_at_ns {
            self.transport.receive_direct(&mut sink)
        } else {
            self.everywhere_at_ns = now_ns + DIRECT_NS;
            self.transport.receive(&mut sink)
        };
        // Also without datagrams: drops behind the last arrival are found when a socket is empty.
        self.publish_io_counters();
        if local + received.datagrams > 0
            && let Some(control) = &mut self.intake.control
        {
            control.end_cycle();
        }
        if self.intake.dispatch.has_called() {
            self.intake.dispatch.end_cycle(now_ns);
        }
        commands + local + received.datagrams
    }

    fn deadline_ns(&self) -> Option<u64> {
        self.intake.dispatch.hold_until_ns()
    }

    fn before_sleep(&mut self) {
        (self.everywhere_at_ns, self.locals_first_until_ns) = (0, 0);
    }

    fn on_close(&mut self, _now_ns: u64) {
        self.publish_io_counters();
    }

    fn register(&mut self, poller: &mut Poller) -> io::Result<()> {
        self.transport.register(poller)
    }
}

#[cfg(test)]
#[path = "receiver/tests.rs"]
mod tests;

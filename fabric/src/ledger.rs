//! The account of every event a node took or heard: what went in must have come out, be on its way,
//! or have a reason.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use wireloom_dataplane::counters::{Counter, Counters};
use wireloom_dataplane::inbound::ShedReason;
use wireloom_wire::Priority;

use crate::rings::RingBook;
use crate::shared::Shared;

/// One node's account, in events. Each `balanced` holds exactly once the node is quiet; while
/// events flow, `in_flight` is what its rings hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Events taken from publishers and routers.
    pub published: Published,
    /// Events taken for reliable targets.
    pub reliable: Reliable,
    /// Events sent, by destination; to reliable targets (`tcp://…`) those acknowledged.
    pub links: BTreeMap<String, u64>,
    /// Events that reached this node, from the network or from itself.
    pub received: Received,
    /// Events taken by handlers and subscribers, by event type.
    pub handlers: BTreeMap<String, Handled>,
    /// Events at subscribers' rings, by what they asked for; a shed one is told in-band too.
    pub rings: BTreeMap<String, Ringed>,
    /// Datagrams dropped before they were events, by reason.
    pub dropped_datagrams: BTreeMap<&'static str, u64>,
    /// Kernel buffers (a datagram, or a joined run of them) dropped because a receive buffer was
    /// full; the events in them are among the lost ones.
    pub kernel_drops: u64,
    /// Whether both sides of this node add up.
    pub balanced: bool,
}

/// The publishing side: `accepted = sent + shed + in_flight`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Accepted for links (`Ok` of a route or publish).
    pub accepted: u64,
    /// Refused by name at the call; not accepted, listed for completeness.
    pub refused: u64,
    /// Handed to the kernel.
    pub sent: u64,
    /// The same by lane, under the name of its priority; those that sent something.
    pub lanes: BTreeMap<&'static str, u64>,
    /// Shed by the sender, by reason.
    pub shed: BTreeMap<&'static str, u64>,
    /// In rings, not yet taken by the sender.
    pub in_flight: u64,
}

/// The reliable side: `accepted = delivered + undelivered + in_flight`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reliable {
    /// Accepted for reliable targets.
    pub accepted: u64,
    /// Acknowledged: the handlers of the receiving node, or their rings, took them.
    pub delivered: u64,
    /// Given up, by reason.
    pub undelivered: BTreeMap<&'static str, u64>,
    /// On their way, or waiting for their turn.
    pub in_flight: u64,
}

/// The receiving side: `events + local = delivered + unsubscribed + shed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Received {
    /// In accepted packets.
    pub events: u64,
    /// Routed by this process to itself.
    pub local: u64,
    /// Accepted for this process itself but not dispatched yet.
    pub local_in_flight: u64,
    /// Taken by at least one handler or subscriber.
    pub delivered: u64,
    /// Asked for by nobody here.
    pub unsubscribed: u64,
    /// Refused or shed after arrival, by reason.
    pub shed: BTreeMap<&'static str, u64>,
    /// Missing between the packets of their streams; never arrived.
    pub lost: u64,
    /// Carried by their streams before this node first heard them.
    pub before_join: u64,
}

/// What became of one type's events at its handlers and subscribers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Handled {
    /// Taken.
    pub delivered: u64,
    /// Refused: schema, encoding or archive.
    pub refused: u64,
    /// Over which the handler panicked.
    pub panicked: u64,
    /// The last schema mismatch: their fingerprint and ours, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_mismatch: Option<[String; 2]>,
    /// Why the last one was refused whose reason is known: which field of the schema differs, or
    /// where its JSON is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// What one worker thread has done since it started.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkerReport {
    /// The thread's name.
    pub name: String,
    /// Duty cycles run.
    pub cycles: u64,
    /// Duty cycles that found work: against `cycles` the useful-work share of a spinning worker.
    pub cycles_useful: u64,
    /// Time spent in cycles that found work, ns.
    pub useful_ns: u64,
    /// The same as the share of the time since the worker started, in percent. Beside the CPU time
    /// of the thread it says how much of that was spinning.
    pub useful_percent: f64,
    /// Times the worker went to sleep.
    pub parks: u64,
    /// The longest useful cycle, ns: a stall when its work does not explain it.
    pub cycle_ns_max: u64,
}

/// What became of events at the rings of subscribers: `taken_in = taken + given_up + waiting`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ringed {
    /// Put into the ring, or beside it to wait for room.
    pub taken_in: u64,
    /// Taken by the subscriber.
    pub taken: u64,
    /// Not put into the ring, by reason. They are among the shed ones of [`Received`], unless
    /// somebody else took them.
    pub refused: BTreeMap<&'static str, u64>,
    /// Taken in, and then given up, by reason.
    pub given_up: BTreeMap<&'static str, u64>,
    /// In the ring, or beside it, or left there by a subscriber that is gone.
    pub waiting: u64,
}

impl Ringed {
    /// Adds a ring; false when more came out of it than went in.
    fn add(&mut self, ring: &RingBook) -> bool {
        // What came out is read first: what goes in later than that changes no sum.
        let (taken, mut given_up) = (ring.taken.taken(), 0);
        for reason in ShedReason::ALL {
            let events = ring.shed(reason);
            if events > 0 {
                let is_given_up = reason.meaning().is_some();
                let reasons = if is_given_up { &mut self.given_up } else { &mut self.refused };
                *reasons.entry(reason.name()).or_default() += events;
                given_up += if is_given_up { events } else { 0 };
            }
        }
        let taken_in = ring.inbound.delivered();
        self.taken_in += taken_in;
        self.taken += taken;
        self.waiting += taken_in.saturating_sub(taken + given_up);
        taken + given_up <= taken_in
    }
}

const SENDER_SHED: [Counter; 5] = [
    Counter::EventsUnroutable,
    Counter::EventsOversized,
    Counter::EventsShedWindow,
    Counter::EventsShedUnsealed,
    Counter::EventsExpired,
];

const RECEIVER_SHED: [Counter; 13] = [
    Counter::EventsWrongSchema,
    Counter::EventsWrongEncoding,
    Counter::EventsBadArchive,
    Counter::EventsShedRingFull,
    Counter::EventsShedTooLarge,
    Counter::EventsShedKeysFull,
    Counter::EventsShedDisconnected,
    Counter::EventsExpired,
    Counter::EventsHandlerPanicked,
    Counter::EventsMalformed,
    Counter::EventsUnauthorized,
    Counter::EventsRateLimited,
    Counter::EventsUnconverted,
];

const DATAGRAM_DROPS: [Counter; 13] = [
    Counter::PacketTruncated,
    Counter::PacketVersion,
    Counter::PacketFlags,
    Counter::PacketLane,
    Counter::PacketLength,
    Counter::PacketTrailing,
    Counter::PacketChecksum,
    Counter::PacketUnchecksummed,
    Counter::PacketsDuplicate,
    Counter::PacketsStale,
    Counter::PacketsInconsistent,
    Counter::PacketsForeign,
    Counter::ReceiveTruncated,
];

fn read(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

fn add_reasons(
    into: &mut BTreeMap<&'static str, u64>,
    counters: &Counters,
    reasons: &[Counter],
) -> u64 {
    let mut sum = 0;
    for reason in reasons {
        let events = counters.read(*reason);
        if events > 0 {
            *into.entry(reason.meaning().name).or_default() += events;
            sum += events;
        }
    }
    sum
}

impl Shared {
    pub(crate) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        let books = self.books();
        let mut local_accepted = 0;
        for handed in &books.handed {
            ledger.published.accepted += read(&handed.to_links);
            local_accepted += read(&handed.to_local);
            ledger.published.refused += read(&handed.refused);
        }
        for (address, entry) in &books.links {
            ledger.links.insert(format!("udp://{address}"), entry.counters.events_total());
            for (priority, events) in Priority::ALL.iter().zip(&entry.counters.events) {
                let events = read(events);
                if events > 0 {
                    *ledger.published.lanes.entry(priority.name()).or_default() += events;
                }
            }
        }
        let is_settled = ledger.add_peers(&books.peers);
        for (name, counters) in &books.handlers {
            let handled = ledger.handlers.entry((*name).to_owned()).or_default();
            handled.delivered += read(&counters.delivered);
            handled.refused += read(&counters.refused);
            handled.panicked += read(&counters.panicked);
            let mismatch = read(&counters.mismatch);
            if mismatch > 0 {
                let hex = |fingerprint: u64| format!("{:08x}", fingerprint & 0xffff_ffff);
                handled.schema_mismatch = Some([hex(mismatch >> 32), hex(mismatch)]);
                let [theirs, own] = counters.schemas();
                handled.refusal = Some(books.schemas.refusal(name, theirs, own));
            }
        }
        for (name, converted) in &books.schemas.converted {
            let handled = ledger.handlers.entry((*name).to_owned()).or_default();
            handled.refused += converted.refused();
            handled.refusal = converted.last().or_else(|| handled.refusal.take());
        }
        let mut rings_add_up = true;
        for ring in &books.rings {
            rings_add_up &= ledger.rings.entry(ring.what.clone()).or_default().add(ring);
        }
        drop(books);
        let (sender, receivers) = self.worker_counters();
        let published = &mut ledger.published;
        published.sent = sender.read(Counter::EventsSent);
        let shed = add_reasons(&mut published.shed, sender, &SENDER_SHED);
        let taken = published.sent + shed;
        published.in_flight = published.accepted.saturating_sub(taken);
        let mut out = 0;
        let received = &mut ledger.received;
        for counters in receivers {
            received.events += counters.read(Counter::EventsReceived);
            received.local += counters.read(Counter::EventsLocal);
            received.delivered += counters.read(Counter::EventsDelivered);
            received.unsubscribed += counters.read(Counter::EventsUnsubscribed);
            received.lost += counters.read(Counter::EventsLost);
            received.before_join += counters.read(Counter::EventsBeforeJoin);
            ledger.kernel_drops += counters.read(Counter::KernelDrops);
            out += add_reasons(&mut received.shed, counters, &RECEIVER_SHED);
            add_reasons(&mut ledger.dropped_datagrams, counters, &DATAGRAM_DROPS);
        }
        out += received.delivered + received.unsubscribed;
        received.local_in_flight = local_accepted.saturating_sub(received.local);
        ledger.balanced = rings_add_up
            && is_settled
            && taken <= published.accepted
            && received.events + received.local == out;
        ledger
    }
}

//! Answers go out: a responder on a worker writes them into a ring, and the control thread routes
//! them to whoever asked. A worker makes no link to a node it has not met, and does not wait for
//! one.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::counters::Counter;
use wireloom_dataplane::dispatch::{Origin, Subscriber, Verdict, Wanted};
use wireloom_ring::{ClaimError, Consumer, Producer, Records, record_spacing};
use wireloom_wire::{
    Correlation, Encoding, ExchangeKind, Fingerprint, Frame, FrameFlags, FrameHeader, Priority,
    ReplyWay,
};

use crate::encode::{EncodeError, Scratch, encode_growing};
use crate::event::{Event, EventTypeId};
use crate::outcome::{Refused, SubscribeError};
use crate::request::Failure;
use crate::request::exchange::{DENIAL, Exchange, Part, REPLY, lock};
use crate::router::Router;
use crate::shared::Shared;
use crate::target::Target;

/// A responder's ring to the control thread: a reply has a quarter of it at most.
const RING_BYTES: usize = 256 << 10;
/// The same for those who only say no.
const DENIALS_RING_BYTES: usize = 16 << 10;

/// Before a payload: the ring's length, then what the frame shall say, then whose request it was.
const HEAD_BYTES: usize = 48;
const FIRST_ROOM_BYTES: usize = 192;

/// Kept of what a failure says, in bytes.
const WORDS_BYTES_MAX: usize = 512;

/// Nodes that replies go to. Each takes a link, of which the node has [`LINKS_MAX`] for all it
/// sends: whoever asks in the name of very many gets no reply, and the links are left.
///
/// [`LINKS_MAX`]: wireloom_dataplane::limits::LINKS_MAX
const REQUESTERS_MAX: usize = 512;

/// What a denial's payload says; words of another version are kept as they are.
pub(crate) fn read_denial(payload: &[u8]) -> (Failure, String) {
    let (code, words) = payload.split_first().map_or((0, &[][..]), |(code, words)| (*code, words));
    let words = &words[..words.len().min(WORDS_BYTES_MAX)];
    (Failure::of(code), String::from_utf8_lossy(words).into_owned())
}

/// The worker's end: answers of one responder.
pub(crate) struct AnswerWriter {
    producer: Producer,
    exchange: Arc<Exchange>,
    scratch: Scratch,
    room_bytes: usize,
}

impl AnswerWriter {
    fn new(shared: &Shared, bytes: usize) -> Result<Self, SubscribeError> {
        let (producer, consumer) = shared.ring(bytes).map_err(SubscribeError::Ring)?;
        let exchange = Arc::clone(&shared.exchange);
        lock(&exchange.arriving).push(consumer);
        let (scratch, room_bytes) = (Scratch::default(), FIRST_ROOM_BYTES);
        Ok(Self { producer, exchange, scratch, room_bytes })
    }

    pub(crate) fn of_responder(shared: &Shared) -> Result<Self, SubscribeError> {
        Self::new(shared, RING_BYTES)
    }

    /// Replies to a request. What does not fit is a failure that its caller hears of.
    pub(crate) fn reply<R: Event>(&mut self, to: &Correlation, reply: &R) {
        let limit = self.producer.record_bytes_max();
        let mut room = (HEAD_BYTES + self.room_bytes).min(limit);
        loop {
            let mut claim = match self.producer.claim(room) {
                Ok(claim) => claim,
                Err(ClaimError::TooLarge { .. }) => break,
                Err(_) => return self.shed(),
            };
            match encode_growing(reply, &mut claim[HEAD_BYTES..], &mut self.scratch) {
                Ok(bytes) => {
                    let says = Says {
                        kind: ExchangeKind::Reply,
                        priority: R::PRIORITY,
                        fingerprint: R::FINGERPRINT32,
                        subject: R::TYPE_ID,
                    };
                    says.write(to, &mut claim);
                    claim.commit(HEAD_BYTES + bytes);
                    return self.exchange.wake();
                }
                Err(EncodeError::DoesNotFit) if room < limit => {
                    room = room.saturating_mul(4).min(limit);
                    self.room_bytes = room - HEAD_BYTES;
                }
                Err(_) => break,
            }
        }
        self.deny(to, Failure::ReplyTooLarge, "");
    }

    /// Says that no reply comes.
    pub(crate) fn deny(&mut self, to: &Correlation, failure: Failure, words: &str) {
        let words = &words[..words.floor_char_boundary(WORDS_BYTES_MAX)];
        let length = HEAD_BYTES + 1 + words.len();
        let Ok(mut claim) = self.producer.claim(length) else { return self.shed() };
        let says = Says {
            kind: ExchangeKind::Denial,
            priority: Priority::Normal,
            fingerprint: Fingerprint::NONE,
            subject: to.subject,
        };
        says.write(to, &mut claim);
        claim[HEAD_BYTES] = failure.code();
        claim[HEAD_BYTES + 1..length].copy_from_slice(words.as_bytes());
        claim.commit(length);
        self.exchange.wake();
    }

    fn shed(&self) {
        self.exchange.shed.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the frame of an answer says of itself.
#[derive(Clone, Copy)]
struct Says {
    kind: ExchangeKind,
    priority: Priority,
    fingerprint: Fingerprint,
    subject: EventTypeId,
}

impl Says {
    /// Before the payload; bytes 0 to 4 are the ring's.
    fn write(&self, to: &Correlation, into: &mut [u8]) {
        into[4] = self.kind as u8;
        into[5] = self.priority.lane();
        into[6..8].fill(0);
        into[8..12].copy_from_slice(&self.fingerprint.0.to_le_bytes());
        into[12..16].copy_from_slice(&self.subject.0.to_le_bytes());
        into[16..HEAD_BYTES].copy_from_slice(&to.encode());
    }

    /// What a record says, whose request it answers, and the payload.
    fn read(record: &[u8]) -> Option<(Self, Correlation, &[u8])> {
        let (head, payload) = record.split_at_checked(HEAD_BYTES)?;
        let to = Correlation::decode(head[16..].first_chunk()?)?;
        let word = |at: usize| head[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let reply = head[4] == ExchangeKind::Reply as u8;
        let says = Self {
            kind: if reply { ExchangeKind::Reply } else { ExchangeKind::Denial },
            priority: Priority::from_number(head[5])?,
            fingerprint: Fingerprint(word(8)),
            subject: EventTypeId(word(12)),
        };
        Some((says, to, payload))
    }
}

/// Says no to requests that nobody of this node answers.
pub(crate) struct Denier(AnswerWriter);

impl Subscriber for Denier {
    fn on_event(&mut self, frame: &Frame<'_>, _origin: &Origin) -> Verdict {
        if let Some(to) = frame.correlation() {
            self.0.deny(&to, Failure::NoResponder, "");
        }
        Verdict::Passed
    }
}

/// The task of the control thread that routes answers.
struct AnswerDesk {
    shared: Weak<Shared>,
    exchange: Arc<Exchange>,
    rings: Vec<Consumer>,
    router: Option<Router>,
    requesters: HashSet<SocketAddr>,
}

impl AnswerDesk {
    /// Where an answer goes; `None` for what is no node.
    fn target(&mut self, to: &Correlation) -> Option<Target> {
        let ip = Ipv6Addr::from(to.address).to_canonical();
        let address = SocketAddr::new(ip, to.port);
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        let target = match to.way {
            ReplyWay::Local => return Some(Target::Local),
            _ if ip.is_multicast() || ip.is_unspecified() || broadcast => return None,
            ReplyWay::Datagram => Target::Node(address),
            ReplyWay::Reliable => Target::Reliable(address),
        };
        let known = self.requesters.contains(&address);
        if !known && self.requesters.len() >= REQUESTERS_MAX {
            return None;
        }
        self.requesters.insert(address);
        Some(target)
    }

    fn answer(&mut self, shared: &Arc<Shared>, record: &[u8]) -> Option<()> {
        let (says, to, payload) = Says::read(record)?;
        let target = self.target(&to)?;
        let router = self.router.get_or_insert_with(|| Router::new(Arc::clone(shared)));
        let mut sent = route(router, (says, &to), &target, payload);
        if matches!(sent, Err(Refused::TooLarge { .. })) {
            let denied = Says {
                kind: ExchangeKind::Denial,
                priority: Priority::Normal,
                fingerprint: Fingerprint::NONE,
                ..says
            };
            let words = [&[Failure::ReplyTooLarge.code()], &b"for its way"[..]].concat();
            sent = route(router, (denied, &to), &target, &words);
        }
        if says.kind == ExchangeKind::Denial {
            self.exchange.counters.add(Counter::RequestsDenied, 1);
        }
        sent.ok()
    }
}

fn route(
    router: &mut Router,
    (says, to): (Says, &Correlation),
    target: &Target,
    payload: &[u8],
) -> Result<(), Refused> {
    let correlation = Correlation {
        kind: says.kind,
        way: ReplyWay::Local,
        address: [0; 16],
        port: 0,
        subject: says.subject,
        id: to.id,
    };
    let is_reply = says.kind == ExchangeKind::Reply;
    let header = FrameHeader {
        length: 0,
        event_type: if is_reply { REPLY } else { DENIAL },
        fingerprint: says.fingerprint,
        priority: says.priority,
        encoding: if is_reply { Encoding::Rkyv } else { Encoding::Raw },
        flags: FrameFlags::empty(),
        sequence: 0,
        timestamp_ns: 0,
    };
    let part = Part { header, correlation: &correlation, deadline_ns: None };
    let copied = router.route_exchange(&part, (target, false), |into, _scratch| {
        into.get_mut(..payload.len()).ok_or(EncodeError::DoesNotFit)?.copy_from_slice(payload);
        Ok(payload.len())
    });
    copied.map(drop)
}

impl Agent for AnswerDesk {
    fn name(&self) -> &'static str {
        "answers"
    }

    fn do_work(&mut self, _now_ns: u64) -> usize {
        self.rings.append(&mut lock(&self.exchange.arriving));
        if self.rings.iter().all(Consumer::is_empty) {
            self.rings.retain(|ring| !ring.is_closed());
            return 0;
        }
        let Some(shared) = self.shared.upgrade() else { return 0 };
        let (mut work, mut rings) = (0, std::mem::take(&mut self.rings));
        for ring in &mut rings {
            let batch = ring.read();
            let mut taken = 0;
            for record in Records::new(batch) {
                taken += record_spacing(record.len());
                work += 1;
                if self.answer(&shared, record).is_none() {
                    self.exchange.shed.fetch_add(1, Ordering::Relaxed);
                }
            }
            let taken = taken.min(batch.len());
            ring.release(taken);
        }
        self.rings = rings;
        let shed = self.exchange.shed.load(Ordering::Relaxed);
        self.exchange.counters.set(Counter::RepliesShed, shed);
        work
    }

    fn on_close(&mut self, _now_ns: u64) {
        self.router = None;
    }
}

impl Shared {
    /// Lets the control thread answer requests, those first that nobody of this node answers.
    pub(crate) fn attend_requests(self: &Arc<Self>) {
        let desk = AnswerDesk {
            shared: Arc::downgrade(self),
            exchange: Arc::clone(&self.exchange),
            rings: Vec::new(),
            router: None,
            requesters: HashSet::new(),
        };
        // A control thread that takes no task has ended, and its node with it.
        let _ = self.add_task(Box::new(desk));
        let id = self.next_subscription();
        for receiver in 0..self.receivers() {
            // Without it requests to nobody time out.
            if let Ok(writer) = AnswerWriter::new(self, DENIALS_RING_BYTES) {
                let at = (receiver, Wanted::Unanswered);
                let _ = self.subscribe(id, at, Box::new(Denier(writer)));
            }
        }
    }
}

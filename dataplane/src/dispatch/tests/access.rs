//! Who is let in: by peer, type and verb, as often as it may, counted by reason.

use super::*;
use wireloom_wire::{Correlation, ExchangeKind, ReplyWay};

const NOW: u64 = 1_000_000_000_000;
const FREE: Grant = Grant { publish: true, request: true, rate: None };

/// A dispatcher with subscribers of types 7 and 8 that lets peers do what `grant` says.
struct Guarded {
    dispatch: Dispatch,
    counters: Counters,
    refusals: Arc<Refusals>,
    taken: [Arc<AtomicU64>; 2],
}

impl Guarded {
    fn new(shadow: bool, grant: impl FnMut(Option<NodeId>, Option<EventTypeId>) -> Grant) -> Self {
        let mut dispatch = Dispatch::new();
        let taken =
            [subscribe(&mut dispatch, 1, types(&[7])), subscribe(&mut dispatch, 2, types(&[8]))];
        let refusals = Arc::new(Refusals::default());
        let table = table((shadow, &refusals), grant);
        assert!(dispatch.exchange_access(Some(table)).is_none());
        dispatch.begin_cycle(NOW);
        Self { dispatch, counters: Counters::default(), refusals, taken }
    }

    /// Events of these types from a peer, as one packet.
    fn send(&mut self, peer: u64, types: &[u32]) {
        let bytes = frames(types);
        self.give(peer, &bytes, types.len());
    }

    fn give(&mut self, peer: u64, bytes: &[u8], count: usize) {
        let count = u16::try_from(count).expect("few");
        let mut frames = Frames::counted(bytes, count);
        let origin = Origin {
            source: NodeId(peer),
            session: SessionId(1),
            lane: 2,
            received_unix_ns: 0,
            verified: false,
        };
        let mut read = 0;
        while let more @ 1.. = self.dispatch.deliver_run(&mut frames, &origin, &self.counters) {
            read += more;
        }
        assert_eq!(read, count, "each frame is looked at");
    }

    fn taken(&self) -> [u64; 2] {
        [0, 1].map(|at: usize| self.taken[at].load(Ordering::Relaxed))
    }

    fn counts(&self) -> [u64; 4] {
        [
            Counter::EventsDelivered,
            Counter::EventsUnauthorized,
            Counter::EventsRateLimited,
            Counter::EventsRefusable,
        ]
        .map(|counter| self.counters.read(counter))
    }
}

fn table(
    (shadow, refusals): (bool, &Arc<Refusals>),
    grant: impl FnMut(Option<NodeId>, Option<EventTypeId>) -> Grant,
) -> Box<AccessTable> {
    let (types, peers) = ([EventTypeId(7), EventTypeId(8), EventTypeId(9)], [NodeId(1), NodeId(2)]);
    let made = AccessTable::new((shadow, Arc::clone(refusals)), &types, &peers, grant);
    Box::new(made.expect("small"))
}

fn publishes(rate: Option<Rate>) -> Grant {
    Grant { publish: true, request: false, rate }
}

/// Peer 1 may publish type 7, peer 2 type 8.
fn by_peer(peer: Option<NodeId>, of: Option<EventTypeId>) -> Grant {
    match (peer, of) {
        (Some(NodeId(1)), Some(EventTypeId(7))) => publishes(None),
        (Some(NodeId(2)), Some(EventTypeId(8))) => FREE,
        _ => Grant::default(),
    }
}

#[test]
fn each_peer_sends_the_types_it_may_and_no_others() {
    let mut guarded = Guarded::new(false, by_peer);
    guarded.send(1, &[7, 7, 8, 7, 10]);
    assert_eq!((guarded.taken(), guarded.counts()), ([3, 0], [3, 2, 0, 0]));
    guarded.send(2, &[7, 7, 8, 8, 9]);
    assert_eq!((guarded.taken(), guarded.counts()), ([3, 2], [5, 5, 0, 0]));
    // Somebody nobody knows.
    guarded.send(3, &[7, 8]);
    assert_eq!((guarded.taken(), guarded.counts()), ([3, 2], [5, 7, 0, 0]));
    let mut told: Vec<_> = guarded
        .refusals
        .list()
        .into_iter()
        .map(|refused| (refused.source.0, refused.event_type.0, refused.events))
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [(1, 8, 1), (1, 10, 1), (2, 7, 2), (2, 9, 1), (3, 7, 1), (3, 8, 1)],
        "each node and type by itself"
    );
    // Events of this process are not asked.
    assert_eq!(deliver(&mut guarded.dispatch, 8), Counter::EventsDelivered);
}

#[test]
fn the_same_with_several_subscribers_of_a_type_and_with_those_who_want_every_type() {
    let mut guarded = Guarded::new(false, by_peer);
    let second = subscribe(&mut guarded.dispatch, 3, types(&[7]));
    guarded.send(1, &[7, 7, 8]);
    guarded.send(2, &[7, 8]);
    assert_eq!((guarded.taken(), second.load(Ordering::Relaxed)), ([2, 1], 2));
    let every = subscribe(&mut guarded.dispatch, 4, Wanted::Every);
    guarded.send(1, &[7, 8, 9, 10]);
    guarded.send(3, &[7, 8, 9, 10]);
    assert_eq!((guarded.taken(), every.load(Ordering::Relaxed)), ([3, 1], 1));
}

#[test]
fn a_type_without_a_subscriber_of_its_own_has_its_own_grant() {
    let mut guarded = Guarded::new(false, |_, of| match of {
        Some(EventTypeId(9)) => FREE,
        _ => Grant::default(),
    });
    let every = subscribe(&mut guarded.dispatch, 4, Wanted::Every);
    guarded.send(1, &[9, 10, 7]);
    assert_eq!(every.load(Ordering::Relaxed), 1);
    // And a type that is subscribed to later.
    let later = subscribe(&mut guarded.dispatch, 5, types(&[9, 11]));
    guarded.send(2, &[9, 11]);
    assert_eq!(later.load(Ordering::Relaxed), 1);
}

/// A request and a reply of type 7 between two events of it.
fn asked() -> Vec<u8> {
    let mut bytes = frames(&[7]);
    for kind in [ExchangeKind::Request, ExchangeKind::Reply] {
        let header =
            FrameHeader { sequence: 1, ..FrameHeader::bare(EventTypeId(7), Priority::Normal) };
        let correlation = Correlation {
            id: 1,
            kind,
            way: ReplyWay::Local,
            address: [0; 16],
            port: 0,
            subject: EventTypeId(8),
        };
        let encoder = FrameEncoder::new(header).with_correlation(&correlation);
        let mut frame = [0; 160];
        encoder.write(b"x", &mut frame).expect("fits");
        let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        bytes.extend(&frame[..wireloom_wire::align_up(length)]);
    }
    bytes.extend(frames(&[7]));
    bytes
}

#[test]
fn whoever_may_publish_a_type_may_not_ask_by_it_and_the_other_way_round() {
    let only = |publish| move |_, _| Grant { publish, request: !publish, rate: None };
    let bytes = asked();
    let mut guarded = Guarded::new(false, only(true));
    guarded.give(1, &bytes, 4);
    assert_eq!(guarded.counts(), [3, 1, 0, 0], "the request is refused, the reply is published");
    assert!(guarded.refusals.list()[0].refusal.request);
    let mut guarded = Guarded::new(false, only(false));
    guarded.give(1, &bytes, 4);
    assert_eq!(guarded.counts(), [1, 3, 0, 0]);
    // Beside a second subscriber each is looked at by itself.
    let mut guarded = Guarded::new(false, only(true));
    subscribe(&mut guarded.dispatch, 3, types(&[7]));
    guarded.give(1, &bytes, 4);
    assert_eq!(guarded.counts(), [3, 1, 0, 0]);
}

const RATE: Rate = Rate { per_second: 1_000, burst: 5 };

#[test]
fn a_flood_is_cut_to_its_rate_and_leaves_others_theirs() {
    let mut guarded = Guarded::new(false, |_, _| publishes(Some(RATE)));
    guarded.send(1, &[7; 9]);
    assert_eq!(guarded.counts(), [5, 0, 4, 0], "a burst, and no more");
    guarded.send(1, &[8; 3]);
    assert_eq!(guarded.taken(), [5, 3], "another type has its own");
    let mut expected = 5;
    // A second of batches of a millisecond: peer 1 sends fifty each, peer 2 one.
    let fair = Arc::clone(&guarded.taken[1]);
    let before = fair.load(Ordering::Relaxed);
    for step in 1..=1_000 {
        guarded.dispatch.begin_cycle(NOW + step * 1_000_000);
        guarded.send(1, &[7; 50]);
        guarded.send(2, &[8]);
        expected += 1;
    }
    assert_eq!(guarded.taken()[0], expected, "exactly its rate");
    assert!(fair.load(Ordering::Relaxed) - before >= 900, "others have 90 % at least");
    let limited = guarded.refusals.list();
    let limited = limited.iter().find(|of| of.source == NodeId(1)).expect("counted");
    assert!(limited.refusal.limited && limited.events == 4 + 49_000);
    // After a pause a burst again, no more; a clock that is set back takes nothing away for long.
    guarded.dispatch.begin_cycle(NOW + 60_000_000_000);
    guarded.send(1, &[7; 9]);
    assert_eq!(guarded.taken()[0], expected + 5);
    guarded.dispatch.begin_cycle(NOW);
    guarded.send(1, &[7]);
    guarded.dispatch.begin_cycle(NOW + 1_000_000);
    guarded.send(1, &[7]);
    assert_eq!(guarded.taken()[0], expected + 6);
}

#[test]
fn a_limit_holds_when_each_event_is_looked_at() {
    let mut guarded = Guarded::new(false, |_, _| publishes(Some(RATE)));
    subscribe(&mut guarded.dispatch, 3, types(&[7]));
    guarded.send(1, &[7; 9]);
    assert_eq!(guarded.counts(), [5, 0, 4, 0]);
}

#[test]
fn shadow_counts_and_lets_through() {
    let mut guarded = Guarded::new(true, |peer, of| match (peer, of) {
        (Some(NodeId(1)), _) => publishes(Some(RATE)),
        _ => Grant::default(),
    });
    guarded.send(1, &[7; 9]);
    guarded.send(2, &[8; 2]);
    assert_eq!((guarded.taken(), guarded.counts()), ([9, 2], [11, 0, 0, 6]));
    assert!(guarded.refusals.list().iter().all(|refused| refused.refusal.shadow));
}

#[test]
fn a_table_takes_the_place_of_another_whole() {
    let mut guarded = Guarded::new(false, by_peer);
    guarded.send(1, &[7]);
    let other = table((false, &guarded.refusals), |peer, of| match (peer, of) {
        (Some(NodeId(1)), Some(EventTypeId(8))) => FREE,
        _ => Grant::default(),
    });
    assert!(guarded.dispatch.exchange_access(Some(other)).is_some());
    guarded.send(1, &[7, 8]);
    assert_eq!(guarded.taken(), [1, 1]);
    // Columns of another width and order.
    let (types, peers) = ([EventTypeId(3), EventTypeId(8)], [NodeId(1)]);
    // What type 7 had is type 3's now.
    let only_eight =
        |_, of: Option<EventTypeId>| if of.is_none() { Grant::default() } else { FREE };
    let refusals = (false, Arc::clone(&guarded.refusals));
    let third = AccessTable::new(refusals, &types, &peers, only_eight).expect("small");
    guarded.dispatch.exchange_access(Some(Box::new(third)));
    guarded.send(1, &[7, 8]);
    assert_eq!(guarded.taken(), [1, 2]);
    assert!(guarded.dispatch.exchange_access(None).is_some());
    guarded.send(3, &[7, 8]);
    assert_eq!(guarded.taken(), [2, 3], "without a table everything passes");
}

#[test]
fn tables_have_bounds() {
    let types: Vec<EventTypeId> = (1..2_000).map(EventTypeId).collect();
    let peers: Vec<NodeId> = (1..2_000).map(NodeId).collect();
    let made = AccessTable::new((false, Arc::default()), &types, &peers, |_, _| FREE);
    assert_eq!(made.expect_err("4 M cells"), AccessTooLarge { peers: 2_000, types: 2_000 });
    // Every type id a table may name finds room beside all subscriptions.
    let types: Vec<EventTypeId> = (1..100_000).map(EventTypeId).collect();
    let made = AccessTable::new((false, Arc::default()), &types, &[NodeId(1)], |_, _| FREE);
    let mut dispatch = Dispatch::new();
    dispatch.exchange_access(Some(Box::new(made.expect("two rows"))));
    let all: Vec<u32> = (1_000_000..).take(SUBSCRIPTIONS_MAX).collect();
    subscribe(&mut dispatch, 1, Wanted::Types(all.into_iter().map(EventTypeId).collect()));
    assert_eq!(deliver(&mut dispatch, 5_000_000), Counter::EventsUnsubscribed);
    // And whoever subscribes to one that found none has its own grant.
    let types: Vec<EventTypeId> = (1..10_000).map(EventTypeId).collect();
    let last = |_, of| if of == Some(EventTypeId(9_000)) { FREE } else { Grant::default() };
    let made = AccessTable::new((false, Arc::default()), &types, &[NodeId(1)], last);
    let mut guarded = Guarded::new(false, by_peer);
    guarded.dispatch.exchange_access(Some(Box::new(made.expect("two rows"))));
    let late = subscribe(&mut guarded.dispatch, 9, self::types(&[9_000]));
    guarded.send(1, &[8_999, 9_000, 9_001]);
    assert_eq!(late.load(Ordering::Relaxed), 1);
    // More refused nodes than are remembered one by one.
    let mut guarded = Guarded::new(false, |_, _| Grant::default());
    for peer in 0..5_000_u64 {
        guarded.send(peer << 33 | 3, &[7]);
    }
    let listed: u64 = guarded.refusals.list().iter().map(|refused| refused.events).sum();
    assert_eq!(listed + guarded.refusals.beyond(), 5_000);
    assert!(guarded.refusals.list().len() > 900);
}

//! A node that takes events of one type on a thread of its own, checks each, and measures how long
//! it was under way.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use hdrhistogram::Histogram;
use wireloom::{Interface, Ledger, Node, Polled, Subscriber};

use super::event::Checked;
use super::report::{Heard, Latency, Report, send};
use crate::args::DemoNodeArgs;
use crate::stop::Stop;

/// A report this often.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Longest sleep before the signals are looked at.
const WAIT: Duration = Duration::from_millis(20);

/// Events taken at a time.
const POLL_MAX: usize = 1_024;

/// Told to stop, it goes on until nothing has come for this long, at most the second figure.
const QUIET: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(2));

/// Room for events not yet taken: over a second of short lines at 20,000 a second.
const RING_BYTES: usize = 4 << 20;

/// Longest time told apart, ns: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Runs until told to stop, then gives the account.
///
/// # Errors
/// When the node cannot start or the parent has gone.
pub(super) fn listen<E: Checked>(args: &DemoNodeArgs, stop: &Stop) -> Result<()> {
    let mut builder = Node::builder(&args.name).ring_bytes(64 << 10, RING_BYTES);
    if let Some(group) = args.group {
        let loopback = Interface::Address(std::net::Ipv4Addr::LOCALHOST);
        builder = builder.join_on(&group.to_string(), loopback);
    }
    let node = builder.start()?;
    let mut hearing = Hearing::<E>::new(node.subscribe()?)?;
    send(&Report::Ready { address: node.address() })?;
    let mut report_at = Instant::now();
    let mut quiet_since = None;
    let mut wished_at = None;
    loop {
        let now = Instant::now();
        if now >= report_at {
            report_at = now + REPORT_EVERY;
            send(&Report::Heard(hearing.account(&node.ledger())))?;
        }
        if hearing.take() > 0 {
            quiet_since = None;
        } else {
            hearing.subscriber.wait(WAIT);
        }
        if stop.is_wished() {
            let quiet = now - *quiet_since.get_or_insert(now);
            let waited = now - *wished_at.get_or_insert(now);
            if quiet >= QUIET.0 || waited >= QUIET.1 {
                break;
            }
        }
    }
    let ledger = node.close();
    while hearing.take() > 0 {}
    send(&Report::Heard(hearing.account(&ledger)))?;
    Ok(send(&Report::Done)?)
}

/// What was heard so far.
struct Hearing<E> {
    subscriber: Subscriber<E>,
    latency_ns: Histogram<u64>,
    /// The number that should come next.
    next: u64,
    heard: Heard,
    /// The next event should be shown.
    is_curious: bool,
}

impl<E: Checked> Hearing<E> {
    fn new(subscriber: Subscriber<E>) -> Result<Self> {
        Ok(Self {
            subscriber,
            latency_ns: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?,
            next: 0,
            heard: Heard::default(),
            is_curious: true,
        })
    }

    /// Takes what is there; returns how many events and notices there were.
    fn take(&mut self) -> usize {
        let Self { subscriber, latency_ns, next, heard, is_curious } = self;
        subscriber.poll(POLL_MAX, |polled| {
            // Losses and sheds stand in the ledger, from where the account takes them.
            let Polled::Event(event, envelope) = polled else { return };
            latency_ns.saturating_record(unix_ns().saturating_sub(envelope.timestamp_ns()));
            heard.taken += 1;
            if !E::is_whole(event) {
                heard.corrupt += 1;
            }
            let number = E::number(event, &envelope);
            if number < *next {
                heard.misplaced += 1;
            }
            *next = number.saturating_add(1).max(*next);
            if std::mem::take(is_curious) {
                heard.shown = E::shown(event);
            }
        })
    }

    /// The account, with what the node's ledger says of events that were not taken.
    fn account(&mut self, ledger: &Ledger) -> Heard {
        let received = &ledger.received;
        let named = |reasons: &std::collections::BTreeMap<&'static str, u64>| {
            reasons.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        self.is_curious = true;
        let heard = &mut self.heard;
        heard.lost = received.lost;
        heard.before_join = received.before_join;
        heard.shed = named(&received.shed);
        if received.unsubscribed > 0 {
            heard.shed.insert("unsubscribed".to_owned(), received.unsubscribed);
        }
        heard.dropped_datagrams = named(&ledger.dropped_datagrams);
        heard.latency_ns = Latency {
            p50: self.latency_ns.value_at_quantile(0.5),
            p99: self.latency_ns.value_at_quantile(0.99),
            max: self.latency_ns.max(),
        };
        heard.clone()
    }
}

/// The wall clock, which publisher and listener share on one host.
fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

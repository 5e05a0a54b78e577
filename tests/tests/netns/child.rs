//! A node of a case, as a process of its own: this program again, with its settings as JSON on the
//! command line. Words on standard input, one line each; answers as lines of JSON.
//!
//! `feed TARGET COUNT RATE` publishes so many more numbered events (0: until `hold`), so many a
//! second (0: as fast as they are taken). `look` tells everything that is known. The end of
//! standard input, or `close`, ends the node, so that none outlives its case.

use std::collections::{BTreeMap, VecDeque};
use std::io::BufRead as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wireloom::{
    Change, Delivery, Envelope, Node, Publisher, Receipt, Refused, ReliableSettings, Target,
};

use crate::journal::{DATAGRAM, Journal, Numbered, RELIABLE, Source, filler};

/// Events published before receipts are looked at again.
const BURST: u64 = 256;

/// What a feed has done, told by `look`.
#[derive(Default)]
struct Book {
    accepted: u64,
    /// The limit up to which it had published when it looked last.
    limit: u64,
    /// What became of the accepted events, in order: a fate and how many in a row have it.
    fates: Vec<(&'static str, u64)>,
}

/// Events on their way to one target, by a thread of its own.
struct Feed {
    book: Arc<Mutex<Book>>,
    /// How many events are to be published in all.
    limit: Arc<AtomicU64>,
    rate: Arc<AtomicU64>,
}

/// What the node was told of others by its handlers.
#[derive(Default)]
struct Heard {
    changes: Vec<Value>,
    lost: u64,
    letters: u64,
}

pub(crate) fn run(settings: &str) -> ExitCode {
    // A node whose threads fail is no node: the case hears of its end.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        std::process::abort();
    }));
    let settings: Value = serde_json::from_str(settings).expect("settings as JSON");
    let node = start(&settings);
    let heard = listen(&node, &settings);
    // Only now: what a node takes before it has subscribed has no handler, and is acknowledged.
    node.accept().expect("the control thread runs");
    println!("{}", json!({ "started": node.address().to_string() }));
    let mut feeds = BTreeMap::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["feed", target, count, rate] => {
                let feed = feeds
                    .entry(target.to_owned())
                    .or_insert_with(|| Feed::start(&node, target, &settings));
                feed.more(count.parse().expect("a count"), rate.parse().expect("a rate"));
            }
            ["hold"] => feeds.values().for_each(|feed| feed.limit.store(0, Ordering::Relaxed)),
            ["look"] => println!("{}", look(&node, &feeds, &heard)),
            ["close"] => break,
            _ => panic!("no such word: {line}"),
        }
    }
    // Feeds are threads that go on; the process ends here.
    ExitCode::SUCCESS
}

fn number(settings: &Value, key: &str) -> Option<u64> {
    settings[key].as_u64()
}

fn life(settings: &Value, key: &str) -> u32 {
    number(settings, key).and_then(|life| u32::try_from(life).ok()).unwrap_or(0)
}

fn start(settings: &Value) -> Node {
    let text = |key: &str| settings[key].as_str().expect("a text");
    let ms = |key: &str| number(settings, key).map(Duration::from_millis);
    let usual = ReliableSettings::default();
    let reliable = ReliableSettings {
        attempts: number(settings, "attempts")
            .map_or(usual.attempts, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        undelivered_after: ms("undelivered_ms").unwrap_or(usual.undelivered_after),
        ack_timeout: ms("ack_ms").unwrap_or(usual.ack_timeout),
        connect_timeout: ms("connect_ms").unwrap_or(usual.connect_timeout),
        backoff_max: ms("backoff_max_ms").unwrap_or(usual.backoff_max),
        ..usual
    };
    let mut builder = Node::builder(text("name"))
        .listen(text("listen"))
        .insecure()
        .reliable(reliable)
        .accept_later();
    if let Some(cluster) = settings["cluster"].as_str() {
        builder = builder.cluster(cluster);
    }
    let seeds = settings["seeds"].as_array().filter(|_| settings["cluster"].is_string());
    for seed in seeds.into_iter().flatten() {
        builder = builder.seed(seed.as_str().expect("a text"));
    }
    if let Some(bytes) = number(settings, "receive_buffer") {
        builder = builder.receive_buffer_bytes(usize::try_from(bytes).expect("few"));
    }
    if let Some(bytes) = number(settings, "packet_bytes") {
        builder = builder.packet_bytes(usize::try_from(bytes).expect("few"));
    }
    builder.start().expect("the node starts")
}

/// Subscribes to everything a case wants to know.
fn listen(node: &Node, settings: &Value) -> Arc<Mutex<Heard>> {
    let path = settings["journal"].as_str().expect("a path");
    let mut journal = Journal::append(Path::new(path), life(settings, "life"));
    let slow = number(settings, "handler_us").map(Duration::from_micros);
    let on_event = move |event: &rkyv::Archived<Numbered>, _: &Envelope<'_>| {
        slow.into_iter().for_each(std::thread::sleep);
        journal.keep(event);
    };
    node.on::<Numbered>(on_event).expect("it subscribes");
    let (heard, begun) = (Arc::new(Mutex::new(Heard::default())), Instant::now());
    let book = Arc::clone(&heard);
    node.on_lost(move |lost| book.lock().expect("no panic").lost += lost.events())
        .expect("it subscribes");
    let book = Arc::clone(&heard);
    node.on_undelivered(move |_| book.lock().expect("no panic").letters += 1)
        .expect("the control thread runs");
    let book = Arc::clone(&heard);
    node.on_member(move |change| {
        let (what, of) = match change {
            Change::Up(of) => ("up", of),
            Change::Down(of) => ("down", of),
            _ => return,
        };
        let at_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let line = json!({ "what": what, "address": of.address.to_string(), "at_ms": at_ms });
        book.lock().expect("no panic").changes.push(line);
    });
    heard
}

impl Feed {
    fn start(node: &Node, target: &str, settings: &Value) -> Self {
        let target: Target = target.parse().expect("a target");
        let way = if matches!(target, Target::Reliable(_)) { RELIABLE } else { DATAGRAM };
        let source = (way, life(settings, "index"), life(settings, "life"));
        let events = node.publisher::<Numbered>(&target).expect("a route");
        let feed = Self { book: Arc::default(), limit: Arc::default(), rate: Arc::default() };
        let (book, limit) = (Arc::clone(&feed.book), Arc::clone(&feed.limit));
        let rate = Arc::clone(&feed.rate);
        let mut pump = Pump { source, events, pending: VecDeque::new(), next: 0 };
        std::thread::spawn(move || {
            let (mut second, mut sent) = (Instant::now(), 0);
            loop {
                let rate = rate.load(Ordering::Relaxed);
                if second.elapsed() >= Duration::from_secs(1) {
                    (second, sent) = (Instant::now(), 0);
                }
                let part = second.elapsed().as_secs_f64();
                let due = if rate == 0 { BURST } else { due(rate, part).saturating_sub(sent) };
                let limit = limit.load(Ordering::Relaxed);
                let left = limit.saturating_sub(pump.next);
                sent += pump.publish(due.min(left).min(BURST));
                pump.settle(limit, &mut book.lock().expect("no panic"));
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        feed
    }

    /// So many more events, or events until further notice.
    fn more(&self, count: u64, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
        let accepted = self.book.lock().expect("no panic").accepted;
        let limit = if count == 0 { u64::MAX } else { accepted + count };
        self.limit.store(limit, Ordering::Relaxed);
    }
}

/// Events due in this part of a second, at a rate.
fn due(rate: u64, part: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a second of a rate"
    )]
    let due = (rate as f64 * part) as u64;
    due + 1
}

/// What a feed's thread owns.
struct Pump {
    source: Source,
    events: Publisher<Numbered>,
    pending: VecDeque<Receipt>,
    next: u64,
}

impl Pump {
    /// Publishes so many events, fewer when they are not taken; how many.
    fn publish(&mut self, count: u64) -> u64 {
        let (way, publisher, life) = self.source;
        for published in 0..count {
            let (number, filler) = (self.next, filler(self.next));
            match self.events.publish(&Numbered { way, publisher, life, number, filler }) {
                Ok(accepted) => self.pending.extend(self.events.receipt(accepted)),
                // A closed node is a process that is about to end.
                Err(Refused::BackPressured | Refused::Closed) => return published,
                Err(other) => panic!("{other}"),
            }
            self.next += 1;
        }
        count
    }

    /// Takes in what has become of the oldest events: a ring's are settled in order.
    fn settle(&mut self, limit: u64, book: &mut Book) {
        (book.accepted, book.limit) = (self.next, limit);
        while let Some(receipt) = self.pending.front() {
            let fate = match receipt.state() {
                Delivery::Pending => return,
                Delivery::Delivered => "delivered",
                Delivery::Undelivered(reason) => reason.name(),
            };
            self.pending.pop_front();
            match book.fates.last_mut() {
                Some((last, count)) if *last == fate => *count += 1,
                _ => book.fates.push((fate, 1)),
            }
        }
    }
}

fn look(node: &Node, feeds: &BTreeMap<String, Feed>, heard: &Mutex<Heard>) -> Value {
    let members = node.members();
    let members: Vec<Value> = members
        .iter()
        .map(|member| {
            json!({ "name": member.name(), "state": member.state.name(),
                "life": member.incarnation().0, "refutations": member.incarnation().1 })
        })
        .collect();
    let feeds = feeds.iter().map(|(target, feed)| {
        let book = feed.book.lock().expect("no panic");
        let settled: u64 = book.fates.iter().map(|(_, count)| count).sum();
        let limit = feed.limit.load(Ordering::Relaxed);
        let told = json!({ "accepted": book.accepted, "fates": book.fates, "settled": settled,
            "published": book.limit == limit && book.accepted >= limit });
        (target.clone(), told)
    });
    let feeds: serde_json::Map<String, Value> = feeds.collect();
    let counters: serde_json::Map<String, Value> = node
        .counters()
        .into_iter()
        .map(|(meaning, count)| (meaning.name.to_owned(), count.into()))
        .collect();
    let heard = heard.lock().expect("no panic");
    json!({ "ledger": node.ledger(), "counters": counters, "members": members, "feeds": feeds,
        "changes": heard.changes, "lost": heard.lost, "letters": heard.letters,
        "workers": node.workers().len() })
}

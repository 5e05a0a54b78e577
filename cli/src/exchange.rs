//! Reliable events that the nodes of a bench send each other, so that their links are open and the
//! rings behind them in use. To whom and how often the bench says, in lines of JSON on standard
//! input; when that ends the bench has ended, and the node ends too.
//!
//! The sending thread owns a router: it sends when it is time and sleeps in between.

use std::io::{BufRead as _, stdin};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use wireloom::{Event, Node, Router, Target};

use crate::stop::Stop;

/// What a bench asks of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    /// To send each of these nodes an event of either kind so many times a second, from now on.
    Exchange { with: Vec<SocketAddr>, per_s: u32 },
    /// To send no more.
    Rest,
}

/// What came of it so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exchanged {
    /// Links opened, dialled here or there.
    pub(crate) links: u64,
    pub(crate) accepted: u64,
    pub(crate) acknowledged: u64,
    pub(crate) undelivered: u64,
    /// Taken by the handlers here, whole.
    pub(crate) handled: u64,
    /// Taken by them with other content than was sent.
    pub(crate) damaged: u64,
}

/// Words of an event: 64 bytes.
type Content = [u64; 7];

/// Every word follows from the number and differs from the others.
fn content(number: u64) -> Content {
    [1, 2, 3, 4, 5, 6, 7].map(|place| number.rotate_left(9 * place) ^ u64::from(place))
}

macro_rules! kind {
    ($name:ident, $event_type:literal, $priority:literal) => {
        #[derive(Debug, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        #[event(type = $event_type, priority = $priority)]
        struct $name {
            number: u64,
            content: Content,
        }
    };
}

// One of each place of a pool of two links.
kind!(Alarm, "exchange-alarm", "critical");
kind!(Reading, "exchange-reading", "normal");

#[derive(Debug, Default)]
struct Counts {
    handled: AtomicU64,
    damaged: AtomicU64,
}

impl Counts {
    fn take(&self, number: u64, found: impl Iterator<Item = u64>) {
        let whole = found.eq(content(number));
        let count = if whole { &self.handled } else { &self.damaged };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The node's part.
#[derive(Debug)]
pub(crate) struct Exchange(Arc<Counts>);

impl Exchange {
    /// Listens to the bench and does what it asks; wishes the end when the bench is gone.
    ///
    /// # Errors
    /// When the node takes no handlers or the system no threads.
    pub(crate) fn begin(node: &Node, stop: &Stop) -> Result<Self> {
        let counts = Arc::<Counts>::default();
        let handler = Arc::clone(&counts);
        node.on::<Alarm>(move |event, _| {
            handler.take(event.number.into(), event.content.iter().map(|word| word.to_native()));
        })?;
        let handler = Arc::clone(&counts);
        node.on::<Reading>(move |event, _| {
            handler.take(event.number.into(), event.content.iter().map(|word| word.to_native()));
        })?;
        let (asks, asked) = channel();
        let (router, stop) = (node.router(), stop.clone());
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        thread("exchange").spawn(move || send(router, &asked)).context("a thread to send")?;
        let listen = move || {
            for line in stdin().lock().lines().map_while(Result::ok) {
                let Ok(word) = serde_json::from_str(&line) else { break };
                if asks.send(word).is_err() {
                    break;
                }
            }
            stop.wish();
        };
        thread("bench").spawn(listen).context("a thread to hear the bench")?;
        Ok(Self(counts))
    }

    /// How far it has come.
    pub(crate) fn exchanged(&self, node: &Node) -> Exchanged {
        let links = node.counters().into_iter().find(|(of, _)| of.name == "links_opened");
        let reliable = node.ledger().reliable;
        Exchanged {
            links: links.map_or(0, |(_, count)| count),
            accepted: reliable.accepted,
            acknowledged: reliable.delivered,
            undelivered: reliable.undelivered.values().sum(),
            handled: self.0.handled.load(Ordering::Relaxed),
            damaged: self.0.damaged.load(Ordering::Relaxed),
        }
    }
}

/// Sends what is due until nobody can ask any more.
fn send(mut router: Router, asked: &Receiver<Asked>) {
    let (mut targets, mut every): (Vec<Target>, _) = (Vec::new(), Duration::MAX);
    let (mut due, mut number) = (Instant::now(), 0);
    loop {
        let word = if targets.is_empty() {
            asked.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            asked.recv_timeout(due.saturating_duration_since(Instant::now()))
        };
        match word {
            Ok(Asked::Exchange { with, per_s }) => {
                targets = with.into_iter().map(Target::Reliable).collect();
                every = Duration::from_secs(1) / per_s.max(1);
                due = Instant::now();
            }
            Ok(Asked::Rest) => targets.clear(),
            Err(RecvTimeoutError::Timeout) => {
                due += every;
                for target in &targets {
                    number += 1;
                    let content = content(number);
                    // What is refused is not accepted, and counted as such by the node.
                    let _ = router.route(&Alarm { number, content }, target);
                    let _ = router.route(&Reading { number, content }, target);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_word_is_seen() {
        let counts = Counts::default();
        counts.take(77, content(77).into_iter());
        counts.take(78, content(77).into_iter());
        for place in 0..7 {
            let mut changed = content(77);
            changed[place] ^= 1 << (8 * place);
            counts.take(77, changed.into_iter());
        }
        let counted = (counts.handled.into_inner(), counts.damaged.into_inner());
        assert_eq!(counted, (1, 8));
    }
}

//! What the parent knows of its three nodes: their latest accounts, and rates from accounts a
//! second apart.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Role;
use super::report::{Heard, Latency, Published};

/// Rates are taken over this time.
const RATE_OVER: Duration = Duration::from_secs(1);

/// Events per second from a count that grows.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    /// Takes the count of this moment.
    pub(super) fn update(&mut self, now: Instant, count: u64) {
        self.0.push_back((now, count));
        // One entry older than the span stays, to measure from.
        while self.0.get(1).is_some_and(|(at, _)| now - *at >= RATE_OVER) {
            self.0.pop_front();
        }
    }

    /// The rate over the last second or what there is of it.
    pub(super) fn per_second(&self) -> u64 {
        let (Some((from, least)), Some((to, most))) = (self.0.front(), self.0.back()) else {
            return 0;
        };
        let micros = (*to - *from).as_micros();
        per_second(most.saturating_sub(*least), micros)
    }
}

/// Events in so many µs as events a second, rounded.
fn per_second(events: u64, micros: u128) -> u64 {
    let rate = (u128::from(events) * 1_000_000 + micros / 2).checked_div(micros);
    rate.and_then(|rate| u64::try_from(rate).ok()).unwrap_or(0)
}

/// A listener: its account and its rate.
#[derive(Debug, Default)]
pub(super) struct Listener {
    pub(super) heard: Heard,
    pub(super) rate: Rate,
}

/// All three.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) published: Published,
    published_rate: Rate,
    pub(super) lines: Listener,
    pub(super) heartbeats: Listener,
    /// How long events were published, once that is over: rates are then those of the whole run.
    pub(super) published_for: Option<Duration>,
}

/// One row of the table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) per_second: u64,
    pub(super) events: u64,
    /// Only listeners know.
    pub(super) lost: Option<u64>,
    /// Only listeners know, once they have heard something.
    pub(super) latency_ns: Option<Latency>,
}

impl Figures {
    /// Takes a new account of the publisher.
    pub(super) fn update_published(&mut self, now: Instant, published: Published) {
        let events = published.lines_accepted + published.heartbeats_accepted;
        self.published_rate.update(now, events);
        self.published = published;
    }

    /// Takes a new account of a listener.
    pub(super) fn update_heard(&mut self, role: Role, now: Instant, heard: Heard) {
        let listener =
            if role == Role::Heartbeats { &mut self.heartbeats } else { &mut self.lines };
        listener.rate.update(now, heard.taken);
        listener.heard = heard;
    }

    /// The row of a node.
    pub(super) fn row(&self, role: Role) -> Row {
        let mut row = self.row_now(role);
        if let Some(time) = self.published_for {
            row.per_second = per_second(row.events, time.as_micros());
        }
        row
    }

    fn row_now(&self, role: Role) -> Row {
        let listener = match role {
            Role::Publisher => {
                return Row {
                    per_second: self.published_rate.per_second(),
                    events: self.published.lines_accepted + self.published.heartbeats_accepted,
                    ..Row::default()
                };
            }
            Role::Lines => &self.lines,
            Role::Heartbeats => &self.heartbeats,
        };
        let heard = &listener.heard;
        Row {
            per_second: listener.rate.per_second(),
            events: heard.taken,
            lost: Some(heard.lost + heard.before_join + heard.shed.values().sum::<u64>()),
            latency_ns: (heard.taken > 0).then_some(heard.latency_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_second() {
        let begin = Instant::now();
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(), 0);
        rate.update(begin, 0);
        assert_eq!(rate.per_second(), 0);
        for step in 1..=20 {
            // 1,000 a second for two seconds, then 5,000 a second for two.
            let count = if step <= 10 { step * 200 } else { 2_000 + (step - 10) * 1_000 };
            rate.update(begin + Duration::from_millis(step * 200), count);
            if step == 10 {
                assert_eq!(rate.per_second(), 1_000);
            }
        }
        assert_eq!(rate.per_second(), 5_000);
        assert!(rate.0.len() <= 7, "{}", rate.0.len());
        assert_eq!(per_second(7, 2_000_000), 4, "rounded");
        assert_eq!(per_second(7, 0), 0);
    }

    #[test]
    fn at_the_end_rates_are_those_of_the_whole_run() {
        let mut figures = Figures::default();
        let heard = Heard { taken: 50, ..Heard::default() };
        figures.update_heard(Role::Lines, Instant::now(), heard);
        assert_eq!(figures.row(Role::Lines).per_second, 0, "one account has no rate yet");
        figures.published_for = Some(Duration::from_secs(5));
        assert_eq!(figures.row(Role::Lines).per_second, 10);
        assert_eq!(figures.row(Role::Heartbeats).per_second, 0);
    }
}

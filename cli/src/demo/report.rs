//! What parent and children say to each other: one JSON object a line. Commands go down the child's
//! standard input, reports come up its standard output.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::stop::Stop;

/// Lines on their way from the parent that the publisher has not taken yet.
const LINES_WAITING_MAX: usize = 1_024;

/// From the parent.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// A line to publish.
    Line(String),
    /// A line that cannot be published, and the name of the reason.
    Unpublishable(String),
    /// No more lines will come.
    NoMoreLines,
}

/// From a child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// The node runs.
    Ready {
        /// Where it receives.
        address: SocketAddr,
    },
    /// The publisher's account so far.
    Published(Published),
    /// A listener's account so far.
    Heard(Heard),
    /// The account before was the last: the node is closed.
    Done,
    /// It could not go on.
    Failed {
        /// Why, in one line.
        reason: String,
    },
}

/// What the publisher did so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Published {
    /// Lines read.
    pub(super) lines_read: u64,
    /// Lines accepted by the node.
    pub(super) lines_accepted: u64,
    /// Lines refused, by reason.
    pub(super) refused: BTreeMap<String, u64>,
    /// Heartbeats accepted by the node.
    pub(super) heartbeats_accepted: u64,
    /// There are no more lines.
    pub(super) is_out_of_lines: bool,
    /// Sent on the link of the lines.
    pub(super) lines_sent: u64,
    /// Sent on the link of the group.
    pub(super) heartbeats_sent: u64,
    /// Accepted and then shed by the sender, by reason.
    pub(super) shed: BTreeMap<String, u64>,
    /// In rings.
    pub(super) in_flight: u64,
}

/// What a listener did so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heard {
    /// Events taken, checked or not.
    pub(super) taken: u64,
    /// Of those, events whose content was not what was published.
    pub(super) corrupt: u64,
    /// Of those, events that came twice or behind a later one.
    pub(super) misplaced: u64,
    /// Missing between packets.
    pub(super) lost: u64,
    /// Missing before the first packet.
    pub(super) before_join: u64,
    /// Arrived and not taken, by reason.
    pub(super) shed: BTreeMap<String, u64>,
    /// Datagrams dropped, by reason.
    pub(super) dropped_datagrams: BTreeMap<String, u64>,
    /// From publishing to taking, since the beginning, ns.
    pub(super) latency_ns: Latency,
    /// What of the last event stands below the table.
    pub(super) shown: String,
}

/// Percentiles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

/// Sends a report to the parent.
///
/// # Errors
/// When the parent has gone.
pub(super) fn send(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    io::stdout().lock().write_all(&line)
}

/// What the parent orders, as far as it is not done at once.
#[derive(Debug)]
pub(super) struct Commands {
    lines: Receiver<Order>,
}

impl Commands {
    /// Listens on standard input with a thread of its own. The end of standard input is the end of
    /// the parent, or its order to stop, and wishes `stop`.
    pub(super) fn listen(stop: &Stop) -> Self {
        let (to, lines) = sync_channel(LINES_WAITING_MAX);
        let stop = stop.clone();
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                let Ok(order) = serde_json::from_str(&line) else { break };
                if !put(&to, order, &stop) {
                    break;
                }
            }
            stop.wish();
        });
        Self { lines }
    }

    /// The next line or the end of lines, waiting for it no longer than `patience`.
    pub(super) fn next(&self, patience: Duration) -> Option<Order> {
        self.lines.recv_timeout(patience).ok()
    }
}

/// Waits for room, but not past the end.
fn put(to: &SyncSender<Order>, mut order: Order, stop: &Stop) -> bool {
    while !stop.is_wished() {
        match to.try_send(order) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(back)) => order = back,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_one_line_and_understood() {
        let order = Order::Line("two\nlines \u{9b} and \"quotes\"".into());
        let line = serde_json::to_string(&order).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
        let heard = Heard { taken: 3, shown: "x\ny".into(), ..Heard::default() };
        let line = serde_json::to_string(&Report::Heard(heard.clone())).unwrap();
        assert!(!line.contains('\n'));
        let back: Report = serde_json::from_str(&line).unwrap();
        assert!(matches!(back, Report::Heard(same) if same == heard));
    }
}

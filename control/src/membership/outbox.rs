//! What `foca` wants done, kept until the machine has the time to do it.

use std::time::Duration;

use foca::{Notification, OwnedNotification, Runtime, Timer};

use super::identity::Identity;

/// The side of the machine that `foca` calls.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) datagrams: Vec<(Identity, Vec<u8>)>,
    pub(crate) timers: Vec<(Timer<Identity>, Duration)>,
    pub(crate) news: Vec<OwnedNotification<Identity>>,
}

impl Runtime<Identity> for Outbox {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        self.news.push(notification.to_owned());
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.datagrams.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        self.timers.push((event, after));
    }
}

/// A timer of `foca`, ordered by when it is due and then by when it was asked for.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) at_ns: u64,
    pub(crate) order: u64,
    pub(crate) timer: Timer<Identity>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ns, self.order) == (other.at_ns, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The earliest is the greatest, for a heap.
        (other.at_ns, other.order).cmp(&(self.at_ns, self.order))
    }
}

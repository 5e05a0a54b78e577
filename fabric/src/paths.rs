//! Follows how large a datagram each path takes: a task of the control thread.
//!
//! Packets are never fragmented on their way (DF is set), so when a path becomes narrower the
//! kernel refuses what is too long, and says so to no one but the sender, who counts it. This task
//! sees the count move, asks for the paths again and tells the sender what has changed. It owns
//! nothing of the node.

use std::sync::Weak;

use wireloom_dataplane::agent::Agent;

use crate::shared::Shared;

/// How soon a refusal is noticed: until then events of packets too long are lost, and counted.
const NOTICE_NS: u64 = 100_000_000;

/// How often paths are asked for without a reason, to find the ones that have become wider.
const LOOK_NS: u64 = 60_000_000_000;

pub(crate) struct Paths {
    shared: Weak<Shared>,
    refused: u64,
    notice_at_ns: u64,
    look_at_ns: u64,
}

impl Paths {
    pub(crate) const fn new(shared: Weak<Shared>) -> Self {
        Self { shared, refused: 0, notice_at_ns: 0, look_at_ns: 0 }
    }
}

impl Agent for Paths {
    fn name(&self) -> &'static str {
        "paths"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        if now_ns < self.notice_at_ns {
            return 0;
        }
        self.notice_at_ns = now_ns + NOTICE_NS;
        let Some(shared) = self.shared.upgrade() else { return 0 };
        let refused = shared.datagrams_refused();
        if refused == self.refused && now_ns < self.look_at_ns {
            return 0;
        }
        self.refused = refused;
        self.look_at_ns = now_ns + LOOK_NS;
        shared.look_at_paths()
    }

    fn deadline_ns(&self) -> Option<u64> {
        Some(self.notice_at_ns)
    }
}

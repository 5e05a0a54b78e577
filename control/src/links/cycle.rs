//! What a duty cycle hands down to the links, and the times they keep.

use wireloom_dataplane::counters::Counters;

use super::port::{Identity, LinksConfig};
use crate::compression::Compression;
use crate::settings::{ReliableSettings, ns};

/// The settings in the units of the machines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) connect_ns: u64,
    pub(super) ack_ns: u64,
    pub(super) keep_alive_ns: u64,
    pub(super) attempts: u32,
    pub(super) undelivered_ns: u64,
    pub(super) renew_ns: u64,
}

impl Times {
    pub(super) fn of(settings: &ReliableSettings) -> Self {
        Self {
            connect_ns: ns(settings.connect_timeout),
            ack_ns: ns(settings.ack_timeout),
            keep_alive_ns: ns(settings.keep_alive).max(1),
            attempts: settings.attempts.max(1),
            undelivered_ns: ns(settings.undelivered_after),
            renew_ns: ns(settings.renew_after),
        }
    }
}

/// What a duty cycle hands down to the links.
pub(super) struct Cycle<'a, S> {
    pub(super) sockets: &'a mut S,
    pub(super) scratch: &'a mut [u8],
    pub(super) counters: &'a Counters,
    pub(super) identity: &'a Identity,
    pub(super) compression: &'a mut Compression,
    pub(super) times: Times,
    pub(super) now_ns: u64,
    /// Acknowledgements wait for no company in this cycle.
    pub(super) says_all: bool,
    /// How much longer than usual they wait.
    pub(super) patience_ns: u64,
    /// When the first of those that wait is due.
    pub(super) due_ns: u64,
}

impl<'a, S> Cycle<'a, S> {
    pub(super) fn new(
        (sockets, scratch, compression): (&'a mut S, &'a mut [u8], &'a mut Compression),
        config: &'a LinksConfig,
        times: Times,
        (now_ns, says_all): (u64, bool),
    ) -> Self {
        Self {
            sockets,
            scratch,
            counters: &config.port.counters,
            identity: &config.identity,
            compression,
            times,
            now_ns,
            says_all,
            patience_ns: 0,
            due_ns: u64::MAX,
        }
    }
}

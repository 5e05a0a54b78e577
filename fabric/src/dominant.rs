//! Finds the peer that most datagrams go to and lets them leave by a socket connected to it: a task
//! of the control thread.
//!
//! It owns control's end of the direct socket and nothing of the node. The order of a change is:
//! the sender leaves the socket, and says so; the socket is connected; the receiver looks at it;
//! the sender uses it.

use std::net::SocketAddr;
use std::sync::Weak;

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::command::{ReceiverCommand, SenderCommand};
use wireloom_dataplane::direct::DirectPort;
use wireloom_dataplane::link::LinkId;

use crate::outcome::Refused;
use crate::shared::Shared;

/// How often the links are compared. It is also how long the sender has to leave the socket.
const LOOK_NS: u64 = 100_000_000;

/// Packets between two looks below which the socket is not worth its change: 500 a second save less
/// than 0.05 % of a core.
const PACKETS_MIN: u64 = 50;

/// A peer dominates with this many of ten packets.
const TENTHS_MIN: u64 = 9;

/// How long the socket is left alone after a send was refused or a change failed.
const PAUSE_NS: u64 = 10_000_000_000;

/// A link as it stood at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) id: LinkId,
    pub(crate) address: SocketAddr,
    pub(crate) packets: u64,
}

pub(crate) struct Dominant {
    shared: Weak<Shared>,
    port: DirectPort,
    last: Vec<Standing>,
    /// Whom the socket is connected to.
    connected: Option<LinkId>,
    refused: u64,
    look_at_ns: u64,
}

impl Dominant {
    pub(crate) const fn new(shared: Weak<Shared>, port: DirectPort) -> Self {
        Self { shared, port, last: Vec::new(), connected: None, refused: 0, look_at_ns: 0 }
    }

    /// Brings the socket a step nearer to `wanted`; false when that failed.
    fn change(&mut self, shared: &Shared, wanted: Standing) -> bool {
        if let Some(used) = self.port.in_use().link() {
            return used == wanted.id || shared.set_direct(None).is_ok();
        }
        if self.connected != Some(wanted.id) {
            if self.port.connect(wanted.address).is_err() {
                return false;
            }
            self.connected = Some(wanted.id);
        }
        shared.look_direct().is_ok() && shared.set_direct(Some(wanted.id)).is_ok()
    }
}

impl Shared {
    /// The links to single peers and what each has carried.
    fn standings(&self) -> Vec<Standing> {
        let books = self.books();
        let single = books.links.iter().filter(|(_, entry)| !entry.group);
        single
            .map(|(address, entry)| Standing {
                id: entry.link.id,
                address: *address,
                packets: entry.counters.packets_total(),
            })
            .collect()
    }

    /// Lets a link's datagrams leave by the direct socket, or none's.
    fn set_direct(&self, link: Option<LinkId>) -> Result<(), Refused> {
        self.to_sender(SenderCommand::SetDirect(link))
    }

    /// Lets the receiver look at the direct socket, newly connected.
    fn look_direct(&self) -> Result<(), ()> {
        self.to_receiver(0, ReceiverCommand::SetDirect(true))
    }
}

/// The link that carried nearly everything since the last look, if there was much.
fn dominant(last: &[Standing], now: &[Standing]) -> Option<Standing> {
    let grown = now.iter().map(|link| {
        let before = last.iter().find(|old| old.id == link.id).map_or(0, |old| old.packets);
        (*link, link.packets.saturating_sub(before))
    });
    let (mut all, mut most) = (0, None::<(Standing, u64)>);
    for (link, packets) in grown {
        all += packets;
        if most.is_none_or(|(_, least)| packets > least) {
            most = Some((link, packets));
        }
    }
    let (link, packets) = most?;
    (packets >= PACKETS_MIN && packets * 10 >= all * TENTHS_MIN).then_some(link)
}

impl Agent for Dominant {
    fn name(&self) -> &'static str {
        "dominant-peer"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        if now_ns < self.look_at_ns {
            return 0;
        }
        self.look_at_ns = now_ns + LOOK_NS;
        let Some(shared) = self.shared.upgrade() else { return 0 };
        let refused = std::mem::replace(&mut self.refused, shared.datagrams_refused());
        if refused != self.refused {
            // Perhaps the path of the connected socket no longer is: the way without it is found
            // anew with each send.
            let _ = shared.set_direct(None);
            self.look_at_ns = now_ns + PAUSE_NS;
            return 1;
        }
        let now = shared.standings();
        let wanted = dominant(&self.last, &now);
        self.last = now;
        match wanted {
            Some(wanted) if self.port.in_use().link() != Some(wanted.id) => {
                if !self.change(&shared, wanted) {
                    self.look_at_ns = now_ns + PAUSE_NS;
                }
                1
            }
            _ => 0,
        }
    }

    fn deadline_ns(&self) -> Option<u64> {
        Some(self.look_at_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(packets: &[u64]) -> Vec<Standing> {
        let addresses = (1_u16..).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let links = packets.iter().zip(addresses).zip(0..);
        links
            .map(|((packets, address), id)| Standing { id: LinkId(id), address, packets: *packets })
            .collect()
    }

    #[test]
    fn a_link_dominates_with_nine_tenths_of_enough() {
        let who = |last: &[u64], now: &[u64]| {
            dominant(&links(last), &links(now)).map(|standing| standing.id.0)
        };
        assert_eq!(who(&[], &[]), None);
        assert_eq!(who(&[], &[PACKETS_MIN - 1]), None);
        assert_eq!(who(&[], &[PACKETS_MIN]), Some(0));
        assert_eq!(who(&[5_000, 100], &[5_100, 1_000]), Some(1), "what counts is the growth");
        assert_eq!(who(&[5_000, 100], &[5_101, 1_000]), None);
        assert_eq!(who(&[5_000], &[5_000, 300]), Some(1), "a link may be new");
    }
}

//! Streams whose peers take no more now, or whose links have no key: when they may go on, and when
//! to ask.

use wireloom_wire::{LANES, packet_charge};

use super::Sender;
use super::plan::Touched;
use crate::counters::Counter;
use crate::flow::FlowControl;
use crate::io::Transmit;
use crate::limits::LINKS_MAX;

/// The held streams of a sender; each stands here once.
#[derive(Debug)]
pub(super) struct Held(Vec<Touched>);

impl Held {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(LINKS_MAX * LANES))
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn extend(&mut self, streams: &[Touched]) {
        self.0.extend_from_slice(streams);
    }
}

impl<T: Transmit> Sender<T> {
    /// Lets go the streams whose peers have room for a packet again, and asks those that have been
    /// silent for a while. Returns the questions sent.
    pub(super) fn tend_held(&mut self, now_ns: u64) -> usize {
        let (mut asked, mut index) = (0, 0);
        while let Some(&Touched { link: id, lane }) = self.held.0.get(index) {
            let Some(link) = self.links.get_mut(id) else {
                self.held.0.swap_remove(index);
                continue;
            };
            if link.is_keyless(lane) {
                // A question would leave in clear, so a key or time is all that ends this.
                if link.waits_for_key(now_ns) {
                    link.streams[lane].credit.postpone(now_ns);
                    index += 1;
                } else {
                    link.streams[lane].credit.release();
                    self.held.0.swap_remove(index);
                }
                continue;
            }
            let stream = &mut link.streams[lane];
            let room = stream.credit.room(link.window.lane(lane), stream.sequence, now_ns);
            self.counters.add(Counter::StatusesImpossible, stream.credit.take_disbelieved());
            let packet = packet_charge(link.overhead_bytes + link.body_bytes);
            if room >= packet || link.flow == FlowControl::Off {
                stream.credit.release();
                self.held.0.swap_remove(index);
                continue;
            }
            if stream.credit.asks(now_ns) {
                self.send_marker(id, lane, Counter::WindowQuestions, now_ns);
                asked += 1;
            }
            index += 1;
        }
        asked
    }

    /// When the next silent peer is to be asked.
    pub(super) fn ask_ns(&self) -> Option<u64> {
        let streams = self.held.0.iter();
        let asks = streams.filter_map(|held| {
            self.links.get(held.link).and_then(|link| link.streams[held.lane].credit.ask_ns())
        });
        asks.min()
    }
}

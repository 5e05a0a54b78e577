//! Replies come in: out of the receivers' rings into the table, on the control thread, which also
//! ends what is out of time.

use std::sync::Arc;

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::dispatch::Wanted;
use wireloom_dataplane::inbound::{Inbound, read_inbound};
use wireloom_ring::{Consumer, Records, record_spacing};
use wireloom_wire::ExchangeKind;

use crate::outcome::SubscribeError;
use crate::request::answers::read_denial;
use crate::request::exchange::{DENIAL, Exchange, REPLY, lock};
use crate::shared::Shared;

/// The task of the control thread that takes replies.
struct Inbox {
    exchange: Arc<Exchange>,
    rings: Vec<Consumer>,
}

impl Agent for Inbox {
    fn name(&self) -> &'static str {
        "replies"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        let Self { exchange, rings } = self;
        let mut work = 0;
        for ring in rings {
            let batch = ring.read();
            let mut taken = 0;
            for record in Records::new(batch) {
                taken += record_spacing(record.len());
                work += 1;
                let Some(Inbound::Event(frame, _)) = read_inbound(record) else { continue };
                let Some(to) = frame.correlation() else { continue };
                match to.kind {
                    ExchangeKind::Reply => {
                        exchange.reply(&to, frame.header.fingerprint, frame.payload());
                    }
                    ExchangeKind::Denial => {
                        let (failure, words) = read_denial(frame.payload());
                        exchange.deny(to.id, failure, words);
                    }
                    _ => {}
                }
            }
            let taken = taken.min(batch.len());
            ring.release(taken);
        }
        work + exchange.expire(now_ns)
    }

    fn deadline_ns(&self) -> Option<u64> {
        self.exchange.earliest_ns()
    }
}

impl Shared {
    /// Lets replies come in, from the first request on.
    pub(crate) fn attend_replies(&self) -> Result<(), SubscribeError> {
        let mut has_inbox = lock(&self.exchange.has_inbox);
        if !*has_inbox {
            self.make_inbox()?;
            *has_inbox = true;
        }
        Ok(())
    }

    fn make_inbox(&self) -> Result<(), SubscribeError> {
        let id = self.next_subscription();
        let mut rings = Vec::new();
        for receiver in 0..self.receivers() {
            let (ring, consumer) = self.inbound("replies", self.exchange.wake.clone())?;
            let wanted = Wanted::Types(vec![REPLY, DENIAL]);
            self.subscribe(id, (receiver, wanted), Box::new(ring))?;
            rings.push(consumer);
        }
        self.add_task(Box::new(Inbox { exchange: Arc::clone(&self.exchange), rings }))
    }
}

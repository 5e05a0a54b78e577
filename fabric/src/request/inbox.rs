//! Replies come in: out of the receivers' rings into the table, on the control thread, which also
//! ends what is out of time.

use std::sync::Arc;

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::dispatch::Wanted;
use wireloom_dataplane::inbound::{Inbound, RingReader};
use wireloom_wire::ExchangeKind;

use crate::intake::{CYCLE_RECORDS, Intake};
use crate::outcome::SubscribeError;
use crate::request::answers::read_denial;
use crate::request::exchange::{DENIAL, Exchange, REPLY, lock};
use crate::shared::Shared;

/// The task of the control thread that takes replies.
struct Inbox {
    exchange: Arc<Exchange>,
    rings: Vec<RingReader>,
    clock: Clock,
}

impl Agent for Inbox {
    fn name(&self) -> &'static str {
        "replies"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        let Self { exchange, rings, clock } = self;
        let mut work = 0;
        for ring in rings {
            work += ring.poll(
                CYCLE_RECORDS,
                || clock.unix_ns(now_ns),
                |inbound| {
                    take(exchange, &inbound);
                    true
                },
            );
        }
        work + exchange.expire(now_ns)
    }

    fn deadline_ns(&self) -> Option<u64> {
        self.exchange.earliest_ns()
    }
}

/// One record: a reply, a denial, or nothing that is awaited.
fn take(exchange: &Exchange, inbound: &Inbound<'_>) {
    let Inbound::Event(frame, _) = inbound else { return };
    let Some(to) = frame.correlation() else { return };
    match to.kind {
        ExchangeKind::Reply => exchange.reply(&to, frame.header.fingerprint, frame.payload()),
        ExchangeKind::Denial => {
            let (failure, words) = read_denial(frame.payload());
            exchange.deny(to.id, failure, words);
        }
        _ => {}
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
            let wake = self.exchange.wake.clone();
            let (ring, reader) = self.inbound(("replies", receiver), Intake::default(), wake)?;
            let wanted = Wanted::Types(vec![REPLY, DENIAL]);
            self.subscribe(id, (receiver, wanted), Box::new(ring))?;
            rings.push(reader);
        }
        let (exchange, clock) = (Arc::clone(&self.exchange), self.clock().clone());
        self.add_task(Box::new(Inbox { exchange, rings, clock }))
    }
}

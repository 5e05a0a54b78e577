//! What the machine does beside SWIM so that the dead are found early and the living are not called
//! dead: suspicions with their witnesses are passed on in frames of their own, the suspect is told
//! first, and who probes for another denies what was not answered.

use std::net::SocketAddr;
use std::time::Duration;

use foca::{Member as Update, State, Timer};
use wireloom_wire::gossip::{CONTROL_PACKET_BYTES_MAX, ControlPacket, NACK, SUSPECT};

use super::codec::{PING, PING_REQUEST};
use super::identity::Identity;
use super::machine::{Membership, ns};
use super::probing::{Probe, Relay};
use super::speech::{self, Refusal};
use super::suspicion::Patience;

impl Membership {
    fn patience(&self, most: Duration) -> Patience {
        let times = u64::from(self.health.multiplier());
        let most_ns = ns(most) * times;
        // Half a second for each digit of the cluster's size, and half a second more: news reach
        // all, and a word against them comes back.
        let least_ns = ns(self.timing.suspicion) / 6 * u64::from(self.scale + 1) * times;
        let others = self.entries.up().saturating_sub(1);
        Patience { most_ns, least_ns: least_ns.min(most_ns), others }
    }

    /// The failure detector suspects a member, and wants this timer at the end.
    pub(super) fn suspect(&mut self, timer: Timer<Identity>, most: Duration) {
        let Timer::ChangeSuspectToDown { member_id: identity, incarnation, .. } = timer else {
            return;
        };
        self.verdicts.note(&Update::new(identity, incarnation, State::Suspect));
        let (now_ns, patience) = (self.clock.now_ns(), self.patience(most));
        if self.suspicions.begin((identity, incarnation), timer, now_ns, patience) {
            self.tell_of((identity, incarnation), self.own.identity);
            // The suspect first: it alone can say that it lives.
            self.packet(identity.address, |machine, packet| {
                machine.tell_suspect(packet, identity.address, CONTROL_PACKET_BYTES_MAX);
            });
        }
    }

    fn tell_of(&mut self, (suspect, incarnation): (Identity, u16), origin: Identity) {
        let payload = speech::suspicion(suspect, incarnation, origin);
        self.spread_suspicions.add((suspect.address, origin.address), payload, 3 * self.scale);
        self.news_soon();
    }

    /// Tells a member that it is suspected, if it is and there is room.
    pub(super) fn tell_suspect(
        &self,
        packet: &mut ControlPacket<'_>,
        to: SocketAddr,
        bytes_max: usize,
    ) -> bool {
        let Some((suspect, incarnation)) = self.suspicions.against(to, &self.verdicts) else {
            return false;
        };
        let payload = speech::suspicion(suspect, incarnation, self.own.identity);
        speech::SUSPICION_FRAME_BYTES_MAX <= bytes_max && packet.push(SUSPECT, &payload)
    }

    pub(super) fn hear_suspect(
        &mut self,
        payload: &[u8],
        packet_bytes: usize,
    ) -> Result<(), Refusal> {
        let (suspect, incarnation, origin) = speech::read_suspicion(payload)?;
        if suspect == self.own.identity {
            let update = std::iter::once(Update::new(suspect, incarnation, State::Suspect));
            let refused = self.foca.apply_many(update, true, &mut self.outbox).is_err();
            self.counts.refused_malformed += u64::from(refused);
            self.absorb(packet_bytes);
            // Its refutation does not wait for the next probe.
            self.news_soon();
            return Ok(());
        }
        let known = self.entries.lives(&suspect) && self.entries.lives(&origin);
        let old = self.verdicts.is_beyond(&Update::new(suspect, incarnation, State::Suspect));
        if origin == self.own.identity || old {
            return Ok(());
        }
        if !known || suspect == origin {
            self.counts.refused_suspicion += 1;
            return Ok(());
        }
        let patience = self.patience(self.suspicion_most());
        let now_ns = self.clock.now_ns();
        if self.suspicions.agree((suspect, incarnation), origin, now_ns, patience) {
            self.tell_of((suspect, incarnation), origin);
        }
        Ok(())
    }

    /// Notes what a timer made the failure detector ask of others.
    pub(super) fn watch_probe(&mut self) {
        for (to, datagram) in &self.outbox.datagrams {
            match (datagram.first(), &mut self.probe) {
                (Some(&PING), probe) => *probe = Some(Probe::new(*to)),
                (Some(&PING_REQUEST), Some(probe)) => probe.ask(*to),
                _ => {}
            }
        }
    }

    /// A probe is over. That those who were asked said nothing at all may be our fault.
    pub(super) fn end_probe(&mut self) {
        let Some(probe) = self.probe.take() else { return };
        for _ in 0..probe.silent() {
            self.counts.nacks_missed += 1;
            self.health.unheard();
        }
    }

    /// `target` has answered a probe of this node, to it or to another.
    pub(super) fn answered(&mut self, target: Identity) {
        if self.probe.as_mut().is_some_and(|probe| probe.answer(target)) {
            self.health.answered();
        }
    }

    /// `asker` wants `target` probed, and is told if there is no answer in time.
    pub(super) fn relay(&mut self, asker: Identity, target: Identity, number: u8) {
        // In time to be heard before the asker's own probe is over.
        let left = self.timing.probe_period.saturating_sub(self.timing.probe_rtt) * 2 / 3;
        let due_ns = self.clock.now_ns() + ns(left.min(self.timing.probe_rtt));
        let begun = self.relays.begin(Relay { asker, target, number, due_ns });
        self.counts.answers_shed += u64::from(!begun);
    }

    /// Denies the probes for others that were not answered in time.
    pub(super) fn deny(&mut self, now_ns: u64) {
        for relay in self.relays.take_due(now_ns) {
            let payload = speech::nack(self.own.identity, relay.target);
            self.packet(relay.asker.address, |_, packet| {
                packet.push(NACK, &payload);
            });
        }
    }

    pub(super) fn hear_nack(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        let (by, target) = speech::read_nack(payload)?;
        let asked = self.probe.as_mut().is_some_and(|probe| probe.nack(by, target));
        self.counts.nacks_heard += u64::from(asked);
        self.counts.refused_unasked += u64::from(!asked);
        Ok(())
    }
}

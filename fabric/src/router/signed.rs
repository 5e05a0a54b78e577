//! Events of signed types on their way out of the process: made aside, signed together, written
//! with their proofs.

use wireloom_wire::SIGNED_EVENTS_MAX;

use super::{Batch, Router};
use crate::event::{Event, deadline_ns};
use crate::outcome::{Accepted, Refused};
use crate::target::Target;
use crate::trace;
use crate::validation::put;
use crate::writer::{Visible, Way, head, typed_header};

impl Router {
    /// One event, signed alone.
    #[cold]
    pub(super) fn route_signed<E: Event>(
        &mut self,
        event: &E,
        way: Way,
        at: (u64, Visible),
    ) -> Result<Accepted, Refused> {
        let (last, refused) = self.write_signed(&[event], way, at);
        last.ok_or_else(|| refused.unwrap_or(Refused::Unsigned))
    }

    /// Events by one way, signed together as many at a time as may be. What no packet of the way
    /// holds goes to the target by itself.
    #[cold]
    pub(super) fn route_signed_batch<'a, E: Event>(
        &mut self,
        events: impl Iterator<Item = &'a E>,
        (way, target): (Way, &Target),
        unix_ns: u64,
    ) -> Batch {
        let mut batch = Batch { accepted: 0, last: None, refused: None };
        let mut events = events.peekable();
        while events.peek().is_some() && batch.refused.is_none() {
            let together: Vec<&E> = events.by_ref().take(SIGNED_EVENTS_MAX).collect();
            let mut rest = &together[..];
            while !rest.is_empty() && batch.refused.is_none() {
                let before = self.sequence;
                let (last, refused) = self.write_signed(rest, way, (unix_ns, Visible::Later));
                let taken = self.sequence - before;
                batch.accepted += taken;
                batch.last = last.or(batch.last);
                rest = rest.get(usize::try_from(taken).unwrap_or(rest.len())..).unwrap_or_default();
                match (refused, rest.split_first()) {
                    (Some(Refused::TooLarge { .. }), Some((first, others))) => {
                        match self.route(*first, target) {
                            Ok(accepted) => {
                                batch.accepted += 1;
                                (batch.last, rest) = (Some(accepted), others);
                            }
                            Err(refused) => batch.refused = Some(refused),
                        }
                    }
                    (refused, _) => batch.refused = refused,
                }
            }
        }
        self.rings.publish((way, E::PRIORITY), batch.refused.is_some());
        batch
    }

    /// Writes events, signed together, until one is refused; the last that was not.
    fn write_signed<E: Event>(
        &mut self,
        events: &[&E],
        way: Way,
        (unix_ns, visible): (u64, Visible),
    ) -> (Option<Accepted>, Option<Refused>) {
        let trace = self.trace.or_else(trace::current);
        let deadline_ns = self.deadline_ns.or_else(|| deadline_ns::<E>(unix_ns));
        let head_of = |sequence| head(typed_header::<E>(sequence, unix_ns), trace, deadline_ns);
        let bytes_max = self.shared.reliable.stream_bytes_max;
        self.signing.begin(events.len());
        let mut signed = Ok(());
        for (event, sequence) in events.iter().zip(self.sequence..) {
            let event = (*event, &mut self.scratch);
            signed = signed.and_then(|()| self.signing.push(&head_of(sequence), event, bytes_max));
        }
        let signed = signed
            .and_then(|()| self.signing.sign(self.shared.id(), &self.shared.validation))
            .inspect_err(|_| self.rings.handed.count_refusal());
        let mut last = None;
        if let Err(refused) = signed {
            return (last, Some(refused));
        }
        for (place, sequence) in (0..events.len()).zip(self.sequence..) {
            let Some((proof, payload)) = self.signing.signed(place) else { break };
            let head = head_of(sequence).with_proof(proof);
            let place = (way, E::PRIORITY, visible);
            let written = self.rings.write(&self.shared, place, &head, |into| put(payload, into));
            if let Err(refused) = written {
                return (last, Some(refused));
            }
            self.sequence += 1;
            last = Some(Accepted { sequence, place: self.rings.place(way, E::PRIORITY) });
        }
        (last, None)
    }
}

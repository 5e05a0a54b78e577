//! Requests and replies on their way out: where a request goes, and parts of an exchange as frames.
//! Requests take the way that events of their type would; each is written to targets with an
//! address, because it says where its reply goes.

use wireloom_wire::{EventTypeId, FrameHeader};

use super::{Router, asked_of};
use crate::choose::Aim;
use crate::encode::{EncodeError, Scratch};
use crate::event::Event;
use crate::outcome::{Accepted, Refused};
use crate::request::exchange::Part;
use crate::select::{Asked, Size};
use crate::target::Target;
use crate::writer::{Visible, head};

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Asking {
    /// With an address each; one unless its target is many.
    pub(crate) targets: Vec<Target>,
    /// What no packet holds may go by TCP instead: nobody demanded a datagram.
    pub(crate) may_stream: bool,
}

impl Router {
    /// Where a request goes now, as rules, its priority, its type and its size say; to `answered`,
    /// the type it travels as, members are interested.
    pub(crate) fn asking<Q: Event>(
        &mut self,
        request: &Q,
        target: &Target,
        answered: EventTypeId,
    ) -> Result<Asking, Refused> {
        if target.is_fixed() {
            return Ok(Asking { targets: vec![target.clone()], may_stream: false });
        }
        let asked = Asked { own_key: request.key(), ..asked_of::<Q>(target) };
        let plan = self.plans.find(&self.shared, &asked);
        let bytes = if self.plans.asks_for_size(plan) { Some(self.measure(request)) } else { None };
        let decision =
            self.plans.decision(&self.shared, &asked, (plan, Size { bytes, fits: true }));
        let may_stream = decision.may_stream();
        let aim = decision.ask(&self.shared, &asked, answered, &mut self.chooser)?;
        let targets = match aim {
            Aim::One(found) => vec![found],
            Aim::Each(found) => found,
        };
        Ok(Asking { targets, may_stream })
    }

    /// Routes a part of an exchange: numbered and timed here, otherwise as it says. What no packet
    /// of the way holds is no refusal where it `spills`: it goes another way.
    pub(crate) fn route_exchange(
        &mut self,
        part: &Part<'_>,
        (target, spills): (&Target, bool),
        mut payload: impl FnMut(&mut [u8], &mut Scratch) -> Result<usize, EncodeError>,
    ) -> Result<Accepted, Refused> {
        let sequence = self.sequence;
        let timestamp_ns = self.shared.unix_ns();
        let header = FrameHeader { sequence, timestamp_ns, ..part.header };
        let head = head(header, self.trace, part.deadline_ns).with_correlation(part.correlation);
        let way = self.known.way(&self.shared, target)?.spilling(spills);
        let (scratch, priority) = (&mut self.scratch, part.header.priority);
        let place = (way, priority, Visible::Now);
        self.rings.write(&self.shared, place, &head, |into| payload(into, scratch))?;
        self.sequence += 1;
        Ok(Accepted { sequence, place: self.rings.place(way, priority) })
    }
}

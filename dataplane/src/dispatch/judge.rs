//! The dispatcher's side of access: how a table comes in, and events that are looked at one by one
//! because a run cannot pass as a whole.

use wireloom_wire::{Frame, Frames};

use super::access::AccessTable;
use super::refusals::Refusal;
use super::{Dispatch, Origin, Slot};
use crate::counters::{Counter, Counters};
use crate::limits::{SUBSCRIPTIONS_MAX, TYPE_SLOTS};

impl Dispatch {
    /// Puts a table of access in the place of another, which goes back to be freed elsewhere. Costs
    /// a look at each slot.
    #[cold]
    pub(crate) fn exchange_access(
        &mut self,
        access: Option<Box<AccessTable>>,
    ) -> Option<Box<AccessTable>> {
        let before = std::mem::replace(&mut self.access, access);
        for slot in &mut self.slots {
            slot.column = 0;
        }
        // Those that were held for their column alone go; what moves up into one may go as well.
        let is_dead = |slot: &Slot| slot.event_type != 0 && slot.heads_nothing();
        for index in 0..self.slots.len() {
            while is_dead(&self.slots[index]) {
                self.vacate(index);
            }
        }
        let held = self.slots.iter().filter(|slot| slot.event_type != 0).count();
        // Types that only those who want every one are given: a slot each, while there is room for
        // every subscription's.
        let mut room =
            (TYPE_SLOTS - SUBSCRIPTIONS_MAX / 2).saturating_sub(held + SUBSCRIPTIONS_MAX);
        let Some(access) = self.access.take() else { return before };
        for (event_type, column) in access.types().iter().zip(1..) {
            let index = self.slot_of(event_type.0);
            let slot = &mut self.slots[index];
            if slot.event_type == 0 {
                if room == 0 {
                    continue;
                }
                (slot.event_type, room) = (event_type.0, room - 1);
            }
            slot.column = column;
        }
        self.access = Some(access);
        before
    }

    /// Takes one frame and gives it on if it may pass.
    #[cold]
    #[inline(never)]
    pub(super) fn judge_one(
        &mut self,
        frames: &mut Frames<'_>,
        origin: &Origin,
        counters: &Counters,
    ) -> u16 {
        let next = frames.next_type().and_then(|event_type| frames.next_of(event_type));
        next.map_or(0, |frame| self.judge(&frame, origin, counters))
    }

    /// Gives one event on if it may pass, and counts what became of it; 1.
    pub(super) fn judge(&mut self, frame: &Frame<'_>, origin: &Origin, counters: &Counters) -> u16 {
        let column = self.slots[self.slot_of(frame.header.event_type.0)].column;
        let (of, now_unix_ns) = ((origin.source, column), self.now_unix_ns);
        let access = self.access.as_mut();
        let refused = access.and_then(|access| access.refuses(frame, of, now_unix_ns));
        let counter = match refused {
            Some(Refusal { shadow: false, limited: true, .. }) => Counter::EventsRateLimited,
            Some(Refusal { shadow: false, .. }) => Counter::EventsUnauthorized,
            Some(Refusal { shadow: true, .. }) => {
                counters.add(Counter::EventsRefusable, 1);
                self.deliver(frame, origin)
            }
            None => self.deliver(frame, origin),
        };
        counters.add(counter, 1);
        1
    }
}

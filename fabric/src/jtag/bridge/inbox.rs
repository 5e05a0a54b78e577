//! What came from the fabric and waits for the bridge: filled by the threads that emit and receive,
//! emptied by the bridge's own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::jtag::events::{Arrival, LegacyEvents};
use crate::jtag::message::Message;
use crate::jtag::outbox::{QUEUE_BYTES_MAX, QUEUE_MAX};
use crate::jtag::wrapper::LegacyEvent;

/// Something the fabric said.
pub(super) enum News {
    /// An event that no message brought.
    Event(LegacyEvent),
    /// An event, as the message that brought it.
    EventMessage(Arc<str>),
    /// Another message.
    Message(Box<Message>, Arc<str>),
}

#[derive(Default)]
struct Waiting {
    news: VecDeque<News>,
    bytes: usize,
    shed: u64,
}

/// See the module. Bounded by [`QUEUE_MAX`] and [`QUEUE_BYTES_MAX`]; what comes then is shed.
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Inbox {
    /// An inbox that is filled for as long as somebody holds it.
    pub(super) fn open(
        events: &LegacyEvents,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        let inbox = Arc::new(Self { waiting: Mutex::default(), wake: Box::new(wake) });
        let filled = Arc::downgrade(&inbox);
        events.tap(move |arrival| {
            let Some(inbox) = filled.upgrade() else { return false };
            inbox.put(arrival);
            true
        });
        inbox
    }

    fn put(&self, arrival: &Arrival<'_>) {
        let (news, bytes) = match arrival {
            Arrival::Event(event, None) => {
                (News::Event((*event).clone()), event.data.to_string().len())
            }
            Arrival::Event(_, Some(text)) => (News::EventMessage((*text).into()), text.len()),
            Arrival::Message(message, text) => {
                (News::Message(Box::new((*message).clone()), (*text).into()), text.len())
            }
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.news.len() >= QUEUE_MAX || waiting.bytes + bytes > QUEUE_BYTES_MAX {
            waiting.shed += 1;
            return;
        }
        waiting.bytes += bytes;
        waiting.news.push_back(news);
        drop(waiting);
        (self.wake)();
    }

    /// All that waits, and how much was shed since the last time.
    pub(super) fn take(&self) -> (VecDeque<News>, u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *waiting);
        (taken.news, taken.shed)
    }
}

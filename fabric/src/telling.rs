//! What the links tell of authenticated peers and their notes, given on the control thread to those
//! whose matter it is, and what these have to say given to the links.
//!
//! Owned by the conductor. The links' listener runs on the same thread and only puts notices aside.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Weak};

use wireloom_control::{LinksCommand, LinksNotice};
use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::counters::Counter;
use wireloom_identity::Credentials;
use wireloom_wire::NodeId;

use crate::note::{Kind, NoteError, Tell};
use crate::revocations::Revocations;
use crate::shared::Shared;

/// How soon a list of revocations that came into effect here is told to peers.
const LOOK_NS: u64 = 100_000_000;

/// The task.
struct Telling {
    shared: Weak<Shared>,
    notices: Receiver<LinksNotice>,
    revocations: Revocations,
    /// What the links had no room for.
    tells: VecDeque<Tell>,
    look_at_ns: u64,
}

impl Telling {
    fn hear(&mut self, notice: LinksNotice, shared: &Shared, now_ns: u64) {
        match notice {
            LinksNotice::Authenticated { identity, .. } => {
                self.tells.extend(self.revocations.on_authenticated(identity.node));
            }
            LinksNotice::Ended { node, .. } => self.revocations.on_part(node),
            LinksNotice::Note { from, note } => match self.hear_note(from.node, &note, now_ns) {
                Ok(tells) => self.tells.extend(tells),
                // The links run on this thread: their counters have one writer.
                Err(_) => shared.links.counters.add(Counter::NotesRefused, 1),
            },
            _ => {}
        }
    }

    fn hear_note(&mut self, from: NodeId, note: &[u8], now: u64) -> Result<Vec<Tell>, NoteError> {
        match Kind::of(note) {
            Some((kind @ (Kind::Epoch | Kind::List), said)) => {
                self.revocations.on_note(from, (kind, said), now)
            }
            _ => Err(NoteError::Unknown),
        }
    }

    /// Gives the links what they have room for.
    fn tell(&mut self, shared: &Shared) {
        while let Some(Tell { to, note }) = self.tells.pop_front() {
            let command = LinksCommand::Note { to, note };
            if let Err(LinksCommand::Note { to, note }) = shared.links.commands.push(command) {
                self.tells.push_front(Tell { to, note });
                return;
            }
        }
    }
}

impl Agent for Telling {
    fn name(&self) -> &'static str {
        "telling"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        let mut work = 0;
        let Some(shared) = self.shared.upgrade() else { return 0 };
        while let Ok(notice) = self.notices.try_recv() {
            self.hear(notice, &shared, now_ns);
            work += 1;
        }
        if now_ns >= self.look_at_ns {
            self.look_at_ns = now_ns.saturating_add(LOOK_NS);
            self.tells.extend(self.revocations.poll(now_ns));
            if let Some(fault) = self.revocations.unsaved() {
                shared.books().notes.push(format!("a list of revocations is in effect: {fault}"));
            }
        }
        work += self.tells.len();
        self.tell(&shared);
        work
    }

    fn deadline_ns(&self) -> Option<u64> {
        Some(self.look_at_ns)
    }
}

impl Shared {
    /// Lets the control thread take what the links tell of peers with certificates.
    pub(crate) fn attend_notices(self: &Arc<Self>, credentials: Option<Credentials>) {
        let Some(credentials) = credentials else { return };
        let (notes, notices) = channel();
        let listener = Box::new(move |notice| {
            let _ = notes.send(notice);
        });
        // A control thread that takes neither has ended, and its node with it.
        let _ = self.to_links(LinksCommand::OnNotice(listener));
        let _ = self.add_task(Box::new(Telling {
            shared: Arc::downgrade(self),
            notices,
            revocations: Revocations::new(credentials),
            tells: VecDeque::new(),
            look_at_ns: 0,
        }));
    }
}

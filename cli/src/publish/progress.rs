//! How far it is, told once a second to whoever watches a terminal.

use std::time::{Duration, Instant};

use super::summary::Summary;
use crate::text;

/// How often progress is shown, on a terminal.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Whether and what to tell while it runs.
#[derive(Debug)]
pub(super) struct Progress {
    begin: Instant,
    next: Instant,
    length_bytes: Option<u64>,
    /// A progress line stands on the terminal.
    pub(super) shown: bool,
}

impl Progress {
    /// Begins now, with an input of this length where it is known.
    pub(super) fn new(length_bytes: Option<u64>) -> Self {
        let begin = Instant::now();
        Self { begin, next: begin + PROGRESS_EVERY, length_bytes, shown: false }
    }

    /// Whether it is time to tell.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// What to tell, with so many bytes of the input read.
    pub(super) fn text(&mut self, summary: &Summary, bytes: u64) -> String {
        self.next += PROGRESS_EVERY;
        self.shown = true;
        let share = match self.length_bytes {
            Some(length) if length > 0 => format!("{} % · ", bytes.min(length) * 100 / length),
            _ => String::new(),
        };
        let seconds = self.begin.elapsed().as_secs().max(1);
        format!(
            "{share}{} accepted, {} refused · {}/s",
            text::count(summary.accepted),
            text::count(summary.refused_total()),
            text::count(summary.accepted / seconds)
        )
    }
}

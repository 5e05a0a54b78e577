//! The thread `wl-legacy`: takes what arrives out of a ring, and tries again what waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wireloom_wire::Encoding;

use super::inner::Inner;
use crate::decode::access;
use crate::event::Event as _;
use crate::jtag::shape::MessageError;
use crate::jtag::wrapper::LegacyJtag;
use crate::subscriber::{AnyEvent, AnySubscriber, PolledAny};

/// Longest sleep before the wish to end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Events taken before what waits is looked at.
const POLL_MAX: usize = 256;

/// The thread, until it is told to end or the last clone of the events is dropped.
#[derive(Debug)]
pub(super) struct Receiving {
    inner: Arc<Inner>,
    ends: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Receiving {
    pub(super) fn launch(inner: Arc<Inner>, from: AnySubscriber) -> std::io::Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let (own, wished) = (Arc::clone(&inner), Arc::clone(&ends));
        let thread = thread::Builder::new().name("wl-legacy".into());
        let thread = thread.spawn(move || receive(&own, from, &wished))?;
        Ok(Self { inner, ends, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread; a listener that runs is waited for, unless it is the one that calls this.
    pub(super) fn end(&self) {
        self.ends.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // What it panicked with was a listener's, and caught; nothing else of it is known.
            let _ = thread.join();
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.end();
        self.inner.close();
    }
}

fn receive(inner: &Inner, mut from: AnySubscriber, ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        let now = Instant::now();
        let due = inner.flush(now);
        let sleep = due.map_or(LOOK_EVERY, |due| due.saturating_duration_since(now));
        if from.poll(POLL_MAX, |polled| take(inner, &polled)) == 0 {
            from.wait(sleep.min(LOOK_EVERY));
        }
    }
}

fn take(inner: &Inner, polled: &PolledAny<'_>) {
    match polled {
        PolledAny::Lost(lost) => inner.count_lost(lost.events()),
        PolledAny::Shed(events) => inner.count_shed(*events),
        PolledAny::Event(frame) if frame.envelope.event_type() == LegacyJtag::TYPE_ID => {
            match wrapper(frame) {
                Ok(wrapper) => inner.on_wrapped(&wrapper, frame),
                Err(error) => inner.on_malformed(error),
            }
        }
        PolledAny::Event(frame) => inner.on_typed(frame),
    }
}

/// The wrapper in a frame: its JSON form, or its archive.
fn wrapper(frame: &AnyEvent<'_>) -> Result<LegacyJtag, MessageError> {
    let wanted = MessageError::Field { field: "legacy-jtag", wanted: "JSON or this archive" };
    match frame.encoding() {
        Encoding::Json => LegacyJtag::from_json(frame.payload()),
        Encoding::Rkyv if frame.fingerprint() == LegacyJtag::FINGERPRINT32 => {
            let archived = access::<LegacyJtag>(frame.payload()).map_err(|_| wanted)?;
            LegacyJtag::read(archived.original().as_bytes())
        }
        _ => Err(wanted),
    }
}

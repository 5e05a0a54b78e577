//! Ending in good order when the user or the system asks for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Longest sleep before the flag is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Exit status of a command ended by force with a second Ctrl-C: 128 + SIGINT, as shells count.
const FORCED: i32 = 130;

/// A wish to end, seen by whoever looks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Wished by Ctrl-C, SIGTERM or a closed terminal. A second signal ends the process at once.
    ///
    /// # Errors
    /// When the system takes no signal actions.
    pub(crate) fn on_signals() -> std::io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the first signal finds the flag down and only raises it.
            flag::register_conditional_shutdown(signal, FORCED, Arc::clone(&stop.0))?;
            flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// Leaves Ctrl-C to another process of the same terminal, which then says when to end. For
    /// children of the demonstration.
    ///
    /// # Errors
    /// As [`Stop::on_signals`].
    pub(crate) fn left_to_parent() -> std::io::Result<Self> {
        flag::register(SIGINT, Arc::default())?;
        flag::register(SIGHUP, Arc::default())?;
        let stop = Self::default();
        flag::register(SIGTERM, Arc::clone(&stop.0))?;
        Ok(stop)
    }

    /// Whether to end.
    pub(crate) fn is_wished(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Wishes the end.
    pub(crate) fn wish(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Sleeps, but not past a wish to end.
    pub(crate) fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_wished() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_cuts_a_sleep_short() {
        let stop = Stop::default();
        let begin = Instant::now();
        stop.sleep(Duration::from_millis(3));
        assert!(begin.elapsed() >= Duration::from_millis(3));
        let other = stop.clone();
        let wisher = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            other.wish();
        });
        stop.sleep(Duration::from_secs(60));
        assert!(begin.elapsed() < Duration::from_secs(30));
        wisher.join().unwrap();
    }
}

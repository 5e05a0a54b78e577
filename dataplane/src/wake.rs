//! Waking a parked worker, at no cost to publishers while it is awake.
//!
//! A publisher makes records visible and then has to know whether the worker sleeps; a worker
//! announces that it will sleep and then has to know whether there are records. Each side writes
//! one thing and reads the other's, and the processor may let a read overtake a write, so both
//! could miss each other: the worker sleeps and nobody wakes it.
//!
//! # Why no wake-up is lost
//!
//! ```text
//!  publisher                          worker
//!  W1  ring tail = new                W2  sleep = parked
//!      order                              order
//!  R2  sleep?   → wake                R1  ring tail?  → do not sleep
//! ```
//!
//! It suffices that one of R2 and R1 sees the other side's write.
//!
//! *Asymmetric* (the rule): the worker's order is `membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)`,
//! the publisher's a compiler fence. Membarrier makes every running thread of the process pass a
//! state in which "all memory accesses to user-space addresses match program order" between its
//! entry and its return (`membarrier(2)`; a thread that is not running passed one when it was
//! switched out). Let P be that point in the publisher's program. If W1 stands before P, its effect
//! is visible before membarrier returns, and R1, which comes later, sees it. If W1 stands after P,
//! so does R2, and W2, done before membarrier was entered, is visible to it. There is no third
//! case; the compiler fence keeps R2 behind W1 in the publisher's code.
//!
//! *Symmetric* (a kernel without membarrier): both orders are `SeqCst` fences, the textbook
//! store-buffer case: at least one of the two reads sees the other's write.
//!
//! After R2 saw the sleep, one publisher (the swap chooses) writes the worker's eventfd. Written
//! before the worker sleeps, it ends the sleep at once; written later, it wakes it; written after
//! the worker has woken for another reason, the next park returns early once. A worker re-arms
//! `sleep` each time it parks, and W2 happens before R1 each time.
//!
//! # A task instead of a worker
//!
//! Who sleeps may be a task of an async runtime, or a thread that parks ([`Wake::of_task`]). It
//! leaves its waker in a slot before W2; who wakes it takes the waker out after the swap. The slot
//! is a lock that the waking side only tries: when the task holds it, the task is about to leave a
//! waker, and its own R1, still to come, sees what the other wrote. (Its membarrier begins after it
//! has let go, so who found it held had passed W1 before P.) So no worker waits for a task.

#![expect(clippy::disallowed_types, reason = "the slot of a waker: a worker only tries its lock")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, compiler_fence, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::task::Waker;

use crossbeam_utils::CachePadded;

use crate::sys;

/// Registered for membarrier: asked once in a process, before the first worker parks.
static MEMBARRIER: OnceLock<bool> = OnceLock::new();

/// The worker runs.
const AWAKE: u8 = 0;
/// It sleeps until its flush interval is over: only what is urgent wakes it.
const DOZING: u8 = 1;
/// It sleeps until there is something to do.
const PARKED: u8 = 2;

/// Who sleeps, and how it is woken.
#[derive(Debug)]
enum Sleeper {
    /// A worker in its poller.
    Worker(Arc<mio::Waker>),
    /// A task, or a thread that parks: the waker it left when it went to sleep.
    Task(Mutex<Option<Waker>>),
}

/// How one worker, or one task, is woken. Publishers and control hold clones of the `Arc`.
#[derive(Debug)]
pub struct Wake {
    sleep: CachePadded<AtomicU8>,
    sleeper: Sleeper,
    asymmetric: bool,
}

impl Wake {
    /// Wakes through `waker`, which belongs to the poller the worker parks in.
    #[must_use]
    pub fn new(waker: Arc<mio::Waker>) -> Arc<Self> {
        Self::with(Sleeper::Worker(waker), is_asymmetric())
    }

    /// Wakes whoever slept last by [`Wake::sleep_task`].
    #[must_use]
    pub fn of_task() -> Arc<Self> {
        Self::with(Sleeper::Task(Mutex::new(None)), is_asymmetric())
    }

    /// As [`Wake::of_task`] but with fences on both sides.
    #[must_use]
    pub fn of_task_symmetric() -> Arc<Self> {
        Self::with(Sleeper::Task(Mutex::new(None)), false)
    }

    /// As [`Wake::new`] but with fences on both sides, as on a kernel without membarrier.
    #[must_use]
    pub fn symmetric(waker: Arc<mio::Waker>) -> Arc<Self> {
        Self::with(Sleeper::Worker(waker), false)
    }

    fn with(sleeper: Sleeper, asymmetric: bool) -> Arc<Self> {
        let sleep = CachePadded::new(AtomicU8::new(AWAKE));
        Arc::new(Self { sleep, sleeper, asymmetric })
    }

    /// Whether publishers are spared the fence (membarrier is available).
    #[must_use]
    pub const fn asymmetric(&self) -> bool {
        self.asymmetric
    }

    /// The worker announces that it is about to sleep. After this it must look for work once more
    /// and sleep only if there is none. Cost: a membarrier, 1–3 µs; only on the way to a sleep.
    pub fn park_begin(&self) {
        self.begin(PARKED);
    }

    /// As [`Wake::park_begin`] for a task: `waker` is woken once, by the first who has something
    /// for it. After this the task must look once more, and either sleep or call
    /// [`Wake::park_end`]. Cost: that of [`Wake::park_begin`], and a clone of the waker.
    pub fn sleep_task(&self, waker: &Waker) {
        self.leave(Some(waker.clone()));
        self.park_begin();
    }

    /// The task sleeps no more and will not come back: its waker is dropped here, not there.
    pub fn forget_task(&self) {
        self.park_end();
        self.leave(None);
    }

    fn leave(&self, waker: Option<Waker>) {
        if let Sleeper::Task(slot) = &self.sleeper {
            let old = {
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *slot, waker)
            };
            // Dropping it may run a task's end: not under the lock.
            drop(old);
        }
    }

    /// As [`Wake::park_begin`], for a sleep that [`Wake::notify_soon`] does not end: the worker
    /// comes round by itself when its flush interval is over.
    pub fn doze_begin(&self) {
        self.begin(DOZING);
    }

    fn begin(&self, sleep: u8) {
        self.sleep.store(sleep, Ordering::Relaxed);
        if self.asymmetric {
            compiler_fence(Ordering::SeqCst);
            // It cannot fail once registered ("guaranteed to always return the same value until
            // reboot"); should it, the worker still wakes at its park timeout.
            let ordered = sys::membarrier();
            debug_assert!(ordered.is_ok(), "{ordered:?}");
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    /// The worker is awake.
    pub fn park_end(&self) {
        self.sleep.store(AWAKE, Ordering::Relaxed);
    }

    /// Wakes the worker if it sleeps or is about to. To be called after records, a command or a
    /// flag have been made visible. Cost: one load of a line that changes only when the worker
    /// parks; if it is parked, one `write(2)` for the first caller, or what the
    /// task's waker costs.
    #[inline]
    pub fn notify(&self) {
        if self.sleep() != AWAKE {
            self.wake();
        }
    }

    /// As [`Wake::notify`] for what may wait for the worker's flush interval: a dozing worker
    /// sleeps on. Returns whether it does.
    #[inline]
    pub fn notify_soon(&self) -> bool {
        match self.sleep() {
            AWAKE => false,
            PARKED => {
                self.wake();
                false
            }
            _ => true,
        }
    }

    /// As [`Wake::notify`] if the worker has said by `waits` that it waits for the caller: set
    /// before the worker parks, it is seen under the same rule. Cost: one load of `waits` more.
    #[inline]
    pub fn notify_for(&self, waits: &AtomicBool) {
        self.order();
        if waits.load(Ordering::Relaxed) {
            self.notify();
        }
    }

    /// What the worker does, read after everything written before.
    #[inline]
    fn sleep(&self) -> u8 {
        self.order();
        self.sleep.load(Ordering::Relaxed)
    }

    /// R2 behind W1.
    #[inline]
    fn order(&self) {
        if self.asymmetric {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    #[cold]
    fn wake(&self) {
        if self.sleep.swap(AWAKE, Ordering::AcqRel) == AWAKE {
            return;
        }
        match &self.sleeper {
            Sleeper::Worker(waker) => {
                // An eventfd write fails only if the descriptor is broken; the park timeout is the
                // net.
                let woken = waker.wake();
                debug_assert!(woken.is_ok(), "{woken:?}");
            }
            Sleeper::Task(slot) => {
                let waker = match slot.try_lock() {
                    Ok(mut slot) => slot.take(),
                    Err(TryLockError::Poisoned(slot)) => slot.into_inner().take(),
                    // It is about to look once more.
                    Err(TryLockError::WouldBlock) => None,
                };
                if let Some(waker) = waker {
                    // A runtime's code: should it panic, the worker goes on.
                    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
            }
        }
    }
}

fn is_asymmetric() -> bool {
    *MEMBARRIER.get_or_init(|| sys::register_membarrier().is_ok())
}

//! A worker: one thread, pinned if asked, that runs agents and idles between their duty cycles.
//!
//! The worker owns its agents, its poller and the clock reading of each cycle. Others reach it only
//! through the agents' command queues and rings, its [`Wake`] and its [`WorkerGauges`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use crate::agent::Agent;
use crate::clock::Clock;
use crate::idle::{Idle, Idling, Wait};
use crate::poller::Poller;
use crate::sys;
use crate::wake::Wake;

/// How long a stopping worker goes on while its agents still have work, so that what was accepted
/// before the stop leaves the node.
const DRAIN_NS: u64 = 1_000_000_000;

/// What a worker reports about itself; written by the worker alone.
#[derive(Debug, Default)]
pub struct WorkerGauges {
    /// Duty cycles run.
    pub cycles: AtomicU64,
    /// Duty cycles that found work: against `cycles` this is the useful-work share of a spinner.
    pub cycles_useful: AtomicU64,
    /// Monotonic time spent in cycles that found work, ns.
    pub useful_ns: AtomicU64,
    /// Monotonic time at which the worker started, ns.
    pub started_ns: AtomicU64,
    /// Times the worker parked.
    pub parks: AtomicU64,
    /// The longest time from the start of one useful cycle to the start of the next, ns: a stall
    /// when it is more than a cycle's work explains.
    pub cycle_ns_max: AtomicU64,
}

fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// What a worker is made from.
pub struct WorkerPlan {
    /// Thread name, at most 15 bytes are shown by the system.
    pub name: String,
    /// Core to pin to; `None` leaves the choice to the system.
    pub core: Option<usize>,
    /// What to do between cycles without work.
    pub idle: Idle,
    /// While events flow, come round this often and sleep in between, whatever is published (0: at
    /// once): see [`crate::config::PlaneConfig::flush_interval`].
    pub flush_interval: Duration,
    /// The agents, run in this order each cycle.
    pub agents: Vec<Box<dyn Agent + Send>>,
    /// Where the worker parks.
    pub poller: Poller,
    /// How others wake it.
    pub wake: Arc<Wake>,
    /// Its time.
    pub clock: Clock,
}

impl std::fmt::Debug for WorkerPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPlan").field("name", &self.name).field("core", &self.core).finish()
    }
}

/// A running worker. Dropping it stops the thread and waits for it.
#[derive(Debug)]
pub struct Worker {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    wake: Arc<Wake>,
    gauges: Arc<WorkerGauges>,
    name: String,
}

impl Worker {
    /// Starts the thread. The agents register their sockets before it runs.
    ///
    /// # Errors
    /// When a socket cannot be registered or the thread cannot be created.
    pub fn start(mut plan: WorkerPlan) -> io::Result<Self> {
        for agent in &mut plan.agents {
            agent.register(&mut plan.poller)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let gauges = Arc::new(WorkerGauges::default());
        let (wake, name) = (Arc::clone(&plan.wake), plan.name.clone());
        gauges.started_ns.store(plan.clock.now_ns(), Ordering::Relaxed);
        let running = Running {
            plan,
            stop: Arc::clone(&stop),
            gauges: Arc::clone(&gauges),
            worked_at_ns: 0,
            flows: false,
        };
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || running.run())?;
        Ok(Self { thread: Some(thread), stop, wake, gauges, name })
    }

    /// What the worker reports about itself.
    #[must_use]
    pub const fn gauges(&self) -> &Arc<WorkerGauges> {
        &self.gauges
    }

    /// The thread's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which thread it is; `None` when it has ended.
    #[must_use]
    pub fn thread(&self) -> Option<ThreadId> {
        self.thread.as_ref().map(|running| running.thread().id())
    }

    /// Asks the worker to finish what it holds and end. Returns at once; dropping waits.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake.notify();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the worker has been printed by its thread; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

struct Running {
    plan: WorkerPlan,
    stop: Arc<AtomicBool>,
    gauges: Arc<WorkerGauges>,
    worked_at_ns: u64,
    /// There was work since the last sleep.
    flows: bool,
}

impl Running {
    fn run(mut self) {
        if let Some(id) = self.plan.core {
            // A refused pin (a core outside the allowed set) leaves the thread where it is; the
            // configuration was checked against the allowed cores before.
            core_affinity::set_for_current(core_affinity::CoreId { id });
        }
        let waits_for_company = !self.plan.flush_interval.is_zero();
        let idle = self.plan.idle;
        let mut idling = Idling::new(if waits_for_company { idle.without_spin() } else { idle });
        while !self.stop.load(Ordering::Acquire) {
            let now_ns = self.plan.clock.now_ns();
            let work = self.cycle(now_ns);
            match idling.after(work, now_ns) {
                Wait::Continue => {}
                Wait::Spin => std::hint::spin_loop(),
                Wait::Yield => std::thread::yield_now(),
                Wait::Sleep(pause) => sys::sleep(pause),
                Wait::Park(longest) => self.park(longest),
            }
        }
        self.finish();
    }

    fn cycle(&mut self, now_ns: u64) -> usize {
        let work = self.plan.agents.iter_mut().map(|agent| agent.do_work(now_ns)).sum();
        add(&self.gauges.cycles, 1);
        if self.worked_at_ns > 0 {
            let took_ns = now_ns.saturating_sub(self.worked_at_ns);
            add(&self.gauges.useful_ns, took_ns);
            if took_ns > self.gauges.cycle_ns_max.load(Ordering::Relaxed) {
                self.gauges.cycle_ns_max.store(took_ns, Ordering::Relaxed);
            }
        }
        self.worked_at_ns = if work > 0 { now_ns } else { 0 };
        if work > 0 {
            self.flows = true;
            add(&self.gauges.cycles_useful, 1);
        }
        work
    }

    /// Parks unless work came in between: announce first, look once more, then sleep. While events
    /// flow and may wait for company, the sleep is one flush interval, which publishers do not end.
    fn park(&mut self, mut longest: Duration) {
        if std::mem::take(&mut self.flows) && !self.plan.flush_interval.is_zero() {
            longest = longest.min(self.plan.flush_interval);
            self.plan.wake.doze_begin();
        } else {
            self.plan.wake.park_begin();
        }
        for agent in &mut self.plan.agents {
            agent.before_sleep();
        }
        let now_ns = self.plan.clock.now_ns();
        if self.cycle(now_ns) == 0 && !self.stop.load(Ordering::Acquire) {
            let deadline = self.plan.agents.iter().filter_map(|agent| agent.deadline_ns()).min();
            let timeout = deadline.map_or(longest, |at_ns| {
                longest.min(Duration::from_nanos(at_ns.saturating_sub(now_ns)))
            });
            add(&self.gauges.parks, 1);
            self.plan.poller.park(timeout);
        }
        self.plan.wake.park_end();
    }

    fn finish(&mut self) {
        let begun_ns = self.plan.clock.now_ns();
        loop {
            let now_ns = self.plan.clock.now_ns();
            let work = self.cycle(now_ns);
            let blocked = self.plan.agents.iter().any(|agent| agent.is_blocked());
            if (work == 0 && !blocked) || now_ns.saturating_sub(begun_ns) > DRAIN_NS {
                break;
            }
            if work == 0 {
                sys::sleep(Duration::from_micros(100));
            }
        }
        let now_ns = self.plan.clock.now_ns();
        for agent in &mut self.plan.agents {
            agent.on_close(now_ns);
        }
    }
}

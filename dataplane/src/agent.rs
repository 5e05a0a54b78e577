//! What runs on a worker: an agent is a role with a duty cycle, not a thread.
//!
//! The same agents run on pinned threads of their own, share one thread, are driven by the caller
//! ([`Invoker`]), or run under a virtual clock beside the agents of other nodes.

use std::io;

use crate::clock::Clock;
use crate::poller::Poller;

/// A unit of repeated work with a role. An agent never blocks, allocates, locks or logs in
/// [`Agent::do_work`], and takes the time from its argument.
pub trait Agent {
    /// A short role name for threads, reports and counters: `sender`, `receiver`, `conductor`.
    fn name(&self) -> &'static str;

    /// One duty cycle: a bounded amount of whatever there is to do. `now_ns` is the monotonic
    /// clock, read once by the caller. Returns how much was done; 0 lets the worker idle.
    fn do_work(&mut self, now_ns: u64) -> usize;

    /// When this agent next has something to do by itself (monotonic ns), so that a parked worker
    /// wakes for it. `None`: only when work arrives.
    fn deadline_ns(&self) -> Option<u64> {
        None
    }

    /// The worker is about to sleep: the next duty cycle must look at everything that could end the
    /// sleep, also at what an agent otherwise looks at less often.
    fn before_sleep(&mut self) {}

    /// Whether something this agent took over waits for the kernel or a peer to take it: a stopping
    /// worker goes on for a while, and an idle one does not sleep long.
    fn is_blocked(&self) -> bool {
        false
    }

    /// Puts the agent's sockets into the poller its worker parks in.
    ///
    /// # Errors
    /// The kernel's, when a socket cannot be registered (`epoll_ctl(2)`).
    fn register(&mut self, poller: &mut Poller) -> io::Result<()> {
        let _ = poller;
        Ok(())
    }

    /// Called once when the worker stops, after the last duty cycle.
    fn on_close(&mut self, now_ns: u64) {
        let _ = now_ns;
    }
}

/// Agents driven by the caller instead of by threads: for a program that owns its loop, for tests
/// and for the simulated network.
pub struct Invoker {
    agents: Vec<Box<dyn Agent>>,
    clock: Clock,
}

impl std::fmt::Debug for Invoker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.agents.iter().map(|agent| agent.name()).collect();
        f.debug_struct("Invoker").field("agents", &names).finish_non_exhaustive()
    }
}

impl Invoker {
    /// Drives `agents` with the time of `clock`.
    #[must_use]
    pub fn new(agents: Vec<Box<dyn Agent>>, clock: Clock) -> Self {
        Self { agents, clock }
    }

    /// Adds an agent; it runs after the others from the next cycle on.
    pub fn add(&mut self, agent: Box<dyn Agent>) {
        self.agents.push(agent);
    }

    /// One duty cycle of every agent; returns the work done, 0 when there was none.
    /// Cost: one clock read and, with sockets, one receive call for each socket.
    pub fn do_work(&mut self) -> usize {
        let now_ns = self.clock.now_ns();
        self.agents.iter_mut().map(|agent| agent.do_work(now_ns)).sum()
    }

    /// Runs duty cycles until nothing is left to do, at most `cycles_max`; returns the work done.
    pub fn drain(&mut self, cycles_max: usize) -> usize {
        let mut total = 0;
        for _ in 0..cycles_max {
            match self.do_work() {
                0 => break,
                work => total += work,
            }
        }
        total
    }

    /// Whether an agent has something that the kernel or a peer does not take now: a caller that is
    /// about to stop goes on for a while.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.agents.iter().any(|agent| agent.is_blocked())
    }

    /// The earliest deadline of the agents, in monotonic ns.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        self.agents.iter().filter_map(|agent| agent.deadline_ns()).min()
    }
}

impl Drop for Invoker {
    fn drop(&mut self) {
        let now_ns = self.clock.now_ns();
        for agent in &mut self.agents {
            agent.on_close(now_ns);
        }
    }
}

//! The conductor agent: the slow work of a node, a little each cycle.

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::command::{Commands, Returns};

/// How often the wall clock is compared with the monotonic one.
const CLOCK_REFRESH_NS: u64 = 1_000_000_000;

/// A slow task that runs on the control thread: it may allocate and take its time, but not block.
pub type Task = Box<dyn Agent + Send>;

/// Tends the node: clock, returned memory, tasks.
pub struct Conductor {
    clock: Clock,
    returns: Returns,
    incoming: Commands<Task>,
    tasks: Vec<Task>,
    refresh_at_ns: u64,
}

impl std::fmt::Debug for Conductor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conductor").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Conductor {
    /// A conductor that takes further tasks from `incoming`.
    #[must_use]
    pub const fn new(clock: Clock, returns: Returns, incoming: Commands<Task>) -> Self {
        Self { clock, returns, incoming, tasks: Vec::new(), refresh_at_ns: 0 }
    }

    fn refresh_clock(&mut self, now_ns: u64) {
        if now_ns >= self.refresh_at_ns {
            self.clock.refresh_offset();
            self.refresh_at_ns = now_ns + CLOCK_REFRESH_NS;
        }
    }
}

impl Agent for Conductor {
    fn name(&self) -> &'static str {
        "conductor"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        self.refresh_clock(now_ns);
        let freed = self.returns.free();
        let before = self.tasks.len();
        self.tasks.extend(std::iter::from_fn(|| self.incoming.pop()));
        let worked: usize = self.tasks.iter_mut().map(|task| task.do_work(now_ns)).sum();
        freed + (self.tasks.len() - before) + worked
    }

    fn before_sleep(&mut self) {
        for task in &mut self.tasks {
            task.before_sleep();
        }
    }

    fn deadline_ns(&self) -> Option<u64> {
        let tasks = self.tasks.iter().filter_map(|task| task.deadline_ns());
        tasks.chain([self.refresh_at_ns]).min()
    }

    fn on_close(&mut self, now_ns: u64) {
        for task in &mut self.tasks {
            task.on_close(now_ns);
        }
        // Free the last returns here, on the control side.
        let _ = self.returns.free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use wireloom_dataplane::counters::Counters;

    struct Counting(Arc<AtomicUsize>);

    impl Agent for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }
        fn do_work(&mut self, _now_ns: u64) -> usize {
            self.0.fetch_add(1, Ordering::Relaxed);
            1
        }
    }

    struct Dropped(Arc<AtomicUsize>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_runs_tasks_and_frees_what_workers_give_back() {
        let (returns, incoming) = (Returns::default(), Commands::<Task>::default());
        let mut conductor = Conductor::new(Clock::system(), returns.clone(), incoming.clone());
        assert_eq!(conductor.do_work(1), 0);
        let runs = Arc::new(AtomicUsize::new(0));
        assert!(incoming.push(Box::new(Counting(Arc::clone(&runs)))).is_ok());
        conductor.do_work(2);
        assert_eq!(runs.load(Ordering::Relaxed), 1, "a new task runs in the cycle that takes it");
        let drops = Arc::new(AtomicUsize::new(0));
        returns.give_back(Box::new(Dropped(Arc::clone(&drops))), &Counters::default());
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        conductor.do_work(3);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_eq!(conductor.deadline_ns(), Some(1 + CLOCK_REFRESH_NS));
    }
}

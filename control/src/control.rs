//! Starting and stopping a node's planes together.

use std::sync::Arc;
use std::time::Duration;

use wireloom_dataplane::agent::{Agent, Invoker};
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::command::Commands;
use wireloom_dataplane::config::PlaneConfig;
use wireloom_dataplane::idle::Idle;
use wireloom_dataplane::launch::{LaunchError, Plane, launch};
use wireloom_dataplane::poller::Poller;
use wireloom_dataplane::wake::Wake;
use wireloom_dataplane::worker::{Worker, WorkerPlan};

use crate::conductor::{Conductor, Task};

/// Why a node's planes did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data plane did not.
    #[error(transparent)]
    DataPlane(#[from] LaunchError),
    /// The control thread did not.
    #[error("the control thread could not be started: {0}; see the limits of this process")]
    Conductor(#[from] std::io::Error),
}

/// Both planes of a running node. Dropping it ends them in order: workers first (they send what
/// they hold, one second at most), then the conductor.
#[derive(Debug)]
pub struct Control {
    /// The data plane.
    pub plane: Plane,
    tasks: Commands<Task>,
    wake: Option<Arc<Wake>>,
    conductor: Option<Worker>,
}

impl Control {
    /// Starts the workers and the control thread.
    ///
    /// # Errors
    /// When either plane does not start; nothing is left running.
    pub fn start(config: &PlaneConfig) -> Result<Self, StartError> {
        let clock = Clock::system();
        let plane = launch(config, clock.clone())?;
        let tasks = Commands::default();
        let conductor = Conductor::new(clock.clone(), plane.returns.clone(), tasks.clone());
        let poller = Poller::new()?;
        let wake = Wake::new(poller.waker());
        let worker = Worker::start(WorkerPlan {
            name: "wl-conductor".into(),
            core: None,
            // Nothing here is urgent: no spinning beside the workers.
            idle: Idle::Adaptive {
                spin: Duration::ZERO,
                yielding: Duration::ZERO,
                park: Duration::from_secs(1),
            },
            flush_interval: Duration::ZERO,
            agents: vec![Box::new(conductor)],
            poller,
            wake: Arc::clone(&wake),
            clock,
        })?;
        Ok(Self { plane, tasks, wake: Some(wake), conductor: Some(worker) })
    }

    /// Puts a conductor beside the agents of a plane that the caller drives.
    #[must_use]
    pub fn attend(plane: Plane, invoker: &mut Invoker) -> Self {
        let tasks = Commands::default();
        let conductor = Conductor::new(plane.clock.clone(), plane.returns.clone(), tasks.clone());
        invoker.add(Box::new(conductor) as Box<dyn Agent>);
        Self { plane, tasks, wake: None, conductor: None }
    }

    /// Gives the control thread a further slow task.
    ///
    /// # Errors
    /// The task itself when very many wait already: the control thread is not running.
    pub fn add_task(&self, task: Task) -> Result<(), Task> {
        self.tasks.push(task)?;
        if let Some(wake) = &self.wake {
            wake.notify();
        }
        Ok(())
    }

    /// How to wake the control thread when a task has something to do; `None` when the caller
    /// drives it.
    #[must_use]
    pub const fn wake(&self) -> Option<&Arc<Wake>> {
        self.wake.as_ref()
    }

    /// The control thread, if it has one of its own.
    #[must_use]
    pub const fn conductor(&self) -> Option<&Worker> {
        self.conductor.as_ref()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // One after the other, the sender's first: while it sends what it holds, the receivers
        // still hear how much the peers take.
        self.plane.workers.drain(..).for_each(drop);
        self.conductor = None;
    }
}

//! What a peer's program has to say: how to publish, receive, ping and answer with it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::child::Questions;
use crate::config::Config;
use crate::event::MESSAGE_BYTES;
use crate::inbox::Inbox;
use crate::place::Plan;

/// How long a turn of a receiver may wait for a message.
pub const WAIT: Duration = Duration::from_millis(2);

/// A system that moves messages between two processes.
pub trait Peer {
    /// Name of the system, in lower case.
    const NAME: &'static str;
    /// Every row it can give.
    const CONFIGS: &'static [Config];
    /// The process beside the two ends, where there is one: `driver`, `broker`.
    const SERVICE: Option<&'static str> = None;

    /// Version of the system that is measured.
    fn version() -> String;

    /// Runs the driver or broker until `stop` says so. Calls `ready` with the process to count.
    ///
    /// # Errors
    ///
    /// It could not be started.
    fn serve(_plan: &Plan, _ready: impl FnOnce(u32) -> Result<()>, _stop: &Stop) -> Result<()> {
        bail!("{} has no service", Self::NAME)
    }

    /// The publishing end for throughput. The receiving end is there already.
    ///
    /// # Errors
    ///
    /// The peer refused.
    fn publisher(plan: &Plan) -> Result<impl Publishing>;

    /// The receiving end for throughput.
    ///
    /// # Errors
    ///
    /// The peer refused.
    fn receiver(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving>;

    /// The end that sends messages and waits for their echo. The other end is there already.
    ///
    /// # Errors
    ///
    /// The peer refused.
    fn ping(plan: &Plan) -> Result<impl Pinging>;

    /// The end that checks each message, then sends it back.
    ///
    /// # Errors
    ///
    /// The peer refused.
    fn pong(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving>;
}

/// A publishing end.
pub trait Publishing {
    /// Offers one message; false when there is no room now, and it is offered again.
    ///
    /// # Errors
    ///
    /// The peer failed in a way that offering again does not mend.
    fn offer(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<bool>;

    /// Hands over what was gathered.
    ///
    /// # Errors
    ///
    /// As [`Publishing::offer`].
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A receiving end.
pub trait Receiving {
    /// Puts what has come into the inbox; waits no longer than [`WAIT`] for it.
    ///
    /// # Errors
    ///
    /// The peer failed.
    fn turn(&mut self) -> Result<()>;
}

/// The end that pings.
pub trait Pinging {
    /// Sends one message at once.
    ///
    /// # Errors
    ///
    /// The peer failed.
    fn send(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<()>;

    /// Gives what has come to `each`; waits no longer than [`WAIT`] for it.
    ///
    /// # Errors
    ///
    /// The peer failed.
    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<()>;
}

/// Says when a service has to end: when the process that started it says so or is gone.
#[derive(Debug)]
pub struct Stop(pub(crate) Questions);

impl Stop {
    /// Blocks until the end has come.
    pub fn wait(&self) {
        while self.0.recv().is_ok() {}
    }
}

/// Tries until it is true, for five seconds at most.
///
/// # Errors
///
/// It was never true, or `holds` failed; `what` names it.
pub fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds()? {
        if Instant::now() > deadline {
            bail!("gave up after 5 s: {what}");
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

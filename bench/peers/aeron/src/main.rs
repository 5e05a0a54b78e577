//! Aeron: C client in both ends, C media driver in a process of its own, over UDP and in shared
//! memory. Exclusive publications, as its own benchmarks use.
#![forbid(unsafe_code)]

mod driver;

use std::ffi::CString;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use peer_measure::{Class, Config, Inbox, MESSAGE_BYTES, Peer, Pinging, Plan, Publishing};
use peer_measure::{Receiving, Stop, Tally, Tuning, Work, until};
use rusteron_client::{Aeron as Client, AeronContext, AeronExclusivePublication};
use rusteron_client::{AeronSubscription, Handlers};

struct Aeron;

/// Fragments a poll gives at most, as in Aeron's own samples for throughput.
const FRAGMENTS_MAX: usize = 256;
const STREAM: i32 = 1001;
const REPLY_STREAM: i32 = 1002;

const fn config(
    work: Work,
    name: &'static str,
    tuning: Tuning,
    class: Class,
    how: &'static str,
) -> Config {
    Config { work, name, tuning, class, how }
}

impl Peer for Aeron {
    const NAME: &'static str = "aeron";
    const CONFIGS: &'static [Config] = {
        use Class::{Reliable, SameHost};
        use Tuning::{Default, Fast};
        use Work::{PingPong, Throughput};
        const FAST: &str = "8 KiB MTU, 2 MiB windows, one driver thread, backoff";
        const YIELD: &str = "8 KiB MTU, 2 MiB windows, one driver thread, yield";
        const THREADS: &str = "8 KiB MTU, 2 MiB windows, three driver threads, yield";
        const STOCK: &str = "as it comes: 1,408 B MTU, 128 KiB windows, three driver threads";
        const IPC: &str = "shared memory, one driver thread, backoff";
        const IPC_STOCK: &str = "shared memory, as it comes: three driver threads";
        &[
            config(Throughput, "udp-fast", Fast, Reliable, FAST),
            config(Throughput, "udp-threads", Fast, Reliable, THREADS),
            config(Throughput, "udp", Default, Reliable, STOCK),
            config(Throughput, "ipc-fast", Fast, SameHost, IPC),
            config(Throughput, "ipc", Default, SameHost, IPC_STOCK),
            config(PingPong, "udp-spin", Fast, Reliable, YIELD),
            config(PingPong, "udp-fast", Fast, Reliable, FAST),
            config(PingPong, "udp", Default, Reliable, STOCK),
            config(PingPong, "ipc-fast", Fast, SameHost, IPC),
            config(PingPong, "ipc", Default, SameHost, IPC_STOCK),
        ]
    };
    const SERVICE: Option<&'static str> = Some("driver");

    fn version() -> String {
        format!(
            "{}, rusteron {}",
            driver::version(),
            peer_measure::locked_version("rusteron-client")
        )
    }

    fn serve(plan: &Plan, ready: impl FnOnce(u32) -> Result<()>, stop: &Stop) -> Result<()> {
        driver::serve(plan, ready, stop)
    }

    fn publisher(plan: &Plan) -> Result<impl Publishing> {
        let end = End::new(plan)?;
        let publication = end.publication(0, STREAM)?;
        until("no subscriber", || Ok(publication.is_connected()))?;
        Ok(Publisher { publication, _end: end })
    }

    fn receiver(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        let end = End::new(plan)?;
        let subscription = end.subscription(0, STREAM)?;
        Ok(Receiver { subscription, inbox: inbox.clone(), idle: Idle::default(), _end: end })
    }

    fn ping(plan: &Plan) -> Result<impl Pinging> {
        let end = End::new(plan)?;
        let subscription = end.subscription(1, REPLY_STREAM)?;
        let publication = end.publication(0, STREAM)?;
        until("no answering end", || Ok(publication.is_connected()))?;
        Ok(Pings { publication, subscription, _end: end })
    }

    fn pong(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        let end = End::new(plan)?;
        let subscription = end.subscription(0, STREAM)?;
        let publication = end.publication(1, REPLY_STREAM)?;
        Ok(Pongs { publication, subscription, inbox: inbox.clone(), _end: end })
    }
}

/// A client of the driver.
struct End {
    client: Client,
    channels: [CString; 2],
}

impl End {
    fn new(plan: &Plan) -> Result<Self> {
        let context = AeronContext::new()?;
        context.set_dir(&driver::folder(plan)?)?;
        let client = Client::new(&context)?;
        client.start()?;
        let channel = |index| {
            if driver::is_local(plan) {
                CString::new("aeron:ipc")
            } else {
                CString::new(format!("aeron:udp?endpoint={}", plan.address(index)))
            }
        };
        Ok(Self { client, channels: [channel(0)?, channel(1)?] })
    }

    fn publication(&self, channel: usize, stream: i32) -> Result<AeronExclusivePublication> {
        let limit = Duration::from_secs(5);
        Ok(self.client.add_exclusive_publication(&self.channels[channel], stream, limit)?)
    }

    fn subscription(&self, channel: usize, stream: i32) -> Result<AeronSubscription> {
        let (limit, none) = (Duration::from_secs(5), Handlers::NONE);
        Ok(self.client.add_subscription(&self.channels[channel], stream, none, none, limit)?)
    }
}

struct Publisher {
    publication: AeronExclusivePublication,
    _end: End,
}

fn offer(publication: &AeronExclusivePublication, message: &[u8]) -> Result<bool> {
    match publication.offer(message) {
        Ok(_) => Ok(true),
        Err(error) if error.is_retryable() => Ok(false),
        Err(error) => Err(anyhow!("offer: {error}")),
    }
}

impl Publishing for Publisher {
    #[inline]
    fn offer(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<bool> {
        offer(&self.publication, message)
    }
}

/// Spins, then yields, then sleeps, as Aeron's backoff does: a receiver that only spun would take
/// the core from the driver.
#[derive(Default)]
struct Idle(u32);

impl Idle {
    fn after(&mut self, fragments: i32) {
        self.0 = if fragments > 0 { 0 } else { self.0 + 1 };
        match self.0 {
            0 => {}
            1..=10 => std::hint::spin_loop(),
            11..=30 => thread::yield_now(),
            _ => thread::sleep(Duration::from_micros(50)),
        }
    }
}

struct Receiver {
    subscription: AeronSubscription,
    inbox: Inbox,
    idle: Idle,
    _end: End,
}

impl Receiving for Receiver {
    fn turn(&mut self) -> Result<()> {
        let mut tally = self.inbox.open();
        let fragments =
            self.subscription.poll_fn(|bytes, _| Tally::take(&mut tally, bytes), FRAGMENTS_MAX)?;
        self.idle.after(fragments);
        Ok(())
    }
}

struct Pings {
    publication: AeronExclusivePublication,
    subscription: AeronSubscription,
    _end: End,
}

/// Offers until there is room; a ping-pong never fills a window.
fn send(publication: &AeronExclusivePublication, message: &[u8]) -> Result<()> {
    while !offer(publication, message)? {
        thread::yield_now();
    }
    Ok(())
}

impl Pinging for Pings {
    fn send(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<()> {
        send(&self.publication, message)
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        if self.subscription.poll_fn(|bytes, _| each(bytes), 1)? == 0 {
            thread::yield_now(); // the driver may need this core
        }
        Ok(())
    }
}

struct Pongs {
    publication: AeronExclusivePublication,
    subscription: AeronSubscription,
    inbox: Inbox,
    _end: End,
}

impl Receiving for Pongs {
    fn turn(&mut self) -> Result<()> {
        let mut tally = self.inbox.open();
        let mut sent = Ok(());
        let echo = |bytes: &[u8], _| {
            tally.take(bytes);
            sent = send(&self.publication, bytes);
        };
        if self.subscription.poll_fn(echo, 1)? == 0 {
            thread::yield_now();
        }
        sent
    }
}

fn main() -> ExitCode {
    peer_measure::run::<Aeron>()
}

//! NATS: two clients and `nats-server` between them. Core publish/subscribe, at most once: the
//! server drops for a subscriber that is too slow.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use async_nats::{Client, ConnectOptions, Subject, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use peer_measure::{Class, Config, Inbox, MESSAGE_BYTES, Peer, Pinging, Plan, Publishing};
use peer_measure::{Receiving, Stop, Tuning, WAIT, Work, until};
use tokio::runtime::{Builder, Runtime};

struct Nats;

const THERE: &str = "there";
const BACK: &str = "back";
/// Messages handed to the client together: entering its runtime costs about as much as one of them.
const BATCH: usize = 64;

const fn config(work: Work, name: &'static str, tuning: Tuning, how: &'static str) -> Config {
    Config { work, name, tuning, class: Class::Broker, how }
}

impl Peer for Nats {
    const NAME: &'static str = "nats";
    const CONFIGS: &'static [Config] = {
        use Tuning::{Default, Fast};
        use Work::{PingPong, Throughput};
        const FAST: &str = "one thread a client, queues of 65,536";
        const STOCK: &str = "clients as they come";
        &[
            config(Throughput, "tcp-fast", Fast, FAST),
            config(Throughput, "tcp", Default, STOCK),
            config(PingPong, "tcp-fast", Fast, FAST),
            config(PingPong, "tcp", Default, STOCK),
        ]
    };
    const SERVICE: Option<&'static str> = Some("broker");

    fn version() -> String {
        let output = Command::new("nats-server").arg("--version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let text = text.unwrap_or_default();
        format!("{}, async-nats {}", text.trim(), peer_measure::locked_version("async-nats"))
    }

    fn serve(plan: &Plan, ready: impl FnOnce(u32) -> Result<()>, stop: &Stop) -> Result<()> {
        let mut server = Command::new("nats-server")
            .args(["--addr", "127.0.0.1", "--port", &plan.ports[0].to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start nats-server")?;
        let outcome = until("nats-server does not answer", || Ok(answers(&plan.address(0))))
            .and_then(|()| ready(server.id()));
        if outcome.is_ok() {
            stop.wait();
        }
        server.kill()?;
        server.wait()?;
        outcome
    }

    fn publisher(plan: &Plan) -> Result<impl Publishing> {
        End::connect(plan, None)
    }

    fn receiver(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        Ok(Listener { end: End::connect(plan, Some(THERE))?, inbox: inbox.clone(), echoes: false })
    }

    fn ping(plan: &Plan) -> Result<impl Pinging> {
        End::connect(plan, Some(BACK))
    }

    fn pong(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        Ok(Listener { end: End::connect(plan, Some(THERE))?, inbox: inbox.clone(), echoes: true })
    }
}

/// Whether a server greets at the address.
fn answers(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut greeting = String::new();
    let greets = BufReader::new(&stream).read_line(&mut greeting).is_ok();
    let _ = stream.flush();
    greets && greeting.starts_with("INFO")
}

/// A client with the runtime that drives it.
struct End {
    client: Client,
    subscriber: Option<Subscriber>,
    subject: Subject,
    batch: Vec<Bytes>,
    runtime: Runtime,
}

impl End {
    fn connect(plan: &Plan, listens_to: Option<&'static str>) -> Result<Self> {
        let is_fast = plan.config.ends_with("-fast");
        let runtime = if is_fast {
            Builder::new_current_thread().enable_all().build()?
        } else {
            Builder::new_multi_thread().enable_all().build()?
        };
        let mut options = ConnectOptions::new();
        if is_fast {
            options = options.client_capacity(1 << 16).subscription_capacity(1 << 16);
        }
        let (client, subscriber) = runtime.block_on(async {
            let client = options.connect(plan.address(0)).await?;
            let subscriber = match listens_to {
                Some(subject) => Some(client.subscribe(subject).await?),
                None => None,
            };
            client.flush().await?;
            anyhow::Ok((client, subscriber))
        })?;
        let batch = Vec::with_capacity(BATCH);
        Ok(Self { client, subscriber, subject: Subject::from_static(THERE), batch, runtime })
    }

    /// Gives what has come to `each`; waits a little for the first.
    fn receive(&mut self, messages_max: usize, mut each: impl FnMut(&Bytes)) -> Result<()> {
        let Some(subscriber) = &mut self.subscriber else { return Ok(()) };
        self.runtime.block_on(async {
            let Ok(first) = tokio::time::timeout(WAIT, subscriber.next()).await else {
                return Ok(());
            };
            each(&first.context("the server has gone")?.payload);
            for _ in 1..messages_max {
                let Some(Some(message)) = subscriber.next().now_or_never() else { break };
                each(&message.payload);
            }
            Ok(())
        })
    }

    fn publish_now(&self, subject: &'static str, message: Bytes) -> Result<()> {
        self.runtime.block_on(async {
            self.client.publish(Subject::from_static(subject), message).await?;
            Ok(())
        })
    }
}

impl Publishing for End {
    fn offer(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<bool> {
        self.batch.push(Bytes::copy_from_slice(message));
        if self.batch.len() < BATCH {
            return Ok(true);
        }
        self.runtime.block_on(async {
            for message in self.batch.drain(..) {
                self.client.publish(self.subject.clone(), message).await?;
            }
            anyhow::Ok(true)
        })
    }

    fn flush(&mut self) -> Result<()> {
        self.runtime.block_on(async {
            for message in self.batch.drain(..) {
                self.client.publish(self.subject.clone(), message).await?;
            }
            self.client.flush().await?;
            Ok(())
        })
    }
}

impl Pinging for End {
    fn send(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<()> {
        self.publish_now(THERE, Bytes::copy_from_slice(message))
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        Self::receive(self, 1, |bytes| each(bytes))
    }
}

/// The end that counts, and in a ping-pong sends back.
struct Listener {
    end: End,
    inbox: Inbox,
    echoes: bool,
}

impl Receiving for Listener {
    fn turn(&mut self) -> Result<()> {
        let mut last = None;
        let messages_max = if self.echoes { 1 } else { 1_024 };
        let mut tally = self.inbox.open();
        self.end.receive(messages_max, |bytes| {
            tally.take(bytes);
            last = Some(bytes.clone());
        })?;
        match last {
            Some(message) if self.echoes => self.end.publish_now(BACK, message),
            _ => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    peer_measure::run::<Nats>()
}

//! The kernel's own sockets as a peer: what plain loops reach with one datagram for each message,
//! and with a stream written in large pieces. No batching of system calls, no segmentation offload.
#![forbid(unsafe_code)]

mod tcp;
mod udp;

use std::process::ExitCode;

use anyhow::Result;
use peer_measure::{Class, Config, Inbox, MESSAGE_BYTES, Peer, Pinging, Plan, Publishing};
use peer_measure::{Receiving, Tuning, Work};

struct Raw;

const fn config(
    work: Work,
    name: &'static str,
    tuning: Tuning,
    class: Class,
    how: &'static str,
) -> Config {
    Config { work, name, tuning, class, how }
}

impl Peer for Raw {
    const NAME: &'static str = "raw";
    const CONFIGS: &'static [Config] = {
        use Class::{BestEffort, Reliable};
        use Tuning::{Default, Fast};
        use Work::{PingPong, Throughput};
        &[
            config(
                Throughput,
                "udp-spin",
                Fast,
                BestEffort,
                "one datagram a message, receiver polls",
            ),
            config(Throughput, "udp", Default, BestEffort, "one datagram a message, both block"),
            config(Throughput, "tcp-batched", Fast, Reliable, "writes and reads of 64 KiB"),
            config(Throughput, "tcp", Default, Reliable, "one write a message"),
            config(PingPong, "udp-spin", Fast, BestEffort, "both sides poll their socket"),
            config(PingPong, "udp", Default, BestEffort, "both sides block"),
            config(PingPong, "tcp-spin", Fast, Reliable, "both sides poll, no delay"),
            config(PingPong, "tcp", Default, Reliable, "both sides block, no delay"),
        ]
    };

    fn version() -> String {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        format!("Linux {}", kernel.trim())
    }

    fn publisher(plan: &Plan) -> Result<impl Publishing> {
        Ok(if plan.config.starts_with("udp") {
            End::Udp(udp::End::bind(plan, 0, false)?)
        } else {
            let batch_bytes = if plan.config == "tcp" { MESSAGE_BYTES } else { 64 << 10 };
            End::Tcp(tcp::End::connect(plan, batch_bytes)?)
        })
    }

    fn receiver(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        Listener::new(plan, inbox, false)
    }

    fn ping(plan: &Plan) -> Result<impl Pinging> {
        Ok(if plan.config.starts_with("udp") {
            End::Udp(udp::End::bind(plan, 0, spins(plan))?)
        } else {
            let mut end = tcp::End::connect(plan, MESSAGE_BYTES)?;
            end.spin(spins(plan))?;
            End::Tcp(end)
        })
    }

    fn pong(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        Listener::new(plan, inbox, true)
    }
}

fn spins(plan: &Plan) -> bool {
    plan.config.ends_with("-spin")
}

/// The end that publishes or pings.
#[derive(Debug)]
enum End {
    Udp(udp::End),
    Tcp(tcp::End),
}

impl Publishing for End {
    #[inline]
    fn offer(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<bool> {
        match self {
            Self::Udp(end) => end.send(message),
            Self::Tcp(end) => end.send(message).map(|()| true),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Udp(_) => Ok(()),
            Self::Tcp(end) => end.flush(),
        }
    }
}

impl Pinging for End {
    fn send(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<()> {
        self.offer(message).map(drop)
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        match self {
            Self::Udp(end) => end.receive(each),
            Self::Tcp(end) => end.receive(each),
        }
    }
}

/// The end that listens: it counts, and in a ping-pong sends back.
#[derive(Debug)]
struct Listener {
    end: Listening,
    inbox: Inbox,
    echoes: bool,
}

#[derive(Debug)]
enum Listening {
    Udp(udp::End),
    Tcp(tcp::Door),
}

impl Listener {
    fn new(plan: &Plan, inbox: &Inbox, echoes: bool) -> Result<Self> {
        let end = if plan.config.starts_with("udp") {
            Listening::Udp(udp::End::bind(plan, 1, spins(plan))?)
        } else {
            Listening::Tcp(tcp::Door::open(plan, spins(plan))?)
        };
        Ok(Self { end, inbox: inbox.clone(), echoes })
    }
}

impl Receiving for Listener {
    fn turn(&mut self) -> Result<()> {
        let mut tally = self.inbox.open();
        let mut last = None;
        let mut each = |bytes: &[u8]| {
            tally.take(bytes);
            last = <[u8; MESSAGE_BYTES]>::try_from(bytes).ok();
        };
        match &mut self.end {
            Listening::Udp(end) => end.receive(&mut each)?,
            Listening::Tcp(door) => door.receive(&mut each)?,
        }
        // In a ping-pong one message is under way at a time.
        match (self.echoes, last, &mut self.end) {
            (true, Some(message), Listening::Udp(end)) => end.send(&message).map(drop),
            (true, Some(message), Listening::Tcp(door)) => door.send(&message),
            _ => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    peer_measure::run::<Raw>()
}

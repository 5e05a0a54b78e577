//! Zenoh: two peers that know each other's address, over TCP and over UDP.
//!
//! Its own performance programs block when a queue is full and receive in a callback; the defaults
//! of `put` drop when a queue is full. Both are measured.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::thread;

use anyhow::{Result, anyhow};
use peer_measure::{Class, Config, Inbox, MESSAGE_BYTES, Peer, Pinging, Plan, Publishing};
use peer_measure::{Receiving, Tuning, WAIT, Work};
use zenoh::handlers::FifoChannelHandler;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::CongestionControl;
use zenoh::sample::Sample;
use zenoh::{Session, Wait};

struct Zenoh;

const THERE: &str = "wireloom/there";
const BACK: &str = "wireloom/back";

const fn config(
    work: Work,
    name: &'static str,
    tuning: Tuning,
    class: Class,
    how: &'static str,
) -> Config {
    Config { work, name, tuning, class, how }
}

impl Peer for Zenoh {
    const NAME: &'static str = "zenoh";
    const CONFIGS: &'static [Config] = {
        use Class::{BestEffort, Reliable};
        use Tuning::{Default, Fast};
        use Work::{PingPong, Throughput};
        const BLOCK: &str = "blocks when its queue is full";
        const DROP: &str = "as it comes: drops when its queue is full for 1 ms";
        const EXPRESS: &str = "express (no batching), low-latency transport";
        &[
            config(Throughput, "tcp-fast", Fast, Reliable, BLOCK),
            config(Throughput, "tcp", Default, BestEffort, DROP),
            config(Throughput, "udp-fast", Fast, BestEffort, BLOCK),
            config(Throughput, "udp", Default, BestEffort, DROP),
            config(PingPong, "tcp-fast", Fast, Reliable, EXPRESS),
            config(PingPong, "tcp", Default, BestEffort, "as it comes"),
            config(PingPong, "udp-fast", Fast, BestEffort, EXPRESS),
            config(PingPong, "udp", Default, BestEffort, "as it comes"),
        ]
    };

    fn version() -> String {
        peer_measure::locked_version("zenoh")
    }

    fn publisher(plan: &Plan) -> Result<impl Publishing> {
        let session = open(plan, "connect")?;
        Ok(End { publisher: publisher(&session, plan, THERE)?, echoes: None, _session: session })
    }

    fn receiver(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        let (session, inbox) = (open(plan, "listen")?, inbox.clone());
        let take = move |sample: Sample| inbox.open().take(&sample.payload().to_bytes());
        let subscriber = session.declare_subscriber(THERE).callback(take).wait();
        Ok(Listener { _subscriber: subscriber.map_err(failed)?, _session: session })
    }

    fn ping(plan: &Plan) -> Result<impl Pinging> {
        let session = open(plan, "connect")?;
        let echoes = session.declare_subscriber(BACK).wait().map_err(failed)?;
        let publisher = publisher(&session, plan, THERE)?;
        Ok(End { publisher, echoes: Some(echoes), _session: session })
    }

    fn pong(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        let (session, inbox) = (open(plan, "listen")?, inbox.clone());
        let publisher = publisher(&session, plan, BACK)?;
        let echo = move |sample: Sample| {
            inbox.open().take(&sample.payload().to_bytes());
            // What is not sent back counts as lost on the other side.
            let _ = publisher.put(sample.payload().clone()).wait();
        };
        let subscriber = session.declare_subscriber(THERE).callback(echo).wait();
        Ok(Listener { _subscriber: subscriber.map_err(failed)?, _session: session })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn failed(error: zenoh::Error) -> anyhow::Error {
    anyhow!("{error}")
}

fn is_fast(plan: &Plan) -> bool {
    plan.config.ends_with("-fast")
}

/// A session that knows the other one's address and looks for nobody else.
fn open(plan: &Plan, side: &str) -> Result<Session> {
    let transport = if plan.config.starts_with("udp") { "udp" } else { "tcp" };
    let endpoint = format!("[\"{transport}/{}\"]", plan.address(0));
    let mut config = zenoh::Config::default();
    let mut set = |key: &str, value: &str| config.insert_json5(key, value).map_err(failed);
    set("mode", "\"peer\"")?;
    set("scouting/multicast/enabled", "false")?;
    set("scouting/gossip/enabled", "false")?;
    set("listen/endpoints", if side == "listen" { &endpoint } else { "[]" })?;
    if side == "connect" {
        set("connect/endpoints", &endpoint)?;
    }
    if is_fast(plan) && plan.work == Work::PingPong {
        set("transport/unicast/qos/enabled", "false")?;
        set("transport/unicast/lowlatency", "true")?;
    }
    zenoh::open(config).wait().map_err(failed)
}

fn publisher(session: &Session, plan: &Plan, key: &'static str) -> Result<Publisher<'static>> {
    let mut publisher = session.declare_publisher(key);
    if is_fast(plan) {
        let is_express = plan.work == Work::PingPong;
        publisher = publisher.congestion_control(CongestionControl::Block).express(is_express);
    }
    publisher.wait().map_err(failed)
}

/// The end that publishes or pings.
struct End {
    publisher: Publisher<'static>,
    echoes: Option<Subscriber<FifoChannelHandler<Sample>>>,
    _session: Session,
}

impl Publishing for End {
    #[inline]
    fn offer(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<bool> {
        self.publisher.put(message.as_slice()).wait().map_err(failed)?;
        Ok(true)
    }
}

impl Pinging for End {
    fn send(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<()> {
        self.offer(message).map(drop)
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let Some(echoes) = &self.echoes else { return Ok(()) };
        if let Some(sample) = echoes.recv_timeout(WAIT).map_err(failed)? {
            each(&sample.payload().to_bytes());
        }
        Ok(())
    }
}

/// The end that is called back from Zenoh's own threads.
struct Listener {
    _subscriber: Subscriber<()>,
    _session: Session,
}

impl Receiving for Listener {
    fn turn(&mut self) -> Result<()> {
        thread::sleep(WAIT);
        Ok(())
    }
}

fn main() -> ExitCode {
    peer_measure::run::<Zenoh>()
}

//! iceoryx2: samples written and read in shared memory of one host. Polled, or with a notification
//! through a socket for each sample that wakes the other side.
#![forbid(unsafe_code)]

use std::hint::spin_loop;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{
    Config as Settings, Node, NodeBuilder, SemanticString as _, SignalHandlingMode, ipc,
};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use peer_measure::{Class, Config, Inbox, MESSAGE_BYTES, Peer, Pinging, Plan, Publishing};
use peer_measure::{Receiving, Tuning, WAIT, Work};

struct Iceoryx2;

type Message = [u8; MESSAGE_BYTES];

/// Samples a subscriber's queue holds where it is set; 2 is the default.
const QUEUE_SAMPLES: usize = 1_024;

const fn config(work: Work, name: &'static str, tuning: Tuning, how: &'static str) -> Config {
    Config { work, name, tuning, class: Class::SameHost, how }
}

impl Peer for Iceoryx2 {
    const NAME: &'static str = "iceoryx2";
    const CONFIGS: &'static [Config] = {
        use Tuning::{Default, Fast};
        use Work::{PingPong, Throughput};
        const OVERWRITES: &str = "as it comes, polled: queue of 2, the oldest is overwritten";
        &[
            config(
                Throughput,
                "spin-fast",
                Fast,
                "polled, queue of 1,024, publisher waits for room",
            ),
            config(
                Throughput,
                "events-fast",
                Fast,
                "a notification a sample, queue of 1,024, publisher waits for room",
            ),
            config(Throughput, "spin", Default, OVERWRITES),
            config(PingPong, "spin", Default, "as it comes, both sides poll"),
            config(PingPong, "events", Default, "as it comes, both sides block for a notification"),
        ]
    };

    fn version() -> String {
        peer_measure::locked_version("iceoryx2")
    }

    fn publisher(plan: &Plan) -> Result<impl Publishing> {
        End::new(plan, ["there", "unused"])
    }

    fn receiver(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        Ok(Receiver {
            end: End::new(plan, ["unused", "there"])?,
            inbox: inbox.clone(),
            echoes: false,
        })
    }

    fn ping(plan: &Plan) -> Result<impl Pinging> {
        End::new(plan, ["there", "back"])
    }

    fn pong(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        Ok(Receiver { end: End::new(plan, ["back", "there"])?, inbox: inbox.clone(), echoes: true })
    }
}

/// A publisher to one service and a subscriber of another, with what wakes them.
struct End {
    publisher: Publisher<ipc::Service, Message, ()>,
    subscriber: Subscriber<ipc::Service, Message, ()>,
    wakes: Option<(Notifier<ipc::Service>, Listener<ipc::Service>)>,
    _node: Node<ipc::Service>,
}

/// The peer's errors say where in its sources they come from, and what.
fn failed(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("{error:?}")
}

impl End {
    fn new(plan: &Plan, [there, back]: [&str; 2]) -> Result<Self> {
        let mut settings = Settings::default();
        let folder = plan.folder.to_str().context("the folder's name is no text")?;
        let folder = iceoryx2::prelude::Path::new(folder.as_bytes()).map_err(failed)?;
        settings.global.set_root_path(&folder);
        let node = NodeBuilder::new()
            .config(&settings)
            .signal_handling_mode(SignalHandlingMode::Disabled)
            .create::<ipc::Service>()
            .map_err(failed)?;
        let events = plan.config.starts_with("events");
        let there_samples = samples(&node, plan, there)?;
        let publisher = there_samples.publisher_builder().create().map_err(failed)?;
        let back_samples = samples(&node, plan, back)?;
        let subscriber = back_samples.subscriber_builder().create().map_err(failed)?;
        let wakes = if events { Some(wakes(&node, there, back)?) } else { None };
        Ok(Self { publisher, subscriber, wakes, _node: node })
    }

    fn send(&self, message: &Message) -> Result<()> {
        let sample = self.publisher.loan_uninit().map_err(failed)?;
        sample.write_payload(*message).send().map_err(failed)?;
        if let Some((notifier, _)) = &self.wakes {
            notifier.notify().map_err(failed)?;
        }
        Ok(())
    }

    /// Gives what has come to `each`; blocks for it where there are notifications.
    fn receive(&self, mut each: impl FnMut(&Message)) -> Result<()> {
        if let Some((_, listener)) = &self.wakes {
            listener.timed_wait(|_| (), WAIT).map_err(failed)?;
        }
        let mut is_idle = true;
        while let Some(sample) = self.subscriber.receive().map_err(failed)? {
            each(sample.payload());
            is_idle = false;
        }
        if is_idle {
            spin_loop();
        }
        Ok(())
    }
}

/// A service of samples, made by whoever is first.
fn samples(
    node: &Node<ipc::Service>,
    plan: &Plan,
    name: &str,
) -> Result<PortFactory<ipc::Service, Message, ()>> {
    let name = name.try_into().map_err(failed)?;
    let service = node.service_builder(&name).publish_subscribe::<Message>();
    let service = if plan.config.ends_with("-fast") {
        service.enable_safe_overflow(false).subscriber_max_buffer_size(QUEUE_SAMPLES)
    } else {
        service
    };
    service.open_or_create().map_err(failed)
}

/// What wakes the other side, and what it wakes this side with.
fn wakes(
    node: &Node<ipc::Service>,
    there: &str,
    back: &str,
) -> Result<(Notifier<ipc::Service>, Listener<ipc::Service>)> {
    let service = |name: &str| {
        let name = format!("{name}-wake");
        let name = name.as_str().try_into().map_err(failed)?;
        node.service_builder(&name).event().open_or_create().map_err(failed)
    };
    let notifier = service(there)?.notifier_builder().create().map_err(failed)?;
    Ok((notifier, service(back)?.listener_builder().create().map_err(failed)?))
}

impl Publishing for End {
    #[inline]
    fn offer(&mut self, message: &Message) -> Result<bool> {
        self.send(message).map(|()| true)
    }
}

impl Pinging for End {
    fn send(&mut self, message: &Message) -> Result<()> {
        Self::send(self, message)
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        Self::receive(self, |message| each(message))
    }
}

/// The end that counts, and in a ping-pong sends back.
struct Receiver {
    end: End,
    inbox: Inbox,
    echoes: bool,
}

impl Receiving for Receiver {
    fn turn(&mut self) -> Result<()> {
        let mut tally = self.inbox.open();
        let mut sent = Ok(());
        self.end.receive(|message| {
            tally.take(message);
            if self.echoes {
                sent = self.end.send(message);
            }
        })?;
        sent
    }
}

fn main() -> ExitCode {
    peer_measure::run::<Iceoryx2>()
}

//! ZeroMQ over TCP: a pipeline (push/pull), which blocks the publisher when the receiver is slow,
//! and publish/subscribe, which drops for a slow subscriber. libzmq comes with the crate.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use peer_measure::{Class, Config, Inbox, MESSAGE_BYTES, Peer, Pinging, Plan, Publishing};
use peer_measure::{Receiving, Tuning, WAIT, Work};
use zmq::{Context, DONTWAIT, Error, Socket, SocketType};

struct ZeroMq;

/// Messages a queue holds in the fast configurations; 1,000 is the default.
const MARK: i32 = 100_000;
const TURN_MESSAGES_MAX: usize = 256;

const fn config(
    work: Work,
    name: &'static str,
    tuning: Tuning,
    class: Class,
    how: &'static str,
) -> Config {
    Config { work, name, tuning, class, how }
}

impl Peer for ZeroMq {
    const NAME: &'static str = "zeromq";
    const CONFIGS: &'static [Config] = {
        use Class::{BestEffort, Reliable};
        use Tuning::{Default, Fast};
        use Work::{PingPong, Throughput};
        &[
            config(Throughput, "push-fast", Fast, Reliable, "push/pull, queues of 100,000"),
            config(Throughput, "push", Default, Reliable, "push/pull, queues of 1,000"),
            config(Throughput, "pub-fast", Fast, BestEffort, "pub/sub, queues of 100,000, drops"),
            config(Throughput, "pub", Default, BestEffort, "pub/sub, queues of 1,000, drops"),
            config(PingPong, "pair-spin", Fast, Reliable, "pair, both sides poll"),
            config(PingPong, "pair", Default, Reliable, "pair, both sides block"),
        ]
    };

    fn version() -> String {
        let (major, minor, patch) = zmq::version();
        format!("libzmq {major}.{minor}.{patch}")
    }

    fn publisher(plan: &Plan) -> Result<impl Publishing> {
        let end =
            End::new(plan, if plan.config.starts_with("push") { zmq::PUSH } else { zmq::PUB })?;
        end.socket.connect(&format!("tcp://{}", plan.address(0)))?;
        Ok(end)
    }

    fn receiver(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        let end =
            End::new(plan, if plan.config.starts_with("push") { zmq::PULL } else { zmq::SUB })?;
        if plan.config.starts_with("pub") {
            end.socket.set_subscribe(b"")?;
        }
        end.socket.bind(&format!("tcp://{}", plan.address(0)))?;
        Ok(Listener { end, inbox: inbox.clone(), echoes: false })
    }

    fn ping(plan: &Plan) -> Result<impl Pinging> {
        let end = End::new(plan, zmq::PAIR)?;
        end.socket.connect(&format!("tcp://{}", plan.address(0)))?;
        Ok(end)
    }

    fn pong(plan: &Plan, inbox: &Inbox) -> Result<impl Receiving> {
        let end = End::new(plan, zmq::PAIR)?;
        end.socket.bind(&format!("tcp://{}", plan.address(0)))?;
        Ok(Listener { end, inbox: inbox.clone(), echoes: true })
    }
}

/// A socket with its context, which owns the thread that does the input and output.
struct End {
    socket: Socket,
    flags: i32,
    turn_messages_max: usize,
    _context: Context,
}

impl End {
    fn new(plan: &Plan, kind: SocketType) -> Result<Self> {
        let context = Context::new();
        let socket = context.socket(kind)?;
        socket.set_linger(0)?;
        socket.set_rcvtimeo(i32::try_from(WAIT.as_millis())?)?;
        if plan.config.ends_with("-fast") {
            socket.set_sndhwm(MARK)?;
            socket.set_rcvhwm(MARK)?;
        }
        let flags = if plan.config.ends_with("-spin") { DONTWAIT } else { 0 };
        // In a ping-pong one message is under way at a time: another wait would be in vain.
        let turn_messages_max = if plan.work == Work::Throughput { TURN_MESSAGES_MAX } else { 1 };
        Ok(Self { socket, flags, turn_messages_max, _context: context })
    }

    fn receive(&self, mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut message = zmq::Message::new();
        for _ in 0..self.turn_messages_max {
            match self.socket.recv(&mut message, self.flags) {
                Ok(()) => each(&message),
                Err(Error::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Publishing for End {
    fn offer(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<bool> {
        match self.socket.send(message.as_slice(), DONTWAIT) {
            Ok(()) => Ok(true),
            Err(Error::EAGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Pinging for End {
    fn send(&mut self, message: &[u8; MESSAGE_BYTES]) -> Result<()> {
        self.socket.set_sndtimeo(100)?;
        match self.socket.send(message.as_slice(), 0) {
            Ok(()) | Err(Error::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        Self::receive(self, each)
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
        let mut tally = self.inbox.open();
        let mut failed = None;
        self.end.receive(|bytes| {
            tally.take(bytes);
            if self.echoes {
                failed = self.end.socket.send(bytes, 0).err();
            }
        })?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn main() -> ExitCode {
    peer_measure::run::<ZeroMq>()
}

//! What a run is asked to do: the options of the command line, checked, with the nearest right
//! value for a wrong one. Plain values.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use wireloom::IoBackend;
use wireloom_seal::Mode;

use super::event::{FIXED_PAYLOAD_BYTES, payload_in_range};
use super::machine::allowed_cores;
use crate::values::{duration, rate, size};

/// Packets a node fills: what [`wireloom::NodeBuilder::packet_bytes`] takes.
const PACKET_BYTES: RangeInclusive<usize> = 256..=LINK_PACKET_BYTES;
/// Packets a reliable link fills.
pub(super) const LINK_PACKET_BYTES: usize = 65_504;

#[derive(Debug, Clone, Args)]
pub(crate) struct FlowArgs {
    /// Archived size of one event: 32 to 65,000 bytes, in steps of 8.
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = size)]
    payload_bytes: usize,
    /// How long to measure.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    duration: Duration,
    /// Events per second (100000, 20k, 1M) instead of as fast as it goes; measures latency.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    /// With a rate: how often the publisher publishes what is due.
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = duration)]
    tick: Duration,
    /// Largest packet, header included; the default is all that the loopback path takes, 1400 is
    /// what a node fills on other paths.
    #[arg(long, value_name = "BYTES", default_value = "65504", value_parser = size)]
    packet_bytes: usize,
    /// What a node does when it has nothing to do [default: adaptive with a rate, else spin].
    #[arg(long, value_name = "STRATEGY")]
    pub(super) idle: Option<IdleChoice>,
    /// What carries the datagrams.
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    io: IoChoice,
    /// Cores for publisher and receiver; `none` leaves it to the system [default: the first two].
    #[arg(long, value_name = "CORES")]
    cores: Option<String>,
    /// The event's type: `typed` is a fixed struct at 64 bytes and a list otherwise.
    #[arg(long, default_value = "typed")]
    payload: Payload,
    /// By which call events are published (udp, multicast and tcp).
    #[arg(long, value_name = "CALL", default_value = "publisher")]
    via: Via,
    /// Seal the datagrams, and measure as many in clear beside them (udp only).
    #[arg(long, value_name = "MODE", default_value = "off")]
    security: Security,
    /// Event types registered with the receiving node (local only).
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_000))]
    types: u16,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub(super) json: bool,
}

/// What a node does without work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdleChoice {
    /// Spin a moment, then sleep until woken; threads of the node's own.
    Adaptive,
    /// Never sleep; one thread for each side.
    Spin,
}

impl IdleChoice {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::Spin => "spin",
        }
    }
}

/// How events get from one process to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// Datagrams to one node.
    Unicast,
    /// Datagrams to a group.
    Multicast,
    /// Reliable events over TCP.
    Reliable,
}

impl Transport {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unicast => "udp",
            Self::Multicast => "multicast",
            Self::Reliable => "tcp",
        }
    }
}

/// What carries the datagrams of both nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum IoChoice {
    /// What measures best: system calls.
    #[default]
    Auto,
    /// System calls.
    Mio,
    /// io_uring, or system calls and a note where the kernel refuses it.
    Uring,
}

impl IoChoice {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Mio => "mio",
            Self::Uring => "uring",
        }
    }

    pub(super) const fn backend(self) -> IoBackend {
        match self {
            Self::Auto => IoBackend::Auto,
            Self::Mio => IoBackend::Mio,
            Self::Uring => IoBackend::Uring,
        }
    }
}

/// The shape of the published event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Payload {
    /// A struct of numbers at 64 bytes, a struct with a list at other sizes.
    Typed,
    /// A struct with a list at any size.
    List,
}

/// By which call events are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// Bursts of a publisher: one type, one target.
    Publisher,
    /// Batches of a router: `Router::route_batch`.
    Router,
    /// A router, event by event: `Router::route`.
    Route,
}

impl Via {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Router => "router",
            Self::Route => "route",
        }
    }
}

/// What datagrams are sealed by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Security {
    /// Not at all: a checksum.
    #[default]
    Off,
    /// By a tag; events travel in clear.
    Integrity,
    /// By a tag, and encrypted.
    Full,
}

impl Security {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Integrity => "integrity",
            Self::Full => "full",
        }
    }

    pub(super) const fn mode(self) -> Option<Mode> {
        match self {
            Self::Off => None,
            Self::Integrity => Some(Mode::Integrity),
            Self::Full => Some(Mode::Full),
        }
    }
}

/// What a run is asked to do, checked.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    pub(super) transport: Transport,
    pub(super) payload_bytes: usize,
    pub(super) duration: Duration,
    pub(super) rate: Option<f64>,
    pub(super) tick: Duration,
    pub(super) packet_bytes: usize,
    pub(super) idle: IdleChoice,
    pub(super) io: IoChoice,
    /// Cores for publisher and receiver; empty: not pinned.
    pub(super) cores: Vec<usize>,
    pub(super) payload: Payload,
    pub(super) via: Via,
    pub(super) security: Security,
    pub(super) types: usize,
}

impl Flow {
    /// Checks the options.
    pub(super) fn check(args: &FlowArgs, transport: Transport) -> Result<Self> {
        let payload = args.payload_bytes;
        payload_in_range(payload)?;
        let packet = args.packet_bytes;
        if !PACKET_BYTES.contains(&packet) {
            let (least, most) = (PACKET_BYTES.start(), PACKET_BYTES.end());
            let nearest = packet.clamp(*least, *most);
            bail!("--packet-bytes {packet}: a packet has {least} to {most} bytes; try {nearest}");
        }
        if transport == Transport::Reliable && packet != LINK_PACKET_BYTES {
            bail!(
                "--packet-bytes {packet}: a reliable link fills {LINK_PACKET_BYTES}; leave it out"
            );
        }
        if args.duration < Duration::from_millis(10) {
            bail!("--duration: nothing is measured in less than 10ms; try 1s");
        }
        if args.tick < Duration::from_micros(1) || args.tick > Duration::from_secs(1) {
            bail!("--tick: between 1us and 1s; try 1ms");
        }
        if args.security != Security::Off && transport != Transport::Unicast {
            bail!("--security: datagrams to one node are sealed here; try bench udp");
        }
        if args.security != Security::Off && args.rate.is_some() {
            bail!("--security: measured as fast as it goes; leave --rate out");
        }
        let free = if args.rate.is_some() { IdleChoice::Adaptive } else { IdleChoice::Spin };
        Ok(Self {
            transport,
            payload_bytes: payload,
            duration: args.duration,
            rate: args.rate,
            tick: args.tick,
            packet_bytes: packet,
            idle: args.idle.unwrap_or(free),
            io: args.io,
            cores: chosen_cores(args.cores.as_deref(), &allowed_cores())?,
            payload: args.payload,
            via: args.via,
            security: args.security,
            types: usize::from(args.types),
        })
    }

    /// Whether events of the fixed type are published.
    pub(super) fn is_fixed(&self) -> bool {
        self.payload == Payload::Typed && self.payload_bytes == FIXED_PAYLOAD_BYTES
    }

    /// The core of the publisher (0) or the receiver (1); `None` is the system's choice.
    pub(super) fn core(&self, side: usize) -> Option<usize> {
        self.cores.get(side).or_else(|| self.cores.first()).copied()
    }

    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        Self {
            transport: Transport::Unicast,
            payload_bytes: FIXED_PAYLOAD_BYTES,
            duration: Duration::from_millis(50),
            rate: None,
            tick: Duration::from_millis(1),
            packet_bytes: 65_504,
            idle: IdleChoice::Spin,
            via: Via::Publisher,
            security: Security::Off,
            io: IoChoice::Auto,
            cores: Vec::new(),
            payload: Payload::Typed,
            types: 1,
        }
    }
}

/// The cores to pin to: those named, or the first two; none when there is only one.
pub(super) fn chosen_cores(named: Option<&str>, allowed: &[usize]) -> Result<Vec<usize>> {
    let Some(named) = named else {
        return Ok(if allowed.len() < 2 { Vec::new() } else { allowed[..2].to_vec() });
    };
    if named == "none" {
        return Ok(Vec::new());
    }
    let parsed = named.split(',').map(|core| core.trim().parse::<usize>());
    let cores: Vec<usize> = parsed
        .collect::<Result<_, _>>()
        .with_context(|| format!("--cores {named}: core numbers with commas, such as 0,1"))?;
    match cores.iter().find(|core| !allowed.contains(core)) {
        Some(core) => bail!("--cores: core {core} is not available here: choose from {allowed:?}"),
        None => Ok(cores),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        flow: FlowArgs,
    }

    fn flow(line: &str) -> Result<Flow> {
        let transport =
            if line.starts_with("tcp") { Transport::Reliable } else { Transport::Unicast };
        Flow::check(&Command::try_parse_from(line.split(' '))?.flow, transport)
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let full = flow("udp").unwrap();
        assert_eq!((full.payload_bytes, full.packet_bytes), (64, 65_504));
        assert_eq!((full.duration, full.rate), (Duration::from_secs(5), None));
        assert_eq!((full.idle, full.io), (IdleChoice::Spin, IoChoice::Auto));
        assert_eq!(flow("udp --io uring").unwrap().io.backend(), IoBackend::Uring);
        assert!(full.is_fixed());
        let paced = flow("udp --rate 100k --payload-bytes 128").unwrap();
        assert_eq!((paced.rate, paced.idle), (Some(100_000.0), IdleChoice::Adaptive));
        assert!(!paced.is_fixed() && !flow("udp --payload list").unwrap().is_fixed());
    }

    #[test]
    fn a_wrong_setting_is_told_with_the_nearest_right_one() {
        for (line, word) in [
            ("udp --payload-bytes 8", "try 32"),
            ("udp --payload-bytes 1GiB", "try 65000"),
            ("udp --packet-bytes 1GiB", "try 65504"),
            ("udp --packet-bytes 0", "try 256"),
            ("tcp --packet-bytes 1400", "leave it out"),
            ("udp --duration 1ms", "try 1s"),
            ("udp --tick 2s", "try 1ms"),
            ("udp --cores 0,x", "0,1"),
            ("udp --cores 9999", "not available"),
            ("udp --rate 0", "above 0"),
            ("udp --idle snooze", "adaptive"),
            ("udp --io dpdk", "uring"),
            ("udp --security some", "integrity"),
            ("udp --security full --rate 10k", "leave --rate out"),
            ("tcp --security full", "bench udp"),
        ] {
            let told = format!("{:#}", flow(line).unwrap_err());
            assert!(told.contains(word), "{line}: {told}");
        }
    }

    #[test]
    fn cores_are_the_first_two_unless_named() {
        assert_eq!(chosen_cores(None, &[2, 5, 7]).unwrap(), [2, 5]);
        assert!(chosen_cores(None, &[3]).unwrap().is_empty());
        assert!(chosen_cores(Some("none"), &[0, 1]).unwrap().is_empty());
        assert_eq!(chosen_cores(Some("7, 2"), &[2, 5, 7]).unwrap(), [7, 2]);
    }
}

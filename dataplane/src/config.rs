//! What the user of the data plane says, checked before anything starts.

use std::net::SocketAddr;
use std::time::Duration;

use crate::idle::Idle;
use crate::limits::SOURCES_DEFAULT;
use crate::socket::{GroupJoin, MulticastOptions};

/// Which threads run the agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// One thread runs the sender and the (first) receiver: the default, fewest cores.
    #[default]
    Shared,
    /// A thread for the sender and one for each receiver: highest throughput in both directions.
    Dedicated,
}

/// What carries the datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IoBackend {
    /// What `wireloom bench udp --io …` shows best: system calls.
    #[default]
    Auto,
    /// System calls ([`crate::io::mio`]).
    Mio,
    /// Rings (`io_uring`, Linux 6.1), if this kernel lets us and this program is built with the
    /// feature `io-uring`; system calls and a note otherwise.
    Uring,
}

/// A group to receive from: its own socket, bound to group and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMembership {
    /// The group and the interface it is joined on.
    pub join: GroupJoin,
    /// The UDP port.
    pub port: u16,
}

/// Everything the data plane needs to know at start.
#[derive(Debug, Clone)]
pub struct PlaneConfig {
    /// Address and port to receive on and send from; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Groups to receive from.
    pub groups: Vec<GroupMembership>,
    /// How multicast is sent.
    pub multicast: MulticastOptions,
    /// Whether broadcast may be sent (`SO_BROADCAST`).
    pub broadcast: bool,
    /// Asked-for size of each receive buffer; what the kernel granted stands in the socket report.
    pub receive_buffer_bytes: usize,
    /// Bytes that all senders together may have on their way to a receiver (flow control), headers
    /// and some 400 bytes a packet included; never more than the receive buffer really has. 512 KiB
    /// keeps 40 Gb/s flowing over a round trip of 100 µs.
    pub window_bytes: usize,
    /// Asked-for size of the send buffer.
    pub send_buffer_bytes: usize,
    /// What carries the datagrams.
    pub io: IoBackend,
    /// How long a look at an empty socket polls the network card, µs; see
    /// [`crate::socket::SocketConfig::busy_poll_us`]. 0: not at all.
    pub busy_poll_us: u32,
    /// Whether a second socket is connected to the peer that most datagrams go to; see
    /// [`crate::direct`]. Only with system calls and one receiver.
    pub direct: bool,
    /// Threads.
    pub mode: Mode,
    /// Receivers sharing the listen port by SO_REUSEPORT; each peer's flow stays with one of them.
    pub receivers: usize,
    /// Cores for the workers in order (sender first); empty leaves the choice to the system.
    pub cores: Vec<usize>,
    /// What a worker does without work.
    pub idle: Idle,
    /// Lets published events wait this long for company: while they flow, the sender comes round
    /// once in this time instead of being woken for each. 0 (the default) sends what there is at
    /// once. Critical events, events for this process, and a full ring wake it all the same.
    pub flush_interval: Duration,
    /// Streams each receiver follows at a time.
    pub sources_max: usize,
    /// Refuse packets without a checksum.
    pub require_checksum: bool,
}

impl PlaneConfig {
    /// The defaults around a listen address.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            groups: Vec::new(),
            multicast: MulticastOptions::default(),
            broadcast: true,
            receive_buffer_bytes: 4 << 20,
            window_bytes: 512 << 10,
            send_buffer_bytes: 1 << 20,
            io: IoBackend::default(),
            busy_poll_us: 0,
            direct: true,
            mode: Mode::default(),
            receivers: 1,
            cores: Vec::new(),
            idle: Idle::default(),
            flush_interval: Duration::ZERO,
            sources_max: SOURCES_DEFAULT,
            require_checksum: true,
        }
    }

    /// Checks what can be checked without the system, and the cores against the allowed ones.
    ///
    /// # Errors
    /// Says which field is wrong and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=64).contains(&self.receivers) {
            return Err(ConfigError::Receivers(self.receivers));
        }
        if !(1..=65_536).contains(&self.sources_max) {
            return Err(ConfigError::Sources(self.sources_max));
        }
        if self.cores.is_empty() {
            return Ok(());
        }
        let allowed: Vec<usize> =
            core_affinity::get_core_ids().into_iter().flatten().map(|core| core.id).collect();
        match self.cores.iter().find(|core| !allowed.contains(core)) {
            Some(core) => Err(ConfigError::Core { asked: *core, allowed }),
            None => Ok(()),
        }
    }
}

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No receiver, or more than make sense.
    #[error("receivers = {0}: choose 1 to 64, at most one a core")]
    Receivers(usize),
    /// The stream table's size.
    #[error("sources_max = {0}: choose 1 to 65536 (about 1.2 KiB each)")]
    Sources(usize),
    /// A core this process may not run on.
    #[error(
        "core {asked} is not available to the thread that starts the node: choose from {allowed:?}"
    )]
    Core {
        /// The core asked for.
        asked: usize,
        /// The cores this process may use.
        allowed: Vec<usize>,
    },
}

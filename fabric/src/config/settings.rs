//! What a configuration says of each part, typed: for the node, and for programs that ask.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use wireloom_wire::Priority;

use super::Config;
use super::keys::Id;
use super::profile::Profile;
use super::text::protection;
use super::value::Value;
use crate::keying::Protection;
use crate::target::Target;
use crate::trace::TraceSettings;

/// `[events]` beyond the rings: what the sender is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventSettings {
    /// Events that may leave together.
    pub batch: usize,
    /// Whether a sender waits for company at all.
    pub waits: bool,
    /// The longest an accepted event may wait.
    pub flush_interval: Duration,
    /// Events that may wait in a ring.
    pub queue: usize,
    /// Levels of priority.
    pub priorities: usize,
}

/// `[tcp]`: links to peers that acknowledge.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpSettings {
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// Links to each peer, at most.
    pub pool: usize,
    /// Time between two signs of life of a silent link; none sends none.
    pub keep_alive: Option<Duration>,
    /// A link that acknowledges nothing for this long is made anew.
    pub ack_timeout: Duration,
    /// Attempts to deliver before an event is reported undelivered.
    pub attempts: u32,
    /// How long after the first failed attempt none is reported yet.
    pub undelivered_after: Duration,
    /// Wait before the second attempt.
    pub backoff_min: Duration,
    /// Longest wait between attempts, at least [`TcpSettings::backoff_min`].
    pub backoff_max: Duration,
    /// Whether links compress.
    pub compression: bool,
    /// The largest event, bytes.
    pub stream_bytes_max: usize,
}

/// `[discovery]`: how nodes find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiscoverySettings {
    /// The multicast group of hellos.
    pub group: Option<SocketAddr>,
    /// `HOST:PORT` of nodes to say hello to, not looked up yet.
    pub seeds: Vec<String>,
    /// `NAME:PORT` of which every address is a seed, not looked up yet.
    pub dns: Vec<String>,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
}

/// `[services]`: what a node offers, and how a member is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceSettings {
    /// Names of the services offered.
    pub announce: Vec<String>,
    /// Which member an event goes to.
    pub choice: ServiceChoice,
}

/// Which member of a service an event goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ServiceChoice {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one that says it has least to do.
    LeastLoaded,
    /// The one a key's hash falls to: all events of a node go to one member while it is up.
    /// [`Choice::Key`](crate::Choice::Key) names a key for an event.
    ConsistentHash,
}

/// `[cluster]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterSettings {
    /// Nodes that keep a copy of an event.
    pub replication: usize,
}

/// `[security]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecuritySettings {
    /// Whether links and packets are to be encrypted.
    pub encryption: bool,
    /// Whether other hosts may reach a node without a certificate.
    pub insecure: bool,
    /// The folder with the node's certificate and key.
    pub credentials: Option<PathBuf>,
    /// The file that says who may do what.
    pub policy: Option<PathBuf>,
    /// The file of the audit log.
    pub audit: Option<PathBuf>,
    /// How datagrams of a priority are protected, of those that anything is said of.
    pub protect: Vec<(Priority, Protection)>,
}

impl Config {
    /// The node's name, if one is said.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self.value(Id::NodeName) {
            Value::Text(name) => Some(name),
            _ => None,
        }
    }

    /// The profile whose figures stand below the rest, if one is said.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        self.word(Id::NodeProfile).parse().ok()
    }

    /// Where the node is to receive (`HOST:PORT`), if anybody but the default says it.
    #[must_use]
    pub fn listen(&self) -> Option<&str> {
        if self.is_said(&[Id::Listen]) { self.text(Id::Listen) } else { None }
    }

    /// The multicast groups to receive from, `GROUP:PORT` each.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        self.texts(Id::Join)
    }

    /// What `[events]` says.
    #[must_use]
    pub fn events(&self) -> EventSettings {
        EventSettings {
            batch: self.count(Id::Batch),
            waits: self.word(Id::Flush) == "wait",
            flush_interval: self.time(Id::FlushInterval),
            queue: self.count(Id::Queue),
            priorities: self.count(Id::Priorities),
        }
    }

    /// What `[tcp]` says.
    #[must_use]
    pub fn tcp(&self) -> TcpSettings {
        let keep_alive = self.time(Id::KeepAlive);
        TcpSettings {
            connect_timeout: self.time(Id::ConnectTimeout),
            pool: self.count(Id::Pool),
            keep_alive: (!keep_alive.is_zero()).then_some(keep_alive),
            ack_timeout: self.time(Id::AckTimeout),
            attempts: u32::try_from(self.count(Id::Attempts)).unwrap_or(u32::MAX),
            undelivered_after: self.time(Id::UndeliveredAfter),
            backoff_min: self.time(Id::BackoffMin),
            backoff_max: self.time(Id::BackoffMax),
            compression: self.flag(Id::Compression),
            stream_bytes_max: self.count(Id::StreamBytesMax),
        }
    }

    /// What `[discovery]` says.
    #[must_use]
    pub fn discovery(&self) -> DiscoverySettings {
        DiscoverySettings {
            group: self.text(Id::DiscoveryGroup).and_then(|group| group.parse().ok()),
            seeds: self.texts(Id::Seeds).to_vec(),
            dns: self.texts(Id::Dns).to_vec(),
            heartbeat: self.time(Id::Heartbeat),
        }
    }

    /// What `[services]` says.
    #[must_use]
    pub fn services(&self) -> ServiceSettings {
        let choice = match self.word(Id::Choice) {
            "least-loaded" => ServiceChoice::LeastLoaded,
            "consistent-hash" => ServiceChoice::ConsistentHash,
            _ => ServiceChoice::RoundRobin,
        };
        ServiceSettings { announce: self.texts(Id::Announce).to_vec(), choice }
    }

    /// What `[cluster]` says.
    #[must_use]
    pub fn cluster(&self) -> ClusterSettings {
        ClusterSettings { replication: self.count(Id::Replication) }
    }

    /// What `[security]` says.
    #[must_use]
    pub fn security(&self) -> SecuritySettings {
        SecuritySettings {
            encryption: self.flag(Id::Encryption),
            insecure: self.flag(Id::Insecure),
            credentials: self.text(Id::CredentialsFolder).map(PathBuf::from),
            policy: self.text(Id::PolicyFile).map(PathBuf::from),
            audit: self.text(Id::AuditFile).map(PathBuf::from),
            protect: self.texts(Id::Protect).iter().filter_map(|of| protection(of)).collect(),
        }
    }

    /// What `[trace]` says.
    #[must_use]
    pub fn trace(&self) -> TraceSettings {
        let usual = TraceSettings::default();
        let collector = self.text(Id::TraceCollector).and_then(Target::without_lookup);
        TraceSettings {
            sample_one_in: u32::try_from(self.count(Id::TraceSampleOneIn)).unwrap_or(u32::MAX),
            group: self.text(Id::TraceGroup).map_or(usual.group, Target::multicast),
            collector: collector.unwrap_or(usual.collector),
            queue_spans: self.count(Id::TraceQueue),
            flush: self.time(Id::TraceFlush),
        }
    }

    // A key's kind says which of these reads it; the table's test holds defaults to their kinds,
    // and reading a value gives no other kind.

    pub(super) fn flag(&self, id: Id) -> bool {
        matches!(self.value(id), Value::Flag(true))
    }

    /// A count or a number of bytes; 0 where the key is left open.
    pub(super) fn count(&self, id: Id) -> usize {
        match self.value(id) {
            Value::Count(amount) | Value::Bytes(amount) => {
                usize::try_from(*amount).unwrap_or(usize::MAX)
            }
            _ => 0,
        }
    }

    pub(super) fn time(&self, id: Id) -> Duration {
        match self.value(id) {
            Value::Time(time) => *time,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn word(&self, id: Id) -> &'static str {
        match self.value(id) {
            Value::Word(word) => word,
            _ => "",
        }
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn texts(&self, id: Id) -> &[String] {
        match self.value(id) {
            Value::Texts(texts) => texts,
            _ => &[],
        }
    }
}

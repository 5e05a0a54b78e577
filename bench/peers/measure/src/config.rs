//! What can be run of a peer: the work, the configuration, and what may be expected of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// One side publishes as fast as it can, the other counts.
    Throughput,
    /// One message there and back, the next only when the last is back.
    PingPong,
}

impl fmt::Display for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Throughput => "throughput",
            Self::PingPong => "pingpong",
        })
    }
}

/// Whether the peer was configured for the work or left as it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tuning {
    /// As its own documentation or performance programs recommend for speed on few cores.
    Fast,
    /// As it comes.
    Default,
}

/// What a user may rely on. Rows of unlike classes do unlike work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// Delivered in order, or the connection fails; a slow receiver slows the publisher.
    #[serde(rename = "reliable")]
    Reliable,
    /// May be dropped on the way, or when the receiver is slow.
    #[serde(rename = "best effort")]
    BestEffort,
    /// Through memory of one host; cannot leave it.
    #[serde(rename = "same host")]
    SameHost,
    /// Through a process in the middle, which drops what a slow receiver does not take.
    #[serde(rename = "broker, at most once")]
    Broker,
}

/// One row that a peer can give.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// What is measured.
    pub work: Work,
    /// Name on the command line.
    pub name: &'static str,
    /// Configured for speed, or as it comes.
    pub tuning: Tuning,
    /// What may be relied on.
    pub class: Class,
    /// What was set, in a line.
    pub how: &'static str,
}

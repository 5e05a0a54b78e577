//! Why a node did not start: names of what happened and what to do.

use std::io;
use std::path::PathBuf;

use wireloom_control::StartError;
use wireloom_control::membership::RecordError;
use wireloom_identity::IdentityError;

use crate::config::ConfigError;
use crate::outcome::AccessError;
use crate::target::TargetError;
use crate::validation::SchemasExhausted;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// An address of the builder.
    #[error(transparent)]
    Address(#[from] TargetError),
    /// A ring size that cannot be.
    #[error("a ring of {asked} bytes cannot be: choose a power of two, for example {nearest}")]
    RingBytes {
        /// What was asked for.
        asked: usize,
        /// A size that works.
        nearest: usize,
    },
    /// Other hosts could reach it, and it has no certificate.
    #[error(
        "other hosts could reach this node at {places}, and without a certificate anybody there \
         could publish under any name: listen at 127.0.0.1, or accept that with \
         NodeBuilder::insecure (--insecure, security.insecure = true)"
    )]
    Insecure {
        /// Where: the listen address, groups with their interfaces.
        places: String,
    },
    /// Sockets or threads.
    #[error(transparent)]
    Start(#[from] StartError),
    /// What the node says of itself to its cluster.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The policy's file.
    #[error("something is wrong with the policy")]
    Policy(#[source] ConfigError),
    /// What the policy asks of the node.
    #[error("the policy is not in force: {0}")]
    Access(#[from] AccessError),
    /// The files that prove who it is.
    #[error("the node cannot prove who it is")]
    Credentials(#[source] IdentityError),
    /// The audit log.
    #[error("no audit log can be written to {}: {source}", path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The thread that writes the audit log.
    #[error("no thread for the audit log: {0}")]
    Thread(#[source] io::Error),
    /// More schemas than a node holds events against.
    #[error(transparent)]
    Schemas(#[from] SchemasExhausted),
    /// The control thread has ended at once.
    #[error("the control thread takes no tasks: it has ended")]
    Stalled,
}

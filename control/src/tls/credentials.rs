//! What TLS is done with: who this node is, and whom it trusts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::pki_types::CertificateDer;
use wireloom_wire::NodeId;

/// Why a chain of certificates is none of a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It names another cluster.
    #[error("the certificate is of another cluster")]
    Cluster,
    /// It is revoked.
    #[error("the certificate is revoked")]
    Revoked,
    /// It is not one of a node.
    #[error("the certificate is not one of a node")]
    Certificate,
}

/// Who a certificate says a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
}

type PeerOf = dyn Fn(&[CertificateDer<'_>]) -> Result<PeerIdentity, IdentityError> + Send + Sync;

/// A node's certificate and what it trusts; clones are the same.
#[derive(Clone)]
pub struct Credentials {
    /// For lines this node dials.
    pub client: Arc<rustls::ClientConfig>,
    /// For lines it accepts; asks for the peer's certificate.
    pub server: Arc<rustls::ServerConfig>,
    /// Who a verified chain is.
    pub peer: Arc<PeerOf>,
    /// Moves when certificates were exchanged or revoked.
    pub moved: Arc<AtomicU64>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl Credentials {
    /// For a line to be dialled.
    #[must_use]
    pub fn client_config(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.client)
    }

    /// For a line that was accepted.
    #[must_use]
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.server)
    }

    /// Who a chain is, by what is known now.
    ///
    /// # Errors
    /// Why nobody.
    pub fn peer_of(&self, chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, IdentityError> {
        (self.peer)(chain)
    }

    /// Moves with each change of what is trusted.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.moved.load(Ordering::Acquire)
    }
}

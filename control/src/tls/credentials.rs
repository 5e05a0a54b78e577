//! What TLS is done with: who this node is, and whom it trusts. The files, certificates and checks
//! are made elsewhere; here stands what links ask of them.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};
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
    /// Its time is over, or has not come.
    #[error("the certificate is not of this time")]
    Expired,
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
    /// What it may do is said of these.
    pub roles: Vec<String>,
    /// When its certificate ends, seconds since the Unix epoch. From then on it is asked again and
    /// again whether it still holds: clocks differ.
    pub expires_unix_s: u64,
    /// The key of its certificate, Ed25519.
    pub public_key: [u8; 32],
}

/// A node's certificate, and whom it trusts. Asked anew for each line, so that what is exchanged is
/// in use at once.
pub trait Trust: Send + Sync {
    /// For a line to be dialled: the verifier of its own does not look at the name dialled.
    fn client_config(&self) -> Arc<ClientConfig>;

    /// For a line that was accepted: it asks for the peer's certificate.
    fn server_config(&self) -> Arc<ServerConfig>;

    /// Who a chain is that rustls has verified, by what is known now.
    ///
    /// # Errors
    /// Why nobody.
    fn peer_of(&self, chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, IdentityError>;

    /// Moves with each change of what is trusted: lines are looked at again.
    fn epoch(&self) -> u64;
}

/// Whom a node trusts; clones are the same.
#[derive(Clone)]
pub struct Credentials(Arc<dyn Trust>);

impl Credentials {
    /// Links ask this one.
    #[must_use]
    pub fn new(trust: impl Trust + 'static) -> Self {
        Self(Arc::new(trust))
    }
}

impl std::ops::Deref for Credentials {
    type Target = dyn Trust;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

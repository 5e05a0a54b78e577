//! What links ask of a node's credentials.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};
use wireloom_control::tls::{IdentityError, PeerIdentity, Trust};
use wireloom_identity::{Credentials, Refusal};

/// Credentials as the links see them: asked for each line, so that renewed ones are in use at once.
pub(crate) struct Trusted(pub(crate) Credentials);

impl Trust for Trusted {
    fn client_config(&self) -> Arc<ClientConfig> {
        self.0.client_config()
    }

    fn server_config(&self) -> Arc<ServerConfig> {
        self.0.server_config()
    }

    fn peer_of(&self, chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, IdentityError> {
        let peer = self.0.peer_of(chain).map_err(|error| match error.refusal() {
            Some(Refusal::OtherCluster) => IdentityError::Cluster,
            Some(Refusal::Revoked) => IdentityError::Revoked,
            Some(Refusal::Expired | Refusal::NotYetValid) => IdentityError::Expired,
            _ => IdentityError::Certificate,
        })?;
        Ok(PeerIdentity {
            node: peer.node,
            name: peer.name,
            roles: peer.roles,
            expires_unix_s: peer.expires_unix_s,
            public_key: peer.public_key.0,
        })
    }

    fn epoch(&self) -> u64 {
        self.0.epoch()
    }
}

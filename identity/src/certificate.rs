//! What a certificate says, read within bounds. Says nothing of whether it may be believed: that is
//! `tls.rs`.

use rustls::pki_types::CertificateDer;
use wireloom_wire::{NodeId, is_node_name};
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::error::{IdentityError, Refusal};
use crate::name::{self, Kind};
use crate::serial::Serial;
use crate::{files, pem};

/// Bytes of one certificate; none of ours is longer, and none is parsed that is.
pub const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;
/// Certificates of a file: a node's and those of its authorities.
pub(crate) const CHAIN_MAX: usize = 5;
/// Bytes of a file of certificates.
pub(crate) const FILE_BYTES_MAX: usize = 2 * CHAIN_MAX * CERTIFICATE_BYTES_MAX;

/// Bytes of a public key of Ed25519.
pub(crate) type PublicKey = [u8; 32];

/// What a certificate says of its owner: a node, or the authority of a cluster. To be shown; to
/// know whether it may be believed, ask [`Credentials::peer_of`](crate::Credentials::peer_of).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// The cluster it is for.
    pub cluster: String,
    /// The node's name; none for an authority's certificate.
    pub node: Option<String>,
    /// What the node may do, as policies name it.
    pub roles: Vec<String>,
    /// What the node may offer.
    pub services: Vec<String>,
    /// Its number.
    pub serial: Serial,
    /// From when on it is good, seconds since 1970.
    pub not_before_unix_s: u64,
    /// Until when it is good, seconds since 1970.
    pub expires_unix_s: u64,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// Whether it is for both ends of a connection.
    pub for_nodes: bool,
    pub(crate) public: PublicKey,
}

impl Certificate {
    /// Reads one, whatever the bytes are. Some microseconds.
    ///
    /// # Errors
    /// [`IdentityError::Peer`] with [`Refusal::TooLarge`] or [`Refusal::Malformed`].
    pub fn read(der: &[u8]) -> Result<Self, IdentityError> {
        Self::parse(der).map_err(IdentityError::Peer)
    }

    /// Reads those of a PEM file, at most five.
    ///
    /// # Errors
    /// When the file cannot be read, is too large or holds something else.
    pub fn read_file(path: &std::path::Path) -> Result<Vec<Self>, IdentityError> {
        let text = files::read(path, FILE_BYTES_MAX)?;
        let content = |why| IdentityError::Content {
            path: path.to_owned(),
            what: "file of certificates",
            why,
        };
        let found = pem::certificates(&text, CHAIN_MAX).map_err(content)?;
        found.iter().map(|der| Self::parse(der).map_err(|why| content(why.to_string()))).collect()
    }

    pub(crate) fn parse(der: &[u8]) -> Result<Self, Refusal> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        match X509Certificate::from_der(der) {
            Ok(([], parsed)) => Self::of(&parsed).ok_or(Refusal::Malformed),
            _ => Err(Refusal::Malformed),
        }
    }

    fn of(parsed: &X509Certificate<'_>) -> Option<Self> {
        let key = parsed.public_key();
        let (mut clusters, mut nodes) = (Vec::new(), Vec::new());
        let (mut roles, mut services) = (Vec::new(), Vec::new());
        for general in &parsed.subject_alternative_name().ok()??.value.general_names {
            let GeneralName::URI(uri) = general else { return None };
            let (cluster, kind, name) = name::parse_uri(uri)?;
            clusters.push(cluster);
            match kind {
                Some(Kind::Node) => nodes.push(name),
                Some(Kind::Role) => roles.push(name),
                Some(Kind::Service) => services.push(name),
                // Of an authority, or of a later version.
                Some(Kind::Authority) | None => {}
            }
        }
        let cluster = clusters.pop()?;
        if clusters.iter().any(|other| *other != cluster) || !is_node_name(&cluster) {
            return None;
        }
        let node = nodes.pop();
        if !nodes.is_empty() || key.algorithm.algorithm != OID_SIG_ED25519 {
            return None;
        }
        name::check_node(node.as_deref().unwrap_or("-"), &roles, &services).ok()?;
        let usage = parsed.extended_key_usage().ok()?;
        let validity = parsed.validity();
        Some(Self {
            cluster,
            node,
            roles,
            services,
            serial: Serial::from_certificate(parsed.raw_serial())?,
            not_before_unix_s: u64::try_from(validity.not_before.timestamp()).ok()?,
            expires_unix_s: u64::try_from(validity.not_after.timestamp()).ok()?,
            is_authority: parsed.is_ca(),
            for_nodes: usage.is_some_and(|use_| use_.value.client_auth && use_.value.server_auth),
            public: key.subject_public_key.data.as_ref().try_into().ok()?,
        })
    }

    /// Who the certificate names.
    pub(crate) fn identity(self) -> Result<PeerIdentity, Refusal> {
        let name = self.node.ok_or(Refusal::Malformed)?;
        Ok(PeerIdentity {
            node: NodeId::of_name(&name),
            name,
            roles: self.roles,
            services: self.services,
            serial: self.serial,
            expires_unix_s: self.expires_unix_s,
            public_key: crate::signing::PublicKey(self.public),
        })
    }
}

/// Who a peer is, as its certificate says and the cluster's authority has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its id: [`NodeId::of_name`] of its name, as packets and links carry it.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// What it may do, as policies name it.
    pub roles: Vec<String>,
    /// What it may offer.
    pub services: Vec<String>,
    /// The number of its certificate.
    pub serial: Serial,
    /// Until when the certificate is good, seconds since 1970.
    pub expires_unix_s: u64,
    /// By what it is known who has signed.
    pub public_key: crate::signing::PublicKey,
}

/// A certificate of a file with what it says.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) says: Certificate,
}

/// The certificates of a text: at least one, each readable.
pub(crate) fn held(text: &[u8]) -> Result<Vec<Held>, String> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Refusal::TooLarge.to_string());
    }
    let found = pem::certificates(text, CHAIN_MAX)?.into_iter().map(|der| {
        let says = Certificate::parse(&der).map_err(|why| why.to_string())?;
        Ok(Held { der, says })
    });
    found.collect()
}

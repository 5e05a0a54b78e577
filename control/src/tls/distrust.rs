//! Why a line is not trusted: names that reach receipts, counters and whoever reads them.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use wireloom_dataplane::counters::Counter;

/// Why a line over TCP was not, or is no longer, trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// The other side speaks without TLS.
    #[error("it speaks without TLS: give both nodes certificates of one cluster, or neither")]
    Plain,
    /// Its certificate is none of this cluster's authority, or not its own.
    #[error("its certificate does not hold: is it of this cluster's authority?")]
    Certificate,
    /// Its certificate's time is over, or has not come.
    #[error("its certificate has expired or is not good yet: renew it, or set the clocks")]
    Expired,
    /// Its certificate names another cluster.
    #[error("its certificate is of another cluster: `wireloom ca show` tells which")]
    Cluster,
    /// Its certificate is revoked.
    #[error("its certificate is revoked: give it a new one")]
    Revoked,
    /// It says it is a node that its certificate does not name.
    #[error("its certificate is of another node: each node needs one of its own name")]
    Node,
    /// It refuses this node's certificate.
    #[error("it refuses this node's certificate: is it of its cluster's authority, not expired?")]
    Refused,
    /// It refuses this node's certificate as revoked.
    #[error("it refuses this node's certificate as revoked: give this node a new one")]
    RefusedRevoked,
    /// The handshake took too long.
    #[error("the handshake took too long: is the other side alive, or very busy?")]
    Deadline,
    /// What it said is no handshake of this protocol, or breaks it later.
    #[error("it breaks TLS: is it a Wireloom node of this version?")]
    Broken,
    /// It changed its keys, or sent empty records, again and again.
    #[error("it changed its keys more than once a second: it is hostile or broken")]
    KeyUpdates,
}

impl Distrust {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Plain,
        Self::Certificate,
        Self::Expired,
        Self::Cluster,
        Self::Revoked,
        Self::Node,
        Self::Refused,
        Self::RefusedRevoked,
        Self::Deadline,
        Self::Broken,
        Self::KeyUpdates,
    ];

    /// A stable name for ledgers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "untrusted_plain",
            Self::Certificate => "untrusted_certificate",
            Self::Expired => "untrusted_expired",
            Self::Cluster => "untrusted_cluster",
            Self::Revoked => "untrusted_revoked",
            Self::Node => "untrusted_node",
            Self::Refused => "untrusted_refused",
            Self::RefusedRevoked => "untrusted_refused_revoked",
            Self::Deadline => "untrusted_deadline",
            Self::Broken => "untrusted_broken",
            Self::KeyUpdates => "untrusted_key_updates",
        }
    }

    /// Whether it is the other side's certificate that does not hold.
    #[must_use]
    pub const fn is_of_certificate(self) -> bool {
        matches!(self, Self::Certificate | Self::Expired | Self::Cluster | Self::Revoked)
    }

    /// What an error of [`Sockets`](crate::Sockets) says of it, if it is about trust.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// Where a socket that ends for it is counted.
    pub(super) const fn counter(self) -> Counter {
        match self {
            Self::Plain => Counter::TlsPlain,
            Self::Certificate | Self::Node => Counter::TlsCertificate,
            Self::Expired => Counter::TlsOutdated,
            Self::Cluster => Counter::TlsCluster,
            Self::Revoked => Counter::TlsRevoked,
            Self::Refused | Self::RefusedRevoked => Counter::TlsRefused,
            Self::Deadline => Counter::TlsExpired,
            Self::Broken => Counter::TlsBroken,
            Self::KeyUpdates => Counter::TlsKeyUpdates,
        }
    }

    pub(super) fn of_tls(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(CertificateError::Revoked) => Self::Revoked,
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Self::Cluster,
            Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => Self::Expired,
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Self::Certificate,
            Error::AlertReceived(AlertDescription::CertificateRevoked) => Self::RefusedRevoked,
            Error::AlertReceived(
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::CertificateRequired
                | AlertDescription::DecryptError,
            ) => Self::Refused,
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::Plain,
            _ => Self::Broken,
        }
    }
}

impl From<Distrust> for io::Error {
    fn from(distrust: Distrust) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, distrust)
    }
}

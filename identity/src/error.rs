//! What can be wrong with files, requests and peers, each with its name.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible};
use wireloom_wire::NODE_NAME_BYTES_MAX;

use crate::name::{ROLES_MAX, SERVICES_BYTES_MAX};
use crate::serial::Serial;

/// What went wrong, with what, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The system would not.
    #[error("{} cannot be {action}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was wanted: read, written.
        action: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// A key lies open.
    #[error(
        "{} can be read by others than its owner (mode {mode:04o}), so it may be known already: \
         chmod 600 it, and make a new one if others use this machine", path.display()
    )]
    KeyReadableByOthers {
        /// The file of the key.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing is overwritten unasked.
    #[error("{} is there already, and nothing was written: move it away, or say that it is to be \
             replaced", .0.display())]
    Exists(PathBuf),
    /// A file is larger than any of its kind.
    #[error("{} has more than {bytes_max} bytes, which none of its kind has", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// What would be read.
        bytes_max: usize,
    },
    /// A file is not what its name says.
    #[error("{} is no {what}: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// No name for this.
    #[error(
        "a {what} has a name of 1 to {NODE_NAME_BYTES_MAX} bytes without control characters, and \
         {name:?} is none"
    )]
    Name {
        /// Node, role or cluster.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// No name of a service.
    #[error("a service has a name of 1 to 255 bytes without control characters, and {0:?} is none")]
    Service(String),
    /// More than a certificate or a member's record holds.
    #[error(
        "a node has at most {ROLES_MAX} roles, and services whose names have {SERVICES_BYTES_MAX} \
         bytes, one more for each: give it fewer"
    )]
    TooManyNames,
    /// The authority's own files have this name.
    #[error("no node is called \"ca\": its files would be those of the authority")]
    NameOfAuthority,
    /// A certificate has days, and not for ever.
    #[error("a certificate is good for 1 to {days_max} days, not {days}")]
    Days {
        /// What was asked for.
        days: u32,
        /// The most.
        days_max: u32,
    },
    /// No such node or number was ever issued.
    #[error("{0:?} was not issued by this authority: `wireloom ca show` lists what was")]
    NotIssued(String),
    /// Key and certificate do not belong together.
    #[error("the key does not fit the certificate of {0:?}: take both files of one `ca issue`")]
    KeyOfAnother(String),
    /// New files are of somebody else; the old credentials stay.
    #[error("the new certificate is for {new:?}, and this node is {old:?}: the old one stays")]
    OtherNode {
        /// Who this node is.
        old: String,
        /// Who the new certificate names.
        new: String,
    },
    /// A list of revocations is not one.
    #[error("the list of revocations is refused: {0}")]
    ListMalformed(&'static str),
    /// A list of revocations is not the authority's.
    #[error("the list of revocations is refused: no authority that this node trusts has signed it")]
    ListSignature,
    /// A list of revocations of another cluster.
    #[error("the list of revocations is refused: it is of cluster {0:?}")]
    ListOfOtherCluster(String),
    /// A list of revocations is not newer than what is known.
    #[error("the list of revocations is refused: its epoch {offered} is not above {known}")]
    ListNotNewer {
        /// The list's.
        offered: u64,
        /// Ours.
        known: u64,
    },
    /// As many as a list can hold are revoked.
    #[error(
        "{0} certificates that are still good would be revoked, more than a list holds: begin a \
         new authority"
    )]
    TooManyRevoked(usize),
    /// A certificate is refused.
    #[error("the certificate of {name:?} ({serial}) is refused: {refusal}")]
    Refused {
        /// Whose it says it is.
        name: String,
        /// Its number.
        serial: Serial,
        /// Why.
        refusal: Refusal,
    },
    /// A peer is refused before anything of its certificate is believed.
    #[error("the peer is refused: {0}")]
    Peer(Refusal),
    /// The cryptography gave up, which it does not do.
    #[error("{0} could not be made; the system's randomness or memory is exhausted")]
    Cryptography(&'static str),
    /// TLS cannot be set up with these.
    #[error("TLS cannot be set up with these files: {0}")]
    Tls(#[from] rustls::Error),
}

impl IdentityError {
    /// Why a peer was refused, when it was.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } | Self::Peer(refusal) => Some(*refusal),
            _ => None,
        }
    }
}

/// Why a peer is not let in. Its [`name`](Refusal::name) is what counters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It brought none.
    #[error("it has no certificate")]
    NoCertificate,
    /// Larger, or more of them, than any of ours.
    #[error("its certificates are larger than any of ours")]
    TooLarge,
    /// Not a certificate of a node, by its form.
    #[error("its certificate is none of a node")]
    Malformed,
    /// Signed by somebody else, or changed after it was signed.
    #[error("the authority of this cluster has not signed its certificate as it is")]
    UnknownAuthority,
    /// Too late.
    #[error("its certificate has expired: issue a new one")]
    Expired,
    /// Too early.
    #[error("its certificate is not valid yet: look at the clocks of both machines")]
    NotYetValid,
    /// Taken back.
    #[error("its certificate was revoked")]
    Revoked,
    /// For another cluster.
    #[error("its certificate is for another cluster")]
    OtherCluster,
    /// For other use.
    #[error("its certificate is not for nodes: one for client and server is needed")]
    WrongPurpose,
    /// The authority's certificate is nobody's identity.
    #[error("it shows the certificate of an authority as its own")]
    AuthorityAsNode,
    /// It does not hold the key of its certificate.
    #[error("it does not hold the key of its certificate")]
    NotItsKey,
    /// It speaks something else, or says nothing.
    #[error("it does not speak wireloom/1")]
    OtherProtocol,
    /// It speaks no TLS 1.3, or none of our ciphers.
    #[error("it speaks no TLS 1.3 as we do")]
    OldTls,
    /// The authority itself has ended.
    #[error("the authority of this cluster has expired: begin a new one")]
    AuthorityExpired,
    /// The clock cannot be read.
    #[error("this machine's clock cannot be read")]
    NoClock,
    /// Something that the names above do not say.
    #[error("its certificate is not acceptable")]
    Unacceptable,
}

impl Refusal {
    /// Every one, for tables of counters.
    pub const ALL: [Self; 16] = [
        Self::NoCertificate,
        Self::TooLarge,
        Self::Malformed,
        Self::UnknownAuthority,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::OtherCluster,
        Self::WrongPurpose,
        Self::AuthorityAsNode,
        Self::NotItsKey,
        Self::OtherProtocol,
        Self::OldTls,
        Self::AuthorityExpired,
        Self::NoClock,
        Self::Unacceptable,
    ];

    /// As counters and scripts write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::UnknownAuthority => "unknown_authority",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::OtherCluster => "other_cluster",
            Self::WrongPurpose => "wrong_purpose",
            Self::AuthorityAsNode => "authority_as_node",
            Self::NotItsKey => "not_its_key",
            Self::OtherProtocol => "other_protocol",
            Self::OldTls => "old_tls",
            Self::AuthorityExpired => "authority_expired",
            Self::NoClock => "no_clock",
            Self::Unacceptable => "unacceptable",
        }
    }

    /// Why a handshake failed here, when it was for what the peer is or speaks. None for what the
    /// peer says in an alert, and for bytes that are no TLS.
    #[must_use]
    pub fn of(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::NoCertificatesPresented => Some(Self::NoCertificate),
            rustls::Error::NoApplicationProtocol
            | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
                Some(Self::OtherProtocol)
            }
            rustls::Error::PeerIncompatible(
                PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls13RequiredForQuic
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoKxGroupsInCommon,
            ) => Some(Self::OldTls),
            rustls::Error::InvalidCertificate(error) => Some(Self::of_certificate(error)),
            _ => None,
        }
    }

    /// What rustls' verifier says, or what [`Self::to_tls`] made of ours.
    pub(crate) fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::BadEncoding => Self::Malformed,
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::BadSignature => Self::NotItsKey,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongPurpose
            }
            CertificateError::Other(OtherError(inner)) => {
                inner.downcast_ref::<Self>().copied().unwrap_or(Self::Unacceptable)
            }
            _ => Self::Unacceptable,
        }
    }

    /// As rustls wants it: with the alert that tells the peer, where there is one.
    pub(crate) fn to_tls(self) -> rustls::Error {
        let error = match self {
            Self::NoCertificate => return rustls::Error::NoCertificatesPresented,
            Self::Expired => CertificateError::Expired,
            Self::NotYetValid => CertificateError::NotValidYet,
            Self::Revoked => CertificateError::Revoked,
            Self::Malformed => CertificateError::BadEncoding,
            Self::UnknownAuthority => CertificateError::UnknownIssuer,
            Self::WrongPurpose => CertificateError::InvalidPurpose,
            other => CertificateError::Other(OtherError(Arc::new(other))),
        };
        error.into()
    }
}

//! Who a node is: the cluster's authority, certificates of nodes, revocations, and the TLS settings
//! made of them.
//!
//! Knows files and keys, and neither sockets nor threads: whoever owns time calls
//! [`Credentials::poll_files`]. Nothing here is on the way of an event. Whatever bytes a peer or a
//! file brings, their size is looked at first, and a value or a name of what is wrong comes back.
//!
//! | to | see |
//! |---|---|
//! | begin a cluster, make and take back certificates | [`Authority`] |
//! | be a node: settings of TLS, who the peer is | [`Credentials`], [`PeerIdentity`] |
//! | read a certificate, for a person | [`Certificate`] |
//! | know which certificates are taken back | [`RevocationList`] |
//! | sign events, and know who signed them | [`Tree`], [`Credentials::sign_root`], [`PublicKey`] |
//! | name why a handshake was refused | [`Refusal`] |
//!
//! `docs/security.md` says how they are used, and what a stolen file means.
#![forbid(unsafe_code)]

mod authority;
mod certificate;
mod credentials;
mod error;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod key;
mod name;
mod pem;
mod revocations;
mod serial;
mod signing;
mod tls;
mod tree;

pub use authority::{Authority, IssueRequest, Issued, IssuedFiles, OutDir, Revoked};
pub use certificate::{CERTIFICATE_BYTES_MAX, Certificate, PeerIdentity};
pub use credentials::{CredentialPaths, Credentials, Swapped};
pub use error::{IdentityError, Refusal};
pub use revocations::{LIST_BYTES_MAX, RevocationList, SERIALS_MAX};
pub use serial::{NoSerial, Serial};
pub use signing::{PublicKey, Signature};
pub use tls::{ALPN, CLOCK_TOLERANCE_S, server_name};
pub use tree::{Hash, Tree, leaf_hash, root_of_path};

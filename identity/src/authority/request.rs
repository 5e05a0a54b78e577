//! What an authority is asked for, and what it answers.

use std::path::{Path, PathBuf};

use super::index::Issued;
use crate::credentials::CredentialPaths;
use crate::revocations::RevocationList;

/// A certificate to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueRequest {
    /// The node's name: 1 to 64 bytes without control characters.
    pub node: String,
    /// What it may do, as policies name it; at most 16.
    pub roles: Vec<String>,
    /// What it may offer.
    pub services: Vec<String>,
    /// For how many days, 1 to 366.
    pub days: u32,
}

impl IssueRequest {
    /// Days of a certificate when nothing else is said.
    pub const DAYS: u32 = 30;

    /// A node without roles and services, for 30 days.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self { node: node.to_owned(), roles: Vec::new(), services: Vec::new(), days: Self::DAYS }
    }
}

/// Where a node's files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutDir {
    /// The folder; made when it is not there, for its owner alone.
    pub folder: PathBuf,
    /// Whether a certificate and key that are there are replaced.
    pub replace: bool,
}

/// A node's files, as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuedFiles {
    /// What was issued.
    pub issued: Issued,
    /// The certificate and the authority's.
    pub certificate: PathBuf,
    /// The key, 0600.
    pub key: PathBuf,
    /// The list of revocations.
    pub revocations: PathBuf,
}

impl IssuedFiles {
    pub(super) fn of(folder: &Path, node: &str, issued: Issued) -> Self {
        let CredentialPaths { certificate, key, .. } = CredentialPaths::of_node(folder, node);
        Self { issued, certificate, key, revocations: folder.join("revoked.wl") }
    }
}

/// What was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revoked {
    /// Certificates that are revoked since now; none when all were.
    pub new: Vec<Issued>,
    /// The list from now on.
    pub list: RevocationList,
}

//! What a builder is told of security, and whether a node may be reached as it is.

use std::path::Path;

use wireloom_identity::Credentials;
use wireloom_wire::Priority;

use super::{NodeBuilder, NodeError};
use crate::access::Policy;
use crate::keying::Protection;
use crate::reach::beyond_this_host;

impl NodeBuilder {
    /// Proves who this node is by its certificate, and speaks to nodes of its cluster's authority
    /// alone: reliable links are TLS 1.3, datagrams are sealed by keys that such links bring, and a
    /// peer is who its certificate says. The certificate's name must be this node's, else others
    /// refuse its links. Events of [signed types](crate::Event::SIGNED) are signed with its key.
    /// The first datagram to an address waits for a handshake (some milliseconds, a second at
    /// most); with [`NodeBuilder::protect`] they cost less and hide less.
    #[must_use]
    pub fn credentials(mut self, credentials: &Credentials) -> Self {
        self.security.credentials(credentials.clone());
        self
    }

    /// How datagrams of a priority are protected, with [`NodeBuilder::credentials`]; encrypted
    /// unless told otherwise. What is asked of others' is the same, so all nodes are to be told
    /// alike. Priorities that share a lane ([`Levels::Three`](crate::Levels::Three)) have the
    /// better protection of both.
    #[must_use]
    pub const fn protect(mut self, priority: Priority, protection: Protection) -> Self {
        self.setup.protections[priority.lane() as usize] = protection;
        self
    }

    /// Lets other hosts reach the node although it has no certificate: whoever can send to it can
    /// publish under any name, and whoever can listen on its network can read its events. Without
    /// this word such a node does not start. [`Node::is_insecure`](crate::Node::is_insecure) and
    /// [`Node::notes`](crate::Node::notes) say it as long as the node runs.
    #[must_use]
    pub const fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// Holds other nodes to this policy from the start, before anything is subscribed to;
    /// [`Node::apply_policy`](crate::Node::apply_policy) exchanges it while the node runs.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.security.policy(policy);
        self
    }

    /// Has what the node refuses and decides about security written into a file, a line of JSON
    /// each, by a thread that looks once a second: what other nodes may not, links and packets
    /// that are not trusted, policies put in force, certificates and revocations taken, a start
    /// that was [insecure](NodeBuilder::insecure). For its owner alone; plain ASCII; at most
    /// [`AUDIT_LINES_PER_SECOND`](crate::AUDIT_LINES_PER_SECOND) and
    /// [`AUDIT_BYTES_MAX`](crate::AUDIT_BYTES_MAX), the file before staying as `FILE.1`. Simulated
    /// nodes have none.
    #[must_use]
    pub fn audit(mut self, file: &Path) -> Self {
        self.security.audit(file.to_owned());
        self
    }

    /// A node that other hosts reach has a certificate and seals everything, or was told that it
    /// need not.
    pub(super) fn check_reach(&mut self) -> Result<(), NodeError> {
        let places = beyond_this_host(&self.setup.plane);
        let seals = !self.setup.protections.contains(&Protection::Off);
        if places.is_empty() || self.setup.credentials.is_some() && seals {
            self.insecure = false;
            return Ok(());
        }
        let places = places.join(", ");
        if !self.insecure {
            return Err(NodeError::Insecure { places });
        }
        self.notes.push(format!(
            "insecure: other hosts reach this node at {places}, and nobody proves who they are: \
             whoever can send there can publish under any name, whoever can listen there can read"
        ));
        Ok(())
    }
}

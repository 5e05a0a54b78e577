//! What a node's security begins with: credentials, policy and audit log, each given to the builder
//! or named as a file by the configuration. Read and opened before there is a socket.

use std::path::PathBuf;

use wireloom_identity::{CredentialPaths, Credentials};

use crate::access::Policy;
use crate::audit::AuditLog;
use crate::builder::{NodeError, Setup};
use crate::config::SecuritySettings;
use crate::node::Node;

/// As the builder holds it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Security {
    credentials: Option<Given<Credentials>>,
    policy: Option<Given<Policy>>,
    audit: Option<PathBuf>,
}

/// A value, or where it is read from when the node starts.
#[derive(Debug, Clone)]
enum Given<T> {
    Value(T),
    At(PathBuf),
}

/// All of it, read.
#[derive(Debug)]
pub(crate) struct Ready {
    credentials: Option<Credentials>,
    policy: Option<Policy>,
    audit: Option<AuditLog>,
}

impl Security {
    pub(crate) fn credentials(&mut self, credentials: Credentials) {
        self.credentials = Some(Given::Value(credentials));
    }

    pub(crate) fn policy(&mut self, policy: Policy) {
        self.policy = Some(Given::Value(policy));
    }

    pub(crate) fn audit(&mut self, path: PathBuf) {
        self.audit = Some(path);
    }

    /// What a configuration says of it; what it leaves open stays.
    pub(crate) fn configure(&mut self, settings: SecuritySettings) {
        let SecuritySettings { credentials, policy, audit, .. } = settings;
        self.credentials = credentials.map(Given::At).or_else(|| self.credentials.take());
        self.policy = policy.map(Given::At).or_else(|| self.policy.take());
        self.audit = audit.or_else(|| self.audit.take());
    }

    /// Reads what is to be read; the setup gets its credentials.
    pub(crate) fn ready(self, setup: &mut Setup) -> Result<Ready, NodeError> {
        let Self { credentials, policy, audit } = self;
        let credentials = match credentials {
            Some(Given::At(folder)) => {
                let paths = CredentialPaths::of_node(&folder, &setup.name);
                Some(Credentials::load(paths).map_err(NodeError::Credentials)?)
            }
            Some(Given::Value(credentials)) => Some(credentials),
            None => None,
        };
        setup.credentials.clone_from(&credentials);
        setup.checks.signer.clone_from(&credentials);
        let policy = match policy {
            Some(Given::At(path)) => Some(Policy::load(&path).map_err(NodeError::Policy)?),
            Some(Given::Value(policy)) => Some(policy),
            None => None,
        };
        let opened = |path: PathBuf| {
            AuditLog::open(&path).map_err(|source| NodeError::Audit { path, source })
        };
        Ok(Ready { credentials, policy, audit: audit.map(opened).transpose()? })
    }
}

impl Ready {
    /// The same for a simulated node, whose time no thread knows.
    pub(crate) fn without_audit(self) -> Self {
        Self { audit: None, ..self }
    }
}

impl Node {
    /// Before anything is subscribed to.
    pub(crate) fn begin_security(&self, ready: Ready) -> Result<(), NodeError> {
        let Ready { credentials, policy, audit } = ready;
        if let Some(policy) = policy {
            self.apply_policy(Some(policy))?;
        }
        audit.map_or(Ok(()), |log| self.begin_audit(log, credentials)).map_err(NodeError::Thread)
    }
}

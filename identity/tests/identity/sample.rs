//! A cluster for a test: an authority in a folder of its own, a clock that is set by hand, and two
//! ends of TLS that talk through memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use wireloom_identity::{Authority, Credentials, IssueRequest, Refusal, server_name};

/// When tests happen: 2027-01-15.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const DAY: u64 = 24 * 3_600;

/// A clock that stands until it is set.
#[derive(Debug)]
pub(crate) struct Clock(pub(crate) AtomicU64);

impl Clock {
    pub(crate) fn at(unix_s: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(unix_s)))
    }

    pub(crate) fn set(&self, unix_s: u64) {
        self.0.store(unix_s, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let time = std::time::Duration::from_secs(self.0.load(Ordering::Relaxed));
        Some(UnixTime::since_unix_epoch(time))
    }
}

/// A folder of a test, removed with it.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wireloom-identity-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a temporary folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority of the cluster `plant`, begun at [`NOW`].
pub(crate) fn authority(folder: &Folder) -> Authority {
    Authority::create(&folder.path().join("ca"), "plant", NOW).expect("an authority")
}

/// Credentials that this authority has issued, by a clock that stands at [`NOW`].
pub(crate) fn node(authority: &Authority, name: &str) -> Credentials {
    let mut request = IssueRequest::new(name);
    request.roles = vec!["sensor".to_owned()];
    request.services = vec!["sum/total".to_owned()];
    let (certificate, key) = authority.issue_texts(&request, NOW).expect("a certificate");
    let list = authority.revocations().expect("a list");
    let list = Some(list.as_bytes());
    Credentials::from_texts(&certificate, key.as_bytes(), list, Clock::at(NOW)).expect("good")
}

/// What became of a handshake at each end.
pub(crate) struct Ends {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
    /// What each end says went wrong; none when its handshake is done.
    pub(crate) told: (Option<rustls::Error>, Option<rustls::Error>),
}

impl Ends {
    pub(crate) fn is_done(&self) -> bool {
        self.told == (None, None) && !self.client.is_handshaking() && !self.server.is_handshaking()
    }

    /// Why the client refused the server, if it did.
    pub(crate) fn client_refusal(&self) -> Option<Refusal> {
        Refusal::of(self.told.0.as_ref()?)
    }

    /// Why the server refused the client, if it did.
    pub(crate) fn server_refusal(&self) -> Option<Refusal> {
        Refusal::of(self.told.1.as_ref()?)
    }
}

/// Runs a handshake until neither end has anything to say.
pub(crate) fn handshake(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Ends {
    let client = ClientConnection::new(client, server_name()).expect("a client");
    let server = ServerConnection::new(server).expect("a server");
    let mut ends = Ends { client, server, told: (None, None) };
    loop {
        let mut moved = false;
        let mut bytes = Vec::new();
        while ends.client.wants_write() {
            ends.client.write_tls(&mut bytes).expect("memory");
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() && ends.told.1.is_none() {
            moved = true;
            ends.server.read_tls(&mut rest).expect("memory");
            ends.told.1 = ends.server.process_new_packets().err();
        }
        let mut bytes = Vec::new();
        while ends.server.wants_write() {
            ends.server.write_tls(&mut bytes).expect("memory");
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() && ends.told.0.is_none() {
            moved = true;
            ends.client.read_tls(&mut rest).expect("memory");
            ends.told.0 = ends.client.process_new_packets().err();
        }
        if !moved {
            return ends;
        }
    }
}

/// A handshake between two credentials: the first dials.
pub(crate) fn meet(client: &Credentials, server: &Credentials) -> Ends {
    handshake(client.client_config(), server.server_config())
}

//! What a node is and whom it trusts, exchanged while it runs. Shared by every link; swapped by
//! whoever owns time.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{ClientConfig, CommonState, ProtocolVersion, ServerConfig};
use zeroize::{Zeroize as _, Zeroizing};

use crate::certificate::{FILE_BYTES_MAX, Held, PeerIdentity, held};
use crate::error::{IdentityError, Refusal};
use crate::files::{self, Stamp};
use crate::key::Key;
use crate::pem;
use crate::revocations::{LIST_BYTES_MAX, LISTS_MAX, RevocationList};
use crate::tls::{ALPN, End, Live, Trust, configs};

/// How often [`Credentials::poll_files`] looks.
const LOOK_EVERY_NS: u64 = 1_000_000_000;

/// Where the files of a node are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialPaths {
    /// The node's certificate, then those of the authorities it trusts, PEM.
    pub certificate: PathBuf,
    /// The certificate's key, PKCS#8 PEM, readable by its owner alone.
    pub key: PathBuf,
    /// The list of revocations, where there is one.
    pub revocations: Option<PathBuf>,
}

impl CredentialPaths {
    /// As `wireloom ca issue` writes them into a folder: `NAME.pem`, `NAME.key`, `revoked.wl`.
    #[must_use]
    pub fn of_node(folder: &Path, name: &str) -> Self {
        let name = crate::name::encoded(name);
        Self {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
            revocations: Some(folder.join("revoked.wl")),
        }
    }
}

/// What a swap has changed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Swapped {
    /// The node has another certificate, or trusts other authorities.
    pub certificate: bool,
    /// Other certificates are revoked.
    pub revocations: bool,
    /// [`Credentials::epoch`] from now on.
    pub epoch: u64,
    /// Why the list is not in its file, when it should be and is not. It is in effect all the same.
    pub not_saved: Option<IdentityError>,
}

/// A node's certificate and key, whom it trusts, and the settings of TLS made of them. Cheap to
/// clone; every clone sees a swap at once, and a handshake under way by its next check.
#[derive(Clone)]
pub struct Credentials {
    shared: Arc<Shared>,
}

struct Shared {
    paths: Option<CredentialPaths>,
    clock: Arc<dyn TimeProvider>,
    live: Arc<Live>,
    own: RwLock<Arc<Own>>,
    epoch: AtomicU64,
    /// Held by whoever swaps.
    watch: Mutex<Watch>,
}

/// What this node shows to others.
struct Own {
    identity: PeerIdentity,
    /// The certificate and its authorities, as the file has them.
    chain: Vec<Held>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    key: Key,
}

#[derive(Default)]
struct Watch {
    looked_ns: Option<u64>,
    stamps: [Stamp; 3],
}

/// The texts of the three files.
struct Texts {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    revocations: Option<Vec<u8>>,
}

impl Credentials {
    /// Reads the files of a node, checks that they fit each other and are good now.
    ///
    /// # Errors
    /// Which file is wrong and why; a key that others can read is.
    pub fn load(paths: CredentialPaths) -> Result<Self, IdentityError> {
        Self::load_at(paths, Arc::new(DefaultTimeProvider))
    }

    /// As [`Credentials::load`], by another clock: a simulation's.
    ///
    /// # Errors
    /// As [`Credentials::load`].
    pub fn load_at(
        paths: CredentialPaths,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<Self, IdentityError> {
        let watch = Watch { looked_ns: None, stamps: stamps(&paths) };
        let texts = read(&paths)?;
        Self::new(Some(paths), &texts, clock, watch)
    }

    /// From texts in memory: what the three files would hold. [`Credentials::reload`] and
    /// [`Credentials::poll_files`] find nothing new then.
    ///
    /// # Errors
    /// As [`Credentials::load`].
    pub fn from_texts(
        certificate: &[u8],
        key: &[u8],
        revocations: Option<&[u8]>,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<Self, IdentityError> {
        let texts = Texts {
            certificate: certificate.to_vec(),
            key: Zeroizing::new(key.to_vec()),
            revocations: revocations.map(<[u8]>::to_vec),
        };
        Self::new(None, &texts, clock, Watch::default())
    }

    fn new(
        paths: Option<CredentialPaths>,
        texts: &Texts,
        clock: Arc<dyn TimeProvider>,
        watch: Watch,
    ) -> Result<Self, IdentityError> {
        let place =
            paths.as_ref().map_or_else(|| Path::new("the text"), |paths| &paths.certificate);
        let chain = chain_of(&texts.certificate, place)?;
        let mut trust = Trust::new(&chain[1..], None)?;
        take_lists(&mut trust, texts)?;
        let identity = check_own(&trust, &clock, &chain)?;
        let live = Arc::new(Live::new(trust));
        let own = Own::new((&live, &clock), identity, chain, &texts.key)?;
        let shared = Shared {
            paths,
            clock,
            live,
            own: RwLock::new(Arc::new(own)),
            epoch: AtomicU64::new(1),
            watch: Mutex::new(watch),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What the dialling end of a link needs: TLS 1.3, our protocol, our certificate, the hybrid
    /// key exchange first, no resumption and no early data. Take it anew for each connection. The
    /// name to dial with is [`server_name`](crate::server_name).
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.own().client)
    }

    /// What the accepting end needs; it requires the client's certificate. Take it anew for each
    /// connection.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.own().server)
    }

    /// Who showed these certificates: signed, in time, of this cluster and not revoked, by what is
    /// known now. About 35 µs. That the peer holds the key, only a handshake tells: see
    /// [`Credentials::peer_of_connection`].
    ///
    /// # Errors
    /// [`IdentityError::Refused`] or [`IdentityError::Peer`], with the reason.
    pub fn peer_of(&self, chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, IdentityError> {
        let now = self.now()?;
        self.shared.live.get().check(chain, End::Client, now).map_err(IdentityError::Peer)
    }

    /// Who is at the other end of a connection whose handshake is done: TLS 1.3, our protocol
    /// (which a client may leave unsaid), and [`Credentials::peer_of`] its certificates.
    ///
    /// # Errors
    /// As [`Credentials::peer_of`], with [`Refusal::OtherProtocol`] and [`Refusal::OldTls`] too.
    pub fn peer_of_connection(
        &self,
        connection: &CommonState,
    ) -> Result<PeerIdentity, IdentityError> {
        if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Err(IdentityError::Peer(Refusal::OldTls));
        }
        if connection.alpn_protocol() != Some(ALPN) {
            return Err(IdentityError::Peer(Refusal::OtherProtocol));
        }
        self.peer_of(connection.peer_certificates().unwrap_or_default())
    }

    /// Moves with each swap: a link that sees another number than at its handshake asks
    /// [`Credentials::peer_of`] again. One load.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> PeerIdentity {
        self.own().identity.clone()
    }

    /// The cluster this node belongs to.
    #[must_use]
    pub fn cluster(&self) -> String {
        self.shared.live.get().cluster().to_owned()
    }

    /// Why others refuse this node's own certificate by now, if they do: expired or revoked.
    #[must_use]
    pub fn own_refusal(&self) -> Option<Refusal> {
        let own = self.own();
        self.peer_of(std::slice::from_ref(&own.chain[0].der)).err()?.refusal()
    }

    /// Whether this node's certificate ends within this time, or has ended.
    #[must_use]
    pub fn expires_within(&self, time: Duration) -> bool {
        let expires = self.own().identity.expires_unix_s;
        self.now().is_ok_and(|now| now.as_secs().saturating_add(time.as_secs()) >= expires)
    }

    /// The lists of revocations in effect, one of each authority that has said one, to be told to
    /// others as [`RevocationList::as_bytes`].
    #[must_use]
    pub fn revocations(&self) -> Vec<Arc<RevocationList>> {
        self.shared.live.get().revocations()
    }

    /// Takes a list that was heard from elsewhere, when an authority of ours has signed it and it
    /// is newer than the one known of that authority; writes what is known then into its file,
    /// where there is one.
    ///
    /// # Errors
    /// `ListMalformed`, `ListSignature`, `ListOfOtherCluster`, `ListNotNewer`; nothing has changed.
    pub fn offer_revocations(&self, bytes: &[u8]) -> Result<Swapped, IdentityError> {
        let list = RevocationList::parse(bytes)?;
        let _swapping = self.swapping();
        let known = self.shared.live.get();
        let mut trust = known.again()?;
        let epoch = list.epoch();
        trust.take(list)?;
        let lists = trust.revocations();
        if lists == known.revocations() {
            return Err(IdentityError::ListNotNewer { offered: epoch, known: epoch });
        }
        self.shared.live.set(trust);
        let epoch = self.advance();
        let bytes: Vec<u8> = lists.iter().flat_map(|list| list.as_bytes()).copied().collect();
        let file = self.shared.paths.as_ref().and_then(|paths| paths.revocations.as_ref());
        let written = file.map(|file| files::write(file, &bytes, files::PUBLIC, true));
        let not_saved = written.and_then(Result::err);
        Ok(Swapped { revocations: true, epoch, not_saved, ..Swapped::default() })
    }

    /// Looks, once a second at most, whether the files have changed, and takes what is in them.
    /// `now_ns` is of any clock that only grows. Three looks at names otherwise: some microseconds.
    ///
    /// # Errors
    /// What is wrong with the new files, once; the credentials stay as they were.
    pub fn poll_files(&self, now_ns: u64) -> Result<Option<Swapped>, IdentityError> {
        let Some(paths) = &self.shared.paths else { return Ok(None) };
        {
            let mut watch = self.swapping();
            let soon = |looked: u64| now_ns.saturating_sub(looked) < LOOK_EVERY_NS;
            if watch.looked_ns.is_some_and(soon) {
                return Ok(None);
            }
            watch.looked_ns = Some(now_ns);
            // Before they are read: what is written in between is seen by the next look.
            let stamps = stamps(paths);
            if stamps == watch.stamps {
                return Ok(None);
            }
            watch.stamps = stamps;
        }
        let swapped = self.reload()?;
        Ok((swapped.certificate || swapped.revocations).then_some(swapped))
    }

    /// Reads the files again and takes what is new in them.
    ///
    /// # Errors
    /// What is wrong with them: everything stays as it was. That a certificate names another node
    /// and that a list is older than the one known are faults too.
    pub fn reload(&self) -> Result<Swapped, IdentityError> {
        let Some(paths) = &self.shared.paths else {
            return Ok(Swapped { epoch: self.epoch(), ..Swapped::default() });
        };
        let texts = read(paths)?;
        let _swapping = self.swapping();
        let (before, trust) = (self.own(), self.shared.live.get());
        let chain = chain_of(&texts.certificate, &paths.certificate)?;
        let mut next = Trust::new(&chain[1..], Some(&trust))?;
        if next.cluster() != trust.cluster() {
            return Err(IdentityError::Peer(Refusal::OtherCluster));
        }
        take_lists(&mut next, &texts)?;
        let certificate = chain.len() != before.chain.len()
            || chain.iter().zip(&before.chain).any(|(new, old)| new.der != old.der);
        let revocations = next.revocations() != trust.revocations();
        let identity = check_own(&next, &self.shared.clock, &chain)?;
        if identity.name != before.identity.name {
            return Err(IdentityError::OtherNode {
                old: before.identity.name.clone(),
                new: identity.name,
            });
        }
        // The key is looked at even when it alone is new.
        let own = Own::new((&self.shared.live, &self.shared.clock), identity, chain, &texts.key)?;
        if !certificate && !revocations {
            return Ok(Swapped { epoch: self.epoch(), ..Swapped::default() });
        }
        self.shared.live.set(next);
        *self.shared.own.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(own);
        Ok(Swapped { certificate, revocations, epoch: self.advance(), not_saved: None })
    }

    /// What the node's key makes of something.
    pub(crate) fn with_key<T>(&self, make: impl FnOnce(&Key) -> T) -> T {
        make(&self.own().key)
    }

    fn own(&self) -> Arc<Own> {
        Arc::clone(&self.shared.own.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn swapping(&self) -> MutexGuard<'_, Watch> {
        self.shared.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self) -> u64 {
        self.shared.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn now(&self) -> Result<UnixTime, IdentityError> {
        self.shared.clock.current_time().ok_or(IdentityError::Peer(Refusal::NoClock))
    }
}

impl Own {
    fn new(
        (live, clock): (&Arc<Live>, &Arc<dyn TimeProvider>),
        identity: PeerIdentity,
        chain: Vec<Held>,
        key: &[u8],
    ) -> Result<Self, IdentityError> {
        let certified = certified(&chain[0], key)?;
        let (client, server) = configs(live, clock, certified)?;
        // It has just been read as one.
        let key = Key::from_pem(key).map_err(|_| IdentityError::Cryptography("a key"))?;
        Ok(Self { identity, chain, client, server, key })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = formatter.debug_struct("Credentials");
        written.field("identity", &self.own().identity).field("epoch", &self.epoch());
        written.finish_non_exhaustive()
    }
}

/// The certificate with its key, which must fit.
fn certified(own: &Held, key: &[u8]) -> Result<CertifiedKey, IdentityError> {
    let wrong = |why| IdentityError::Content { path: PathBuf::from("the key"), what: "key", why };
    let mut der = pem::key(key).map_err(wrong)?;
    let signer = any_eddsa_type(&der);
    der.zeroize();
    // The peer has the authority's certificate, or does not trust it.
    let certified = CertifiedKey::new(vec![own.der.clone()], signer?);
    let name = || own.says.node.clone().unwrap_or_default();
    certified.keys_match().map_err(|_| IdentityError::KeyOfAnother(name()))?;
    Ok(certified)
}

/// The node's own certificate, asked what every peer will ask of it.
fn check_own(
    trust: &Trust,
    clock: &Arc<dyn TimeProvider>,
    chain: &[Held],
) -> Result<PeerIdentity, IdentityError> {
    let now = clock.current_time().ok_or(IdentityError::Peer(Refusal::NoClock))?;
    let own = std::slice::from_ref(&chain[0].der);
    let checked = [End::Client, End::Server].map(|end| trust.check(own, end, now));
    let [client, server] = checked;
    let identity = server.and(client);
    identity.map_err(|refusal| IdentityError::Refused {
        name: chain[0].says.node.clone().unwrap_or_default(),
        serial: chain[0].says.serial,
        refusal,
    })
}

/// The node's certificate and at least one of an authority, all of one cluster.
fn chain_of(text: &[u8], place: &Path) -> Result<Vec<Held>, IdentityError> {
    let wrong = |why: &str| IdentityError::Content {
        path: place.to_owned(),
        what: "file of a node's certificate with its authority's behind it",
        why: why.to_owned(),
    };
    let chain = held(text).map_err(|why| wrong(&why))?;
    match chain.split_first() {
        Some((_, [])) | None => Err(wrong("it holds one certificate")),
        Some((_, authorities)) if !authorities.iter().all(|of| of.says.is_authority) => {
            Err(wrong("what stands behind the first certificate is no authority's"))
        }
        Some((_, [first, rest @ ..])) => {
            let same = rest.iter().all(|of| of.says.cluster == first.says.cluster);
            if same { Ok(chain) } else { Err(wrong("its authorities are of several clusters")) }
        }
    }
}

/// Takes the lists of the file: those of authorities that are not trusted (any more) are passed
/// over when another is ours.
fn take_lists(trust: &mut Trust, texts: &Texts) -> Result<(), IdentityError> {
    let Some(text) = &texts.revocations else { return Ok(()) };
    let mut told = Ok(());
    let mut is_ours = false;
    for list in RevocationList::parse_all(text)? {
        match trust.take(list) {
            Ok(()) => is_ours = true,
            Err(IdentityError::ListSignature) => told = Err(IdentityError::ListSignature),
            Err(error) => return Err(error),
        }
    }
    if is_ours { Ok(()) } else { told }
}

fn read(paths: &CredentialPaths) -> Result<Texts, IdentityError> {
    let list = paths.revocations.as_ref();
    Ok(Texts {
        certificate: files::read(&paths.certificate, FILE_BYTES_MAX)?,
        key: files::read_key(&paths.key)?.0,
        revocations: match list {
            Some(list) => files::read_if_there(list, LISTS_MAX * LIST_BYTES_MAX)?,
            None => None,
        },
    })
}

fn stamps(paths: &CredentialPaths) -> [Stamp; 3] {
    let list = paths.revocations.as_ref();
    let list = list.and_then(|list| files::stamp(list));
    [files::stamp(&paths.certificate), files::stamp(&paths.key), list]
}

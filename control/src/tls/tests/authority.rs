//! A cluster's authority in memory.

use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ED25519, SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use wireloom_wire::NodeId;

use crate::tls::{Credentials, IdentityError, PeerIdentity, Trust};

#[derive(Debug)]
struct AnyName(Arc<RootCertStore>, rustls::crypto::WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let cert = ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &cert,
            &self.0,
            intermediates,
            now,
            self.1.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("no".into()))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.1)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.supported_schemes()
    }
}

type PeerOf = dyn Fn(&[CertificateDer<'_>]) -> Result<PeerIdentity, IdentityError> + Send + Sync;

struct Known {
    client: Arc<rustls::ClientConfig>,
    server: Arc<rustls::ServerConfig>,
    peer: Box<PeerOf>,
    moved: Arc<std::sync::atomic::AtomicU64>,
}

impl Trust for Known {
    fn client_config(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.client)
    }

    fn server_config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.server)
    }

    fn peer_of(&self, chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, IdentityError> {
        (self.peer)(chain)
    }

    fn epoch(&self) -> u64 {
        self.moved.load(std::sync::atomic::Ordering::Acquire)
    }
}

pub(crate) struct Authority {
    cluster: String,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    revoked: Arc<Mutex<Vec<String>>>,
    /// When its certificates end, and whether that is too long ago by now.
    expires_unix_s: Arc<std::sync::atomic::AtomicU64>,
    expired: Arc<std::sync::atomic::AtomicBool>,
    epoch: Arc<std::sync::atomic::AtomicU64>,
}

impl Authority {
    pub(crate) fn new(cluster: &str) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed").der().clone();
        let issuer = Issuer::new(params, key);
        let cluster = cluster.to_owned();
        Self {
            cluster,
            issuer,
            certificate,
            revoked: Arc::default(),
            expires_unix_s: Arc::new(u64::MAX.into()),
            expired: Arc::default(),
            epoch: Arc::default(),
        }
    }

    pub(crate) fn node(&self, name: &str, node: NodeId) -> Credentials {
        self.node_of(&self.cluster, name, node)
    }

    /// A node of another cluster with the same authority.
    pub(crate) fn node_of(&self, cluster: &str, name: &str, node: NodeId) -> Credentials {
        self.speaking(&[b"wireloom/1"], (cluster, name, node))
    }

    /// A node that offers these protocols when it dials.
    pub(crate) fn speaking(
        &self,
        protocols: &[&[u8]],
        (cluster, name, node): (&str, &str, NodeId),
    ) -> Credentials {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let mut params = CertificateParams::default();
        let uri = format!("wireloom://{cluster}/{}/{name}", node.0);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ascii"))];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let own = params.signed_by(&key, &self.issuer).expect("signed").der().clone();
        let (chain, mut roots) = (vec![own], RootCertStore::empty());
        roots.add(self.certificate.clone()).expect("a root");
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let versions = [&rustls::version::TLS13];
        let secret = || PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let verifier = AnyName(Arc::clone(&roots), algorithms);
        let mut client = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .expect("1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(chain.clone(), secret())
            .expect("a key");
        client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        client.resumption = rustls::client::Resumption::disabled();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .expect("1.3")
            .with_client_cert_verifier(verifier.expect("roots"))
            .with_single_cert(chain, secret())
            .expect("a key");
        server.alpn_protocols = vec![b"wireloom/1".to_vec()];
        server.send_tls13_tickets = 0;
        let (cluster, revoked) = (self.cluster.clone(), Arc::clone(&self.revoked));
        let (expires, expired) = (Arc::clone(&self.expires_unix_s), Arc::clone(&self.expired));
        let peer = move |chain: &[CertificateDer<'_>]| {
            let bytes = chain.first().ok_or(IdentityError::Certificate)?;
            let at = bytes.windows(11).position(|text| text == b"wireloom://");
            let at = at.ok_or(IdentityError::Certificate)?;
            let length = usize::from(bytes[at - 1]);
            let uri = String::from_utf8_lossy(&bytes[at + 11..at + length]).into_owned();
            let mut parts = uri.split('/');
            if parts.next() != Some(&cluster) {
                return Err(IdentityError::Cluster);
            }
            let node = parts.next().and_then(|id| id.parse().ok()).expect("an id");
            let name = parts.next().expect("a name").to_owned();
            if revoked.lock().expect("no panic").contains(&name) {
                return Err(IdentityError::Revoked);
            }
            if expired.load(std::sync::atomic::Ordering::Acquire) {
                return Err(IdentityError::Expired);
            }
            let expires_unix_s = expires.load(std::sync::atomic::Ordering::Acquire);
            let (node, public_key, roles) = (NodeId(node), [0; 32], Vec::new());
            Ok(PeerIdentity { node, name, roles, expires_unix_s, public_key })
        };
        Credentials::new(Known {
            client: Arc::new(client),
            server: Arc::new(server),
            peer: Box::new(peer),
            moved: Arc::clone(&self.epoch),
        })
    }

    /// Certificates shown from now on end at this time.
    pub(crate) fn expires(&self, unix_s: u64) {
        self.expires_unix_s.store(unix_s, std::sync::atomic::Ordering::Release);
    }

    /// They have ended, by any clock. Nobody is told.
    pub(crate) fn expire(&self) {
        self.expired.store(true, std::sync::atomic::Ordering::Release);
    }

    pub(crate) fn revoke(&self, name: &str) {
        self.revoked.lock().expect("no panic").push(name.to_owned());
        self.epoch.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
    }
}

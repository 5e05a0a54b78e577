//! Whom TLS lets in: rustls' own WebPKI checks chain, time, purpose and signatures against the
//! cluster's authorities; cluster and revocation are ours. And the settings of both ends.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, PeerIncompatible,
    RootCertStore, ServerConfig, SignatureScheme,
};

use crate::certificate::{CERTIFICATE_BYTES_MAX, CHAIN_MAX, Certificate, Held, PeerIdentity};
use crate::error::{IdentityError, Refusal};
use crate::revocations::RevocationList;

/// The one protocol that is spoken within our TLS.
pub const ALPN: &[u8] = b"wireloom/1";

/// How far the clocks of two machines may be apart for a certificate to be good at both, seconds.
pub const CLOCK_TOLERANCE_S: u64 = 30;

/// The name a dialling end gives to rustls. It is not sent and not compared: who the peer is, its
/// certificate says, which is not known before.
#[must_use]
pub fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
}

/// One authority that this node trusts.
struct Anchor {
    held: Held,
    roots: Arc<RootCertStore>,
    client: Arc<dyn ClientCertVerifier>,
    /// The newest list that it has signed.
    revocations: Option<Arc<RevocationList>>,
}

/// Which end of a connection the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

/// Whom this node trusts, at one time.
pub(crate) struct Trust {
    cluster: String,
    anchors: Vec<Anchor>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    /// Trusts these authorities, all of one cluster. Of those that `known` trusts too, its lists
    /// stay.
    pub(crate) fn new(authorities: &[Held], known: Option<&Self>) -> Result<Self, IdentityError> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let mut anchors = Vec::new();
        for held in authorities {
            let mut roots = RootCertStore::empty();
            roots.add(held.der.clone())?;
            let roots = Arc::new(roots);
            let client = WebPkiClientVerifier::builder_with_provider(
                Arc::clone(&roots),
                Arc::clone(&provider),
            );
            let client = client.build().map_err(|why| rustls::Error::General(why.to_string()))?;
            let by = |anchor: &&Anchor| anchor.held.says.public == held.says.public;
            let known = known.and_then(|known| known.anchors.iter().find(by));
            let revocations = known.and_then(|anchor| anchor.revocations.clone());
            anchors.push(Anchor { held: held.clone(), roots, client, revocations });
        }
        let first = authorities.first().ok_or(IdentityError::Peer(Refusal::UnknownAuthority))?;
        let cluster = first.says.cluster.clone();
        Ok(Self { cluster, anchors, algorithms })
    }

    /// The same authorities and lists, to be changed.
    pub(crate) fn again(&self) -> Result<Self, IdentityError> {
        let held: Vec<Held> = self.anchors.iter().map(|anchor| anchor.held.clone()).collect();
        Self::new(&held, Some(self))
    }

    /// Takes a list that one of the authorities has signed, when it is newer than the one known of
    /// that authority: each counts by itself. The same again is taken too.
    pub(crate) fn take(&mut self, list: RevocationList) -> Result<(), IdentityError> {
        let keys = self.anchors.iter().map(|anchor| &anchor.held.says.public);
        let signer = list.verify(&self.cluster, keys)?;
        let list = Arc::new(list);
        for anchor in self.anchors.iter_mut().filter(|of| of.held.says.public == signer) {
            match &anchor.revocations {
                Some(known) if *known == list => {}
                Some(known) if list.epoch() <= known.epoch() => {
                    let (offered, known) = (list.epoch(), known.epoch());
                    return Err(IdentityError::ListNotNewer { offered, known });
                }
                _ => anchor.revocations = Some(Arc::clone(&list)),
            }
        }
        Ok(())
    }

    /// The newest list of each authority that has one.
    pub(crate) fn revocations(&self) -> Vec<Arc<RevocationList>> {
        let mut lists: Vec<_> =
            self.anchors.iter().filter_map(|anchor| anchor.revocations.clone()).collect();
        // An authority that is trusted by two certificates has one.
        lists.dedup();
        lists
    }

    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Whom an authenticated certificate names, or why it is refused. About 35 µs.
    ///
    /// The chain is checked before our own parser sees a byte. Certificates beside the first are
    /// not looked at: an authority signs nodes, and nobody in between.
    pub(crate) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        end: End,
        now: UnixTime,
    ) -> Result<PeerIdentity, Refusal> {
        let end_entity = chain.first().ok_or(Refusal::NoCertificate)?;
        if chain.len() > CHAIN_MAX || end_entity.len() > CERTIFICATE_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        if self.anchors.iter().any(|anchor| anchor.held.der.as_ref() == end_entity.as_ref()) {
            return Err(Refusal::AuthorityAsNode);
        }
        let mut why = Refusal::UnknownAuthority;
        let mut is_signed = false;
        for anchor in &self.anchors {
            match self.check_by(anchor, end_entity, end, now) {
                Ok(()) => {
                    is_signed = true;
                    break;
                }
                Err(Refusal::UnknownAuthority) => {}
                Err(refusal) => why = refusal,
            }
        }
        if !is_signed {
            return Err(why);
        }
        let says = Certificate::parse(end_entity)?;
        if says.is_authority {
            return Err(Refusal::AuthorityAsNode);
        }
        if says.cluster != self.cluster {
            return Err(Refusal::OtherCluster);
        }
        if !says.for_nodes {
            return Err(Refusal::WrongPurpose);
        }
        let mut lists = self.anchors.iter().filter_map(|anchor| anchor.revocations.as_ref());
        if lists.any(|list| list.is_revoked(says.serial)) {
            return Err(Refusal::Revoked);
        }
        says.identity()
    }

    /// WebPKI's word at `now`, and where the clocks may be apart, at the certificate's own limit.
    fn check_by(
        &self,
        anchor: &Anchor,
        end_entity: &CertificateDer<'_>,
        end: End,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        if now.as_secs() > anchor.held.says.expires_unix_s.saturating_add(CLOCK_TOLERANCE_S) {
            return Err(Refusal::AuthorityExpired);
        }
        let near =
            |a: UnixTime, b: UnixTime| a.as_secs().abs_diff(b.as_secs()) <= CLOCK_TOLERANCE_S;
        let ask = |at| self.ask(anchor, end_entity, end, at);
        let told = match ask(now) {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after: limit,
                ..
            }))
            | Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before: limit,
                ..
            })) if near(limit, now) => ask(limit),
            told => told,
        };
        told.map_err(|error| match &error {
            // Of the certificate here, not of the handshake.
            rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
                Refusal::UnknownAuthority
            }
            _ => Refusal::of(&error).unwrap_or(Refusal::Unacceptable),
        })
    }

    fn ask(
        &self,
        anchor: &Anchor,
        end_entity: &CertificateDer<'_>,
        end: End,
        at: UnixTime,
    ) -> Result<(), rustls::Error> {
        match end {
            End::Client => anchor.client.verify_client_cert(end_entity, &[], at).map(drop),
            End::Server => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                let algorithms = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(
                    &parsed,
                    &anchor.roots,
                    &[],
                    at,
                    algorithms,
                )
            }
        }
    }
}

/// Whom this node trusts now: read by each handshake, exchanged by
/// [`Credentials`](crate::Credentials).
pub(crate) struct Live(RwLock<Arc<Trust>>);

impl Live {
    pub(crate) fn new(trust: Trust) -> Self {
        Self(RwLock::new(Arc::new(trust)))
    }

    pub(crate) fn get(&self) -> Arc<Trust> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, trust: Trust) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trust);
    }

    fn admit(
        &self,
        end_entity: &CertificateDer<'_>,
        beside: &[CertificateDer<'_>],
        end: End,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        if beside.len() >= CHAIN_MAX {
            return Err(Refusal::TooLarge.to_tls());
        }
        let chain = std::slice::from_ref(end_entity);
        self.get().check(chain, end, now).map(drop).map_err(Refusal::to_tls)
    }

    /// That the peer holds the certificate's key.
    fn is_its_key(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.get().algorithms)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Live").field("cluster", &self.get().cluster).finish_non_exhaustive()
    }
}

/// TLS 1.2 is compiled out and configured off.
fn no_tls12() -> rustls::Error {
    rustls::Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled)
}

impl ServerCertVerifier for Live {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.admit(end_entity, intermediates, End::Server, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.is_its_key(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.get().algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Live {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.admit(end_entity, intermediates, End::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.is_its_key(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.get().algorithms.supported_schemes()
    }
}

/// AWS-LC, with the hybrid of X25519 and ML-KEM first and Ed25519 as the only signature.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519];
    let mapping = provider.signature_verification_algorithms.mapping;
    if let Some(ed25519) = mapping.iter().find(|entry| entry.0 == SignatureScheme::ED25519) {
        provider.signature_verification_algorithms =
            WebPkiSupportedAlgorithms { all: ed25519.1, mapping: std::slice::from_ref(ed25519) };
    }
    Arc::new(provider)
}

/// The settings of both ends for one certificate; whom they let in is always what `live` says now.
pub(crate) fn configs(
    live: &Arc<Live>,
    clock: &Arc<dyn TimeProvider>,
    certified: CertifiedKey,
) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), rustls::Error> {
    let versions = &[&rustls::version::TLS13];
    let certified = Arc::new(SingleCertAndKey::from(certified));
    let mut client = ClientConfig::builder_with_details(provider(), Arc::clone(clock))
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(live) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(Arc::clone(&certified) as _);
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();
    client.enable_sni = false;
    client.enable_early_data = false;
    let mut server = ServerConfig::builder_with_details(provider(), Arc::clone(clock))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(Arc::clone(live) as Arc<dyn ClientCertVerifier>)
        .with_cert_resolver(certified);
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;
    Ok((Arc::new(client), Arc::new(server)))
}

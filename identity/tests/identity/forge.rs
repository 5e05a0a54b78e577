//! Certificates that no authority of ours makes, signed by its key all the same: what an attacker
//! with a signature for something else would show.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType, SerialNumber,
};
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use wireloom_identity::{ALPN, Credentials};

/// A certificate and its key.
pub(crate) struct Forged {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

/// A certificate by the key in `folder`, as ours would be but for what `change` does.
pub(crate) fn forge(folder: &Path, change: impl FnOnce(&mut CertificateParams)) -> Forged {
    let text = std::fs::read_to_string(folder.join("ca.key")).expect("the authority's key");
    let ca_key = KeyPair::from_pkcs8_pem_and_sign_algo(&text, &PKCS_ED25519).expect("a key");
    let mut issuer = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Wireloom authority of plant");
    issuer.distinguished_name = subject;
    let issuer = Issuer::new(issuer, ca_key);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&[0x41; 16]));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = vec![uri("wireloom://plant/node/eve")];
    change(&mut params);
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let der = params.signed_by(&key, &issuer).expect("a certificate").der().clone();
    Forged { der, key }
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

pub(crate) fn authority_of_its_own() -> IsCa {
    IsCa::Ca(BasicConstraints::Unconstrained)
}

/// A client that shows this, and trusts whom `like` trusts.
pub(crate) fn client(like: &Credentials, shown: Option<&Forged>) -> Arc<ClientConfig> {
    let mut config = (*like.client_config()).clone();
    config.client_auth_cert_resolver = shown.map_or_else(nobody, |shown| resolver(shown));
    Arc::new(config)
}

/// What shows no certificate.
fn nobody() -> Arc<dyn ResolvesClientCert> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let none = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    none.client_auth_cert_resolver
}

/// A server that shows this, and lets everybody in that `like` lets in.
pub(crate) fn server(like: &Credentials, shown: &Forged) -> Arc<ServerConfig> {
    let mut config = (*like.server_config()).clone();
    config.cert_resolver = resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

fn resolver(shown: &Forged) -> Arc<rustls::sign::SingleCertAndKey> {
    let key = PrivateKeyDer::Pkcs8(shown.key.serialize_der().into());
    let provider: CryptoProvider = aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).expect("a key");
    assert!(key.choose_scheme(&[SignatureScheme::ED25519]).is_some());
    let certified = rustls::sign::CertifiedKey::new(vec![shown.der.clone()], key);
    Arc::new(certified.into())
}

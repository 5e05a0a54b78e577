//! A key pair of Ed25519: what signs, and what is never shown.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::IdentityError;
use crate::pem;

/// The label of a key in its file.
const LABEL: &str = "PRIVATE KEY";

/// A key pair. The secret half lies in AWS-LC's memory, which wipes it.
pub(crate) struct Key(Ed25519KeyPair);

impl Key {
    pub(crate) fn generate() -> Result<Self, IdentityError> {
        Ed25519KeyPair::generate().map(Self).map_err(|_| IdentityError::Cryptography("a key"))
    }

    /// From the text of a file.
    pub(crate) fn from_pem(text: &[u8]) -> Result<Self, String> {
        let mut der = pem::key(text)?;
        let key = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der());
        der.zeroize();
        key.map(Self).map_err(|_| "it holds no Ed25519 key".to_owned())
    }

    pub(crate) fn to_pem(&self) -> Result<Zeroizing<String>, IdentityError> {
        let der = self.0.to_pkcs8v1().map_err(|_| IdentityError::Cryptography("a key's text"))?;
        Ok(pem::encode(LABEL, der.as_ref()))
    }

    pub(crate) fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(..)")
    }
}

impl rcgen::PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.public()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Self::sign(self, message))
    }
}

/// Whether the holder of this public key has signed this.
pub(crate) fn is_signed(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

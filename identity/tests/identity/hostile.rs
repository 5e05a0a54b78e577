//! Bytes from somebody who means harm: the bounded half of the fuzz targets (`identity/fuzz`).

use proptest::prelude::*;
use rustls::pki_types::pem::PemObject as _;
use wireloom_identity::{CERTIFICATE_BYTES_MAX, Certificate, IssueRequest, Refusal, fuzz};

use crate::sample::{Folder, NOW, authority};

#[test]
fn changed_certificates_and_lists_are_refused_or_make_sense() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let mut request = IssueRequest::new("one");
    request.services = vec!["sum".to_owned()];
    let (text, _) = authority.issue_texts(&request, NOW).expect("a certificate");
    let der = rustls::pki_types::CertificateDer::from_pem_slice(&text).expect("ours").to_vec();
    assert!(Certificate::read(&der).is_ok());
    let list = authority.revocations().expect("a list").as_bytes().to_vec();
    for good in [&der, &list] {
        for at in 0..good.len() {
            for change in [1, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= change;
                fuzz::certificate(&bytes);
                fuzz::revocations(&bytes);
            }
            fuzz::certificate(&good[..at]);
            fuzz::revocations(&good[..at]);
        }
    }
}

#[test]
fn a_large_certificate_is_not_parsed() {
    let told = Certificate::read(&vec![0x30; CERTIFICATE_BYTES_MAX + 1]).expect_err("large");
    assert_eq!(told.refusal(), Some(Refusal::TooLarge));
}

proptest! {
    #[test]
    fn whatever_the_bytes_are(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz::certificate(&bytes);
        fuzz::revocations(&bytes);
    }
}

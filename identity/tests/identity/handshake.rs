//! Who is let in, and who is not: real handshakes of rustls, both ends with credentials.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};
use wireloom_identity::{Authority, Credentials, IssueRequest, Refusal};
use wireloom_wire::NodeId;

use crate::forge::{self, authority_of_its_own, forge, uri};
use crate::sample::{Clock, DAY, Folder, NOW, authority, handshake, meet, node};

#[test]
fn two_nodes_of_a_cluster_meet_and_know_each_other() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let (one, two) = (node(&authority, "one"), node(&authority, "größe"));
    let ends = meet(&one, &two);
    assert!(ends.is_done(), "{:?}", ends.told);
    let seen = two.peer_of_connection(&ends.server).expect("one");
    assert_eq!((seen.name.as_str(), seen.node), ("one", NodeId::of_name("one")));
    assert_eq!(seen.roles, ["sensor"]);
    assert_eq!(seen.services, ["sum/total"]);
    assert_eq!(seen.expires_unix_s, NOW + 30 * DAY);
    let seen = one.peer_of(ends.client.peer_certificates().expect("some")).expect("two");
    assert_eq!(seen.name, "größe");
    assert_eq!(seen, two.identity());

    assert_eq!(ends.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = ends.server.negotiated_key_exchange_group().map(|group| group.name());
    assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
    // One round: the hybrid's share is in the first message.
    assert_eq!(ends.client.handshake_kind(), Some(HandshakeKind::Full));
    let suite = ends.client.negotiated_cipher_suite().map(|suite| suite.suite());
    assert!(suite.is_some_and(|suite| suite != CipherSuite::Unknown(0)));
    let again = meet(&one, &two);
    assert_eq!(again.server.handshake_kind(), Some(HandshakeKind::Full), "never resumed");
    let secret = |end: &str, connection: Result<[u8; 32], rustls::Error>| connection.expect(end);
    let label = b"EXPORTER-wireloom data";
    assert_eq!(
        secret("client", ends.client.export_keying_material([0; 32], label, None)),
        secret("server", ends.server.export_keying_material([0; 32], label, None)),
    );
}

/// What each end is told when one of them shows this: the other refuses it, and says why.
fn refused_both_ways(like: &Credentials, shown: &forge::Forged) -> [Option<Refusal>; 2] {
    let dialled = handshake(forge::client(like, Some(shown)), like.server_config());
    let accepted = handshake(like.client_config(), forge::server(like, shown));
    assert!(!dialled.is_done(), "{:?} was let in", like.peer_of(std::slice::from_ref(&shown.der)));
    assert!(
        !accepted.is_done(),
        "{:?} was dialled",
        like.peer_of(std::slice::from_ref(&shown.der))
    );
    assert!(like.peer_of(std::slice::from_ref(&shown.der)).is_err());
    [dialled.server_refusal(), accepted.client_refusal()]
}

#[test]
fn every_wrong_certificate_is_refused_by_its_name() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let ours = node(&authority, "one");
    let ca = folder.path().join("ca");
    let good = forge(&ca, |_| {});
    let ends = handshake(forge::client(&ours, Some(&good)), ours.server_config());
    assert!(ends.is_done(), "without a change it is let in: {:?}", ends.told);

    let other_folder = Folder::new();
    let other = Authority::create(&other_folder.path().join("ca"), "plant", NOW).expect("another");
    let foreign = forge(&other_folder.path().join("ca"), |_| {});
    let elsewhere = forge(&ca, |params| {
        params.subject_alt_names = vec![uri("wireloom://mine/node/eve")];
    });
    let mixed = forge(&ca, |params| {
        params.subject_alt_names.push(uri("wireloom://mine/role/admin"));
    });
    let nobody = forge(&ca, |params| {
        params.subject_alt_names = vec![uri("wireloom://plant/role/admin")];
    });
    let twice = forge(&ca, |params| {
        params.subject_alt_names.push(uri("wireloom://plant/node/one"));
    });
    let web = forge(&ca, |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("one".try_into().unwrap())];
    });
    let signer = forge(&ca, |params| params.is_ca = authority_of_its_own());
    let both = [
        (&foreign, Refusal::UnknownAuthority),
        (&elsewhere, Refusal::OtherCluster),
        (&mixed, Refusal::Malformed),
        (&nobody, Refusal::Malformed),
        (&twice, Refusal::Malformed),
        (&web, Refusal::Malformed),
        (&signer, Refusal::Unacceptable),
    ];
    for (shown, refusal) in both {
        assert_eq!(refused_both_ways(&ours, shown), [Some(refusal); 2], "{refusal}");
    }
    drop(other);
}

#[test]
fn a_certificate_for_one_end_is_for_none() {
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
    let folder = Folder::new();
    let ours = node(&authority(&folder), "one");
    for usage in [vec![ClientAuth], vec![ServerAuth], vec![CodeSigning], vec![]] {
        let shown = forge(&folder.path().join("ca"), |params| params.extended_key_usages = usage);
        assert_eq!(refused_both_ways(&ours, &shown), [Some(Refusal::WrongPurpose); 2]);
    }
}

#[test]
fn the_name_cannot_be_changed() {
    let folder = Folder::new();
    let ours = node(&authority(&folder), "one");
    let mut shown = forge(&folder.path().join("ca"), |_| {});
    let mut bytes = shown.der.to_vec();
    let at = bytes.windows(8).position(|part| part == b"node/eve").expect("its name");
    bytes[at + 5..at + 8].copy_from_slice(b"one");
    shown.der = bytes.into();
    assert_eq!(refused_both_ways(&ours, &shown), [Some(Refusal::UnknownAuthority); 2]);
}

#[test]
fn who_has_no_certificate_or_another_key_is_refused() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let ours = node(&authority, "one");
    let ends = handshake(forge::client(&ours, None), ours.server_config());
    assert_eq!(ends.server_refusal(), Some(Refusal::NoCertificate));
    // Somebody who has seen the certificate of another, and holds a key of his own.
    let ca = folder.path().join("ca");
    let stolen = forge::Forged { der: forge(&ca, |_| {}).der, key: forge(&ca, |_| {}).key };
    let dialled = handshake(forge::client(&ours, Some(&stolen)), ours.server_config());
    let accepted = handshake(ours.client_config(), forge::server(&ours, &stolen));
    let not_its = Some(Refusal::NotItsKey);
    assert_eq!((dialled.server_refusal(), accepted.client_refusal()), (not_its, not_its));
}

#[test]
fn the_authority_is_no_node() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let ours = node(&authority, "one");
    let ca = folder.path().join("ca");
    let text = std::fs::read_to_string(ca.join("ca.key")).expect("the key");
    let key = rcgen::KeyPair::from_pkcs8_pem_and_sign_algo(&text, &rcgen::PKCS_ED25519);
    let pem = authority.certificate_pem();
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(&pem).expect("a certificate");
    let shown = forge::Forged { der, key: key.expect("a key") };
    assert_eq!(refused_both_ways(&ours, &shown), [Some(Refusal::AuthorityAsNode); 2]);
}

#[test]
fn time_is_looked_at_and_clocks_may_differ_by_half_a_minute() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let request = IssueRequest { days: 1, ..IssueRequest::new("short") };
    let (certificate, key) = authority.issue_texts(&request, NOW).expect("a certificate");
    let clock = Clock::at(NOW);
    let credentials =
        Credentials::from_texts(&certificate, key.as_bytes(), None, Arc::clone(&clock) as _);
    let ours = credentials.expect("good now");
    // Good from half a minute before it was issued, and half a minute more each way.
    for (at, refusal) in [
        (NOW - 61, Some(Refusal::NotYetValid)),
        (NOW - 60, None),
        (NOW, None),
        (NOW + DAY, None),
        (NOW + DAY + 30, None),
        (NOW + DAY + 31, Some(Refusal::Expired)),
        (NOW + 4_000 * DAY, Some(Refusal::AuthorityExpired)),
    ] {
        clock.set(at);
        let ends = meet(&ours, &ours);
        assert_eq!(ends.client_refusal(), refusal, "at {at}");
        assert_eq!(ends.is_done(), refusal.is_none(), "at {at}");
        assert_eq!(ours.own_refusal(), refusal, "at {at}");
    }
}

#[test]
fn who_was_revoked_is_refused_at_both_ends() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let ours = node(&authority, "one");
    let shown = forge(&folder.path().join("ca"), |_| {});
    let ends = handshake(forge::client(&ours, Some(&shown)), ours.server_config());
    assert!(ends.is_done());
    let index = format!("issued {} eve {NOW} {}\n", "41".repeat(16), NOW + DAY);
    std::fs::write(folder.path().join("ca/issued.wl"), index).expect("an index");
    let list = authority.revoke("eve", NOW).expect("issued").list;
    let epoch = ours.epoch();
    let swapped = ours.offer_revocations(list.as_bytes()).expect("newer");
    assert_eq!((swapped.epoch, ours.epoch(), swapped.revocations), (epoch + 1, epoch + 1, true));
    assert_eq!(refused_both_ways(&ours, &shown), [Some(Refusal::Revoked); 2]);
    // A link that was made before asks again.
    let again = ours.peer_of_connection(&ends.server).expect_err("revoked since");
    assert_eq!(again.refusal(), Some(Refusal::Revoked));
}

#[test]
fn another_protocol_is_refused() {
    let folder = Folder::new();
    let ours = node(&authority(&folder), "one");
    let mut other = (*ours.client_config()).clone();
    other.alpn_protocols = vec![b"h2".to_vec()];
    let ends = handshake(Arc::new(other.clone()), ours.server_config());
    assert_eq!(ends.server_refusal(), Some(Refusal::OtherProtocol));
    // One that says nothing passes TLS, and not us.
    other.alpn_protocols.clear();
    let ends = handshake(Arc::new(other), ours.server_config());
    let told = ours.peer_of_connection(&ends.server).expect_err("no protocol");
    assert_eq!(told.refusal(), Some(Refusal::OtherProtocol));
}

/// A hello of TLS 1.2: what a client without the extension of versions sends.
fn hello_of_tls12() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0xc0, 0x2b]);
    body.extend([1, 0]);
    // Groups: X25519. Signatures: ECDSA with P-256, Ed25519.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 6, 0, 4, 4, 3, 8, 7];
    body.extend([0, u8::try_from(extensions.len()).expect("short")]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).expect("short");
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[test]
fn a_client_of_tls_1_2_is_refused() {
    let folder = Folder::new();
    let ours = node(&authority(&folder), "one");
    let mut server = rustls::ServerConnection::new(ours.server_config()).expect("a server");
    server.read_tls(&mut &hello_of_tls12()[..]).expect("memory");
    let told = server.process_new_packets().expect_err("too old");
    assert_eq!(Refusal::of(&told), Some(Refusal::OldTls), "{told:?}");
}

/// `cargo test -p wireloom-identity --test identity -- --ignored --nocapture cost`
#[test]
#[ignore = "a measurement"]
fn cost_of_a_handshake() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let (one, two) = (node(&authority, "one"), node(&authority, "two"));
    let both = times(|| {
        let ends = meet(&one, &two);
        assert!(two.peer_of_connection(&ends.server).is_ok() && ends.is_done());
    });
    println!("both sides, and one peer_of: fastest {:?}, median {:?}", both[0], both[150]);
    let ends = meet(&one, &two);
    let asked = times(|| assert!(two.peer_of_connection(&ends.server).is_ok()));
    println!("peer_of alone: fastest {:?}, median {:?}", asked[0], asked[150]);
    assert!(both[150].as_millis() < 20, "an order of magnitude above the goal of 2 ms");
}

/// How long 300 runs took, the fastest first.
fn times(mut run: impl FnMut()) -> Vec<Duration> {
    let timed = (0..300).map(|_| {
        let started = Instant::now();
        run();
        started.elapsed()
    });
    let mut times: Vec<_> = timed.collect();
    times.sort();
    times
}

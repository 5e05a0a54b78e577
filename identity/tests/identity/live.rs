//! Credentials that are exchanged while a node runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use wireloom_identity::{
    Authority, CredentialPaths, Credentials, IdentityError, IssueRequest, OutDir, RevocationList,
};

use crate::sample::{Clock, DAY, Folder, NOW, authority, meet, node};

const SECOND: u64 = 1_000_000_000;

/// A node whose files lie in a folder.
fn on_disk(authority: &Authority, folder: &Folder, name: &str) -> (CredentialPaths, Arc<Clock>) {
    issue(authority, folder, name, NOW);
    let paths = CredentialPaths::of_node(&folder.path().join("out"), name);
    (paths, Clock::at(NOW))
}

fn issue(authority: &Authority, folder: &Folder, name: &str, now: u64) {
    let out = OutDir { folder: folder.path().join("out"), replace: true };
    authority.issue(&IssueRequest::new(name), &out, now).expect("issued");
}

#[test]
fn a_renewed_certificate_is_taken_while_the_node_runs() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let (paths, clock) = on_disk(&authority, &folder, "one");
    let ours = Credentials::load_at(paths.clone(), Arc::clone(&clock) as _).expect("good");
    let (first, epoch) = (ours.identity(), ours.epoch());
    assert!(ours.poll_files(0).expect("well").is_none(), "nothing is new");
    assert!(!ours.expires_within(Duration::from_secs(29 * DAY)));
    assert!(ours.expires_within(Duration::from_secs(30 * DAY)));

    clock.set(NOW + 25 * DAY);
    issue(&authority, &folder, "one", NOW + 25 * DAY);
    assert!(ours.poll_files(SECOND / 2).expect("well").is_none(), "not looked at so soon");
    let clone = ours.clone();
    let swapped = ours.poll_files(SECOND).expect("well").expect("new files");
    assert!(swapped.certificate && !swapped.revocations);
    assert_eq!((swapped.epoch, clone.epoch()), (epoch + 1, epoch + 1));
    assert_ne!(clone.identity().serial, first.serial);
    assert_eq!(clone.identity().expires_unix_s, NOW + 55 * DAY);
    assert!(meet(&clone, &ours).is_done());
    assert!(ours.poll_files(3 * SECOND).expect("well").is_none(), "taken once");
}

#[test]
fn a_bad_file_keeps_what_was_good_and_says_why() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let (paths, clock) = on_disk(&authority, &folder, "one");
    let ours = Credentials::load_at(paths.clone(), clock).expect("good");
    let before = (ours.identity(), ours.epoch());
    let good = fs::read(&paths.certificate).expect("a file");
    let other = Folder::new();
    issue(&authority, &other, "two", NOW);
    let two = CredentialPaths::of_node(&other.path().join("out"), "two");
    let mut at = 0;
    let mut told = |part: &str| {
        at += SECOND;
        let error = ours.poll_files(at).expect_err(part).to_string();
        assert!(error.contains(part), "without {part}: {error}");
        assert_eq!((ours.identity(), ours.epoch()), before);
        at += SECOND;
        assert!(ours.poll_files(at).expect("told once").is_none());
    };
    fs::write(&paths.certificate, b"nonsense").expect("written");
    told("holds no certificate");
    fs::copy(&two.certificate, &paths.certificate).expect("copied");
    told("this node is \"one\"");
    fs::copy(&two.key, &paths.key).expect("copied");
    told("this node is \"one\"");
    fs::write(&paths.certificate, &good).expect("written");
    told("does not fit the certificate of \"one\"");
    fs::set_permissions(&paths.key, fs::Permissions::from_mode(0o640)).expect("allowed");
    fs::write(&paths.certificate, &good).expect("written");
    told("can be read by others");
    fs::remove_file(&paths.key).expect("removed");
    told("cannot be read");
}

/// The list of the only authority.
fn newest(ours: &Credentials) -> Arc<RevocationList> {
    ours.revocations().pop().expect("one from the start")
}

#[test]
fn a_list_of_revocations_goes_forward_only() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let (paths, clock) = on_disk(&authority, &folder, "one");
    issue(&authority, &folder, "two", NOW);
    let ours = Credentials::load_at(paths.clone(), clock).expect("good");
    let first = newest(&ours);
    assert_eq!((first.epoch(), first.serials().len()), (1, 0));
    let second = authority.revoke("two", NOW).expect("issued").list;
    let swapped = ours.offer_revocations(second.as_bytes()).expect("newer");
    assert!(swapped.not_saved.is_none());
    let file = paths.revocations.expect("a file");
    assert_eq!(fs::read(&file).expect("a file"), second.as_bytes(), "kept for the next start");
    assert_eq!(newest(&ours).epoch(), 2);
    for old in [&*first, &second] {
        let refused = ours.offer_revocations(old.as_bytes());
        assert!(matches!(refused, Err(IdentityError::ListNotNewer { known: 2, .. })));
    }
    let mut changed = second.as_bytes().to_vec();
    let at = changed.windows(8).position(|part| part == b"revoked ").expect("one") + 8;
    changed[at] = if changed[at] == b'4' { b'5' } else { b'4' };
    let changed = String::from_utf8(changed).expect("text").replace("epoch 2", "epoch 3");
    let refused = ours.offer_revocations(changed.as_bytes());
    assert!(matches!(refused, Err(IdentityError::ListSignature)));
    // An old list put back into the file is refused too, and so is none: what is known stays.
    fs::write(&file, first.as_bytes()).expect("written");
    assert!(matches!(ours.poll_files(0), Err(IdentityError::ListNotNewer { .. })));
    fs::remove_file(&file).expect("removed");
    assert!(ours.poll_files(SECOND).expect("well").is_none());
    assert_eq!(newest(&ours).epoch(), 2);
    let two = second.serials().next().expect("one");
    assert!(newest(&ours).is_revoked(two));
}

#[test]
fn an_authority_is_exchanged_by_trusting_two_for_a_while() {
    let (folder, next) = (Folder::new(), Folder::new());
    let (old, new) = (authority(&folder), authority(&next));
    let (paths, clock) = on_disk(&old, &folder, "one");
    let ours = Credentials::load_at(paths.clone(), clock).expect("good");
    let renewed = node(&new, "two");
    assert!(!meet(&renewed, &ours).is_done());
    let both = [fs::read(&paths.certificate).expect("a file"), new.certificate_pem()].concat();
    fs::write(&paths.certificate, both).expect("written");
    assert!(ours.poll_files(0).expect("well").expect("new").certificate);
    let ends = meet(&renewed, &ours);
    assert_eq!(ends.server_refusal(), None, "{:?}", ends.told);
    assert_eq!(ours.peer_of(&[two_of(&renewed)]).expect("trusted").name, "two");
    assert!(meet(&ours, &node(&old, "three")).is_done(), "the old one still counts");
}

#[test]
fn the_lists_of_two_authorities_count_by_themselves() {
    let (folder, next) = (Folder::new(), Folder::new());
    let (old, new) = (authority(&folder), authority(&next));
    let (paths, clock) = on_disk(&old, &folder, "one");
    let only_old = fs::read(&paths.certificate).expect("a file");
    let both = [only_old.clone(), new.certificate_pem()].concat();
    fs::write(&paths.certificate, &both).expect("written");
    let ours = Credentials::load_at(paths.clone(), clock.clone()).expect("good");
    let renewed = node(&new, "five");
    for name in ["two", "four"] {
        issue(&old, &folder, name, NOW);
        let list = old.revoke(name, NOW).expect("issued").list;
        ours.offer_revocations(list.as_bytes()).expect("newer");
    }
    // The new one begins anew, and is taken; neither goes back.
    let first = new.revocations().expect("a list");
    ours.offer_revocations(first.as_bytes()).expect("of another authority");
    issue(&new, &next, "three", NOW);
    let second = new.revoke("three", NOW).expect("issued").list;
    ours.offer_revocations(second.as_bytes()).expect("newer");
    let again = ours.offer_revocations(first.as_bytes());
    assert!(matches!(again, Err(IdentityError::ListNotNewer { offered: 1, known: 2 })));
    let epochs = |ours: &Credentials| -> Vec<u64> {
        ours.revocations().iter().map(|list| list.epoch()).collect()
    };
    assert_eq!(epochs(&ours), [3, 2]);
    assert_eq!(ours.peer_of(&[two_of(&renewed)]).expect("not taken back").name, "five");
    // Whoever starts again knows both, by one file.
    let restarted = Credentials::load_at(paths.clone(), clock.clone()).expect("good");
    assert_eq!(epochs(&restarted), [3, 2]);
    let serials = |ours: &Credentials| -> Vec<_> {
        ours.revocations().iter().flat_map(|list| list.serials().collect::<Vec<_>>()).collect()
    };
    assert_eq!((serials(&ours).len(), serials(&ours)), (3, serials(&restarted)));
    // The list of one that is not trusted any more is passed over, not a fault.
    fs::write(&paths.certificate, only_old).expect("written");
    let swapped = ours.poll_files(SECOND).expect("well").expect("new");
    assert!(swapped.certificate && swapped.revocations);
    assert_eq!(epochs(&ours), [3]);
    let file = paths.revocations.clone().expect("a file");
    fs::write(&file, second.as_bytes()).expect("written");
    let told = Credentials::load_at(paths, clock).expect_err("none of it is ours");
    assert!(matches!(told, IdentityError::ListSignature));
}

fn two_of(renewed: &Credentials) -> rustls::pki_types::CertificateDer<'static> {
    let ends = meet(renewed, renewed);
    ends.client.peer_certificates().expect("some")[0].clone().into_owned()
}

#[test]
fn nothing_secret_is_shown() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let ours = node(&authority, "one");
    let key = fs::read_to_string(folder.path().join("ca/ca.key")).expect("the key");
    let secret = key.lines().nth(1).expect("a line");
    let shown = format!("{ours:?} {authority:?} {:?}", ours.client_config());
    assert!(!shown.contains(secret) && !shown.contains("PRIVATE"), "{shown}");
    assert!(shown.contains("Credentials") && shown.contains("Authority"));
}

//! What an authority makes, and what it refuses to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use wireloom_identity::{Authority, Certificate, IdentityError, IssueRequest, OutDir};

use crate::sample::{DAY, Folder, NOW, authority};

fn out(folder: &Folder) -> OutDir {
    OutDir { folder: folder.path().join("out"), replace: false }
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn keys_are_their_owner_s_alone() {
    let folder = Folder::new();
    let ca = folder.path().join("ca");
    drop(authority(&folder));
    assert_eq!(
        (mode(&ca), mode(&ca.join("ca.key")), mode(&ca.join("ca.pem"))),
        (0o700, 0o600, 0o644)
    );
    for open in [0o604, 0o640, 0o660] {
        fs::set_permissions(ca.join("ca.key"), fs::Permissions::from_mode(open)).expect("allowed");
        let refused = Authority::load(&ca).expect_err("others can read it");
        assert!(matches!(refused, IdentityError::KeyReadableByOthers { mode, .. } if mode == open));
    }
    fs::set_permissions(ca.join("ca.key"), fs::Permissions::from_mode(0o400)).expect("allowed");
    assert_eq!(Authority::load(&ca).expect("good").cluster(), "plant");
}

#[test]
fn nothing_is_overwritten_unasked() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let ca = folder.path().join("ca");
    let key = fs::read(ca.join("ca.key")).expect("a key");
    assert!(matches!(Authority::create(&ca, "plant", NOW), Err(IdentityError::Exists(_))));
    assert_eq!(fs::read(ca.join("ca.key")).expect("a key"), key);
    let request = IssueRequest::new("one");
    let files = authority.issue(&request, &out(&folder), NOW).expect("issued");
    assert_eq!((mode(&files.key), mode(&files.certificate)), (0o600, 0o644));
    let before = fs::read(&files.key).expect("a key");
    let refused = authority.issue(&request, &out(&folder), NOW);
    assert!(matches!(refused, Err(IdentityError::Exists(_))));
    assert_eq!(fs::read(&files.key).expect("a key"), before);
    assert_eq!(authority.issued().expect("an index").len(), 1, "nothing was issued in vain");
    let replace = OutDir { replace: true, ..out(&folder) };
    authority.issue(&request, &replace, NOW).expect("asked for");
    assert_ne!(fs::read(&files.key).expect("a key"), before);
    let named_ca = authority.issue(&IssueRequest::new("ca"), &replace, NOW);
    assert!(matches!(named_ca, Err(IdentityError::NameOfAuthority)));
    let left = fs::read_dir(folder.path().join("out")).expect("a folder").count();
    assert_eq!(left, 3, "no half-written file is left");
}

#[test]
fn a_name_with_a_path_in_it_stays_in_its_folder() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let files = authority.issue(&IssueRequest::new("../../e\u{9f}il"), &out(&folder), NOW);
    assert!(matches!(files, Err(IdentityError::Name { .. })), "a control character");
    let files = authority.issue(&IssueRequest::new("../../evil"), &out(&folder), NOW);
    let files = files.expect("a name");
    assert_eq!(files.key.parent(), Some(&*out(&folder).folder));
    let read = Certificate::read_file(&files.certificate).expect("ours");
    assert_eq!(read[0].node.as_deref(), Some("../../evil"));
    assert_eq!((read.len(), read[1].is_authority), (2, true));
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let good = IssueRequest::new("one");
    let many = vec!["r".to_owned(); 17];
    let long = vec!["s".repeat(250); 2];
    let refused = |request: IssueRequest| authority.issue_texts(&request, NOW).expect_err("wrong");
    for days in [0, 367] {
        let told = refused(IssueRequest { days, ..good.clone() });
        assert!(matches!(told, IdentityError::Days { .. }));
    }
    for node in [String::new(), "a\nb".to_owned(), "n".repeat(65)] {
        assert!(matches!(refused(IssueRequest::new(&node)), IdentityError::Name { .. }));
    }
    let told = refused(IssueRequest { roles: many, ..good.clone() });
    assert!(matches!(told, IdentityError::TooManyNames));
    let told = refused(IssueRequest { services: long, ..good.clone() });
    assert!(matches!(told, IdentityError::TooManyNames));
    let told = refused(IssueRequest { services: vec![String::new()], ..good });
    assert!(matches!(told, IdentityError::Service(_)));
}

#[test]
fn the_longest_names_fit() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let wide = |count: usize| "\u{e4}".repeat(count / 2);
    let request = IssueRequest {
        node: wide(64),
        roles: vec![wide(64); 16],
        services: vec![wide(199), wide(199)],
        days: 366,
    };
    authority.issue_texts(&request, NOW).expect("it fits into a certificate");
}

#[test]
fn a_node_or_a_number_is_revoked_and_leaves_the_list_after_its_end() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let replace = OutDir { replace: true, ..out(&folder) };
    let issue = |name: &str, days| {
        let request = IssueRequest { days, ..IssueRequest::new(name) };
        authority.issue(&request, &replace, NOW).expect("issued").issued
    };
    let (one, again, two) = (issue("one", 1), issue("one", 30), issue("two", 30));
    assert!(matches!(authority.revoke("three", NOW), Err(IdentityError::NotIssued(_))));
    let revoked = authority.revoke("one", NOW).expect("issued");
    assert_eq!(revoked.new, [one.clone(), again.clone()]);
    assert_eq!(revoked.list.epoch(), 2);
    assert!(authority.revoke("one", NOW).expect("issued").new.is_empty(), "already");
    assert_eq!(authority.revocations().expect("a list").epoch(), 2, "and nothing is written");
    let later = authority.revoke(&two.serial.to_string(), NOW + 3 * DAY).expect("issued");
    let listed: Vec<_> = later.list.serials().collect();
    let mut wanted = vec![again.serial, two.serial];
    wanted.sort();
    assert_eq!(listed, wanted, "{} has ended", one.serial);
}

#[test]
fn a_certificate_ends_no_later_than_its_authority() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let end = authority.certificate().expires_unix_s;
    let out = out(&folder);
    let files =
        authority.issue(&IssueRequest::new("late"), &out, end - DAY).expect("a day is left");
    assert_eq!(files.issued.expires_unix_s, end);
    assert!(authority.issue(&IssueRequest::new("later"), &out, end).is_err());
}

//! What a node's key signs, and who can tell.

use wireloom_identity::{PublicKey, Tree};

use crate::sample::{Folder, authority, node};

#[test]
fn a_root_is_signed_by_one_node_alone() {
    let folder = Folder::new();
    let authority = authority(&folder);
    let (desk, feed) = (node(&authority, "desk"), node(&authority, "feed"));
    let root = Tree::of(vec![[1; 32], [2; 32], [3; 32]]).root();
    let signature = desk.sign_root(&root);
    assert!(desk.public_key().has_signed(&root, &signature));
    assert!(!feed.public_key().has_signed(&root, &signature), "another node");
    assert!(!desk.public_key().has_signed(&[9; 32], &signature), "another root");
    for at in 0..signature.len() {
        let mut changed = signature;
        changed[at] ^= 1;
        assert!(!desk.public_key().has_signed(&root, &changed), "byte {at}");
    }
    assert!(!PublicKey([1; 32]).has_signed(&root, &signature));
}

/// Under a point of small order some signature made without a key fits any text.
#[test]
fn under_a_weak_key_nobody_has_signed() {
    let weak = |hex: &str| {
        let mut key = [0; 32];
        for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        }
        key
    };
    let high = "ff".repeat(30);
    let keys = [
        "00".repeat(32),
        format!("01{}", "00".repeat(31)),
        format!("ec{high}7f"),
        format!("ed{high}7f"),
        format!("ee{high}7f"),
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05".to_owned(),
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a".to_owned(),
    ];
    for key in &keys {
        for sign in [0, 0x80] {
            let mut public = weak(key);
            public[31] ^= sign;
            for first in &keys {
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&weak(first));
                // Each text hashes to another number: some fit one of eight of them.
                let fits =
                    (0..16).any(|text| PublicKey(public).has_signed(&[text; 32], &signature));
                assert!(!fits, "{key} {first}");
            }
        }
    }
}

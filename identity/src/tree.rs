//! Merkle trees as RFC 6962 has them: leaves and inner nodes are hashed with different first bytes,
//! so that none can stand for another; a node without a neighbour moves up as it is.

use aws_lc_rs::digest::{Context, SHA256};
use wireloom_wire::NodeId;

/// A leaf, an inner node, a root: SHA-256.
pub type Hash = [u8; 32];

const LEAF: u8 = 0;
const NODE: u8 = 1;

/// What a leaf's text begins with, behind its first byte.
const EVENT: &[u8; 16] = b"wireloom event 1";

fn hash(pieces: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for piece in pieces {
        context.update(piece);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The leaf of an event of a node: what its frame says, but for its proof
/// ([`Frame::proven`](wireloom_wire::Frame::proven)). About 0.2 µs and 0.5 ns a byte.
#[must_use]
pub fn leaf_hash(source: NodeId, proven: [&[u8]; 2]) -> Hash {
    hash(&[&[LEAF], EVENT, &source.0.to_le_bytes(), proven[0], proven[1]])
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[NODE], left, right])
}

/// A tree by its levels: the leaves first, the root alone last.
#[derive(Clone, Debug)]
pub struct Tree(Vec<Vec<Hash>>);

impl Tree {
    /// The tree of these leaves, one at least. As many hashes as there are leaves, less one.
    #[must_use]
    pub fn of(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let above = level.chunks(2).map(|pair| match pair {
                [left, right] => node_hash(left, right),
                alone => alone[0],
            });
            levels.push(above.collect());
        }
        Self(levels)
    }

    /// Its root; that of no leaves is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let top = self.0.last().and_then(|level| level.first());
        top.copied().unwrap_or_else(|| hash(&[]))
    }

    /// The nodes beside the way from a leaf to the root, the lowest first.
    pub fn path(&self, leaf: usize) -> impl Iterator<Item = &Hash> {
        let beside = move |(height, level)| {
            let level: &Vec<Hash> = level;
            level.get((leaf >> height) ^ 1)
        };
        self.0.iter().enumerate().filter_map(beside)
    }
}

/// The root that a leaf has by its path in a tree of `leaves` (RFC 9162, 2.1.3.2); `None` when the
/// path is not as long as it must be. A hash for each step.
#[must_use]
pub fn root_of_path(leaf: Hash, (index, leaves): (usize, usize), path: &[Hash]) -> Option<Hash> {
    let (mut node, mut last) = (index, leaves.checked_sub(1).filter(|last| index <= *last)?);
    let mut root = leaf;
    for beside in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            root = node_hash(beside, &root);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            root = node_hash(&root, beside);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// The vectors of Certificate Transparency's own tests.
    #[test]
    fn trees_are_those_of_certificate_transparency() {
        let texts = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let leaves: Vec<Hash> = texts.iter().map(|text| hash(&[&[LEAF], &hex(text)])).collect();
        for (count, root) in [
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
            (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(Tree::of(leaves[..count].to_vec()).root().to_vec(), hex(root), "{count}");
        }
    }

    #[test]
    fn every_leaf_finds_its_root_and_no_other_place_does() {
        let all: Vec<Hash> = (0..64_u8).map(|at| hash(&[&[at]])).collect();
        for leaves in 1..=64 {
            let tree = Tree::of(all[..leaves].to_vec());
            for leaf in 0..leaves {
                let path: Vec<Hash> = tree.path(leaf).copied().collect();
                let proof = wireloom_wire::Proof::new(leaf, leaves).unwrap();
                assert_eq!(proof.path().len(), path.len(), "{leaf} of {leaves}");
                let root = |leaf_hash, at, path: &[Hash]| root_of_path(leaf_hash, at, path);
                assert_eq!(root(all[leaf], (leaf, leaves), &path), Some(tree.root()));
                if leaves == 1 {
                    continue;
                }
                let other = (leaf + 1) % leaves;
                assert_ne!(root(all[other], (leaf, leaves), &path), Some(tree.root()));
                assert_ne!(root(all[leaf], (other, leaves), &path), Some(tree.root()));
                assert_ne!(root(all[leaf], (leaf, leaves), &path[1..]), Some(tree.root()));
                assert_eq!(
                    root(all[leaf], (leaf, leaves), &[&path[..], &[[0; 32]]].concat()),
                    None
                );
            }
        }
        assert_eq!(root_of_path(all[0], (0, 0), &[]), None);
        assert_eq!(root_of_path(all[0], (1, 1), &[]), None);
    }
}

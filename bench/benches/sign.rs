//! What signing and verifying cost, for a batch of 64 events and for one alone: hashing, the tree,
//! the signature, and the way back from a leaf to the root.

use std::hint::black_box;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wireloom::identity::{Hash, PublicKey, Tree, leaf_hash, root_of_path};
use wireloom_wire::NodeId;

const SOURCE: NodeId = NodeId(7);

/// Header and 64 bytes.
const EVENT: ([u8; 28], [u8; 64]) = ([1; 28], [2; 64]);

fn leaves(events: u8) -> Vec<Hash> {
    (0..events).map(|at| leaf_hash(SOURCE, [&[at], &black_box(EVENT).1])).collect()
}

fn bench(criterion: &mut Criterion) {
    let key = Ed25519KeyPair::generate().expect("a key");
    let public = key.public_key().as_ref();
    for events in [1, 64] {
        let mut group = criterion.benchmark_group(format!("sign/{events}"));
        group.throughput(Throughput::Elements(u64::from(events)));
        group.bench_function("leaves and tree", |bench| {
            bench.iter(|| Tree::of(leaves(events)).root());
        });
        group.bench_function("leaves, tree, signature", |bench| {
            bench.iter(|| key.sign(&Tree::of(leaves(events)).root()));
        });
        let tree = Tree::of(leaves(events));
        let (root, signature) = (tree.root(), key.sign(&tree.root()));
        let paths: Vec<Vec<Hash>> =
            (0..usize::from(events)).map(|at| tree.path(at).copied().collect()).collect();
        let verifying = UnparsedPublicKey::new(&ED25519, public);
        group.bench_function("every path, one signature", |bench| {
            bench.iter(|| {
                for (at, (leaf, path)) in leaves(events).iter().zip(&paths).enumerate() {
                    let way = (at, usize::from(events));
                    assert_eq!(root_of_path(*leaf, way, path), Some(root));
                }
                verifying.verify(&root, signature.as_ref()).expect("its own");
            });
        });
        group.finish();
    }
    let weak = PublicKey([0; 32]);
    criterion.bench_function("sign/a key that is refused", |bench| {
        bench.iter(|| weak.has_signed(&[0; 32], black_box(&[0; 64])));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
